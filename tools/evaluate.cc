// vretnet eval
#include "core/training/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/model/bound_weights.h"
#include "core/model/checkpoint.h"
#include "datasets/loader.h"
#include "datasets/registry.h"
#include "datasets/subset.h"
#include "tools/command.h"
#include "tools/evaluation_files.h"
#include "tools/recipe.h"
#include "tools/robustness.h"
#include "tools/terminal.h"
#include "tools/test_time.h"
#include "tools/trained_model.h"

namespace vretnet::tools {
namespace {

using nlohmann::json;

struct EvaluateFlags {
  std::string data_dir, model, split = "val", output, format = "text", cache = "off", tta = "none";
  std::int64_t batch_size = 64;
  int workers = 1;
  std::size_t top_losses = 100;
  double fail_under = 0, val_split = Recipe().val_split;
  std::uint64_t seed = Recipe().seed;
  bool calibrate = false;
  RobustnessFlags robustness;
  MachineFlags machine;
};

// Writes the temperature that calibrates the evaluated answers into the model's file.
void calibrate(const EvaluateFlags& flags, vision::Classifier& classifier,
               const training::Evaluation& evaluation) {
  if (!std::isfinite(evaluation.loss)) throw RunError("--calibrate: the model's answers are not finite");
  const double before = classifier.description.temperature;
  classifier.description.temperature = training::best_temperature(evaluation);
  vision::save_classifier(flags.model, classifier.description, classifier.model->parameters(),
                          classifier.values, classifier.quantized);
  say(fmt::format("calibrated {}: temperature {:.4g}, was {:.4g}", flags.model,
                  classifier.description.temperature, before));
}

std::string text_report(const training::Evaluation& evaluation, const std::vector<std::string>& class_names) {
  std::size_t longest = 5;
  for (const std::string& name : class_names)
    longest = std::max(longest, std::min<std::size_t>(name.size(), 40));
  std::string text = fmt::format("{:<{}}  images  precision  recall     f1\n", "class", longest);
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    const training::ClassMetrics& metrics = evaluation.classes[c];
    if (metrics.images == 0) continue;
    text += fmt::format("{:<{}}  {:6}     {:6.3f}  {:6.3f} {:6.3f}\n", class_names[c], longest,
                        metrics.images, metrics.precision, metrics.recall, metrics.f1);
  }
  return text + fmt::format("images {}  top1 {:.2f}%  top5 {:.2f}%  loss {:.4f}  ece {:.4f}\n",
                            evaluation.images, 100 * evaluation.top1, 100 * evaluation.top5, evaluation.loss,
                            evaluation.ece);
}

std::string json_report(const training::Evaluation& evaluation, const std::vector<std::string>& class_names,
                        const std::vector<DisturbedResult>& disturbed, std::size_t skipped, double rate) {
  nlohmann::ordered_json report = {{"top1", evaluation.top1},     {"top5", evaluation.top5},
                                   {"loss", evaluation.loss},     {"ece", evaluation.ece},
                                   {"images", evaluation.images}, {"skipped", skipped}};
  report["classes"] = json::array();
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    const training::ClassMetrics& metrics = evaluation.classes[c];
    report["classes"].push_back(nlohmann::ordered_json{{"name", class_names[c]},
                                                       {"images", metrics.images},
                                                       {"precision", metrics.precision},
                                                       {"recall", metrics.recall},
                                                       {"f1", metrics.f1}});
  }
  if (!disturbed.empty()) report["robustness"] = robustness_json(disturbed);
  report["images_per_second"] = std::round(rate * 10) / 10;
  return report.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

int evaluate_model(const EvaluateFlags& flags) {
  vision::Classifier classifier = load_trained(flags.model, "eval");
  if (flags.calibrate && !model::is_our_format(model::SafetensorsFile(flags.model))) {
    throw UsageError(fmt::format(
        "--calibrate: {} has no place for a temperature, it is not a file of vretnet", flags.model));
  }
  const vision::Description& description = classifier.description;
  const datasets::OpenedSplit opened = naming("--data-dir", [&] {
    return datasets::open_split(flags.data_dir, flags.split,
                                {.val_split = flags.val_split, .seed = flags.seed});
  });
  const datasets::DatasetPointer dataset = datasets::with_class_names(opened.data, description.class_names);
  const std::unique_ptr<Backend> backend = make_machine(flags.machine);
  const bool integers = runs_integers(flags.machine, *backend, flags.model, !classifier.quantized.empty());
  const model::BoundWeights weights(*backend, classifier.model->parameters(), classifier.values,
                                    integers ? classifier.quantized : model::QuantizedParameters());

  datasets::LoaderOptions options;
  options.batch_size = flags.batch_size;
  options.workers = flags.workers;
  options.preprocessing = description.preprocessing;
  options.cache = datasets::parse_cache_mode(flags.cache);
  options.max_skip_share = 1;  // every image is answered for, the unreadable ones by name
  options.seed = flags.seed;
  datasets::Loader loader(dataset, options);
  say(fmt::format("data    {}: {} images, split '{}'", flags.data_dir, dataset->size(), opened.part));
  say(fmt::format("model   {}  {}  {}  {}", flags.model, description.config.name,
                  integers ? "int8" : precision_of(flags.machine), backend->description()));

  const std::vector<vision::Disturbance> wanted = disturbances(flags.robustness, description);
  const auto rounds = static_cast<std::int64_t>(1 + wanted.size());
  Progress progress("eval", rounds * dataset->size(), "img");
  std::int64_t seen_before = 0;
  const auto evaluate = [&](datasets::Loader& source) {
    const training::Evaluation evaluation = training::evaluate(
        *classifier.model, *backend, weights.view(),
        weights.with(pass_options(flags.machine, layers::Mode::inference)), source,
        [&](std::int64_t seen) {
          progress.update(seen_before + seen);
          return true;
        },
        {.temperature = description.temperature, .keep_logits = flags.calibrate},
        test_time_augmentation(flags.tta));
    seen_before += dataset->size();
    return evaluation;
  };
  const training::Evaluation evaluation = evaluate(loader);
  const std::vector<DisturbedResult> disturbed = evaluate_disturbed(wanted, [&](const auto& disturbance) {
    options.disturbance = disturbance;
    datasets::Loader worse(dataset, options);
    return evaluate(worse);
  });
  const double rate = progress.rate();
  progress.finish();
  const auto name_of = [&](std::int64_t index) { return dataset->name(index); };
  const auto& names = description.class_names;
  for (const training::SkippedSample& sample : loader.skipped())
    say(fmt::format("skipped {}: {}", sample.name, sample.reason));
  if (evaluation.images == 0) throw DataError(fmt::format("{}: not one image could be read", flags.data_dir));

  if (!flags.output.empty()) {
    std::filesystem::create_directories(flags.output);
    write_evaluation_files(flags.output, evaluation, names, name_of, flags.top_losses);
    say(fmt::format("wrote   {}/ confusion.csv, confusion.svg, per_class.csv, top_losses.csv", flags.output));
  }
  if (flags.format == "json") {
    print(json_report(evaluation, names, disturbed, loader.skipped().size(), rate));
  } else {
    print(text_report(evaluation, names) + robustness_text(disturbed, evaluation.top1));
    for (const training::Prediction& wrong : worst_predictions(evaluation, flags.top_losses)) {
      if (wrong.label == wrong.predicted) break;
      say_verbose(fmt::format("wrong   {}: {} is {}", name_of(wrong.index),
                              names[static_cast<std::size_t>(wrong.predicted)],
                              names[static_cast<std::size_t>(wrong.label)]));
    }
  }
  if (flags.calibrate) calibrate(flags, classifier, evaluation);
  if (evaluation.top1 < flags.fail_under) {
    throw RunError(
        fmt::format("top-1 accuracy {:.4f} is under --fail-under {:.4f}", evaluation.top1, flags.fail_under));
  }
  return 0;
}

}  // namespace

