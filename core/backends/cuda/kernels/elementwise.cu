// The ops that are one function of elements at one place: sums, activations, gates, copies, rotation, learned
// decays, the optimizer. Memory and launch: elementwise.cuh.
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/kernels/activation.cuh"
#include "core/backends/cuda/kernels/elementwise.cuh"

namespace vretnet::cuda {
namespace {

struct Copy {
  static constexpr int kReads = 1, kWrites = 1;
  __device__ void operator()(const float* in, float* out) const { out[0] = in[0]; }
};
struct Widened : Copy {
  static constexpr unsigned kWide = 0b01;
};
struct Narrowed : Copy {
  static constexpr unsigned kWide = 0b10;
};
struct Constant {
  static constexpr int kReads = 0, kWrites = 1;
  float value;
  __device__ void operator()(const float*, float* out) const { out[0] = value; }
};
struct Scaled {
  static constexpr int kReads = 1, kWrites = 1;
  float factor;
  __device__ void operator()(const float* in, float* out) const { out[0] = in[0] * factor; }
};
struct Sum {
  static constexpr int kReads = 2, kWrites = 1;
  __device__ void operator()(const float* in, float* out) const { out[0] = in[0] + in[1]; }
};
struct BiasAdded : Sum {  // y, bias → y
  static constexpr unsigned kWide = 0b011;
};
struct ScaledSum {  // x, scale, residual
  static constexpr int kReads = 3, kWrites = 1;
  static constexpr unsigned kWide = 0b0100;
  __device__ void operator()(const float* in, float* out) const { out[0] = in[0] * in[1] + in[2]; }
};
struct Activated {  // activation(z) + residual
  static constexpr int kReads = 2, kWrites = 1;
  ops::ActivationKind kind;
  __device__ void operator()(const float* in, float* out) const { out[0] = activation(kind, in[0]) + in[1]; }
};
struct ActivatedGradient {  // x, d_y
  static constexpr int kReads = 2, kWrites = 1;
  ops::ActivationKind kind;
  __device__ void operator()(const float* in, float* out) const {
    out[0] = in[1] * activation_derivative(kind, in[0]);
  }
};
struct ActivatedAgain {  // x, d_y → d_x, y
  static constexpr int kReads = 2, kWrites = 2;
  ops::ActivationKind kind;
  __device__ void operator()(const float* in, float* out) const {
    out[0] = in[1] * activation_derivative(kind, in[0]);
    out[1] = activation(kind, in[0]);
  }
};
struct Gated {  // g, x
  static constexpr int kReads = 2, kWrites = 1;
  __device__ void operator()(const float* in, float* out) const {
    out[0] = activation(ops::ActivationKind::silu, in[0]) * in[1];
  }
};
struct GatedGradient {  // g, x, d_y → d_g, d_x
  static constexpr int kReads = 3, kWrites = 2;
  __device__ void operator()(const float* in, float* out) const {
    out[0] = in[2] * in[1] * activation_derivative(ops::ActivationKind::silu, in[0]);
    out[1] = in[2] * activation(ops::ActivationKind::silu, in[0]);
  }
};
struct Turned {  // even, odd, cosine, sine → even, odd
  static constexpr int kReads = 4, kWrites = 2;
  static constexpr unsigned kWide = 0b110000;
  float scale, sign;
  __device__ void operator()(const float* in, float* out) const {
    const float sine = sign * in[3];
    out[0] = (in[0] * in[2] - in[1] * sine) * scale;
    out[1] = (in[0] * sine + in[1] * in[2]) * scale;
  }
};
struct AdamWStep {  // parameter, gradient, first moment, second moment → parameter, first moment, second
                    // moment
  static constexpr int kReads = 4, kWrites = 3;
  static constexpr unsigned kWide = kAllWide;
  const float *step_scalars, *squared_norm;
  float beta1, beta2, new1, new2, epsilon, weight_decay, max_norm;
  __device__ void operator()(const float* in, float* out) const {
    const float rate = step_scalars[ops::kLearningRate];
    if (squared_norm != nullptr && !(squared_norm[0] - squared_norm[0] == 0)) {  // ∞ or NaN
      out[0] = in[0], out[1] = in[2], out[2] = in[3];
      return;
    }
    float g = in[1];
    if (max_norm > 0) g *= fminf(1.0f, max_norm / (sqrtf(squared_norm[0]) + 1e-6f));
    const float first = beta1 * in[2] + new1 * g, second = beta2 * in[3] + new2 * g * g;
    const float decayed = in[0] - rate * weight_decay * in[0];
    out[0] = decayed - rate * (first / step_scalars[ops::kBiasCorrection1]) /
                           (sqrtf(second / step_scalars[ops::kBiasCorrection2]) + epsilon);
    out[1] = first;
    out[2] = second;
  }
};
struct LerpStep {  // x, y
  static constexpr int kReads = 2, kWrites = 1;
  static constexpr unsigned kWide = kAllWide;
  const float* step_scalars;
  __device__ void operator()(const float* in, float* out) const {
    out[0] = in[1] + step_scalars[ops::kEmaWeight] * (in[0] - in[1]);
  }
};

struct DecayPower {  // exponent, log_rate
  static constexpr int kReads = 2, kWrites = 1;
  static constexpr unsigned kWide = kAllWide;
  bool derivative;
  __device__ void operator()(const float* in, float* out) const {
    constexpr float kSmallest = 0x1p-126f, kLargest = 0x1.fffffep127f;
    const float rate = fminf(fmaxf(expf(in[1]), kSmallest), kLargest), x = fminf(rate * in[0], kLargest);
    out[0] = derivative ? -x * expf(-x) : expf(-x);
  }
};

// Every second element of the innermost axis, from `first` on.
Strided every_second(const View& view, int first) {
  Strided half(view);
  const int innermost = half.rank - 1;
  half.skip(first * half.stride[innermost]);
  half.extent[innermost] /= 2;
  half.stride[innermost] *= 2;
  return half;
}

}  // namespace

void run(const ops::Convert& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const bool accumulate = op.write == ops::Write::accumulate;
  if (op.x.dtype() == op.y.dtype()) {
    run_elementwise<Copy>({op.y, op.x}, {}, stream, accumulate);
  } else if (op.x.dtype() == DType::bf16) {
    run_elementwise<Widened>({op.y, op.x}, {}, stream, accumulate);
  } else {
    run_elementwise<Narrowed>({op.y, op.x}, {}, stream, accumulate);
  }
}

void run_fill(const View& y, float value, cudaStream_t stream) {
  if (y.elements() > 0) run_elementwise<Constant>({y}, {value}, stream);
}

// y[b, i, j, c, u, v] = x[b, i, u, j, v, c]: a copy between two orders of the same axes.
void run(const ops::Patches& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const std::int64_t p = op.patch, rows = op.x.extent(1) / p, columns = op.x.extent(2) / p;
  Strided x, y;
  x.data = op.x.data<void>();
  y.data = op.y.data<void>();
  x.dtype = op.x.dtype();
  y.dtype = op.y.dtype();
  struct Axis {
    std::int64_t extent, x, y;
  };
  const std::int64_t row = op.x.stride(1), column = op.x.stride(2), token = op.y.stride(1);
  for (const Axis& axis :
       {Axis{op.x.extent(0), op.x.stride(0), op.y.stride(0)}, Axis{rows, p * row, columns * token},
        Axis{columns, p * column, token}, Axis{op.x.extent(3), op.x.stride(3), p * p}, Axis{p, row, p},
        Axis{p, column, 1}}) {
    x.push_back(axis.extent, axis.x);
    y.push_back(axis.extent, axis.y);
  }
  run_elementwise<Copy>({y, x}, {}, stream);
}

void run(const ops::Add& op, cudaStream_t stream) {
  if (op.y.elements() > 0) run_elementwise<Sum>({op.y, op.a, op.b}, {}, stream);
}

void run(const ops::BroadcastAdd& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  run_elementwise<Sum>({op.y, op.x, op.addend.broadcast(0, op.y.extent(0))}, {}, stream);
}

void run(const ops::ScaleSamples& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  const View scale = op.scale.broadcast(1, op.y.extent(1)).broadcast(2, op.y.extent(2));
  run_elementwise<ScaledSum>({op.y, op.x, scale, op.residual}, {}, stream);
}

void run_epilogue(const View& z, const View& residual, const View& y, ops::ActivationKind kind,
                  ops::Write write, cudaStream_t stream) {
  if (y.elements() == 0) return;
  run_elementwise<Activated>({y, z, residual}, {kind}, stream, write == ops::Write::accumulate);
}

void run_wide_bias(const View& bias, const View& y, cudaStream_t stream) {
  View rows = bias.broadcast(0, y.extent(-2));
  for (int axis = y.rank() - 3; axis >= 0; --axis) rows = rows.broadcast(0, y.extent(axis));
  run_elementwise<BiasAdded>({y, y, rows}, {}, stream);
}

void run(const ops::Activation& op, cudaStream_t stream) {
  run_epilogue(op.x, {}, op.y, op.kind, ops::Write::overwrite, stream);
}

void run(const ops::ActivationGradient& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  if (op.y) {
    run_elementwise<ActivatedAgain>({op.d_x, op.y, op.x, op.d_y}, {op.kind}, stream);
  } else {
    run_elementwise<ActivatedGradient>({op.d_x, op.x, op.d_y}, {op.kind}, stream);
  }
}

void run(const ops::Gate& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  run_elementwise<Gated>({op.y, op.g, op.x}, {}, stream, op.write == ops::Write::accumulate);
}

void run(const ops::GateGradient& op, cudaStream_t stream) {
  if (op.x.elements() > 0) run_elementwise<GatedGradient>({op.d_g, op.d_x, op.g, op.x, op.d_y}, {}, stream);
}

void run(const ops::Rotate& op, cudaStream_t stream) {
  if (op.x.elements() == 0) return;
  const auto of_every_head = [&](const View& angles) {
    return angles.broadcast(1, op.x.extent(2)).broadcast(0, op.x.extent(0));
  };
  run_elementwise<Turned>({every_second(op.y, 0), every_second(op.y, 1), every_second(op.x, 0),
                           every_second(op.x, 1), of_every_head(op.cosine), of_every_head(op.sine)},
                          {op.scale, op.inverse ? -1.0f : 1.0f}, stream);
}

void run(const ops::PoolTokensGradient& op, cudaStream_t stream) {
  const std::int64_t tokens = op.d_x.extent(1);
  if (op.d_x.elements() == 0) return;
  if (op.kind == ops::PoolKind::mean) {
    run_elementwise<Scaled>({op.d_x, op.d_y.broadcast(1, tokens)}, {op.scale}, stream);
  } else {
    run_fill(op.d_x.slice(1, 0, tokens - 1), 0, stream);
    run_elementwise<Copy>({op.d_x.select(1, tokens - 1), op.d_y}, {}, stream);
  }
}

void run(const ops::DecayPowers& op, cudaStream_t stream) {
  if (op.y.elements() == 0) return;
  run_elementwise<DecayPower>({op.y, op.exponents.broadcast(0, op.y.extent(0)),
                               op.log_rate.select(1, 0).broadcast(1, op.y.extent(1))},
                              {op.derivative}, stream);
}

void run(const ops::AdamW& op, cudaStream_t stream) {
  if (op.parameter.elements() == 0) return;
  const AdamWStep step{op.step_scalars.data<float>(),
                       op.gradient_squared_norm ? op.gradient_squared_norm.data<float>() : nullptr,
                       static_cast<float>(op.beta1),
                       static_cast<float>(op.beta2),
                       static_cast<float>(1 - op.beta1),
                       static_cast<float>(1 - op.beta2),
                       op.epsilon,
                       op.weight_decay,
                       op.max_norm};
  run_elementwise<AdamWStep>({op.parameter, op.first_moment, op.second_moment, op.parameter, op.gradient,
                              op.first_moment, op.second_moment},
                             step, stream);
}

void run(const ops::Lerp& op, cudaStream_t stream) {
  if (op.y.elements() > 0)
    run_elementwise<LerpStep>({op.y, op.x, op.y}, {op.step_scalars.data<float>()}, stream);
}

}  // namespace vretnet::cuda
