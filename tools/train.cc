// vretnet train
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "core/base/error.h"
#include "tools/arguments.h"
#include "tools/class_weights.h"
#include "tools/training_run.h"

namespace vretnet::tools {
namespace {

// Flags that say how a run is carried out, not what it computes: they stay out of config.toml, and may change
// on resume.
const std::vector<std::string> kNotRecipe = {"output",
                                             "resume",
                                             "config",
                                             "workers",
                                             "cache",
                                             "threads",
                                             "verbose",
                                             "quiet",
                                             "color",
                                             "progress",
                                             "dry-run",
                                             "device",
                                             "backend",
                                             "top-losses",
                                             "save-every-steps",
                                             "max-skip-share",
                                             "checkpoint-activations"};

// Where it lies from wherever the run is continued.
std::string lasting_path(const std::string& path) {
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path)).string();
}

// Paths are made absolute and what depends on other flags is decided. Returns the options whose value
// changes, for config.toml.
std::map<std::string, std::string> settle(Recipe& recipe, bool has_warmup) {
  std::map<std::string, std::string> settled;
  std::error_code error;
  if (std::filesystem::exists(recipe.data_dir, error)) {  // else a known data set's name, or moved
    settled["data-dir"] = recipe.data_dir = lasting_path(recipe.data_dir);
  }
  if (vision::names_model_file(recipe.model)) settled["model"] = recipe.model = lasting_path(recipe.model);
  if (names_weight_file(recipe.class_weights)) {
    settled["class-weights"] = recipe.class_weights = lasting_path(recipe.class_weights);
  }
  if (!has_warmup) {
    recipe.warmup_epochs = default_warmup_epochs(recipe.epochs);
    settled["warmup-epochs"] = fmt::format("{}", recipe.warmup_epochs);
  }
  return settled;
}

}  // namespace

Command train_command() {
  return {"train", "train or fine-tune a model; writes a run folder", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<TrainFlags>();
            add_recipe_flags(app, flags->recipe);
            app.add_option("-c,--config", flags->config, "TOML file of flags");
            app.add_option("-o,--output", flags->output, "run folder (default: runs/train-N)");
            app.add_option("--resume", flags->resume, "continue a run: its folder, or auto for the newest")
                ->expected(0, 1)
                ->default_str("");
            app.add_option("-j,--workers", flags->workers, "threads that load images")
                ->check(count_range(0, 256));
            app.add_option("--cache", flags->cache, "decoded images in memory: auto, ram or off")
                ->check(CLI::IsMember({"auto", "ram", "off"}));
            app.add_option("--save-every-steps", flags->save_every_steps, "save within epochs, too (0: not)")
                ->check(count_range(0));
            app.add_option("--max-skip-share", flags->max_skip_share,
                           "unreadable images to go on without (10 are always allowed, unless it is 0)")
                ->check(number_range(0.0, 1.0));
            app.add_option("--top-losses", flags->top_losses, "rows of top_losses.csv")
                ->check(count_range(0, 1 << 30));
            app.add_flag("-n,--dry-run", flags->dry_run,
                         "check data, model and recipe; train and write nothing");
            add_machine_flags(app, flags->machine);
            add_checkpointing_flag(app, flags->machine);
            add_output_flags(app);
            return [flags, &app] {
              if (app.get_option("--resume")->count() > 0 && flags->resume.empty()) flags->resume = "auto";
              if (flags->recipe.data_dir.empty()) {
                throw UsageError("--data-dir is missing: the folder to train on, or fashion-mnist");
              }
              const bool has_warmup = app.get_option("--warmup-epochs")->count() > 0;
              const auto settled = settle(flags->recipe, has_warmup);
              check_warmup(flags->recipe);
              return TrainingRun(*flags, config_text(app, kNotRecipe, settled)).run();
            };
          }};
}

}  // namespace vretnet::tools
