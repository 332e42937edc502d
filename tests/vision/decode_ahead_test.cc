// The queue of decoded images: order, errors in their place, a bound on what is on its way, no waiting after
// a flush, an end at any time.
#include "vision/decode_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "vision/image/encode_png.h"

namespace vretnet::vision {
namespace {

namespace fs = std::filesystem;

class DecodeAheadFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "vretnet-ahead-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    preprocessing_.width = preprocessing_.height = 4;
    preprocessing_.crop_fraction = 1;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A picture of one grey value; every third is larger, so that it takes longer than those after it.
  std::string file(int value) const {
    const fs::path path = folder_ / (std::to_string(value) + ".png");
    if (fs::exists(path)) return path.string();
    const int side = value % 3 == 0 ? 400 : 4;
    Image image = make_image(side, side, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t(value));
    const auto bytes = encode_png(image);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    return path.string();
  }

  fs::path folder_;
  Preprocessing preprocessing_;
};

TEST_F(DecodeAheadFiles, GivesThemInOrderInFullBatches) {
  for (const int workers : {1, 4}) {
    DecodeAhead queue(preprocessing_, {}, workers, 7);
    std::thread producer([&] {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(queue.push(i == 13 ? "nothing.png" : file(i)));
      queue.close();
    });
    std::vector<std::size_t> sizes;
    int next = 0;
    for (auto items = queue.take(6); !items.empty(); items = queue.take(6)) {
      sizes.push_back(items.size());
      for (const auto& item : items) {
        if (next == 13) {
          EXPECT_EQ(item.file, "nothing.png");
          EXPECT_TRUE(item.image.pixels.empty());
          EXPECT_THROW(std::rethrow_exception(item.error), ImageError);
        } else {
          ASSERT_EQ(item.image.pixels.size(), 48u) << next;
          EXPECT_EQ(item.image.pixels[47], next);
          EXPECT_FALSE(item.error);
        }
        ++next;
      }
    }
    producer.join();
    EXPECT_EQ(sizes, (std::vector<std::size_t>{6, 6, 6, 2}));
  }
}

TEST_F(DecodeAheadFiles, NoMoreAreOnTheirWayThanTheCapacity) {
  DecodeAhead queue(preprocessing_, {}, 2, 3);
  std::atomic<int> pushed{0};
  std::thread producer([&] {
    while (pushed < 100 && queue.push(file(1))) ++pushed;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(pushed, 3);
  EXPECT_EQ(queue.take(2).size(), 2u);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(pushed, 5);
  queue.stop();
  producer.join();
  EXPECT_LE(pushed, 5);
  EXPECT_FALSE(queue.push(file(1)));
  EXPECT_FALSE(queue.flush());
}

TEST_F(DecodeAheadFiles, AFlushGivesWhatIsThere) {
  DecodeAhead queue(preprocessing_, {}, 1, 8);
  queue.push(file(1));
  queue.push(file(2));
  EXPECT_TRUE(queue.flush());
  EXPECT_EQ(queue.take(4).size(), 2u);
  for (int i = 0; i < 5; ++i) queue.push(file(3));
  EXPECT_EQ(queue.take(4).size(), 4u) << "an old flush is over";
  queue.close();
  EXPECT_EQ(queue.take(4).size(), 1u);
  EXPECT_TRUE(queue.take(4).empty());
}

TEST_F(DecodeAheadFiles, TheProducersErrorComesLast) {
  DecodeAhead queue(preprocessing_, {}, 1, 4);
  queue.push(file(1));
  queue.close(std::make_exception_ptr(RunError("no more")));
  EXPECT_EQ(queue.take(4).size(), 1u);
  EXPECT_THROW(queue.take(4), RunError);
}

}  // namespace
}  // namespace vretnet::vision
