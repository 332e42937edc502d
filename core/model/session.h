// A model bound to a machine: planned memory, tables, one pass. One session or stream a thread; many share
// one model and one array of weights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/layers/pass.h"
#include "core/model/model.h"
#include "core/ops/recorded.h"

namespace vretnet::model {

// Weights in the dtype that layers read: `weights` themselves, or a copy of them.
class WeightsCopy {
 public:
  WeightsCopy(Backend& backend, const View& weights, DType dtype);
  const View& view() const { return copy_.view() ? copy_.view() : weights_; }
  void make();         // the copy as the weights are now
  void make_if_new();  // once

 private:
  Backend& backend_;
  View weights_;
  Allocation copy_;
  bool made_ = false;
};

// An image read from top to bottom in pieces, whatever its height, by a causal model: memory does not grow.
// The result after the last row equals the whole image's.
class Stream {
 public:
  // `width` in pixels. Throws UsageError with model.why_not_streamable() when there is a reason.
  Stream(const Model& model, Backend& backend, const View& weights, const layers::Pass::Options& options,
         std::int64_t width);

  // The next `patch_rows` · patch_size rows of pixels [rows, width, channels], normalised → logits [1,
  // classes] of the image so far, valid until the next call. The first call with a number of rows plans its
  // memory.
  View push(const float* pixels, std::int64_t patch_rows);
  std::int64_t rows_seen() const { return rows_seen_; }  // patch rows
  // The next piece is the top of another image of that width.
  void restart();

  // Patch rows of options.band_tokens tokens, at least one: pieces that large keep the machine busy.
  std::int64_t band_rows() const;
  std::size_t arena_bytes() const { return memory_.buffer() ? memory_.buffer()->bytes : 0; }

 private:
  void plan(std::int64_t patch_rows);
  Shape pixels_shape(std::int64_t patch_rows) const;
  layers::Place place(std::int64_t patch_rows) const;

  const Model& model_;
  Backend& backend_;
  layers::Pass::Options options_;
  std::int64_t width_, channels_, columns_, rows_seen_ = 0;
  layers::TableCache tables_;
  WeightsCopy weights_;
  layers::Pass pass_;
  layers::StreamState state_;
  std::vector<std::int64_t> planned_;  // numbers of rows
  Allocation memory_, pixels_;
  std::unique_ptr<Arena> arena_;
  Tensor logits_;
};

// Writes the pixels of rows first_row … first_row + rows − 1 of an image of the batch, normalised, [rows,
// width, channels], to out.
using PixelRows =
    std::function<void(std::int64_t image, std::int64_t first_row, std::int64_t rows, float* out)>;

class Session {
 public:
  // `weights` (and in training `gradients`) are flat arrays of the model's layout, f32 where options.dtype is
  // bf16; they must outlive the session. In bf16 the layers read a copy of the weights: training makes it
  // anew in every forward, inference once, before the first one.
  Session(const Model& model, Backend& backend, const View& weights, const View& gradients,
          const layers::Pass::Options& options);

  // images [batch, height, width, channels] on the host, normalised → logits [batch, classes] on the backend,
  // valid until the next call. The first call with a batch size plans its memory (a dry run) and may
  // allocate; later calls with that size, or a smaller one that was seen, allocate nothing. In inference a
  // backend that records (a GPU) notes the ops of the second call and replays them from then on. Throws
  // RunError naming the batch size that would fit where memory is too small.
  // A large image of a causal model passes in bands (Pass::Options::band_tokens), one image after the other;
  // the tables of each band are then made anew. A batch on a CPU passes in pieces
  // (Pass::Options::piece_bytes), whose memory is then all that is planned.
  View forward(const float* images, std::int64_t batch);
  // The same of pixels that are made when they are needed: in bands, those of the whole image are never held.
  View forward(const PixelRows& pixels, std::int64_t batch);
  // The gradient of what forward() just computed is added to `gradients`. Once per forward, in training only.
  void backward(const View& d_logits);

  // forward() in two parts, for whoever records more than it: what needs the host, and what only queues ops.
  // load() says whether memory has moved since the last time, which makes recordings of this session void;
  // it may be called for the next batch while the machine works on this one.
  bool load(const float* images, std::int64_t batch);
  View forward_loaded();

  // Stochastic depth in training (Pass::scale_branches). `scales` must outlive the session.
  void scale_branches(const View& scales) { pass_.scale_branches(scales); }

  // Planned memory in bytes: activations, gradients of activations, workspaces.
  std::size_t arena_bytes() const;

 private:
  // What is known of a batch size.
  struct Plan {
    std::int64_t batch;
    Recorded forward;
    View logits;
  };
  Plan& plan(std::int64_t batch);
  std::size_t measured_peak(std::int64_t batch);  // of the arena, by a dry run
  void make_room(std::int64_t batch, std::size_t peak);
  void release_memory();
  View logits_of(std::int64_t batch);  // [batch, classes], of images that pass in bands or pieces
  View forward_in_pieces(const float* images, std::int64_t batch);
  // rows(image, first_row, rows) → their pixels on the host.
  template <class Rows>
  View forward_in_bands(std::int64_t batch, const Rows& rows);

  const Model& model_;
  Backend& backend_;
  layers::Pass::Options options_;
  layers::TableCache tables_;
  WeightsCopy weights_;
  Allocation memory_, images_;
  std::unique_ptr<Arena> arena_;
  layers::Pass pass_;  // after the arena: a walk that failed has left tensors of it here
  std::vector<Plan> plans_;
  std::int64_t loaded_ = -1;        // the batch size of the images
  std::int64_t forwarded_ = -1;     // the batch size whose backward is due
  bool moved_ = false;              // memory, since load() said so last
  Tensor input_, logits_;           // input_: the images as the layers read them
  std::unique_ptr<Stream> bands_;   // where images pass in bands
  std::int64_t piece_images_ = 0;   // of a batch that passes in pieces; 0: not known yet
  Allocation logits_of_images_;     // [batch, classes] or more, of images that passed in bands or pieces
  std::vector<float> host_pixels_;  // made by PixelRows
};

}  // namespace vretnet::model
