// The orders in which heads read: together they cover all heads once, and each reads the tokens that it says.
#include "core/layers/scan_order.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "core/backends/reference/reference_backend.h"
#include "core/ops/backend.h"

namespace vretnet::layers {
namespace {

// x [1, tokens, heads] whose element is token·100 + head.
class Numbered {
 public:
  Numbered(std::int64_t tokens, std::int64_t heads) : memory_(*backend_, DType::f64, {1, tokens, heads}) {
    double* element = memory_.view().data<double>();
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) *element++ = static_cast<double>(t * 100 + h);
    }
  }
  const View& view() const { return memory_.view(); }

 private:
  std::unique_ptr<Backend> backend_ = reference::make_reference_backend();
  Allocation memory_;
};

double at(const View& x, std::int64_t a, std::int64_t b) {
  return *x.select(0, 0).select(0, a).select(0, b).data<double>();
}

TEST(ScanOrder, OrdersShareOutTheHeads) {
  for (const std::int64_t heads : {4, 5, 6, 12}) {
    std::multiset<std::int64_t> seen;
    for (const ScanOrder& order : scan_orders(Reading::cross, heads)) {
      for (std::int64_t head = order.first_head; head < heads; head += order.head_step) {
        seen.insert(head);
        EXPECT_EQ(order.by_columns, head % 4 >= 2);
        EXPECT_EQ(order.backwards, head % 2 == 1);
      }
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(heads));
    EXPECT_EQ(*seen.rbegin(), heads - 1);
  }
  EXPECT_EQ(scan_orders(Reading::forwards, 3).size(), 1u);
  EXPECT_FALSE(scan_orders(Reading::forwards, 3)[0].backwards);
  EXPECT_TRUE(scan_orders(Reading::backwards, 3)[0].backwards);
}

TEST(ScanOrder, ReadsTokensAndHeads) {
  const Numbered x(6, 5);
  const View read = in_order(x.view(), 5, {.backwards = true, .first_head = 1, .head_step = 4});
  EXPECT_EQ(read.shape(), (Shape{1, 6, 1, 1}));
  for (std::int64_t t = 0; t < 6; ++t) EXPECT_EQ(at(read, t, 0), static_cast<double>((5 - t) * 100 + 1));
  EXPECT_FALSE(in_order(View(), 5, {}));
}

TEST(ScanOrder, LinesAreRowsOrColumns) {
  const Numbered x(6, 2);  // 2 rows of 3
  const View rows = in_lines(x.view(), 2, 2, {.first_head = 1, .head_step = 4});
  EXPECT_EQ(rows.shape(), (Shape{1, 2, 3, 1, 1}));
  EXPECT_EQ(at(rows, 1, 2), 501);                   // row 1, column 2
  EXPECT_EQ(at(rows.transposed(1, 2), 2, 1), 501);  // column 2, row 1
}

}  // namespace
}  // namespace vretnet::layers
