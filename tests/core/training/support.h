// A tiny model and a source of batches in memory, for the tests of training.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/model/weights.h"
#include "core/training/trainer.h"
#include "vision/vision_model.h"

namespace vretnet::training {

// Pictures of noise; batch b of epoch e holds samples that depend on (e, b) only.
class MemorySource : public BatchSource {
 public:
  MemorySource(std::int64_t samples, std::int64_t batch_size, std::int64_t pixels, std::int64_t classes)
      : samples_(samples), batch_size_(batch_size), pixels_(pixels) {
    images_.resize(std::size_t(samples * pixels));
    Random random(11);
    for (float& value : images_) value = float(random.normal());
    for (std::int64_t i = 0; i < samples; ++i) {
      labels_.push_back(std::int32_t(i % classes));
      indices_.push_back(i);
    }
  }

  std::int64_t size() const override { return samples_; }
  std::int64_t batches() const override { return (samples_ + batch_size_ - 1) / batch_size_; }
  std::int64_t batch_size() const override { return batch_size_; }
  void start_epoch(std::int64_t, std::int64_t first_batch) override { next_ = first_batch; }
  const Batch* next() override {
    if (next_ >= batches()) return nullptr;
    const std::int64_t first = next_ * batch_size_;
    batch_ = {std::min(batch_size_, samples_ - first), next_, images_.data() + first * pixels_,
              labels_.data() + first, indices_.data() + first};
    ++next_;
    return &batch_;
  }
  const std::vector<SkippedSample>& skipped() const override { return skipped_; }

 private:
  std::int64_t samples_, batch_size_, pixels_, next_ = 0;
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  std::vector<SkippedSample> skipped_;
  Batch batch_;
};

// `local`: with convolutions and, unless asked otherwise, learned decays, so that every kind of op has its
// turn.
inline std::unique_ptr<vision::VisionModel> tiny_model(bool local, bool learned_decay) {
  vision::ModelConfig config;
  config.name = "tiny";
  config.image_size = {8, 12};
  config.patch_size = 4;
  config.in_chans = 1;
  config.width = 16;
  config.depth = 2;
  config.heads = 2;
  config.classes = 3;
  if (local) {
    config.stem = vision::Stem::conv;
    config.value_factor = 1;
    config.cpe = config.lepe = true;
  }
  config.learned_decay = learned_decay;
  return vision::make_model(config);
}
inline std::unique_ptr<vision::VisionModel> tiny_model(bool local = false) {
  return tiny_model(local, local);
}
inline constexpr std::int64_t kPixels = 8 * 12, kClasses = 3;

// A trainer with everything that it needs, begun.
struct TinyRun {
  explicit TinyRun(const TrainingOptions& options, std::int64_t samples = 24, std::int64_t batch_size = 4,
                   const std::string& backend_name = "onednn", bool local = false)
      : TinyRun(tiny_model(local), options, samples, batch_size, backend_name) {}
  TinyRun(std::unique_ptr<vision::VisionModel> the_model, const TrainingOptions& options,
          std::int64_t samples, std::int64_t batch_size, const std::string& backend_name = "onednn")
      : model(std::move(the_model)),
        backend(make_backend(backend_name, 1)),
        source(samples, batch_size, kPixels, kClasses),
        trainer(*model, *backend, source, options) {
    model::upload_values(*backend, trainer.weights(), model::initial_values(model->parameters(), 3));
    trainer.start_average();
    trainer.start_at({});
  }
  std::vector<float> values(const View& view) { return model::download_values<float>(*backend, view); }

  std::unique_ptr<vision::VisionModel> model;
  std::unique_ptr<Backend> backend;
  MemorySource source;
  Trainer trainer;
};

}  // namespace vretnet::training
