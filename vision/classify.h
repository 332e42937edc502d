// From pixels, or a picture read row by row, to probabilities.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "core/model/session.h"
#include "core/training/predictor.h"
#include "vision/image/decode.h"
#include "vision/model_file.h"

namespace vretnet::vision {

// Probabilities are softmax(logits / temperature), with the temperature of the model's file.
struct Answer {
  std::vector<double> probabilities;  // by class
  std::vector<std::int64_t> ranking;  // classes from the most to the least probable
  double part_read = 1;               // of the picture's rows; less where a stream was stopped
};

// Keeps its memory between calls. One a thread; what it is made from must outlive it.
class ImageClassifier {
 public:
  ImageClassifier(const Classifier& classifier, Backend& backend, const View& weights,
                  const layers::Pass::Options& options,
                  training::TestTimeAugmentation augmentation = training::TestTimeAugmentation::None);
  // 8-bit pictures of the model's size, as preprocess_pixels makes them.
  std::vector<Answer> classify(const std::vector<Image>& images);

 private:
  const Description& description_;
  training::Predictor predictor_;
};

struct StreamOptions {
  // Reading stops when the most probable class passes this, looked at after every row of patches. The rest of
  // the file is then not looked at, whether or not it is damaged.
  std::optional<double> confident;
  // The running answer: called after each piece but the last; may be empty. Pieces are single rows of patches
  // where `confident` is set, else a few rows at once.
  std::function<void(const Answer& so_far, int rows_read, int rows)> progress;
};

// An image at its own size, some patch rows at a time, through a causal model: memory does not grow with the
// height. The width and height are cut to whole patches (the rest, less than a patch, is not read). Throws
// ImageError naming the file, UsageError where the model cannot stream.
Answer classify_stream(const Classifier& classifier, Backend& backend, const View& weights,
                       const layers::Pass::Options& options, const DecodeLimits& limits,
                       const std::filesystem::path& file, const StreamOptions& stream_options = {});

}  // namespace vretnet::vision
