#include "vision/classify.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "core/training/metrics.h"
#include "vision/image/strip_reader.h"

namespace vretnet::vision {
namespace {

Answer answer_of(std::span<const float> logits, double temperature) {
  std::vector<float> values(logits.begin(), logits.end());
  for (float& value : values) value = static_cast<float>(value / temperature);
  Answer answer;
  answer.probabilities = training::softmax(values);
  answer.ranking.resize(values.size());
  std::iota(answer.ranking.begin(), answer.ranking.end(), 0);
  std::stable_sort(answer.ranking.begin(), answer.ranking.end(), [&](std::int64_t a, std::int64_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  return answer;
}

// Of one image: logits [1, classes] on the backend.
Answer answer_of(Backend& backend, const View& logits, double temperature) {
  std::vector<float> values(static_cast<std::size_t>(logits.elements()));
  backend.download(logits, values.data());
  return answer_of(values, temperature);
}

}  // namespace

ImageClassifier::ImageClassifier(const Classifier& classifier, Backend& backend, const View& weights,
                                 const layers::Pass::Options& options,
                                 training::TestTimeAugmentation augmentation)
    : description_(classifier.description),
      predictor_(*classifier.model, backend, weights, options, augmentation) {}

std::vector<Answer> ImageClassifier::classify(const std::vector<Image>& images) {
  const Preprocessing& preprocessing = description_.preprocessing;
  const auto normalized = [&](std::int64_t image, std::int64_t first_row, std::int64_t rows, float* out) {
    const ImageView pixels = images[static_cast<std::size_t>(image)];
    normalize(pixels.part({0, static_cast<int>(first_row), pixels.width, static_cast<int>(rows)}),
              preprocessing.mean, preprocessing.deviation, out);
  };
  const std::span<const float> logits =
      predictor_.logits(model::PixelRows(normalized), static_cast<std::int64_t>(images.size()));
  const std::size_t classes = description_.class_names.size();
  std::vector<Answer> answers;
  for (std::size_t image = 0; image < images.size(); ++image) {
    answers.push_back(answer_of(logits.subspan(image * classes, classes), description_.temperature));
  }
  return answers;
}

Answer classify_stream(const Classifier& classifier, Backend& backend, const View& weights,
                       const layers::Pass::Options& options, const DecodeLimits& limits,
                       const std::filesystem::path& file, const StreamOptions& stream_options) {
  const Preprocessing& preprocessing = classifier.description.preprocessing;
  StripReader reader(file, limits, preprocessing.channels);
  const double temperature = classifier.description.temperature;
  const auto patch = static_cast<int>(classifier.description.config.patch_size);
  const int width = reader.width() / patch * patch;
  if (width == 0 || reader.height() < patch) {
    throw ImageError(file.string(), fmt::format("{} × {} pixels are less than a patch of {} × {}",
                                                reader.width(), reader.height(), patch, patch));
  }
  model::Stream stream(*classifier.model, backend, weights, options, width);
  const int at_once = stream_options.confident ? patch : static_cast<int>(stream.band_rows()) * patch;
  Image rows =
      make_image(reader.width(), std::min(at_once, reader.height() / patch * patch), reader.channels());
  std::vector<float> pixels(static_cast<std::size_t>(rows.height) * width * reader.channels());
  View logits;
  while (reader.rows_left() >= patch) {
    const int count = std::min(rows.height, reader.rows_left() / patch * patch);
    reader.read_rows(count, rows.pixels.data());
    normalize(ImageView(rows).part({0, 0, width, count}), preprocessing.mean, preprocessing.deviation,
              pixels.data());
    logits = stream.push(pixels.data(), count / patch);
    if (reader.rows_left() < patch || (!stream_options.confident && !stream_options.progress)) continue;
    Answer so_far = answer_of(backend, logits, temperature);
    const int rows_read = reader.height() - reader.rows_left();
    if (stream_options.confident &&
        so_far.probabilities[static_cast<std::size_t>(so_far.ranking.front())] > *stream_options.confident) {
      so_far.part_read = static_cast<double>(rows_read) / reader.height();
      return so_far;
    }
    if (stream_options.progress) stream_options.progress(so_far, rows_read, reader.height());
  }
  reader.read_rows(reader.rows_left(),
                   rows.pixels.data());  // a file that ends early is damaged, whether or not it matters
  return answer_of(backend, logits, temperature);
}

}  // namespace vretnet::vision
