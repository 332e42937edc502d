#include "core/model/weights.h"

#include <algorithm>
#include <type_traits>

#include "core/base/ensure.h"
#include "core/base/random.h"

namespace vretnet::model {

std::vector<double> initial_values(const layers::ParameterTable& table, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(table.elements()), 0.0);
  std::uint64_t index = 0;
  for (const layers::NamedTensor& tensor : table.tensors()) {
    const layers::Initial& initial = tensor.initial;
    if (initial.kind == layers::Initial::given) {
      std::copy(initial.values.begin(), initial.values.end(), values.begin() + tensor.offset);
      continue;
    }
    Random random(seed, {index++});
    for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
      double& value = values[static_cast<std::size_t>(tensor.offset + i)];
      switch (initial.kind) {
        case layers::Initial::zeros:
        case layers::Initial::given:
          break;
        case layers::Initial::constant:
          value = initial.scale;
          break;
        case layers::Initial::uniform:
          value = random.uniform(-initial.scale, initial.scale);
          break;
        case layers::Initial::truncated_normal:
          value = initial.scale * random.truncated_normal();
          break;
      }
    }
  }
  return values;
}

template <class Real>
void upload_values(Backend& backend, const View& target, const std::vector<Real>& values) {
  ensure(target.elements() == static_cast<std::int64_t>(values.size()), "{} values for {}", values.size(),
         target.shape().text());
  constexpr DType own = std::is_same_v<Real, float> ? DType::f32 : DType::f64;
  if (target.dtype() == own) {
    backend.upload(target, values.data());
  } else if (target.dtype() == DType::f32) {
    const std::vector<float> converted(values.begin(), values.end());
    backend.upload(target, converted.data());
  } else {
    const std::vector<double> converted(values.begin(), values.end());
    backend.upload(target, converted.data());
  }
  backend.weights_changed();
}

template <class Real>
std::vector<Real> download_values(Backend& backend, const View& source) {
  const auto count = static_cast<std::size_t>(source.elements());
  if (source.dtype() == DType::f32) {
    std::vector<float> values(count);
    backend.download(source, values.data());
    return {values.begin(), values.end()};
  }
  std::vector<double> values(count);
  backend.download(source, values.data());
  return {values.begin(), values.end()};
}

template void upload_values(Backend&, const View&, const std::vector<float>&);
template void upload_values(Backend&, const View&, const std::vector<double>&);
template std::vector<float> download_values(Backend&, const View&);
template std::vector<double> download_values(Backend&, const View&);

}  // namespace vretnet::model
