// Decays, masks and row scales: the only place where γ is made. Everything is computed in double, closed
// forms with expm1/log1p of δ = 1 − γ, and rounded once by whoever uploads it. Positions n, y, x are those of
// the order in which a head reads; a token's row is n / row_width.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ops/ops.h"

namespace vretnet::retention {

// δ_i of head i of h: slow 2^(−5−i) (RetNet), fast 2^(−2−4i/h).
enum class DecaySpeed : std::uint8_t { slow, fast };
std::vector<double> decay_complements(int heads, DecaySpeed speed);

// A retention over `height` rows of pattern.row_width tokens, of which one call sees the tokens
// first_token … first_token + tokens − 1 (causal streaming; otherwise all of them). A causal pattern has no
// use for height: streams may be of any length.
struct DecaySpec {
  ops::RetentionPattern pattern;
  int heads = 1;                      // of the layer; their number decides the fast decays
  int first_head = 0, head_step = 1;  // of which these get tables: first_head, first_head + head_step, …
  DecaySpeed speed = DecaySpeed::slow;
  std::int64_t height = 1;
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  bool operator==(const DecaySpec&) const = default;
};

// D[n, m] by its definition: causal or bidirectional, by any decay. n and m are absolute token positions.
double decay_mask(const ops::RetentionPattern& pattern, double delta, std::int64_t n, std::int64_t m);
// s_n = Σ_m D[n, m] over the whole image, in closed form.
double row_sum(const ops::RetentionPattern& pattern, double delta, std::int64_t height, std::int64_t n);

// Host copies of ops::DecayTables, row-major, shapes as there. Empty where the pattern has no use for one.
struct HostDecayTables {
  std::int64_t heads = 0, chunk = 0, tokens = 0;  // heads: those that have tables
  std::vector<double> gamma, mask, xi, zeta, carry, xi_up, zeta_up, row_scale;
};
HostDecayTables make_decay_tables(const DecaySpec& spec);

}  // namespace vretnet::retention
