// Models with the generated weights of a golden.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backends/available.h"
#include "core/model/session.h"
#include "core/model/weights.h"
#include "tests/goldens/golden_file.h"
#include "tests/goldens/golden_random.h"

namespace vretnet::goldens {

constexpr int kThreads = 2;

inline std::vector<std::int64_t> extents(const Shape& shape) {
  std::vector<std::int64_t> result;
  for (int axis = 0; axis < shape.rank(); ++axis) result.push_back(shape[axis]);
  return result;
}

// The flat array of a table: each tensor's numbers follow from its name's place among all names.
inline std::vector<float> golden_weights(const layers::ParameterTable& table, std::uint64_t seed) {
  std::vector<std::string> names;
  for (const layers::NamedTensor& tensor : table.tensors()) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  std::vector<float> flat(static_cast<std::size_t>(table.elements()), 0.0f);
  for (std::uint64_t place = 0; place < names.size(); ++place) {
    const layers::NamedTensor& tensor = *table.find(names[place]);
    fill_parameter<float>(seed, place, tensor.name, extents(tensor.shape),
                          std::span(flat).subspan(tensor.offset, tensor.shape.elements()));
  }
  return flat;
}

inline std::vector<float> golden_images(const model::Model& model, std::uint64_t seed, std::uint64_t step,
                                        std::int64_t batch) {
  std::vector<float> images(static_cast<std::size_t>(model.input_shape(batch).elements()));
  fill_images<float>(seed, step, images);
  return images;
}

// A model on a machine with given weights.
class GoldenSession {
 public:
  GoldenSession(const model::Model& model, const Machine& machine, const std::vector<float>& weights,
                layers::Pass::Options options)
      : backend_(make_backend(machine.backend, kThreads)),
        weights_(*backend_, machine.dtype, {model.parameters().elements()}),
        gradients_(*backend_, machine.dtype, {model.parameters().elements()}) {
    options.dtype = machine.dtype;
    model::upload_values(*backend_, weights_.view(), weights);
    session_ =
        std::make_unique<model::Session>(model, *backend_, weights_.view(), gradients_.view(), options);
  }

  Backend& backend() { return *backend_; }
  model::Session& session() { return *session_; }
  std::vector<double> download(const View& view) { return model::download_values<double>(*backend_, view); }
  std::vector<double> gradients() { return download(gradients_.view()); }

 private:
  std::unique_ptr<Backend> backend_;
  Allocation weights_, gradients_;
  std::unique_ptr<model::Session> session_;
};

}  // namespace vretnet::goldens
