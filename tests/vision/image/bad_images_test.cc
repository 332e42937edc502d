// The developers' kit of odd, damaged and hostile files: what must decode does, upright and in the right
// colours; what must be refused gives one error that names the file; nothing crashes, hangs or takes much
// memory.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "vision/image/decode.h"
#include "vision/image/lazy_image.h"
#include "vision/image/strip_reader.h"

namespace vretnet::vision {
namespace {

namespace fs = std::filesystem;

const fs::path kKit = fs::path(VRETNET_SOURCE_DIR) / ".." / "shared" / "data" / "bad-images.tar.gz";

struct Entry {
  std::string file, format, expected, note;
  int width = 0, height = 0;
  std::vector<int>
      quadrants;  // red, green, blue of top left, top right, bottom left, bottom right; may be empty
};

// Files that other programs decode and we refuse by name, instead of decoding them wrongly or by halves.
struct LeftOut {
  const char *file, *refusal;
};
constexpr LeftOut kLeftOut[] = {
    // OpenCV 4.6 decodes single frames only.
    {"files/synthetic/anim.webp", "animated WebP is not supported"},
    // OpenCV 4.6 does not see these masks and mixes up the colours.
    {"files/bmpsuite/rgb32h52.bmp", "BMP with a header of 52 bytes and colour masks is not supported"},
};

// How the refusal of a file that we leave out reads; empty: we do not leave it out.
std::string refusal_of(const Entry& entry) {
  if (entry.format == "GIF") return "GIF is not supported";
  const auto* found = std::find_if(std::begin(kLeftOut), std::end(kLeftOut),
                                   [&](const LeftOut& each) { return each.file == entry.file; });
  return found == std::end(kLeftOut) ? "" : found->refusal;
}

std::vector<std::string> split_csv_line(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"')
        fields.back() += line[++i];
      else
        quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else if (line[i] != '\r') {
      fields.back() += line[i];
    }
  }
  return fields;
}

std::vector<Entry> read_manifest(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const auto names = split_csv_line(line);
  const auto column = [&](const std::string& name) {
    return std::size_t(std::find(names.begin(), names.end(), name) - names.begin());
  };
  const auto number = [](const std::string& text) { return text.empty() ? 0 : std::stoi(text); };
  std::vector<Entry> entries;
  while (std::getline(file, line)) {
    const auto fields = split_csv_line(line);
    Entry entry{fields.at(column("file")),
                fields.at(column("format")),
                fields.at(column("expected")),
                fields.at(column("note")),
                number(fields.at(column("width"))),
                number(fields.at(column("height"))),
                {}};
    std::string values = fields.at(column("quadrant_rgb"));
    std::replace(values.begin(), values.end(), '|', ',');
    std::istringstream stream(values);
    for (std::string value; std::getline(stream, value, ',');) entry.quadrants.push_back(std::stoi(value));
    entries.push_back(entry);
  }
  return entries;
}

std::vector<double> quadrant_means(const Image& image) {
  std::vector<double> means;
  for (int part = 0; part < 4; ++part) {
    const int left = part % 2 ? image.width / 2 : 0,
              right = part % 2 || image.width < 2 ? image.width : image.width / 2;
    const int top = part / 2 ? image.height / 2 : 0;
    const int bottom = part / 2 || image.height < 2 ? image.height : image.height / 2;
    for (int c = 0; c < 3; ++c) {
      double sum = 0;
      for (int y = top; y < bottom; ++y) {
        for (int x = left; x < right; ++x) sum += image.row(y)[x * 3 + c];
      }
      means.push_back(sum / double((right - left) * (bottom - top)));
    }
  }
  return means;
}

class BadImages : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kKit)) GTEST_SKIP() << "NOT TESTED: the kit of bad images is missing: " << kKit;
    char pattern[] = "/tmp/vretnet-bad-images-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
    const std::string command = "tar xzf '" + kKit.string() + "' -C '" + folder_.string() + "'";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    entries_ = read_manifest(folder_ / "bad-images" / "MANIFEST.csv");
    ASSERT_GT(entries_.size(), 400u);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  fs::path path_of(const Entry& entry) const { return folder_ / "bad-images" / entry.file; }

  fs::path folder_;
  std::vector<Entry> entries_;
};

void expect_like_manifest(const Entry& entry, const Image& image) {
  ASSERT_EQ(image.channels, 3);
  const bool upright = image.width == entry.width && image.height == entry.height;
  const bool either_way = entry.note.find("or its transpose") != std::string::npos;
  EXPECT_TRUE(upright || (either_way && image.width == entry.height && image.height == entry.width))
      << image.width << " x " << image.height << ", expected " << entry.width << " x " << entry.height;
  if (!upright || entry.quadrants.empty()) return;
  const auto means = quadrant_means(image);
  for (std::size_t i = 0; i < 12; ++i) EXPECT_NEAR(means[i], entry.quadrants[i], 4) << "quadrant value " << i;
}

