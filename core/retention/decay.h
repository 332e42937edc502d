// Decays, masks and row scales: the only place where γ is made. Everything is computed in double, closed
// forms with expm1/log1p of δ = 1 − γ, and rounded once by whoever uploads it. Positions n, y, x are those of
// the order in which a head reads; a token's row is n / row_width.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ops/ops.h"
#include "core/retention/grid_scale.h"

namespace vretnet::retention {

// δ_i of head i of h: slow 2^(−5−i) (RetNet), fast 2^(−2−4i/h).
enum class DecaySpeed : std::uint8_t { slow, fast };
std::vector<double> decay_complements(int heads, DecaySpeed speed);

// δ of the two steps that distances are made of: from a token to the next one of its line (or, for raster
// decay, of the whole order), and from a line to the next.
struct StepDecays {
  StepDecays(double delta) : place(delta), line(delta) {}  // NOLINT(google-explicit-constructor)
  StepDecays(double of_place, double of_line) : place(of_place), line(of_line) {}
  double place, line;
};
// Those of a head with this δ on a grid of that scale: log γ divided by the steps that stand where there was
// one. Row and manhattan decay have two axes, each with its own. Raster decay has one distance for both and
// takes rows · columns: what was so many lines above is still as far away, and a distance the same part of
// the sequence (as position interpolation does for text, Chen et al. 2023, arXiv 2306.15595); the neighbours
// in its own line move nearer by the factor `rows`.
StepDecays step_decays(ops::DecayKind kind, double delta, const GridScale& scale);

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
  GridScale scale;
  bool operator==(const DecaySpec&) const = default;
};

// D[n, m] by its definition: causal or bidirectional, by any decay. n and m are absolute token positions.
double decay_mask(const ops::RetentionPattern& pattern, const StepDecays& deltas, std::int64_t n,
                  std::int64_t m);
// s_n = Σ_m D[n, m] over the whole image, in closed form.
double row_sum(const ops::RetentionPattern& pattern, const StepDecays& deltas, std::int64_t height,
               std::int64_t n);

// Whether γ alone, of which the recurrent form is made, is enough: not for row decay on a grid whose sides
// are scaled unequally.
bool has_one_gamma(ops::DecayKind kind, const GridScale& scale);

// Host copies of ops::DecayTables, row-major, shapes as there. Empty where the pattern has no use for one.
// On a scaled grid the rows' scale is 1/√(s_n · scale.rows · scale.columns): of so many times the tokens, the
// sum that the head norm sees is what it was.
struct HostDecayTables {
  std::int64_t heads = 0, chunk = 0, tokens = 0;  // heads: those that have tables
  std::vector<double> gamma, mask, xi, zeta, carry, xi_up, zeta_up, row_scale;
};
HostDecayTables make_decay_tables(const DecaySpec& spec);
// 1/√s_n of these tables, [heads, tokens].
std::vector<double> make_row_scales(const DecaySpec& spec);
// The same tables but the row scale, as exponents of γ, which are alike for all heads: each number of a head
// is its γ = 1 − δ to that power, 0 where the exponent is ∞. For decays that are learned; `heads` is 1.
HostDecayTables make_decay_exponents(const DecaySpec& spec);

}  // namespace vretnet::retention
