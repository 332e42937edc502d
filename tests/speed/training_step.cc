// Times whole training steps (forward, backward, AdamW) on random images in memory: img/s, and how much the
// process grew.
//   training_step [MODEL] [HEADS] [SIDE] [CHANNELS] [BATCH] [THREADS] [SECONDS]
// The twin that the project's speed is judged by: training_step vit_nano_patch4_32 3 28 1 128 2 10
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/model/weights.h"
#include "core/ops/profiled_backend.h"
#include "core/training/trainer.h"
#include "vision/registry.h"
#include "vision/vision_model.h"

namespace {

using namespace vretnet;

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// One batch, over and over.
class OneBatch : public training::BatchSource {
 public:
  OneBatch(std::int64_t batch, std::int64_t values, std::int64_t classes)
      : images_(static_cast<std::size_t>(batch * values)),
        labels_(static_cast<std::size_t>(batch)),
        indices_(labels_.size()) {
    Random random(1);
    for (float& value : images_) value = static_cast<float>(random.normal());
    for (std::int32_t& label : labels_)
      label = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(classes)));
    batch_.count = batch;
    batch_.images = images_.data();
    batch_.labels = labels_.data();
    batch_.indices = indices_.data();
  }
  std::int64_t size() const override { return batch_.count * batches(); }
  std::int64_t batches() const override { return 1 << 20; }
  std::int64_t batch_size() const override { return batch_.count; }
  void start_epoch(std::int64_t, std::int64_t) override {}
  const training::Batch* next() override { return &batch_; }
  const std::vector<training::SkippedSample>& skipped() const override { return skipped_; }

 private:
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  training::Batch batch_;
  std::vector<training::SkippedSample> skipped_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int place, const char* otherwise) {
    return argc > place ? argv[place] : otherwise;
  };
  vision::ModelConfig config = vision::find_model_config(argument(1, "vit_nano_patch4_32"));
  if (const long heads = std::atol(argument(2, "0")); heads > 0) config.heads = heads;
  if (const long side = std::atol(argument(3, "0")); side > 0) config.image_size = {side, side};
  if (const long channels = std::atol(argument(4, "0")); channels > 0) config.in_chans = channels;
  const std::int64_t batch = std::atol(argument(5, "128"));
  const int threads = std::atoi(argument(6, "2"));
  const double seconds = std::atof(argument(7, "10"));
  const bool by_op = argc > 8;  // a last argument: a table of the time of each op

  const auto model = vision::make_model(config);
  const auto machine = make_backend("onednn", threads);
  ProfiledBackend profiled(*machine);
  Backend& backend = by_op ? static_cast<Backend&>(profiled) : *machine;
  OneBatch source(batch, config.image_size[0] * config.image_size[1] * config.in_chans, config.classes);
  const double before = peak_mib();
  training::Trainer trainer(*model, backend, source, {});
  model::upload_values(backend, trainer.weights(), model::initial_values(model->parameters(), 42));
  trainer.start_at({});

  std::vector<double> times;
  double total = 0;
  for (int step = 0; step < 6 || total < seconds; ++step) {
    const auto began = std::chrono::steady_clock::now();
    trainer.step();
    const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (step == 1) profiled.reset();
    if (step < 2) continue;  // warm-up
    times.push_back(time);
    total += time;
  }
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"model\": \"%s\", \"batch\": %lld, \"threads\": %d, \"img_s_best\": %.1f, \"img_s_median\": %.1f, "
      "\"steps\": %zu, "
      "\"growth_mib\": %.0f, \"arena_mib\": %.0f}\n",
      config.name.c_str(), static_cast<long long>(batch), threads, static_cast<double>(batch) / times.front(),
      static_cast<double>(batch) / times[times.size() / 2], times.size(), peak_mib() - before,
      static_cast<double>(trainer.arena_bytes()) / (1 << 20));
  for (const OpProfile& row : by_op ? profiled.profile() : std::vector<OpProfile>()) {
    std::printf("%-28s %6.1f %%  %8.3f ms a step  %7.1f GFLOP/s  %6.1f GB/s\n", row.op.c_str(),
                100 * row.seconds / total, 1e3 * row.seconds / static_cast<double>(times.size()),
                row.flops / row.seconds / 1e9, row.bytes / row.seconds / 1e9);
  }
}