TEST_F(BadImages, DecodeOrAreRefusedAsTheManifestSays) {
  int decoded = 0, refused = 0, due = 0, decoded_of_due = 0, left_out_by_name = 0;
  for (const Entry& entry : entries_) {
    SCOPED_TRACE(entry.file + " (" + entry.expected + ")");
    const std::string refusal = refusal_of(entry);
    const bool must_decode = entry.expected == "decodes" && refusal.empty();
    due += must_decode;
    const auto start = std::chrono::steady_clock::now();
    try {
      const Image image = read_image(path_of(entry));
      ++decoded;
      EXPECT_NE(entry.expected, "rejected") << "decoded to " << image.width << " x " << image.height;
      EXPECT_EQ(refusal, "") << "no longer left out";
      if (must_decode) {
        ++decoded_of_due;
        expect_like_manifest(entry, image);
      }
    } catch (const DataError& error) {
      ++refused;
      const std::string message = error.what();
      EXPECT_NE(message.find(entry.file), std::string::npos) << message;
      if (std::getenv("VRETNET_SHOW_ERRORS")) std::printf("%s\n", message.c_str());
      if (must_decode) {
        ADD_FAILURE() << message;
      } else if (entry.expected == "decodes") {
        ++left_out_by_name;
        EXPECT_NE(message.find(refusal), std::string::npos) << message;
      }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LE(seconds.count(), 2.0);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("decoded %d, refused %d (%d of them left out by name), peak %ld MiB\n", decoded, refused,
              left_out_by_name, usage.ru_maxrss / 1024);
  const auto gifs = std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.format == "GIF" && entry.expected == "decodes";
  });
  EXPECT_EQ(decoded_of_due, due);
  EXPECT_GT(decoded_of_due, 250);
  EXPECT_EQ(left_out_by_name, gifs + std::ssize(kLeftOut)) << "an exception that is not in the kit";
  EXPECT_LE(usage.ru_maxrss, 1024 * 1024) << "KiB";
}

// Streaming meets the same files: the same pixels, or an error that names the file where read_image has one.
TEST_F(BadImages, StreamLikeWholeDecoding) {
  for (const Entry& entry : entries_) {
    SCOPED_TRACE(entry.file);
    Image whole;
    try {
      whole = read_image(path_of(entry));
    } catch (const DataError&) {
      continue;
    }
    try {
      StripReader reader(path_of(entry));
      ASSERT_EQ(reader.width(), whole.width);
      ASSERT_EQ(reader.height(), whole.height);
      Image streamed = make_image(whole.width, whole.height, 3);
      for (int y = 0; y < whole.height;) y += reader.read_rows(7, streamed.row(y));
      EXPECT_EQ(streamed.pixels, whole.pixels);
    } catch (const DataError& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

// What is refused whole is refused in part, before and after reduction.
TEST_F(BadImages, PartsLikeWholeDecoding) {
  int decoded = 0, refused = 0;
  for (const Entry& entry : entries_) {
    SCOPED_TRACE(entry.file);
    const std::string name = path_of(entry).string();
    Image whole;
    try {
      whole = read_image(path_of(entry));
    } catch (const DataError&) {
      ++refused;
      EXPECT_THROW(
          {
            LazyImage lazy(read_image_bytes(name), name, {}, 3);
            lazy.read({0, 0, lazy.size().width, lazy.size().height});
          },
          DataError);
      EXPECT_THROW(
          {
            LazyImage lazy(read_image_bytes(name), name, {}, 3);
            lazy.read_reduced({0, 0, (lazy.size().width + 1) / 2, (lazy.size().height + 1) / 2}, {1, 1});
          },
          DataError);
      continue;
    }
    ++decoded;
    const Rectangle area{whole.width / 3, whole.height / 3, (whole.width + 1) / 2, (whole.height + 1) / 2};
    LazyImage lazy(read_image_bytes(name), name, {}, 3);
    ASSERT_EQ(lazy.size(), (Size{whole.width, whole.height}));
    const ImageView part = lazy.read(area).pixels;
    for (int y = 0; y < area.height; ++y) {
      EXPECT_TRUE(
          std::equal(part.row(y), part.row(y) + area.width * 3, whole.row(area.top + y) + area.left * 3))
          << "row " << y;
    }
  }
  EXPECT_GT(decoded, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace vretnet::vision
