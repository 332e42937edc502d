// PNG by libpng. Its errors leave through longjmp, so every call of it runs inside guarded(), whose frames
// hold nothing that needs a destructor.
#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "core/base/ensure.h"
#include "vision/image/row_source.h"
#include "vision/image/tiff_directory.h"

namespace vretnet::vision {
namespace {

// Chunks that do not change pixels are passed over, checksum checked and content unseen: compressed text and
// profiles would be inflated (100 MB out of 100 kB).
constexpr char kIgnoredChunks[] =
    "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
constexpr int kIgnoredChunkCount = (sizeof(kIgnoredChunks)) / 5;

struct State {
  std::jmp_buf jump;
  char message[160];
  char first_warning[160];
  const std::byte* next;
  std::size_t left;
  std::FILE* stream;
};

void on_error(png_structp png, png_const_charp message) {
  State& state = *static_cast<State*>(png_get_error_ptr(png));
  std::snprintf(state.message, sizeof(state.message), "%s", message);
  std::longjmp(state.jump, 1);
}

void on_warning(png_structp png, png_const_charp message) {
  State& state = *static_cast<State*>(png_get_error_ptr(png));
  if (!state.first_warning[0]) std::snprintf(state.first_warning, sizeof(state.first_warning), "%s", message);
}

void on_read(png_structp png, png_bytep out, std::size_t count) {
  State& state = *static_cast<State*>(png_get_io_ptr(png));
  if (state.stream) {
    if (std::fread(out, 1, count, state.stream) != count) png_error(png, "the file ends early");
    return;
  }
  if (count > state.left) png_error(png, "the file ends early");
  std::memcpy(out, state.next, count);
  state.next += count;
  state.left -= count;
}

class PngSource final : public RowSource {
 public:
  PngSource(const ImageInput& input, const std::string& name) : name_(name), file_bytes_(input.bytes.size()) {
    state_.message[0] = state_.first_warning[0] = 0;
    state_.next = input.bytes.data();
    state_.left = input.bytes.size();
    state_.stream = input.stream;
    try {
      guarded([&] { read_header(); });
      set_info();
    } catch (...) {
      png_destroy_read_struct(&png_, &before_, &after_);
      throw;
    }
  }
  ~PngSource() override { png_destroy_read_struct(&png_, &before_, &after_); }
  PngSource(const PngSource&) = delete;
  PngSource& operator=(const PngSource&) = delete;

  void start(const DecodeLimits&) override {
    guarded([&] {
      png_set_strip_16(png_);
      if (info_.palette) {
        png_set_palette_to_rgb(png_);
      } else if (info_.bit_depth < 8) {
        png_set_expand_gray_1_2_4_to_8(png_);
      }
      png_set_strip_alpha(png_);
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, before_);
    });
    const std::size_t expected = std::size_t(info_.width) * channels_;
    ensure(png_get_rowbytes(png_, before_) == expected, "{} row bytes, {} expected",
           png_get_rowbytes(png_, before_), expected);
  }

  void read_rows(int count, std::uint8_t* out) override {
    ensure(info_.sequential || count == info_.height, "{} of {} interlaced rows", count, info_.height);
    guarded([&] {
      const std::size_t row_bytes = std::size_t(info_.width) * channels_;
      for (int pass = 0; pass < passes_; ++pass) {
        for (int row = 0; row < count; ++row) png_read_row(png_, out + row * row_bytes, nullptr);
      }
    });
  }

  void finish(DecodeNotes* notes) override {
    guarded([&] { png_read_end(png_, after_); });
    read_orientation(after_);
    if (notes && state_.first_warning[0]) notes->warnings.emplace_back(state_.first_warning);
  }

 private:
  template <class Step>
  void guarded(Step step) {
    if (setjmp(state_.jump)) throw ImageError(name_, fmt::format("damaged PNG: {}", state_.message));
    step();
  }

  void read_header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state_, on_error, on_warning);
    before_ = png_ ? png_create_info_struct(png_) : nullptr;
    after_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!before_ || !after_) {
      std::snprintf(state_.message, sizeof(state_.message), "no memory for libpng");
      std::longjmp(state_.jump, 1);
    }
    png_set_read_fn(png_, &state_, on_read);
    // Sizes are judged by DecodeLimits instead of libpng's default of a million columns or rows.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER,
                                reinterpret_cast<png_const_bytep>(kIgnoredChunks), kIgnoredChunkCount);
    png_read_info(png_, before_);
  }

  void set_info() {
    info_.format = ImageFormat::Png;
    info_.width = int(png_get_image_width(png_, before_));
    info_.height = int(png_get_image_height(png_, before_));
    info_.channels = png_get_channels(png_, before_);
    info_.bit_depth = png_get_bit_depth(png_, before_);
    const int type = png_get_color_type(png_, before_);
    info_.palette = type == PNG_COLOR_TYPE_PALETTE;
    info_.transparency = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png_, before_, PNG_INFO_tRNS);
    info_.sequential = png_get_interlace_type(png_, before_) == PNG_INTERLACE_NONE;
    channels_ = (type & PNG_COLOR_MASK_COLOR) ? 3 : 1;
    read_orientation(before_);

    // Deflate packs at most 1032 to 1: a larger claim is refused before memory is taken for it.
    const std::int64_t row_bytes = (std::int64_t(info_.width) * info_.channels * info_.bit_depth + 7) / 8 + 1;
    if (!state_.stream && row_bytes > std::int64_t(file_bytes_) * 1032 / info_.height + 1) {
      throw ImageError(name_,
                       fmt::format("damaged PNG: claims {} x {} pixels, more than its {} bytes can hold",
                                   info_.width, info_.height, file_bytes_));
    }
  }

  void read_orientation(png_infop where) {
    png_uint_32 count = 0;
    png_bytep block = nullptr;
    if (!png_get_eXIf_1(png_, where, &count, &block)) return;
    info_.orientation = exif_orientation({reinterpret_cast<const std::byte*>(block), count});
  }

  std::string name_;
  std::size_t file_bytes_;
  State state_;
  png_structp png_ = nullptr;
  png_infop before_ = nullptr, after_ = nullptr;
  int passes_ = 1;
};

}  // namespace

std::unique_ptr<RowSource> open_png(const ImageInput& input, const std::string& name) {
  return std::make_unique<PngSource>(input, name);
}

}  // namespace vretnet::vision
