#include "core/retention/rotation.h"

#include <cmath>

#include "core/base/ensure.h"

namespace vretnet::retention {
namespace {

// Appends θ_j = 10000^(−j/(P−1)) of P pairs.
void append_frequencies(std::int64_t pairs, std::vector<double>& frequencies) {
  for (std::int64_t j = 0; j < pairs; ++j) {
    const double exponent = pairs == 1 ? 0 : static_cast<double>(j) / static_cast<double>(pairs - 1);
    frequencies.push_back(std::pow(10000.0, -exponent));
  }
}

}  // namespace

HostRotationTables make_rotation_tables(const RotationSpec& spec) {
  if (spec.position == Position::none) return {};
  ensure(spec.key_width > 0 && spec.key_width % 2 == 0, "keys of {} elements do not make pairs",
         spec.key_width);
  ensure(spec.row_width > 0 && spec.first_token >= 0, "rows of {} tokens, from token {}", spec.row_width,
         spec.first_token);
  HostRotationTables tables;
  const std::int64_t pairs = spec.key_width / 2;
  const std::int64_t y_pairs = spec.position == Position::axial ? spec.key_width / 4 : 0;
  std::vector<double> frequencies;
  append_frequencies(y_pairs, frequencies);
  append_frequencies(pairs - y_pairs, frequencies);
  for (std::int64_t n = spec.first_token; n < spec.first_token + spec.tokens; ++n) {
    const double y = static_cast<double>(n / spec.row_width) / spec.scale.rows,
                 x = static_cast<double>(n % spec.row_width) / spec.scale.columns;
    const double along = spec.position == Position::axial
                             ? x
                             : y * (static_cast<double>(spec.row_width) / spec.scale.columns) + x;
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
      const double angle = (pair < y_pairs ? y : along) * frequencies[pair];
      tables.cosine.push_back(std::cos(angle));
      tables.sine.push_back(std::sin(angle));
    }
  }
  return tables;
}

}  // namespace vretnet::retention
