// Rotary positions: the angles by which pairs of q and k turn (xPos of Sun et al. 2022 without its magnitude,
// as torchscale; axial as RMT). θ_j = 10000^(−j/(P−1)), j = 0 … P−1, θ_0 = 1 where P = 1. Made in double.
#pragma once

#include <cstdint>
#include <vector>

#include "core/retention/grid_scale.h"

namespace vretnet::retention {

enum class Position : std::uint8_t { none, raster, axial };

// raster: all d_k/2 pairs turn by n·θ_j. axial: the first ⌊d_k/4⌋ pairs by y·θ_j, the others by x·θ_j, each
// group with its own P. n = first_token … first_token + tokens − 1, y = n / row_width, x = n % row_width.
// key_width is even. On a scaled grid y and x are divided by it, and n is the place that a token has in the
// raster of the grid trained on: y / scale.rows · (row_width / scale.columns) + x / scale.columns.
struct RotationSpec {
  Position position = Position::none;
  std::int64_t key_width = 2;
  std::int64_t row_width = 1;
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  GridScale scale;
  bool operator==(const RotationSpec&) const = default;
};

struct HostRotationTables {
  std::vector<double> cosine, sine;  // [tokens, key_width/2]; empty for Position::none
};
HostRotationTables make_rotation_tables(const RotationSpec& spec);

}  // namespace vretnet::retention
