#include "datasets/idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "vision/image/transforms.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kImagesMagic = 0x00000803;  // unsigned bytes, three dimensions
constexpr std::uint32_t kLabelsMagic = 0x00000801;  // unsigned bytes, one dimension

// A file of big-endian numbers and bytes, gzipped or not (zlib looks).
class IdxReader {
 public:
  explicit IdxReader(const fs::path& file) : name_(file.string()) {
    std::error_code error;
    file_bytes_ = fs::file_size(file, error);
    if (error) throw DataError(fmt::format("{}: cannot be read: {}", name_, error.message()));
    stream_.reset(gzopen(file.c_str(), "rbe"));
    if (!stream_) throw DataError(fmt::format("{}: cannot be read: {}", name_, std::strerror(errno)));
    gzbuffer(stream_.get(), 1 << 18);
  }

  // The magic number and as many sizes as it stands for; their product can be in the file.
  std::vector<std::int64_t> read_header(std::uint32_t magic, const char* what, int dimensions) {
    const std::uint32_t found = read_number();
    if (found != magic) {
      throw DataError(fmt::format("{}: not IDX {}: it starts with {:#010x}, expected {:#010x}", name_, what,
                                  found, magic));
    }
    std::vector<std::int64_t> sizes;
    // Deflate makes 1032 bytes of one at most: a file that claims more lies. A plain file holds its own size.
    const double possible = double(file_bytes_) * (gzdirect(stream_.get()) ? 1 : 1032);
    double total = 1;
    for (int i = 0; i < dimensions; ++i) {
      sizes.push_back(read_number());
      total *= double(sizes.back());
    }
    if (total == 0 || total > possible) {
      throw DataError(fmt::format("{}: claims {} bytes ({}), which a file of {} bytes cannot hold", name_,
                                  total, fmt::join(sizes, " x "), file_bytes_));
    }
    return sizes;
  }

  std::vector<std::uint8_t> read_rest(std::int64_t count) {
    std::vector<std::uint8_t> bytes;
    // Memory grows with what the file really holds.
    for (std::int64_t got = 0; got < count;) {
      const std::int64_t wanted = std::min(count - got, std::max<std::int64_t>(got, 1 << 20));
      bytes.resize(std::size_t(got + wanted));
      const std::int64_t more = read(bytes.data() + got, wanted);
      got += more;
      if (more < wanted) {
        throw DataError(
            fmt::format("{}: ends after {} of the {} bytes that its header claims", name_, got, count));
      }
    }
    // Asking for one byte more makes zlib compare the checksum at the end.
    std::uint8_t beyond = 0;
    if (read(&beyond, 1) != 0) {
      throw DataError(fmt::format("{}: is longer than the {} bytes that its header claims", name_, count));
    }
    return bytes;
  }

 private:
  std::uint32_t read_number() {
    std::array<std::uint8_t, 4> bytes{};
    if (read(bytes.data(), 4) < 4) throw DataError(fmt::format("{}: ends within its header", name_));
    return std::uint32_t(bytes[0]) << 24 | std::uint32_t(bytes[1]) << 16 | std::uint32_t(bytes[2]) << 8 |
           bytes[3];
  }

  // Bytes read, fewer than `count` at the end of the file only.
  std::int64_t read(std::uint8_t* out, std::int64_t count) {
    std::int64_t total = 0;
    while (total < count) {
      const unsigned part = unsigned(std::min<std::int64_t>(count - total, 1 << 24));
      const int got = gzread(stream_.get(), out + total, part);
      int error = Z_OK;
      const char* message = gzerror(stream_.get(), &error);
      // A gzip stream that ends early is Z_BUF_ERROR.
      if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
        const std::string reason = error == Z_ERRNO ? std::strerror(errno) : message;
        throw DataError(fmt::format("{}: damaged: {}", name_, reason));
      }
      if (got == 0) break;
      total += got;
    }
    return total;
  }

  struct Close {
    void operator()(gzFile_s* file) const { gzclose(file); }
  };
  std::string name_;
  std::uintmax_t file_bytes_ = 0;
  std::unique_ptr<gzFile_s, Close> stream_;
};

// The file of a split's `prefix` and `kind` ("images", 3), under one of the names in use; empty where there
// is none.
fs::path find_file(const fs::path& folder, const char* prefix, const char* kind, int dimensions) {
  for (const char* separator : {"-", "."}) {
    for (const char* ending : {".gz", ""}) {
      fs::path file =
          folder / fmt::format("{}-{}{}idx{}-ubyte{}", prefix, kind, separator, dimensions, ending);
      std::error_code error;
      if (fs::is_regular_file(file, error)) return file;
    }
  }
  return {};
}

