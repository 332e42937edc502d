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
std::map<std::string, double> median_seconds(Load& load, ProfiledBackend& profiled,
                                             const measure::RepeatOptions& repeats,
                                             const std::function<bool()>& stop) {
  std::map<std::string, std::vector<double>> seconds;
  profiled.watch(true);
  const auto run = [&] {
    profiled.reset();
    load.run();
    for (const OpProfile& row : profiled.profile()) seconds[row.op].push_back(row.seconds);
  };
  measure::repeat(run, {.warm_up = 0, .repeats = repeats.repeats, .seconds = repeats.seconds}, stop);
  profiled.watch(false);
  std::map<std::string, double> medians;
  for (const auto& [op, times] : seconds) medians[op] = measure::quantile(times, 0.5);
  return medians;
}

// With the costs of each call, the longest time first.
std::vector<OpRow> op_rows(const std::map<std::string, double>& seconds, const std::vector<ops::Op>& recorded,
                           const std::function<std::string(const ops::Op&)>& label) {
  std::map<std::string, OpRow> by_label;
  for (const ops::Op& op : recorded) by_label[label(op)].calls.push_back({ops::flops(op), ops::bytes(op)});
  std::vector<OpRow> rows;
  for (auto& [op, row] : by_label) rows.push_back({op, seconds.at(op), std::move(row.calls)});
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OpRow& a, const OpRow& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

std::optional<BenchResult> measure_case(const BenchCase& point, const BenchSettings& settings,
                                        const std::function<bool()>& stop) {
  BenchResult result{.point = point};
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
  ProfiledBackend profiled(observed, label);
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
  std::map<std::string, double> seconds;
  if (settings.ops != OpRows::none && !stop()) {
    seconds = median_seconds(*load, profiled, settings.repeats, stop);
  }
  if (stop()) return std::nullopt;
  observed.record(true);
  load->run();
  observed.record(false);
  if (settings.ops != OpRows::none) result.ops = op_rows(seconds, observed.recorded(), label);
  result.form_ran = form_of(observed.recorded());
  for (const ops::Op& op : observed.recorded()) result.flops += ops::flops(op);
  result.products_rate = measure::products_rate(observed, observed.recorded(),
                                                std::min(kProductSeconds, settings.repeats.seconds));
  return result;
}

}  // namespace vretnet::tools
