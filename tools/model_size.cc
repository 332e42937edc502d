#include "tools/model_size.h"

#include <fmt/format.h>

#include <memory>

#include "core/backends/available.h"
#include "core/layers/pass.h"
#include "core/ops/measuring_backend.h"
#include "core/tensor/arena.h"

namespace vretnet::tools {

double forward_flops(const vision::VisionModel& model) {
  const std::unique_ptr<Backend> real = make_backend("reference", 1);
  MeasuringBackend counting(*real);
  layers::TableCache tables(*real, DType::f32);
  Buffer nothing;
  const View weights(&nothing, DType::f32, {model.parameters().elements()});
  layers::Pass pass(counting, model.parameters(), tables, weights, View(), {});
  Arena arena;
  pass.start(arena, {});
  model.forward(pass, View(&nothing, DType::f32, model.input_shape(1)));
  return counting.flops();
}

std::string count_text(double count) {
  if (count >= 1e9) return fmt::format("{:.2f} G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f} M", count / 1e6);
  return fmt::format("{:.0f} k", count / 1e3);
}

}  // namespace vretnet::tools
