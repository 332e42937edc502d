// One training run from its first line on the terminal to its last: data, model, run folder, epochs, resume.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/training/mixing.h"
#include "core/training/saved_state.h"
#include "datasets/loader.h"
#include "datasets/registry.h"
#include "tools/command.h"
#include "tools/recipe.h"
#include "tools/run_folder.h"
#include "tools/run_timing.h"
#include "tools/saved_run.h"

namespace vretnet::tools {

struct TrainFlags {
  Recipe recipe;
  MachineFlags machine;
  std::string output, resume, config;
  int workers = 1;
  std::string cache = "auto";
  std::int64_t save_every_steps = 0;
  double max_skip_share = datasets::LoaderOptions().max_skip_share;
  std::size_t top_losses = 100;
  bool dry_run = false;
};

class TrainingRun {
 public:
  // `recipe_text` is what the run folder's config.toml holds: a resumed run must have the same.
  TrainingRun(const TrainFlags& flags, std::string recipe_text);
  // The exit code: 0, or 130 after a stop that was asked for.
  int run();

 private:
  void open_saved_run();
  void open_data();
  void open_model();
  void take_weights(const vision::Classifier& file);
  void open_trainer();
  std::string machines_text() const;  // "2 × NVIDIA H100, …"
  void start_folder();
  void resume_folder();
  void train_epoch();
  bool validate();  // false when a stop was asked for
  bool out_of_patience() const;
  void write_skipped();
  nlohmann::json image_counts() const;
  void take_time(double& seconds);  // adds what has gone by since the mark, which moves to now
  void commit();                    // timing.json, last.state.safetensors, then last.safetensors
  int stopped();
  void summarise();

  const TrainFlags& flags_;
  MachineFlags machine_;
  std::string recipe_text_;
  datasets::DataSplits data_;
  vision::Description description_;
  std::unique_ptr<vision::VisionModel> model_;
  std::optional<std::vector<float>> pretrained_;
  std::vector<std::unique_ptr<Backend>> machines_;
  Backend* backend_ = nullptr;  // the first of them
  std::unique_ptr<datasets::Loader> train_loader_, val_loader_;
  std::unique_ptr<training::MixingSource> mixing_;  // around train_loader_
  std::unique_ptr<training::Trainer> trainer_;
  std::vector<float> class_weights_;
  std::optional<RunFolder> folder_;
  std::optional<SavedRun> saved_;  // of the run that is resumed
  std::vector<MovedPath> moved_;   // since then
  BestEpoch best_;
  RunTiming timing_;
  bool times_whole_run_ = true;                 // not where an older program began it
  std::chrono::steady_clock::time_point mark_;  // up to here time has been taken

  double epoch_rate_ = 0, epoch_seconds_ = 0;  // of the last epoch, for the terminal only
};

}  // namespace vretnet::tools
