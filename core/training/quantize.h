// Post-training quantization: which steps the layers' inputs get, and what each layer's integers cost.
#pragma once

#include <functional>
#include <vector>

#include "core/model/bound_weights.h"
#include "core/model/model.h"
#include "core/training/batch_source.h"

namespace vretnet::training {

// The images to learn from: called with those seen so far, false stops.
using QuantizeProgress = std::function<bool(std::int64_t images)>;

// Runs epoch 0 of the source through the model in f32 and quantizes the parameters of `chosen` that its
// products read (model::quantize; steps of the inputs by MagnitudeHistogram::best_step).
model::QuantizedParameters quantize_parameters(const model::Model& model, Backend& backend,
                                               const std::vector<float>& values,
                                               const layers::Pass::Options& options, BatchSource& source,
                                               const std::function<bool(layers::ParameterId)>& chosen,
                                               const QuantizeProgress& progress = {});

// How far the logits of the source's epoch 0 move when one layer alone runs on integers: the mean square of
// the change.
struct QuantizationCost {
  layers::ParameterId parameter;
  double cost;
};
// The most costly first.
std::vector<QuantizationCost> quantization_costs(const model::Model& model, Backend& backend,
                                                 const std::vector<float>& values,
                                                 const model::QuantizedParameters& quantized,
                                                 const layers::Pass::Options& options, BatchSource& source,
                                                 const QuantizeProgress& progress = {});

}  // namespace vretnet::training
