// Arrays of a retention as tensors and tables of a dtype, as the ops want them.
#pragma once

#include <utility>

#include "core/retention/decay.h"
#include "tests/support/oracle_retention.h"
#include "tests/support/test_tensor.h"

namespace vretnet::testing {

template <class T>
class TestTables {
 public:
  explicit TestTables(const retention::DecaySpec& spec, bool row_scale = true) {
    const retention::HostDecayTables host = retention::make_decay_tables(spec);
    const std::int64_t heads = host.heads, chunk = host.chunk;
    tables_.gamma = keep({heads}, host.gamma);
    tables_.mask = keep({heads, chunk, chunk}, host.mask);
    tables_.xi = keep({heads, chunk}, host.xi);
    tables_.zeta = keep({heads, chunk}, host.zeta);
    tables_.carry = keep({heads, 2}, host.carry);
    tables_.xi_up = keep({heads, chunk}, host.xi_up);
    tables_.zeta_up = keep({heads, chunk}, host.zeta_up);
    if (row_scale) tables_.row_scale = keep({heads, host.tokens}, host.row_scale);
  }
  const ops::DecayTables& tables() const { return tables_; }

 private:
  View keep(const Shape& shape, const std::vector<double>& values) {
    if (values.empty()) return {};
    return kept_.emplace_back(shape, Layout{}, values).view();
  }

  std::vector<TestTensor<T>> kept_;
  ops::DecayTables tables_;
};

inline retention::DecaySpec spec_of(const RetentionShape& shape) {
  return {.pattern = shape.pattern,
          .heads = static_cast<int>(shape.heads),
          .speed = shape.speed,
          .height = shape.height,
          .tokens = shape.tokens()};
}

// An op's workspace: exactly the bytes that it asks for.
class TestWorkspace {
 public:
  explicit TestWorkspace(std::size_t bytes) : memory_(bytes / sizeof(Line)), buffer_{memory_.data(), bytes} {
    if (bytes > 0) view_ = View(&buffer_, DType::f64, {static_cast<std::int64_t>(bytes / sizeof(double))});
    for (Line& line : memory_)
      for (double& value : line.values) value = std::numeric_limits<double>::quiet_NaN();
  }
  TestWorkspace(const TestWorkspace&) = delete;
  const View& view() const { return view_; }

 private:
  struct alignas(64) Line {
    double values[8];
  };
  std::vector<Line> memory_;
  Buffer buffer_;
  View view_;
};

inline bool has_state(const RetentionShape& shape) {
  return !shape.pattern.bidirectional;
}

inline RetentionArrays random_arrays(Random& random, const RetentionShape& shape, bool with_states) {
  RetentionArrays arrays;
  arrays.q = random_values(random, shape.keys());
  arrays.k = random_values(random, shape.keys());
  arrays.v = random_values(random, shape.values());
  arrays.d_o = random_values(random, shape.values());
  if (with_states && has_state(shape)) {
    arrays.state_in = random_values(random, shape.states());
    arrays.d_state_out = random_values(random, shape.states());
  }
  return arrays;
}

}  // namespace vretnet::testing
