// Our retention layer with torchscale's weights gives what torchscale's MultiScaleRetention gives.
#include <gtest/gtest.h>

#include "core/layers/retention_mixer.h"
#include "tests/goldens/golden_file.h"
#include "tests/support/pass_bench.h"

namespace vretnet::goldens {
namespace {

struct Form {
  const char* mode;  // torchscale's name
  layers::FormChoice choice;
};
constexpr Form kForms[] = {{"parallel", layers::FormChoice::parallel},
                           {"chunkwise", layers::FormChoice::chunkwise},
                           {"recurrent", layers::FormChoice::recurrent}};

std::vector<double> our_output(const GoldenFile& golden, const nlohmann::json& test, const Machine& machine,
                               layers::FormChoice form) {
  const std::string name = test["name"];
  const std::int64_t width = test["width"], tokens = test["tokens"];
  layers::ParameterTable table;
  layers::RetentionSettings settings;
  settings.width = width;
  settings.value_width = width * test["value_factor"].get<std::int64_t>();
  settings.heads = test["heads"];
  settings.head_norm = ops::HeadNormKind::rms;
  settings.head_norm_epsilon = 0;
  const layers::RetentionMixer mixer(table, name, settings);
  table.lay_out();
  std::vector<double> weights(static_cast<std::size_t>(table.elements()), 0.0);
  for (const layers::NamedTensor& tensor : table.tensors()) {
    const std::vector<double> stored = golden.values(tensor.name);
    EXPECT_EQ(static_cast<std::int64_t>(stored.size()), tensor.shape.elements()) << tensor.name;
    std::copy(stored.begin(), stored.end(), weights.begin() + tensor.offset);
  }

  // Rows of one token, so that a chunk of rows is torchscale's chunk of tokens.
  testing::PassBench bench(
      table, {.dtype = machine.dtype, .form = form, .chunk_rows = test["chunk"].get<std::int64_t>()},
      machine.backend);
  bench.set_weights(weights);
  const Shape shape{2, tokens, width};
  const Allocation x = bench.upload(golden.values(name + ".x"), shape);
  const Allocation residual =
      bench.upload(std::vector<double>(static_cast<std::size_t>(shape.elements()), 0.0), shape);
  std::vector<double> output;
  bench.walk(
      [&](layers::Pass& pass) {
        output = bench.download(pass, mixer.forward(pass, x.view(), residual.view()));
      },
      {.height = tokens, .width = 1});
  return output;
}

class TorchscaleGolden : public ::testing::TestWithParam<Machine> {};

TEST_P(TorchscaleGolden, EveryModeIsOurs) {
  const GoldenFile golden("torchscale");
  const nlohmann::json cases = golden.json("cases");
  EXPECT_EQ(cases.size(), 3u);
  for (const nlohmann::json& test : cases) {
    for (const Form& form : kForms) {
      const std::vector<double> found = our_output(golden, test, GetParam(), form.choice);
      // Its forms are one function too; where it cannot run one, ours still has to give that function.
      for (const std::string mode : test["modes"]) {
        expect_close(found, golden.values(test["name"].get<std::string>() + "." + mode), GetParam().tolerance,
                     std::string("our ") + form.mode + " to its " + mode);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, TorchscaleGolden,
                         ::testing::Values(Machine{"reference", DType::f64, 1e-6},
                                           Machine{"reference", DType::f32, 1e-5},
                                           Machine{"onednn", DType::f32, 1e-5}),
                         name_of_machine);

}  // namespace
}  // namespace vretnet::goldens
