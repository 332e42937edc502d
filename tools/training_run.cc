#include "tools/training_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/model/weights.h"
#include "core/training/evaluate.h"
#include "tools/class_weights.h"
#include "tools/environment.h"
#include "tools/evaluation_files.h"
#include "tools/interrupt.h"
#include "tools/json_text.h"
#include "tools/model_size.h"
#include "tools/table.h"
#include "tools/terminal.h"
#include "vision/registry.h"
#include "vision/transfer.h"

namespace vretnet::tools {
namespace {

// "4 files passed over (.heic, .txt)": what lies in the class folders and is no image by its name.
std::string passed_over_text(const std::vector<std::string>& files) {
  std::set<std::string> extensions;
  for (const std::string& file : files) {
    const std::string extension = std::filesystem::path(file).extension().string();
    extensions.insert(extension.empty() ? "no extension" : extension);
  }
  return fmt::format("{} file{} passed over ({})", files.size(), files.size() == 1 ? "" : "s",
                     fmt::join(extensions, ", "));
}

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

}  // namespace

TrainingRun::TrainingRun(const TrainFlags& flags, std::string recipe_text)
    : flags_(flags), recipe_text_(std::move(recipe_text)) {}

int TrainingRun::run() {
  const Recipe& recipe = flags_.recipe;
  machine_ = flags_.machine;
  if (!flags_.resume.empty()) open_saved_run();
  open_data();
  open_model();
  open_trainer();

  catch_interrupts();
  if (flags_.dry_run) {
    say(fmt::format("dry run: {} steps an epoch, {} in all; nothing was trained or written",
                    trainer_->steps_per_epoch(), trainer_->total_steps()));
    return 0;
  }
  if (saved_) {
    resume_folder();
  } else {
    start_folder();
  }
  say(fmt::format("run     {}   seed {}   resume with: vretnet train --resume {}", folder_->path().string(),
                  recipe.seed, folder_->path().string()));
  while (!trainer_->finished() && !out_of_patience()) {
    train_epoch();
    if (interrupt_requested() || !validate()) return stopped();
  }
  if (!trainer_->finished()) {
    say(fmt::format("stopped early: no better top1 in {} epochs since epoch {}", recipe.patience,
                    best_.epoch));
  }
  summarise();
  return 0;
}

void TrainingRun::open_saved_run() {
  folder_ = RunFolder::existing(flags_.resume);
  moved_ = moved_paths(*folder_, recipe_text_);
  saved_ = read_saved_run(*folder_);
  // Another number of threads is another order of sums: a resumed run keeps its own where none is asked for.
  if (machine_.threads == 0) machine_.threads = environment_threads(read_text(folder_->file("env.json")));
}

void TrainingRun::open_data() {
  const Recipe& recipe = flags_.recipe;
  datasets::DataOptions data_options;
  data_options.val_split = recipe.val_split;
  data_options.seed = recipe.seed;
  data_options.limit_train = recipe.limit_train;
  data_options.limit_val = recipe.limit_val;
  try {
    data_ = naming("--data-dir", [&] { return datasets::open_data(recipe.data_dir, data_options); });
  } catch (const UsageError& error) {
    if (!saved_) throw;
    throw UsageError(fmt::format("{} Where it has moved: --resume {} -d NEW", error.what(), flags_.resume));
  }
  say("data    " + data_.description);
  if (!data_.passed_over.empty()) say("data    " + passed_over_text(data_.passed_over));
}

void TrainingRun::open_model() {
  if (saved_) {  // the file that was fine-tuned may be gone
    check_same_classes(*saved_, data_.class_names, *folder_);
    description_ = saved_->description;
    model_ = vision::make_model(description_.config);
    return;
  }
  const Recipe& recipe = flags_.recipe;
  std::optional<vision::Classifier> file;
  if (vision::names_model_file(recipe.model)) {
    file = vision::load_classifier(recipe.model);
    description_ = file->description;
  } else {
    description_.config = vision::find_model_config(recipe.model);
  }
  apply_overrides(description_.config, recipe.model_overrides);
  if (file) vision::keep_base_grid(description_.config, file->description.config);
  description_.config.classes = static_cast<std::int64_t>(data_.class_names.size());
  description_.class_names = data_.class_names;
  validate_overridden(description_.config, recipe.model_overrides);
  model_ = vision::make_model(description_.config);
  if (file) take_weights(*file);
  description_.preprocessing = preprocessing_of(
      recipe, description_.config,
      file ? file->description.preprocessing : vision::default_preprocessing(description_.config));
}

void TrainingRun::take_weights(const vision::Classifier& file) {
  const std::string& name = flags_.recipe.model;
  vision::StartValues start;
  try {
    start = vision::start_values(file, *model_, flags_.recipe.seed);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("--model: '{}': {}", name, error.what()));
  }
  if (start.resampled) {
    const auto& from = file.description.config;
    const auto& to = description_.config;
    say(fmt::format("model   positions of {} × {} patches resampled to {} × {}", from.rows(), from.columns(),
                    to.rows(), to.columns()));
  }
  if (const retention::GridScale scale = model_->config().grid_scale();
      !(scale == file.description.config.grid_scale())) {
    say(fmt::format("model   decays and rotations of {} × {} patches stretched to {} × {}",
                    model_->config().base_grid[0], model_->config().base_grid[1], model_->config().rows(),
                    model_->config().columns()));
  }
  if (start.new_decays)
    say(fmt::format("model   decays are learned from here on; those of '{}' are fixed", name));
  if (start.new_head) {
    say(fmt::format("model   the head starts anew: '{}' knows {} classes, the data have {}", name,
                    file.description.class_names.size(), model_->classes()));
  }
  pretrained_ = std::move(start.values);
}

