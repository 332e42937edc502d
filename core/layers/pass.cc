#include "core/layers/pass.h"

#include "core/base/ensure.h"
#include "core/ops/workspace.h"

namespace vretnet::layers {
namespace {
constexpr std::size_t kExpectedSaves = 1024;  // so that a step does not grow the list
}

View StreamState::carried(Backend& backend, DType dtype, const void* owner, int slot, const Shape& shape) {
  const auto [entry, added] = kept_.try_emplace({owner, slot});
  if (added) entry->second = Allocation(backend, dtype, shape);
  ensure(entry->second.view().shape() == shape, "a stream that carried {} is asked for {}",
         entry->second.view().shape().text(), shape.text());
  return entry->second.view();
}

void StreamState::clear(Backend& backend) {
  for (const auto& [key, memory] : kept_) backend.fill(memory.view(), 0);
}

Pass::Pass(Backend& backend, const ParameterTable& table, TableCache& tables, const View& weights,
           const View& gradients, const Options& options)
    : backend_(backend),
      table_(table),
      tables_(tables),
      weights_(weights),
      gradients_(gradients),
      options_(options) {
  saved_.reserve(kExpectedSaves);
}

void Pass::start(Arena& arena, const Place& place, bool measuring, StreamState* stream) {
  saved_.clear();
  arena_ = &arena;
  place_ = place;
  measuring_ = measuring;
  stream_ = stream;
}

View Pass::branch_scale(std::int64_t branch, std::int64_t images) const {
  return branch_scales_ ? branch_scales_.select(0, branch).slice(0, 0, images) : View();
}

void Pass::run(ops::Op op) {
  const std::size_t bytes = backend_.workspace_bytes(op);
  Tensor workspace;
  if (bytes > 0) {
    workspace = make(ops::workspace_shape(bytes, options_.dtype));
    set_workspace(op, workspace);
  }
  if (!measuring_) backend_.run(op);
}

Tensor Pass::as_activations(const Tensor& x) {
  if (x.view().dtype() == options_.dtype) return x;
  Tensor y = make(x.view().shape());
  run(ops::Convert{.x = x, .y = y});
  return y;
}

const QuantizedLinear* Pass::quantized(ParameterId id) const {
  if (options_.quantized == nullptr) return nullptr;
  const auto found = options_.quantized->find(id);
  return found == options_.quantized->end() ? nullptr : &found->second;
}

void Pass::save(Tensor tensor) {
  if (keeps()) saved_.push_back(std::move(tensor));
}

Tensor Pass::take() {
  ensure(!saved_.empty(), "backward takes more than forward saved");
  Tensor tensor = std::move(saved_.back());
  saved_.pop_back();
  return tensor;
}

View Pass::carried(const void* owner, int slot, const Shape& shape) {
  ensure(stream_ != nullptr, "only a stream carries state");
  return stream_->carried(backend_, options_.dtype, owner, slot, shape);
}

View Pass::carried_wide(const void* owner, int slot, const Shape& shape) {
  ensure(stream_ != nullptr, "only a stream carries state");
  return stream_->carried(backend_, wide_of(options_.dtype), owner, slot, shape);
}

}  // namespace vretnet::layers
