// The list of a model's learned tensors: names (a contract with checkpoints), shapes, first values, and their
// places in one flat array. Weights, gradients and optimizer moments are flat arrays with this one layout.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor/view.h"

namespace vretnet::layers {

// How a tensor starts. `scale` is the value of constant, the half-width of uniform, the deviation of
// truncated_normal (cut at ±2 deviations), unused by the others. Xavier uniform with gain g on [out, in] is
// uniform with scale g·√(6/(in+out)).
struct Initial {
  enum Kind : std::uint8_t { zeros, constant, uniform, truncated_normal, given } kind = zeros;
  double scale = 0;
  std::vector<double> values{};  // of given: one for each element
};
Initial xavier_uniform(std::int64_t fan_in, std::int64_t fan_out, double gain);
Initial uniform_by_fan_in(
    std::int64_t fan_in);  // ±1/√fan_in, PyTorch's default for linear layers and convolutions

// One tensor of a checkpoint. Weight decay touches weights (rank ≥ 2), never norms, biases, positions, class
// tokens.
struct NamedTensor {
  std::string name;
  Shape shape;
  Initial initial;
  bool decays = true;
  std::int64_t offset = 0;  // elements from the start of the flat array
};

using ParameterId = int;

class ParameterTable {
 public:
  // Adds one tensor and returns how layers refer to it.
  ParameterId add(NamedTensor tensor);
  // Adds tensors [rows_i, columns] that lie one after the other and that layers see as one [Σ rows_i,
  // columns], as Q, K, V and G do for a single GEMM; checkpoints keep the parts under their own names.
  ParameterId add_stacked(std::vector<NamedTensor> parts);
  // Lays the tensors out, decaying ones first, each parameter at a multiple of 16 elements. Call once, after
  // the last add.
  void lay_out();

  // The parameter within a flat array of this layout (weights, gradients or a moment).
  View view(ParameterId id, const View& flat) const;
  std::int64_t elements() const { return elements_; }  // of a flat array, gaps included
  std::int64_t decaying_elements() const {
    return decaying_elements_;
  }                            // the first so many are subject to weight decay
  std::int64_t count() const;  // learned numbers, gaps not counted

  int parameters() const {
    return static_cast<int>(parameters_.size());
  }  // their ids are 0 … parameters() − 1
  const Shape& shape(ParameterId id) const { return parameters_[static_cast<std::size_t>(id)].shape; }
  // The tensors of a parameter, one after the other in a flat array: one, or those of add_stacked.
  std::span<const NamedTensor> parts(ParameterId id) const;

  const std::vector<NamedTensor>& tensors() const { return tensors_; }  // in the order of adding
  const NamedTensor* find(std::string_view name) const;                 // null when there is none

 private:
  struct Parameter {
    int first_tensor, tensor_count;
    Shape shape;
  };
  std::vector<NamedTensor> tensors_;
  std::vector<Parameter> parameters_;
  std::int64_t elements_ = 0, decaying_elements_ = 0;
};

}  // namespace vretnet::layers
