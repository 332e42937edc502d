// The retention of every scan × decay × speed × position, forward and backward, in all three forms.
#include <gtest/gtest.h>

#include <cmath>

#include "core/backends/available.h"
#include "core/layers/tables.h"
#include "core/model/weights.h"
#include "core/ops/workspace.h"
#include "tests/goldens/golden_file.h"
#include "tests/goldens/golden_random.h"

namespace vretnet::goldens {
namespace {

using Array = std::vector<double>;
using ops::RetentionForm;

struct RetentionGolden {
  const GoldenFile golden{"retention"};
  const nlohmann::json shape = golden.json("shape");
  const std::int64_t batch = shape["batch"], height = shape["height"], width = shape["width"],
                     heads = shape["heads"], key_width = shape["key_width"],
                     value_width = shape["value_width"];
  const std::int64_t tokens = height * width;

  Shape keys() const { return {batch, tokens, heads, key_width}; }
  Shape values() const { return {batch, tokens, heads, value_width}; }
  // Input 0 … 3 of a case: q, k, v, d_o.
  Array input(const nlohmann::json& test, int place) const {
    Array result(static_cast<std::size_t>((place < 2 ? keys() : values()).elements()));
    fill_tensor<double>(golden.seed(), test["number"].get<std::uint64_t>() * 4 + place, result);
    return result;
  }
};

ops::RetentionPattern pattern_of(const RetentionGolden& all, const nlohmann::json& test, RetentionForm form) {
  const bool by_row = test["decay"] == "row";
  ops::RetentionPattern pattern{.form = form,
                                .decay = by_row ? ops::DecayKind::row : ops::DecayKind::raster,
                                .bidirectional = test["bidirectional"],
                                .row_width = all.width};
  // Neither divides the tokens: the last chunk is shorter.
  if (form == RetentionForm::chunkwise) pattern.chunk = by_row ? 2 * all.width : all.width - 1;
  return pattern;
}

retention::Position position_of(const nlohmann::json& test) {
  if (test["position"] == "none") return retention::Position::none;
  return test["position"] == "raster" ? retention::Position::raster : retention::Position::axial;
}

// A case on a machine: k/√d_k, turned, retention, and all of it backwards.
class Bench {
 public:
  Bench(const RetentionGolden& all, const Machine& machine)
      : all_(all),
        machine_(machine),
        backend_(make_backend(machine.backend, 1)),
        tables_(*backend_, machine.dtype) {}

  void compare(const nlohmann::json& test, RetentionForm form) {
    const ops::RetentionPattern pattern = pattern_of(all_, test, form);
    const layers::TableCache::Rotation rotation = tables_.rotation({.position = position_of(test),
                                                                    .key_width = all_.key_width,
                                                                    .row_width = all_.width,
                                                                    .tokens = all_.tokens});
    const ops::DecayTables decay = tables_.decay(
        {.pattern = pattern,
         .heads = static_cast<int>(all_.heads),
         .speed = test["decay_speed"] == "fast" ? retention::DecaySpeed::fast : retention::DecaySpeed::slow,
         .height = all_.height,
         .tokens = all_.tokens});
    const double key_scale = 1 / std::sqrt(static_cast<double>(all_.key_width));
    const Allocation q = upload(all_.input(test, 0), all_.keys());
    const Allocation k = upload(scaled(all_.input(test, 1), key_scale), all_.keys());
    const Allocation v = upload(all_.input(test, 2), all_.values());
    const Allocation d_o = upload(all_.input(test, 3), all_.values());
    turn(q, rotation, /*inverse=*/false);
    turn(k, rotation, /*inverse=*/false);

    const Allocation o = memory(all_.values()), d_v = memory(all_.values());
    const Allocation d_q = memory(all_.keys()), d_k = memory(all_.keys());
    ops::Retention op{.q = q.view(), .k = k.view(), .v = v.view(), .o = o.view()};
    op.tables = decay;
    op.pattern = pattern;
    run(op);
    ops::RetentionGradient gradient{.q = q.view(), .k = k.view(), .v = v.view(), .d_o = d_o.view()};
    gradient.d_q = d_q.view();
    gradient.d_k = d_k.view();
    gradient.d_v = d_v.view();
    gradient.tables = decay;
    gradient.pattern = pattern;
    run(gradient);
    turn(d_q, rotation, /*inverse=*/true);
    turn(d_k, rotation, /*inverse=*/true);

    const auto expect = [&](const char* what, const Array& found) {
      const std::string name = test["name"].get<std::string>() + "." + what;
      expect_close(found, all_.golden.values(name), machine_.tolerance, name);
    };
    expect("o", download(o));
    expect("d_q", download(d_q));
    expect("d_k", scaled(download(d_k), key_scale));
    expect("d_v", download(d_v));
  }

 private:
  static Array scaled(Array values, double scale) {
    for (double& value : values) value *= scale;
    return values;
  }
  Allocation memory(const Shape& shape) { return Allocation(*backend_, machine_.dtype, shape); }
  Allocation upload(const Array& values, const Shape& shape) {
    Allocation result = memory(shape);
    model::upload_values(*backend_, result.view(), values);
    return result;
  }
  Array download(const Allocation& from) { return model::download_values<double>(*backend_, from.view()); }
  void run(ops::Op op) {
    const std::size_t bytes = backend_->workspace_bytes(op);
    const Allocation workspace(*backend_, DType::f64, ops::workspace_shape(bytes, DType::f64));
    if (bytes > 0) set_workspace(op, workspace.view());
    backend_->run(op);
  }
  void turn(const Allocation& x, const layers::TableCache::Rotation& rotation, bool inverse) {
    if (rotation.cosine) run(ops::Rotate{x.view(), rotation.cosine, rotation.sine, x.view(), 1, inverse});
  }

  const RetentionGolden& all_;
  const Machine machine_;
  std::unique_ptr<Backend> backend_;
  layers::TableCache tables_;
};

class RetentionGoldenTest : public ::testing::TestWithParam<Machine> {};

TEST_P(RetentionGoldenTest, EveryCaseInEveryForm) {
  const RetentionGolden all;
  const nlohmann::json cases = all.golden.json("cases");
  EXPECT_EQ(cases.size(), 24u);
  Bench bench(all, GetParam());
  for (const nlohmann::json& test : cases) {
    for (const auto form : {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
      SCOPED_TRACE("form " + std::to_string(static_cast<int>(form)));
      bench.compare(test, form);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, RetentionGoldenTest,
                         ::testing::Values(Machine{"reference", DType::f64, 1e-12},
                                           Machine{"reference", DType::f32, 2e-6},
                                           Machine{"onednn", DType::f32, 2e-6}),
                         name_of_machine);

}  // namespace
}  // namespace vretnet::goldens
