// Every layer's gradients against central differences in double.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>

#include "core/layers/attention_mixer.h"
#include "core/layers/depthwise_convolution.h"
#include "core/layers/feed_forward.h"
#include "core/layers/pooling.h"
#include "core/layers/residual.h"
#include "core/layers/retention_mixer.h"
#include "tests/support/finite_difference.h"
#include "tests/support/pass_bench.h"
#include "tests/support/test_tensor.h"

namespace vretnet {
namespace {

using layers::Layer;
using layers::ParameterTable;
using layers::Pass;

constexpr double kStep = 3e-4;  // of the differences: truncation falls with its fourth power
constexpr double kTolerance =
    1e-8;  // of the largest gradient; the differences themselves are good to about 1e-10

struct Case {
  std::string name;
  std::function<std::unique_ptr<Layer>(ParameterTable&)> make;
  std::int64_t rows = 3, columns = 5;  // of tokens
  std::int64_t width = 12;
  layers::FormChoice form = layers::FormChoice::automatic;
  std::vector<double> branch_scales = {};  // of one branch, a number for each of the two images
};

void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}

// A layer from tokens to one vector an image.
class PoolingLayer : public Layer {
 public:
  PoolingLayer(ParameterTable& table, layers::Pool pool, std::int64_t width, std::int64_t tokens)
      : pool_(table, "attention_pool", layers::Norm(table, "norm", width, 1e-6), pool, width),
        tokens_(tokens) {}
  Tensor forward(Pass& pass, Tensor x) const override { return pool_.forward(pass, std::move(x)); }
  Tensor backward(Pass& pass, Tensor d_y) const override {
    return pool_.backward(pass, std::move(d_y), tokens_);
  }

 private:
  layers::NormAndPool pool_;
  std::int64_t tokens_;
};

// Two children that are one another's neighbours in memory and time.
std::unique_ptr<Layer> pair_of(std::unique_ptr<Layer> first, std::unique_ptr<Layer> second) {
  auto pair = std::make_unique<layers::Sequential>();
  pair->add(std::move(first));
  pair->add(std::move(second));
  return pair;
}

std::unique_ptr<Layer> normed(ParameterTable& table, std::int64_t width,
                              std::unique_ptr<layers::Branch> branch) {
  return std::make_unique<layers::PreNormResidual>(layers::Norm(table, "norm1", width, 1e-6),
                                                   std::move(branch));
}

// Y and d_x of a layer, its parameters' gradients in the bench, for Σ y ⊙ direction.
class LayerBench {
 public:
  explicit LayerBench(const Case& test)
      : test_(test),
        layer_(test.make(table_)),
        shape_{2, test.rows * test.columns, test.width},
        bench_(
            [&]() -> ParameterTable& {
              table_.lay_out();
              return table_;
            }(),
            {.mode = layers::Mode::training, .dtype = DType::f64, .form = test.form}) {
    Random random(3);
    x_ = testing::random_values(random, shape_);
    weights_ = testing::PassBench::random_weights(table_);
  }

  std::vector<double>& x() { return x_; }
  std::vector<double>& weights() { return weights_; }
  const ParameterTable& table() const { return table_; }
  std::vector<double> gradients() { return bench_.gradients(); }

  double objective() {
    run(/*backward=*/false);
    double sum = 0;
    for (std::size_t i = 0; i < y_.size(); ++i) sum += y_[i] * direction_[i];
    return sum;
  }
  std::vector<double> input_gradient() {
    bench_.clear_gradients();
    run(/*backward=*/true);
    return d_x_;
  }

 private:
  void run(bool backward) {
    bench_.set_weights(weights_);
    const Allocation x = bench_.upload(x_, shape_);
    Allocation direction, branch_scales;
    if (!test_.branch_scales.empty()) branch_scales = bench_.upload(test_.branch_scales, {1, 2});
    bench_.walk(
        [&](Pass& pass) {
          pass.scale_branches(branch_scales.view());
          Tensor y = layer_->forward(pass, Tensor(x.view()));
          if (direction_.empty()) {
            Random random(4);
            direction_ = testing::random_values(random, y.view().shape());
          }
          y_ = bench_.download(pass, y);
          if (!direction.view()) direction = bench_.upload(direction_, y.view().shape());
          y = {};
          if (backward) {
            d_x_ = bench_.download(pass, layer_->backward(pass, Tensor(direction.view())));
          } else {
            while (pass.saved() > 0) pass.take();
          }
        },
        {.height = test_.rows, .width = test_.columns});
  }

