// Where in the image an answer comes from: a number for every patch.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ops/backend.h"
#include "vision/image/image.h"
#include "vision/model_file.h"

namespace vretnet::vision {

enum class Explanation : std::uint8_t {
  gradient,  // token · ∂logit/∂token: what the patch adds to the class's logit, to first order; below 0 it
             // speaks against
  rollout,  // what retention read, through all layers: Π ½(I + A), A the rows of |D ⊙ QKᵀ| of a layer, each
            // summing to one, averaged over its heads (Abnar & Zuidema 2020, for softmax attention). Of no
            // class in particular
};

struct HeatMap {
  std::int64_t rows = 0, columns = 0;  // of patches
  std::vector<double> values;          // row-major; the largest magnitude is 1 unless all are 0
};

// Keeps its memory between images. What it is made from must outlive it.
class Explainer {
 public:
  // Throws UsageError for rollout where the model has no retention. Bands and streams play no part.
  Explainer(const Classifier& classifier, Backend& backend, const View& weights, Explanation kind);

  // `pixels` [height, width, channels], normalised. After this, logits() are those of the image.
  void look_at(const float* pixels);
  const std::vector<float>& logits() const { return logits_; }
  // The map of the image looked at for a class.
  HeatMap explain(std::int64_t of_class);

 private:
  HeatMap gradient_map(std::int64_t of_class);

  const ModelConfig& config_;
  const VisionModel& model_;
  Backend& backend_;
  Explanation kind_;
  Allocation gradients_, images_, d_logits_, memory_;
  layers::TableCache tables_;
  std::unique_ptr<Arena> arena_;
  layers::Pass pass_;  // after the arena, whose tensors it holds
  std::vector<float> logits_;
  std::vector<double> rollout_;  // [tokens, tokens], row-major, of the image looked at
};

// The picture with the map over it, red where a patch speaks for the class and blue where it speaks against
// it, in whole multiples of the picture's size so that the shorter side has at least `side` pixels.
Image overlay(const Image& picture, const HeatMap& map, int side = 224);

}  // namespace vretnet::vision
