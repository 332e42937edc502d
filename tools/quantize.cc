// vretnet quantize
#include "core/training/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "core/training/evaluate.h"
#include "datasets/image_folder.h"
#include "datasets/loader.h"
#include "datasets/registry.h"
#include "datasets/subset.h"
#include "tools/command.h"
#include "tools/inputs.h"
#include "tools/recipe.h"
#include "tools/terminal.h"
#include "tools/trained_model.h"
#include "vision/model_file.h"

namespace vretnet::tools {
namespace {

// Images on which the layers' costs are compared, where some have to stay f32.
constexpr std::int64_t kCostImages = 64;
constexpr std::uint64_t kDrawSeed = 42;

struct QuantizeFlags {
  std::string model, data_dir, output;
  double max_drop = 0.01, val_split = Recipe().val_split;
  std::uint64_t seed = Recipe().seed;
  std::int64_t images = 256, limit_val = 0, batch_size = 32;
  int workers = 1;
  MachineFlags machine;
};

// What to calibrate with, and what to judge by.
struct Data {
  datasets::DatasetPointer calibration, judged;
  bool labelled = true;
};

// A folder of images without folders of classes: every image under the first class's name. Null for another.
datasets::DatasetPointer unlabelled_images(const std::string& folder,
                                           const std::vector<std::string>& classes) {
  datasets::ScannedSplit split{.folder = folder};
  split.classes.push_back({.name = classes.front()});
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return nullptr;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_directory()) return nullptr;
  }
  for_each_input({folder}, /*recursive=*/false, [&](const std::string& file) {
    split.classes.front().files.emplace_back(file);
    return true;
  });
  if (split.classes.front().files.empty()) return nullptr;
  return std::make_shared<datasets::ImageFolder>(split, classes);
}

datasets::DatasetPointer limited(const datasets::DatasetPointer& data, std::int64_t count) {
  if (count == 0) return data;
  return std::make_shared<datasets::Subset>(
      data, datasets::stratified_limit(datasets::all_labels(*data), count, kDrawSeed));
}

Data open(const QuantizeFlags& flags, const std::vector<std::string>& classes) {
  if (const auto images = unlabelled_images(flags.data_dir, classes)) {
    return {limited(images, flags.images), limited(images, flags.limit_val), false};
  }
  const datasets::DataSplits splits = naming("--data-dir", [&] {
    return datasets::open_data(flags.data_dir, {.val_split = flags.val_split, .seed = flags.seed});
  });
  const auto judged = splits.val ? splits.val : splits.train;
  return {limited(datasets::with_class_names(splits.train, classes), flags.images),
          limited(datasets::with_class_names(judged, classes), flags.limit_val)};
}

class Quantizer {
 public:
  Quantizer(const QuantizeFlags& flags, const vision::Classifier& classifier)
      : flags_(flags),
        classifier_(classifier),
        data_(open(flags, classifier.description.class_names)),
        backend_(make_machine(flags.machine)),
        options_(pass_options(flags.machine, layers::Mode::inference)) {}

  // The layers of the blocks in integers, but those whose cost --max-drop does not allow.
  model::QuantizedParameters run() {
    model::QuantizedParameters quantized = quantize_all();
    const training::Evaluation before = evaluate({});
    training::Evaluation after = evaluate(quantized);
    const std::size_t layers = quantized.size();
    if (drop(before, after) > flags_.max_drop) {
      const auto costs = find_costs(quantized);
      for (std::size_t kept = 0; drop(before, after) > flags_.max_drop;) {
        const std::size_t next = std::min(std::max<std::size_t>(1, 2 * kept), layers / 2);
        if (next == kept) refuse(before, after, kept, layers);
        for (; kept < next; ++kept) {
          const auto [parameter, cost] = costs[kept];
          say(fmt::format("f32     {}: alone in integers it moves the logits by {:.3g} (mean square)",
                          tensor_name(parameter), cost));
          quantized.erase(parameter);
        }
        after = evaluate(quantized);
      }
    }
    say(fmt::format("int8    {} of {} linear layers of the blocks; {}", quantized.size(), layers,
                    drop_text(before, after)));
    return quantized;
  }

 private:
  datasets::Loader loader(const datasets::DatasetPointer& data) const {
    datasets::LoaderOptions options;
    options.batch_size = flags_.batch_size;
    options.workers = flags_.workers;
    options.preprocessing = classifier_.description.preprocessing;
    options.max_skip_share = 1;  // an unreadable image is left out of both evaluations
    return {data, options};
  }
  std::string tensor_name(layers::ParameterId id) const {
    return classifier_.model->parameters().parts(id).front().name;
  }

  model::QuantizedParameters quantize_all() {
    datasets::Loader source = loader(data_.calibration);
    Progress progress("calibrate", source.size(), "img");
    auto quantized = training::quantize_parameters(
        *classifier_.model, *backend_, classifier_.values, options_, source,
        [&](layers::ParameterId id) { return tensor_name(id).starts_with("blocks."); },
        [&](std::int64_t seen) {
          progress.update(seen);
          return true;
        });
    progress.finish();
    for (const auto& [id, parameter] : quantized) {
      say_verbose(
          fmt::format("scale   {}: inputs in steps of {:.4g}", tensor_name(id), parameter.input_scale));
    }
    return quantized;
  }

