#include "core/retention/decay.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/retention_pattern.h"

namespace vretnet::retention {
namespace {

using ops::DecayKind;
using ops::RetentionForm;
using ops::RetentionPattern;
using vretnet::testing::pattern_of;

// D[n, m] as MODEL.md's table of scan and decay has it, by repeated multiplication.
double mask_by_definition(const RetentionPattern& pattern, double delta, std::int64_t n, std::int64_t m) {
  const std::int64_t width = pattern.row_width;
  const std::int64_t d_y = std::abs(n / width - m / width), d_x = std::abs(n % width - m % width);
  std::int64_t distance;
  if (pattern.decay == DecayKind::raster) {
    if (m > n && !pattern.bidirectional) return 0;
    distance = std::abs(n - m);
  } else if (pattern.decay == DecayKind::manhattan) {
    distance = d_x + d_y;
  } else {
    if (m / width > n / width && !pattern.bidirectional) return 0;
    distance = d_y == 0 ? d_x : d_y;
  }
  long double product = 1;
  for (std::int64_t i = 0; i < distance; ++i) product *= 1 - static_cast<long double>(delta);
  return static_cast<double>(product);
}

TEST(Decay, ComplementsOfHeads) {
  EXPECT_EQ(decay_complements(3, DecaySpeed::slow), (std::vector<double>{1.0 / 32, 1.0 / 64, 1.0 / 128}));
  EXPECT_EQ(decay_complements(2, DecaySpeed::fast), (std::vector<double>{0.25, 0.0625}));
  EXPECT_EQ(decay_complements(4, DecaySpeed::fast), (std::vector<double>{0.25, 0.125, 0.0625, 0.03125}));
}

TEST(Decay, MasksAndRowSumsFollowTheirDefinition) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row, DecayKind::manhattan}) {
    for (const bool bidirectional : {false, true}) {
      if (decay == DecayKind::manhattan && !bidirectional) continue;
      for (const auto& [height, width] : {std::pair{1, 1}, {1, 7}, {5, 1}, {4, 6}, {7, 3}}) {
        for (const double delta : {0.25, 0.0312, 0x1p-13, 0x1p-40}) {
          const RetentionPattern pattern = pattern_of(decay, bidirectional, width);
          for (std::int64_t n = 0; n < height * width; ++n) {
            double sum = 0;
            for (std::int64_t m = 0; m < height * width; ++m) {
              const double expected = mask_by_definition(pattern, delta, n, m);
              EXPECT_NEAR(decay_mask(pattern, delta, n, m), expected, 1e-15);
              sum += expected;
            }
            EXPECT_NEAR(row_sum(pattern, delta, height, n), sum, 1e-14 * sum);
          }
        }
      }
    }
  }
}

// Where γ^n − 1 cancels: the sums keep all digits for any δ and any length.
TEST(Decay, RowSumsKeepTheirDigits) {
  const std::int64_t tokens = 1'000'000;
  for (const double delta : {0x1p-5, 0x1p-16, 0x1p-24, 0x1p-40, 0x1p-52}) {
    long double sum = 0, power = 1;
    for (std::int64_t k = 0; k < tokens; ++k, power *= 1 - static_cast<long double>(delta)) sum += power;
    const double causal = row_sum(pattern_of(DecayKind::raster, false, 1), delta, tokens, tokens - 1);
    EXPECT_NEAR(causal, static_cast<double>(sum), 1e-13 * static_cast<double>(sum)) << delta;
    const double first = row_sum(pattern_of(DecayKind::raster, true, 1), delta, tokens, 0);
    EXPECT_NEAR(first, static_cast<double>(sum), 1e-13 * static_cast<double>(sum)) << delta;
    // By rows: the same sum, and the first token of a one-token row counts once.
    const double rows = row_sum(pattern_of(DecayKind::row, false, 1), delta, tokens, tokens - 1);
    EXPECT_NEAR(rows, static_cast<double>(sum), 1e-13 * static_cast<double>(sum)) << delta;
  }
}

// ξ_j ζ'_l … must multiply to the mask across chunks: the product rule of decays, for full and short chunks.
TEST(Decay, ChunkTablesMultiplyToTheMask) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    for (const bool bidirectional : {false, true}) {
      for (const std::int64_t chunk : {3, 6, 9, 12, 18}) {
        const std::int64_t width = 3, height = 5, tokens = width * height;
        RetentionPattern pattern = pattern_of(decay, bidirectional, width);
        pattern.form = RetentionForm::chunkwise;
        pattern.chunk = chunk;
        const DecaySpec spec{
            .pattern = pattern, .heads = 2, .speed = DecaySpeed::fast, .height = height, .tokens = tokens};
        const HostDecayTables tables = make_decay_tables(spec);
        ASSERT_EQ(tables.chunk, chunk);
        ASSERT_EQ(tables.mask.size(), 2 * chunk * chunk);
        ASSERT_EQ(tables.carry.size(), 4u);
        ASSERT_EQ(tables.xi_up.size(), bidirectional ? 2 * chunk : 0);
        const std::int64_t chunks = (tokens + chunk - 1) / chunk;
        for (std::int64_t head = 0; head < 2; ++head) {
          const double delta = decay_complements(2, spec.speed)[head];
          for (std::int64_t n = 0; n < tokens; ++n) {
            for (std::int64_t m = 0; m < tokens; ++m) {
              const std::int64_t i = n / chunk, l = m / chunk;  // the chunks of n and m
              const auto missing = [&](std::int64_t of) {
                return chunk - std::min(chunk, tokens - of * chunk);
              };
              const auto at = [&](const std::vector<double>& table, std::int64_t place) {
                return table[head * chunk + place];
              };
              const auto carry = [&](std::int64_t of) {
                return tables.carry[head * 2 + (of == chunks - 1 ? 1 : 0)];
              };
              double product = i == l ? tables.mask[(head * chunk + n % chunk) * chunk + m % chunk] : 0;
              if (l < i) {
                product = at(tables.xi, n % chunk) * at(tables.zeta, missing(l) + m % chunk);
                for (std::int64_t between = l + 1; between < i; ++between) product *= carry(between);
              } else if (l > i && bidirectional) {
                product = at(tables.xi_up, missing(i) + n % chunk) * at(tables.zeta_up, m % chunk);
                for (std::int64_t between = i + 1; between < l; ++between) product *= carry(between);
              }
              EXPECT_NEAR(product, mask_by_definition(pattern, delta, n, m), 1e-15);
            }
          }
        }
      }
    }
  }
}

