// A picture read from disk a few rows at a time, in memory that does not grow with its height: what
// `predict --stream` feeds a causal model with.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "vision/image/decode.h"

namespace vretnet::vision {

class RowSource;

// Rows of the same pixels that read_image gives. Baseline JPEG and PNG that is not interlaced, both upright,
// are streamed, whatever their height (limits.max_pixels bounds a row). Everything else (progressive,
// interlaced, turned by EXIF, other formats) is decoded whole, when limits.max_pixels allows it, and its rows
// are served from memory. Throws ImageError, which says why where a picture is too large to be decoded whole.
class StripReader {
 public:
  explicit StripReader(const std::filesystem::path& path, const DecodeLimits& limits = {}, int channels = 3);
  ~StripReader();
  StripReader(const StripReader&) = delete;
  StripReader& operator=(const StripReader&) = delete;

  int width() const { return width_; }
  int height() const { return height_; }
  int channels() const { return channels_; }
  bool streaming() const { return source_ != nullptr; }  // false: the whole picture is in memory
  int rows_left() const { return height_ - next_row_; }

  // The next `count` rows, or as many as are left, to out[row][x][channel]; returns how many. Reading the
  // last row also checks the end of the file. Throws ImageError where the file is damaged.
  int read_rows(int count, std::uint8_t* out);

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const;
  };

  std::unique_ptr<std::FILE, CloseFile> file_;
  std::unique_ptr<RowSource> source_;  // reads file_; null where the picture is not streamed
  Image whole_;                        // where it is not streamed
  std::vector<std::uint8_t> row_;
  std::string name_;
  int width_ = 0, height_ = 0, channels_ = 3, next_row_ = 0;
};

}  // namespace vretnet::vision