void TrainingRun::open_trainer() {
  const Recipe& recipe = flags_.recipe;
  if (recipe.patience > 0 && !data_.val) {
    throw UsageError(
        fmt::format("--patience: {}, but there are no validation images to judge by", recipe.patience));
  }
  // A resumed run keeps its own, whatever has become of the file.
  class_weights_ =
      saved_ ? saved_->class_weights
             : class_weights(recipe.class_weights, datasets::class_counts(*data_.train), data_.class_names);
  machines_ = make_machines(machine_);
  backend_ = machines_.front().get();

  datasets::LoaderOptions options;
  options.batch_size = recipe.batch_size;
  options.workers = flags_.workers;
  options.seed = recipe.seed;
  options.shuffle = true;
  options.drop_last = true;
  options.preprocessing = description_.preprocessing;
  options.augmentation = augmentation_of(recipe, description_.preprocessing);
  options.cache = datasets::parse_cache_mode(flags_.cache);
  options.max_skip_share = flags_.max_skip_share;
  options.remedy = fmt::format("move them away with: vretnet data check {} --fix move:OUT", recipe.data_dir);
  options.balanced = recipe.balanced;
  train_loader_ = std::make_unique<datasets::Loader>(data_.train, options);
  const training::MixingOptions mixing = mixing_options(recipe);
  if (mixing.on()) {
    mixing_ = std::make_unique<training::MixingSource>(*train_loader_, mixing,
                                                       model_->input_shape(recipe.batch_size));
  }
  if (data_.val) {
    options.shuffle = options.drop_last = options.balanced = false;
    options.augmentation.reset();
    val_loader_ = std::make_unique<datasets::Loader>(data_.val, options);
  }
  training::TrainingOptions training = training_options(recipe);
  training.pass = pass_options(machine_, layers::Mode::training);
  training.class_weights = class_weights_;
  training::BatchSource& source = mixing_ ? static_cast<training::BatchSource&>(*mixing_) : *train_loader_;
  std::vector<Backend*> machines;
  for (const auto& machine : machines_) machines.push_back(machine.get());
  trainer_ = std::make_unique<training::Trainer>(*model_, machines, source, training);
  say(fmt::format("model   {}  {} parameters, {}FLOP an image   {}  {}", description_.config.name,
                  count_text(static_cast<double>(model_->parameters().count())),
                  count_text(forward_flops(*model_)), machines_text(), precision_of(machine_)));
}

std::string TrainingRun::machines_text() const {
  const std::string text = backend_->description();
  return machines_.size() == 1 ? text : fmt::format("{} × {}", machines_.size(), text);
}

void TrainingRun::start_folder() {
  folder_ = RunFolder::create(flags_.output);
  write_file_atomically(folder_->file("config.toml"), recipe_text_);
  write_file_atomically(folder_->file("classes.json"),
                        json_text(nlohmann::json(data_.class_names), 2) + "\n");
  write_file_atomically(folder_->file("env.json"), environment_json(machines_text(), thread_count(machine_)));
  folder_->append("metrics.csv", "epoch,step,learning_rate,train_loss,train_top1,val_loss,val_top1,val_top5");
  if (pretrained_) {
    model::upload_values(*backend_, trainer_->weights(), *pretrained_);
  } else {
    model::upload_values(*backend_, trainer_->weights(),
                         model::initial_values(model_->parameters(), flags_.recipe.seed));
  }
  trainer_->start_average();
  trainer_->start_at({});
  commit();
}

