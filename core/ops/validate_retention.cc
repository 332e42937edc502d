#include "core/ops/validate.h"

namespace vretnet::ops {
namespace {

struct RetentionShape {
  std::int64_t batch, tokens, heads, key_width, value_width;
  Shape keys() const { return {batch, tokens, heads, key_width}; }
  Shape values() const { return {batch, tokens, heads, value_width}; }
  Shape state() const { return {batch, heads, key_width, value_width}; }
};

RetentionShape shape_of(const auto& op) {
  expect_rank("a retention's q", op.q, 4);
  expect_rank("a retention's v", op.v, 4);
  const RetentionShape shape{op.q.extent(0), op.q.extent(1), op.q.extent(2), op.q.extent(3), op.v.extent(3)};
  expect_shape("a retention's k", op.k, shape.keys());
  expect_shape("a retention's v", op.v, shape.values());
  return shape;
}

void expect_tables(const DecayTables& tables, const RetentionPattern& pattern, const RetentionShape& shape) {
  const std::int64_t heads = shape.heads, tokens = shape.tokens;
  if (pattern.decay != DecayKind::raster) {
    ensure(pattern.row_width > 0 && tokens % pattern.row_width == 0, "{} tokens in rows of {}", tokens,
           pattern.row_width);
  }
  ensure(pattern.decay != DecayKind::manhattan ||
             (pattern.bidirectional && pattern.form == RetentionForm::parallel),
         "manhattan decay is bidirectional and parallel, not form {}", static_cast<int>(pattern.form));
  expect_shape("a retention's gamma", tables.gamma, {heads});
  expect_shape_if_given("a retention's row_scale", tables.row_scale, {heads, tokens});
  if (pattern.form == RetentionForm::recurrent) return;
  const bool chunkwise = pattern.form == RetentionForm::chunkwise;
  const std::int64_t chunk = chunkwise ? pattern.chunk : tokens;
  ensure(chunk > 0 || shape.batch == 0, "a retention in chunks of {}", chunk);
  ensure(!chunkwise || pattern.decay == DecayKind::raster || chunk % pattern.row_width == 0,
         "chunks of {} tokens for rows of {}", chunk, pattern.row_width);
  expect_shape("a retention's mask", tables.mask, {heads, chunk, chunk});
  if (chunkwise || !pattern.bidirectional) {
    expect_shape("a retention's xi", tables.xi, {heads, chunk});
    expect_shape("a retention's zeta", tables.zeta, {heads, chunk});
    expect_shape("a retention's carry", tables.carry, {heads, 2});
  }
  if (chunkwise && pattern.bidirectional) {
    expect_shape("a retention's xi_up", tables.xi_up, {heads, chunk});
    expect_shape("a retention's zeta_up", tables.zeta_up, {heads, chunk});
  }
}

void expect_state(const char* name, const View& state, const RetentionPattern& pattern,
                  const RetentionShape& shape) {
  if (!state) return;
  ensure(!pattern.bidirectional, "{}: a bidirectional retention has no state", name);
  expect_shape(name, state, shape.state());
}

void expect_block(const auto& op, const RetentionShape& shape) {
  expect_tables(op.tables, op.pattern, shape);
  expect_shape_if_given("a retention block's g", op.g, shape.values());
  ensure(static_cast<bool>(op.cosine) == static_cast<bool>(op.sine), "one of cosine and sine is given ({})",
         static_cast<bool>(op.cosine));
  ensure(!op.cosine || shape.key_width % 2 == 0, "pairs of {} elements", shape.key_width);
  expect_shape_if_given("a retention block's cosine", op.cosine, {shape.tokens, shape.key_width / 2});
  expect_shape_if_given("a retention block's sine", op.sine, {shape.tokens, shape.key_width / 2});
}

}  // namespace

void validate_retention(const Rotate& op) {
  expect_rank("Rotate.x", op.x, 4);
  ensure(op.x.extent(3) % 2 == 0, "Rotate: pairs of {} elements", op.x.extent(3));
  expect_shape("Rotate.y", op.y, op.x.shape());
  expect_shape("Rotate.cosine", op.cosine, {op.x.extent(1), op.x.extent(3) / 2});
  expect_shape("Rotate.sine", op.sine, op.cosine.shape());
}

void validate_retention(const Retention& op) {
  const RetentionShape shape = shape_of(op);
  expect_tables(op.tables, op.pattern, shape);
  expect_shape("Retention.o", op.o, shape.values());
  expect_state("Retention.state_in", op.state_in, op.pattern, shape);
  expect_state("Retention.state_out", op.state_out, op.pattern, shape);
}

void validate_retention(const RetentionGradient& op) {
  const RetentionShape shape = shape_of(op);
  expect_tables(op.tables, op.pattern, shape);
  expect_shape("RetentionGradient.d_o", op.d_o, shape.values());
  expect_shape("RetentionGradient.d_q", op.d_q, shape.keys());
  expect_shape("RetentionGradient.d_k", op.d_k, shape.keys());
  expect_shape("RetentionGradient.d_v", op.d_v, shape.values());
  expect_state("RetentionGradient.state_in", op.state_in, op.pattern, shape);
  expect_state("RetentionGradient.d_state_out", op.d_state_out, op.pattern, shape);
  expect_state("RetentionGradient.d_state_in", op.d_state_in, op.pattern, shape);
}

void validate_retention(const RetentionBlock& op) {
  const RetentionShape shape = shape_of(op);
  expect_block(op, shape);
  expect_shape("RetentionBlock.y", op.y, shape.values());
  expect_state("RetentionBlock.state_in", op.state_in, op.pattern, shape);
  expect_state("RetentionBlock.state_out", op.state_out, op.pattern, shape);
}

void validate_retention(const RetentionBlockGradient& op) {
  const RetentionShape shape = shape_of(op);
  expect_block(op, shape);
  expect_shape("RetentionBlockGradient.d_y", op.d_y, shape.values());
  expect_shape("RetentionBlockGradient.d_q", op.d_q, shape.keys());
  expect_shape("RetentionBlockGradient.d_k", op.d_k, shape.keys());
  expect_shape("RetentionBlockGradient.d_v", op.d_v, shape.values());
  ensure(static_cast<bool>(op.g) == static_cast<bool>(op.d_g), "one of g and d_g is given ({})",
         static_cast<bool>(op.g));
  expect_shape_if_given("RetentionBlockGradient.d_g", op.d_g, shape.values());
  ensure(static_cast<bool>(op.decay_derivative) == static_cast<bool>(op.d_log_rate),
         "one of decay_derivative and d_log_rate is given ({})", static_cast<bool>(op.d_log_rate));
  expect_shape_if_given("RetentionBlockGradient.decay_derivative", op.decay_derivative,
                        {shape.heads, shape.tokens, shape.tokens});
  expect_shape_if_given("RetentionBlockGradient.d_log_rate", op.d_log_rate, {shape.heads, 1});
}

void validate_retention(const DecayPowers& op) {
  expect_rank("DecayPowers.exponents", op.exponents, 1);
  expect_rank("DecayPowers.y", op.y, 2);
  expect_shape("DecayPowers.y", op.y, {op.y.extent(0), op.exponents.extent(0)});
  expect_shape("DecayPowers.log_rate", op.log_rate, {op.y.extent(0), 1});
}

void validate_retention(const HeadDot& op) {
  expect_rank("HeadDot.a", op.a, 4);
  expect_shape("HeadDot.b", op.b, op.a.shape());
  expect_shape("HeadDot.y", op.y, {op.a.extent(2), 1});
}

}  // namespace vretnet::ops
