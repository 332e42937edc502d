#include "vision/image/lazy_image.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "vision/image/jpeg.h"
#include "vision/image/orientation.h"
#include "vision/image/signature.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {
namespace {

// A file that was cut short has no end marker, wherever the cut is. Nothing may follow the marker: what does
// might end in one of its own.
bool ends_with_its_marker(const std::vector<std::byte>& bytes) {
  return bytes.size() >= 2 && bytes[bytes.size() - 2] == std::byte{0xFF} && bytes.back() == std::byte{0xD9};
}

// What is decoded has at least so many pixels for one of the result, both ways: the antialiasing of the
// resize that follows then covers what the two low-pass filters do differently.
constexpr int kOversampling = 2;

// The largest reduction that leaves enough pixels of `area` for a result of size `target`.
int largest_reduction(const Rectangle& area, const Size& target) {
  int reduction = 4;  // an eighth gains little and loses most
  while (reduction > 1 && (area.width < kOversampling * target.width * reduction ||
                           area.height < kOversampling * target.height * reduction)) {
    reduction /= 2;
  }
  return reduction;
}

}  // namespace

LazyImage::LazyImage(Image pixels)
    : size_{pixels.width, pixels.height}, own_(std::move(pixels)), pixels_(own_) {}

LazyImage::LazyImage(const ImageView& pixels) : size_{pixels.width, pixels.height}, pixels_(pixels) {}

LazyImage::LazyImage(std::vector<std::byte> bytes, const std::string& name, const DecodeLimits& limits,
                     int channels)
    : bytes_(std::move(bytes)), limits_(limits), channels_(channels) {
  if (recognize(bytes_, name) == ImageFormat::Jpeg && ends_with_its_marker(bytes_)) {
    jpeg_ = std::make_unique<JpegSource>(ImageInput{bytes_}, name);
    check_pixels(jpeg_->info(), name, limits);
    size_ = {upright_width(jpeg_->info()), upright_height(jpeg_->info())};
    return;
  }
  *this = LazyImage(decode_image(bytes_, name, limits, channels));
}

LazyImage::~LazyImage() = default;
LazyImage::LazyImage(LazyImage&&) noexcept = default;
LazyImage& LazyImage::operator=(LazyImage&&) noexcept = default;

LazyImage::Part LazyImage::read(const Rectangle& area) {
  return read(area, 1);
}

LazyImage::Part LazyImage::read_reduced(const Rectangle& area, const Size& target) {
  return read(area, jpeg_ && jpeg_->reduces_well() ? largest_reduction(area, target) : 1);
}

LazyImage::Part LazyImage::read(const Rectangle& area, int reduction) {
  if (!jpeg_) return {pixels_.part(area), {0, 0, float(area.width), float(area.height)}};
  const ImageInfo info = jpeg_->info();
  const Box upright{float(area.left), float(area.top), float(area.left + area.width),
                    float(area.top + area.height)};
  Box box = stored_box(upright, {info.width, info.height}, info.orientation);
  for (float* edge : {&box.left, &box.top, &box.right, &box.bottom}) *edge /= float(reduction);
  const int left = int(box.left), top = int(box.top);
  const Rectangle part{left, top, int(std::ceil(box.right)) - left, int(std::ceil(box.bottom)) - top};
  own_ = to_channels(jpeg_->read_part(limits_, reduction, part), channels_);
  jpeg_.reset();
  own_ = apply_orientation(std::move(own_), info.orientation);
  const Box inside{box.left - float(left), box.top - float(top), box.right - float(left),
                   box.bottom - float(top)};
  return {own_, upright_box(inside, {part.width, part.height}, info.orientation)};
}

}  // namespace vretnet::vision
