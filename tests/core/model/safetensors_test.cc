#include "core/model/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "core/base/error.h"

namespace vretnet::model {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const auto& values) {
  return std::as_bytes(std::span(values));
}

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("safetensors_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write_raw(const std::string& bytes) const {
    const fs::path path = folder_ / "hostile.safetensors";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  // A file of this header and so many bytes of data.
  fs::path write_header(const std::string& json, std::size_t data_bytes) const {
    std::string length(8, '\0');
    const std::uint64_t count = json.size();
    std::memcpy(length.data(), &count, 8);
    return write_raw(length + json + std::string(data_bytes, '\0'));
  }

  // The file is refused with its name and `expected` in the message.
  static void expect_refused(const fs::path& path, const std::string& expected) {
    try {
      const SafetensorsFile file(path);
      ADD_FAILURE() << "accepted, expected: " << expected;
    } catch (const UsageError& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind(path.string(), 0), 0u) << message;
      EXPECT_NE(message.find(expected), std::string::npos) << message << "\nexpected: " << expected;
      EXPECT_LT(message.size(), path.string().size() + 600) << "a message is a line, not a dump";
    }
  }

  void expect_header_refused(const std::string& json, std::size_t data_bytes,
                             const std::string& expected) const {
    expect_refused(write_header(json, data_bytes), expected);
  }

  fs::path folder_;
};

TEST_F(SafetensorsTest, RoundTrip) {
  const std::vector<float> weight{1.5f, -2.0f, 3.25f, 0.0f, 5.0f, 6.0f};
  const std::vector<double> moments{1e300, -1e-300};
  const std::vector<std::uint8_t> flags{1, 2, 3};
  const std::map<std::string, std::string> metadata{{"format", "vretnet"}, {"name", "tab\t quote\" é"}};
  const fs::path path = folder_ / "round.safetensors";
  write_safetensors(path, metadata,
                    {{"weight", StoredType::F32, {2, 3}, bytes_of(weight)},
                     {"moments", StoredType::F64, {2}, bytes_of(moments)},
                     {"empty", StoredType::F32, {0, 7}, {}},
                     {"flags", StoredType::U8, {3, 1}, bytes_of(flags)},
                     {"scalar", StoredType::F32, {}, bytes_of(weight).first(4)}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"weight", "moments", "empty", "flags", "scalar"}));
  EXPECT_EQ(file.at("weight").shape, (std::vector<std::int64_t>{2, 3}));
  std::vector<float> read(6);
  read_values<float>(file.at("weight"), read);
  EXPECT_EQ(read, weight);
  std::vector<double> read_moments(2);
  read_values<double>(file.at("moments"), read_moments);
  EXPECT_EQ(read_moments, moments);
  EXPECT_EQ(file.at("empty").elements(), 0u);
  EXPECT_EQ(file.at("flags").type, StoredType::U8);
  EXPECT_EQ(std::memcmp(file.at("flags").bytes.data(), flags.data(), 3), 0);
  EXPECT_TRUE(file.at("scalar").shape.empty());
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_THROW(file.at("nothing"), UsageError);
}

TEST_F(SafetensorsTest, SameArgumentsGiveTheSameBytesAndAlignedData) {
  const std::vector<float> weight{1, 2};
  for (const std::string name : {"a", "ab", "abc", "abcdefgh"}) {
    const fs::path first = folder_ / "first", second = folder_ / "second";
    for (const fs::path& path : {first, second}) {
      write_safetensors(path, {{"k", "v"}}, {{name, StoredType::F32, {2}, bytes_of(weight)}});
    }
    const std::string bytes = read_text(first);
    EXPECT_EQ(bytes, read_text(second));
    EXPECT_EQ((bytes.size() - 8) % 8, 0u);  // 8 bytes of data after a padded header
    EXPECT_EQ(bytes[8], '{');
  }
}

