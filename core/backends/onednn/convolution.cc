#include "core/backends/onednn/convolution.h"

#include <algorithm>

#include "core/backends/onednn/kernels.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {
namespace {

using dnnl::memory;

// The extents of x (+ weight) = y, whichever of them is asked for.
struct Geometry {
  Geometry(const View& x, const View& weight, const View& y, std::int64_t step, const ops::Padding& padding)
      : batch(x.extent(0)),
        height(x.extent(1)),
        width(x.extent(2)),
        channels_in(x.extent(3)),
        channels_out(y.extent(3)),
        kernel_height(weight.extent(2)),
        kernel_width(weight.extent(3)),
        height_out(y.extent(1)),
        width_out(y.extent(2)),
        stride(step),
        top(padding.top),
        left(padding.left) {}

  memory::desc x() const { return images(channels_in, height, width); }
  memory::desc y() const { return images(channels_out, height_out, width_out); }
  memory::desc bias() const { return {{channels_out}, memory::data_type::f32, memory::format_tag::a}; }
  memory::desc weights(memory::format_tag tag) const {
    return {{channels_out, channels_in, kernel_height, kernel_width}, memory::data_type::f32, tag};
  }
  memory::dims strides() const { return {stride, stride}; }
  memory::dims padding_before() const { return {top, left}; }
  // What the last kernel reaches beyond the image: rows left over by the stride are not read.
  memory::dims padding_after() const {
    return {(height_out - 1) * stride + kernel_height - height - top,
            (width_out - 1) * stride + kernel_width - width - left};
  }
  PrimitiveKey key(PrimitiveKey::Kind kind, bool with_bias) const {
    PrimitiveKey made(kind);
    for (const std::int64_t number : {batch, height, width, channels_in, channels_out, kernel_height,
                                      kernel_width, height_out, width_out, stride, top, left}) {
      made.add(number);
    }
    made.add(with_bias);
    return made;
  }

  std::int64_t batch, height, width, channels_in, channels_out, kernel_height, kernel_width, height_out,
      width_out;
  std::int64_t stride, top, left;

