// vretnet bench, vretnet bench compare, vretnet bench loading
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tools/bench_case.h"
#include "tools/bench_compare.h"
#include "tools/bench_loading.h"
#include "tools/bench_results.h"
#include "tools/bench_sweep.h"
#include "tools/interrupt.h"
#include "tools/recipe.h"
#include "tools/terminal.h"
#include "vision/model_file.h"
#include "vision/registry.h"

namespace vretnet::tools {
namespace {

constexpr const char* kFooter =
    R"(-m -b -t --img-size --precision --form take lists; every combination is measured:
  vretnet bench -m vretnet_tiny_patch16_224,vit_tiny_patch16_224 -b 1,8 -t 1,2
  vretnet bench -m vit_nano_patch4_32 --heads 3 -b 128 --train --ops
  vretnet bench --sweep resolution -o sweep        # time and memory against tokens, as SVG and tables
  vretnet bench loading -d photos -j 2 -m vretnet_tiny_patch16_224    # decoding, and a step that waits for it
  vretnet bench -b 1,8 -o a.json && vretnet bench -b 1,8 -o b.json && vretnet bench compare a.json b.json)";

constexpr double kLimitSeconds = 0.2;  // for each of the processor's limits

struct BenchFlags {
  std::vector<std::string> models, image_sizes;
  std::vector<std::int64_t> batches{1};
  MachineLists lists;
  MachineFlags machine;
  std::map<std::string, std::string> overrides;
  BenchSettings settings;
  bool training = false, ops = false, shapes = false;
  std::string sweep, format, output;
  CompareFlags compare;
  LoadingFlags loading;
};

const std::vector<std::string> kSweepSizes{"224", "320", "448", "640", "896", "1280", "2048"};

// A value that is named twice is measured once.
template <class Value>
void keep_first(std::vector<Value>& values) {
  std::vector<Value> kept;
  for (const Value& value : values) {
    if (std::find(kept.begin(), kept.end(), value) == kept.end()) kept.push_back(value);
  }
  values = std::move(kept);
}

// The families' names stand for their models of the usual size.
std::string model_name(const std::string& name) {
  return name == "vretnet" || name == "vit" ? name + "_tiny_patch16_224" : name;
}

struct NamedModel {
  vision::ModelConfig config;
  std::vector<std::string> integers;  // of an int8 file
};
NamedModel find_model(const std::string& name) {
  if (!vision::names_model_file(name)) {
    return {naming("--model", [&] { return vision::find_model_config(name); }), {}};
  }
  const vision::Classifier classifier = vision::load_classifier(name);
  NamedModel model{classifier.description.config, {}};
  for (const auto& [id, parameter] : classifier.quantized) {
    model.integers.push_back(classifier.model->parameters().parts(id).front().name);
  }
  return model;
}

// The weights that run as integers; the times do not depend on their values, so that any model can be asked
// to. Training runs on what the integers stand for.
std::vector<std::string> integers_of(const NamedModel& model, const vision::ModelConfig& config,
                                     const MachineFlags& machine, bool training) {
  if (training || machine.precision == "f32" || machine.precision == "bf16") return {};
  if (machine.precision == "int8")
    return model.integers.empty() ? quantizable_weights(config) : model.integers;
  return !model.integers.empty() && make_machine(machine)->favours_integers() ? model.integers
                                                                              : std::vector<std::string>();
}

vision::ModelConfig config_of(const BenchFlags& flags, const NamedModel& model, const std::string& name,
                              const std::string& size) {
  vision::ModelConfig config = model.config;
  apply_overrides(config, flags.overrides);
  if (!size.empty()) set_image_size(config, size);
  vision::validate(config, size.empty() ? name : fmt::format("{} at --img-size {}", name, size));
  return config;
}

std::string options_of(const BenchFlags& flags) {
  std::vector<std::string> words;
  for (const auto& [key, value] : flags.overrides) {
    if (!value.empty()) words.push_back(key + "=" + value);
  }
  if (flags.machine.chunk_rows != MachineFlags().chunk_rows) {
    words.push_back(fmt::format("chunk_rows={}", flags.machine.chunk_rows));
  }
  if (flags.machine.checkpoint_activations) words.emplace_back("checkpoint_activations");
  return fmt::format("{}", fmt::join(words, " "));
}

// The cross product, image sizes outermost where models are swept, so that what is compared is measured side
// by side. A form means nothing to a model without retention: it has one point for all.
std::vector<BenchCase> cases_of(const BenchFlags& flags) {
  std::vector<BenchCase> cases;
  const std::vector<std::string> sizes =
      flags.image_sizes.empty() ? std::vector<std::string>{""} : flags.image_sizes;
  for (const std::string& size : sizes) {
    for (const std::string& name : flags.models) {
      const std::string model = model_name(name);
      const NamedModel named = find_model(model);
      const vision::ModelConfig config = config_of(flags, named, model, size);
      const bool retains = config.mixer == vision::MixerKind::retention;
      for (const std::int64_t batch : flags.batches) {
        for (const int threads : flags.lists.threads) {
          for (const std::string& form : retains ? flags.lists.forms : std::vector<std::string>{"none"}) {
            for (const std::string& precision : flags.lists.precisions) {
              MachineFlags machine = flags.machine;
              machine.threads = threads;
              machine.form = form;
              machine.precision = precision;
              cases.push_back({model, options_of(flags), config,
                               integers_of(named, config, machine, flags.training), machine, batch,
                               flags.training});
            }
          }
        }
      }
    }
  }
  return cases;
}

std::string name_of(const BenchCase& point) {
  return fmt::format("{} {} batch {}, {} threads", point.model, image_size_text(point.config.image_size),
                     point.batch, thread_count(point.machine));
}

// The limits of a number of threads, measured before and after the models: what else the machine does may
// disturb one of the two.
class LimitsByThreads {
 public:
  explicit LimitsByThreads(double seconds) : seconds_(std::min(kLimitSeconds, seconds)) {}
  void measure(const BenchCase& point) {
    const int threads = thread_count(point.machine);
    const std::unique_ptr<Backend> backend = make_machine(point.machine);
    const measure::Limits limits = measure::measure_limits(*backend, threads, seconds_);
    const auto [place, first] = limits_.emplace(threads, limits);
    if (!first) place->second.improve(limits);
  }
  bool contains(const BenchCase& point) const { return limits_.contains(thread_count(point.machine)); }
  const measure::Limits& of(const BenchCase& point) const { return limits_.at(thread_count(point.machine)); }