  const Case& test_;
  ParameterTable table_;
  std::unique_ptr<Layer> layer_;
  Shape shape_;
  testing::PassBench bench_;
  std::vector<double> x_, weights_, direction_, y_, d_x_;
};

class LayerGradients : public ::testing::TestWithParam<Case> {};

TEST_P(LayerGradients, EqualCentralDifferences) {
  LayerBench bench(GetParam());
  bench.objective();  // makes the direction
  const std::vector<double> d_x = bench.input_gradient(), d_weights = bench.gradients();
  const auto objective = [&] { return bench.objective(); };
  EXPECT_LE(testing::worst_gradient_error(objective, bench.x(), d_x, kStep, 7), kTolerance) << "input";
  for (const layers::NamedTensor& tensor : bench.table().tensors()) {
    const auto begin = static_cast<std::size_t>(tensor.offset),
               count = static_cast<std::size_t>(tensor.shape.elements());
    const std::span<double> values(bench.weights().data() + begin, count);
    const std::span<const double> gradient(d_weights.data() + begin, count);
    EXPECT_LE(testing::worst_gradient_error(objective, values, gradient, kStep,
                                            std::max<std::size_t>(1, count / 11)),
              kTolerance)
        << tensor.name;
  }
}

layers::RetentionSettings retention_settings() {
  return {.width = 12, .value_width = 18, .heads = 3, .head_norm_epsilon = 1e-3};
}

// With fixed decays, and with learned ones.
void add_retention(std::vector<Case>& all, const std::string& name, layers::RetentionSettings settings,
                   layers::FormChoice form = layers::FormChoice::automatic) {
  for (const bool learned : {false, true}) {
    settings.learned_decay = learned;
    all.push_back({.name = name + (learned ? "_learned_decay" : ""),
                   .make =
                       [settings](ParameterTable& table) {
                         return normed(
                             table, settings.width,
                             std::make_unique<layers::RetentionMixer>(table, "retention", settings));
                       },
                   .width = settings.width,
                   .form = form});
  }
}

std::vector<Case> cases() {
  using layers::FormChoice;
  std::vector<Case> all;
  for (const bool row_causal : {false, true}) {
    all.push_back({.name = row_causal ? "cpe_row_causal" : "cpe", .make = [=](ParameterTable& table) {
                     return pair_of(
                         std::make_unique<layers::ConvolutionalPosition>(table, "first", 12, row_causal),
                         std::make_unique<layers::ConvolutionalPosition>(table, "second", 12, row_causal));
                   }});
  }
  all.push_back({.name = "feed_forward", .make = [](ParameterTable& table) {
                   return normed(table, 12,
                                 std::make_unique<layers::FeedForward>(table, "mlp", 12, 20,
                                                                       layers::LinearStart::fan_in));
                 }});
  all.push_back({.name = "attention", .make = [](ParameterTable& table) {
                   return normed(table, 12,
                                 std::make_unique<layers::AttentionMixer>(table, "attn", 12, 3,
                                                                          layers::LinearStart::truncated));
                 }});
  all.push_back(
      {.name = "layer_scale", .make = [](ParameterTable& table) {
         layers::Norm norm(table, "norm1", 12, 1e-6);
         return std::make_unique<layers::PreNormResidual>(
             norm, std::make_unique<layers::FeedForward>(table, "mlp", 12, 20, layers::LinearStart::fan_in),
             layers::LayerScale(table, "ls1", 12, 0.3));
       }});
  for (const bool scaled : {false, true}) {  // the first image leaves the branch out
    all.push_back(
        {.name = scaled ? "drop_path_layer_scale" : "drop_path",
         .make =
             [=](ParameterTable& table) {
               layers::Norm norm(table, "norm1", 12, 1e-6);
               std::optional<layers::LayerScale> scale;
               if (scaled) scale.emplace(table, "ls1", 12, 0.3);
               return std::make_unique<layers::PreNormResidual>(
                   norm,
                   std::make_unique<layers::FeedForward>(table, "mlp", 12, 20, layers::LinearStart::fan_in),
                   scale, 0);
             },
         .branch_scales = {0, 1.7}});
  }
  for (const auto& [name, pool] :
       {std::pair("pool_mean", layers::Pool::mean), std::pair("pool_last", layers::Pool::last),
        std::pair("pool_token", layers::Pool::token), std::pair("pool_sequence", layers::Pool::sequence)}) {
    all.push_back({.name = name, .make = [pool = pool](ParameterTable& table) {
                     return std::make_unique<PoolingLayer>(table, pool, 12, 15);
                   }});
  }

  const std::pair<const char*, FormChoice> forms[] = {{"parallel", FormChoice::parallel},
                                                      {"chunkwise", FormChoice::chunkwise},
                                                      {"recurrent", FormChoice::recurrent}};
  for (const auto& [form_name, form] : forms) {
    for (const auto decay : {ops::DecayKind::raster, ops::DecayKind::row}) {
      for (const bool bidirectional : {false, true}) {
        layers::RetentionSettings settings = retention_settings();
        settings.decay = decay;
        settings.bidirectional = bidirectional;
        settings.position =
            decay == ops::DecayKind::row ? retention::Position::axial : retention::Position::raster;
        add_retention(all,
                      std::string("retention_") + (decay == ops::DecayKind::row ? "row_" : "raster_") +
                          (bidirectional ? "bidirectional_" : "causal_") + form_name,
                      settings, form);
      }
    }
  }
  layers::RetentionSettings settings = retention_settings();
  settings.reading = layers::Reading::backwards;
  settings.lepe = true;
  add_retention(all, "retention_backwards_lepe", settings);
  settings = retention_settings();
  settings.lepe = settings.row_causal_lepe = true;
  settings.speed = retention::DecaySpeed::fast;
  settings.head_norm = ops::HeadNormKind::rms;
  add_retention(all, "retention_row_causal_lepe_rms_fast", settings);
  for (const auto decay : {ops::DecayKind::raster, ops::DecayKind::row}) {
    settings = {.width = 20, .value_width = 30, .heads = 5, .decay = decay, .head_norm_epsilon = 1e-3};
    settings.speed = retention::DecaySpeed::fast;
    settings.position = retention::Position::axial;
    settings.reading = layers::Reading::cross;
    settings.lepe = decay == ops::DecayKind::row;
    settings.gate = decay == ops::DecayKind::row;
    add_retention(all, std::string("retention_cross_") + (settings.lepe ? "row_lepe" : "raster_ungated"),
                  settings);
  }
  settings = retention_settings();
  settings.decay = ops::DecayKind::manhattan;
  settings.bidirectional = true;
  settings.position = retention::Position::axial;
  add_retention(all, "retention_manhattan", settings);
  for (const auto& [form_name, form] : forms) {  // on a grid scaled unequally recurrent is chunkwise
    settings = retention_settings();
    settings.decay = ops::DecayKind::row;
    settings.bidirectional = true;
    settings.position = retention::Position::axial;
    settings.scale = {1.5, 0.75};
    add_retention(all, std::string("retention_scaled_") + form_name, settings, form);
  }
  settings = {.width = 16, .value_width = 16, .heads = 4, .head_norm_epsilon = 1e-3};
  settings.reading = layers::Reading::cross;
  settings.scale = {1.5, 0.75};
  add_retention(all, "retention_cross_raster_scaled", settings);
  settings = retention_settings();
  settings.gate = false;
  settings.position = retention::Position::none;
  add_retention(all, "retention_without_gate_and_position", settings);
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, LayerGradients, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

// The FLOP formulas decide: short sequences go parallel, long ones in chunks of a row.
TEST(ChoosePattern, FollowsTheFlops) {
  ParameterTable table;
  table.add({"unused", {1}});
  table.lay_out();
  const layers::RetentionSettings settings{.width = 64, .value_width = 128, .heads = 1};
  const auto choose = [&](const layers::Place& place, std::int64_t tokens, const Pass::Options& options) {
    std::unique_ptr<Backend> backend = make_backend("reference", 1);
    layers::TableCache tables(*backend, DType::f64);
    const Allocation weights(*backend, DType::f64, {table.elements()});
    Pass pass(*backend, table, tables, weights.view(), View(), options);
    Arena arena;
    layers::StreamState stream;
    pass.start(arena, place, /*measuring=*/true, &stream);
    return layers::choose_pattern(pass, settings, tokens, place.width);
  };
  // N against B + 2·64·128/(64 + 128) = B + 85.3, B of as many lines as fill 32 tokens
  EXPECT_EQ(choose({9, 12}, 108, {}).form, ops::RetentionForm::parallel);
  EXPECT_EQ(choose({9, 13}, 117, {}).form, ops::RetentionForm::chunkwise);
  EXPECT_EQ(choose({9, 13}, 117, {}).chunk, 26);
  EXPECT_EQ(choose({33, 5}, 165, {}).chunk, 30);
  EXPECT_EQ(choose({9, 33}, 297, {}).chunk, 33);
  EXPECT_EQ(choose({9, 11}, 99, {.chunk_rows = 1}).form, ops::RetentionForm::chunkwise);
  EXPECT_EQ(choose({9, 11}, 99, {.form = layers::FormChoice::chunkwise, .chunk_rows = 3}).chunk, 33);
  EXPECT_EQ(choose({9, 100}, 900, {}).chunk, 64);
  EXPECT_EQ(choose({9, 11, 99, true}, 1, {}).form, ops::RetentionForm::recurrent);
  EXPECT_EQ(choose({9, 11, 99, true}, 11, {}).form, ops::RetentionForm::parallel);
}

}  // namespace
}  // namespace vretnet
