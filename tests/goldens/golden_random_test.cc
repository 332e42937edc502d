#include "tests/goldens/golden_random.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/goldens/golden_file.h"

namespace vretnet::goldens {
namespace {

class GoldenRandomTest : public ::testing::Test {
 protected:
  std::uint64_t number(const std::string& key) const { return golden_.json(key).get<std::uint64_t>(); }

  const GoldenFile golden_{"random"};
  const model::SafetensorsFile& file_ = golden_.file();
  const std::uint64_t seed_ = golden_.seed();
};

TEST_F(GoldenRandomTest, ParametersAreThoseOfPython) {
  const std::string prefix = "parameter.";
  std::uint64_t place = 0;  // the file lists its parameters sorted
  for (const std::string& name : file_.names()) {
    if (!name.starts_with(prefix)) continue;
    const model::StoredTensor& expected = file_.at(name);
    std::vector<double> doubles(expected.elements());
    std::vector<float> floats(expected.elements());
    fill_parameter<double>(seed_, place, name.substr(prefix.size()), expected.shape, doubles);
    fill_parameter<float>(seed_, place, name.substr(prefix.size()), expected.shape, floats);
    EXPECT_EQ(doubles, golden_.values(name)) << name;
    EXPECT_EQ(std::vector<double>(floats.begin(), floats.end()), doubles) << name;
    ++place;
  }
  EXPECT_EQ(place, 7u);
}

TEST_F(GoldenRandomTest, ImagesLabelsAndTensorsAreThoseOfPython) {
  std::vector<double> images(file_.at("images").elements());
  fill_images<double>(seed_, number("step"), images);
  EXPECT_EQ(images, golden_.values("images"));

  std::vector<double> tensor(file_.at("tensor").elements());
  fill_tensor<double>(seed_, number("tensor"), tensor);
  EXPECT_EQ(tensor, golden_.values("tensor"));

  const model::StoredTensor& expected = file_.at("labels");
  std::vector<std::int64_t> labels(expected.elements());
  std::memcpy(labels.data(), expected.bytes.data(), expected.bytes.size());
  EXPECT_EQ(make_labels(seed_, number("step"), std::int64_t(labels.size()), 10), labels);
}

}  // namespace
}  // namespace vretnet::goldens
