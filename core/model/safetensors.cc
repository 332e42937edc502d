#include "core/model/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/model/safetensors_header.h"

namespace vretnet::model {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kAlignment = 8;

struct TypeRow {
  StoredType type;
  std::string_view name;
  std::size_t bytes;
};
constexpr TypeRow kTypes[] = {
    {StoredType::F64, "F64", 8},   {StoredType::F32, "F32", 4}, {StoredType::F16, "F16", 2},
    {StoredType::BF16, "BF16", 2}, {StoredType::I64, "I64", 8}, {StoredType::I32, "I32", 4},
    {StoredType::I16, "I16", 2},   {StoredType::I8, "I8", 1},   {StoredType::U8, "U8", 1},
    {StoredType::BOOL, "BOOL", 1},
};

// elements × bytes of one, or nothing where it passes 64 bits.
bool tensor_bytes(const std::vector<std::int64_t>& shape, std::size_t element_bytes, std::uint64_t& total) {
  total = element_bytes;
  return std::none_of(shape.begin(), shape.end(), [&](std::int64_t extent) {
    return __builtin_mul_overflow(total, static_cast<std::uint64_t>(extent), &total);
  });
}

std::string_view header_text(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kLengthBytes) {
    throw UsageError(fmt::format("{}: {} bytes, too short for a safetensors file", name, file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::uint64_t available = file.size() - kLengthBytes;
  if (length > kMaxHeaderBytes || length > available) {
    throw UsageError(
        fmt::format("{}: header length {}, expected at most {}: cut short, or not a safetensors file", name,
                    length, std::min(available, kMaxHeaderBytes)));
  }
  return {reinterpret_cast<const char*>(file.data()) + kLengthBytes, static_cast<std::size_t>(length)};
}

StoredType parse_type(const ClaimedTensor& claim, const std::string& file) {
  for (const TypeRow& row : kTypes) {
    if (row.name == claim.type) return row.type;
  }
  std::vector<std::string_view> known;
  for (const TypeRow& row : kTypes) known.push_back(row.name);
  throw UsageError(fmt::format("{}: tensor {}: dtype {}, expected one of {}", file, quoted_name(claim.name),
                               quoted_name(claim.type), fmt::join(known, ", ")));
}

// The claim's type and bytes, once they are known to lie inside `data` and to match the shape.
StoredTensor verified(const ClaimedTensor& claim, std::span<const std::byte> data, const std::string& file) {
  const StoredType type = parse_type(claim, file);
  const auto [begin, end] = claim.offsets;
  if (begin > end || end > data.size()) {
    throw UsageError(fmt::format("{}: tensor {}: data_offsets {} to {}, expected a range inside 0 to {}",
                                 file, quoted_name(claim.name), begin, end, data.size()));
  }
  std::uint64_t expected = 0;
  if (!tensor_bytes(claim.shape, type_bytes(type), expected)) {
    throw UsageError(fmt::format("{}: tensor {}: shape [{}] has more bytes than 64 bits count", file,
                                 quoted_name(claim.name), fmt::join(claim.shape, ", ")));
  }
  if (end - begin != expected) {
    throw UsageError(fmt::format("{}: tensor {}: {} bytes, expected {} for {} [{}]", file,
                                 quoted_name(claim.name), end - begin, expected, claim.type,
                                 fmt::join(claim.shape, ", ")));
  }
  return {type, claim.shape, data.subspan(begin, end - begin)};
}

// Tensors follow each other without overlap or hole, from the first byte of the data to the last.
void check_coverage(const std::vector<ClaimedTensor>& claims, std::uint64_t size, const std::string& file) {
  std::vector<const ClaimedTensor*> sorted;
  for (const ClaimedTensor& claim : claims) sorted.push_back(&claim);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->offsets < b->offsets; });
  std::uint64_t covered = 0;
  for (const ClaimedTensor* claim : sorted) {
    if (claim->offsets[0] != covered) {
      throw UsageError(fmt::format("{}: tensor {}: begins at byte {}, expected {}: {}", file,
                                   quoted_name(claim->name), claim->offsets[0], covered,
                                   claim->offsets[0] < covered ? "it overlaps another" : "there is a hole"));
    }
    covered = claim->offsets[1];
  }
  if (covered != size) {
    throw UsageError(fmt::format("{}: tensors end at byte {} of the data, expected {}", file, covered, size));
  }
}

double half_to_double(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  double value = 0;
  if (exponent == 31) {
    value = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else {
    value = std::ldexp(fraction + 1024, exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

template <typename Stored, typename Real, typename Convert>
void convert(std::span<const std::byte> bytes, std::span<Real> values, Convert to_real) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<Real>(to_real(stored));
  }
}

}  // namespace

std::string_view type_name(StoredType type) {
  return kTypes[static_cast<std::size_t>(type)].name;
}
std::size_t type_bytes(StoredType type) {
  return kTypes[static_cast<std::size_t>(type)].bytes;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  const std::string file = path.string();
  const std::string_view json = header_text(file_.bytes(), file);
  SafetensorsHeader header = parse_safetensors_header(json, file);
  const std::span<const std::byte> data = file_.bytes().subspan(kLengthBytes + json.size());
  for (const ClaimedTensor& claim : header.tensors) {
    tensors_.emplace(claim.name, verified(claim, data, file));
    names_.push_back(claim.name);
  }
  check_coverage(header.tensors, data.size(), file);
  metadata_ = std::move(header.metadata);
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const StoredTensor& SafetensorsFile::at(std::string_view name) const {
  if (const StoredTensor* tensor = find(name)) return *tensor;
  throw UsageError(fmt::format("{}: tensor {} is missing", path_.string(), quoted_name(name)));
}

template <typename Real>
void read_values(const StoredTensor& tensor, std::span<Real> values) {
  ensure(values.size() == tensor.elements(), "{} values for {} elements", values.size(), tensor.elements());
  switch (tensor.type) {
    case StoredType::F64:
      return convert<double>(tensor.bytes, values, [](double value) { return value; });
    case StoredType::F32:
      return convert<float>(tensor.bytes, values, [](float value) { return value; });
    case StoredType::F16:
      return convert<std::uint16_t>(tensor.bytes, values, half_to_double);
    case StoredType::BF16:
      return convert<std::uint16_t>(tensor.bytes, values, [](std::uint16_t upper_half) {
        return std::bit_cast<float>(std::uint32_t{upper_half} << 16);
      });
    default:
      throw UsageError(fmt::format("dtype {}, expected F64, F32, F16 or BF16", type_name(tensor.type)));
  }
}
template void read_values<float>(const StoredTensor&, std::span<float>);
template void read_values<double>(const StoredTensor&, std::span<double>);

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                       const std::vector<TensorToWrite>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    std::uint64_t expected = 0;
    const bool counted = tensor_bytes(tensor.shape, type_bytes(tensor.type), expected);
    ensure(counted && tensor.bytes.size() == expected, "{}: {} bytes for {} [{}]", tensor.name,
           tensor.bytes.size(), type_name(tensor.type), fmt::join(tensor.shape, ", "));
    ensure(!header.contains(tensor.name), "{} is written twice", tensor.name);
    header[tensor.name] = {{"dtype", type_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + expected}}};
    offset += expected;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw UsageError(fmt::format("{}: a tensor name or a metadata value is not UTF-8", path.string()));
  }
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  ensure(text.size() <= kMaxHeaderBytes, "header of {} bytes", text.size());

  write_file_atomically(path, [&](const Append& append) {
    const std::uint64_t length = text.size();
    append(&length, kLengthBytes);
    append(text.data(), text.size());
    for (const TensorToWrite& tensor : tensors) append(tensor.bytes.data(), tensor.bytes.size());
  });
}

}  // namespace vretnet::model
