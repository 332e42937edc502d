// Decays and rotations of an image of another size than those trained on: the same functions of the place in
// the image.
#include "core/retention/grid_scale.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/retention/decay.h"
#include "core/retention/rotation.h"
#include "tests/support/retention_pattern.h"

namespace vretnet::retention {
namespace {

using ops::DecayKind;
using ops::RetentionForm;
using ops::RetentionPattern;
using vretnet::testing::pattern_of;

constexpr std::int64_t kRows = 4, kColumns = 3;  // of the grid trained on

// Tokens of the grid trained on, and where they stand in one of `down` times its rows and `along` times its
// columns.
struct Stretched {
  std::int64_t down, along;
  std::int64_t width() const { return kColumns * along; }
  std::int64_t height() const { return kRows * down; }
  std::int64_t place_of(std::int64_t token) const {
    return token / kColumns * down * width() + token % kColumns * along;
  }
  GridScale scale() const { return {static_cast<double>(down), static_cast<double>(along)}; }
};

TEST(GridScale, MasksOfTwoAxesAreWhatTheyWereAtTheSamePlaces) {
  for (const DecayKind decay : {DecayKind::row, DecayKind::manhattan}) {
    for (const bool bidirectional : {false, true}) {
      if (decay == DecayKind::manhattan && !bidirectional) continue;
      for (const Stretched& grid : {Stretched{2, 2}, Stretched{3, 1}, Stretched{1, 2}}) {
        const RetentionPattern before = pattern_of(decay, bidirectional, kColumns),
                               after = pattern_of(decay, bidirectional, grid.width());
        for (const double delta : {0.25, 0x1p-13}) {
          const StepDecays steps = step_decays(decay, delta, grid.scale());
          for (std::int64_t n = 0; n < kRows * kColumns; ++n) {
            for (std::int64_t m = 0; m < kRows * kColumns; ++m) {
              EXPECT_NEAR(decay_mask(after, steps, grid.place_of(n), grid.place_of(m)),
                          decay_mask(before, delta, n, m), 1e-15);
            }
          }
        }
      }
    }
  }
}

// However few steps a grid has left, masks are numbers.
TEST(GridScale, DecaysOfAGridMuchSmallerStayFinite) {
  for (const double ratio : {1.0 / 14, 1.0 / 196, 1e-4}) {
    for (const DecayKind decay : {DecayKind::raster, DecayKind::row, DecayKind::manhattan}) {
      const RetentionPattern pattern = pattern_of(decay, true, kColumns);
      const StepDecays steps = step_decays(decay, 0.25, {ratio, ratio});
      for (std::int64_t n = 0; n < kRows * kColumns; ++n) {
        EXPECT_EQ(decay_mask(pattern, steps, n, n), 1);
        const double far = decay_mask(pattern, steps, n, (n + kColumns) % (kRows * kColumns));
        EXPECT_TRUE(far >= 0 && far < 1) << far;
      }
    }
  }
}

// A distance in the sequence keeps its part of the sequence, and so one in lines its part of the height.
TEST(GridScale, RasterMasksKeepTheirPartOfTheSequence) {
  for (const Stretched& grid : {Stretched{2, 2}, Stretched{3, 2}}) {
    const RetentionPattern before = pattern_of(DecayKind::raster, false, kColumns),
                           after = pattern_of(DecayKind::raster, false, grid.width());
    const StepDecays steps = step_decays(DecayKind::raster, 0.125, grid.scale());
    for (std::int64_t distance = 0; distance < kRows * kColumns; ++distance) {
      EXPECT_NEAR(decay_mask(after, steps, distance * grid.down * grid.along, 0),
                  decay_mask(before, 0.125, distance, 0), 1e-15);
    }
    for (std::int64_t line = 0; line < kRows; ++line) {
      EXPECT_NEAR(decay_mask(after, steps, grid.place_of(line * kColumns), 0),
                  decay_mask(before, 0.125, line * kColumns, 0), 1e-15);
    }
  }
}

TEST(GridScale, OfOneChangesNothing) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row, DecayKind::manhattan}) {
    const StepDecays steps = step_decays(decay, 0x1p-7, {});
    EXPECT_EQ(steps.place, 0x1p-7);
    EXPECT_EQ(steps.line, 0x1p-7);
  }
}

// δ of a step that is a small part of one: where 1 − γ would cancel.
TEST(GridScale, SmallStepsKeepTheirDigits) {
  const double step = step_decays(DecayKind::row, 0x1p-40, {1000, 1}).line;
  EXPECT_NEAR(step, 0x1p-40 / 1000, 1e-11 * 0x1p-40 / 1000);
  EXPECT_EQ(step_decays(DecayKind::row, 0x1p-40, {1000, 1}).place, 0x1p-40);
}