TEST_F(SafetensorsTest, NoMetadataNoTensors) {
  write_safetensors(folder_ / "none", {}, {});
  const SafetensorsFile file(folder_ / "none");
  EXPECT_TRUE(file.names().empty());
  EXPECT_TRUE(file.metadata().empty());
}

TEST_F(SafetensorsTest, TextThatIsNotUtf8IsNotWritten) {
  EXPECT_THROW(write_safetensors(folder_ / "bad", {{"name", "\xff\xfe"}}, {}), UsageError);
  EXPECT_FALSE(fs::exists(folder_ / "bad"));
}

// Written by the Python package safetensors (tests/goldens/make_goldens.py): value i is i/2 − 3 in every
// floating type, i in every whole-number type.
TEST_F(SafetensorsTest, ReadsWhatPythonWrote) {
  const SafetensorsFile file(fs::path(VRETNET_SOURCE_DIR) / "tests/goldens/data/python_written.safetensors");
  EXPECT_EQ(file.metadata().at("made_by"), "make_goldens.py");
  for (const std::string name : {"f64", "f32", "f16", "bf16"}) {
    const StoredTensor& tensor = file.at(name);
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{3, 4})) << name;
    std::vector<double> values(12);
    read_values<double>(tensor, values);
    for (int i = 0; i < 12; ++i) EXPECT_EQ(values[i], i / 2.0 - 3.0) << name << " " << i;
  }
  for (const std::string name : {"i64", "i32", "i16", "i8", "u8"}) {
    const StoredTensor& tensor = file.at(name);
    ASSERT_EQ(tensor.elements(), 12u) << name;
    for (std::size_t i = 0; i < 12; ++i) {
      EXPECT_EQ(int(tensor.bytes[i * type_bytes(tensor.type)]), int(i)) << name;
    }
    std::vector<float> values(12);
    EXPECT_THROW(read_values<float>(tensor, values), UsageError);
  }
  EXPECT_EQ(file.at("flags").type, StoredType::BOOL);
}

TEST_F(SafetensorsTest, HalfSpecialValues) {
  const std::vector<std::uint16_t> halves{0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x7e00};
  write_safetensors(folder_ / "half", {}, {{"x", StoredType::F16, {7}, bytes_of(halves)}});
  std::vector<float> values(7);
  read_values<float>(SafetensorsFile(folder_ / "half").at("x"), values);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(values[0], 0x1p-24f);
  EXPECT_EQ(values[1], 1023 * 0x1p-24f);
  EXPECT_EQ(values[2], 65504.0f);
  EXPECT_EQ(values[3], infinity);
  EXPECT_EQ(values[4], -infinity);
  EXPECT_TRUE(values[5] == 0 && std::signbit(values[5]));
  EXPECT_TRUE(std::isnan(values[6]));
}

TEST_F(SafetensorsTest, RefusesLyingLengths) {
  expect_refused(write_raw(""), "too short");
  expect_refused(write_raw("1234567"), "too short");
  expect_refused(write_raw(std::string(8, '\0')), "does not begin with '{'");
  expect_refused(write_raw(std::string(8, '\xff') + "{}"), "header length 18446744073709551615");
  expect_refused(write_raw(std::string("\x03\0\0\0\0\0\0\0{}", 10)), "header length 3, expected at most 2");
  expect_refused(folder_ / "absent.safetensors", "cannot open");
}

TEST_F(SafetensorsTest, RefusesAHeaderOverTheLimitEvenIfTheFileHoldsIt) {
  const fs::path path = write_header("{}", 0);
  const std::uint64_t length = 100'000'001;
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
      .write(reinterpret_cast<const char*>(&length), 8);
  fs::resize_file(path, 8 + length);  // sparse: costs no disk
  expect_refused(path, "header length 100000001, expected at most 100000000");
}

