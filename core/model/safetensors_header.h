// The JSON header of a safetensors file, as text and as structs: what the file claims, its form checked but
// not yet its offsets. Private to safetensors.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vretnet::model {

struct ClaimedTensor {
  std::string name;
  std::string type;
  std::vector<std::int64_t> shape;
  std::array<std::uint64_t, 2> offsets{};  // begin and end, from the first byte after the header
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<ClaimedTensor> tensors;
};

// Parses a header without recursion and without building a JSON tree, so that neither deep nesting nor a
// long list can exhaust the process. Throws UsageError beginning with `file` for anything but an object of
// {"dtype", "shape", "data_offsets"} objects and one optional "__metadata__" of strings.
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file);

// A name as it is shown in a message: quoted, escaped, cut where it is long.
std::string quoted_name(std::string_view name);

}  // namespace vretnet::model
