// A picture of which only a part may be wanted: its size is known before its pixels are decoded.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "vision/image/decode.h"
#include "vision/image/image.h"
#include "vision/image/resize.h"

namespace vretnet::vision {

class JpegSource;

class LazyImage {
 public:
  // Pixels that are there already: taken over, or somebody else's, who keeps them as long as this lives.
  explicit LazyImage(Image pixels);
  explicit LazyImage(const ImageView& pixels);
  // The bytes of an image file. Of a JPEG the header is read; other formats, and a JPEG that ends without its
  // end marker, are decoded whole. All limits are checked here. Throws ImageError.
  LazyImage(std::vector<std::byte> bytes, const std::string& name, const DecodeLimits& limits, int channels);
  ~LazyImage();
  LazyImage(LazyImage&&) noexcept;
  LazyImage& operator=(LazyImage&&) noexcept;

  Size size() const { return size_; }  // upright

  struct Part {
    ImageView pixels;  // valid as long as the LazyImage
    Box area;          // where in them the part that was asked for lies
  };

  // The pixels of `area` of the upright picture, equal to the last bit to those of decode_image: pixels are
  // `area` and nothing else. A file's pixels are read once. Throws ImageError where the part is damaged;
  // damage in the rest of a JPEG is not looked for.
  Part read(const Rectangle& area);

  // The same, for an antialiased resize to `target`: a JPEG (of 4:4:4, 4:2:0 or grey) is decoded at 1/2 or
  // 1/4 of its size where `area` then still has at least twice the target's pixels both ways, and part.area
  // may begin and end inside a pixel. For training, not for evaluation: after
  // the resize pixels differ from those of the full decode by up to 8 grey levels at sharp edges, 0.65 on
  // average (measured, tests).
  Part read_reduced(const Rectangle& area, const Size& target);

 private:
  Part read(const Rectangle& area, int reduction);

  Size size_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<JpegSource> jpeg_;  // of bytes_; null where the pixels are there
  DecodeLimits limits_;
  int channels_ = 3;
  Image own_;
  ImageView pixels_;
};

}  // namespace vretnet::vision
