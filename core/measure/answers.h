// The accuracy of classifiers on the same images, and whether two of them differ. A model is trained several
// times, each run from another seed, and every run answers every image.
#pragma once

#include <cstdint>
#include <vector>

#include "core/measure/statistics.h"

namespace vretnet::measure {

// answers[run][image] of one model: 1 right, 0 wrong; or 1 lost, −1 gained, 0 neither, where two answers to
// one image are set against each other. At least one run and one image, all runs of one length.
using Answers = std::vector<std::vector<std::int8_t>>;

constexpr int kAnswerDraws = 10000;

// The mean of each run.
std::vector<double> means_of_runs(const Answers& answers);

// The mean over runs and images. Of several runs the interval is Student's over their means: it says where
// the mean of more such runs lies, on these images. Of one run it is the bootstrap's over the images: it says
// where this one model would lie on more such images, and nothing of other seeds.
Estimate mean_answer(const Answers& answers);

// mean(first) − mean(second), whose images are the same. A draw of the bootstrap takes images, the same ones
// for all runs of both, and runs: with `paired` run r of the first comes with run r of the second (of the
// same seed, and as many), else each side draws its own. Images and runs are drawn independently of each
// other (the two-way bootstrap: Owen 2007). Where a side has one run only the interval knows nothing of the
// scatter of its seeds, and with few it knows little: two or three runs make it too narrow.
Estimate mean_difference(const Answers& first, const Answers& second, bool paired);

}  // namespace vretnet::measure
