#include "vision/image/jpeg.h"

#include <fmt/format.h>
// After jpeglib.h, which jpeg.h includes.
#include <jerror.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/base/ensure.h"
#include "vision/image/tiff_directory.h"

namespace vretnet::vision {
namespace {

// Scans that a progressive file may have; encoders write about ten. Each costs a pass over the picture, and a
// hostile one a few bytes.
constexpr int kMaxScans = 200;

// a · b / 255, rounded.
inline int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// Adobe's convention, which every decoder assumes: the file holds 255 − ink. RGB is what is left of white, as
// Pillow converts it without a profile.
void cmyk_to_rgb(const std::uint8_t* in, int width, std::uint8_t* out) {
  for (int x = 0; x < width; ++x, in += 4, out += 3) {
    const int light = in[3];
    for (int c = 0; c < 3; ++c) out[c] = std::uint8_t(light - multiply_255(255 - in[c], light));
  }
}

}  // namespace

void JpegSource::on_error(j_common_ptr common) {
  Errors& errors = errors_of(common);
  errors.manager.format_message(common, errors.message);
  std::longjmp(errors.jump, 1);
}

// Warnings are kept, but for the one of a file that ends early: libjpeg would go on with grey pixels.
void JpegSource::on_message(j_common_ptr common, int level) {
  if (level >= 0) return;  // not a warning but a trace
  Errors& errors = errors_of(common);
  if (errors.manager.msg_code == JWRN_JPEG_EOF) on_error(common);
  if (errors.manager.num_warnings++ == 0) errors.manager.format_message(common, errors.first_warning);
}

void JpegSource::on_progress(j_common_ptr common) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(common);
  if (decoder->input_scan_number <= kMaxScans) return;
  std::snprintf(errors_of(common).message, JMSG_LENGTH_MAX, "more than %d progressive scans", kMaxScans);
  std::longjmp(errors_of(common).jump, 1);
}

void JpegSource::throw_error() const {
  throw ImageError(name_, fmt::format("damaged JPEG: {}", errors_.message));
}

JpegSource::JpegSource(const ImageInput& input, const std::string& name) : name_(name) {
  decoder_.err = jpeg_std_error(&errors_.manager);
  errors_.manager.error_exit = on_error;
  errors_.manager.emit_message = on_message;
  errors_.message[0] = errors_.first_warning[0] = 0;
  try {
    guarded([&] { read_header(input); });
    set_info();
  } catch (...) {
    jpeg_destroy_decompress(&decoder_);
    throw;
  }
}

void JpegSource::read_header(const ImageInput& input) {
  jpeg_create_decompress(&decoder_);
  std::memset(&progress_, 0, sizeof(progress_));
  progress_.progress_monitor = on_progress;
  decoder_.progress = &progress_;
  if (input.stream) {
    jpeg_stdio_src(&decoder_, input.stream);
  } else {
    jpeg_mem_src(&decoder_, reinterpret_cast<const unsigned char*>(input.bytes.data()), input.bytes.size());
  }
  jpeg_save_markers(&decoder_, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&decoder_, TRUE);
}

void JpegSource::set_info() {
  const int components = decoder_.num_components;
  if (components != 1 && components != 3 && components != 4) {
    throw ImageError(name_, fmt::format("JPEG of {} components, not 1, 3 or 4", components));
  }
  info_.format = ImageFormat::Jpeg;
  info_.width = int(decoder_.image_width);
  info_.height = int(decoder_.image_height);
  info_.channels = components;
  info_.bit_depth = decoder_.data_precision;
  info_.cmyk = components == 4;
  info_.sequential = !jpeg_has_multiple_scans(&decoder_);
  channels_ = components == 1 ? 1 : 3;
  for (jpeg_saved_marker_ptr marker = decoder_.marker_list; marker; marker = marker->next) {
    if (marker->data_length < 6 || std::memcmp(marker->data, "Exif\0\0", 6) != 0) continue;
    info_.orientation =
        exif_orientation({reinterpret_cast<const std::byte*>(marker->data), marker->data_length});
    break;
  }
}

// A file in several scans keeps all coefficients, two bytes each.
void JpegSource::check_coefficients(const DecodeLimits& limits) const {
  std::int64_t bytes = 0;
  for (int i = 0; i < decoder_.num_components; ++i) {
    const jpeg_component_info& component = decoder_.comp_info[i];
    bytes += std::int64_t(component.width_in_blocks) * component.height_in_blocks * sizeof(JBLOCK);
  }
  if (bytes > limits.max_decoder_bytes) {
    throw ImageError(name_,
                     fmt::format("progressive JPEG of {} x {} pixels needs {} MiB to decode, limit {} MiB",
                                 info_.width, info_.height, bytes >> 20, limits.max_decoder_bytes >> 20));
  }
}

