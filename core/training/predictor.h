// A model that answers, on the host, with or without test-time augmentation.
#pragma once

#include <span>
#include <vector>

#include "core/model/session.h"

namespace vretnet::training {

// What a model looks at beside an image itself; it answers with the mean of the probabilities.
enum class TestTimeAugmentation { None, HorizontalFlip };

// images [count, height, width, channels] with left and right exchanged.
void mirror_images(const float* images, std::int64_t count, std::int64_t height, std::int64_t width,
                   std::int64_t channels, float* out);

// Rows of logits become the logarithm of the mean of their own probabilities and those of `other`.
void average_probabilities(std::span<float> logits, std::span<const float> other, std::int64_t classes);

// One a thread; what it is made from must outlive it.
class Predictor {
 public:
  Predictor(const model::Model& model, Backend& backend, const View& weights,
            const layers::Pass::Options& options, TestTimeAugmentation augmentation);

  // images [count, height, width, channels], normalised → logits [count, classes], valid until the next call.
  // softmax(logits) are the probabilities.
  std::span<const float> logits(const float* images, std::int64_t count);
  // The same of pixels that are made when they are needed.
  std::span<const float> logits(const model::PixelRows& pixels, std::int64_t count);

 private:
  // The answers to images and, where they are wanted, to mirrored ones.
  template <class Pixels, class Mirrored>
  std::span<const float> answers(const Pixels& pixels, const Mirrored& mirrored, std::int64_t count);

  const model::Model& model_;
  Backend& backend_;
  TestTimeAugmentation augmentation_;
  model::Session session_;
  std::vector<float> logits_, other_logits_, mirrored_;
};

}  // namespace vretnet::training
