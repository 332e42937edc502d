// A walk through layers or a model in a test: a backend, weights and gradients one can write to from the
// host, and planned memory that is filled with NaN, so that reading what nobody wrote shows in the result.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/backends/available.h"
#include "core/base/random.h"
#include "core/layers/pass.h"
#include "core/model/weights.h"

namespace vretnet::testing {

class PassBench {
 public:
  // Weights start at random: uniform ±0.4, gains of norms 1 ± 0.4, given values ± 0.4, so that gradients are
  // neither tiny nor wild.
  PassBench(const layers::ParameterTable& table, const layers::Pass::Options& options,
            const std::string& backend = "reference")
      : table_(table),
        backend_(make_backend(backend, 1)),
        options_(options),
        tables_(*backend_, options.dtype),
        weights_(*backend_, options.dtype, {table.elements()}),
        gradients_(*backend_, options.dtype, {table.elements()}),
        pass_(*backend_, table, tables_, weights_.view(), gradients_.view(), options) {
    set_weights(random_weights(table));
  }

  static std::vector<double> random_weights(const layers::ParameterTable& table) {
    std::vector<double> values(static_cast<std::size_t>(table.elements()), 0.0);
    Random random(11);
    for (const layers::NamedTensor& tensor : table.tensors()) {
      for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
        const double value = random.uniform(-0.4, 0.4);
        const layers::Initial& initial = tensor.initial;
        values[tensor.offset + i] = value + (initial.kind == layers::Initial::constant ? 1
                                             : initial.kind == layers::Initial::given  ? initial.values[i]
                                                                                       : 0);
      }
    }
    return values;
  }

  void set_weights(const std::vector<double>& values) {
    model::upload_values(*backend_, weights_.view(), values);
  }
  std::vector<double> gradients() { return model::download_values<double>(*backend_, gradients_.view()); }
  void clear_gradients() { backend_->fill(gradients_.view(), 0); }
  Backend& backend() { return *backend_; }

  Allocation upload(const std::vector<double>& values, const Shape& shape) {
    Allocation memory(*backend_, options_.dtype, shape);
    model::upload_values(*backend_, memory.view(), values);
    return memory;
  }
  // Numbers of a contiguous view; none while measuring.
  std::vector<double> download(const layers::Pass& pass, const View& view) {
    if (pass.measuring()) return {};
    return model::download_values<double>(*backend_, view);
  }

  // Makes the walk twice: once to plan its memory, then for real.
  void walk(const std::function<void(layers::Pass&)>& steps, const layers::Place& place = {},
            layers::StreamState* stream = nullptr) {
    Arena measured;
    pass_.start(measured, place, /*measuring=*/true, stream);
    steps(pass_);
    const auto elements = static_cast<std::int64_t>(measured.peak_bytes() / bytes_of(options_.dtype));
    const Allocation memory(*backend_, options_.dtype, {elements});
    backend_->fill(memory.view(), std::numeric_limits<double>::quiet_NaN());
    Arena arena(memory.buffer());
    pass_.start(arena, place, /*measuring=*/false, stream);
    steps(pass_);
    if (pass_.saved() != 0) throw std::logic_error("saved and never taken");
    if (arena.bytes_in_use() != 0) throw std::logic_error("a tensor outlived its walk");
  }

 private:
  const layers::ParameterTable& table_;
  std::unique_ptr<Backend> backend_;
  layers::Pass::Options options_;
  layers::TableCache tables_;
  Allocation weights_, gradients_;
  layers::Pass pass_;
};

}  // namespace vretnet::testing
