#include "core/measure/answers.h"

#include <boost/random/binomial_distribution.hpp>
#include <limits>
#include <map>
#include <numeric>

#include "core/base/ensure.h"

namespace vretnet::measure {
namespace {

using Counts = std::vector<std::int64_t>;

// Images to which all runs gave the same answers are alike to every statistic here: there are few kinds of
// them, and a draw of images is a draw of how many come of each kind.
struct Kinds {
  std::vector<std::vector<std::int8_t>> answers;  // [kind][run]
  Counts images;                                  // of each kind
};

Kinds kinds_of(const Answers& answers) {
  std::map<std::vector<std::int8_t>, std::int64_t> counts;
  std::vector<std::int8_t> kind(answers.size());
  for (std::size_t image = 0; image < answers.front().size(); ++image) {
    for (std::size_t run = 0; run < answers.size(); ++run) kind[run] = answers[run][image];
    ++counts[kind];
  }
  Kinds kinds;
  for (const auto& [each, count] : counts) {
    kinds.answers.push_back(each);
    kinds.images.push_back(count);
  }
  return kinds;
}

// Random as the library's distributions want it.
struct Generator {
  using result_type = std::uint64_t;
  static constexpr std::uint64_t min() { return 0; }
  static constexpr std::uint64_t max() { return std::numeric_limits<std::uint64_t>::max(); }
  std::uint64_t operator()() { return random.next(); }
  Random& random;
};

// How many of as many draws fall on each kind: multinomial, one binomial after the other.
void draw_images(const Counts& images, Random& random, Counts& drawn) {
  Generator generator{random};
  std::int64_t left = std::accumulate(images.begin(), images.end(), std::int64_t{0}), draws = left;
  drawn.resize(images.size());
  for (std::size_t kind = 0; kind < images.size(); ++kind) {
    const double share = static_cast<double>(images[kind]) / static_cast<double>(left);
    drawn[kind] = images[kind] == left
                      ? draws
                      : boost::random::binomial_distribution<std::int64_t, double>(draws, share)(generator);
    draws -= drawn[kind];
    left -= images[kind];
  }
}

// How often each of `runs` runs comes in as many draws.
void draw_runs(std::size_t runs, Random& random, Counts& drawn) {
  drawn.assign(runs, 0);
  for (std::size_t i = 0; i < runs; ++i) ++drawn[static_cast<std::size_t>(random.below(runs))];
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void check_answers(const Answers& answers) {
  ensure(!answers.empty() && !answers.front().empty(), "answers of {} runs", answers.size());
  for (const auto& run : answers) {
    ensure(run.size() == answers.front().size(), "{} and {} answers", run.size(), answers.front().size());
  }
}

}  // namespace

std::vector<double> means_of_runs(const Answers& answers) {
  check_answers(answers);
  std::vector<double> means;
  for (const auto& run : answers) {
    means.push_back(static_cast<double>(std::accumulate(run.begin(), run.end(), std::int64_t{0})) /
                    static_cast<double>(run.size()));
  }
  return means;
}

Estimate mean_answer(const Answers& answers) {
  const std::vector<double> means = means_of_runs(answers);
  if (means.size() > 1) return mean_by_students_t(means);
  const Kinds kinds = kinds_of(answers);
  Counts drawn;
  return bootstrap(means.front(), kAnswerDraws, [&](Random& random) {
    draw_images(kinds.images, random, drawn);
    std::int64_t sum = 0;
    for (std::size_t kind = 0; kind < drawn.size(); ++kind) sum += drawn[kind] * kinds.answers[kind].front();
    return static_cast<double>(sum) / static_cast<double>(answers.front().size());
  });
}

Estimate mean_difference(const Answers& first, const Answers& second, bool paired) {
  const double value = mean(means_of_runs(first)) - mean(means_of_runs(second));
  ensure(first.front().size() == second.front().size(), "{} and {} images", first.front().size(),
         second.front().size());
  ensure(!paired || first.size() == second.size(), "pairs of {} and {} runs", first.size(), second.size());

  Answers both = first;
  both.insert(both.end(), second.begin(), second.end());
  const Kinds kinds = kinds_of(both);
  const auto images = static_cast<double>(first.front().size());
  Counts images_drawn, first_runs, second_runs;
  return bootstrap(value, kAnswerDraws, [&](Random& random) {
    draw_images(kinds.images, random, images_drawn);
    draw_runs(first.size(), random, first_runs);
    if (!paired) draw_runs(second.size(), random, second_runs);
    const Counts& of_second = paired ? first_runs : second_runs;
    std::int64_t first_sum = 0, second_sum = 0;
    for (std::size_t kind = 0; kind < images_drawn.size(); ++kind) {
      const std::vector<std::int8_t>& answers = kinds.answers[kind];
      std::int64_t of_first_runs = 0, of_second_runs = 0;
      for (std::size_t run = 0; run < first.size(); ++run) of_first_runs += first_runs[run] * answers[run];
      for (std::size_t run = 0; run < second.size(); ++run) {
        of_second_runs += of_second[run] * answers[first.size() + run];
      }
      first_sum += images_drawn[kind] * of_first_runs;
      second_sum += images_drawn[kind] * of_second_runs;
    }
    return static_cast<double>(first_sum) / (images * static_cast<double>(first.size())) -
           static_cast<double>(second_sum) / (images * static_cast<double>(second.size()));
  });
}

}  // namespace vretnet::measure
