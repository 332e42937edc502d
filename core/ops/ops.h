// The contract between models and machines: every operation as a plain struct of named views. A model emits
// ops and never knows a backend; a backend runs ops and never knows a model.
//
// Rules for all ops
// - Views do not own memory and may be strided (offsets, gaps, negative strides); the innermost axis has
//   stride 1 except in Gemm, whose a and b may be transposed, in QuantizedGemm's b, which may be transposed,
//   and in Convert's x, which may be any view.
// - All floating views of one op share one dtype (f32, or f64 in the reference backend). Where that is bf16
//   (storage alone: sums and what lies between an op's inputs and outputs are f32), statistics, tables,
//   states and gradients of parameters stay f32; the loss, the optimizer and QuantizedGemm do not run in it.
//   fields.h says it of every view.
// - An output is overwritten unless the op says `write = Write::accumulate` (+=). Gradients of parameters
//   (d_gain, d_bias, d_weight, d_addend …) always accumulate: a step starts by filling them with 0.
// - Outputs do not overlap inputs unless the op says "may be in place".
// - An optional view that is not given is an empty View.
// - `workspace` is bytes that Backend::workspace_bytes asked for; its content means nothing before and after.
// - Extents may be 0 in the batch axis; then nothing is read or written.
// Names: x, y as in the formula; d_x is ∂loss/∂x.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "core/tensor/view.h"

