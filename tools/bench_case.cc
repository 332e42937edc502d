#include "tools/bench_case.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "core/base/random.h"
#include "core/measure/observed_backend.h"
#include "core/measure/process_memory.h"
#include "core/measure/statistics.h"
#include "core/model/session.h"
#include "core/model/weights.h"
#include "core/ops/cost.h"
#include "core/ops/profiled_backend.h"
#include "core/training/synthetic_source.h"
#include "core/training/trainer.h"
#include "vision/vision_model.h"

namespace vretnet::tools {
namespace {

constexpr std::uint64_t kSeed = 42;
constexpr double kProductSeconds = 0.3;  // for all products of a model, each alone

// What is timed, and the memory it needs for as long as it lives.
class Load {
 public:
  virtual ~Load() = default;
  virtual void run() = 0;
};

class InferenceLoad : public Load {
 public:
  InferenceLoad(const vision::VisionModel& model, Backend& backend, const BenchCase& point)
      : backend_(backend),
        batch_(point.batch),
        weights_(backend, DType::f32, {model.parameters().elements()}),
        session_(model, backend, weights_.view(), View(),
                 pass_options(point.machine, layers::Mode::inference)),
        images_(static_cast<std::size_t>(model.input_shape(batch_).elements())),
        logits_(static_cast<std::size_t>(batch_ * model.classes())) {
    model::upload_values(backend, weights_.view(), model::initial_values(model.parameters(), kSeed));
    Random random(kSeed);
    for (float& value : images_) value = static_cast<float>(random.uniform(-2, 2));
  }
  void run() override {
    backend_.download(session_.forward(images_.data(), batch_), logits_.data());
    backend_.synchronize();
  }

 private:
  Backend& backend_;
  std::int64_t batch_;
  Allocation weights_;
  model::Session session_;
  std::vector<float> images_, logits_;
};

class TrainingLoad : public Load {
 public:
  TrainingLoad(const vision::VisionModel& model, Backend& backend, const BenchCase& point)
      : backend_(backend),
        source_(model.input_shape(point.batch), model.classes()),
        trainer_(model, backend, source_, {.pass = pass_options(point.machine, layers::Mode::training)}) {
    model::upload_values(backend, trainer_.weights(), model::initial_values(model.parameters(), kSeed));
    trainer_.start_at({});
  }
  void run() override {
    trainer_.step();
    backend_.synchronize();
  }

 private:
  Backend& backend_;
  training::SyntheticSource source_;
  training::Trainer trainer_;
};

// The form that retention took; the first one, where layers differ.
std::string form_of(const std::vector<ops::Op>& recorded) {
  for (const ops::Op& op : recorded) {
    const auto* retention = std::get_if<ops::Retention>(&op);
    const auto* block = std::get_if<ops::RetentionBlock>(&op);
    if (!retention && !block) continue;
    switch (retention ? retention->pattern.form : block->pattern.form) {
      case ops::RetentionForm::parallel:
        return "parallel";
      case ops::RetentionForm::chunkwise:
        return "chunkwise";
      case ops::RetentionForm::recurrent:
        return "recurrent";
    }
  }
  return "none";
}

// The median time of every row over repeats of the same work.
std::vector<OpRow> profile(Load& load, ProfiledBackend& profiled, const measure::RepeatOptions& repeats,
                           const std::function<bool()>& stop) {
  std::map<std::string, std::vector<double>> seconds;
  std::vector<OpProfile> last;
  profiled.watch(true);
  const auto run = [&] {
    profiled.reset();
    load.run();
    last = profiled.profile();
    for (const OpProfile& row : last) seconds[row.op].push_back(row.seconds);
  };
  measure::repeat(run, {.warm_up = 0, .repeats = repeats.repeats, .seconds = repeats.seconds}, stop);
  profiled.watch(false);
  std::vector<OpRow> rows;
  for (const OpProfile& row : last) {
    rows.push_back({row.op, row.calls, measure::quantile(seconds[row.op], 0.5), row.flops, row.bytes,
                    row.least_seconds});
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OpRow& a, const OpRow& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

std::optional<BenchResult> measure_case(const BenchCase& point, const BenchSettings& settings,
                                        const measure::Limits& limits, const std::function<bool()>& stop) {
  BenchResult result{.point = point, .limits = limits};
  const auto model = vision::make_model(point.config);
  result.parameters = model->parameters().count();
  result.weights_bytes =
      static_cast<double>(model->parameters().elements()) * static_cast<double>(bytes_of(DType::f32));

  measure::start_new_peak();
  const std::unique_ptr<Backend> backend = make_machine(point.machine);
  result.backend = backend->description();
  measure::ObservedBackend observed(*backend);
  const auto label = [&](const ops::Op& op) -> std::string {
    return settings.ops == OpRows::shapes ? ops::label_of(op) : ops::name_of(op);
  };
  ProfiledBackend profiled(observed, label, [&](const ops::Op& op) { return limits.least_seconds(op); });
  profiled.watch(false);
  Backend& machine = settings.ops == OpRows::none ? static_cast<Backend&>(observed) : profiled;
  std::unique_ptr<Load> load;
  if (point.training) {
    load = std::make_unique<TrainingLoad>(*model, machine, point);
  } else {
    load = std::make_unique<InferenceLoad>(*model, machine, point);
  }

  result.seconds = measure::repeat([&] { load->run(); }, settings.repeats, stop);
  result.model_bytes = static_cast<double>(observed.peak_bytes());
  result.process_bytes = static_cast<double>(measure::peak_memory());
  if (settings.ops != OpRows::none && !stop()) {
    result.ops = profile(*load, profiled, settings.repeats, stop);
  }
  if (stop()) return std::nullopt;
  observed.record(true);
  load->run();
  observed.record(false);
  result.form_ran = form_of(observed.recorded());
  for (const ops::Op& op : observed.recorded()) result.flops += ops::flops(op);
  result.products_rate = measure::products_rate(observed, observed.recorded(),
                                                std::min(kProductSeconds, settings.repeats.seconds));
  return result;
}

}  // namespace vretnet::tools
