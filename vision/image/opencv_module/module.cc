#include <cstdio>
#include <iostream>
#include <mutex>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>

#include "vision/image/opencv_module/interface.h"

namespace {

int be_silent(int, const char*, const char*, const char*, int, void*) {
  return 0;
}

// imdecode writes what it catches to std::cerr and cannot be told not to. While one of these lives, in
// whichever thread, std::cerr is mute; the toolkit itself writes through stdio.
class MuteErrorStream {
 public:
  MuteErrorStream() {
    const std::lock_guard lock(mutex_);
    if (users_++ == 0) buffer_ = std::cerr.rdbuf(nullptr);
  }
  ~MuteErrorStream() {
    const std::lock_guard lock(mutex_);
    if (--users_ == 0) std::cerr.rdbuf(buffer_);
  }
  MuteErrorStream(const MuteErrorStream&) = delete;
  MuteErrorStream& operator=(const MuteErrorStream&) = delete;

 private:
  static inline std::mutex mutex_;
  static inline int users_ = 0;
  static inline std::streambuf* buffer_ = nullptr;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) int vretnet_opencv_decode(const std::uint8_t* bytes,
                                                                            std::size_t count,
                                                                            VretnetAllocate allocate,
                                                                            void* context, char* message,
                                                                            std::size_t message_size) {
  const auto fail = [&](const char* reason) {
    std::snprintf(message, message_size, "%s", reason);
    return 1;
  };
  try {
    // The reason of a failure goes to the caller, not to the terminal.
    static const bool silent = [] {
      cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
      cv::redirectError(be_silent);
      cv::setNumThreads(1);  // the caller has its own threads
      return true;
    }();
    (void)silent;
    const MuteErrorStream mute;
    const cv::Mat data(1, int(count), CV_8UC1, const_cast<std::uint8_t*>(bytes));
    const cv::Mat decoded = cv::imdecode(data, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    if (decoded.empty() || decoded.type() != CV_8UC3) return fail("OpenCV cannot decode it");
    std::uint8_t* out = allocate(context, decoded.cols, decoded.rows);
    if (!out) return fail("not of the size that its header says");
    for (int y = 0; y < decoded.rows; ++y) {
      const std::uint8_t* in = decoded.ptr<std::uint8_t>(y);
      for (int x = 0; x < decoded.cols; ++x, in += 3, out += 3) {
        out[0] = in[2];
        out[1] = in[1];
        out[2] = in[0];
      }
    }
    return 0;
  } catch (const std::exception& error) {
    return fail(error.what());
  } catch (...) {
    return fail("unknown error");
  }
}
