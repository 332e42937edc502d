// vretnet explain
#include "vision/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/model/weights.h"
#include "core/training/metrics.h"
#include "tools/command.h"
#include "tools/inputs.h"
#include "tools/terminal.h"
#include "tools/trained_model.h"
#include "vision/image/decode.h"
#include "vision/image/encode_png.h"

namespace vretnet::tools {
namespace {

struct ExplainFlags {
  std::vector<std::string> inputs;
  std::string model, of_class, method = "gradient", output = "explain";
  bool recursive = false;
  std::int64_t max_pixels = vision::DecodeLimits{}.max_pixels;
  MachineFlags machine;
};

std::int64_t class_index(const std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  throw UsageError(fmt::format("--class: the model knows no '{}'.{}", name, did_you_mean(name, names)));
}

// PNG files named as the images are; of equal names the later ones get a number.
class Pictures {
 public:
  explicit Pictures(const std::filesystem::path& folder) : folder_(folder) {
    std::filesystem::create_directories(folder);
  }
  std::filesystem::path write(const std::filesystem::path& of_image, const vision::Image& picture) {
    const std::string stem = of_image.stem().string();
    std::string name = stem;
    for (int number = 2; !used_.insert(name).second; ++number) name = fmt::format("{}_{}", stem, number);
    const std::filesystem::path path = folder_ / (name + ".png");
    const std::vector<std::byte> bytes = vision::encode_png(picture);
    write_file_atomically(path, [&](const Append& append) { append(bytes.data(), bytes.size()); });
    return path;
  }

 private:
  std::filesystem::path folder_;
  std::set<std::string> used_;
};

int explain(const ExplainFlags& flags) {
  if (flags.machine.precision != "auto" && flags.machine.precision != "f32") {
    throw UsageError(
        fmt::format("--precision: explain runs in f32 only, not in '{}'", flags.machine.precision));
  }
  const vision::Classifier classifier = load_trained(flags.model, "explain");
  const vision::Description& description = classifier.description;
  const std::vector<std::string>& names = description.class_names;
  const std::int64_t asked = flags.of_class.empty() ? -1 : class_index(names, flags.of_class);
  const std::unique_ptr<Backend> backend = make_machine(flags.machine);
  const Allocation weights(*backend, DType::f32, {classifier.model->parameters().elements()});
  model::upload_values(*backend, weights.view(), classifier.values);
  vision::Explainer explainer(
      classifier, *backend, weights.view(),
      flags.method == "rollout" ? vision::Explanation::rollout : vision::Explanation::gradient);

  Pictures pictures(flags.output);
  vision::DecodeLimits limits;
  limits.max_pixels = flags.max_pixels;
  const vision::Preprocessing& preprocessing = description.preprocessing;
  std::vector<float> pixels(preprocessing.values());
  std::size_t seen = 0, failed = 0;
  for_each_input(flags.inputs, flags.recursive, [&](const std::string& file) {
    ++seen;
    try {
      const vision::Image input =
          vision::preprocess_pixels(vision::read_image(file, limits, preprocessing.channels), preprocessing);
      vision::normalize(input, preprocessing.mean, preprocessing.deviation, pixels.data());
      explainer.look_at(pixels.data());
      const std::vector<double> probabilities = training::softmax(explainer.logits());
      const std::int64_t of_class =
          asked >= 0 ? asked
                     : std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
      const auto path = pictures.write(file, vision::overlay(input, explainer.explain(of_class)));
      print(fmt::format("{}: {} {:.1f}%  {}\n", file, names[static_cast<std::size_t>(of_class)],
                        100 * probabilities[static_cast<std::size_t>(of_class)], path.string()));
    } catch (const DataError& error) {
      ++failed;
      say_error(error.what());
    }
    return true;
  });
  if (seen == 0) throw DataError("no image among the inputs");
  return failed > 0 ? 3 : 0;
}

}  // namespace

Command explain_command() {
  return {
      "explain", "heat maps over images: what an answer comes from", [](CLI::App& app) -> Work {
        auto flags = std::make_shared<ExplainFlags>();
        app.add_option("inputs", flags->inputs, "images, folders, or - for a list of files on stdin")
            ->required()
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        app.add_option("-m,--model,--checkpoint", flags->model, "a model file")->required();
        app.add_option("--class", flags->of_class, "the class to explain (default: the most probable one)");
        app.add_option(
               "--method", flags->method,
               "gradient: what speaks for (red) and against (blue) the class; rollout: what retention read")
            ->check(CLI::IsMember({"gradient", "rollout"}));
        app.add_option("-o,--output", flags->output, "folder for the pictures (PNG)");
        app.add_flag("-r,--recursive", flags->recursive, "look into subfolders");
        app.add_option("--max-pixels", flags->max_pixels, "largest image to decode whole")
            ->check(count_range(1));
        add_machine_flags(app, flags->machine);
        add_output_flags(app);
        return [flags] { return explain(*flags); };
      }};
}

}  // namespace vretnet::tools
