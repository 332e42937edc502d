// What a model answered for each image, as a file that a later evaluation can do without evaluating:
// predictions.csv, a row an image, and predictions.json beside it, which says what answered what.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/training/metrics.h"
#include "datasets/dataset.h"

namespace vretnet::tools {

// Images as a predictions file knows them: by name below the data folder, class and size of the file.
class AnsweredImages {
 public:
  // `data_dir` as the user named it, `split` the part of it that `dataset` is.
  AnsweredImages(datasets::DatasetPointer dataset, std::string data_dir, const std::string& split);

  const datasets::Dataset& dataset() const { return *dataset_; }
  std::string name_below(std::int64_t index) const;  // data_dir: "cat/1.jpg"
  const nlohmann::json& identity() const { return identity_; }

 private:
  datasets::DatasetPointer dataset_;
  std::string data_dir_;
  nlohmann::json identity_;
};

// The model file as it is now: {"file", "bytes", "crc32"}. Throws UsageError where it cannot be read.
nlohmann::json model_identity(const std::filesystem::path& file);

// What answered what, and how.
struct AnswerOrigin {
  nlohmann::json model, images;  // identities
  std::string images_with;       // a disturbance's name or another size, or "" for images as they are
  std::string tta, precision;    // "none"; "f32", "int8" or "bf16"
};

// predictions.csv has the columns file, true, predicted, correct (1 or 0), probability (of the predicted
// class), true_probability, loss; unreadable images have no row. Classes are those of `images`. Throws
// RunError.
void write_predictions(const std::filesystem::path& folder, const AnswerOrigin& origin,
                       const AnsweredImages& images, const std::vector<training::Prediction>& predictions);

// The predictions of a folder `parent`/*/ whose origin is this one: written by this version, for a model file
// of the same bytes and the same images, and unchanged since. Nothing where there are none.
std::optional<std::vector<training::Prediction>> find_predictions(const std::filesystem::path& parent,
                                                                  const AnswerOrigin& origin,
                                                                  const AnsweredImages& images);

// A name for a folder of predictions that no other origin has: "local-1-3fa94c01".
std::string predictions_name(const std::string& stem, const AnswerOrigin& origin);

}  // namespace vretnet::tools