Command evaluate_command() {
  return {
      "eval", "accuracy, loss, per-class table, confusion matrix, wrong images", [](CLI::App& app) -> Work {
        auto flags = std::make_shared<EvaluateFlags>();
        app.add_option("-m,--model,--checkpoint", flags->model, "a model file")->required();
        app.add_option("-d,--data-dir,--data-path,--data", flags->data_dir,
                       "ImageFolder, IDX folder, or fashion-mnist")
            ->required();
        app.add_option("--split", flags->split, "train, val, test, or all where there is no val/ folder")
            ->check(CLI::IsMember({"train", "val", "test", "all"}));
        app.add_option("--val-split", flags->val_split, "as in training: val's share where there is no val/")
            ->check(number_range(0.0, 0.9));
        app.add_option("--seed", flags->seed, "as in training: of that division")
            ->check(count_range(0, kLargestSeed));
        app.add_option("-o,--output", flags->output,
                       "folder for confusion.csv, confusion.svg, per_class.csv, top_losses.csv");
        app.add_option("-b,--batch-size", flags->batch_size, "images of a batch")
            ->check(count_range(1, 1 << 20));
        app.add_option("-j,--workers", flags->workers, "threads that load images")
            ->check(count_range(0, 256));
        app.add_option("--cache", flags->cache, "decoded images in memory: auto, ram or off")
            ->check(CLI::IsMember({"auto", "ram", "off"}));
        app.add_option("--top-losses", flags->top_losses, "rows of top_losses.csv")
            ->check(count_range(0, 1 << 30));
        add_test_time_flag(app, flags->tta);
        app.add_flag("--calibrate", flags->calibrate,
                     "fit the confidence of the answers to these images; written into the model file");
        app.add_option("--fail-under", flags->fail_under, "exit code 1 when top-1 is lower")
            ->check(number_range(0.0, 1.0));
        app.add_option("--format", flags->format, "text or json")->check(CLI::IsMember({"text", "json"}));
        add_robustness_flags(app, flags->robustness);
        add_machine_flags(app, flags->machine);
        add_output_flags(app);
        return [flags] { return evaluate_model(*flags); };
      }};
}

}  // namespace vretnet::tools
