// The parallel form (Sun et al. 2023, equation 5): O = (Q Kᵀ ⊙ D) V, all pairs of tokens at once. A causal
// call may carry a state: O += ξ ⊙ (Q R), R = Kᵀ(ζ ⊙ V) + c R with ξ, ζ, c of one chunk of all tokens.
#pragma once

#include "core/retention/head.h"

namespace vretnet::retention {

template <class T>
void parallel(const Head<T>& head) {
  const auto& [pattern, tables, q, k, v, o, state, scratch] = head;
  fill(o, 0);
  add_masked_product(o, q, k, tables.mask, v);
  if (pattern.bidirectional) return;
  add_read(o, tables.xi, q, state);
  scale(state, tables.carry[0]);
  add_write(state, k, tables.zeta, v);
}

// dQ = Ret(dO, V, K; D), dK = Ret(V, dO, Q; Dᵀ), dV = Ret(K, Q, dO; Dᵀ) with Ret(A, B, C; D) = (A Bᵀ ⊙ D) C.
template <class T>
void parallel_gradient(const HeadGradient<T>& head) {
  const auto& [pattern, tables, q, k, v, d_o, d_q, d_k, d_v, state, d_state, scratch] = head;
  for (const Matrix<T>& gradient : {d_q, d_k, d_v}) fill(gradient, 0);
  add_masked_product(d_q, d_o, v, tables.mask, k);
  add_masked_product(d_k, v, d_o, tables.mask.transposed(), q);
  add_masked_product(d_v, k, q, tables.mask.transposed(), d_o);
  if (pattern.bidirectional) return;
  add_read(d_q, tables.xi, d_o, state.transposed());
  add_read(d_k, tables.zeta, v, d_state.transposed());
  add_read(d_v, tables.zeta, k, d_state);
  scale(d_state, tables.carry[0]);
  add_write(d_state, q, tables.xi, d_o);
}

}  // namespace vretnet::retention
