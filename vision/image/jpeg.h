// JPEG by libjpeg-turbo: its rows, or a part of it, at full or reduced size. Its errors leave through
// longjmp, so every call of it runs inside guarded(), whose frames hold nothing that needs a destructor. For
// use inside vision/image.
#pragma once

// jpeglib.h wants size_t and FILE to be declared.
#include <cstddef>
#include <cstdio>
// clang-format off
#include <jpeglib.h>
// clang-format on

#include <csetjmp>
#include <cstdint>
#include <string>
#include <vector>

#include "vision/image/row_source.h"

namespace vretnet::vision {

class JpegSource final : public RowSource {
 public:
  // Reads the header. `input` stays the caller's and outlives this.
  JpegSource(const ImageInput& input, const std::string& name);
  ~JpegSource() override { jpeg_destroy_decompress(&decoder_); }
  JpegSource(const JpegSource&) = delete;
  JpegSource& operator=(const JpegSource&) = delete;

  void start(const DecodeLimits& limits) override;
  void read_rows(int count, std::uint8_t* out) override;
  void finish(DecodeNotes* notes) override;

  // The stored picture's size at 1/reduction, reduction 1, 2 or 4: ⌈width / reduction⌉ × ⌈height /
  // reduction⌉. Reduced pixels come from the low frequencies of the file's own transform.
  Size reduced_size(int reduction) const;
  // Whether reduced pixels are good ones. libjpeg shifts chroma that is stored with another resolution along
  // rows than along columns (4:2:2, 4:4:0, 4:1:1), by more the further it reduces.
  bool reduces_well() const;

  // In place of start, read_rows and finish: the pixels of `area` of the stored picture at 1/reduction, to
  // the last bit those that decoding all of it gives. Rows above are only entropy-decoded, columns beside are
  // not transformed, rows below are not read, so that damage there is not seen.
  Image read_part(const DecodeLimits& limits, int reduction, const Rectangle& area);

 private:
  struct Errors {
    jpeg_error_mgr manager;  // first: libjpeg's pointer to it is one to us
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    char first_warning[JMSG_LENGTH_MAX];
  };
  static Errors& errors_of(j_common_ptr common) { return *reinterpret_cast<Errors*>(common->err); }
  static void on_error(j_common_ptr common);
  static void on_message(j_common_ptr common, int level);
  static void on_progress(j_common_ptr common);

  template <class Step>
  void guarded(Step step) {
    if (setjmp(errors_.jump)) throw_error();
    step();
  }
  [[noreturn]] void throw_error() const;
  void read_header(const ImageInput& input);
  void set_info();
  void check_coefficients(const DecodeLimits& limits) const;
  void next_row(std::uint8_t* out);

  std::string name_;
  jpeg_decompress_struct decoder_{};
  jpeg_progress_mgr progress_{};
  Errors errors_;
  std::vector<std::uint8_t> cmyk_row_;
};

}  // namespace vretnet::vision
