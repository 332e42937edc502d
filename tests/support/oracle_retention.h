// Retention by its definition, O(N²) and with nothing in common with the library but decay_mask: every pair
// of tokens, states as sums over tokens, gradients as derivatives of these sums. In double, on plain arrays.
#pragma once

#include <cmath>
#include <vector>

#include "core/retention/decay.h"

namespace vretnet::testing {

// Arrays as in ops.h without strides: [batch, tokens, heads, d] and [batch, heads, d_k, d_v]. An empty state
// is 0.
struct RetentionArrays {
  std::vector<double> q, k, v, state_in, d_o, d_state_out;
  std::vector<double> o, state_out, d_q, d_k, d_v, d_state_in;
};

struct RetentionShape {
  ops::RetentionPattern pattern;
  retention::DecaySpeed speed = retention::DecaySpeed::slow;
  std::int64_t batch = 1, heads = 1, height = 1, key_width = 2, value_width = 1;
  bool row_scale = true;

  std::int64_t tokens() const { return height * pattern.row_width; }
  Shape keys() const { return {batch, tokens(), heads, key_width}; }
  Shape values() const { return {batch, tokens(), heads, value_width}; }
  Shape states() const { return {batch, heads, key_width, value_width}; }
};

// Fills o, state_out and, where d_o is given, the gradients.
inline void run_oracle(const RetentionShape& shape, RetentionArrays& arrays) {
  const std::int64_t tokens = shape.tokens(), d_k = shape.key_width, d_v = shape.value_width;
  const bool gradient = !arrays.d_o.empty();
  const auto zeros = [](const Shape& like) { return std::vector<double>(like.elements()); };
  arrays.o = zeros(shape.values());
  arrays.state_out = zeros(shape.states());
  arrays.d_q = arrays.d_k = zeros(shape.keys());
  arrays.d_v = zeros(shape.values());
  arrays.d_state_in = zeros(shape.states());
  if (arrays.state_in.empty()) arrays.state_in = zeros(shape.states());
  if (arrays.d_state_out.empty()) arrays.d_state_out = zeros(shape.states());
  if (arrays.d_o.empty()) arrays.d_o = zeros(shape.values());

  const std::vector<double> deltas = retention::decay_complements(static_cast<int>(shape.heads), shape.speed);
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const auto row = [&](std::vector<double>& array, std::int64_t n, std::int64_t width) {
        return array.data() + ((b * tokens + n) * shape.heads + h) * width;
      };
      const auto state = [&](std::vector<double>& array, std::int64_t i, std::int64_t j) -> double& {
        return array[((b * shape.heads + h) * d_k + i) * d_v + j];
      };
      const auto decay = [&](std::int64_t n, std::int64_t m) {
        return retention::decay_mask(shape.pattern, deltas[h], n, m);
      };
      // The state counts steps: tokens (raster) or rows.
      const bool by_row = shape.pattern.decay == ops::DecayKind::row;
      const auto step = [&](std::int64_t n) { return by_row ? n / shape.pattern.row_width : n; };
      const std::int64_t steps = by_row ? shape.height : tokens;
      const auto power = [&](std::int64_t exponent) { return std::pow(1 - deltas[h], exponent); };

      for (std::int64_t n = 0; n < tokens; ++n) {
        double sum = 0;
        for (std::int64_t m = 0; m < tokens; ++m) sum += decay(n, m);
        const double scale = shape.row_scale ? 1 / std::sqrt(sum) : 1;
        const double *q = row(arrays.q, n, d_k), *d_o = row(arrays.d_o, n, d_v);
        double *o = row(arrays.o, n, d_v), *d_q = row(arrays.d_q, n, d_k);
        for (std::int64_t m = 0; m < tokens; ++m) {
          const double *k = row(arrays.k, m, d_k), *v = row(arrays.v, m, d_v);
          double *d_k_m = row(arrays.d_k, m, d_k), *d_v_m = row(arrays.d_v, m, d_v);
          const double weight = scale * decay(n, m);
          double score = 0, d_score = 0;
          for (std::int64_t i = 0; i < d_k; ++i) score += q[i] * k[i];
          for (std::int64_t j = 0; j < d_v; ++j) d_score += d_o[j] * v[j];
          for (std::int64_t j = 0; j < d_v; ++j) o[j] += weight * score * v[j];
          for (std::int64_t j = 0; j < d_v; ++j) d_v_m[j] += weight * score * d_o[j];
          for (std::int64_t i = 0; i < d_k; ++i) d_q[i] += weight * d_score * k[i];
          for (std::int64_t i = 0; i < d_k; ++i) d_k_m[i] += weight * d_score * q[i];
        }
        if (shape.pattern.bidirectional) continue;
        const double read = scale * power(step(n) + 1), write = power(steps - 1 - step(n));
        const double *k = row(arrays.k, n, d_k), *v = row(arrays.v, n, d_v);
        for (std::int64_t i = 0; i < d_k; ++i) {
          for (std::int64_t j = 0; j < d_v; ++j) {
            o[j] += read * q[i] * state(arrays.state_in, i, j);
            d_q[i] += read * d_o[j] * state(arrays.state_in, i, j);
            state(arrays.d_state_in, i, j) += read * q[i] * d_o[j];
            state(arrays.state_out, i, j) += write * k[i] * v[j];
            row(arrays.d_k, n, d_k)[i] += write * v[j] * state(arrays.d_state_out, i, j);
            row(arrays.d_v, n, d_v)[j] += write * k[i] * state(arrays.d_state_out, i, j);
          }
        }
      }
      for (std::int64_t i = 0; i < d_k; ++i) {
        for (std::int64_t j = 0; j < d_v; ++j) {
          state(arrays.state_out, i, j) += power(steps) * state(arrays.state_in, i, j);
          state(arrays.d_state_in, i, j) += power(steps) * state(arrays.d_state_out, i, j);
        }
      }
    }
  }
  if (!gradient) arrays.d_o.clear();
}

}  // namespace vretnet::testing
