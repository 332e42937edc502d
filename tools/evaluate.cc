// vretnet eval
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/model/checkpoint.h"
#include "datasets/registry.h"
#include "tools/command.h"
#include "tools/compare_runs.h"
#include "tools/evaluation_files.h"
#include "tools/json_text.h"
#include "tools/model_evaluation.h"
#include "tools/predictions.h"
#include "tools/recipe.h"
#include "tools/terminal.h"
#include "tools/trained_model.h"

namespace vretnet::tools {
namespace {

struct EvaluateFlags {
  std::string data_dir, model, split = "val", output, format = "text";
  std::size_t top_losses = 100;
  double fail_under = 0, val_split = Recipe().val_split;
  std::uint64_t seed = Recipe().seed;
  bool calibrate = false;
  ImageSizeFlags image_size;
  EvaluationFlags evaluation;
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
  report["classes"] = nlohmann::json::array();
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
  return json_text(report) + "\n";
}

int evaluate_model(const EvaluateFlags& flags) {
  if (flags.model.empty()) throw UsageError("--model is missing: a trained model file");
  if (flags.data_dir.empty()) throw UsageError("--data-dir is missing: the images to evaluate on");
  if (const std::string flag = flags.image_size.given(); flags.calibrate && !flag.empty()) {
    throw UsageError(fmt::format("--calibrate: not with {}, for the file answers at its own size", flag));
  }
  vision::Classifier classifier = load_trained(flags.model, "eval", flags.image_size);
  const nlohmann::json model_file = model_identity(flags.model);
  if (flags.calibrate && !model::is_our_format(model::SafetensorsFile(flags.model))) {
    throw UsageError(fmt::format(
        "--calibrate: {} has no place for a temperature, it is not a file of vretnet", flags.model));
  }
  const datasets::OpenedSplit opened = naming("--data-dir", [&] {
    return datasets::open_split(flags.data_dir, flags.split,
                                {.val_split = flags.val_split, .seed = flags.seed});
  });
  ModelEvaluation model(flags.model, std::move(classifier), opened.data, flags.evaluation, flags.seed);
  const vision::Description& description = model.description();
  const datasets::DatasetPointer& dataset = model.dataset();
  say(fmt::format("data    {}: {} images, split '{}'", flags.data_dir, dataset->size(), opened.part));
  say("model   " + model.text());

  const std::vector<vision::Disturbance> wanted = disturbances(flags.evaluation.robustness, description);
  const auto rounds = static_cast<std::int64_t>(1 + wanted.size());
  Progress progress("eval", rounds * dataset->size(), "img");
  std::int64_t seen_before = 0;
  const auto show = [&](std::int64_t seen) { progress.update(seen_before + seen); };
  std::vector<training::SkippedSample> skipped;
  const training::Evaluation evaluation = model.evaluate({}, show, flags.calibrate, &skipped);
  const std::vector<DisturbedResult> disturbed = evaluate_disturbed(wanted, [&](const auto& disturbance) {
    seen_before += dataset->size();
    return model.evaluate(disturbance, show);
  });
  const double rate = progress.rate();
  progress.finish();
  const auto& names = description.class_names;
  for (const training::SkippedSample& sample : skipped)
    say(fmt::format("skipped {}: {}", sample.name, sample.reason));
  if (evaluation.images == 0) throw DataError(fmt::format("{}: not one image could be read", flags.data_dir));

  const auto name_of = [&](std::int64_t index) { return dataset->name(index); };
  if (!flags.output.empty()) {
    std::filesystem::create_directories(flags.output);
    write_evaluation_files(flags.output, evaluation, names, name_of, flags.top_losses);
    const AnsweredImages images(dataset, flags.data_dir, opened.part);
    const std::string resized =
        flags.image_size.given().empty()
            ? ""
            : fmt::format("size {} grid {}", flags.image_size.image_size, flags.image_size.base_grid);
    write_predictions(flags.output,
                      {model_file, images.identity(), resized, flags.evaluation.tta, model.precision()},
                      images, evaluation.predictions);
    say(fmt::format(
        "wrote   {}/ confusion.csv, confusion.svg, per_class.csv, top_losses.csv, predictions.csv",
        flags.output));
  }
  if (flags.format == "json") {
    print(json_report(evaluation, names, disturbed, skipped.size(), rate));
  } else {
    print(text_report(evaluation, names) + robustness_text(disturbed, evaluation.top1));
    for (const training::Prediction& wrong : worst_predictions(evaluation, flags.top_losses)) {
      if (wrong.label == wrong.predicted) break;
      say_verbose(fmt::format("wrong   {}: {} is {}", name_of(wrong.index),
                              names[static_cast<std::size_t>(wrong.predicted)],
                              names[static_cast<std::size_t>(wrong.label)]));
    }
  }
  if (flags.calibrate) calibrate(flags, model.classifier(), evaluation);
  if (evaluation.top1 < flags.fail_under) {
    throw RunError(
        fmt::format("top-1 accuracy {:.4f} is under --fail-under {:.4f}", evaluation.top1, flags.fail_under));
  }
  return 0;
}

void declare_evaluate(CLI::App& app, EvaluateFlags& flags) {
  app.add_option("-m,--model,--checkpoint", flags.model, "a model file");
  app.add_option("-d,--data-dir,--data-path,--data", flags.data_dir,
                 "ImageFolder, IDX folder, or fashion-mnist");
  add_split_flag(app, flags.split);
  app.add_option("--val-split", flags.val_split, "as in training: val's share where there is no val/")
      ->check(number_range(0.0, 0.9));
  app.add_option("--seed", flags.seed, "as in training: of that division")
      ->check(count_range(0, kLargestSeed));
  app.add_option("-o,--output", flags.output,
                 "folder for confusion.csv, confusion.svg, per_class.csv, top_losses.csv, predictions.csv");
  app.add_option("--top-losses", flags.top_losses, "rows of top_losses.csv")->check(count_range(0, 1 << 30));
  app.add_flag("--calibrate", flags.calibrate,
               "fit the confidence of the answers to these images; written into the model file");
  app.add_option("--fail-under", flags.fail_under, "exit code 1 when top-1 is lower")
      ->check(number_range(0.0, 1.0));
  app.add_option("--format", flags.format, "text or json")->check(CLI::IsMember({"text", "json"}));
  add_image_size_flags(app, flags.image_size);
  add_evaluation_flags(app, flags.evaluation);
  add_output_flags(app);
}

}  // namespace

Command evaluate_command() {
  return {"eval", "accuracy, per-class table, wrong images; compare models", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<EvaluateFlags>();
            auto compared = std::make_shared<CompareRunsFlags>();
            auto work = std::make_shared<Work>([flags] { return evaluate_model(*flags); });
            app.require_subcommand(0, 1);
            declare_evaluate(app, *flags);
            CLI::App* compare = app.add_subcommand("compare", "models side by side, several seeds of each");
            declare_compare_runs(*compare, *compared);
            compare->callback([compared, work, &app] {
              for (const CLI::Option* option : app.get_options()) {
                if (option->count() > 0)
                  throw UsageError(
                      fmt::format("'{}' stands before 'compare': flags come after it", option->get_name()));
              }
              *work = [compared] { return compare_runs(*compared); };
            });
            return [work] { return (*work)(); };
          }};
}

}  // namespace vretnet::tools
