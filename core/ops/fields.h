// The views of every op with their names and what the op does to them: said once, for validation, costs,
// decorators and dtype dispatch. `workspace` is no field.
//
//   for_each_field(op, [](const Field& field) { … });
#pragma once

#include <array>
#include <cstdint>

#include "core/ops/ops.h"

namespace vretnet::ops {

enum class Use : std::uint8_t { read, write, update };  // update: read and written (+=, or in place)

// What a field's numbers are stored in, beside the dtype that the op runs in.
enum class Storage : std::uint8_t {
  own,       // the op's dtype: activations, weights and gradients of activations
  wide,      // wide_of(it): statistics, tables, states, gradients of parameters
  either,    // one of the two
  integers,  // s8, whatever the op's dtype
};

struct Field {
  const char* name;
  const View& view;
  Use use;
  bool optional;
  Storage storage = Storage::own;
};

inline Field in(const char* name, const View& view) {
  return {name, view, Use::read, false};
}
inline Field in_integers(const char* name, const View& view) {
  return {name, view, Use::read, false, Storage::integers};
}
inline Field maybe_in(const char* name, const View& view) {
  return {name, view, Use::read, true};
}
inline Field out(const char* name, const View& view, Write write = Write::overwrite) {
  return {name, view, write == Write::accumulate ? Use::update : Use::write, false};
}
inline Field maybe_out(const char* name, const View& view) {
  return {name, view, Use::write, true};
}
inline Field sum(const char* name, const View& view) {
  return {name, view, Use::update, false};
}
inline Field maybe_sum(const char* name, const View& view) {
  return {name, view, Use::update, true};
}
inline Field wide(const Field& field) {
  return {field.name, field.view, field.use, field.optional, Storage::wide};
}
inline Field either(const Field& field) {
  return {field.name, field.view, field.use, field.optional, Storage::either};
}

template <class Visit>
void visit_fields(const DecayTables& tables, Visit&& visit) {
  for (const Field& field :
       {wide(maybe_in("gamma", tables.gamma)), wide(maybe_in("mask", tables.mask)),
        wide(maybe_in("xi", tables.xi)), wide(maybe_in("zeta", tables.zeta)),
        wide(maybe_in("carry", tables.carry)), wide(maybe_in("xi_up", tables.xi_up)),
        wide(maybe_in("zeta_up", tables.zeta_up)), wide(maybe_in("row_scale", tables.row_scale))}) {
    visit(field);
  }
}

// The fields of each op, in the order of its struct; the first one is always given.
inline auto fields(const Gemm& op) {
  return std::array{in("a", op.a),
                    in("b", op.b),
                    either(out("y", op.y, op.write)),
                    maybe_in("bias", op.bias),
                    maybe_in("residual", op.residual),
                    maybe_out("pre_activation", op.pre_activation)};
}
inline auto fields(const QuantizedGemm& op) {
  return std::array{wide(in("a", op.a)),
                    in_integers("b", op.b),
                    out("y", op.y),
                    in("a_scale", op.a_scale),
                    in("b_scale", op.b_scale),
                    maybe_in("bias", op.bias),
                    maybe_in("residual", op.residual)};
}
inline auto fields(const Convert& op) {
  return std::array{either(in("x", op.x)), either(out("y", op.y, op.write))};
}
inline auto fields(const ColumnSum& op) {
  return std::array{in("x", op.x), wide(sum("y", op.y))};
}
inline auto fields(const Convolution& op) {
  return std::array{in("x", op.x), in("weight", op.weight), maybe_in("bias", op.bias), out("y", op.y)};
}
inline auto fields(const ConvolutionInputGradient& op) {
  return std::array{in("weight", op.weight), in("d_y", op.d_y), out("d_x", op.d_x)};
}
inline auto fields(const ConvolutionWeightGradient& op) {
  return std::array{in("x", op.x), in("d_y", op.d_y), wide(sum("d_weight", op.d_weight)),
                    wide(maybe_sum("d_bias", op.d_bias))};
}
inline auto fields(const Depthwise& op) {
  return std::array{in("x", op.x), in("weight", op.weight), maybe_in("bias", op.bias),
                    maybe_in("residual", op.residual), out("y", op.y, op.write)};
}
inline auto fields(const DepthwiseInputGradient& op) {
  return std::array{in("weight", op.weight), in("d_y", op.d_y), maybe_in("residual", op.residual),
                    out("d_x", op.d_x, op.write)};
}
inline auto fields(const DepthwiseWeightGradient& op) {
  return std::array{in("x", op.x), in("d_y", op.d_y), wide(sum("d_weight", op.d_weight)),
                    wide(maybe_sum("d_bias", op.d_bias))};
}
inline auto fields(const Patches& op) {
  return std::array{in("x", op.x), out("y", op.y)};
}
inline auto fields(const Add& op) {
  return std::array{in("a", op.a), in("b", op.b), out("y", op.y)};
}
inline auto fields(const BroadcastAdd& op) {
  return std::array{in("x", op.x), in("addend", op.addend), out("y", op.y)};
}
inline auto fields(const ScaleSamples& op) {
  return std::array{in("x", op.x), wide(in("scale", op.scale)), maybe_in("residual", op.residual),
                    out("y", op.y)};
}
inline auto fields(const Activation& op) {
  return std::array{in("x", op.x), out("y", op.y)};
}
inline auto fields(const ActivationGradient& op) {
  return std::array{in("x", op.x), in("d_y", op.d_y), out("d_x", op.d_x), maybe_out("y", op.y)};
}
inline auto fields(const Gate& op) {
  return std::array{in("g", op.g), in("x", op.x), out("y", op.y, op.write)};
}
inline auto fields(const GateGradient& op) {
  return std::array{in("g", op.g), in("x", op.x), in("d_y", op.d_y), out("d_g", op.d_g), out("d_x", op.d_x)};
}
inline auto fields(const LayerNorm& op) {
  return std::array{in("x", op.x),
                    in("gain", op.gain),
                    in("bias", op.bias),
                    out("y", op.y),
                    wide(maybe_out("mean", op.mean)),
                    wide(maybe_out("inverse_deviation", op.inverse_deviation))};
}
inline auto fields(const LayerNormGradient& op) {
  return std::array{in("x", op.x),
                    in("gain", op.gain),
                    wide(in("mean", op.mean)),
                    wide(in("inverse_deviation", op.inverse_deviation)),
                    in("d_y", op.d_y),
                    maybe_in("residual", op.residual),
                    out("d_x", op.d_x),
                    wide(sum("d_gain", op.d_gain)),
                    wide(sum("d_bias", op.d_bias))};
}
inline auto fields(const HeadNorm& op) {
  return std::array{in("x", op.x), out("y", op.y)};
}
inline auto fields(const HeadNormGradient& op) {
  return std::array{in("x", op.x), in("d_y", op.d_y), out("d_x", op.d_x)};
}
inline auto fields(const Rotate& op) {
  return std::array{in("x", op.x), wide(in("cosine", op.cosine)), wide(in("sine", op.sine)), out("y", op.y)};
}
inline auto fields(const Retention& op) {
  return std::array{in("q", op.q),
                    in("k", op.k),
                    in("v", op.v),
                    out("o", op.o),
                    wide(maybe_in("state_in", op.state_in)),
                    wide(maybe_out("state_out", op.state_out))};
}
inline auto fields(const RetentionGradient& op) {
  return std::array{in("q", op.q),
                    in("k", op.k),
                    in("v", op.v),
                    in("d_o", op.d_o),
                    wide(maybe_in("state_in", op.state_in)),
                    wide(maybe_in("d_state_out", op.d_state_out)),
                    out("d_q", op.d_q),
                    out("d_k", op.d_k),
                    out("d_v", op.d_v),
                    wide(maybe_out("d_state_in", op.d_state_in))};
}
inline auto fields(const RetentionBlock& op) {
  return std::array{in("q", op.q),
                    in("k", op.k),
                    in("v", op.v),
                    maybe_in("g", op.g),
                    out("y", op.y, op.write),
                    wide(maybe_in("cosine", op.cosine)),
                    wide(maybe_in("sine", op.sine)),
                    wide(maybe_in("state_in", op.state_in)),
                    wide(maybe_out("state_out", op.state_out))};
}
inline auto fields(const RetentionBlockGradient& op) {
  return std::array{in("q", op.q),
                    in("k", op.k),
                    in("v", op.v),
                    maybe_in("g", op.g),
                    in("d_y", op.d_y),
                    out("d_q", op.d_q),
                    out("d_k", op.d_k),
                    out("d_v", op.d_v),
                    maybe_out("d_g", op.d_g),
                    wide(maybe_in("cosine", op.cosine)),
                    wide(maybe_in("sine", op.sine)),
                    wide(maybe_in("decay_derivative", op.decay_derivative)),
                    wide(maybe_sum("d_log_rate", op.d_log_rate))};
}
inline auto fields(const DecayPowers& op) {
  return std::array{wide(in("exponents", op.exponents)), wide(in("log_rate", op.log_rate)),
                    wide(out("y", op.y))};
}
inline auto fields(const HeadDot& op) {
  return std::array{in("a", op.a), in("b", op.b), wide(sum("y", op.y))};
}
inline auto fields(const Attention& op) {
  return std::array{in("q", op.q), in("k", op.k), in("v", op.v), out("o", op.o),
                    wide(maybe_out("log_sum_exp", op.log_sum_exp))};
}
inline auto fields(const AttentionGradient& op) {
  return std::array{in("q", op.q),
                    in("k", op.k),
                    in("v", op.v),
                    in("o", op.o),
                    wide(in("log_sum_exp", op.log_sum_exp)),
                    in("d_o", op.d_o),
                    out("d_q", op.d_q),
                    out("d_k", op.d_k),
                    out("d_v", op.d_v)};
}
inline auto fields(const PoolTokens& op) {
  return std::array{in("x", op.x), either(out("y", op.y, op.write))};
}
inline auto fields(const PoolTokensGradient& op) {
  return std::array{in("d_y", op.d_y), out("d_x", op.d_x)};
}
inline auto fields(const Softmax& op) {
  return std::array{in("x", op.x), out("y", op.y)};
}
inline auto fields(const SoftmaxGradient& op) {
  return std::array{in("y", op.y), in("d_y", op.d_y), out("d_x", op.d_x)};
}
inline auto fields(const CrossEntropy& op) {
  return std::array{wide(in("logits", op.logits)), in("targets", op.targets),
                    maybe_in("class_weight", op.class_weight), out("loss", op.loss),
                    maybe_out("d_logits", op.d_logits)};
}
inline auto fields(const SquaredNorm& op) {
  return std::array{wide(in("x", op.x)), out("y", op.y)};
}
inline auto fields(const AdamW& op) {
  return std::array{
      wide(sum("parameter", op.parameter)), in("gradient", op.gradient),
      sum("first_moment", op.first_moment), sum("second_moment", op.second_moment),
      in("step_scalars", op.step_scalars),  maybe_in("gradient_squared_norm", op.gradient_squared_norm)};
}
inline auto fields(const Lerp& op) {
  return std::array{wide(in("x", op.x)), sum("y", op.y), in("step_scalars", op.step_scalars)};
}

// Calls visit(const Field&) for the fields of an op, given or not, and for its decay tables.
template <class AnOp, class Visit>
void visit_fields_of(const AnOp& op, Visit&& visit) {
  for (const Field& field : fields(op)) visit(field);
  if constexpr (requires { op.tables; }) visit_fields(op.tables, visit);
}
template <class Visit>
void for_each_field(const Op& op, Visit&& visit) {
  std::visit([&](const auto& each) { visit_fields_of(each, visit); }, op);
}

// The dtype that an op runs in: that of its first view.
inline DType dtype_of(const Op& op) {
  return std::visit([](const auto& each) { return fields(each).front().view.dtype(); }, op);
}
// Whether a field may be stored so in an op that runs in `own`.
inline bool allows(const Field& field, DType own) {
  const DType dtype = field.view.dtype();
  if (field.storage == Storage::integers || dtype == DType::s8) {
    return field.storage == Storage::integers && dtype == DType::s8;
  }
  return (field.storage != Storage::wide && dtype == own) ||
         (field.storage != Storage::own && dtype == wide_of(own));
}
// Ops that run in bf16: all but the loss, the optimizer, products of integers and learned decays.
inline bool runs_in_bf16(const Op& op) {
  return std::visit([](const auto& each) { return fields(each).front().storage != Storage::wide; }, op);
}

}  // namespace vretnet::ops
