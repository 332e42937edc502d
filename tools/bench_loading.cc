#include "tools/bench_loading.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "core/measure/statistics.h"
#include "core/model/weights.h"
#include "core/training/trainer.h"
#include "datasets/loader.h"
#include "datasets/registry.h"
#include "tools/interrupt.h"
#include "tools/recipe.h"
#include "tools/table.h"
#include "tools/terminal.h"
#include "vision/registry.h"
#include "vision/vision_model.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kWeightsSeed = 42;
constexpr const char* kUsualModel = "vretnet_tiny_patch16_224";  // whose images are made where none is named

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// One way to come by batches: what each repeat took.
struct LoadingRow {
  std::string source;
  std::vector<double> seconds, processor;  // of one image
  std::int64_t images = 0;                 // of one repeat
};

// Times `work`, which returns how many images it saw.
template <class Work>
void add_repeat(LoadingRow& row, const Work& work) {
  const double processor = processor_seconds();
  const Clock::time_point began = Clock::now();
  row.images = work();
  const auto images = static_cast<double>(row.images);
  row.seconds.push_back(std::chrono::duration<double>(Clock::now() - began).count() / images);
  row.processor.push_back((processor_seconds() - processor) / images);
}

// Batches without an end: the loader's, epoch after epoch, or its first one again and again.
class SwitchedSource : public training::BatchSource {
 public:
  // `values`: floats of an image.
  SwitchedSource(datasets::Loader& loader, std::int64_t values) : loader_(loader) {
    loader_.start_epoch(0, 0);
    const training::Batch* first = loader_.next();
    if (!first) throw DataError("not one image could be read");
    images_.assign(first->images, first->images + first->count * values);
    labels_.assign(first->labels, first->labels + first->count);
    indices_.assign(first->indices, first->indices + first->count);
    kept_ = {first->count, 0, images_.data(), labels_.data(), indices_.data()};
  }
  void from_memory(bool memory) { memory_ = memory; }

  std::int64_t size() const override { return loader_.batch_size() * batches(); }
  std::int64_t batches() const override { return 1 << 20; }
  std::int64_t batch_size() const override { return loader_.batch_size(); }
  void start_epoch(std::int64_t, std::int64_t) override {}
  const training::Batch* next() override {
    if (memory_) return &kept_;
    const training::Batch* batch = loader_.next();
    if (batch) return batch;
    loader_.start_epoch(++epoch_, 0);
    return loader_.next();
  }
  const std::vector<training::SkippedSample>& skipped() const override { return loader_.skipped(); }

 private:
  datasets::Loader& loader_;
  bool memory_ = false;
  std::int64_t epoch_ = 0;
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  training::Batch kept_;
};

LoadingRow loader_alone(datasets::Loader& loader, std::int64_t repeats) {
  LoadingRow row{.source = "loader"};
  std::int64_t epoch = 0;
  const auto read_epoch = [&] {
    std::int64_t images = 0;
    loader.start_epoch(epoch++, 0);
    while (const training::Batch* batch = loader.next()) {
      images += batch->count;
      if (interrupt_requested()) break;
    }
    if (images == 0) throw DataError("not one image could be read");
    return images;
  };
  read_epoch();  // files into the system's cache, and pictures into the loader's
  for (std::int64_t i = 0; i < repeats && !interrupt_requested(); ++i) add_repeat(row, read_epoch);
  return row;
}

// In turns, so that both meet the same machine.
std::vector<LoadingRow> steps(const LoadingFlags& flags, const vision::ModelConfig& config,
                              datasets::Loader& loader, std::int64_t values, int prefetch) {
  const auto model = vision::make_model(config);
  const std::unique_ptr<Backend> backend = make_machine(flags.machine);
  SwitchedSource source(loader, values);
  training::TrainingOptions options;
  options.learning_rate = options.minimum_learning_rate = 1e-5;
  options.constant_rate = true;
  options.warmup_epochs = 0;
  options.pass = pass_options(flags.machine, layers::Mode::training);
  training::Trainer trainer(*model, *backend, source, options);
  model::upload_values(*backend, trainer.weights(), model::initial_values(model->parameters(), kWeightsSeed));
  trainer.start_at({});
  const auto run = [&](std::int64_t count) {
    const std::int64_t before = trainer.position().images;
    for (std::int64_t i = 0; i < count; ++i) trainer.step();
    backend->synchronize();
    return trainer.position().images - before;
  };
  LoadingRow memory{.source = "step from memory"}, folder{.source = "step from the folder"};
  Progress progress("bench", flags.repeats, "round");
  for (std::int64_t round = 0; round < flags.repeats && !interrupt_requested(); ++round) {
    progress.update(round);
    source.from_memory(true);
    run(1);
    add_repeat(memory, [&] { return run(flags.steps); });
    source.from_memory(false);
    run(prefetch + 1);  // batches that were made while the step was fed from memory
    add_repeat(folder, [&] { return run(flags.steps); });
  }
  return {memory, folder};
}

