// The chunkwise form (Sun et al. 2023, equation 7 as corrected in core/README.md): within chunks of B tokens
// the parallel form, between them a state that runs down, and for bidirectional patterns one that runs up:
//   O_i = ((Q_i K_iᵀ) ⊙ D_B) V_i + ξ ⊙ (Q_i R_{i−1}) + ξ' ⊙ (Q_i U_{i+1})
//   R_i = K_iᵀ(ζ ⊙ V_i) + c R_{i−1},   U_i = K_iᵀ(ζ' ⊙ V_i) + c U_{i+1}
#pragma once

#include <algorithm>

#include "core/retention/head.h"

namespace vretnet::retention {

// Tokens begin … begin + length − 1 and the tables of a chunk of that length (ops::DecayTables).
template <class T>
struct Chunk {
  std::int64_t begin, length;
  Matrix<const T> mask;
  Weights<T> xi, zeta, xi_up, zeta_up;
  T carry;

  template <class U>
  Matrix<U> of(Matrix<U> tokens) const {
    return tokens.row_block(begin, length);
  }
};

template <class T>
Chunk<T> chunk_at(const HeadTables<T>& tables, std::int64_t size, std::int64_t tokens, std::int64_t index) {
  const std::int64_t begin = index * size, length = std::min(size, tokens - begin);
  const std::int64_t missing = size - length;  // of a shorter last chunk
  return {begin,
          length,
          tables.mask.top_left(length),
          tables.xi,
          tables.zeta + missing,
          tables.xi_up ? tables.xi_up + missing : nullptr,
          tables.zeta_up,
          tables.carry[begin + size < tokens ? 0 : 1]};
}

// Calls visit(chunk) from the first chunk to the last, or from the last to the first.
enum class Sweep : std::uint8_t { down, up };
template <class T, class Visit>
void for_each_chunk(Sweep sweep, const HeadTables<T>& tables, std::int64_t size, std::int64_t tokens,
                    const Visit& visit) {
  const std::int64_t chunks = (tokens + size - 1) / size;
  for (std::int64_t i = 0; i < chunks; ++i)
    visit(chunk_at(tables, size, tokens, sweep == Sweep::down ? i : chunks - 1 - i));
}

// state = bᵀ(weights ⊙ c) + carry · state.
template <class T>
void step_state(Matrix<T> state, std::type_identity_t<T> carry, Input<T> b, Weights<T> weights, Input<T> c) {
  scale(state, carry);
  add_write(state, b, weights, c);
}

template <class T>
void chunkwise(const Head<T>& head) {
  const auto& [pattern, tables, q, k, v, o, state, scratch] = head;
  const std::int64_t size = pattern.chunk, tokens = q.rows;
  fill(o, 0);
  if (pattern.bidirectional) fill(state, 0);
  for_each_chunk(Sweep::down, tables, size, tokens, [&](const Chunk<T>& chunk) {
    const auto q_i = chunk.of(q), k_i = chunk.of(k), v_i = chunk.of(v);
    const auto o_i = chunk.of(o);
    add_masked_product(o_i, q_i, k_i, chunk.mask, v_i);
    add_read(o_i, chunk.xi, q_i, state);
    step_state(state, chunk.carry, k_i, chunk.zeta, v_i);
  });
  if (!pattern.bidirectional) return;
  fill(state, 0);
  for_each_chunk(Sweep::up, tables, size, tokens, [&](const Chunk<T>& chunk) {
    add_read(chunk.of(o), chunk.xi_up, chunk.of(q), state);
    step_state(state, chunk.carry, chunk.of(k), chunk.zeta_up, chunk.of(v));
  });
}

// Only q, k, v are needed: dQ asks for R and U, dK and dV for G_i = ∂loss/∂R_i and F_i = ∂loss/∂U_i, so each
// sweep makes the two states of its direction again:
//   G_{i−1} = Q_iᵀ(ξ ⊙ dO_i) + c G_i (up),   F_{i+1} = Q_iᵀ(ξ' ⊙ dO_i) + c F_i (down)
template <class T>
void chunkwise_gradient(const HeadGradient<T>& head) {
  const auto& [pattern, tables, q, k, v, d_o, d_q, d_k, d_v, state, d_state, scratch] = head;
  const bool bidirectional = pattern.bidirectional;
  for (const Matrix<T>& gradient : {d_q, d_k, d_v}) fill(gradient, 0);

  // What a chunk's keys and values gain from the gradient of the state that they write to with `weights`.
  const auto add_from_state_gradient = [&](const Chunk<T>& chunk, Weights<T> weights) {
    add_read(chunk.of(d_k), weights, chunk.of(v), d_state.transposed());
    add_read(chunk.of(d_v), weights, chunk.of(k), d_state);
  };
  if (bidirectional) {
    fill(state, 0);
    fill(d_state, 0);
  }
  for_each_chunk(Sweep::down, tables, pattern.chunk, q.rows, [&](const Chunk<T>& chunk) {
    const auto k_i = chunk.of(k), v_i = chunk.of(v), d_o_i = chunk.of(d_o);
    add_masked_product(chunk.of(d_q), d_o_i, v_i, chunk.mask, k_i);
    add_read(chunk.of(d_q), chunk.xi, d_o_i, state.transposed());
    step_state(state, chunk.carry, k_i, chunk.zeta, v_i);
    if (!bidirectional) return;
    add_from_state_gradient(chunk, chunk.zeta_up);
    step_state(d_state, chunk.carry, chunk.of(q), chunk.xi_up, d_o_i);
  });
  if (bidirectional) {
    fill(state, 0);
    fill(d_state, 0);
  }
  for_each_chunk(Sweep::up, tables, pattern.chunk, q.rows, [&](const Chunk<T>& chunk) {
    const auto q_i = chunk.of(q), k_i = chunk.of(k), v_i = chunk.of(v), d_o_i = chunk.of(d_o);
    add_masked_product(chunk.of(d_k), v_i, d_o_i, chunk.mask.transposed(), q_i);
    add_masked_product(chunk.of(d_v), k_i, q_i, chunk.mask.transposed(), d_o_i);
    add_from_state_gradient(chunk, chunk.zeta);
    step_state(d_state, chunk.carry, q_i, chunk.xi, d_o_i);
    if (!bidirectional) return;
    add_read(chunk.of(d_q), chunk.xi_up, d_o_i, state.transposed());
    step_state(state, chunk.carry, k_i, chunk.zeta_up, v_i);
  });
}

}  // namespace vretnet::retention
