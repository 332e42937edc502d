// A file decoder that gives rows from top to bottom: the seam between JPEG, PNG and those who want pixels.
// For use inside vision/image.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "vision/image/decode.h"

namespace vretnet::vision {

// Where a file's bytes come from: memory, or a stream at its first byte. Both stay the caller's and outlive
// the decoder.
struct ImageInput {
  std::span<const std::byte> bytes;
  std::FILE* stream = nullptr;  // read instead of `bytes` where it is set
};

// All functions throw ImageError where the file is damaged; after that only destruction is left.
class RowSource {
 public:
  virtual ~RowSource() = default;

  const ImageInfo& info() const { return info_; }

  // Prepares for rows. Called once, before the first read_rows, when the caller has accepted the size.
  virtual void start(const DecodeLimits& limits) = 0;

  // Of the rows given out: 1 for grey pictures, else 3. The same before and after start.
  int channels() const { return channels_; }

  // The next `count` rows to out[row][x][channel]. Where info().sequential is false the first call asks for
  // all rows at once.
  virtual void read_rows(int count, std::uint8_t* out) = 0;

  // Reads what follows the last row and checks it; info().orientation may change. `notes` may be null.
  virtual void finish(DecodeNotes* notes) = 0;

 protected:
  ImageInfo info_;
  int channels_ = 3;
};

// Throws ImageError where the header claims more pixels than the limit.
void check_pixels(const ImageInfo& info, const std::string& name, const DecodeLimits& limits);

// Read the header. The name is what errors call the file.
std::unique_ptr<RowSource> open_jpeg(const ImageInput& input, const std::string& name);
std::unique_ptr<RowSource> open_png(const ImageInput& input, const std::string& name);

}  // namespace vretnet::vision
