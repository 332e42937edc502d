// Whole models against PyTorch: logits, loss, every gradient, and ten losses of training.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <tuple>

#include "core/training/trainer.h"
#include "tests/goldens/golden_model.h"
#include "vision/vision_model.h"

namespace vretnet::goldens {
namespace {

constexpr double kTolerance = 1e-4;        // of f32
constexpr double kDoubleTolerance = 1e-6;  // of f64: the goldens' gradients are stored as float32
constexpr std::int64_t kSamples = 64;      // of a larger model's gradient

std::vector<std::string> model_files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data_folder())) {
    const std::string name = entry.path().stem().string();
    if (name.starts_with("model_")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Where a model runs, and by which form of retention.
struct Trial {
  Machine machine;
  layers::FormChoice form = layers::FormChoice::automatic;
  std::string name() const {
    const char* forms[] = {"", "_parallel", "_chunkwise", "_recurrent"};
    return machine.name() + forms[static_cast<int>(form)];
  }
};
void PrintTo(const Trial& trial, std::ostream* out) {
  *out << trial.name();
}

std::vector<Trial> pass_trials() {
  const Machine exact{"reference", DType::f64, kDoubleTolerance};
  return {{exact},
          {exact, layers::FormChoice::chunkwise},
          {exact, layers::FormChoice::recurrent},
          {{"reference", DType::f32, kTolerance}},
          {{"onednn", DType::f32, kTolerance}}};
}
std::vector<Trial> training_trials() {
  return {{{"reference", DType::f32, kTolerance}}, {{"onednn", DType::f32, kTolerance}}};
}

class ModelGolden : public ::testing::TestWithParam<std::tuple<std::string, Trial>> {
 protected:
  ModelGolden()
      : golden_(std::get<0>(GetParam())),
        trial_(std::get<1>(GetParam())),
        model_(vision::make_model(vision::parse_model_config(golden_.text("model"), "golden"))),
        training_(golden_.json("training")),
        seed_(training_["seed"].get<std::uint64_t>()),
        batch_(training_["batch"].get<std::int64_t>()),
        smoothing_(training_["label_smoothing"].get<double>()) {}

  // Logits, loss and gradients are compared with those of the file.
  void compare_pass(GoldenSession& session);
  void compare_gradients(const std::vector<double>& flat);

  const GoldenFile golden_;
  const Trial trial_;
  const std::unique_ptr<vision::VisionModel> model_;
  const nlohmann::json training_;
  const std::uint64_t seed_;
  const std::int64_t batch_;
  const double smoothing_;
};

void ModelGolden::compare_pass(GoldenSession& session) {
  const double tolerance = trial_.machine.tolerance;
  const std::vector<float> images = golden_images(*model_, seed_, 0, batch_);
  const View logits = session.session().forward(images.data(), batch_);
  expect_close(session.download(logits), golden_.values("logits"), tolerance, "logits");

  Backend& backend = session.backend();
  const std::int64_t classes = model_->classes();
  const Shape shape{batch_, classes};
  const Allocation targets(backend, trial_.machine.dtype, shape),
      d_logits(backend, trial_.machine.dtype, shape);
  const Allocation losses(backend, trial_.machine.dtype, {batch_});
  std::vector<double> one_hot(static_cast<std::size_t>(shape.elements()), 0.0);
  const std::vector<std::int64_t> labels = make_labels(seed_, 0, batch_, classes);
  for (std::int64_t i = 0; i < batch_; ++i) one_hot[i * classes + labels[i]] = 1;
  model::upload_values(backend, targets.view(), one_hot);
  ops::CrossEntropy loss{logits, targets.view(), {}, losses.view(), d_logits.view()};
  loss.smoothing = static_cast<float>(smoothing_);
  loss.gradient_scale = 1.0f / static_cast<float>(batch_);
  backend.run(loss);
  const std::vector<double> each = session.download(losses.view());
  const double mean = std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(batch_);
  expect_close({mean}, golden_.values("loss"), tolerance, "loss");

  session.session().backward(d_logits.view());
  compare_gradients(session.gradients());
}

void ModelGolden::compare_gradients(const std::vector<double>& flat) {
  std::size_t expected_names = 0;
  for (const std::string& name : golden_.file().names()) expected_names += name.starts_with("gradient.");
  EXPECT_EQ(model_->parameters().tensors().size(), expected_names);
  for (const layers::NamedTensor& tensor : model_->parameters().tensors()) {
    const std::int64_t elements = tensor.shape.elements();
    std::vector<double> gradient(flat.begin() + tensor.offset, flat.begin() + tensor.offset + elements);
    const double norm =
        std::sqrt(std::inner_product(gradient.begin(), gradient.end(), gradient.begin(), 0.0));
    expect_close({norm}, golden_.values("gradient_norm." + tensor.name), trial_.machine.tolerance,
                 "norm of the gradient of " + tensor.name);
    const model::StoredTensor& stored = golden_.file().at("gradient." + tensor.name);
    if (stored.shape != extents(tensor.shape)) {
      ASSERT_EQ(stored.shape, std::vector<std::int64_t>{kSamples}) << tensor.name;
      std::vector<double> samples;
      for (std::int64_t j = 0; j < kSamples; ++j) samples.push_back(gradient[j * elements / kSamples]);
      gradient = samples;
    }
    expect_close(gradient, golden_.values("gradient." + tensor.name), trial_.machine.tolerance,
                 "gradient of " + tensor.name);
  }
}

class ModelPassGolden : public ModelGolden {};

TEST_P(ModelPassGolden, LogitsLossAndGradientsAreThoseOfPyTorch) {
  GoldenSession session(*model_, trial_.machine, golden_weights(model_->parameters(), seed_),
                        {.mode = layers::Mode::training, .form = trial_.form});
  compare_pass(session);
}

// Steps of a golden as the batches of one epoch.
class GoldenSource : public training::BatchSource {
 public:
  GoldenSource(const model::Model& model, std::uint64_t seed, std::int64_t batch, std::int64_t steps)
      : model_(model), seed_(seed), batch_size_(batch), steps_(steps) {}

  std::int64_t size() const override { return batch_size_ * steps_; }
  std::int64_t batches() const override { return steps_; }
  std::int64_t batch_size() const override { return batch_size_; }
  void start_epoch(std::int64_t, std::int64_t first_batch) override { step_ = first_batch; }
  const training::Batch* next() override {
    if (step_ == steps_) return nullptr;
    const auto step = static_cast<std::uint64_t>(step_);
    images_ = golden_images(model_, seed_, step, batch_size_);
    const std::vector<std::int64_t> labels = make_labels(seed_, step, batch_size_, model_.classes());
    labels_.assign(labels.begin(), labels.end());
    indices_.resize(labels.size());
    std::iota(indices_.begin(), indices_.end(), step_ * batch_size_);
    batch_ = {batch_size_, step_++, images_.data(), labels_.data(), indices_.data()};
    return &batch_;
  }
  const std::vector<training::SkippedSample>& skipped() const override { return skipped_; }

 private:
  const model::Model& model_;
  std::uint64_t seed_;
  std::int64_t batch_size_, steps_, step_ = 0;
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  std::vector<training::SkippedSample> skipped_;
  training::Batch batch_;
};

class ModelTrainingGolden : public ModelGolden {};

TEST_P(ModelTrainingGolden, LossesAreThoseOfPyTorch) {
  const auto number = [&](const char* key) { return training_[key].get<double>(); };
  const std::vector<double> losses = golden_.values("losses"), norms = golden_.values("gradient_norms");
  training::TrainingOptions options;
  options.epochs = 1;
  options.learning_rate = number("learning_rate");
  options.constant_rate = true;
  options.warmup_epochs = 0;
  options.smoothing = smoothing_;
  options.optimizer = {.beta1 = number("beta1"),
                       .beta2 = number("beta2"),
                       .epsilon = number("epsilon"),
                       .weight_decay = number("weight_decay"),
                       .clip_norm = number("max_norm")};
  const auto backend = make_backend(trial_.machine.backend, 1);  // threads would wait more than work
  GoldenSource source(*model_, seed_, batch_, training_["steps"].get<std::int64_t>());
  training::Trainer trainer(*model_, *backend, source, options);
  model::upload_values(*backend, trainer.weights(), golden_weights(model_->parameters(), seed_));
  trainer.start_at({});
  std::size_t step = 0;
  for (; trainer.step(); ++step) {
    ASSERT_LT(step, losses.size());
    const std::string where = " of step " + std::to_string(step);
    expect_close({trainer.last_loss()}, {losses[step]}, trial_.machine.tolerance, "loss" + where);
    expect_close({trainer.gradient_norm()}, {norms[step]}, trial_.machine.tolerance, "gradient norm" + where);
  }
  EXPECT_EQ(step, losses.size());
}

std::string name_of_trial(const ::testing::TestParamInfo<std::tuple<std::string, Trial>>& info) {
  return std::get<0>(info.param) + "_on_" + std::get<1>(info.param).name();
}
INSTANTIATE_TEST_SUITE_P(Goldens, ModelPassGolden,
                         ::testing::Combine(::testing::ValuesIn(model_files()),
                                            ::testing::ValuesIn(pass_trials())),
                         name_of_trial);
INSTANTIATE_TEST_SUITE_P(Goldens, ModelTrainingGolden,
                         ::testing::Combine(::testing::ValuesIn(model_files()),
                                            ::testing::ValuesIn(training_trials())),
                         name_of_trial);

TEST(ModelGoldens, CoverEveryModelOfTheScript) {
  EXPECT_EQ(model_files().size(), 19u);
}

}  // namespace
}  // namespace vretnet::goldens
