#include "core/retention/decay.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "core/base/check.h"

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
  check(spec.heads > 0 && spec.tokens > 0 && spec.first_token >= 0, "{} heads, tokens {}+{}", spec.heads,
        spec.first_token, spec.tokens);
  check(spec.first_head >= 0 && spec.first_head < spec.heads && spec.head_step > 0,
        "head {} of {}, then every {}", spec.first_head, spec.heads, spec.head_step);
  check(pattern.form != RetentionForm::chunkwise || pattern.chunk > 0, "chunks of {} tokens", pattern.chunk);
  if (pattern.decay != DecayKind::raster) {
    const std::int64_t width = pattern.row_width;
    check(width > 0 && spec.first_token % width == 0 && spec.tokens % width == 0,
          "a decay by rows takes whole rows: tokens {}+{} in rows of {}", spec.first_token, spec.tokens,
          width);
    check(pattern.form != RetentionForm::chunkwise || pattern.chunk % width == 0,
          "row decay takes chunks of whole rows: {} tokens in rows of {}", pattern.chunk, width);
  }
  check(pattern.decay != DecayKind::manhattan ||
            (pattern.bidirectional && pattern.form == RetentionForm::parallel),
        "manhattan decay is bidirectional and parallel, not form {}", static_cast<int>(pattern.form));
  check(pattern.form != RetentionForm::recurrent || has_one_gamma(pattern.decay, spec.scale),
        "the recurrent form has one γ, not the two of a grid scaled by {} × {}", spec.scale.rows,
        spec.scale.columns);
  if (pattern.bidirectional) {
    check(spec.first_token == 0 && spec.tokens == spec.height * pattern.row_width,
          "a bidirectional call sees all tokens: {}+{} of {} rows of {}", spec.first_token, spec.tokens,
          spec.height, pattern.row_width);
  }
}

// Appends the chunk tables of one head: D_B, ξ, ζ, c, and ξ', ζ' for chunks of B tokens. The steps of a state
// are tokens (raster) or rows: `step` is the step of token j within its chunk.
void append_chunk_tables(const DecaySpec& spec, const StepDecays& deltas, HostDecayTables& tables) {
  const RetentionPattern& pattern = spec.pattern;
  // Every entry below is made of these.
  const std::vector<double> place_powers = powers_of(deltas.place, tables.chunk),
                            line_powers = powers_of(deltas.line, tables.chunk);
  const std::vector<double>& powers = pattern.decay == DecayKind::row ? line_powers : place_powers;
  const std::int64_t step_tokens = pattern.decay == DecayKind::row ? pattern.row_width : 1;
  const std::int64_t steps = tables.chunk / step_tokens;
  const std::int64_t last_tokens = (spec.tokens - 1) % tables.chunk + 1;
  const bool has_state_down = !pattern.bidirectional || pattern.form == RetentionForm::chunkwise;
  const bool has_state_up = pattern.bidirectional && pattern.form == RetentionForm::chunkwise;
  for (std::int64_t j = 0; j < tables.chunk; ++j) {
    for (std::int64_t l = 0; l < tables.chunk; ++l) {
      const std::optional<Distance> steps_between = distance(pattern, j, l);
      tables.mask.push_back(
          steps_between ? place_powers[steps_between->places] * line_powers[steps_between->lines] : 0);
    }
    const std::int64_t step = j / step_tokens;
    if (has_state_down) {
      tables.xi.push_back(powers[step + 1]);
      tables.zeta.push_back(powers[steps - 1 - step]);
    }
    if (has_state_up) {
      tables.xi_up.push_back(powers[steps - step]);
      tables.zeta_up.push_back(powers[step]);
    }
  }
  if (has_state_down) {
    tables.carry.push_back(powers[steps]);
    tables.carry.push_back(powers[last_tokens / step_tokens]);
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
  check(scale.rows > 0 && scale.columns > 0, "a grid scaled by {} × {}", scale.rows, scale.columns);
  if (kind == DecayKind::raster) return part_of_step(delta, scale.rows * scale.columns);
  return {part_of_step(delta, scale.columns), part_of_step(delta, scale.rows)};
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

HostDecayTables make_decay_tables(const DecaySpec& spec) {
  check_spec(spec);
  HostDecayTables tables{.tokens = spec.tokens};
  if (spec.pattern.form != RetentionForm::recurrent)
    tables.chunk = spec.pattern.form == RetentionForm::parallel ? spec.tokens : spec.pattern.chunk;
  const std::vector<double> deltas = decay_complements(spec.heads, spec.speed);
  for (int head = spec.first_head; head < spec.heads; head += spec.head_step) {
    const StepDecays steps = step_decays(spec.pattern.decay, deltas[head], spec.scale);
    ++tables.heads;
    tables.gamma.push_back(1 - steps.place);
    if (tables.chunk > 0) append_chunk_tables(spec, steps, tables);
    for (std::int64_t t = 0; t < spec.tokens; ++t) {
      const double sum = row_sum(spec.pattern, steps, spec.height, spec.first_token + t);
      tables.row_scale.push_back(1 / std::sqrt(sum * spec.scale.rows * spec.scale.columns));
    }
  }
  return tables;
}

}  // namespace vretnet::retention
