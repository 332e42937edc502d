#include "tools/model_evaluation.h"

#include <fmt/format.h>

#include "core/training/evaluate.h"
#include "datasets/subset.h"
#include "tools/test_time.h"

namespace vretnet::tools {

void add_evaluation_flags(CLI::App& app, EvaluationFlags& flags) {
  app.add_option("-b,--batch-size", flags.batch_size, "images of a batch")->check(count_range(1, 1 << 20));
  app.add_option("-j,--workers", flags.workers, "threads that load images")->check(count_range(0, 256));
  app.add_option("--cache", flags.cache, "decoded images in memory: auto, ram or off")
      ->check(CLI::IsMember({"auto", "ram", "off"}));
  add_test_time_flag(app, flags.tta);
  add_robustness_flags(app, flags.robustness);
  add_machine_flags(app, flags.machine);
}

void add_split_flag(CLI::App& app, std::string& split) {
  app.add_option("--split", split, "train, val, test, or all where there is no val/ folder")
      ->check(CLI::IsMember({"train", "val", "test", "all"}));
}

ModelEvaluation::ModelEvaluation(std::string file, vision::Classifier classifier,
                                 const datasets::DatasetPointer& data, const EvaluationFlags& flags,
                                 std::uint64_t seed)
    : file_(std::move(file)),
      classifier_(std::move(classifier)),
      dataset_(datasets::with_class_names(data, classifier_.description.class_names)),
      flags_(flags),
      seed_(seed),
      backend_(make_machine(flags.machine)),
      integers_(runs_integers(flags.machine, *backend_, file_, !classifier_.quantized.empty())),
      weights_(*backend_, classifier_.model->parameters(), classifier_.values,
               integers_ ? classifier_.quantized : model::QuantizedParameters()) {}

std::string ModelEvaluation::text() const {
  return fmt::format("{}  {}  {}  {}", file_, classifier_.description.config.name, precision(),
                     backend_->description());
}

training::Evaluation ModelEvaluation::evaluate(const std::optional<vision::Disturbance>& disturbance,
                                               const std::function<void(std::int64_t images)>& progress,
                                               bool keep_logits,
                                               std::vector<training::SkippedSample>* skipped) const {
  datasets::LoaderOptions options;
  options.batch_size = flags_.batch_size;
  options.workers = flags_.workers;
  options.preprocessing = classifier_.description.preprocessing;
  options.cache = datasets::parse_cache_mode(flags_.cache);
  options.max_skip_share = 1;  // every image is answered for, the unreadable ones by name
  options.seed = seed_;
  options.disturbance = disturbance;
  datasets::Loader loader(dataset_, options);
  training::Evaluation evaluation = training::evaluate(
      *classifier_.model, *backend_, weights_.view(),
      weights_.with(pass_options(flags_.machine, layers::Mode::inference)), loader,
      [&](std::int64_t images) {
        progress(images);
        return true;
      },
      {.temperature = classifier_.description.temperature, .keep_logits = keep_logits},
      test_time_augmentation(flags_.tta));
  if (skipped) *skipped = loader.skipped();
  return evaluation;
}

}  // namespace vretnet::tools
