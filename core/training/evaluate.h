// A whole data set through a model in inference mode.
#pragma once

#include <functional>

#include "core/training/batch_source.h"
#include "core/training/metrics.h"
#include "core/training/predictor.h"

namespace vretnet::training {

// Reads epoch 0 of the source to its end. `progress` is called after every batch with the images seen so far;
// false stops early.
Evaluation evaluate(const model::Model& model, Backend& backend, const View& weights,
                    const layers::Pass::Options& options, BatchSource& source,
                    const std::function<bool(std::int64_t images)>& progress = {},
                    const EvaluatorOptions& evaluator_options = {},
                    TestTimeAugmentation augmentation = TestTimeAugmentation::None);

}  // namespace vretnet::training