// The closed forms of s_n, and what multiplies a row: of so many times the tokens, the sum is what it was.
TEST(GridScale, RowScalesAreThoseOfTheMask) {
  for (const DecayKind decay : {DecayKind::raster, DecayKind::row, DecayKind::manhattan}) {
    for (const bool bidirectional : {false, true}) {
      if (decay == DecayKind::manhattan && !bidirectional) continue;
      const std::int64_t height = 5, width = 7, tokens = height * width;
      DecaySpec spec{.pattern = pattern_of(decay, bidirectional, width),
                     .heads = 2,
                     .height = height,
                     .tokens = tokens,
                     .scale = {1.25, 0.5}};
      spec.pattern.form = RetentionForm::parallel;
      const HostDecayTables tables = make_decay_tables(spec);
      for (int head = 0; head < 2; ++head) {
        const StepDecays steps = step_decays(decay, decay_complements(2, spec.speed)[head], spec.scale);
        for (std::int64_t n = 0; n < tokens; ++n) {
          double sum = 0;
          for (std::int64_t m = 0; m < tokens; ++m) {
            const double mask = decay_mask(spec.pattern, steps, n, m);
            EXPECT_NEAR(tables.mask[(head * tokens + n) * tokens + m], mask, 1e-15);
            sum += mask;
          }
          EXPECT_NEAR(tables.row_scale[head * tokens + n], 1 / std::sqrt(sum * 1.25 * 0.5), 1e-13);
        }
      }
    }
  }
}

// Whole lines of states and chunks multiply to the mask on a grid scaled unequally, too.
TEST(GridScale, ChunkTablesMultiplyToTheMask) {
  const std::int64_t width = 3, height = 4;
  DecaySpec spec{.pattern = pattern_of(DecayKind::row, false, width),
                 .heads = 1,
                 .speed = DecaySpeed::fast,
                 .height = height,
                 .tokens = width * height,
                 .scale = {2, 0.75}};
  spec.pattern.form = RetentionForm::chunkwise;
  spec.pattern.chunk = width;
  const HostDecayTables tables = make_decay_tables(spec);
  const StepDecays steps = step_decays(DecayKind::row, 0.25, spec.scale);
  for (std::int64_t n = 0; n < spec.tokens; ++n) {
    for (std::int64_t m = 0; m < spec.tokens; ++m) {
      const std::int64_t lines = n / width - m / width;
      double product = lines < 0    ? 0
                       : lines == 0 ? tables.mask[n % width * width + m % width]
                                    : tables.xi[n % width] * tables.zeta[m % width];
      for (std::int64_t between = 1; between < lines; ++between) product *= tables.carry[0];
      EXPECT_NEAR(product, decay_mask(spec.pattern, steps, n, m), 1e-15);
    }
  }
}

TEST(GridScaleDeathTest, TheRecurrentFormHasOneGamma) {
  DecaySpec spec{.pattern = pattern_of(DecayKind::row, false, 3), .heads = 1, .height = 2, .tokens = 6};
  spec.pattern.form = RetentionForm::recurrent;
  spec.scale = {1.5, 1.5};
  EXPECT_NEAR(make_decay_tables(spec).gamma[0], std::pow(31.0 / 32, 1 / 1.5), 1e-15);
  spec.scale.columns = 1;
  EXPECT_FALSE(has_one_gamma(DecayKind::row, spec.scale));
  EXPECT_TRUE(has_one_gamma(DecayKind::raster, spec.scale));
  EXPECT_DEATH(make_decay_tables(spec), "one γ");
}

TEST(GridScale, AnglesAreWhatTheyWereAtTheSamePlaces) {
  for (const Position position : {Position::raster, Position::axial}) {
    for (const Stretched& grid : {Stretched{2, 2}, Stretched{3, 1}, Stretched{1, 2}}) {
      const HostRotationTables before = make_rotation_tables({.position = position,
                                                              .key_width = 10,
                                                              .row_width = kColumns,
                                                              .tokens = kRows * kColumns}),
                               after = make_rotation_tables({.position = position,
                                                             .key_width = 10,
                                                             .row_width = grid.width(),
                                                             .tokens = grid.width() * grid.height(),
                                                             .scale = grid.scale()});
      for (std::int64_t token = 0; token < kRows * kColumns; ++token) {
        for (std::int64_t pair = 0; pair < 5; ++pair) {
          EXPECT_NEAR(after.cosine[grid.place_of(token) * 5 + pair], before.cosine[token * 5 + pair], 1e-14);
          EXPECT_NEAR(after.sine[grid.place_of(token) * 5 + pair], before.sine[token * 5 + pair], 1e-14);
        }
      }
    }
  }
}

// Between the places of the old grid an angle is what lies between: half a line down at twice the rows.
TEST(GridScale, AnglesBetweenThePlacesAreInBetween) {
  const HostRotationTables axial = make_rotation_tables(
      {.position = Position::axial, .key_width = 4, .row_width = 6, .tokens = 24, .scale = {2, 1.5}});
  EXPECT_NEAR(axial.cosine[(6 + 1) * 2], std::cos(0.5), 1e-15);
  EXPECT_NEAR(axial.cosine[(6 + 1) * 2 + 1], std::cos(1 / 1.5), 1e-15);
}

}  // namespace
}  // namespace vretnet::retention
