// Validation, costs, and the backends that watch another one.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/backends/reference/reference_backend.h"
#include "core/base/error.h"
#include "core/ops/checked_backend.h"
#include "core/ops/cost.h"
#include "core/ops/fields.h"
#include "core/ops/measuring_backend.h"
#include "core/ops/profiled_backend.h"

namespace vretnet {
namespace {

// A product of [3, 5] and [5, 4] with memory.
struct Product {
  explicit Product(Backend& backend)
      : a(backend, DType::f32, {3, 5}), b(backend, DType::f32, {5, 4}), y(backend, DType::f32, {3, 4}) {}
  ops::Gemm op() const { return {.a = a.view(), .b = b.view(), .y = y.view()}; }
  Allocation a, b, y;
};

class Decorators : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> reference_ = reference::make_reference_backend();
};

TEST_F(Decorators, EveryOpHasItsNameAndItsFields) {
  const Product product(*reference_);
  EXPECT_STREQ(ops::name_of(product.op()), "Gemm");
  EXPECT_STREQ(ops::name_of(ops::RetentionBlockGradient{}), "RetentionBlockGradient");
  EXPECT_STREQ(ops::name_of(ops::Lerp{}), "Lerp");
  int given = 0, written = 0;
  ops::for_each_field(product.op(), [&](const ops::Field& field) {
    given += static_cast<bool>(field.view);
    written += field.view && field.use != ops::Use::read;
  });
  EXPECT_EQ(given, 3);
  EXPECT_EQ(written, 1);
}

TEST_F(Decorators, CostsAreThoseOfTheFormula) {
  const Product product(*reference_);
  EXPECT_EQ(ops::flops(product.op()), 2 * 3 * 4 * 5);
  EXPECT_EQ(ops::bytes(product.op()), 4 * (15 + 20 + 12));
  ops::Gemm accumulating = product.op();
  accumulating.write = ops::Write::accumulate;
  EXPECT_EQ(ops::bytes(accumulating), 4 * (15 + 20 + 24));
  Buffer buffer;
  const View q(&buffer, DType::f32, {2, 64, 3, 32});
  ops::Retention retention{.q = q, .k = q, .v = q, .o = q, .pattern = {.row_width = 8}};
  EXPECT_EQ(ops::flops(retention), 2 * 3 * 2 * 64.0 * 64 * 64);
  retention.pattern.form = ops::RetentionForm::chunkwise;
  retention.pattern.chunk = 8;
  EXPECT_EQ(ops::flops(retention), 2 * 3 * 2 * 64.0 * (8 * 64 + 2 * 32 * 32));
}

TEST_F(Decorators, ProfilesAddUp) {
  ProfiledBackend profiled(*reference_);
  const Product product(profiled);
  profiled.run(product.op());
  profiled.run(product.op());
  profiled.run(ops::Convert{.x = product.y.view(), .y = product.y.view()});
  ASSERT_EQ(profiled.profile().size(), 2u);
  double calls = 0, flops = 0;
  for (const OpProfile& entry : profiled.profile()) {
    calls += static_cast<double>(entry.calls);
    flops += entry.flops;
    EXPECT_GT(entry.seconds, 0);
  }
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(flops, 2 * 120);
  profiled.reset();
  EXPECT_TRUE(profiled.profile().empty());
}

TEST_F(Decorators, ProfilesByShapeWhileWatching) {
  ProfiledBackend profiled(*reference_, ops::label_of);
  const Product product(profiled);
  ops::Gemm with_gelu = product.op();
  with_gelu.activation = ops::ActivationKind::gelu;
  profiled.run(product.op());
  profiled.run(with_gelu);
  profiled.run(with_gelu);
  profiled.watch(false);
  profiled.run(with_gelu);
  std::map<std::string, OpProfile> rows;
  for (const OpProfile& entry : profiled.profile()) rows[entry.op] = entry;
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows["Gemm 3x4x5"].calls, 1);
  EXPECT_EQ(rows["Gemm 3x4x5 gelu"].calls, 2);
}

TEST_F(Decorators, MeasuringNeedsNoMemory) {
  MeasuringBackend measuring(*reference_);
  const Product product(measuring);
  measuring.run(product.op());
  EXPECT_EQ(measuring.runs(), 1);
  EXPECT_EQ(measuring.flops(), 120);
  EXPECT_EQ(measuring.largest_workspace(), 0u);
}

TEST_F(Decorators, CheckedPassesWhatIsRight) {
  CheckedBackend checked(*reference_);
  const Product product(checked);
  EXPECT_NO_THROW(checked.run(product.op()));
}

TEST_F(Decorators, CheckedFindsANanAndSaysWhere) {
  CheckedBackend checked(*reference_);
  const Product product(checked);
  product.a.view().data<float>()[7] = NAN;
  try {
    checked.run(product.op());
    FAIL() << "a NaN went through";
  } catch (const RunError& error) {
    EXPECT_STREQ(error.what(), "Gemm: y of [3, 4] holds a NaN or an infinity in row 1");
  }
}

TEST_F(Decorators, CheckedMemoryStartsAsNan) {
  CheckedBackend checked(*reference_);
  const Allocation memory(checked, 8);
  EXPECT_TRUE(std::isnan(static_cast<float*>(memory.buffer()->data)[1]));
}

using DecoratorsDeathTest = Decorators;

TEST_F(DecoratorsDeathTest, WritesOutsideAnAllocationStop) {
  CheckedBackend checked(*reference_);
  const Product product(checked);
  const auto write_and_run = [&](std::int64_t element) {
    product.y.view().data<float>()[element] = 1;
    checked.run(product.op());
  };
  EXPECT_DEATH(write_and_run(-1), "Gemm wrote before an allocation of 48 bytes");
  EXPECT_DEATH(write_and_run(12), "Gemm wrote behind an allocation of 48 bytes");
}

TEST_F(DecoratorsDeathTest, ADryRunHasNothingToRead) {
  MeasuringBackend measuring(*reference_);
  const Product product(measuring);
  float value = 0;
  EXPECT_DEATH(measuring.download(product.y.view(), &value), "dry run");
}

TEST_F(DecoratorsDeathTest, ValidationNamesTheField) {
  const Product product(*reference_);
  ops::Gemm op = product.op();
  op.b = product.a.view();
  EXPECT_DEATH(ops::validate(op), "Gemm.b has the shape \\[3, 5\\], \\[5, 4\\] was expected");
  op = product.op();
  op.y = {};
  EXPECT_DEATH(ops::validate(op), "Gemm: y is missing");
  op = product.op();
  const Allocation wide(*reference_, DType::f64, {4});
  op.bias = wide.view();
  EXPECT_DEATH(ops::validate(op), "Gemm: bias is f64, the op runs in f32");
  op = product.op();
  op.y = product.a.view().slice(1, 0, 4).select(0, 0).broadcast(0, 3);
  EXPECT_DEATH(ops::validate(op), "written through a broadcast");
  const View square = product.b.view().slice(0, 0, 4);
  EXPECT_DEATH(ops::validate(ops::Add{.a = square.transposed(), .b = square, .y = square}),
               "innermost stride of 4");
  EXPECT_NO_FATAL_FAILURE(ops::validate(ops::Convert{.x = square.transposed(), .y = square}));
}

}  // namespace
}  // namespace vretnet
