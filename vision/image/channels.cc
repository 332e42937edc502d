#include "vision/image/channels.h"

#include <cstring>

#include "core/base/ensure.h"

namespace vretnet::vision {

void convert_row(const std::uint8_t* in, int from_channels, std::uint8_t* out, int to_channels, int width) {
  if (from_channels == to_channels) {
    std::memcpy(out, in, std::size_t(width) * from_channels);
  } else if (from_channels == 1 && to_channels == 3) {
    for (int x = 0; x < width; ++x) out[3 * x] = out[3 * x + 1] = out[3 * x + 2] = in[x];
  } else {
    ensure(from_channels == 3 && to_channels == 1, "{} channels to {}", from_channels, to_channels);
    for (int x = 0; x < width; ++x) out[x] = luma(in + 3 * x);
  }
}

}  // namespace vretnet::vision