std::optional<IdxFiles::Split> find_split(const fs::path& folder, const char* prefix) {
  IdxFiles::Split split{find_file(folder, prefix, "images", 3), find_file(folder, prefix, "labels", 1)};
  if (split.images.empty() && split.labels.empty()) return std::nullopt;
  if (split.images.empty() || split.labels.empty()) {
    throw DataError(fmt::format("{}: {} of '{}' without their {}", folder.string(),
                                split.images.empty() ? "labels" : "images", prefix,
                                split.images.empty() ? "images-idx3-ubyte" : "labels-idx1-ubyte"));
  }
  return split;
}

// "FashionMNIST/raw" (torchvision's) and "fashion-mnist" (Debian's) are the same data.
bool is_fashion_mnist(const fs::path& folder) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(folder, error);
  for (const fs::path& part : {whole.filename(), whole.parent_path().filename()}) {
    std::string letters;
    for (const char letter : part.string()) {
      if (std::isalnum(static_cast<unsigned char>(letter))) {
        letters += char(std::tolower(static_cast<unsigned char>(letter)));
      }
    }
    if (letters == "fashionmnist") return true;
  }
  return false;
}

}  // namespace

IdxImages read_idx_images(const fs::path& file) {
  IdxReader reader(file);
  const auto sizes = reader.read_header(kImagesMagic, "images", 3);
  constexpr std::int64_t kLargestSide = 1 << 16;
  if (sizes[1] > kLargestSide || sizes[2] > kLargestSide) {
    throw DataError(fmt::format("{}: images of {} x {} pixels, expected at most {} a side", file.string(),
                                sizes[2], sizes[1], kLargestSide));
  }
  return {sizes[0], int(sizes[1]), int(sizes[2]), reader.read_rest(sizes[0] * sizes[1] * sizes[2])};
}

std::vector<std::uint8_t> read_idx_labels(const fs::path& file) {
  IdxReader reader(file);
  const auto sizes = reader.read_header(kLabelsMagic, "labels", 1);
  return reader.read_rest(sizes[0]);
}

std::optional<IdxFiles> find_idx_files(const fs::path& folder) {
  const auto train = find_split(folder, "train");
  if (!train) return std::nullopt;
  IdxFiles files{*train, find_split(folder, "t10k")};
  if (!files.val) files.val = find_split(folder, "test");
  return files;
}

std::vector<std::string> idx_class_names(const IdxFiles& files,
                                         const std::vector<std::uint8_t>& train_labels) {
  // As zalandoresearch/fashion-mnist lists them.
  static const std::vector<std::string> kFashion = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                                    "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};
  std::array<bool, 256> used{};
  for (const std::uint8_t label : train_labels) used[label] = true;
  const bool fashion = is_fashion_mnist(files.train.labels.parent_path());
  const std::size_t classes =
      fashion ? kFashion.size() : std::size_t(std::count(used.begin(), used.end(), true));
  for (std::size_t i = 0; i < train_labels.size(); ++i) {
    if (train_labels[i] < classes) continue;
    throw DataError(fmt::format("{}#{}: label {}, expected 0 … {} ({})", files.train.labels.string(), i,
                                int(train_labels[i]), classes - 1,
                                fashion ? "Fashion-MNIST's" : "as many as there are different ones"));
  }
  if (fashion) return kFashion;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < classes; ++i) names.push_back(fmt::to_string(i));
  return names;
}

IdxDataset::IdxDataset(const IdxFiles::Split& files, std::vector<std::string> class_names)
    : file_name_(files.images.filename().string()),
      class_names_(std::move(class_names)),
      images_(read_idx_images(files.images)),
      labels_(read_idx_labels(files.labels)) {
  if (images_.count != std::int64_t(labels_.size())) {
    throw DataError(fmt::format("{}: {} labels for {} images in {}", files.labels.string(), labels_.size(),
                                images_.count, file_name_));
  }
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    if (labels_[i] < class_names_.size()) continue;
    throw DataError(fmt::format("{}#{}: label {}, expected 0 … {}", files.labels.string(), i, int(labels_[i]),
                                class_names_.size() - 1));
  }
}

std::string IdxDataset::name(std::int64_t index) const {
  return fmt::format("{}#{}", file_name_, index);
}

vision::Image IdxDataset::read(std::int64_t index, int channels) const {
  vision::Image image{images_.width, images_.height, 1, {}};
  const std::int64_t bytes = std::int64_t(images_.width) * images_.height;
  const auto first = images_.pixels.begin() + index * bytes;
  image.pixels.assign(first, first + bytes);
  return vision::to_channels(std::move(image), channels);
}

}  // namespace vretnet::datasets