 private:
  memory::desc images(std::int64_t channels, std::int64_t rows, std::int64_t columns) const {
    return {{batch, channels, rows, columns}, memory::data_type::f32, memory::format_tag::nhwc};
  }
};

dnnl::convolution_forward::primitive_desc describe_forward(const Geometry& g, bool with_bias,
                                                           const dnnl::engine& engine) {
  const memory::desc any = g.weights(memory::format_tag::any);
  constexpr auto kKind = dnnl::prop_kind::forward_training;
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  const auto operation =
      with_bias ? dnnl::convolution_forward::desc(kKind, kAlgorithm, g.x(), any, g.bias(), g.y(), g.strides(),
                                                  g.padding_before(), g.padding_after())
                : dnnl::convolution_forward::desc(kKind, kAlgorithm, g.x(), any, g.y(), g.strides(),
                                                  g.padding_before(), g.padding_after());
  return {operation, with_user_scratchpad(), engine};
}

Primitive& forward(const Geometry& g, bool with_bias, Primitives& primitives) {
  return primitives.find(g.key(PrimitiveKey::kConvolution, with_bias), [&] {
    const auto description = describe_forward(g, with_bias, primitives.engine());
    Primitive made = primitives.make<dnnl::convolution_forward>(
        description,
        {{DNNL_ARG_SRC, g.x()}, {DNNL_ARG_WEIGHTS, description.weights_desc()}, {DNNL_ARG_DST, g.y()}});
    if (with_bias) primitives.add_argument(made, DNNL_ARG_BIAS, g.bias());
    made.weights = description.weights_desc();
    return made;
  });
}

Primitive& input_gradient(const Geometry& g, Primitives& primitives) {
  return primitives.find(g.key(PrimitiveKey::kConvolutionInputGradient, false), [&] {
    const dnnl::convolution_backward_data::desc operation(dnnl::algorithm::convolution_direct, g.x(),
                                                          g.weights(memory::format_tag::any), g.y(),
                                                          g.strides(), g.padding_before(), g.padding_after());
    const dnnl::convolution_backward_data::primitive_desc description(
        operation, with_user_scratchpad(), primitives.engine(),
        describe_forward(g, false, primitives.engine()));
    Primitive made = primitives.make<dnnl::convolution_backward_data>(
        description, {{DNNL_ARG_DIFF_SRC, g.x()},
                      {DNNL_ARG_WEIGHTS, description.weights_desc()},
                      {DNNL_ARG_DIFF_DST, g.y()}});
    made.weights = description.weights_desc();
    return made;
  });
}

Primitive& weight_gradient(const Geometry& g, bool with_bias, Primitives& primitives) {
  return primitives.find(g.key(PrimitiveKey::kConvolutionWeightGradient, with_bias), [&] {
    const memory::desc any = g.weights(memory::format_tag::any);
    constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
    const auto operation =
        with_bias
            ? dnnl::convolution_backward_weights::desc(kAlgorithm, g.x(), any, g.bias(), g.y(), g.strides(),
                                                       g.padding_before(), g.padding_after())
            : dnnl::convolution_backward_weights::desc(kAlgorithm, g.x(), any, g.y(), g.strides(),
                                                       g.padding_before(), g.padding_after());
    const dnnl::convolution_backward_weights::primitive_desc description(
        operation, with_user_scratchpad(), primitives.engine(),
        describe_forward(g, with_bias, primitives.engine()));
    Primitive made = primitives.make<dnnl::convolution_backward_weights>(
        description, {{DNNL_ARG_SRC, g.x()},
                      {DNNL_ARG_DIFF_WEIGHTS, description.diff_weights_desc()},
                      {DNNL_ARG_DIFF_DST, g.y()}});
    if (with_bias) primitives.add_argument(made, DNNL_ARG_DIFF_BIAS, g.bias());
    made.weights = description.diff_weights_desc();
    return made;
  });
}

// The view itself where it is contiguous, else room for a contiguous copy.
View contiguous_room(const View& view, ops::Workspace& workspace) {
  return view.contiguous() ? view : workspace.take(view.dtype(), view.shape());
}
void copy_in(const View& from, const View& room) {
  if (!from.contiguous()) run(ops::Convert{.x = from, .y = room});
}
void copy_out(const View& room, const View& to) {
  if (!to.contiguous()) run(ops::Convert{.x = room, .y = to});
}

// The tensors of one call: x, weight and y contiguous, the weight again in oneDNN's layout, one scratchpad
// for both.
struct Room {
  Room(const View& op_x, const View& op_weight, const View& op_y, const Primitive& primitive,
       const Primitive& reorder, ops::Workspace& workspace)
      : x(contiguous_room(op_x, workspace)),
        weight(contiguous_room(op_weight, workspace)),
        y(contiguous_room(op_y, workspace)),
        packed(workspace.take_bytes(primitive.weights.get_size())),
        scratchpad(workspace.take_bytes(std::max(primitive.scratchpad_bytes, reorder.scratchpad_bytes))) {}
  View x, weight, y, packed, scratchpad;
};

Geometry geometry_of(const ops::Convolution& op) {
  return {op.x, op.weight, op.y, op.stride, op.padding};
}
Geometry geometry_of(const ops::ConvolutionInputGradient& op) {
  return {op.d_x, op.weight, op.d_y, op.stride, op.padding};
}
Geometry geometry_of(const ops::ConvolutionWeightGradient& op) {
  return {op.x, op.d_weight, op.d_y, op.stride, op.padding};
}

struct Pair {
  Primitive &primitive, &reorder;
};
Pair find(const ops::Convolution& op, Primitives& primitives) {
  const Geometry g = geometry_of(op);
  const bool with_bias = static_cast<bool>(op.bias);
  Primitive& primitive = forward(g, with_bias, primitives);
  return {primitive,
          primitives.reorder(
              g.key(PrimitiveKey::kConvolutionWeights, with_bias),
              [&] { return g.weights(memory::format_tag::oihw); }, [&] { return primitive.weights; })};
}
Pair find(const ops::ConvolutionInputGradient& op, Primitives& primitives) {
  const Geometry g = geometry_of(op);
  Primitive& primitive = input_gradient(g, primitives);
  return {primitive,
          primitives.reorder(
              g.key(PrimitiveKey::kConvolutionInputGradientWeights, false),
              [&] { return g.weights(memory::format_tag::oihw); }, [&] { return primitive.weights; })};
}
Pair find(const ops::ConvolutionWeightGradient& op, Primitives& primitives) {
  const Geometry g = geometry_of(op);
  const bool with_bias = static_cast<bool>(op.d_bias);
  Primitive& primitive = weight_gradient(g, with_bias, primitives);
  return {primitive,
          primitives.reorder(
              g.key(PrimitiveKey::kConvolutionWeightGradientWeights, with_bias),
              [&] { return primitive.weights; }, [&] { return g.weights(memory::format_tag::oihw); })};
}

Room room_of(const ops::Convolution& op, const Pair& pair, ops::Workspace& workspace) {
  return {op.x, op.weight, op.y, pair.primitive, pair.reorder, workspace};
}
Room room_of(const ops::ConvolutionInputGradient& op, const Pair& pair, ops::Workspace& workspace) {
  return {op.d_x, op.weight, op.d_y, pair.primitive, pair.reorder, workspace};
}
// A gradient that will be added is made beside its place.
Room room_of(const ops::ConvolutionWeightGradient& op, const Pair& pair, ops::Workspace& workspace) {
  Room room(op.x, op.d_weight, op.d_y, pair.primitive, pair.reorder, workspace);
  room.weight = workspace.take(DType::f32, op.d_weight.shape());
  return room;
}
View bias_room(const ops::ConvolutionWeightGradient& op, ops::Workspace& workspace) {
  return op.d_bias ? workspace.take(DType::f32, op.d_bias.shape()) : View();
}

}  // namespace

