#include "core/training/evaluate.h"

#include <vector>

namespace vretnet::training {

Evaluation evaluate(const model::Model& model, Backend& backend, const View& weights,
                    const layers::Pass::Options& options, BatchSource& source,
                    const std::function<bool(std::int64_t images)>& progress,
                    const EvaluatorOptions& evaluator_options) {
  layers::Pass::Options inference = options;
  inference.mode = layers::Mode::inference;
  model::Session session(model, backend, weights, View(), inference);
  const auto classes = static_cast<std::size_t>(model.classes());
  Evaluator evaluator(model.classes(), evaluator_options);
  std::vector<float> logits;
  std::int64_t seen = 0;
  source.start_epoch(0, 0);
  while (const Batch* batch = source.next()) {
    logits.resize(static_cast<std::size_t>(batch->count) * classes);
    backend.download(session.forward(batch->images, batch->count), logits.data());
    for (std::int64_t i = 0; i < batch->count; ++i) {
      evaluator.add(batch->indices[i], batch->labels[i],
                    {logits.data() + static_cast<std::size_t>(i) * classes, classes});
    }
    seen += batch->count;
    if (progress && !progress(seen)) break;
  }
  return evaluator.finish();
}

}  // namespace vretnet::training
