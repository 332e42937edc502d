#include "tools/predictions.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <span>
#include <string_view>

#include "core/base/file.h"
#include "tools/json_text.h"
#include "tools/saved_run.h"
#include "tools/table.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTableName = "predictions.csv";
constexpr const char* kOriginName = "predictions.json";
const std::vector<std::string> kColumns = {
    "file", "true", "predicted", "correct", "probability", "true_probability", "loss"};

// CRC-32 as zlib has it: files that differ share one with a chance of one in four billion.
class Checksum {
 public:
  void add(std::string_view bytes) {
    value_ = crc32_z(value_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::string text() const { return fmt::format("{:08x}", value_); }

 private:
  uLong value_ = crc32_z(0, nullptr, 0);
};

std::string checksum_of(std::string_view bytes) {
  Checksum checksum;
  checksum.add(bytes);
  return checksum.text();
}

nlohmann::json origin_json(const AnswerOrigin& origin) {
  return {{"version", VRETNET_VERSION},        {"model", origin.model}, {"images", origin.images},
          {"images_with", origin.images_with}, {"tta", origin.tta},     {"precision", origin.precision}};
}

// Where things lie is not what they are.
nlohmann::json without_places(nlohmann::json origin) {
  origin.at("model").erase("file");
  for (const char* place : {"data_dir", "split"}) origin.at("images").erase(place);
  return origin;
}

std::string below(const std::string& name, const std::string& folder) {
  if (!name.starts_with(folder)) return name;
  const std::size_t begin = name.find_first_not_of('/', folder.size());
  return begin == std::string::npos ? name : name.substr(begin);
}

// Of an image's own file, or of the file that holds it with others ("images.gz#12"); 0 where there is none.
class FileSizes {
 public:
  std::uintmax_t of(const std::string& name) {
    std::error_code error;
    if (const auto size = fs::file_size(name, error); !error) return size;
    const std::string container = name.substr(0, name.find_last_of('#'));
    const auto [found, is_new] = containers_.try_emplace(container, 0);
    if (is_new) {
      const auto size = fs::file_size(container, error);
      found->second = error ? 0 : size;
    }
    return found->second;
  }

 private:
  std::map<std::string, std::uintmax_t> containers_;
};

// A whole text as a number; nothing where it is none.
std::optional<float> number_of(const std::string& text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::vector<training::Prediction>> parse_predictions(const std::string& text,
                                                                   const std::string& data_dir,
                                                                   const AnsweredImages& images) {
  const std::vector<std::string>& classes = images.dataset().class_names();
  std::map<std::string, std::int32_t> label_of;
  for (const std::string& name : classes) label_of.emplace(name, static_cast<std::int32_t>(label_of.size()));
  const std::vector<std::vector<std::string>> rows = parse_csv(text);
  if (rows.empty() || rows.front() != kColumns) return std::nullopt;
  std::vector<training::Prediction> predictions;
  std::int64_t index = 0;  // rows come in the order of the images, the unreadable ones left out
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    if (row->size() != kColumns.size()) return std::nullopt;
    const std::string name = below((*row)[0], data_dir);
    while (index < images.dataset().size() && images.name_below(index) != name) ++index;
    const auto label = label_of.find((*row)[1]), predicted = label_of.find((*row)[2]);
    const auto probability = number_of((*row)[4]), own = number_of((*row)[5]), loss = number_of((*row)[6]);
    if (index == images.dataset().size() || label == label_of.end() || predicted == label_of.end() ||
        label->second != images.dataset().label(index) || !probability || !own || !loss) {
      return std::nullopt;
    }
    predictions.push_back({index, label->second, predicted->second, *probability, *own, *loss});
    ++index;
  }
  return predictions;
}

}  // namespace

AnsweredImages::AnsweredImages(datasets::DatasetPointer dataset, std::string data_dir,
                               const std::string& split)
    : dataset_(std::move(dataset)), data_dir_(std::move(data_dir)) {
  Checksum checksum;
  FileSizes sizes;
  for (std::int64_t i = 0; i < dataset_->size(); ++i) {
    checksum.add(name_below(i));
    checksum.add(fmt::format("\n{}\n{}\n",
                             dataset_->class_names()[static_cast<std::size_t>(dataset_->label(i))],
                             sizes.of(dataset_->name(i))));
  }
  identity_ = {
      {"data_dir", data_dir_}, {"split", split}, {"count", dataset_->size()}, {"crc32", checksum.text()}};
}

std::string AnsweredImages::name_below(std::int64_t index) const {
  return below(dataset_->name(index), data_dir_);
}

nlohmann::json model_identity(const fs::path& file) {
  const MappedFile mapped(file);
  const std::span<const std::byte> bytes = mapped.bytes();
  return {{"file", file.string()},
          {"bytes", bytes.size()},
          {"crc32", checksum_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()})}};
}

void write_predictions(const fs::path& folder, const AnswerOrigin& origin, const AnsweredImages& images,
                       const std::vector<training::Prediction>& predictions) {
  const std::vector<std::string>& classes = images.dataset().class_names();
  Table table{kColumns, {}};
  for (const training::Prediction& prediction : predictions) {
    table.rows.push_back(
        {images.dataset().name(prediction.index), classes[static_cast<std::size_t>(prediction.label)],
         classes[static_cast<std::size_t>(prediction.predicted)],
         prediction.label == prediction.predicted ? "1" : "0", fmt::format("{}", prediction.probability),
         fmt::format("{}", prediction.label_probability), fmt::format("{}", prediction.loss)});
  }
  const std::string text = csv_table(table);
  nlohmann::json described = origin_json(origin);
  described["answers"] = {{"count", predictions.size()}, {"crc32", checksum_of(text)}};
  fs::create_directories(folder);
  write_file_atomically(folder / kTableName, text);
  write_file_atomically(folder / kOriginName, json_text(described, 2) + "\n");
}

std::optional<std::vector<training::Prediction>> find_predictions(const fs::path& parent,
                                                                  const AnswerOrigin& origin,
                                                                  const AnsweredImages& images) {
  const nlohmann::json wanted = without_places(origin_json(origin));
  std::error_code error;
  for (fs::directory_iterator entry(parent, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    try {
      nlohmann::json found = nlohmann::json::parse(read_text(entry->path() / kOriginName));
      const nlohmann::json answers = found.at("answers");
      const std::string data_dir = found.at("images").at("data_dir");
      found.erase("answers");
      if (without_places(found) != wanted) continue;
      const std::string text = read_text(entry->path() / kTableName);
      if (answers.at("crc32") != checksum_of(text)) continue;
      auto predictions = parse_predictions(text, data_dir, images);
      if (predictions && answers.at("count") == predictions->size()) return predictions;
    } catch (const nlohmann::json::exception&) {  // a folder of something else
    }
  }
  return std::nullopt;
}

std::string predictions_name(const std::string& stem, const AnswerOrigin& origin) {
  return fmt::format("{}-{}", stem, checksum_of(without_places(origin_json(origin)).dump()));
}

}  // namespace vretnet::tools