namespace vretnet::ops {

enum class Write : std::uint8_t { overwrite, accumulate };
enum class ActivationKind : std::uint8_t { none, gelu, silu };  // gelu is exact: x·Φ(x), by erf

// ------------------------------------------------------------------------------------ dense linear algebra

// z = α · a·b + bias;  pre_activation = z;  y (+)= activation(z) + residual.
// a [.., M, K], b [.., K, N], y [.., M, N] with 0–2 batch axes (stride 0 broadcasts); bias [N]; residual and
// pre_activation like y (rank 2 only). A linear layer is b = weight.transposed() for weight [out, in]. In
// bf16, y may be f32 where nothing but a bias is given; where an activation follows, or residual and y are
// both added, z may be rounded to bf16 first.
struct Gemm {
  View a, b, y;
  View bias, residual, pre_activation;  // optional
  ActivationKind activation = ActivationKind::none;
  float alpha = 1;
  bool constant_b =
      false;  // b stays as it is until Backend::weights_changed: a backend may keep a copy that it likes
  Write write = Write::overwrite;
  View workspace;
};

// A linear layer on 8-bit integers, for inference:
//   z = (a_scale · b_scale[n]) · Σ_k q(a[m,k]) · b[k,n] + bias[n];  y = activation(z) + residual,
//   q(x) = x · (1 / a_scale), rounded to the nearest integer (ties to even), cut to −127 … 127.
// The sum of integers is exact. a [M, K] without NaN, b s8 [K, N] (weight.transposed() for weight [out, in]),
// y and residual [M, N], a_scale [1], b_scale and bias [N]; scales are above 0. K ≤ kLargestQuantizedDepth,
// so that 32 bits hold the sum. b stays as it is until Backend::weights_changed: a backend may keep a copy
// that it likes.
constexpr std::int64_t kLargestQuantizedDepth = 65536;
struct QuantizedGemm {
  View a, b, y;
  View a_scale, b_scale;
  View bias, residual;  // optional
  ActivationKind activation = ActivationKind::none;
  View workspace;
};

// y = x, element by element: copies between layouts and dtypes. Equal shapes; x may broadcast (stride 0).
struct Convert {
  View x, y;
  Write write = Write::overwrite;
};

// y[c] += Σ_r x[r, c]. x [rows, columns], y [columns]: gradients of biases, positions, class tokens.
struct ColumnSum {
  View x, y;
  View workspace;
};

// -------------------------------------------------------------------------------------- images and patches

struct Padding {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;  // rows and columns of zeros around the image
};

// y[b,i,j,o] = bias[o] + Σ_{c,u,v} x[b, i·stride+u−top, j·stride+v−left, c] · weight[o,c,u,v].
// x [batch, height, width, channels in], weight [channels out, channels in, kernel height, kernel width],
// y [batch, height out, width out, channels out].
struct Convolution {
  View x, weight, bias, y;  // bias optional
  std::int64_t stride = 1;
  Padding padding;
  View workspace;
};
struct ConvolutionInputGradient {
  View weight, d_y, d_x;
  std::int64_t stride = 1;
  Padding padding;
  View workspace;
};
struct ConvolutionWeightGradient {
  View x, d_y, d_weight, d_bias;  // d_bias optional; both accumulate
  std::int64_t stride = 1;
  Padding padding;
  View workspace;
};

// Each channel on its own, stride 1: y[b,i,j,c] (+)= bias[c] + Σ_{u,v} x[b, i+u−top, j+v−left, c] ·
// weight[c,0,u,v]
//                                                   + residual[b,i,j,c].
// x [batch, height, width, channels], weight [channels, 1, kernel, kernel], y [batch, height out, width out,
// channels].
struct Depthwise {
  View x, weight, bias, residual, y;  // bias, residual optional
  Padding padding;
  Write write = Write::overwrite;
};
struct DepthwiseInputGradient {
  View weight, d_y, residual, d_x;  // d_x (+)= … + residual (optional)
  Padding padding;
  Write write = Write::overwrite;
};
struct DepthwiseWeightGradient {
  View x, d_y, d_weight, d_bias;  // d_bias optional; both accumulate
  Padding padding;
  View workspace;
};

// y[b, (i·W+j), (c·p+u)·p+v] = x[b, i·p+u, j·p+v, c]: the rows that a patch weight [out, c·p·p] multiplies.
// x [batch, H·p, W·p, channels], y [batch, H·W, channels·p·p].
struct Patches {
  View x, y;
  std::int64_t patch = 1;
};

// ------------------------------------------------------------------------------------------- element by
// element

// y = a + b, equal shapes; y may be a or b (in place).
struct Add {
  View a, b, y;
};

// y[b, …] = x[b, …] + addend[…]: learned positions. x, y [batch, tokens, width], addend [tokens, width]; y
// may be x.
struct BroadcastAdd {
  View x, addend, y;
};

// y[b, …] = scale[b]·x[b, …] + residual[b, …]: a residual branch that some images of a batch leave out
// (stochastic depth, Huang et al. 2016), and, without residual, its gradient. x, residual (optional), y
// [batch, tokens, width], scale [batch]; y may be x or residual.
struct ScaleSamples {
  View x, scale, residual, y;
};

// y = activation(x); d_x = d_y · activation'(x). d_x may be d_y. The gradient can give y again, in a view
// that may be x, so that a layer keeps x alone.
struct Activation {
  View x, y;
  ActivationKind kind = ActivationKind::gelu;
};
struct ActivationGradient {
  View x, d_y, d_x;
  View y;  // optional
  ActivationKind kind = ActivationKind::gelu;
};

// y (+)= swish(g) ⊙ x, swish(g) = g·sigmoid(g). Equal shapes.
struct Gate {
  View g, x, y;
  Write write = Write::overwrite;
};
struct GateGradient {
  View g, x, d_y, d_g, d_x;
};

// -------------------------------------------------------------------------------------------------- norms

// y = (x − mean(x)) · inverse_deviation · gain + bias, row by row, inverse_deviation = 1/√(var(x) + ε),
// biased var. x, y [rows, width], gain, bias [width], mean and inverse_deviation [rows] (optional: kept for
// the gradient).
struct LayerNorm {
  View x, gain, bias, y;
  View mean, inverse_deviation;
  float epsilon = 1e-6f;
};
// d_x = (d_y·gain − mean(d_y·gain) − x̂·mean(d_y·gain·x̂)) · inverse_deviation + residual;
// d_gain += Σ_rows d_y·x̂, d_bias += Σ_rows d_y. residual [rows, width] is optional; d_x may be d_y or
// residual.
struct LayerNormGradient {
  View x, gain, mean, inverse_deviation, d_y, residual;
  View d_x, d_gain, d_bias;
  View workspace;
};

enum class HeadNormKind : std::uint8_t { layer, rms };
// Per token and head over its d_v values, no weights: layer: (x − mean)/√(var + ε); rms: x/√(mean(x²) + ε).
// x, y [batch, tokens, heads, d_v]; y may be x. The gradient recomputes the statistics from x.
struct HeadNorm {
  View x, y;
  HeadNormKind kind = HeadNormKind::layer;
  float epsilon = 1e-6f;
};
struct HeadNormGradient {
  View x, d_y, d_x;
  HeadNormKind kind = HeadNormKind::layer;
  float epsilon = 1e-6f;
};

// ------------------------------------------------------------------------------------- retention, attention

// Pairs (a, b) = elements (2j, 2j+1) turn by φ[t, j] and are scaled: (a cos φ − b sin φ, a sin φ + b cos φ) ·
// scale; `inverse` turns by −φ (the gradient). x, y [batch, tokens, heads, d], cosine and sine [tokens, d/2];
// y may be x. xPos without its magnitude (Sun et al. 2022); angles are made in double
// (core/retention/rotation.h).
struct Rotate {
  View x, cosine, sine, y;
  float scale = 1;
  bool inverse = false;
};

enum class RetentionForm : std::uint8_t { parallel, chunkwise, recurrent };
// D[n, m] is a power of γ: of the distance in raster order; of the rows between n and m, within a row of the
// columns (one state carries both); of rows and columns together (manhattan, RMT: bidirectional and in the
// parallel form only).
enum class DecayKind : std::uint8_t { raster, row, manhattan };

// How one retention runs: tokens are read in the views' order (a reversed view reads the image backwards).
struct RetentionPattern {
  bool operator==(const RetentionPattern&) const = default;
  RetentionForm form = RetentionForm::parallel;
  DecayKind decay = DecayKind::raster;
  bool bidirectional = false;
  std::int64_t row_width = 0;  // W, the tokens of one patch row; row and manhattan decay need it
  std::int64_t chunk = 0;  // chunkwise: tokens of a chunk (row decay: whole rows); the last may be shorter
};

// The decays of a pattern, made in double by core/retention/decay.h and rounded once. B is the chunk:
// pattern.chunk (chunkwise), all tokens (parallel). A last chunk of L < B tokens uses mask[:L,:L], xi[:L],
// zeta[B−L:], xi_up[B−L:], zeta_up[:L] and carry[1].
struct DecayTables {
  View gamma;     // [heads]         γ
  View mask;      // [heads, B, B]   D_B (empty for recurrent)
  View xi, zeta;  // [heads, B]      ξ, ζ: what the state R of earlier chunks adds; what a token gives it
  View carry;     // [heads, 2]      c of a full chunk, c of the last chunk
  View xi_up, zeta_up;  // [heads, B]  ξ', ζ' of the state U of later chunks (bidirectional only)
  View row_scale;       // [heads, tokens] 1/√s_n, multiplies the output row; optional (empty = 1)
};

// O = row_scale ⊙ ((Q Kᵀ ⊙ D) V + ξ ⊙ (Q·state_in)), by any form: parallel, chunkwise, recurrent give one
// result (Sun et al. 2023, equations 5–7 as corrected in core/README.md). q, k [batch, tokens, heads, d_k],
// v, o [batch, tokens, heads, d_v], states [batch, heads, d_k, d_v] (optional, causal only; state_out may be
// state_in). k is already scaled by 1/√d_k. In bf16 the factors of products (scores ⊙ D, ζ ⊙ V, and the state
// where it is read) may be rounded to bf16, and o between two sweeps; the state itself stays f32.
struct Retention {
  View q, k, v, o;
  View state_in, state_out;
  DecayTables tables;
  RetentionPattern pattern;
  View workspace;
};
// d_o is the gradient of o (row_scale is applied inside); d_state_out optional, d_state_in optional.
struct RetentionGradient {
  View q, k, v, d_o;
  View state_in, d_state_out;
  View d_q, d_k, d_v, d_state_in;
  DecayTables tables;
  RetentionPattern pattern;
  View workspace;
};

// Everything between the QKVG projection and the output projection, as one op that may stay in cache:
//   y (+)= swish(g) ⊙ HeadNorm(Retention(rotate(q), key_scale·rotate(k), v)).
// Without g the gate is 1; without cosine and sine nothing turns. Nothing but q, k, v, g is kept for the
// gradient. q, k [batch, tokens, heads, d_k]; v, g, y [batch, tokens, heads, d_v]; cosine, sine [tokens,
// d_k/2].
struct RetentionBlock {
  View q, k, v, g, y;
  View cosine, sine;
  View state_in, state_out;  // optional, as in Retention
  DecayTables tables;
  RetentionPattern pattern;
  float key_scale = 1;
  HeadNormKind head_norm = HeadNormKind::layer;
  float epsilon = 1e-6f;
  Write write = Write::overwrite;
  View workspace;
};
struct RetentionBlockGradient {
  View q, k, v, g, d_y;
  View d_q, d_k, d_v, d_g;
  View cosine, sine;
  // Learned decays, both or none: d_log_rate [heads, 1] += ∂loss/∂log_rate (DecayPowers; row_scale is
  // constant). decay_derivative [heads, tokens, tokens] is ∂D/∂log_rate of all pairs of tokens, by any form.
  View decay_derivative, d_log_rate;
  DecayTables tables;
  RetentionPattern pattern;
  float key_scale = 1;
  HeadNormKind head_norm = HeadNormKind::layer;
  float epsilon = 1e-6f;
  View workspace;
};

// Decays that are learned, γ_h = exp(−exp(log_rate[h])), which lies between 0 and 1 whatever log_rate is: the
// numbers of a table, y[h, i] = γ_h^exponent[i], 0 where the exponent is ∞; or ∂y/∂log_rate, −x·exp(−x) with
// x = exp(log_rate[h])·exponent[i]. exp(log_rate) and x are cut to what f32 holds as normal numbers, so that
// neither 0 · ∞ nor ∞ − ∞ comes about. exponents [n], none below 0; log_rate [heads, 1], y [heads, n].
struct DecayPowers {
  View exponents, log_rate, y;
  bool derivative = false;
};

// y[h] += Σ_{b,t,c} a[b,t,h,c]·b[b,t,h,c]. a, b [batch, tokens, heads, d], y [heads, 1].
struct HeadDot {
  View a, b, y;
  View workspace;
};

// o = softmax(scale · q kᵀ) v per head; log_sum_exp [batch, heads, tokens] (optional) is all the gradient
// keeps: never N². q, k, v, o [batch, tokens, heads, d].
struct Attention {
  View q, k, v, o;
  View log_sum_exp;
  float scale = 1;
  View workspace;
};
struct AttentionGradient {
  View q, k, v, o, log_sum_exp, d_o;
  View d_q, d_k, d_v;
  float scale = 1;
  View workspace;
};

// ------------------------------------------------------------------------------------------ head and loss

enum class PoolKind : std::uint8_t { mean, last };
// mean: y[b] (+)= scale · Σ_t x[b,t] (scale = 1/tokens for a mean); last: y[b] = x[b, tokens−1]. In bf16 y
// may be f32. x [batch, tokens, width], y [batch, width]. d_x is overwritten, zeros included.
struct PoolTokens {
  View x, y;
  PoolKind kind = PoolKind::mean;
  float scale = 1;
  Write write = Write::overwrite;
};
struct PoolTokensGradient {
  View d_y, d_x;
  PoolKind kind = PoolKind::mean;
  float scale = 1;
};

// y = softmax(x), row by row; d_x = y ⊙ (d_y − Σ d_y·y). x, y, d_y, d_x [rows, width]; y may be x, d_x may be
// d_y.
struct Softmax {
  View x, y;
};
struct SoftmaxGradient {
  View y, d_y, d_x;
};

// t = (1 − smoothing)·targets + smoothing·(Σ targets)/classes;  loss[b] = −Σ_c w_c t_c log
// softmax(logits[b])_c; d_logits[b] = gradient_scale · ∂loss[b]/∂logits[b], NaN where loss[b] is not finite.
// logits, targets, d_logits [batch, classes], loss [batch], class_weight [classes] (w = 1). The last two
// optional.
struct CrossEntropy {
  View logits, targets, class_weight, loss, d_logits;
  float smoothing = 0;
  float gradient_scale = 1;
};

// ------------------------------------------------------------------------------------- optimizer, over flat
// arrays

// y[0] = Σ x². x [n] contiguous, y [1].
struct SquaredNorm {
  View x, y;
  View workspace;
};

// What changes from step to step, read from a small view that the trainer uploads once a step.
enum StepScalar : int { kLearningRate, kBiasCorrection1, kBiasCorrection2, kEmaWeight, kStepScalars };

// g = gradient · min(1, max_norm / (√gradient_squared_norm + 1e-6)) when max_norm > 0 (as torch's
// clip_grad_norm_); m = β₁m + (1−β₁)g; v = β₂v + (1−β₂)g²; parameter −= lr·weight_decay·parameter, then
// parameter −= lr · (m / bias_correction1) / (√(v / bias_correction2) + ε)      (Loshchilov & Hutter 2019, as
// PyTorch). parameter, gradient, first_moment, second_moment [n] contiguous; step_scalars [kStepScalars];
// gradient_squared_norm [1], needed for max_norm > 0. Where it is given and not finite, nothing changes.
struct AdamW {
  View parameter, gradient, first_moment, second_moment, step_scalars, gradient_squared_norm;
  double beta1 = 0.9, beta2 = 0.999;  // double: 1 − β₂ of an f32 would be off by 1.3e-5
  float epsilon = 1e-8f, weight_decay = 0, max_norm = 0;
};

// y += weight · (x − y), weight = step_scalars[kEmaWeight]: the moving average of the parameters. x, y [n]
// contiguous.
struct Lerp {
  View x, y, step_scalars;
};

using Op = std::variant<Gemm, QuantizedGemm, Convert, ColumnSum, Convolution, ConvolutionInputGradient,
                        ConvolutionWeightGradient, Depthwise, DepthwiseInputGradient, DepthwiseWeightGradient,
                        Patches, Add, BroadcastAdd, ScaleSamples, Activation, ActivationGradient, Gate,
                        GateGradient, LayerNorm, LayerNormGradient, HeadNorm, HeadNormGradient, Rotate,
                        Retention, RetentionGradient, RetentionBlock, RetentionBlockGradient, DecayPowers,
                        HeadDot, Attention, AttentionGradient, PoolTokens, PoolTokensGradient, Softmax,
                        SoftmaxGradient, CrossEntropy, SquaredNorm, AdamW, Lerp>;

const char* name_of(const Op& op);  // "LayerNormGradient"
// The name with what decides the op's cost: of a Gemm M x N x K and what is fused to it ("Gemm 197x768x192
// bias gelu"), of others the shape of their first view ("LayerNorm 1x197x192").
std::string label_of(const Op& op);

// Stops the program when shapes, dtypes or strides of an op break the rules above: a bug of the caller.
void validate(const Op& op);

}  // namespace vretnet::ops
