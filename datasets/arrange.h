// `data split` and `data import idx`: data sets written out as train/val folders.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace vretnet::datasets {

struct ArrangedCounts {
  std::int64_t train = 0, val = 0;
};

enum class PlaceMode { Copy, HardLink };

struct SplitOptions {
  double val_split = 0.1;  // of every class, 0 … 1
  std::uint64_t seed = 42;
  PlaceMode mode = PlaceMode::Copy;
};

// ROOT/CLASS/… → DESTINATION/train/CLASS/… and DESTINATION/val/CLASS/…, stratified; the same division that
// training makes with --val-split and this seed. Throws UsageError where `destination` exists and is not an
// empty folder or lies inside `root`, DataError where `root` is split already or has no images, RunError
// where a file cannot be placed.
ArrangedCounts split_folder(const std::filesystem::path& root, const std::filesystem::path& destination,
                            const SplitOptions& options = {});

// Writes the pictures of a folder of IDX files as DESTINATION/train|val/CLASS/NNNNN.png, numbered by their
// place in the IDX file. Classes have the names of idx_class_names. Throws as above, and DataError as idx.h.
ArrangedCounts import_idx(const std::string& path, const std::filesystem::path& destination,
                          const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

}  // namespace vretnet::datasets