void TrainingRun::resume_folder() {
  const std::string now = environment_json(machines_text(), thread_count(machine_));
  for (const std::string& difference : environment_differences(read_text(folder_->file("env.json")), now)) {
    say("warning: results may differ in the last bits from a run that was never stopped: " + difference);
  }
  check_same_images(*saved_, image_counts(), *folder_);
  training::load_state(folder_->state(), *backend_, *trainer_);
  best_ = saved_->best;
  const std::optional<RunTiming> timing = read_run_timing(folder_->path());
  times_whole_run_ = timing.has_value();
  timing_ = timing.value_or(RunTiming());
  folder_->cut_back(saved_->files);
  for (const MovedPath& path : moved_) say(fmt::format("{} was {}, is {}", path.key, path.before, path.now));
  if (!moved_.empty()) write_file_atomically(folder_->file("config.toml"), recipe_text_);
  const training::Position& position = trainer_->position();
  say(fmt::format("resumed {}: epoch {}, step {}", folder_->state().string(), position.epoch + 1,
                  position.step));
  commit();  // derives last.safetensors again, should the run have died between the two files
}

void TrainingRun::train_epoch() {
  const auto began = std::chrono::steady_clock::now();
  const Recipe& recipe = flags_.recipe;
  const std::int64_t epoch = trainer_->position().epoch;
  const std::int64_t images = train_loader_->batches() * recipe.batch_size;
  Progress progress(fmt::format("epoch {:2}/{}", epoch + 1, trainer_->epochs()), images, "img");
  std::int64_t counted = trainer_->position().images;
  progress.start_from(counted);
  mark_ = began;
  while (!interrupt_requested() && trainer_->step()) {
    const training::Position& position = trainer_->position();
    take_time(timing_.training_seconds);
    timing_.images += position.images - std::exchange(counted, position.images);
    progress.update(position.images,
                    fmt::format("loss {:.3f}", position.loss_sum / static_cast<double>(position.images)),
                    (trainer_->epochs() - epoch - 1) * images);
    if (flags_.save_every_steps > 0 && position.step % flags_.save_every_steps == 0) {
      commit();
      mark_ = std::chrono::steady_clock::now();
    }
  }
  epoch_rate_ = progress.rate();
  epoch_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void TrainingRun::take_time(double& seconds) {
  const auto now = std::chrono::steady_clock::now();
  seconds += std::chrono::duration<double>(now - std::exchange(mark_, now)).count();
}

bool TrainingRun::validate() {
  const training::Position position = trainer_->position();
  const auto images = static_cast<double>(std::max<std::int64_t>(1, position.images));
  const double train_loss = position.loss_sum / images,
               train_top1 = static_cast<double>(position.correct) / images;
  nlohmann::json row = {{"epoch", position.epoch + 1},
                        {"step", position.step},
                        {"learning_rate", trainer_->learning_rate()},
                        {"train_loss", train_loss},
                        {"train_top1", train_top1}};
  std::string line =
      fmt::format("epoch {:2}/{}  train {:.3f}", position.epoch + 1, trainer_->epochs(), train_loss);
  std::string values = ",,,";
  bool better = true;  // without validation the newest is the best
  if (val_loader_) {
    mark_ = std::chrono::steady_clock::now();
    Progress progress(fmt::format("epoch {:2}/{} validation", position.epoch + 1, trainer_->epochs()),
                      data_.val->size(), "img");
    const training::Evaluation evaluation = training::evaluate(
        *model_, *backend_, trainer_->best_weights(), pass_options(machine_, layers::Mode::inference),
        *val_loader_, [&](std::int64_t seen) {
          progress.update(seen);
          return !interrupt_requested();
        });
    progress.finish();
    if (interrupt_requested()) return false;  // it begins anew on resume
    take_time(timing_.validation_seconds);
    if (!std::isfinite(evaluation.loss)) {
      throw RunError(
          fmt::format("the validation loss is {} after epoch {}: try a lower --lr, more "
                      "--warmup-epochs or --clip-grad",
                      evaluation.loss, position.epoch + 1));
    }
    better = evaluation.top1 > best_.top1;
    if (better) {
      best_ = {position.epoch + 1, evaluation.top1, evaluation.top5, evaluation.loss};
      write_evaluation_files(
          folder_->path(), evaluation, data_.class_names,
          [&](std::int64_t index) { return data_.val->name(index); }, flags_.top_losses);
    }
    row.update({{"val_loss", evaluation.loss}, {"val_top1", evaluation.top1}, {"val_top5", evaluation.top5}});
    values = fmt::format(",{:.6f},{:.6f},{:.6f}", evaluation.loss, evaluation.top1, evaluation.top5);
    line += fmt::format("  val {:.3f}  top1 {}  top5 {}", evaluation.loss, percent(evaluation.top1),
                        percent(evaluation.top5));
  } else {
    best_ = {position.epoch + 1, train_top1, 0, train_loss};
    line += "  top1 " + percent(train_top1) + " (of train)";
  }
  folder_->append("metrics.csv",
                  fmt::format("{},{},{:.8g},{:.6f},{:.6f}{}", position.epoch + 1, position.step,
                              trainer_->learning_rate(), train_loss, train_top1, values));
  folder_->append("metrics.jsonl", row.dump());
  if (better) {
    vision::save_classifier(folder_->file("best.safetensors"), description_, model_->parameters(),
                            model::download_values<float>(*backend_, trainer_->best_weights()));
  }
  say(bold(line) + fmt::format("  lr {:.1e}  {:.1f} s  {:.0f} img/s{}", trainer_->learning_rate(),
                               epoch_seconds_, epoch_rate_, better ? "  * best" : ""));
  trainer_->next_epoch();
  commit();
  return true;
}

// Asked between epochs, so the answer is the same after a resume.
bool TrainingRun::out_of_patience() const {
  const std::int64_t patience = flags_.recipe.patience, epoch = trainer_->position().epoch;
  return patience > 0 && trainer_->position().batch == 0 && best_.epoch > 0 &&
         epoch - best_.epoch >= patience;
}

// Sorted by file, and never shorter than what an earlier part of the run wrote: the same at the end of a run
// whether or not it was interrupted. Before each commit: a resumed run does not meet again what it had met.
void TrainingRun::write_skipped() {
  std::set<std::string> lines;
  std::istringstream before(read_text(folder_->file("skipped.csv")));
  std::string line;
  std::getline(before, line);  // the heading
  while (std::getline(before, line)) {
    for (const MovedPath& path : moved_) {
      if (line.starts_with(path.before + "/")) line.replace(0, path.before.size(), path.now);
    }
    lines.insert(line);
  }
  const std::size_t known = lines.size();
  for (const datasets::Loader* loader : {train_loader_.get(), val_loader_.get()}) {
    if (!loader) continue;
    for (const training::SkippedSample& sample : loader->skipped()) {
      std::string entry = csv_field(sample.name) + "," + csv_field(sample.reason);
      std::replace(entry.begin(), entry.end(), '\n', ' ');
      lines.insert(entry);
    }
  }
  if (lines.size() == known) return;
  std::string text = "file,reason\n";
  for (const std::string& entry : lines) text += entry + "\n";
  const std::string path = folder_->file("skipped.csv").string();
  say(fmt::format("warning: {} unreadable images left out -> {}", lines.size(), path));
  write_file_atomically(path, text);
}

// Other images are another order, so a run cannot go on with them.
nlohmann::json TrainingRun::image_counts() const {
  return {{"train", data_.train->size()}, {"val", data_.val ? data_.val->size() : 0}};
}

void TrainingRun::commit() {
  write_skipped();
  if (times_whole_run_) write_file_atomically(folder_->file(kTimingName), to_json(timing_));
  const SavedRun run{description_, best_, image_counts(), class_weights_, folder_->lengths()};
  training::save_state(folder_->state(), *backend_, *trainer_, to_metadata(run));
  vision::save_classifier(folder_->file("last.safetensors"), description_, model_->parameters(),
                          model::download_values<float>(*backend_, trainer_->best_weights()));
}

int TrainingRun::stopped() {
  commit();
  const training::Position& position = trainer_->position();
  say(fmt::format("saved {} (epoch {}, step {}); resume with: vretnet train --resume {}",
                  folder_->state().string(), position.epoch + 1, position.step, folder_->path().string()));
  return kInterrupted;
}

void TrainingRun::summarise() {
  nlohmann::json line = {{"run", folder_->path().string()},
                         {"epoch", best_.epoch},
                         {"top1", best_.top1},
                         {"top5", best_.top5},
                         {"loss", best_.loss},
                         {"images_per_second", std::round(epoch_rate_)}};
  print(json_text(line) + "\n");
}

}  // namespace vretnet::tools