std::size_t workspace_bytes(const ops::Convolution& op, Primitives& primitives) {
  if (op.y.elements() == 0) return 0;
  ops::Workspace workspace;
  room_of(op, find(op, primitives), workspace);
  return workspace.bytes();
}

std::size_t workspace_bytes(const ops::ConvolutionInputGradient& op, Primitives& primitives) {
  if (op.d_x.elements() == 0) return 0;
  ops::Workspace workspace;
  room_of(op, find(op, primitives), workspace);
  return workspace.bytes();
}

std::size_t workspace_bytes(const ops::ConvolutionWeightGradient& op, Primitives& primitives) {
  if (op.d_y.elements() == 0) return 0;
  ops::Workspace workspace;
  room_of(op, find(op, primitives), workspace);
  bias_room(op, workspace);
  return workspace.bytes();
}

void run(const ops::Convolution& op, Primitives& primitives) {
  if (op.y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Pair pair = find(op, primitives);
  const Room room = room_of(op, pair, workspace);
  copy_in(op.x, room.x);
  copy_in(op.weight, room.weight);
  primitives.execute(pair.reorder, {{DNNL_ARG_FROM, address(room.weight)},
                                    {DNNL_ARG_TO, address(room.packed)},
                                    {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  primitives.execute(pair.primitive, {{DNNL_ARG_SRC, address(room.x)},
                                      {DNNL_ARG_WEIGHTS, address(room.packed)},
                                      {DNNL_ARG_BIAS, address(op.bias)},
                                      {DNNL_ARG_DST, address(room.y)},
                                      {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  copy_out(room.y, op.y);
}

void run(const ops::ConvolutionInputGradient& op, Primitives& primitives) {
  if (op.d_x.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Pair pair = find(op, primitives);
  const Room room = room_of(op, pair, workspace);
  copy_in(op.d_y, room.y);
  copy_in(op.weight, room.weight);
  primitives.execute(pair.reorder, {{DNNL_ARG_FROM, address(room.weight)},
                                    {DNNL_ARG_TO, address(room.packed)},
                                    {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  primitives.execute(pair.primitive, {{DNNL_ARG_DIFF_DST, address(room.y)},
                                      {DNNL_ARG_WEIGHTS, address(room.packed)},
                                      {DNNL_ARG_DIFF_SRC, address(room.x)},
                                      {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  copy_out(room.x, op.d_x);
}

void run(const ops::ConvolutionWeightGradient& op, Primitives& primitives) {
  if (op.d_y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Pair pair = find(op, primitives);
  const Room room = room_of(op, pair, workspace);
  const View bias = bias_room(op, workspace);
  copy_in(op.x, room.x);
  copy_in(op.d_y, room.y);
  primitives.execute(pair.primitive, {{DNNL_ARG_SRC, address(room.x)},
                                      {DNNL_ARG_DIFF_DST, address(room.y)},
                                      {DNNL_ARG_DIFF_WEIGHTS, address(room.packed)},
                                      {DNNL_ARG_DIFF_BIAS, address(bias)},
                                      {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  primitives.execute(pair.reorder, {{DNNL_ARG_FROM, address(room.packed)},
                                    {DNNL_ARG_TO, address(room.weight)},
                                    {DNNL_ARG_SCRATCHPAD, address(room.scratchpad)}});
  run(ops::Convert{.x = room.weight, .y = op.d_weight, .write = ops::Write::accumulate});
  if (op.d_bias) run(ops::Convert{.x = bias, .y = op.d_bias, .write = ops::Write::accumulate});
}

}  // namespace vretnet::onednn