  training::Evaluation evaluate(const model::QuantizedParameters& quantized) {
    const model::BoundWeights weights(*backend_, classifier_.model->parameters(), classifier_.values,
                                      quantized);
    datasets::Loader source = loader(data_.judged);
    Progress progress(quantized.empty() ? "f32" : "int8", source.size(), "img");
    return training::evaluate(*classifier_.model, *backend_, weights.view(), weights.with(options_), source,
                              [&](std::int64_t seen) {
                                progress.update(seen);
                                return true;
                              });
  }

  std::vector<training::QuantizationCost> find_costs(const model::QuantizedParameters& quantized) {
    datasets::Loader source = loader(limited(data_.calibration, kCostImages));
    Progress progress("costs", static_cast<std::int64_t>(quantized.size()), "layer");
    return training::quantization_costs(*classifier_.model, *backend_, classifier_.values, quantized,
                                        options_, source, [&](std::int64_t layers) {
                                          progress.update(layers);
                                          return true;
                                        });
  }

  // Labelled: accuracy lost. Without labels: the share of answers that changed.
  double drop(const training::Evaluation& before, const training::Evaluation& after) const {
    return data_.labelled ? before.top1 - after.top1 : changed(before, after);
  }
  static double changed(const training::Evaluation& before, const training::Evaluation& after) {
    std::size_t different = 0;
    for (std::size_t i = 0; i < before.predictions.size(); ++i) {
      different += before.predictions[i].predicted != after.predictions[i].predicted;
    }
    return static_cast<double>(different) / static_cast<double>(std::max<std::int64_t>(before.images, 1));
  }
  std::string drop_text(const training::Evaluation& before, const training::Evaluation& after) const {
    const std::string answers = fmt::format("{:.2f} % of the answers on {} images changed",
                                            100 * changed(before, after), before.images);
    if (!data_.labelled) return answers + " (no labels)";
    return fmt::format("top1 {:.2f}% in f32, {:.2f}% in int8; {}", 100 * before.top1, 100 * after.top1,
                       answers);
  }
  [[noreturn]] void refuse(const training::Evaluation& before, const training::Evaluation& after,
                           std::size_t kept, std::size_t layers) const {
    throw RunError(
        fmt::format("{}: {}: more than --max-drop {}, with {} of {} layers left in f32; nothing was "
                    "written",
                    flags_.model, drop_text(before, after), flags_.max_drop, kept, layers));
  }

  const QuantizeFlags& flags_;
  const vision::Classifier& classifier_;
  Data data_;
  std::unique_ptr<Backend> backend_;
  layers::Pass::Options options_;
};

std::string default_output(const std::string& model) {
  std::filesystem::path path = model;
  return (path.parent_path() / (path.stem().string() + "-int8.safetensors")).string();
}

int quantize_model(const QuantizeFlags& flags) {
  const vision::Classifier classifier = load_trained(flags.model, "quantize");
  if (!classifier.quantized.empty()) {
    throw UsageError(
        fmt::format("--model: '{}' is int8 already; quantize the f32 file that it was made of", flags.model));
  }
  const std::string output = flags.output.empty() ? default_output(flags.model) : flags.output;
  Quantizer quantizer(flags, classifier);
  const model::QuantizedParameters quantized = quantizer.run();
  vision::save_classifier(output, classifier.description, classifier.model->parameters(), classifier.values,
                          quantized);
  say(fmt::format("wrote   {}  {:.1f} MiB (f32: {:.1f} MiB)", output,
                  static_cast<double>(std::filesystem::file_size(output)) / (1 << 20),
                  static_cast<double>(std::filesystem::file_size(flags.model)) / (1 << 20)));
  return 0;
}

}  // namespace

Command quantize_command() {
  return {
      "quantize", "make an int8 model file for faster inference", [](CLI::App& app) -> Work {
        auto flags = std::make_shared<QuantizeFlags>();
        app.add_option("-m,--model,--checkpoint", flags->model, "a model file in f32")->required();
        app.add_option("-d,--data-dir,--data-path,--data,--calib-dir", flags->data_dir,
                       "images to calibrate with and to judge by: as for train, or a folder of images "
                       "without labels")
            ->required();
        app.add_option("-o,--output", flags->output, "the int8 file (default: MODEL-int8.safetensors)");
        app.add_option("--max-drop", flags->max_drop,
                       "top-1 accuracy that may be lost on the validation images (without labels: share of "
                       "answers that may change)")
            ->check(number_range(0.0, 1.0));
        app.add_option("--calib-images", flags->images, "images to calibrate with")->check(count_range(1));
        app.add_option("--limit-val", flags->limit_val, "images to judge by (0: all)")->check(count_range(0));
        app.add_option("--val-split", flags->val_split, "as in training: val's share where there is no val/")
            ->check(number_range(0.0, 0.9));
        app.add_option("--seed", flags->seed, "as in training: of that division")
            ->check(count_range(0, kLargestSeed));
        app.add_option("-b,--batch-size", flags->batch_size, "images of a batch")
            ->check(count_range(1, 1 << 20));
        app.add_option("-j,--workers", flags->workers, "threads that load images")
            ->check(count_range(0, 256));
        app.add_option("-t,--threads", flags->machine.threads, "compute threads (0: one a processor)")
            ->check(count_range(0, 1024));
        add_device_flags(app, flags->machine);
        add_output_flags(app);
        return [flags] { return quantize_model(*flags); };
      }};
}

}  // namespace vretnet::tools
