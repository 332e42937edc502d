// One walk of a batch through a model, forward and (in training) backward: the machine, the planned memory,
// the parameters, and what layers keep between forward and backward, or between the calls of a stream.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/layers/parameters.h"
#include "core/layers/quantized.h"
#include "core/layers/scan_order.h"
#include "core/layers/tables.h"
#include "core/ops/backend.h"
#include "core/tensor/arena.h"

namespace vretnet::layers {

enum class Mode : std::uint8_t { inference, training };

// Which of the three forms retention takes; automatic picks the cheaper of parallel and chunkwise by their
// FLOPs.
enum class FormChoice : std::uint8_t { automatic, parallel, chunkwise, recurrent };

// Where the tokens of this call lie in the patch grid of the image. A whole image: first_token 0, height
// rows. A stream: calls see successive pieces of the raster, and height is what the call itself holds (it may
// be less than a row).
struct Place {
  std::int64_t height = 0, width = 0;  // patches
  std::int64_t first_token = 0;
  bool streaming = false;
};

// What a causal model carries from one call of a stream to the next: retention states, rows above a
// convolution, sums of pooling. Each layer keeps its own under (its address, slot), zero at the start.
class StreamState {
 public:
  View carried(Backend& backend, DType dtype, const void* owner, int slot, const Shape& shape);
  // Everything is zero again.
  void clear(Backend& backend);

 private:
  std::map<std::pair<const void*, int>, Allocation> kept_;
};

// Looks on while a pass runs, to explain what a model did; called for every retention, after it ran.
class RetentionObserver {
 public:
  virtual ~RetentionObserver() = default;
  virtual void saw(const ops::RetentionBlock& block, const ScanOrder& order) = 0;
};

class Pass {
 public:
  struct Options {
    Mode mode = Mode::inference;
    DType dtype = DType::f32;  // of activations, their gradients, and the weights that the layers read
    FormChoice form = FormChoice::automatic;
    std::int64_t chunk_rows = 0;  // patch rows of a chunk, where the form is chunkwise; 0: choose_pattern()'s
    // Inference: the linear layers that run on integers. It must outlive the pass.
    const QuantizedLayers* quantized = nullptr;
    // Causal models in inference: an image of more than twice as many tokens passes all layers in bands of
    // patch rows of about so many, so that what lies between two ops stays in the second cache. 0: never.
    std::int64_t band_tokens = 512;
    // Inference on a CPU: a batch passes in pieces of as many images as take so much of the arena, at least
    // one, so that it stays in the caches. 0: all at once.
    std::int64_t piece_bytes = 12 << 20;
    // Training: blocks keep their input only and run forward again in backward; the same numbers in less
    // memory.
    bool checkpoint_activations = false;
    // For hunting bugs: activation memory is NaN until it is made use of and again once it is given back, so
    // that a layer that reads too early or too late shows in the result.
    bool poison_released = false;
  };
  // `weights` and `gradients` are flat arrays laid out by `table`, weights in options.dtype, gradients in
  // wide_of(it), as are the tables; gradients may be empty for inference.
  Pass(Backend& backend, const ParameterTable& table, TableCache& tables, const View& weights,
       const View& gradients, const Options& options);

  // Starts another walk in `arena`: forgets what was saved. While `measuring`, no op runs and memory is only
  // counted.
  void start(Arena& arena, const Place& place, bool measuring = false, StreamState* stream = nullptr);

  const Options& options() const { return options_; }
  // Stochastic depth: what the output of each residual branch is multiplied by for each image of the walks to
  // come, [branches, images or more], 0 where the branch is left out. Read when the ops run, so a recorded
  // step sees what has been uploaded since. Empty: no branch is touched.
  void scale_branches(const View& scales) { branch_scales_ = scales; }
  // Those of a branch for the first `images`, [images]; empty where no branch is touched.
  View branch_scale(std::int64_t branch, std::int64_t images) const;
  void observe(RetentionObserver* observer) { observer_ = observer; }  // null: nobody
  RetentionObserver* observer() const { return measuring_ ? nullptr : observer_; }
  bool training() const { return options_.mode == Mode::training; }
  // Whether what is saved now will be taken: layers make what only backward needs where this holds.
  bool keeps() const { return training() && !keeps_nothing_; }
  const Place& place() const { return place_; }
  Place& place() { return place_; }  // the patch embedding sets the grid it made
  Backend& backend() { return backend_; }
  TableCache& tables() { return tables_; }
  bool measuring() const { return measuring_; }

  // Activations and their gradients; and what is wider where these are bf16: statistics, sums, logits.
  Tensor make(const Shape& shape) { return arena_->make(options_.dtype, shape); }
  Tensor make_wide(const Shape& shape) { return arena_->make(wide_of(options_.dtype), shape); }
  // x as activations have it: x itself, or a copy in their dtype.
  Tensor as_activations(const Tensor& x);
  // Runs the op, with its workspace taken from the arena for as long as it runs.
  void run(ops::Op op);
  View weight(ParameterId id) const { return table_.view(id, weights_); }
  View gradient(ParameterId id) const { return table_.view(id, gradients_); }
  // The weights in wide_of(options.dtype), where what layers read is rounded from them: of numbers that bf16
  // is too coarse for.
  void keep_wide_weights(const View& weights) { wide_weights_ = weights; }
  View wide_weight(ParameterId id) const { return table_.view(id, wide_weights_ ? wide_weights_ : weights_); }
  // Null where the parameter is not quantized.
  const QuantizedLinear* quantized(ParameterId id) const;

  // While it lives, nothing is kept for backward, as in inference.
  class KeepsNothing {
   public:
    explicit KeepsNothing(Pass& pass) : pass_(pass) { pass_.keeps_nothing_ = true; }
    ~KeepsNothing() { pass_.keeps_nothing_ = false; }
    KeepsNothing(const KeepsNothing&) = delete;
    KeepsNothing& operator=(const KeepsNothing&) = delete;

   private:
    Pass& pass_;
  };

  // Keeps a tensor for the backward pass (nothing in inference, so memory is reused at once); take() gives
  // the tensors back in reverse order.
  void save(Tensor tensor);
  Tensor take();
  std::size_t saved() const { return saved_.size(); }

  // Streams only: memory of this layer that lives from call to call, of activations or of what is wider
  // (states, sums).
  View carried(const void* owner, int slot, const Shape& shape);
  View carried_wide(const void* owner, int slot, const Shape& shape);

 private:
  Backend& backend_;
  const ParameterTable& table_;
  TableCache& tables_;
  View weights_, wide_weights_, gradients_, branch_scales_;
  Options options_;
  Arena* arena_ = nullptr;
  StreamState* stream_ = nullptr;
  RetentionObserver* observer_ = nullptr;
  Place place_;
  bool measuring_ = false, keeps_nothing_ = false;
  std::vector<Tensor> saved_;
};

}  // namespace vretnet::layers
