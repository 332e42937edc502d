#include "core/training/evaluate.h"

namespace vretnet::training {

Evaluation evaluate(const model::Model& model, Backend& backend, const View& weights,
                    const layers::Pass::Options& options, BatchSource& source,
                    const std::function<bool(std::int64_t images)>& progress,
                    const EvaluatorOptions& evaluator_options, TestTimeAugmentation augmentation) {
  Predictor predictor(model, backend, weights, options, augmentation);
  const auto classes = static_cast<std::size_t>(model.classes());
  Evaluator evaluator(model.classes(), evaluator_options);
  std::int64_t seen = 0;
  source.start_epoch(0, 0);
  while (const Batch* batch = source.next()) {
    const std::span<const float> logits = predictor.logits(batch->images, batch->count);
    for (std::int64_t i = 0; i < batch->count; ++i) {
      evaluator.add(batch->indices[i], batch->labels[i],
                    logits.subspan(static_cast<std::size_t>(i) * classes, classes));
    }
    seen += batch->count;
    if (progress && !progress(seen)) break;
  }
  return evaluator.finish();
}

}  // namespace vretnet::training
