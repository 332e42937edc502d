// The rules of ops.h, op by op. The retentions stand in validate_retention.cc.
#include "core/ops/validate.h"

namespace vretnet::ops {
namespace {

void expect_matrix(const char* op, const View& view) {
  ensure(view.stride(-1) == 1 || view.stride(-2) == 1 || view.extent(-1) <= 1 || view.extent(-2) <= 1,
         "{}: neither rows nor columns of {} are contiguous", op, view.shape().text());
}

void validate_one(const Gemm& op) {
  const int rank = op.y.rank();
  ensure(rank >= 2 && rank <= 4, "Gemm: y of rank {}", rank);
  expect_shape("Gemm.a", op.a, with_axes(op.y, {op.y.extent(-2), op.a.extent(-1)}));
  expect_shape("Gemm.b", op.b, with_axes(op.y, {op.a.extent(-1), op.y.extent(-1)}));
  expect_shape_if_given("Gemm.bias", op.bias, {op.y.extent(-1)});
  expect_shape_if_given("Gemm.residual", op.residual, op.y.shape());
  expect_shape_if_given("Gemm.pre_activation", op.pre_activation, op.y.shape());
  ensure(rank == 2 || (!op.residual && !op.pre_activation), "Gemm: residual or pre_activation with rank {}",
         rank);
  ensure(op.y.dtype() == op.a.dtype() ||
             (!op.residual && !op.pre_activation && op.activation == ActivationKind::none),
         "Gemm: {} from {} with an epilogue", vretnet::name_of(op.y.dtype()), vretnet::name_of(op.a.dtype()));
  for (const View& view : {op.a, op.b}) expect_matrix("Gemm", view);
}

void validate_one(const QuantizedGemm& op) {
  expect_rank("QuantizedGemm.y", op.y, 2);
  expect_rank("QuantizedGemm.a", op.a, 2);
  expect_shape("QuantizedGemm.a", op.a, {op.y.extent(0), op.a.extent(1)});
  expect_shape("QuantizedGemm.b", op.b, {op.a.extent(1), op.y.extent(1)});
  expect_shape("QuantizedGemm.a_scale", op.a_scale, {1});
  expect_shape("QuantizedGemm.b_scale", op.b_scale, {op.y.extent(1)});
  expect_shape_if_given("QuantizedGemm.bias", op.bias, {op.y.extent(1)});
  expect_shape_if_given("QuantizedGemm.residual", op.residual, op.y.shape());
  expect_matrix("QuantizedGemm", op.b);
  ensure(op.a.extent(1) >= 1 && op.a.extent(1) <= kLargestQuantizedDepth,
         "QuantizedGemm: a depth of {}, expected 1 … {}", op.a.extent(1), kLargestQuantizedDepth);
}

void validate_one(const Convert& op) {
  expect_shape("Convert.x", op.x, op.y.shape());
}

void validate_one(const ColumnSum& op) {
  expect_rank("ColumnSum.x", op.x, 2);
  expect_shape("ColumnSum.y", op.y, {op.x.extent(1)});
}

struct Window {
  std::int64_t stride;
  Padding padding;
};

void expect_images(const View& x, const View& weight, const View& y, const Window& window) {
  expect_rank("a convolution's x", x, 4);
  expect_rank("a convolution's weight", weight, 4);
  ensure(window.stride >= 1, "a convolution's stride is {}", window.stride);
  const auto positions = [&](std::int64_t size, std::int64_t kernel, std::int64_t before,
                             std::int64_t after) {
    ensure(before >= 0 && after >= 0 && size + before + after >= kernel,
           "a kernel of {} over {}+{}+{} pixels", kernel, before, size, after);
    return (size + before + after - kernel) / window.stride + 1;
  };
  const Padding& padding = window.padding;
  expect_shape("a convolution's y", y,
               {x.extent(0), positions(x.extent(1), weight.extent(2), padding.top, padding.bottom),
                positions(x.extent(2), weight.extent(3), padding.left, padding.right), weight.extent(0)});
}

void expect_full(const View& x, const View& weight) {
  ensure(weight.extent(1) == x.extent(3), "Convolution: weight {} for {} channels", weight.shape().text(),
         x.extent(3));
}

void validate_one(const Convolution& op) {
  expect_images(op.x, op.weight, op.y, {op.stride, op.padding});
  expect_full(op.x, op.weight);
  expect_shape_if_given("Convolution.bias", op.bias, {op.y.extent(3)});
}
void validate_one(const ConvolutionInputGradient& op) {
  expect_images(op.d_x, op.weight, op.d_y, {op.stride, op.padding});
  expect_full(op.d_x, op.weight);
}
void validate_one(const ConvolutionWeightGradient& op) {
  expect_images(op.x, op.d_weight, op.d_y, {op.stride, op.padding});
  expect_full(op.x, op.d_weight);
  expect_shape_if_given("ConvolutionWeightGradient.d_bias", op.d_bias, {op.d_y.extent(3)});
}

void expect_depthwise(const View& x, const View& weight, const View& y, const Padding& padding) {
  expect_images(x, weight, y, {1, padding});
  ensure(weight.extent(1) == 1 && weight.extent(0) == x.extent(3), "Depthwise: weight {} for {} channels",
         weight.shape().text(), x.extent(3));
}

void validate_one(const Depthwise& op) {
  expect_depthwise(op.x, op.weight, op.y, op.padding);
  expect_shape_if_given("Depthwise.bias", op.bias, {op.y.extent(3)});
  expect_shape_if_given("Depthwise.residual", op.residual, op.y.shape());
}
void validate_one(const DepthwiseInputGradient& op) {
  expect_depthwise(op.d_x, op.weight, op.d_y, op.padding);
  expect_shape_if_given("DepthwiseInputGradient.residual", op.residual, op.d_x.shape());
}
void validate_one(const DepthwiseWeightGradient& op) {
  expect_depthwise(op.x, op.d_weight, op.d_y, op.padding);
  expect_shape_if_given("DepthwiseWeightGradient.d_bias", op.d_bias, {op.d_y.extent(3)});
}

void validate_one(const Patches& op) {
  expect_rank("Patches.x", op.x, 4);
  const std::int64_t p = op.patch;
  ensure(p >= 1 && op.x.extent(1) % p == 0 && op.x.extent(2) % p == 0, "Patches of {} from {}", p,
         op.x.shape().text());
  expect_shape("Patches.y", op.y,
               {op.x.extent(0), op.x.extent(1) / p * (op.x.extent(2) / p), op.x.extent(3) * p * p});
}

void validate_one(const Add& op) {
  expect_shape("Add.a", op.a, op.y.shape());
  expect_shape("Add.b", op.b, op.y.shape());
}
void validate_one(const BroadcastAdd& op) {
  expect_rank("BroadcastAdd.y", op.y, 3);
  expect_shape("BroadcastAdd.x", op.x, op.y.shape());
  expect_shape("BroadcastAdd.addend", op.addend, {op.y.extent(1), op.y.extent(2)});
}
void validate_one(const ScaleSamples& op) {
  expect_rank("ScaleSamples.y", op.y, 3);
  expect_shape("ScaleSamples.x", op.x, op.y.shape());
  expect_shape("ScaleSamples.scale", op.scale, {op.y.extent(0)});
  expect_shape_if_given("ScaleSamples.residual", op.residual, op.y.shape());
}
void validate_one(const Activation& op) {
  expect_shape("Activation.y", op.y, op.x.shape());
}
void validate_one(const ActivationGradient& op) {
  expect_shape("ActivationGradient.d_y", op.d_y, op.x.shape());
  expect_shape("ActivationGradient.d_x", op.d_x, op.x.shape());
  expect_shape_if_given("ActivationGradient.y", op.y, op.x.shape());
}
void validate_one(const Gate& op) {
  expect_shape("Gate.x", op.x, op.g.shape());
  expect_shape("Gate.y", op.y, op.g.shape());
}
void validate_one(const GateGradient& op) {
  for (const View& view : {op.x, op.d_y, op.d_g, op.d_x})
    expect_shape("a view of GateGradient", view, op.g.shape());
}

void validate_one(const LayerNorm& op) {
  expect_rank("LayerNorm.x", op.x, 2);
  expect_shape("LayerNorm.y", op.y, op.x.shape());
  expect_shape("LayerNorm.gain", op.gain, {op.x.extent(1)});
  expect_shape("LayerNorm.bias", op.bias, {op.x.extent(1)});
  expect_shape_if_given("LayerNorm.mean", op.mean, {op.x.extent(0)});
  expect_shape_if_given("LayerNorm.inverse_deviation", op.inverse_deviation, {op.x.extent(0)});
}
void validate_one(const LayerNormGradient& op) {
  expect_rank("LayerNormGradient.x", op.x, 2);
  for (const View& view : {op.gain, op.d_gain, op.d_bias}) {
    expect_shape("a parameter of LayerNormGradient", view, {op.x.extent(1)});
  }
  for (const View& view : {op.mean, op.inverse_deviation}) {
    expect_shape("a statistic of LayerNormGradient", view, {op.x.extent(0)});
  }
  expect_shape("LayerNormGradient.d_y", op.d_y, op.x.shape());
  expect_shape("LayerNormGradient.d_x", op.d_x, op.x.shape());
  expect_shape_if_given("LayerNormGradient.residual", op.residual, op.x.shape());
}

void validate_one(const HeadNorm& op) {
  expect_rank("HeadNorm.x", op.x, 4);
  expect_shape("HeadNorm.y", op.y, op.x.shape());
}
void validate_one(const HeadNormGradient& op) {
  expect_rank("HeadNormGradient.x", op.x, 4);
  expect_shape("HeadNormGradient.d_y", op.d_y, op.x.shape());
  expect_shape("HeadNormGradient.d_x", op.d_x, op.x.shape());
}

void validate_one(const Attention& op) {
  expect_rank("Attention.q", op.q, 4);
  for (const View& view : {op.k, op.v, op.o}) expect_shape("a view of Attention", view, op.q.shape());
  expect_shape_if_given("Attention.log_sum_exp", op.log_sum_exp,
                        {op.q.extent(0), op.q.extent(2), op.q.extent(1)});
}
void validate_one(const AttentionGradient& op) {
  expect_rank("AttentionGradient.q", op.q, 4);
  for (const View& view : {op.k, op.v, op.o, op.d_o, op.d_q, op.d_k, op.d_v}) {
    expect_shape("a view of AttentionGradient", view, op.q.shape());
  }
  expect_shape("AttentionGradient.log_sum_exp", op.log_sum_exp,
               {op.q.extent(0), op.q.extent(2), op.q.extent(1)});
}

void validate_one(const PoolTokens& op) {
  expect_rank("PoolTokens.x", op.x, 3);
  expect_shape("PoolTokens.y", op.y, {op.x.extent(0), op.x.extent(2)});
  ensure(op.kind == PoolKind::mean || (op.x.extent(1) > 0 && op.write == Write::overwrite),
         "PoolTokens: the last of {} tokens is taken, not added", op.x.extent(1));
}
void validate_one(const PoolTokensGradient& op) {
  expect_rank("PoolTokensGradient.d_x", op.d_x, 3);
  expect_shape("PoolTokensGradient.d_y", op.d_y, {op.d_x.extent(0), op.d_x.extent(2)});
}

void validate_one(const Softmax& op) {
  expect_rank("Softmax.x", op.x, 2);
  ensure(op.x.extent(1) > 0, "Softmax over {} elements", op.x.extent(1));
  expect_shape("Softmax.y", op.y, op.x.shape());
}
void validate_one(const SoftmaxGradient& op) {
  expect_rank("SoftmaxGradient.y", op.y, 2);
  expect_shape("SoftmaxGradient.d_y", op.d_y, op.y.shape());
  expect_shape("SoftmaxGradient.d_x", op.d_x, op.y.shape());
}
void validate_one(const CrossEntropy& op) {
  expect_rank("CrossEntropy.logits", op.logits, 2);
  ensure(op.logits.extent(1) > 0, "CrossEntropy over {} classes", op.logits.extent(1));
  expect_shape("CrossEntropy.targets", op.targets, op.logits.shape());
  expect_shape("CrossEntropy.loss", op.loss, {op.logits.extent(0)});
  expect_shape_if_given("CrossEntropy.class_weight", op.class_weight, {op.logits.extent(1)});
  expect_shape_if_given("CrossEntropy.d_logits", op.d_logits, op.logits.shape());
}

void expect_flat(const char* name, const View& view, std::int64_t elements) {
  expect_shape(name, view, {elements});
  ensure(view.contiguous(), "{} has gaps", name);
}

void validate_one(const SquaredNorm& op) {
  expect_rank("SquaredNorm.x", op.x, 1);
  expect_flat("SquaredNorm.x", op.x, op.x.extent(0));
  expect_shape("SquaredNorm.y", op.y, {1});
}
void validate_one(const AdamW& op) {
  expect_rank("AdamW.parameter", op.parameter, 1);
  for (const View& view : {op.parameter, op.gradient, op.first_moment, op.second_moment}) {
    expect_flat("an array of AdamW", view, op.parameter.extent(0));
  }
  expect_flat("AdamW.step_scalars", op.step_scalars, kStepScalars);
  ensure(op.max_norm <= 0 || op.gradient_squared_norm, "AdamW: max_norm {} without a norm", op.max_norm);
  expect_shape_if_given("AdamW.gradient_squared_norm", op.gradient_squared_norm, {1});
}
void validate_one(const Lerp& op) {
  expect_rank("Lerp.y", op.y, 1);
  expect_flat("Lerp.x", op.x, op.y.extent(0));
  expect_flat("Lerp.y", op.y, op.y.extent(0));
  expect_flat("Lerp.step_scalars", op.step_scalars, kStepScalars);
}

// What holds for all ops: nothing needed is missing, dtypes as fields.h has them, innermost stride 1, and an
// output is no broadcast.
void validate_views(const Op& op) {
  const bool converts = std::holds_alternative<Convert>(op), multiplies = std::holds_alternative<Gemm>(op);
  for_each_field(op, [&](const Field& field) {
    ensure(field.view || field.optional, "{}: {} is missing", name_of(op), field.name);
    if (!field.view) return;
    const View& view = field.view;
    const bool integers = field.storage == Storage::integers;
    ensure((view.dtype() == DType::s8) == integers, "{}: {} is {}, {} was expected", name_of(op), field.name,
           vretnet::name_of(view.dtype()), integers ? "s8" : "a floating-point type");
    ensure(converts || allows(field, dtype_of(op)), "{}: {} is {}, the op runs in {}", name_of(op),
           field.name, vretnet::name_of(view.dtype()), vretnet::name_of(dtype_of(op)));
    const bool may_be_transposed = (converts || multiplies || integers) && field.use == Use::read;
    ensure(may_be_transposed || view.rank() == 0 || view.extent(-1) <= 1 || view.stride(-1) == 1,
           "{}: {} has an innermost stride of {}", name_of(op), field.name, view.stride(-1));
    for (int axis = 0; axis < view.rank() && field.use != Use::read; ++axis) {
      ensure(view.stride(axis) != 0 || view.extent(axis) <= 1, "{}: {} is written through a broadcast",
             name_of(op), field.name);
    }
  });
}

}  // namespace

void expect_rank(const char* name, const View& view, int rank) {
  ensure(view.rank() == rank, "{} has the shape {}, rank {} was expected", name, view.shape().text(), rank);
}

void expect_shape(const char* name, const View& view, const Shape& shape) {
  ensure(view.shape() == shape, "{} has the shape {}, {} was expected", name, view.shape().text(),
         shape.text());
}

void expect_shape_if_given(const char* name, const View& view, const Shape& shape) {
  if (view) expect_shape(name, view, shape);
}

Shape with_axes(const View& view, std::initializer_list<std::int64_t> innermost) {
  Shape shape = view.shape();
  int axis = shape.rank() - static_cast<int>(innermost.size());
  for (std::int64_t extent : innermost) shape[axis++] = extent;
  return shape;
}

void validate(const Op& op) {
  validate_views(op);
  std::visit(
      [](const auto& each) {
        if constexpr (requires { validate_one(each); }) {
          validate_one(each);
        } else {
          validate_retention(each);
        }
      },
      op);
}

}  // namespace vretnet::ops
