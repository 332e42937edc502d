#include "core/model/safetensors_header.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/error.h"

namespace vretnet::model {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxRank = 64;  // as NumPy; a real tensor has at most a handful

// A SAX handler: the format has a fixed depth, so a place in it is one of a few states. Each callback returns
// whether parsing goes on; what stopped it is in `problem`.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  SafetensorsHeader header;
  std::string problem;

  bool null() override { return misplaced("null"); }
  bool boolean(bool) override { return misplaced("true or false"); }
  bool number_float(double, const std::string& text) override {
    return misplaced("number " + quoted_name(text));
  }
  bool binary(Json::binary_t&) override { return misplaced("binary data"); }

  bool number_integer(std::int64_t value) override {
    return misplaced(fmt::format("negative number {}", value));
  }

  bool number_unsigned(std::uint64_t value) override {
    ClaimedTensor* tensor = header.tensors.empty() ? nullptr : &header.tensors.back();
    if (place_ == Place::kShape) {
      if (value > std::uint64_t(std::numeric_limits<std::int64_t>::max())) {
        return fail("shape has {}, more than 64 bits with sign hold", value);
      }
      if (tensor->shape.size() == kMaxRank) return fail("shape has more than {} dimensions", kMaxRank);
      tensor->shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      if (offsets_seen_ == 2) return fail("data_offsets has more than two numbers");
      tensor->offsets[offsets_seen_++] = value;
      return true;
    }
    return misplaced(fmt::format("number {}", value));
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      header.metadata.at(key_) = std::move(value);
      return true;
    }
    if (place_ == Place::kTensor && key_ == "dtype") {
      header.tensors.back().type = std::move(value);
      return true;
    }
    return misplaced("text " + quoted_name(value));
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ == Place::kTop) {
      place_ = key_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) header.tensors.push_back({key_, {}, {}, {}});
      fields_.clear();
      return true;
    }
    return misplaced("an object");
  }

  bool key(std::string& value) override {
    key_ = std::move(value);
    if (place_ == Place::kTop) {
      if (!names_.insert(key_).second) return fail_header("{} occurs twice", quoted_name(key_));
      return true;
    }
    if (place_ == Place::kMetadata) {
      if (header.metadata.emplace(key_, "").second) return true;
      return fail_header("__metadata__ has {} twice", quoted_name(key_));
    }
    if (key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
      return fail("unknown key {}, expected dtype, shape and data_offsets", quoted_name(key_));
    }
    if (!fields_.insert(key_).second) return fail("{} occurs twice", key_);
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor && fields_.size() != 3) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) return fail("{} is missing", field);
      }
    }
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
      return true;
    }
    if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
      offsets_seen_ = 0;
      return true;
    }
    return misplaced("a list");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_seen_ != 2) {
      return fail("data_offsets has {} numbers, expected two", offsets_seen_);
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    return fail_header("not valid JSON in UTF-8 at byte {} of the header", position);
  }

 private:
  enum class Place { kOutside, kTop, kMetadata, kTensor, kShape, kOffsets };

  template <typename... Args>
  bool fail_header(fmt::format_string<Args...> format, Args&&... args) {
    problem = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  // A problem inside the tensor that was begun last.
  template <typename... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    problem = fmt::format("tensor {}: ", quoted_name(header.tensors.back().name));
    problem += fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  bool misplaced(const std::string& found) {
    switch (place_) {
      case Place::kOutside:
        return fail_header("the header is {}, expected an object", found);
      case Place::kTop:
        return fail_header("{} is {}, expected an object", quoted_name(key_), found);
      case Place::kMetadata:
        return fail_header("__metadata__ {} is {}, expected text", quoted_name(key_), found);
      case Place::kShape:
        return fail("shape has {}, expected whole numbers from 0", found);
      case Place::kOffsets:
        return fail("data_offsets has {}, expected whole numbers from 0", found);
      case Place::kTensor:
        break;
    }
    return fail("{} is {}, expected {}", key_, found, key_ == "dtype" ? "text" : "a list of whole numbers");
  }

  Place place_ = Place::kOutside;
  std::string key_;
  std::set<std::string> names_;   // keys of the header
  std::set<std::string> fields_;  // keys of the tensor at hand
  std::size_t offsets_seen_ = 0;
};

}  // namespace

std::string quoted_name(std::string_view name) {
  constexpr std::size_t kShown = 120;
  std::string shown(name.substr(0, kShown));
  if (name.size() > kShown) shown += "…";
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace);
}

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file) {
  // The format asks for it, and a byte order mark, which the parser would skip, is refused here.
  if (!json.starts_with('{')) throw UsageError(fmt::format("{}: the header does not begin with '{{'", file));
  HeaderReader reader;
  if (!Json::sax_parse(json.begin(), json.end(), &reader)) {
    throw UsageError(fmt::format("{}: {}", file, reader.problem));
  }
  return std::move(reader.header);
}

}  // namespace vretnet::model
