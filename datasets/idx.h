// MNIST's format: pictures and labels in two IDX files, plain or gzipped, of which Debian's
// dataset-fashion-mnist is made. http://yann.lecun.com/exdb/mnist describes it.
#pragma once

#include <filesystem>
#include <optional>

#include "datasets/dataset.h"

namespace vretnet::datasets {

// Grey pictures of one size and their labels, all in memory.
struct IdxImages {
  std::int64_t count = 0;
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // [count, height, width]
};

// Both check the magic number, the claimed sizes against the file's own before they take memory, the length
// and gzip's checksum. Throw DataError naming the file, what was found and what was expected.
IdxImages read_idx_images(const std::filesystem::path& file);
std::vector<std::uint8_t> read_idx_labels(const std::filesystem::path& file);

// Where a folder keeps its splits: train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-… for the test
// set (as val), each with or without .gz, "images.idx3" taken for "images-idx3".
struct IdxFiles {
  struct Split {
    std::filesystem::path images, labels;
  };
  Split train;
  std::optional<Split> val;
};

// Nothing where the folder holds no IDX training set. Throws DataError where one of a pair is missing.
std::optional<IdxFiles> find_idx_files(const std::filesystem::path& folder);

// Class names of the data set in `folder`: Fashion-MNIST's ten (lower case, usable as names of folders) where
// the folder is called so, else the numbers. Labels are 0 … n − 1, each of which occurs in `train_labels`.
// Throws DataError naming the sample whose label is out of range.
std::vector<std::string> idx_class_names(const IdxFiles& files,
                                         const std::vector<std::uint8_t>& train_labels);

class IdxDataset : public Dataset {
 public:
  // Throws DataError where the two files do not agree or a label has no name.
  IdxDataset(const IdxFiles::Split& files, std::vector<std::string> class_names);

  std::int64_t size() const override { return images_.count; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::int32_t label(std::int64_t index) const override { return labels_[std::size_t(index)]; }
  std::string name(std::int64_t index) const override;
  vision::Image read(std::int64_t index, int channels) const override;
  bool in_memory() const override { return true; }

 private:
  std::string file_name_;
  std::vector<std::string> class_names_;
  IdxImages images_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace vretnet::datasets