 private:
  double seconds_;
  std::map<int, measure::Limits> limits_;
};

// Measures all cases; after an interrupt, or when one fails, `results` holds those before it.
void measure_all(const std::vector<BenchCase>& cases, const BenchFlags& flags,
                 std::vector<BenchResult>& results) {
  LimitsByThreads limits(flags.settings.repeats.seconds);
  Progress progress("bench", static_cast<std::int64_t>(cases.size()), "case");
  for (const BenchCase& point : cases) {
    progress.update(static_cast<std::int64_t>(results.size()), name_of(point));
    if (!limits.contains(point)) limits.measure(point);
    auto result = measure_case(point, flags.settings, interrupt_requested);
    if (!result) break;
    result->limits = limits.of(point);
    say_verbose(fmt::format("{}: {:.4g} ms at best of {}", name_of(point),
                            1e3 * *std::min_element(result->seconds.begin(), result->seconds.end()),
                            result->seconds.size()));
    results.push_back(std::move(*result));
  }
  std::set<int> again;
  for (const BenchResult& result : results) {
    if (again.insert(thread_count(result.point.machine)).second) limits.measure(result.point);
  }
  for (BenchResult& result : results) result.limits = limits.of(result.point);
}

void write_results(const std::vector<BenchResult>& results, const BenchFlags& flags) {
  if (results.empty()) return;
  if (!flags.sweep.empty()) return write_sweep(results, flags.output);
  const std::string text = results_text(results, result_format(flags.format, flags.output));
  if (flags.output.empty()) return print(text);
  write_file_atomically(flags.output, text);
  say(fmt::format("{} rows -> {}", results.size(), flags.output));
}

int run_bench(BenchFlags flags) {
  flags.settings.ops = flags.shapes ? OpRows::shapes : flags.ops ? OpRows::kinds : OpRows::none;
  if (!flags.sweep.empty()) {
    if (flags.output.empty()) throw UsageError("--sweep writes files: name their folder with -o");
    if (flags.batches.size() * flags.lists.threads.size() * flags.lists.forms.size() *
            flags.lists.precisions.size() >
        1) {
      throw UsageError("--sweep takes one batch size, number of threads, precision and form");
    }
    if (flags.models.empty()) flags.models = {"vretnet", "vit"};
    if (flags.image_sizes.empty()) flags.image_sizes = kSweepSizes;
    std::filesystem::create_directories(flags.output);
  }
  if (flags.models.empty()) flags.models = {"vretnet"};
  keep_first(flags.models);
  keep_first(flags.image_sizes);
  keep_first(flags.batches);
  keep_first(flags.lists.threads);
  keep_first(flags.lists.forms);
  keep_first(flags.lists.precisions);
  const std::vector<BenchCase> cases = cases_of(flags);
  catch_interrupts();
  std::vector<BenchResult> results;
  try {
    measure_all(cases, flags, results);
  } catch (...) {  // what was measured is not lost
    write_results(results, flags);
    throw;
  }
  write_results(results, flags);
  return interrupt_requested() ? kInterrupted : 0;
}

void declare_compare(CLI::App& app, CompareFlags& flags) {
  app.add_option("before", flags.before, "json or jsonl of vretnet bench")->required();
  app.add_option("now", flags.now, "the same, measured later or elsewhere")->required();
  app.add_option("--fail-over", flags.fail_over, "per cent of time that a row may lose")
      ->check(number_range(0, 1e6));
  app.add_option("--ignore", flags.ignored, "keys in which matched rows may differ: model, threads …")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(row_keys()));
  app.add_flag("--matched-only", flags.matched_only, "leave rows out that only one file has");
  app.add_option("--format", flags.format, "text, md, csv or json")
      ->check(CLI::IsMember({"text", "md", "csv", "json"}));
  add_output_flags(app);
  app.footer("Exit code 1 where a row became slower by more than --fail-over and its interval lies above 1.");
}

