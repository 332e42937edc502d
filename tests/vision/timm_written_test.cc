// A ViT's weights as timm and the Python package safetensors write them, made here byte by byte, not by our
// own writer: metadata {"format": "pt"}, tensors by name in the header and in another order behind it, a
// header padded with spaces, and the dtype that the model was cast to.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "core/base/error.h"
#include "tests/support/usage_error.h"
#include "vision/timm.h"

namespace vretnet::vision {
namespace {

constexpr int kTimmWidth = 64, kTimmDepth = 2, kTimmPatch = 4, kTimmClasses = 5, kTimmHidden = 4 * kTimmWidth;

// timm's names and shapes for images of 8 × 8 pixels; std::map has them in the header's order.
std::map<std::string, std::vector<int>> timm_state_dict() {
  std::map<std::string, std::vector<int>> shapes{
      {"cls_token", {1, 1, kTimmWidth}},
      {"pos_embed", {1, 1 + 2 * 2, kTimmWidth}},
      {"patch_embed.proj.weight", {kTimmWidth, 3, kTimmPatch, kTimmPatch}},
      {"patch_embed.proj.bias", {kTimmWidth}},
      {"norm.weight", {kTimmWidth}},
      {"norm.bias", {kTimmWidth}},
      {"head.weight", {kTimmClasses, kTimmWidth}},
      {"head.bias", {kTimmClasses}},
  };
  for (int i = 0; i < kTimmDepth; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    for (const char* norm : {"norm1", "norm2"}) {
      shapes[block + norm + ".weight"] = shapes[block + norm + ".bias"] = {kTimmWidth};
    }
    shapes[block + "attn.qkv.weight"] = {3 * kTimmWidth, kTimmWidth};
    shapes[block + "attn.qkv.bias"] = {3 * kTimmWidth};
    shapes[block + "attn.proj.weight"] = {kTimmWidth, kTimmWidth};
    shapes[block + "attn.proj.bias"] = {kTimmWidth};
    shapes[block + "mlp.fc1.weight"] = {kTimmHidden, kTimmWidth};
    shapes[block + "mlp.fc1.bias"] = {kTimmHidden};
    shapes[block + "mlp.fc2.weight"] = {kTimmWidth, kTimmHidden};
    shapes[block + "mlp.fc2.bias"] = {kTimmWidth};
  }
  return shapes;
}

int elements_of(const std::vector<int>& shape) {
  int elements = 1;
  for (const int extent : shape) elements *= extent;
  return elements;
}

// Another one in every tensor and, nearly, at every place; all are exact in F16 and in BF16.
float value_at(const std::string& name, int element) {
  const unsigned mixed = unsigned(std::hash<std::string>()(name)) * 31u + unsigned(element) * 2654435761u;
  return float(int(mixed >> 24) - 128) / 256;
}

void append_number(std::string& bytes, std::uint64_t number, int count) {
  for (int i = 0; i < count; ++i) bytes += char(number >> (8 * i) & 0xFF);  // little-endian
}

void append_value(std::string& bytes, float value, const std::string& dtype) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (dtype == "F32") return append_number(bytes, bits, 4);
  if (dtype == "BF16") return append_number(bytes, bits >> 16, 2);
  if (dtype == "I16") return append_number(bytes, std::uint64_t(std::int64_t(value)), 2);
  const std::uint32_t sign = bits >> 16 & 0x8000, exponent = (bits >> 23 & 0xFF) - 127 + 15;
  append_number(bytes, value == 0 ? 0 : sign | exponent << 10 | (bits >> 13 & 0x3FF), 2);
}

// `dtype_of` a name.
std::string timm_bytes(const std::function<std::string(const std::string&)>& dtype_of) {
  const auto shapes = timm_state_dict();
  std::string data;
  std::map<std::string, std::pair<std::size_t, std::size_t>> offsets;
  for (auto entry = shapes.rbegin(); entry != shapes.rend(); ++entry) {
    const auto& [name, shape] = *entry;
    const std::size_t begin = data.size();
    for (int i = 0; i < elements_of(shape); ++i) append_value(data, value_at(name, i), dtype_of(name));
    offsets[name] = {begin, data.size()};
  }
  std::string header = R"({"__metadata__":{"format":"pt"})";
  for (const auto& [name, shape] : shapes) {
    header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name,
                          dtype_of(name), fmt::join(shape, ","), offsets[name].first, offsets[name].second);
  }
  header += '}';
  do header += ' ';  // at least one, so that there is padding to be read
  while (header.size() % 8 != 0);
  std::string bytes;
  append_number(bytes, header.size(), 8);
  return bytes + header + data;
}

class TimmWritten : public ::testing::Test {
 protected:
  ~TimmWritten() override { std::filesystem::remove(path_); }
  void write(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("timm_written_") + ::testing::UnitTest::GetInstance()->current_test_info()->name() +
       ".safetensors");
};

TEST_F(TimmWritten, IsLoadedFromEveryFloatingDtype) {
  for (const std::string dtype : {"F32", "F16", "BF16", "mixed"}) {
    SCOPED_TRACE(dtype);
    write(timm_bytes([&](const std::string& name) {
      if (dtype != "mixed") return dtype;
      return std::string(name.find("norm") != std::string::npos ? "F32" : "F16");
    }));
    const Classifier classifier = load_classifier(path_);
    const ModelConfig& config = classifier.description.config;
    EXPECT_EQ(config.mixer, MixerKind::attention);
    EXPECT_EQ(config.width, kTimmWidth);
    EXPECT_EQ(config.depth, kTimmDepth);
    EXPECT_EQ(config.patch_size, kTimmPatch);
    EXPECT_EQ(config.image_size, (std::array<std::int64_t, 2>{8, 8}));
    EXPECT_EQ(config.classes, kTimmClasses);
    const auto shapes = timm_state_dict();
    const auto& tensors = classifier.model->parameters().tensors();
    ASSERT_EQ(tensors.size(), shapes.size());
    for (const layers::NamedTensor& tensor : tensors) {
      SCOPED_TRACE(tensor.name);
      ASSERT_TRUE(shapes.contains(tensor.name));
      ASSERT_EQ(tensor.shape.elements(), elements_of(shapes.at(tensor.name)));
      int wrong = 0;
      for (int i = 0; i < tensor.shape.elements(); ++i) {
        wrong += classifier.values[std::size_t(tensor.offset + i)] != value_at(tensor.name, i);
      }
      EXPECT_EQ(wrong, 0);
    }
  }
}

TEST_F(TimmWritten, IntegersAreRefusedByTensorAndDtype) {
  write(timm_bytes([](const std::string& name) { return name == "head.bias" ? "I16" : "F16"; }));
  EXPECT_EQ(vretnet::testing::message_of([&] { load_classifier(path_); }),
            path_.string() + ": 'head.bias' is I16, expected floating-point numbers");
}

}  // namespace
}  // namespace vretnet::vision