TEST(Decay, TablesHoldWhatTheirFormNeeds) {
  DecaySpec spec{.pattern = pattern_of(DecayKind::raster, true, 4), .heads = 3, .height = 2, .tokens = 8};
  spec.pattern.form = RetentionForm::recurrent;
  HostDecayTables tables = make_decay_tables(spec);
  EXPECT_EQ(tables.gamma, (std::vector<double>{31.0 / 32, 63.0 / 64, 127.0 / 128}));
  EXPECT_EQ(tables.row_scale.size(), 24u);
  EXPECT_TRUE(tables.mask.empty() && tables.xi.empty() && tables.zeta.empty() && tables.carry.empty());

  spec.pattern.form = RetentionForm::parallel;
  tables = make_decay_tables(spec);
  EXPECT_EQ(tables.chunk, 8);
  EXPECT_EQ(tables.mask.size(), 3u * 8 * 8);
  EXPECT_TRUE(tables.xi.empty() && tables.xi_up.empty());

  spec.pattern.bidirectional = false;
  tables = make_decay_tables(spec);
  EXPECT_EQ(tables.xi.size(), 24u);
  EXPECT_TRUE(tables.xi_up.empty());
}

// What learned decays are made of: every number of every table is γ to its exponent.
TEST(Decay, ExponentsMakeTheTables) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row, DecayKind::manhattan}) {
    for (const bool bidirectional : {false, true}) {
      for (const RetentionForm form :
           {RetentionForm::parallel, RetentionForm::chunkwise, RetentionForm::recurrent}) {
        for (const GridScale& scale : {GridScale{}, GridScale{2, 2}, GridScale{1.25, 0.5}}) {
          const bool manhattan = decay == DecayKind::manhattan;
          if (manhattan && (!bidirectional || form != RetentionForm::parallel)) continue;
          if (form == RetentionForm::recurrent && !has_one_gamma(decay, scale)) continue;
          DecaySpec spec{.pattern = pattern_of(decay, bidirectional, 3),
                         .heads = 5,
                         .first_head = 1,
                         .head_step = 2,
                         .speed = DecaySpeed::fast,
                         .height = 4,
                         .tokens = 12,
                         .scale = scale};
          spec.pattern.form = form;
          if (form == RetentionForm::chunkwise) spec.pattern.chunk = 9;
          const HostDecayTables tables = make_decay_tables(spec), exponents = make_decay_exponents(spec);
          EXPECT_EQ(exponents.heads, 1);
          EXPECT_EQ(exponents.chunk, tables.chunk);
          EXPECT_TRUE(exponents.row_scale.empty());
          EXPECT_EQ(make_row_scales(spec), tables.row_scale);
          const std::vector<double> deltas = decay_complements(spec.heads, spec.speed);
          for (const auto table :
               {&HostDecayTables::gamma, &HostDecayTables::mask, &HostDecayTables::xi, &HostDecayTables::zeta,
                &HostDecayTables::carry, &HostDecayTables::xi_up, &HostDecayTables::zeta_up}) {
            const std::vector<double>&numbers = tables.*table, &powers = exponents.*table;
            ASSERT_EQ(numbers.size(), 2 * powers.size());
            for (std::size_t i = 0; i < numbers.size(); ++i) {
              const double delta = deltas[i < powers.size() ? 1 : 3];
              EXPECT_NEAR(numbers[i], std::pow(1 - delta, powers[i % powers.size()]), 1e-15);
            }
          }
        }
      }
    }
  }
}

// A stream's call has the scales of its own tokens.
TEST(Decay, ScalesOfAPieceAreThoseOfTheWhole) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    DecaySpec spec{.pattern = pattern_of(decay, false, 4), .heads = 1, .height = 5, .tokens = 20};
    spec.pattern.form = RetentionForm::recurrent;
    const std::vector<double> whole = make_decay_tables(spec).row_scale;
    spec.first_token = 8;
    spec.tokens = 12;
    EXPECT_EQ(make_decay_tables(spec).row_scale, std::vector<double>(whole.begin() + 8, whole.end()));
  }
}

TEST(DecayDeathTest, RowDecayTakesWholeRows) {
  DecaySpec spec{.pattern = pattern_of(DecayKind::row, false, 4), .heads = 1, .height = 5, .tokens = 18};
  EXPECT_DEATH(make_decay_tables(spec), "whole rows");
  spec.tokens = 20;
  spec.pattern.form = RetentionForm::chunkwise;
  spec.pattern.chunk = 6;
  EXPECT_DEATH(make_decay_tables(spec), "whole rows");
}

}  // namespace
}  // namespace vretnet::retention
