// An image of another size than those trained on: how far a step from token to token goes in it.
#pragma once

namespace vretnet::retention {

// So many rows (lines of the order in which a head reads) and columns (places of a line) of tokens stand
// where the grid that was trained on has one: 2, 2 for images of twice its sides. Distances are divided by
// it, so that masks and angles stay the same functions of the place in the image, as learned positions do
// when they are resampled and coordinates that count from one edge to the other (axial RoPE of DINOv3).
struct GridScale {
  double rows = 1, columns = 1;
  bool operator==(const GridScale&) const = default;
};

}  // namespace vretnet::retention
