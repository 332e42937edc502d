// From an image file to probabilities.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/model/session.h"
#include "core/training/predictor.h"
#include "vision/image/decode.h"
#include "vision/model_file.h"

namespace vretnet::vision {

struct Answer {
  std::vector<double> probabilities;  // by class
  std::vector<std::int64_t> ranking;  // classes from the most to the least probable
};

// Resizes and crops every image to the model's size. Keeps its memory between images. One a thread; what it
// is made from must outlive it.
class ImageClassifier {
 public:
  ImageClassifier(const Classifier& classifier, Backend& backend, const View& weights,
                  const layers::Pass::Options& options, const DecodeLimits& limits = {},
                  training::TestTimeAugmentation augmentation = training::TestTimeAugmentation::None);
  // Throws ImageError naming the file.
  Answer classify(const std::filesystem::path& file);

 private:
  const Description& description_;
  DecodeLimits limits_;
  training::Predictor predictor_;
  std::vector<float> pixels_;
};

// An image at its own size, a patch row at a time, through a causal model: memory does not grow with the
// height. The width and height are cut to whole patches (the rest, less than a patch, is not read). Throws
// ImageError naming the file, UsageError where the model cannot stream.
Answer classify_stream(const Classifier& classifier, Backend& backend, const View& weights,
                       const layers::Pass::Options& options, const DecodeLimits& limits,
                       const std::filesystem::path& file);

}  // namespace vretnet::vision