void JpegSource::start(const DecodeLimits& limits) {
  if (!info_.sequential) check_coefficients(limits);
  decoder_.mem->max_memory_to_use = long(limits.max_decoder_bytes);
  decoder_.out_color_space = channels_ == 1 ? JCS_GRAYSCALE : info_.cmyk ? JCS_CMYK : JCS_RGB;
  decoder_.dct_method = JDCT_ISLOW;
  if (info_.cmyk) cmyk_row_.resize(std::size_t(info_.width) * 4);
  guarded([&] { jpeg_start_decompress(&decoder_); });
}

// Inside guarded().
void JpegSource::next_row(std::uint8_t* out) {
  JSAMPROW target = info_.cmyk ? cmyk_row_.data() : out;
  jpeg_read_scanlines(&decoder_, &target, 1);
  if (info_.cmyk) cmyk_to_rgb(cmyk_row_.data(), int(decoder_.output_width), out);
}

void JpegSource::read_rows(int count, std::uint8_t* out) {
  guarded([&] {
    for (int row = 0; row < count; ++row, out += std::size_t(info_.width) * channels_) next_row(out);
  });
}

void JpegSource::finish(DecodeNotes* notes) {
  guarded([&] { jpeg_finish_decompress(&decoder_); });
  if (notes && errors_.manager.num_warnings > 0) notes->warnings.emplace_back(errors_.first_warning);
}

Size JpegSource::reduced_size(int reduction) const {
  return {(info_.width + reduction - 1) / reduction, (info_.height + reduction - 1) / reduction};
}

bool JpegSource::reduces_well() const {
  const jpeg_component_info* first = decoder_.comp_info;
  return std::all_of(first, first + decoder_.num_components, [&](const jpeg_component_info& component) {
    const int across = decoder_.max_h_samp_factor / component.h_samp_factor;
    const int down = decoder_.max_v_samp_factor / component.v_samp_factor;
    return across == down && across <= 2;
  });
}

Image JpegSource::read_part(const DecodeLimits& limits, int reduction, const Rectangle& area) {
  const Size size = reduced_size(reduction);
  ensure(area.left >= 0 && area.top >= 0 && area.width > 0 && area.height > 0 &&
             area.left + area.width <= size.width && area.top + area.height <= size.height,
         "part {}, {}, {} x {} of {} x {}", area.left, area.top, area.width, area.height, size.width,
         size.height);
  // Pixels at the edge of what is decoded are made from the chroma of fewer neighbours than in the whole
  // picture, and very narrow parts without smoothing; so a few columns more are decoded.
  constexpr int kMargin = 4, kLeastWidth = 32;
  int right = std::min(size.width, std::max(area.left + area.width + kMargin, area.left + kLeastWidth));
  JDIMENSION left = JDIMENSION(std::clamp(area.left - kMargin, 0, std::max(0, right - kLeastWidth)));
  JDIMENSION width = JDIMENSION(right) - left;
  decoder_.scale_num = 1;
  decoder_.scale_denom = unsigned(reduction);
  start(limits);
  ensure(int(decoder_.output_width) == size.width && int(decoder_.output_height) == size.height,
         "decoder gives {} x {} pixels, not {} x {}", decoder_.output_width, decoder_.output_height,
         size.width, size.height);

  Image part = make_image(area.width, area.height, channels_);
  std::vector<std::uint8_t> row(std::size_t(size.width) * channels_);
  guarded([&] {
    // Moves `left` to the left, to where a block begins.
    if (int(width) < size.width) jpeg_crop_scanline(&decoder_, &left, &width);
    if (area.top > 0) jpeg_skip_scanlines(&decoder_, JDIMENSION(area.top));
    const std::uint8_t* kept = row.data() + std::size_t(area.left - int(left)) * channels_;
    for (int y = 0; y < area.height; ++y) {
      next_row(row.data());
      std::memcpy(part.row(y), kept, part.row_bytes());
    }
  });
  return part;
}

std::unique_ptr<RowSource> open_jpeg(const ImageInput& input, const std::string& name) {
  return std::make_unique<JpegSource>(input, name);
}

}  // namespace vretnet::vision
