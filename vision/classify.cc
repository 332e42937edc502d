#include "vision/classify.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "core/training/metrics.h"
#include "vision/image/strip_reader.h"

namespace vretnet::vision {
namespace {

Answer answer_of(std::span<const float> values) {
  Answer answer;
  answer.probabilities = training::softmax(values);
  answer.ranking.resize(values.size());
  std::iota(answer.ranking.begin(), answer.ranking.end(), 0);
  std::stable_sort(answer.ranking.begin(), answer.ranking.end(), [&](std::int64_t a, std::int64_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  return answer;
}

}  // namespace

ImageClassifier::ImageClassifier(const Classifier& classifier, Backend& backend, const View& weights,
                                 const layers::Pass::Options& options, const DecodeLimits& limits,
                                 training::TestTimeAugmentation augmentation)
    : description_(classifier.description),
      limits_(limits),
      predictor_(*classifier.model, backend, weights, options, augmentation),
      pixels_(classifier.description.preprocessing.values()) {}

Answer ImageClassifier::classify(const std::filesystem::path& file) {
  const Preprocessing& preprocessing = description_.preprocessing;
  preprocess(read_image(file, limits_, preprocessing.channels), preprocessing, pixels_.data());
  return answer_of(predictor_.logits(pixels_.data(), 1));
}

Answer classify_stream(const Classifier& classifier, Backend& backend, const View& weights,
                       const layers::Pass::Options& options, const DecodeLimits& limits,
                       const std::filesystem::path& file) {
  const Preprocessing& preprocessing = classifier.description.preprocessing;
  StripReader reader(file, limits, preprocessing.channels);
  const auto patch = static_cast<int>(classifier.description.config.patch_size);
  const int width = reader.width() / patch * patch;
  if (width == 0 || reader.height() < patch) {
    throw ImageError(file.string(), fmt::format("{}×{} pixels are less than one patch of {}×{}",
                                                reader.width(), reader.height(), patch, patch));
  }
  model::Stream stream(*classifier.model, backend, weights, options, width);
  Image rows = make_image(reader.width(), patch, reader.channels());
  std::vector<float> pixels(static_cast<std::size_t>(patch) * width * reader.channels());
  View logits;
  while (reader.rows_left() >= patch) {
    reader.read_rows(patch, rows.pixels.data());
    normalize(ImageView(rows).part({0, 0, width, patch}), preprocessing.mean, preprocessing.deviation,
              pixels.data());
    logits = stream.push(pixels.data(), 1);
  }
  reader.read_rows(reader.rows_left(),
                   rows.pixels.data());  // a file that ends early is damaged, whether or not it matters
  std::vector<float> values(static_cast<std::size_t>(logits.elements()));
  backend.download(logits, values.data());
  return answer_of(values);
}

}  // namespace vretnet::vision
