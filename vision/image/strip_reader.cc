#include "vision/image/strip_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/base/ensure.h"
#include "vision/image/channels.h"
#include "vision/image/row_source.h"
#include "vision/image/signature.h"

namespace vretnet::vision {
namespace {

// Why a picture cannot be streamed; empty where it can.
std::string obstacle(const ImageInfo& info) {
  if (info.orientation != 1) return fmt::format("it is turned by EXIF orientation {}", info.orientation);
  if (info.sequential) return "";
  return info.format == ImageFormat::Png ? "it is interlaced" : "it is progressive";
}

std::FILE* open_file(const std::filesystem::path& path) {
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw ImageError(path.string(), "is not a regular file");
  }
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (!file) throw ImageError(path.string(), fmt::format("cannot be read: {}", std::strerror(errno)));
  return file;
}

}  // namespace

StripReader::StripReader(const std::filesystem::path& path, const DecodeLimits& limits, int channels)
    : name_(path.string()), channels_(channels) {
  ensure(channels == 1 || channels == 3, "{} channels", channels);
  file_.reset(open_file(path));
  std::byte start[64];
  const std::size_t count = std::fread(start, 1, sizeof(start), file_.get());
  const ImageFormat format = recognize({start, count}, name_);
  std::rewind(file_.get());

  std::string reason = fmt::format("it is {}", format_name(format));
  ImageInfo info;
  if (format == ImageFormat::Jpeg || format == ImageFormat::Png) {
    const ImageInput input{{}, file_.get()};
    source_ = format == ImageFormat::Jpeg ? open_jpeg(input, name_) : open_png(input, name_);
    info = source_->info();
    reason = obstacle(info);
  }
  if (reason.empty()) {
    if (info.width > limits.max_pixels) {
      throw ImageError(name_, fmt::format("rows of {} pixels are more than the limit of {}", info.width,
                                          limits.max_pixels));
    }
    source_->start(limits);
    width_ = info.width;
    height_ = info.height;
    row_.resize(std::size_t(width_) * source_->channels());
    return;
  }
  source_.reset();
  file_.reset();
  try {
    whole_ = read_image(path, limits, channels);
  } catch (const ImageError& error) {
    throw ImageError(name_, fmt::format("{} (not read row by row, because {})", error.reason, reason));
  }
  width_ = whole_.width;
  height_ = whole_.height;
}

StripReader::~StripReader() = default;

void StripReader::CloseFile::operator()(std::FILE* file) const {
  std::fclose(file);
}

int StripReader::read_rows(int count, std::uint8_t* out) {
  count = std::min(count, rows_left());
  const std::size_t row_bytes = std::size_t(width_) * channels_;
  if (!source_) {
    if (count > 0) std::memcpy(out, whole_.row(next_row_), count * row_bytes);
  } else if (source_->channels() == channels_) {
    source_->read_rows(count, out);
  } else {
    for (int row = 0; row < count; ++row) {
      source_->read_rows(1, row_.data());
      convert_row(row_.data(), source_->channels(), out + row * row_bytes, channels_, width_);
    }
  }
  next_row_ += count;
  if (source_ && count > 0 && rows_left() == 0) {
    source_->finish(nullptr);
    if (source_->info().orientation != 1) {
      throw ImageError(name_,
                       fmt::format("cannot be read row by row, because {}, which the file says after its "
                                   "pixels",
                                   obstacle(source_->info())));
    }
  }
  return count;
}

}  // namespace vretnet::vision
