// The recurrent form (Sun et al. 2023, equation 6), with nothing but γ: a state that decays by one step,
// takes the step's keys and values, and is read by its queries. A step is a token (raster) or a patch row
// (row decay).
#pragma once

#include "core/retention/head.h"

namespace vretnet::retention {

// The order of a state's step. `inclusive`: a token sees itself, so the state takes it before it is read.
// `decay_last`: γ is applied after the step, as the reversed reading of a causal state asks.
struct StepOrder {
  bool reversed = false, inclusive = false, decay_last = false;
};

// y += what the tokens of a read from a state that runs over the steps of `step_tokens` tokens. With S the
// state and the usual order: S ← γS, y_n += a_n S, S ← S + b_nᵀ c_n.
template <class T>
void run_state(Matrix<T> y, Input<T> a, Input<T> b, Input<T> c, std::type_identity_t<T> gamma,
               std::int64_t step_tokens, StepOrder order, Matrix<T> state) {
  const std::int64_t steps = a.rows / step_tokens;
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t begin = (order.reversed ? steps - 1 - i : i) * step_tokens;
    const auto of_step = [&](auto matrix) { return matrix.row_block(begin, step_tokens); };
    const auto write = [&] { add_write(state, of_step(b), nullptr, of_step(c)); };
    if (!order.decay_last) scale(state, gamma);
    if (order.inclusive) write();
    add_read(of_step(y), nullptr, of_step(a), state);
    if (!order.inclusive) write();
    if (order.decay_last) scale(state, gamma);
  }
}

// y = Ret(a, b, c; D) = (a bᵀ ⊙ D) c, or with Dᵀ where `transposed`. Causal: the state goes in and comes out
// (Dᵀ: it goes in behind the last token and comes out before the first); bidirectional: its content means
// nothing.
//   raster: o_n = q_n S_n, S_n = γ S_{n−1} + k_nᵀ v_n          bidirectional: o_n = q_n (S_n + γ U_{n+1})
//   row:    o_j = q_j (L_j + γ E_{j+1} + γ R_{i−1})            bidirectional: … + γ U_{i+1}
template <class T>
void recur(Matrix<T> y, Input<T> a, Input<T> b, Input<T> c, const ops::RetentionPattern& pattern,
           std::type_identity_t<T> gamma, bool transposed, Matrix<T> state, Matrix<T> scratch) {
  constexpr StepOrder kItselfAndEarlier{.inclusive = true}, kLater{.reversed = true};
  const bool by_row = pattern.decay == ops::DecayKind::row;
  const std::int64_t step_tokens = by_row ? pattern.row_width : 1;
  fill(y, 0);
  for (std::int64_t begin = 0; by_row && begin < a.rows; begin += step_tokens) {  // within a row: L, then E
    const auto of_row = [&](auto matrix) { return matrix.row_block(begin, step_tokens); };
    for (const StepOrder order : {kItselfAndEarlier, kLater}) {
      fill(scratch, 0);
      run_state(of_row(y), of_row(a), of_row(b), of_row(c), gamma, 1, order, scratch);
    }
  }
  if (pattern.bidirectional) fill(state, 0);
  const StepOrder order{.reversed = transposed, .inclusive = !by_row, .decay_last = transposed};
  run_state(y, a, b, c, gamma, step_tokens, order, state);
  if (!pattern.bidirectional) return;
  fill(state, 0);
  run_state(y, a, b, c, gamma, step_tokens, StepOrder{.reversed = !transposed, .decay_last = transposed},
            state);
}

template <class T>
void recurrent(const Head<T>& head) {
  recur(head.o, head.q, head.k, head.v, head.pattern, head.tables.gamma, false, head.state, head.scratch);
}

// Retention's gradients are retentions: dQ = Ret(dO, V, K; D), dK = Ret(V, dO, Q; Dᵀ), dV = Ret(K, Q, dO;
// Dᵀ). The states of the first two are R and ∂loss/∂R seen as d_v × d_k.
template <class T>
void recurrent_gradient(const HeadGradient<T>& head) {
  const auto& [pattern, tables, q, k, v, d_o, d_q, d_k, d_v, state, d_state, scratch] = head;
  recur(d_q, d_o, v, k, pattern, tables.gamma, false, state.transposed(), scratch.transposed());
  copy(state, d_state);
  recur(d_k, v, d_o, q, pattern, tables.gamma, true, state.transposed(), scratch.transposed());
  recur(d_v, k, q, d_o, pattern, tables.gamma, true, d_state, scratch);
}

}  // namespace vretnet::retention