// Every shorter version of a good file is refused: nothing past its end is read or believed.
TEST_F(SafetensorsTest, RefusesEveryTruncation) {
  const std::vector<float> weight{1, 2, 3};
  write_safetensors(folder_ / "good", {{"k", "v"}}, {{"w", StoredType::F32, {3}, bytes_of(weight)}});
  const std::string bytes = read_text(folder_ / "good");
  for (std::size_t count = 0; count < bytes.size(); ++count) {
    EXPECT_THROW(SafetensorsFile{write_raw(bytes.substr(0, count))}, UsageError) << count << " bytes";
  }
  EXPECT_THROW(SafetensorsFile{write_raw(bytes + "x")}, UsageError);
  EXPECT_NO_THROW(SafetensorsFile{write_raw(bytes)});
}

// One damaged byte anywhere: refused or read, but never a crash (the sanitizer build watches).
TEST_F(SafetensorsTest, SurvivesEveryDamagedByte) {
  const std::vector<float> weight{1, 2, 3};
  write_safetensors(folder_ / "good", {{"k", "v"}}, {{"w", StoredType::F32, {3}, bytes_of(weight)}});
  const std::string bytes = read_text(folder_ / "good");
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (const char damage : {'\x01', '\x80', '\xff', '\x10'}) {
      std::string damaged = bytes;
      damaged[place] = static_cast<char>(damaged[place] ^ damage);
      try {
        const SafetensorsFile file(write_raw(damaged));
        for (const std::string& name : file.names()) {
          const StoredTensor& tensor = file.at(name);
          EXPECT_LE(tensor.bytes.size(), 12u);
          unsigned sum = 0;
          for (const std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
          EXPECT_LE(sum, 12u * 255u);
        }
      } catch (const UsageError&) {
      }
    }
  }
}

TEST_F(SafetensorsTest, RefusesLyingOffsets) {
  const auto tensor = [](const std::string& offsets, const std::string& shape = "[2]") {
    return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_NO_THROW(SafetensorsFile{write_header(tensor("[0,8]"), 8)});
  expect_header_refused(tensor("[0,16]"), 8,
                        R"(tensor "w": data_offsets 0 to 16, expected a range inside 0 to 8)");
  expect_header_refused(tensor("[8,0]"), 8, "data_offsets 8 to 0");
  expect_header_refused(tensor("[0,18446744073709551615]"), 8, "data_offsets 0 to 18446744073709551615");
  expect_header_refused(tensor("[18446744073709551608,0]"), 8, "data_offsets 18446744073709551608 to 0");
  expect_header_refused(tensor("[0,99999999999999999999]"), 8, "expected whole numbers from 0");
  expect_header_refused(tensor("[-8,0]"), 8, "negative number -8");
  expect_header_refused(tensor("[0]"), 8, "data_offsets has 1 numbers, expected two");
  expect_header_refused(tensor("[0,4,8]"), 8, "more than two numbers");
  expect_header_refused(tensor("[0.0,8.0]"), 8, "expected whole numbers from 0");
  expect_header_refused(tensor("[0,4]"), 4, "4 bytes, expected 8 for F32 [2]");
  expect_header_refused(tensor("[0,8]"), 12, "tensors end at byte 8 of the data, expected 12");
  expect_header_refused(tensor("[4,12]"), 12, "begins at byte 4, expected 0: there is a hole");
}

TEST_F(SafetensorsTest, RefusesOverlapsAndHoles) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}";
  };
  EXPECT_NO_THROW(SafetensorsFile{write_header(two("[8,16]", "[0,8]"), 16)});
  expect_header_refused(two("[0,8]", "[4,12]"), 12,
                        R"(tensor "b": begins at byte 4, expected 8: it overlaps another)");
  expect_header_refused(two("[0,8]", "[0,8]"), 8, "it overlaps another");
  expect_header_refused(two("[0,8]", "[12,20]"), 20, "begins at byte 12, expected 8: there is a hole");
}

