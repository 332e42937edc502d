#include "tools/bench_case.h"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "core/base/random.h"
#include "core/measure/observed_backend.h"
#include "core/measure/process_memory.h"
#include "core/measure/statistics.h"
#include "core/model/bound_weights.h"
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

std::vector<float> first_values(const layers::ParameterTable& table) {
  const std::vector<double> values = model::initial_values(table, kSeed);
  return {values.begin(), values.end()};
}

// The parameters of these names, in integers. The step of the inputs is that of numbers of deviation 1,
// roughly.
model::QuantizedParameters quantized_values(const layers::ParameterTable& table,
                                            const std::vector<std::string>& names) {
  constexpr float kInputStep = 0.03f;
  model::QuantizedParameters quantized;
  const std::vector<float> values = names.empty() ? std::vector<float>() : first_values(table);
  for (layers::ParameterId id = 0; id < table.parameters() && !names.empty(); ++id) {
    const layers::NamedTensor& first = table.parts(id).front();
    if (std::find(names.begin(), names.end(), first.name) == names.end()) continue;
    const std::span<const float> part(values.data() + first.offset,
                                      static_cast<std::size_t>(table.shape(id).elements()));
    quantized.emplace(id, model::quantize(part, table.shape(id)[0], kInputStep));
  }
  return quantized;
}

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
        weights_(backend, model.parameters(), first_values(model.parameters()),
                 quantized_values(model.parameters(), point.integers)),
        session_(model, backend, weights_.view(), View(),
                 weights_.with(pass_options(point.machine, layers::Mode::inference))),
        images_(static_cast<std::size_t>(model.input_shape(batch_).elements())),
        logits_(static_cast<std::size_t>(batch_ * model.classes())) {
    Random random(kSeed);
    for (float& value : images_) value = static_cast<float>(random.uniform(-2, 2));
  }
  void run() override { backend_.download(session_.forward(images_.data(), batch_), logits_.data()); }

 private:
  Backend& backend_;
  std::int64_t batch_;
  model::BoundWeights weights_;
  model::Session session_;
  std::vector<float> images_, logits_;
};

class TrainingLoad : public Load {
 public:
  TrainingLoad(const vision::VisionModel& model, Backend& backend, const BenchCase& point)
      : source_(model.input_shape(point.batch), model.classes()),
        trainer_(model, backend, source_, {.pass = pass_options(point.machine, layers::Mode::training)}) {
    model::upload_values(backend, trainer_.weights(), model::initial_values(model.parameters(), kSeed));
    trainer_.start_at({});
  }
  void run() override { trainer_.step(); }

 private:
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

OpCost cost_of(const ops::Op& op) {
  return {ops::flops(op), ops::bytes(op), std::holds_alternative<ops::QuantizedGemm>(op)};
}

// With the costs of each call, the longest time first.
std::vector<OpRow> op_rows(const std::map<std::string, double>& seconds, const std::vector<ops::Op>& recorded,
                           const std::function<std::string(const ops::Op&)>& label) {
  std::map<std::string, OpRow> by_label;
  for (const ops::Op& op : recorded) by_label[label(op)].calls.push_back(cost_of(op));
  std::vector<OpRow> rows;
  for (auto& [op, row] : by_label) rows.push_back({op, seconds.at(op), std::move(row.calls)});
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OpRow& a, const OpRow& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

std::vector<std::string> quantizable_weights(const vision::ModelConfig& config) {
  const auto model = vision::make_model(config);
  std::vector<std::string> names;
  for (layers::ParameterId id = 0; id < model->parameters().parameters(); ++id) {
    const std::string& name = model->parameters().parts(id).front().name;
    if (name.starts_with("blocks.") && model::is_quantizable(model->parameters(), id)) names.push_back(name);
  }
  return names;
}

std::optional<BenchResult> measure_case(const BenchCase& point, const BenchSettings& settings,
                                        const std::function<bool()>& stop) {
  BenchResult result{.point = point};
  const auto model = vision::make_model(point.config);
  result.parameters = model->parameters().count();
  result.weights_bytes =
      static_cast<double>(model->parameters().elements()) * static_cast<double>(bytes_of(DType::f32));
  for (const std::string& name : point.integers) {
    for (layers::ParameterId id = 0; id < model->parameters().parameters(); ++id) {
      if (model->parameters().parts(id).front().name != name) continue;
      result.weights_bytes -= 3 * static_cast<double>(model->parameters().shape(id).elements());
    }
  }

  measure::start_new_peak();
  const std::size_t before = measure::resident_memory();
  const std::unique_ptr<Backend> backend = make_machine(point.machine);
  result.backend = backend->description();
  measure::ObservedBackend observed(*backend);
  const auto label = [&](const ops::Op& op) -> std::string {
    return settings.ops == OpRows::shapes ? ops::label_of(op) : ops::name_of(op);
  };
  const auto make_load = [&](Backend& machine) -> std::unique_ptr<Load> {
    if (point.training) return std::make_unique<TrainingLoad>(*model, machine, point);
    return std::make_unique<InferenceLoad>(*model, machine, point);
  };

  std::unique_ptr<Load> load = make_load(observed);
  observed.record(true);
  load->run();  // the first time op by op, whatever the machine records later
  observed.record(false);
  measure::RepeatOptions repeats = settings.repeats;
  repeats.machine = backend.get();
  result.own_clock = backend->has_clock();
  result.seconds = measure::repeat([&] { load->run(); }, repeats, stop);
  result.model_bytes = static_cast<double>(observed.peak_bytes() + backend->kept_bytes());
  const std::size_t peak = measure::peak_memory();
  result.process_bytes = static_cast<double>(peak);
  result.growth_bytes = static_cast<double>(peak - std::min(peak, before));
  if (stop()) return std::nullopt;
  for (const ops::Op& op : observed.recorded()) result.costs.push_back(cost_of(op));
  for (const OpCost& cost : result.costs) result.flops += cost.flops;
  result.form_ran = form_of(observed.recorded());
  result.products_rate = measure::products_rate(observed, observed.recorded(),
                                                std::min(kProductSeconds, settings.repeats.seconds));
  if (settings.ops == OpRows::none) return result;

  load.reset();
  ProfiledBackend profiled(*backend, label);
  profiled.watch(false);
  const std::unique_ptr<Load> watched = make_load(profiled);
  watched->run();
  const auto seconds = median_seconds(*watched, profiled, settings.repeats, stop);
  if (stop()) return std::nullopt;
  result.ops = op_rows(seconds, observed.recorded(), label);
  return result;
}

}  // namespace vretnet::tools