void declare_bench(CLI::App& app, BenchFlags& flags) {
  const auto list = [&](const char* names, auto& values, const char* help) {
    return app.add_option(names, values, help)->delimiter(',')->allow_extra_args(false);
  };
  list("-m,--model,--checkpoint", flags.models,
       "names (vretnet models) or model files; vretnet, vit: the tiny ones")
      ->default_str("");
  list("-b,--batch-size", flags.batches, "images of a batch")->check(count_range(1, 1 << 20));
  list("--img-size,--imgsz", flags.image_sizes, "pixels: 224, or HEIGHTxWIDTH");
  add_machine_lists(app, flags.lists);
  add_device_flags(app, flags.machine);
  CLI::Option* train = app.add_flag("--train", flags.training,
                                    "a training step (forward, backward, AdamW) instead of inference");
  add_checkpointing_flag(app, flags.machine)->needs(train);
  app.add_option("-r,--repeats", flags.settings.repeats.repeats, "timed runs of each, at least")
      ->check(count_range(1));
  app.add_option("--min-time", flags.settings.repeats.seconds, "seconds of each, at least")
      ->check(number_range(0, 1e6));
  app.add_option("--warm-up", flags.settings.repeats.warm_up, "runs of each before that")
      ->check(count_range(1));
  app.add_flag("--ops", flags.ops, "a table of the ops: time, rates, fraction of their roofline");
  app.add_flag("--shapes", flags.shapes, "as --ops, with a row for every shape of op");
  app.add_option("--sweep", flags.sweep, "resolution: time and memory against tokens, files in -o")
      ->check(CLI::IsMember({"resolution"}));
  app.add_option("--format", flags.format, "text, md, csv, json or jsonl (default: by -o's ending, or text)")
      ->check(CLI::IsMember({"text", "md", "csv", "json", "jsonl"}));
  app.add_option("-o,--output", flags.output, "file for the results, or folder of a sweep");
  add_model_override_flags(app, flags.overrides, "image_size");
  add_output_flags(app);
  app.footer(kFooter);
}

}  // namespace

Command bench_command() {
  return {"bench", "latency, throughput, memory; compare two results", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<BenchFlags>();
            auto work = std::make_shared<Work>([flags] { return run_bench(*flags); });
            app.require_subcommand(0, 1);
            declare_bench(app, *flags);
            CLI::App* compare = app.add_subcommand("compare", "ratios of two result files, and an exit code");
            declare_compare(*compare, flags->compare);
            compare->callback([flags, work] { *work = [flags] { return compare_results(flags->compare); }; });
            CLI::App* loading =
                app.add_subcommand("loading", "images a second from a folder, and a step fed from it");
            declare_loading(*loading, flags->loading);
            loading->callback([flags, work] { *work = [flags] { return measure_loading(flags->loading); }; });
            return [work] { return (*work)(); };
          }};
}

}  // namespace vretnet::tools
