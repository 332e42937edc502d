// vretnet predict
#include <fmt/format.h>

#include <memory>

#include "core/base/error.h"
#include "core/model/bound_weights.h"
#include "tools/command.h"
#include "tools/inputs.h"
#include "tools/prediction_format.h"
#include "tools/terminal.h"
#include "tools/test_time.h"
#include "tools/trained_model.h"
#include "vision/classify.h"

namespace vretnet::tools {
namespace {

struct PredictFlags {
  std::vector<std::string> inputs;
  std::string model, format = "text", tta = "none";
  std::size_t top = 1;
  bool recursive = false, stream = false;
  std::int64_t max_pixels = vision::DecodeLimits{}.max_pixels;
  double reject_below = 0;
  MachineFlags machine;
};

int predict(const PredictFlags& flags) {
  if (flags.stream && flags.tta != "none") {
    throw UsageError(fmt::format("--tta: {}, but --stream reads an image once, from the left", flags.tta));
  }
  const vision::Classifier classifier = load_trained(flags.model, "predict");
  const std::unique_ptr<Backend> backend = make_machine(flags.machine);
  const bool integers = runs_integers(flags.machine, *backend, flags.model, !classifier.quantized.empty());
  const model::BoundWeights weights(*backend, classifier.model->parameters(), classifier.values,
                                    integers ? classifier.quantized : model::QuantizedParameters());

  vision::DecodeLimits limits;
  limits.max_pixels = flags.max_pixels;
  const auto options = weights.with(pass_options(flags.machine, layers::Mode::inference));
  vision::ImageClassifier images(classifier, *backend, weights.view(), options, limits,
                                 test_time_augmentation(flags.tta));
  const auto classify = [&](const std::string& file) {
    return flags.stream ? vision::classify_stream(classifier, *backend, weights.view(), options, limits, file)
                        : images.classify(file);
  };
  if (flags.stream) {
    if (const std::string reason = classifier.model->why_not_streamable(); !reason.empty()) {
      throw UsageError(fmt::format("--stream: {}: {}", flags.model, reason));
    }
  }

  const PredictionFormat format(flags.format, classifier.description.class_names, flags.top,
                                flags.reject_below);
  print(format.begin());
  std::size_t answered = 0, failed = 0;
  for_each_input(flags.inputs, flags.recursive, [&](const std::string& file) {
    try {
      print(format.answer(file, classify(file)));
    } catch (const DataError& error) {
      ++failed;
      print(format.failure(file, error.what()));
      if (flags.format == "text" || flags.format == "csv") say_error(error.what());
    }
    ++answered;
  });
  print(format.end());
  if (answered == 0) throw DataError("no image among the inputs");
  return failed > 0 ? 3 : 0;
}

}  // namespace

Command predict_command() {
  return {"predict", "classify images: files, folders, a list on stdin", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<PredictFlags>();
            app.add_option("inputs", flags->inputs, "images, folders, or - for a list of files on stdin")
                ->required()
                ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
            app.add_option("-m,--model,--checkpoint", flags->model, "a model file")->required();
            app.add_option("-k,--topk", flags->top, "classes to show")->check(count_range(1, 1 << 20));
            app.add_option("--format", flags->format, "text, csv, json or jsonl")
                ->check(CLI::IsMember({"text", "csv", "json", "jsonl"}));
            app.add_option("--reject-below", flags->reject_below, "answer 'unknown' below this probability")
                ->check(number_range(0.0, 1.0));
            add_test_time_flag(app, flags->tta);
            app.add_flag("-r,--recursive", flags->recursive, "look into subfolders");
            app.add_flag("--stream", flags->stream,
                         "read row by row at the image's own size, in constant memory (causal models)");
            app.add_option("--max-pixels", flags->max_pixels, "largest image to decode whole")
                ->check(count_range(1));
            add_machine_flags(app, flags->machine);
            add_output_flags(app);
            return [flags] { return predict(*flags); };
          }};
}

}  // namespace vretnet::tools
