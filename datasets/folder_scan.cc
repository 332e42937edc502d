#include "datasets/folder_scan.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "core/base/error.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

// Names of a folder's entries, sorted by bytes; hidden ones left out.
struct Listing {
  std::vector<fs::path> folders, files;
};

Listing list_folder(const fs::path& folder) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename().native().starts_with('.')) continue;
    std::error_code unknown;  // a dangling link is a file that cannot be read: the reader will say so
    const bool is_folder = entry->is_directory(unknown) && !unknown;
    (is_folder ? listing.folders : listing.files).push_back(entry->path());
  }
  if (error) {
    throw DataError(fmt::format("{}: the folder cannot be read: {}", folder.string(), error.message()));
  }
  const auto by_bytes = [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); };
  std::sort(listing.folders.begin(), listing.folders.end(), by_bytes);
  std::sort(listing.files.begin(), listing.files.end(), by_bytes);
  return listing;
}

using FolderIdentity = std::pair<dev_t, ino_t>;

// Images of `folder` and of the folders below it; `above` are the folders that hold it, to stop at links that
// lead back.
void collect(const fs::path& folder, std::vector<FolderIdentity>& above, std::vector<fs::path>& images,
             std::vector<fs::path>& other) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return;
  const FolderIdentity identity{status.st_dev, status.st_ino};
  if (std::find(above.begin(), above.end(), identity) != above.end()) return;
  above.push_back(identity);
  const Listing listing = list_folder(folder);
  for (const fs::path& file : listing.files) (has_image_extension(file) ? images : other).push_back(file);
  for (const fs::path& below : listing.folders) collect(below, above, images, other);
  above.pop_back();
}

ScannedSplit scan_split(std::string name, const fs::path& folder, std::vector<fs::path>& other) {
  ScannedSplit split{std::move(name), folder, {}, {}};
  const Listing listing = list_folder(folder);
  for (const fs::path& file : listing.files)
    (has_image_extension(file) ? split.loose : other).push_back(file);
  for (const fs::path& class_folder : listing.folders) {
    ScannedClass scanned{class_folder.filename().string(), {}};
    std::vector<FolderIdentity> above;
    collect(class_folder, above, scanned.files, other);
    split.classes.push_back(std::move(scanned));
  }
  return split;
}

bool holds_folders(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(folder, error) && !list_folder(folder).folders.empty();
}

}  // namespace

bool has_image_extension(const fs::path& file) {
  static constexpr std::array<std::string_view, 9> kExtensions = {".jpg", ".jpeg", ".jpe",  ".jfif", ".png",
                                                                  ".bmp", ".tif",  ".tiff", ".webp"};
  std::string extension = file.extension().string();
  for (char& letter : extension) letter = char(std::tolower(static_cast<unsigned char>(letter)));
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

FolderScan scan_folder(const fs::path& root) {
  FolderScan scan{root, {}, {}, {}};
  // A class may well be called "train" (a toy): only a folder of folders is a split.
  if (!holds_folders(root / "train")) {
    scan.splits.push_back(scan_split("", root, scan.other));
    return scan;
  }
  scan.splits.push_back(scan_split("train", root / "train", scan.other));
  for (const char* name : {"val", "valid", "validation"}) {
    if (!holds_folders(root / name)) continue;
    scan.splits.push_back(scan_split("val", root / name, scan.other));
    break;
  }
  if (holds_folders(root / "test")) scan.splits.push_back(scan_split("test", root / "test", scan.other));
  for (const fs::path& file : list_folder(root).files) {
    if (has_image_extension(file)) scan.loose.push_back(file);
  }
  return scan;
}

}  // namespace vretnet::datasets
