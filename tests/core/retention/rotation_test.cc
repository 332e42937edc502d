#include "core/retention/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vretnet::retention {
namespace {

void expect_angle(const HostRotationTables& tables, std::int64_t pairs, std::int64_t token, std::int64_t pair,
                  double angle) {
  EXPECT_NEAR(tables.cosine[token * pairs + pair], std::cos(angle), 1e-15) << token << " " << pair;
  EXPECT_NEAR(tables.sine[token * pairs + pair], std::sin(angle), 1e-15) << token << " " << pair;
}

TEST(Rotation, RasterTurnsByTheToken) {
  const HostRotationTables tables = make_rotation_tables(
      {.position = Position::raster, .key_width = 6, .row_width = 4, .first_token = 5, .tokens = 3});
  ASSERT_EQ(tables.cosine.size(), 9u);
  const double frequencies[] = {1, 0.01, 0.0001};  // 10000^(−j/2)
  for (std::int64_t token = 0; token < 3; ++token)
    for (std::int64_t j = 0; j < 3; ++j)
      expect_angle(tables, 3, token, j, static_cast<double>(token + 5) * frequencies[j]);
}

// d_k = 10: two pairs by the row, three by the place in it, each group with its own frequencies.
TEST(Rotation, AxialTurnsByRowAndPlace) {
  const HostRotationTables tables = make_rotation_tables(
      {.position = Position::axial, .key_width = 10, .row_width = 3, .first_token = 4, .tokens = 6});
  ASSERT_EQ(tables.sine.size(), 30u);
  for (std::int64_t token = 0; token < 6; ++token) {
    const double y = static_cast<double>((token + 4) / 3), x = static_cast<double>((token + 4) % 3);
    expect_angle(tables, 5, token, 0, y);
    expect_angle(tables, 5, token, 1, y * 1e-4);
    expect_angle(tables, 5, token, 2, x);
    expect_angle(tables, 5, token, 3, x * 0.01);
    expect_angle(tables, 5, token, 4, x * 1e-4);
  }
}

TEST(Rotation, OnePairTurnsByOne) {
  for (const Position position : {Position::raster, Position::axial}) {
    const HostRotationTables tables =
        make_rotation_tables({.position = position, .key_width = 2, .row_width = 100, .tokens = 3});
    ASSERT_EQ(tables.cosine.size(), 3u);
    for (std::int64_t token = 0; token < 3; ++token)
      expect_angle(tables, 1, token, 0, static_cast<double>(token));
  }
}

TEST(Rotation, NoneHasNoTables) {
  const HostRotationTables tables = make_rotation_tables({.position = Position::none, .tokens = 4});
  EXPECT_TRUE(tables.cosine.empty() && tables.sine.empty());
}

// In f32 the angle of a late token alone is off by more than this cosine's error.
TEST(Rotation, LateTokensKeepTheirAngles) {
  const HostRotationTables tables = make_rotation_tables(
      {.position = Position::raster, .key_width = 8, .row_width = 256, .first_token = 65535, .tokens = 1});
  const long double angle = 65535.0L * std::pow(10000.0L, -1.0L / 3.0L);
  EXPECT_NEAR(tables.cosine[1], static_cast<double>(std::cos(angle)), 1e-11);
}

TEST(RotationDeathTest, KeysArePairs) {
  EXPECT_DEATH(make_rotation_tables({.position = Position::raster, .key_width = 3, .tokens = 1}), "pairs");
}

}  // namespace
}  // namespace vretnet::retention
