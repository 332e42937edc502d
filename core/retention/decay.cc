#include "core/retention/decay.h"

#include <cmath>
#include <cstdlib>

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

// The k of D[n, m] = γ^k, or −1 where D[n, m] = 0.
std::int64_t decay_exponent(const RetentionPattern& pattern, std::int64_t n, std::int64_t m) {
  if (pattern.decay == DecayKind::raster) return n < m && !pattern.bidirectional ? -1 : std::abs(n - m);
  const std::int64_t width = pattern.row_width, rows = n / width - m / width;
  if (pattern.decay == DecayKind::manhattan) return std::abs(rows) + std::abs(n % width - m % width);
  if (rows == 0) return std::abs(n - m);
  return rows < 0 && !pattern.bidirectional ? -1 : std::abs(rows);
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
  if (pattern.bidirectional) {
    check(spec.first_token == 0 && spec.tokens == spec.height * pattern.row_width,
          "a bidirectional call sees all tokens: {}+{} of {} rows of {}", spec.first_token, spec.tokens,
          spec.height, pattern.row_width);
  }
}

// Appends the chunk tables of one head: D_B, ξ, ζ, c, and ξ', ζ' for chunks of B tokens. The steps of a state
// are tokens (raster) or rows: `step` is the step of token j within its chunk.
void append_chunk_tables(const DecaySpec& spec, double delta, HostDecayTables& tables) {
  const RetentionPattern& pattern = spec.pattern;
  std::vector<double> powers;  // γ^0 … γ^B: every entry below is one of them
  for (std::int64_t k = 0; k <= tables.chunk; ++k) powers.push_back(power(delta, k));
  const std::int64_t step_tokens = pattern.decay == DecayKind::row ? pattern.row_width : 1;
  const std::int64_t steps = tables.chunk / step_tokens;
  const std::int64_t last_tokens = (spec.tokens - 1) % tables.chunk + 1;
  const bool has_state_down = !pattern.bidirectional || pattern.form == RetentionForm::chunkwise;
  const bool has_state_up = pattern.bidirectional && pattern.form == RetentionForm::chunkwise;
  for (std::int64_t j = 0; j < tables.chunk; ++j) {
    for (std::int64_t l = 0; l < tables.chunk; ++l) {
      const std::int64_t exponent = decay_exponent(pattern, j, l);
      tables.mask.push_back(exponent < 0 ? 0 : powers[exponent]);
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

double decay_mask(const RetentionPattern& pattern, double delta, std::int64_t n, std::int64_t m) {
  const std::int64_t exponent = decay_exponent(pattern, n, m);
  return exponent < 0 ? 0 : power(delta, exponent);
}

double row_sum(const RetentionPattern& pattern, double delta, std::int64_t height, std::int64_t n) {
  const std::int64_t width = pattern.row_width;
  if (pattern.decay == DecayKind::raster) {
    return pattern.bidirectional ? two_sided_sum(delta, height * width, n) : 1 + one_sided_sum(delta, n);
  }
  const std::int64_t y = n / width, x = n % width;
  if (pattern.decay == DecayKind::manhattan)
    return two_sided_sum(delta, width, x) * two_sided_sum(delta, height, y);
  const double earlier_rows = one_sided_sum(delta, y);
  const double later_rows = pattern.bidirectional ? one_sided_sum(delta, height - 1 - y) : 0;
  return two_sided_sum(delta, width, x) + static_cast<double>(width) * (earlier_rows + later_rows);
}

HostDecayTables make_decay_tables(const DecaySpec& spec) {
  check_spec(spec);
  HostDecayTables tables{.tokens = spec.tokens};
  if (spec.pattern.form != RetentionForm::recurrent)
    tables.chunk = spec.pattern.form == RetentionForm::parallel ? spec.tokens : spec.pattern.chunk;
  const std::vector<double> deltas = decay_complements(spec.heads, spec.speed);
  for (int head = spec.first_head; head < spec.heads; head += spec.head_step) {
    const double delta = deltas[head];
    ++tables.heads;
    tables.gamma.push_back(1 - delta);
    if (tables.chunk > 0) append_chunk_tables(spec, delta, tables);
    for (std::int64_t t = 0; t < spec.tokens; ++t)
      tables.row_scale.push_back(1 /
                                 std::sqrt(row_sum(spec.pattern, delta, spec.height, spec.first_token + t)));
  }
  return tables;
}

}  // namespace vretnet::retention
