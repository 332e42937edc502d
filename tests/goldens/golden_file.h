// A file of tests/goldens/data, what its metadata says, and where our numbers stand against its own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model/safetensors.h"
#include "core/tensor/view.h"
#include "tests/support/test_tensor.h"

namespace vretnet::goldens {

inline std::filesystem::path data_folder() {
  return std::filesystem::path(VRETNET_SOURCE_DIR) / "tests/goldens/data";
}

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name) : file_(data_folder() / (name + ".safetensors")) {}

  const model::SafetensorsFile& file() const { return file_; }
  const std::string& text(const std::string& key) const { return file_.metadata().at(key); }
  nlohmann::json json(const std::string& key) const { return nlohmann::json::parse(text(key)); }
  std::uint64_t seed() const { return json("seed").get<std::uint64_t>(); }
  std::vector<double> values(const std::string& tensor) const {
    const model::StoredTensor& stored = file_.at(tensor);
    std::vector<double> values(stored.elements());
    model::read_values<double>(stored, values);
    return values;
  }

 private:
  model::SafetensorsFile file_;
};

// A backend in a dtype. `tolerance` is of a test's own choice and norm.
struct Machine {
  std::string backend;
  DType dtype = DType::f32;
  double tolerance = 0;

  std::string name() const { return backend + "_" + name_of(dtype); }
};

inline std::string name_of_machine(const ::testing::TestParamInfo<Machine>& parameter) {
  return parameter.param.name();
}

// Keeps the worst error of a test for its report (--gtest_output=xml).
inline void record_error(const std::string& what, double error) {
  static double worst = 0;
  static const ::testing::TestInfo* test = nullptr;
  const auto* running = ::testing::UnitTest::GetInstance()->current_test_info();
  if (test == running && error <= worst) return;
  test = running;
  worst = error;
  ::testing::Test::RecordProperty("worst_error", fmt::format("{:.2g}, {}", error, what));
}

// The largest |found − expected| relative to the largest |expected| of the tensor.
inline void expect_close(const std::vector<double>& found, const std::vector<double>& expected,
                         double tolerance, const std::string& what) {
  const double error = testing::worst_relative_error(found, expected);
  EXPECT_LE(error, tolerance) << what;
  record_error(what, error);
}

}  // namespace vretnet::goldens
