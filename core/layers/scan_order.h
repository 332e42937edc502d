// The order in which heads of a retention layer read the image. A head's n, y, x are index, line and place in
// its own order: backwards, token n is the image's N−1−n; by columns a line is a column, and height and width
// change places.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor/view.h"

namespace vretnet::layers {

// Which orders a layer has. cross: head i reads in order i mod 4 of rows down, rows backwards, columns to the
// right, columns backwards (as the cross scan of VMamba, Liu et al. 2024, with a quarter of the heads each).
enum class Reading : std::uint8_t { forwards, backwards, cross };

struct ScanOrder {
  bool by_columns = false, backwards = false;
  std::int64_t first_head = 0, head_step = 1;  // the heads first_head, first_head + head_step, …
};

// The orders of a layer with so many heads, which all heads share out.
std::vector<ScanOrder> scan_orders(Reading reading, std::int64_t heads);

// x [batch, tokens, heads · d], its tokens by rows or, for an order by columns, by columns → [batch, tokens,
// heads of the order, d] as the order reads it. An empty view stays empty.
View in_order(const View& x, std::int64_t heads, const ScanOrder& order);

// The heads of an order in x [batch, lines · places, heads · d] → [batch, lines, places, heads of the order,
// d], whether the lines are rows or columns.
View in_lines(const View& x, std::int64_t lines, std::int64_t heads, const ScanOrder& order);

}  // namespace vretnet::layers
