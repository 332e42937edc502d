#include "core/retention/decay.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "core/base/ensure.h"

namespace vretnet::retention {
namespace {

using ops::DecayKind;
using ops::RetentionForm;
using ops::RetentionPattern;

// γ^k. Through δ: for small δ the double nearest to γ has lost most of δ's digits.
double power(double delta, std::int64_t k) {
  return std::exp(static_cast<double>(k) * std::log1p(-delta));
}

// The steps between n and m that D[n, m] is made of.
struct Distance {
  std::int64_t places = 0, lines = 0;
};
// None where D[n, m] = 0.
std::optional<Distance> distance(const RetentionPattern& pattern, std::int64_t n, std::int64_t m) {
  if (pattern.decay == DecayKind::raster) {
    if (n < m && !pattern.bidirectional) return {};
    return Distance{.places = std::abs(n - m)};
  }
  const std::int64_t width = pattern.row_width, lines = n / width - m / width;
  if (pattern.decay == DecayKind::manhattan)
    return Distance{std::abs(n % width - m % width), std::abs(lines)};
  if (lines == 0) return Distance{.places = std::abs(n - m)};
  if (lines < 0 && !pattern.bidirectional) return {};
  return Distance{.lines = std::abs(lines)};
}

// δ of one of `steps` equal steps that together decay as one of δ does; below 1, however few they are.
double part_of_step(double delta, double steps) {
  return steps == 1 ? delta : std::min(-std::expm1(std::log1p(-delta) / steps), 1 - 0x1p-53);
}

// γ^0 … γ^most.
std::vector<double> powers_of(double delta, std::int64_t most) {
  std::vector<double> powers;
  for (std::int64_t k = 0; k <= most; ++k) powers.push_back(power(delta, k));
  return powers;
}

// E(a) = γ + … + γ^a.
double one_sided_sum(double delta, std::int64_t a) {
  return -(1 - delta) * std::expm1(static_cast<double>(a) * std::log1p(-delta)) / delta;
}

// T_L(a): what place a of a line of L places sees in both directions, itself included.
double two_sided_sum(double delta, std::int64_t length, std::int64_t a) {
  return 1 + one_sided_sum(delta, a) + one_sided_sum(delta, length - 1 - a);
}

void check_spec(const DecaySpec& spec) {
  const RetentionPattern& pattern = spec.pattern;
  ensure(spec.heads > 0 && spec.tokens > 0 && spec.first_token >= 0, "{} heads, tokens {}+{}", spec.heads,
         spec.first_token, spec.tokens);
  ensure(spec.first_head >= 0 && spec.first_head < spec.heads && spec.head_step > 0,
         "head {} of {}, then every {}", spec.first_head, spec.heads, spec.head_step);
  ensure(pattern.form != RetentionForm::chunkwise || pattern.chunk > 0, "chunks of {} tokens", pattern.chunk);
  if (pattern.decay != DecayKind::raster) {
    const std::int64_t width = pattern.row_width;
    ensure(width > 0 && spec.first_token % width == 0 && spec.tokens % width == 0,
           "a decay by rows takes whole rows: tokens {}+{} in rows of {}", spec.first_token, spec.tokens,
           width);
    ensure(pattern.form != RetentionForm::chunkwise || pattern.chunk % width == 0,
           "row decay takes chunks of whole rows: {} tokens in rows of {}", pattern.chunk, width);
  }
  ensure(pattern.decay != DecayKind::manhattan ||
             (pattern.bidirectional && pattern.form == RetentionForm::parallel),
         "manhattan decay is bidirectional and parallel, not form {}", static_cast<int>(pattern.form));
  ensure(pattern.form != RetentionForm::recurrent || has_one_gamma(pattern.decay, spec.scale),
         "the recurrent form has one γ, not the two of a grid scaled by {} × {}", spec.scale.rows,
         spec.scale.columns);
  if (pattern.bidirectional) {
    ensure(spec.first_token == 0 && spec.tokens == spec.height * pattern.row_width,
           "a bidirectional call sees all tokens: {}+{} of {} rows of {}", spec.first_token, spec.tokens,
           spec.height, pattern.row_width);
  }
}

// So many steps of the grid decay as one of γ does.
struct StepsForOne {
  double places, lines;
};
StepsForOne steps_for_one(DecayKind kind, const GridScale& scale) {
  ensure(scale.rows > 0 && scale.columns > 0, "a grid scaled by {} × {}", scale.rows, scale.columns);
  if (kind == DecayKind::raster) return {scale.rows * scale.columns, scale.rows * scale.columns};
  return {scale.columns, scale.rows};
}

// B of the spec's tables; 0: none but γ.
std::int64_t chunk_of(const DecaySpec& spec) {
  if (spec.pattern.form == RetentionForm::recurrent) return 0;
  return spec.pattern.form == RetentionForm::parallel ? spec.tokens : spec.pattern.chunk;
}

// Appends the chunk tables of one head: D_B, ξ, ζ, c, and ξ', ζ' for chunks of B tokens, as numbers of the
// distance that each stands for; `unseen` is the one of what D leaves out. The steps of a state are tokens
// (raster) or rows: `step` is the step of token j within its chunk.
template <class NumberOf>
void append_chunk_tables(const DecaySpec& spec, const NumberOf& number_of, double unseen,
                         HostDecayTables& tables) {
  const RetentionPattern& pattern = spec.pattern;
  const bool by_row = pattern.decay == DecayKind::row;
  const auto number_of_steps = [&](std::int64_t count) {
    return number_of(by_row ? Distance{.lines = count} : Distance{.places = count});
  };
  const std::int64_t step_tokens = by_row ? pattern.row_width : 1;
  const std::int64_t steps = tables.chunk / step_tokens;
  const std::int64_t last_tokens = (spec.tokens - 1) % tables.chunk + 1;
  const bool has_state_down = !pattern.bidirectional || pattern.form == RetentionForm::chunkwise;
  const bool has_state_up = pattern.bidirectional && pattern.form == RetentionForm::chunkwise;
  for (std::int64_t j = 0; j < tables.chunk; ++j) {
    for (std::int64_t l = 0; l < tables.chunk; ++l) {
      const std::optional<Distance> steps_between = distance(pattern, j, l);
      tables.mask.push_back(steps_between ? number_of(*steps_between) : unseen);
    }
    const std::int64_t step = j / step_tokens;
    if (has_state_down) {
      tables.xi.push_back(number_of_steps(step + 1));
      tables.zeta.push_back(number_of_steps(steps - 1 - step));
    }
    if (has_state_up) {
      tables.xi_up.push_back(number_of_steps(steps - step));
      tables.zeta_up.push_back(number_of_steps(step));
    }
  }
  if (has_state_down) {
    tables.carry.push_back(number_of_steps(steps));
    tables.carry.push_back(number_of_steps(last_tokens / step_tokens));
  }
}

}  // namespace

std::vector<double> decay_complements(int heads, DecaySpeed speed) {
  std::vector<double> deltas;
  for (int head = 0; head < heads; ++head)
    deltas.push_back(std::exp2(speed == DecaySpeed::slow ? -5.0 - head : -2.0 - 4.0 * head / heads));
  return deltas;
}

StepDecays step_decays(DecayKind kind, double delta, const GridScale& scale) {
  const StepsForOne steps = steps_for_one(kind, scale);
  return {part_of_step(delta, steps.places), part_of_step(delta, steps.lines)};
}

bool has_one_gamma(DecayKind kind, const GridScale& scale) {
  return kind != DecayKind::row || scale.rows == scale.columns;
}

double decay_mask(const RetentionPattern& pattern, const StepDecays& deltas, std::int64_t n, std::int64_t m) {
  const std::optional<Distance> steps = distance(pattern, n, m);
  return steps ? power(deltas.place, steps->places) * power(deltas.line, steps->lines) : 0;
}

double row_sum(const RetentionPattern& pattern, const StepDecays& deltas, std::int64_t height,
               std::int64_t n) {
  const std::int64_t width = pattern.row_width;
  if (pattern.decay == DecayKind::raster) {
    return pattern.bidirectional ? two_sided_sum(deltas.place, height * width, n)
                                 : 1 + one_sided_sum(deltas.place, n);
  }
  const std::int64_t y = n / width, x = n % width;
  if (pattern.decay == DecayKind::manhattan)
    return two_sided_sum(deltas.place, width, x) * two_sided_sum(deltas.line, height, y);
  const double earlier_rows = one_sided_sum(deltas.line, y);
  const double later_rows = pattern.bidirectional ? one_sided_sum(deltas.line, height - 1 - y) : 0;
  return two_sided_sum(deltas.place, width, x) + static_cast<double>(width) * (earlier_rows + later_rows);
}

std::vector<double> make_row_scales(const DecaySpec& spec) {
  check_spec(spec);
  std::vector<double> scales;
  const std::vector<double> deltas = decay_complements(spec.heads, spec.speed);
  for (int head = spec.first_head; head < spec.heads; head += spec.head_step) {
    const StepDecays steps = step_decays(spec.pattern.decay, deltas[head], spec.scale);
    for (std::int64_t t = 0; t < spec.tokens; ++t) {
      const double sum = row_sum(spec.pattern, steps, spec.height, spec.first_token + t);
      scales.push_back(1 / std::sqrt(sum * spec.scale.rows * spec.scale.columns));
    }
  }
  return scales;
}

HostDecayTables make_decay_tables(const DecaySpec& spec) {
  HostDecayTables tables{.chunk = chunk_of(spec), .tokens = spec.tokens, .row_scale = make_row_scales(spec)};
  const std::vector<double> deltas = decay_complements(spec.heads, spec.speed);
  for (int head = spec.first_head; head < spec.heads; head += spec.head_step) {
    const StepDecays steps = step_decays(spec.pattern.decay, deltas[head], spec.scale);
    ++tables.heads;
    tables.gamma.push_back(1 - steps.place);
    if (tables.chunk == 0) continue;
    // Every entry is made of these.
    const std::vector<double> place_powers = powers_of(steps.place, tables.chunk),
                              line_powers = powers_of(steps.line, tables.chunk);
    append_chunk_tables(
        spec, [&](const Distance& by) { return place_powers[by.places] * line_powers[by.lines]; }, 0, tables);
  }
  return tables;
}

HostDecayTables make_decay_exponents(const DecaySpec& spec) {
  check_spec(spec);
  HostDecayTables tables{.heads = 1, .chunk = chunk_of(spec), .tokens = spec.tokens};
  const StepsForOne one = steps_for_one(spec.pattern.decay, spec.scale);
  const auto exponent = [&](const Distance& by) {
    return static_cast<double>(by.places) / one.places + static_cast<double>(by.lines) / one.lines;
  };
  tables.gamma.push_back(exponent({.places = 1}));
  if (tables.chunk > 0) append_chunk_tables(spec, exponent, std::numeric_limits<double>::infinity(), tables);
  return tables;
}

}  // namespace vretnet::retention