TEST_F(SafetensorsTest, RefusesShapesThatLie) {
  const auto shaped = [](const std::string& shape) {
    return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,0]}})";
  };
  EXPECT_NO_THROW(SafetensorsFile{write_header(shaped("[0]"), 0)});
  expect_header_refused(shaped("[-1]"), 0, R"(tensor "w": shape has negative number -1)");
  expect_header_refused(shaped("[4294967296,4294967296]"), 0, "more bytes than 64 bits count");
  expect_header_refused(shaped("[4611686018427387904]"), 0, "more bytes than 64 bits count");  // × 4 is 2⁶⁴
  expect_header_refused(shaped("[9223372036854775808,0]"), 0, "shape has 9223372036854775808");
  expect_header_refused(shaped("[1.5]"), 0, "shape has number");
  expect_header_refused(shaped("[[2]]"), 0, "shape has a list");
  expect_header_refused(shaped("\"2\""), 0, "shape is text");
  std::string long_shape = "[0";
  for (int i = 0; i < 1000; ++i) long_shape += ",1";
  expect_header_refused(shaped(long_shape + "]"), 0, "more than 64 dimensions");
}

TEST_F(SafetensorsTest, RefusesHeadersOfAnotherForm) {
  const std::string good = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  expect_header_refused("", 0, "does not begin with '{'");
  expect_header_refused("\xef\xbb\xbf{}", 0, "does not begin with '{'");
  expect_header_refused("{", 0, "not valid JSON");
  expect_header_refused("{}x", 0, "not valid JSON");
  expect_header_refused("{}{}", 0, "not valid JSON");
  expect_header_refused(R"({"w)"
                        "\xff"
                        R"(":{)" +
                            good + "}}",
                        1, "not valid JSON in UTF-8");
  expect_header_refused(R"({"w":{)" + good + R"(},"w":{)" + good + "}}", 1, R"("w" occurs twice)");
  expect_header_refused(R"({"w":{)" + good + R"(,"dtype":"U8"}})", 1, "dtype occurs twice");
  expect_header_refused(R"({"w":{"dtype":"U8","shape":[1]}})", 1, "data_offsets is missing");
  expect_header_refused(R"({"w":{)" + good + R"(,"colour":1}})", 1, R"(unknown key "colour")");
  expect_header_refused(R"({"w":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}})", 1,
                        R"(dtype "F8", expected one of F64)");
  expect_header_refused(R"({"w":{"dtype":{},"shape":[1],"data_offsets":[0,1]}})", 1,
                        "dtype is an object, expected text");
  expect_header_refused(R"({"w":[]})", 0, R"("w" is a list, expected an object)");
  expect_header_refused(R"({"w":null})", 0, R"("w" is null, expected an object)");
  expect_header_refused(R"({"__metadata__":{"k":1}})", 0, R"(__metadata__ "k" is number 1, expected text)");
  expect_header_refused(R"({"__metadata__":{"k":"1","k":"2"}})", 0, R"(__metadata__ has "k" twice)");
  expect_header_refused(R"({"__metadata__":{},"__metadata__":{}})", 0, R"("__metadata__" occurs twice)");
  expect_header_refused(R"({"__metadata__":"text"})", 0, R"("__metadata__" is text)");
  expect_header_refused(R"({")" + std::string(100'000, 'n') + R"(":1})", 0, "nnn…\" is number 1");
}

TEST_F(SafetensorsTest, RefusesJsonBombs) {
  const std::size_t depth = 1'000'000;
  expect_header_refused(R"({"w":)" + std::string(depth, '['), 0, R"("w" is a list)");
  expect_header_refused(R"({"w":{"shape":)" + std::string(depth, '['), 0, "shape has a list");
  std::string nested;
  for (std::size_t i = 0; i < depth; ++i) nested += R"({"w":)";
  expect_header_refused(nested, 0, "unknown key");
}

}  // namespace
}  // namespace vretnet::model
