#include "core/training/quantize.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/model/calibration.h"
#include "core/model/session.h"

namespace vretnet::training {
namespace {

layers::Pass::Options for_inference(layers::Pass::Options options) {
  options.mode = layers::Mode::inference;
  options.quantized = nullptr;
  options.piece_bytes = 0;  // what is measured first must not depend on the number of threads
  return options;
}

// The logits of all images, one after the other.
std::vector<float> logits_of(const model::Model& model, Backend& backend, const View& weights,
                             const layers::Pass::Options& options, BatchSource& source) {
  model::Session session(model, backend, weights, View(), options);
  std::vector<float> all;
  source.start_epoch(0, 0);
  while (const Batch* batch = source.next()) {
    const std::size_t begin = all.size();
    all.resize(begin + static_cast<std::size_t>(batch->count * model.classes()));
    backend.download(session.forward(batch->images, batch->count), all.data() + begin);
  }
  return all;
}

}  // namespace

model::QuantizedParameters quantize_parameters(const model::Model& model, Backend& backend,
                                               const std::vector<float>& values,
                                               const layers::Pass::Options& options, BatchSource& source,
                                               const std::function<bool(layers::ParameterId)>& chosen,
                                               const QuantizeProgress& progress) {
  const layers::ParameterTable& table = model.parameters();
  const model::BoundWeights weights(backend, table, values);
  model::CalibratingBackend watched(backend, table, weights.view());
  {
    model::Session session(model, watched, weights.view(), View(), for_inference(options));
    std::int64_t seen = 0;
    source.start_epoch(0, 0);
    while (const Batch* batch = source.next()) {
      session.forward(batch->images, batch->count);
      seen += batch->count;
      if (progress && !progress(seen)) break;
    }
    if (seen == 0) throw DataError("not one image to calibrate with could be read");
  }
  model::QuantizedParameters quantized;
  for (const auto& [id, histogram] : watched.inputs()) {
    if (!chosen(id)) continue;
    const std::span<const float> parameter(values.data() + table.parts(id).front().offset,
                                           static_cast<std::size_t>(table.shape(id).elements()));
    quantized.emplace(id, model::quantize(parameter, table.shape(id)[0], histogram.best_step()));
  }
  return quantized;
}

std::vector<QuantizationCost> quantization_costs(const model::Model& model, Backend& backend,
                                                 const std::vector<float>& values,
                                                 const model::QuantizedParameters& quantized,
                                                 const layers::Pass::Options& options, BatchSource& source,
                                                 const QuantizeProgress& progress) {
  const layers::ParameterTable& table = model.parameters();
  const model::BoundWeights weights(backend, table, values, quantized);
  layers::Pass::Options pass = for_inference(options);
  const std::vector<float> expected = logits_of(model, backend, weights.view(), pass, source);
  std::vector<QuantizationCost> costs;
  for (const auto& [id, parameter] : quantized) {
    layers::QuantizedLayers one;
    one[id] = weights.with(pass).quantized->at(id);
    layers::Pass::Options alone = pass;
    alone.quantized = &one;
    const std::vector<float> logits = logits_of(model, backend, weights.view(), alone, source);
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double change = static_cast<double>(logits[i]) - static_cast<double>(expected[i]);
      sum += change * change;
    }
    costs.push_back({id, sum / static_cast<double>(std::max<std::size_t>(logits.size(), 1))});
    if (progress && !progress(static_cast<std::int64_t>(costs.size()))) break;
  }
  std::stable_sort(costs.begin(), costs.end(),
                   [](const QuantizationCost& a, const QuantizationCost& b) { return a.cost > b.cost; });
  return costs;
}

}  // namespace vretnet::training
