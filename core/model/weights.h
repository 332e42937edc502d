// A flat array of a model's parameters on a backend, and its way to and from the host.
#pragma once

#include <cstdint>
#include <vector>

#include "core/layers/parameters.h"
#include "core/ops/backend.h"

namespace vretnet::model {

// First values of every tensor: a function of (seed, place of the tensor in the table) only, where tensors
// whose values are given are not counted, so that a model with them starts as the one without. Gaps are 0.
std::vector<double> initial_values(const layers::ParameterTable& table, std::uint64_t seed);

// Copies between a contiguous view of f32 or f64 and host numbers of either type, rounding once.
template <class Real>
void upload_values(Backend& backend, const View& target, const std::vector<Real>& values);
template <class Real>
std::vector<Real> download_values(Backend& backend, const View& source);

}  // namespace vretnet::model
