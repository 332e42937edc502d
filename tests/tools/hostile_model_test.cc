// Model files that lie, are cut, or belong to something else: one clear line that names the file, exit code
// 2, never a crash or a silently wrong model.
#include <cstring>
#include <limits>

#include "core/model/safetensors.h"
#include "tests/tools/support.h"

namespace vretnet::tools {
namespace {

class HostileModelTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    write_photos(1);
    good_ = text_of_file(write_model("good.safetensors"));
    std::uint64_t length = 0;
    std::memcpy(&length, good_.data(), 8);
    header_ = json::parse(good_.substr(8, length));
    data_ = good_.substr(8 + length);
  }

  static std::string file_of(const std::string& header, const std::string& data) {
    const std::uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + data;
  }

  // predict and info refuse these bytes.
  void expect_refused(const std::string& bytes, const std::vector<std::string>& words) {
    write_file(folder_ / "hostile.safetensors", bytes);
    std::vector<std::string> expected = words;
    expected.push_back("hostile.safetensors");
    for (const Arguments& command :
         {Arguments{"info", "hostile.safetensors"},
          Arguments{"predict", "-m", "hostile.safetensors", "photos/ant/00.png"}}) {
      const ProgramResult result = vretnet(command);
      EXPECT_EQ(result.exit_code, 2) << command[0] << ": " << result.err << result.out << " signal "
                                     << result.signal;
      EXPECT_EQ(result.out, "");
      EXPECT_EQ(lines_of(result.err).size(), 1u) << result.err;
      EXPECT_LT(result.err.size(), 700u) << "a message is a line, not a dump";
      EXPECT_LT(result.peak_kib, 512 * 1024);
      for (const std::string& word : expected) EXPECT_THAT(result.err, HasSubstr(word));
    }
  }
  void expect_header_refused(const json& header, const std::vector<std::string>& words) {
    expect_refused(file_of(header.dump(), data_), words);
  }
  // With this text as one of the metadata.
  void expect_metadata_refused(const std::string& key, const std::string& text,
                               const std::vector<std::string>& words) {
    json header = header_;
    header["__metadata__"][key] = text;
    SCOPED_TRACE(key + " " + text);
    expect_header_refused(header, words);
  }

  // The name of the last tensor of the file, and of one in the middle.
  std::string last_tensor() const {
    std::string name;
    std::int64_t end = -1;
    for (const auto& [key, value] : header_.items()) {
      if (key == "__metadata__" || value.at("data_offsets")[1] <= end) continue;
      name = key;
      end = value.at("data_offsets")[1];
    }
    return name;
  }

  std::string good_, data_;
  json header_;
};

TEST_F(HostileModelTest, TheGoodFileIsAccepted) {
  EXPECT_EQ(vretnet({"predict", "-m", "good.safetensors", "photos/ant/00.png"}).exit_code, 0);
  write_file(folder_ / "rewritten.safetensors", file_of(header_.dump(), data_));
  EXPECT_EQ(vretnet({"predict", "-m", "rewritten.safetensors", "photos/ant/00.png"}).exit_code, 0);
}

TEST_F(HostileModelTest, Truncated) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{8}, std::size_t{100},
                                 good_.size() / 2, good_.size() - 1}) {
    SCOPED_TRACE(size);
    expect_refused(good_.substr(0, size), {});
  }
  expect_refused(good_ + "more", {});
}

TEST_F(HostileModelTest, HeadersThatLie) {
  std::string huge = good_;
  const std::uint64_t length = std::uint64_t{1} << 62;
  std::memcpy(huge.data(), &length, 8);
  expect_refused(huge, {});
  expect_refused(file_of("{", data_), {});
  expect_refused(file_of("[1]", data_), {});
  expect_refused(file_of(std::string(1 << 20, '['), data_), {});
  expect_refused(std::string(4096, 'x'), {});
  expect_refused("\x89PNG\r\n\x1a\n", {});
}

// What the metadata say of the model may not cost the memory of such a model.
TEST_F(HostileModelTest, AModelWiderThanItsTensors) {
  json wide = header_;
  json config = json::parse(wide["__metadata__"].at("model").get<std::string>());
  config["width"] = 16384;
  wide["__metadata__"]["model"] = config.dump();
  expect_header_refused(wide, {"expected"});
}

