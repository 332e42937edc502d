// vretnet train
#include <fmt/format.h>

#include <memory>

#include "core/base/error.h"
#include "tools/arguments.h"
#include "tools/training_run.h"

namespace vretnet::tools {
namespace {

// Flags that say how a run is carried out, not what it computes: they stay out of config.toml, and may change
// on resume.
const std::vector<std::string> kNotRecipe = {
    "output", "resume",   "config",  "workers", "cache",   "threads",    "verbose",         "quiet",
    "color",  "progress", "dry-run", "device",  "backend", "top-losses", "save-every-steps"};

}  // namespace

Command train_command() {
  return {
      "train", "train or fine-tune a model; writes a run folder", [](CLI::App& app) -> Work {
        auto flags = std::make_shared<TrainFlags>();
        add_recipe_flags(app, flags->recipe);
        app.add_option("-c,--config", flags->config, "TOML file of flags");
        app.add_option("-o,--output", flags->output, "run folder (default: runs/train-N)");
        app.add_option("--resume", flags->resume, "continue a run: its folder, or auto for the newest")
            ->expected(0, 1)
            ->default_str("");
        app.add_option("-j,--workers", flags->workers, "threads that load images")->check(CLI::Range(0, 256));
        app.add_option("--cache", flags->cache, "decoded images in memory: auto, ram or off")
            ->check(CLI::IsMember({"auto", "ram", "off"}));
        app.add_option("--save-every-steps", flags->save_every_steps, "save within epochs, too (0: not)")
            ->check(count_range(0));
        app.add_option("--top-losses", flags->top_losses, "rows of top_losses.csv")
            ->check(CLI::Range(0, 1 << 30));
        app.add_flag("-n,--dry-run", flags->dry_run, "check data, model and recipe; train and write nothing");
        add_machine_flags(app, flags->machine);
        add_output_flags(app);
        return [flags, &app] {
          if (app.get_option("--resume")->count() > 0 && flags->resume.empty()) flags->resume = "auto";
          if (flags->recipe.data_dir.empty()) {
            throw UsageError("--data-dir is missing: the folder to train on, or fashion-mnist");
          }
          return TrainingRun(*flags, config_text(app, kNotRecipe)).run();
        };
      }};
}

}  // namespace vretnet::tools
