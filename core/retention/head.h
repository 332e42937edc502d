// One head of one sequence: what every form works on. The dispatcher (retention.cc) makes it, loads the
// states, and applies the row scale, so that a form is its equation and nothing else.
#pragma once

#include "core/ops/ops.h"
#include "core/retention/matrix.h"

namespace vretnet::retention {

// ops::DecayTables of one head; null where the op has none.
template <class T>
struct HeadTables {
  T gamma = 0;
  Matrix<const T> mask;
  Weights<T> xi = nullptr, zeta = nullptr, carry = nullptr, xi_up = nullptr, zeta_up = nullptr;
};

// o = (Q Kᵀ ⊙ D) V + ξ ⊙ (Q·state). Causal: `state` goes in and comes out. Bidirectional: its content means
// nothing.
template <class T>
struct Head {
  ops::RetentionPattern pattern;
  HeadTables<T> tables;
  Matrix<const T> q, k, v;  // [tokens, d_k], [tokens, d_k], [tokens, d_v]
  Matrix<T> o;              // [tokens, d_v], overwritten
  Matrix<T> state;          // [d_k, d_v]
  Matrix<T> scratch;        // [d_k, d_v]
};

// d_o is the gradient of o above, without the row scale. Causal: `d_state` goes in as ∂loss/∂state_out and
// comes out as ∂loss/∂state_in; `state` goes in as state_in, what is left in it means nothing. Bidirectional:
// both are scratch.
template <class T>
struct HeadGradient {
  ops::RetentionPattern pattern;
  HeadTables<T> tables;
  Matrix<const T> q, k, v, d_o;
  Matrix<T> d_q, d_k, d_v;   // overwritten
  Matrix<T> state, d_state;  // [d_k, d_v]
  Matrix<T> scratch;         // [d_k, d_v]
};

}  // namespace vretnet::retention
