// Multi-scale retention: MSR(X) = (swish(X W_G) ⊙ HeadNorm(Retention(X W_Q, X W_K / √d_k, X W_V)) + LePE(X
// W_V)) W_O (Sun et al. 2023, equations 7 and 8), in any form, scan and decay.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/layers/depthwise_convolution.h"
#include "core/layers/layer.h"
#include "core/layers/learned_decay.h"
#include "core/layers/linear.h"
#include "core/layers/scan_order.h"

namespace vretnet::layers {

// What one retention layer is. Heads divide both widths; width / heads is even.
struct RetentionSettings {
  std::int64_t width = 0, value_width = 0, heads = 1;
  ops::DecayKind decay = ops::DecayKind::raster;
  retention::DecaySpeed speed = retention::DecaySpeed::slow;
  bool learned_decay = false;  // the decays of `speed` are what they start from
  retention::Position position = retention::Position::raster;
  retention::GridScale scale;  // of the image's rows and columns, however a head reads them
  bool bidirectional = false;
  Reading reading = Reading::forwards;  // cross: heads in four orders
  bool gate = true;
  bool lepe = false;  // adds a depthwise convolution of the values, in image order
  bool row_causal_lepe = false;
  ops::HeadNormKind head_norm = ops::HeadNormKind::layer;
  double head_norm_epsilon = 1e-6;
};

// The pattern that `pass` runs such a layer by on `tokens` tokens in lines of `line` (patch rows, or columns
// for a scan by columns): the form asked for, or the cheaper of parallel and chunkwise by their FLOPs; a
// chunk is pass.options().chunk_rows lines (raster chunks are cut to 64 tokens), or as many as fill 32
// tokens, at least one. Manhattan decay is always parallel, and row decay on a grid scaled unequally
// chunkwise in place of recurrent.
ops::RetentionPattern choose_pattern(const Pass& pass, const RetentionSettings& settings, std::int64_t tokens,
                                     std::int64_t line);

class RetentionMixer : public Branch {
 public:
  // Adds `name`.{q,k,v,g}_proj.weight, `name`.lepe.weight|bias (with LePE), `name`.out_proj.weight,
  // `name`.decay (where it is learned).
  RetentionMixer(ParameterTable& table, const std::string& name, const RetentionSettings& settings);

  // x [batch, tokens, width]. A stream carries one state [d_k, d_v] a head, and LePE's rows.
  Tensor forward(Pass& pass, Tensor x, Tensor residual) const override;
  Tensor backward(Pass& pass, Tensor d_y, Tensor x) const override;

 private:
  // Slices of the stacked projection [batch, tokens, 2·width + (1 or 2)·value_width], in image order.
  struct Parts {
    View q, k, v, g;  // g is empty without a gate
  };
  Parts parts(const View& stacked) const;
  // What the decays of an order's heads are made of, for the pass's grid.
  retention::DecaySpec decay_spec(const Pass& pass, std::int64_t tokens, const ScanOrder& order) const;
  // The fields that RetentionBlock and its gradient share, for the heads of one order. `tables` keeps the
  // tables of learned decays.
  template <class BlockOp>
  BlockOp block_op(Pass& pass, const Parts& parts, const ScanOrder& order, const retention::DecaySpec& decay,
                   Tensor& tables) const;
  Tensor by_columns(Pass& pass, const View& by_rows) const;  // all heads; empty where no order reads columns
  // Copies what the heads of an order by columns made back into tokens by rows.
  void to_rows(Pass& pass, const View& by_columns, const View& by_rows, const ScanOrder& order,
               ops::Write write) const;

  RetentionSettings settings_;
  std::vector<ScanOrder> orders_;
  Linear stacked_;
  std::optional<DepthwiseConvolution> lepe_;
  Linear out_;
  std::optional<LearnedDecay> decay_;
};

}  // namespace vretnet::layers