TEST_F(HostileModelTest, Tensors) {
  const std::string name = last_tensor();
  const json tensor = header_.at(name);
  const std::size_t begin = tensor.at("data_offsets")[0], end = tensor.at("data_offsets")[1];

  json missing = header_;
  missing.erase(name);
  expect_refused(file_of(missing.dump(), data_.substr(0, begin)), {name});

  json extra = header_;
  extra["blocks.99.weight"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {end, end + 4}}};
  expect_refused(file_of(extra.dump(), data_ + std::string(4, '\0')), {"blocks.99.weight"});

  json shape = header_;
  shape[name]["shape"] = {std::int64_t(end - begin) / 4, 1, 1};
  expect_header_refused(shape, {name});

  json type = header_;
  type[name]["dtype"] = "I32";
  expect_header_refused(type, {name});

  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::string data = data_;
    std::memcpy(data.data() + begin, &bad, 4);
    expect_refused(file_of(header_.dump(), data), {name});
  }
  json offsets = header_;
  offsets[name]["data_offsets"] = {end, begin};
  expect_header_refused(offsets, {name});
  offsets[name]["data_offsets"] = {"a", "b"};
  expect_header_refused(offsets, {name});
  offsets[name]["data_offsets"] = {begin, std::uint64_t{1} << 63};
  expect_header_refused(offsets, {name});
}

TEST_F(HostileModelTest, MetadataOfWrongTypes) {
  for (const std::string key : {"model", "class_names", "preprocessing"}) {
    for (const std::string text : {"", "{", "5", "null", "\"text\"", "[[]]", "{}", "[1,2,3]", "true"}) {
      expect_metadata_refused(key, text, {});
    }
    json header = header_;
    header["__metadata__"].erase(key);
    expect_header_refused(header, {});
  }
  expect_metadata_refused("version", "999", {"999"});
  json header = header_;
  header["__metadata__"] = 5;
  expect_header_refused(header, {});
  header["__metadata__"] = {{"model", 5}};
  expect_header_refused(header, {});
}

// Every entry of the model's and the preprocessing's JSON, exchanged for values of other types and sizes.
TEST_F(HostileModelTest, EveryEntryOfTheDescription) {
  for (const std::string part : {"model", "preprocessing"}) {
    const json description = json::parse(header_.at("__metadata__").at(part).get<std::string>());
    for (const auto& [key, value] : description.items()) {
      for (const json& wrong : {json(-1), json("nonsense"), json(1e300), json::array({1, "a"}),
                                json::object(), json(nullptr), json(std::int64_t{1} << 62)}) {
        json changed = description;
        changed[key] = wrong;
        json header = header_;
        header["__metadata__"][part] = changed.dump();
        write_file(folder_ / "hostile.safetensors", file_of(header.dump(), data_));
        const ProgramResult result = vretnet({"info", "hostile.safetensors"});
        SCOPED_TRACE(part + "." + key + " = " + wrong.dump());
        if (result.exit_code == 0) {  // a name is any text
          EXPECT_TRUE(wrong == "nonsense" && key == "name") << result.out;
          continue;
        }
        EXPECT_EQ(result.exit_code, 2) << result.err << " signal " << result.signal;
        EXPECT_THAT(result.err, HasSubstr("hostile.safetensors"));
        EXPECT_EQ(lines_of(result.err).size(), 1u) << result.err;
      }
    }
  }
}

TEST_F(HostileModelTest, OtherThingsUnderTheName) {
  expect_error({"info", "photos"}, 2, {"photos"});
  expect_error({"predict", "-m", "photos", "photos/ant/00.png"}, 2, {"photos"});
  expect_error({"info", "nothing.safetensors"}, 2, {"nothing.safetensors"});
  ASSERT_EQ(vretnet(small_recipe("1") + Arguments{"-o", "run", "--val-split", "0", "-b", "2"}).exit_code, 0);
  expect_error({"predict", "-m", "run/last.state.safetensors", "photos/ant/00.png"}, 2,
               {"run/last.state.safetensors"});
}

}  // namespace
}  // namespace vretnet::tools