json json_of(const LoadingRow& row) {
  const measure::Summary wall = measure::summarize(row.seconds);
  return {{"source", row.source},
          {"images_per_second_best", 1 / wall.best},
          {"images_per_second_median", 1 / wall.median},
          {"processor_ms_an_image", 1e3 * measure::summarize(row.processor).best},
          {"spread", wall.spread},
          {"images", row.images},
          {"repeats", row.seconds.size()}};
}

void write(const std::vector<LoadingRow>& rows, const std::string& format) {
  Table table{{"source", "img/s", "best img/s", "spread", "processor ms/img", "images", "repeats"}, {}};
  std::string lines;
  for (const LoadingRow& row : rows) {
    if (row.seconds.empty()) continue;
    const json object = json_of(row);
    const auto number = [&](const char* key) { return object.at(key).get<double>(); };
    table.rows.push_back({row.source, fmt::format("{:.1f}", number("images_per_second_median")),
                          fmt::format("{:.1f}", number("images_per_second_best")),
                          fmt::format("{:.1f}%", 100 * number("spread")),
                          fmt::format("{:.3f}", number("processor_ms_an_image")), std::to_string(row.images),
                          std::to_string(row.seconds.size())});
    lines += object.dump() + "\n";
  }
  if (format == "jsonl") return print(lines);
  if (format == "csv") return print(csv_table(table));
  print(format == "md" ? markdown_table(table) : text_table(table));
  if (rows.size() < 3 || rows.back().seconds.empty()) return;  // the loader alone
  const LoadingRow& memory = rows[rows.size() - 2];
  const LoadingRow& folder = rows.back();
  const measure::Summary fed = measure::summarize(folder.seconds), free = measure::summarize(memory.seconds);
  print(fmt::format("fed from the folder a step reaches {:.1f} % of its rate from memory (best {:.1f} %)\n",
                    100 * free.median / fed.median, 100 * free.best / fed.best));
}

}  // namespace

void declare_loading(CLI::App& app, LoadingFlags& flags) {
  app.add_option("-d,--data-dir,--data-path,--data", flags.data_dir,
                 "ImageFolder, IDX folder, or fashion-mnist")
      ->required();
  app.add_option("-m,--model", flags.model, "also a training step of this model (vretnet models)");
  app.add_option("--img-size,--imgsz", flags.image_size, "pixels: 224, or HEIGHTxWIDTH");
  app.add_option("-b,--batch-size", flags.batch_size, "images of a batch")->check(count_range(1, 1 << 20));
  app.add_option("-j,--workers", flags.workers, "threads that load images")->check(count_range(0, 256));
  app.add_option("--cache", flags.cache, "decoded images in memory: auto, ram or off")
      ->check(CLI::IsMember({"auto", "ram", "off"}));
  app.add_option("--interpolation", flags.interpolation, "bilinear or bicubic")
      ->check(CLI::IsMember({"bilinear", "bicubic"}));
  app.add_flag("--reduced-decoding", flags.reduced_decoding, "as in training");
  app.add_option("-r,--repeats", flags.repeats, "epochs, and rounds of steps, that are timed")
      ->check(count_range(1, 1000));
  app.add_option("--steps", flags.steps, "steps of a round")->check(count_range(1, 1 << 20));
  app.add_option("-t,--threads", flags.machine.threads, "compute threads of the step (0: one a processor)")
      ->check(count_range(0, 1024));
  app.add_option("--format", flags.format, "text, md, csv or jsonl")
      ->check(CLI::IsMember({"text", "md", "csv", "jsonl"}));
  add_device_flags(app, flags.machine);
  add_output_flags(app);
}

int measure_loading(const LoadingFlags& flags) {
  const datasets::DataSplits data =
      naming("--data-dir", [&] { return datasets::open_data(flags.data_dir, {.val_split = 0}); });
  vision::ModelConfig config = naming(
      "--model", [&] { return vision::find_model_config(flags.model.empty() ? kUsualModel : flags.model); });
  if (!flags.image_size.empty()) set_image_size(config, flags.image_size);
  if (!flags.model.empty()) vision::validate(config, flags.model);
  config.classes = static_cast<std::int64_t>(data.class_names.size());

  Recipe recipe;
  recipe.interpolation = flags.interpolation;
  recipe.reduced_decoding = flags.reduced_decoding;
  datasets::LoaderOptions options;
  options.batch_size = flags.batch_size;
  options.workers = flags.workers;
  options.shuffle = options.drop_last = true;
  options.preprocessing = preprocessing_of(recipe, config, vision::default_preprocessing(config));
  options.augmentation = augmentation_of(recipe, options.preprocessing);
  options.cache = datasets::parse_cache_mode(flags.cache);
  datasets::Loader loader(data.train, options);

  catch_interrupts();
  std::vector<LoadingRow> rows{loader_alone(loader, flags.repeats)};
  if (!flags.model.empty() && !interrupt_requested()) {
    const auto values = static_cast<std::int64_t>(options.preprocessing.values());
    for (LoadingRow& row : steps(flags, config, loader, values, options.prefetch))
      rows.push_back(std::move(row));
  }
  write(rows, flags.format);
  return interrupt_requested() ? kInterrupted : 0;
}

}  // namespace vretnet::tools
