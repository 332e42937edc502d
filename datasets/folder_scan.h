// What lies in a folder of images: the layout of torchvision's ImageFolder, found and listed in an order that
// depends on nothing but the names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vretnet::datasets {

// Extensions that count as images, in any case: .jpg .jpeg .jpe .jfif .png .bmp .tif .tiff .webp
bool has_image_extension(const std::filesystem::path& file);

struct ScannedClass {
  std::string name;                          // of the folder
  std::vector<std::filesystem::path> files;  // images in it and, as torchvision does, in folders below it
};

struct ScannedSplit {
  std::string name;  // "train", "val", "test"; "" for the one split of ROOT/CLASS/…
  std::filesystem::path folder;
  std::vector<ScannedClass> classes;         // sorted by name (by bytes), empty ones included
  std::vector<std::filesystem::path> loose;  // images in `folder` itself, outside of any class
};

struct FolderScan {
  std::filesystem::path root;
  std::vector<ScannedSplit> splits;          // train, val, test in this order, or one without a name
  std::vector<std::filesystem::path> loose;  // images in `root` of a train/val layout
  std::vector<std::filesystem::path> other;  // files without an image's extension
};

// ROOT/train/CLASS/… where ROOT/train holds folders, with ROOT/val/CLASS/… (or valid, validation) and
// ROOT/test/CLASS/… where they exist; else ROOT/CLASS/…. Names that start with a dot are passed over, links
// are followed (but not in circles). Throws DataError naming a folder that cannot be read. Classes may be
// empty here.
FolderScan scan_folder(const std::filesystem::path& root);

}  // namespace vretnet::datasets
