#include "core/layers/parameters.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/ensure.h"

namespace vretnet::layers {
namespace {
constexpr std::int64_t kAlignment = 16;  // elements: 64 bytes of f32
}

Initial xavier_uniform(std::int64_t fan_in, std::int64_t fan_out, double gain) {
  return {Initial::uniform, gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out))};
}

Initial uniform_by_fan_in(std::int64_t fan_in) {
  return {Initial::uniform, 1 / std::sqrt(static_cast<double>(fan_in))};
}

ParameterId ParameterTable::add(NamedTensor tensor) {
  return add_stacked({std::move(tensor)});
}

ParameterId ParameterTable::add_stacked(std::vector<NamedTensor> parts) {
  ensure(!parts.empty() && elements_ == 0,
         "a parameter needs a part, and the table must not be laid out yet");
  Parameter parameter{static_cast<int>(tensors_.size()), static_cast<int>(parts.size()), parts[0].shape};
  for (std::size_t part = 1; part < parts.size(); ++part) {
    ensure(parts[part].shape.rank() == 2 && parts[part].shape[1] == parameter.shape[1], "{}: {} under {}",
           parts[part].name, parts[part].shape.text(), parameter.shape.text());
    parameter.shape[0] += parts[part].shape[0];
  }
  for (NamedTensor& part : parts) {
    ensure(find(part.name) == nullptr, "{} was added twice", part.name);
    ensure(part.initial.kind != Initial::given ||
               static_cast<std::int64_t>(part.initial.values.size()) == part.shape.elements(),
           "{}: {} values for {}", part.name, part.initial.values.size(), part.shape.text());
    ensure(part.decays == parts[0].decays, "{}: parts of one parameter share weight decay", part.name);
    tensors_.push_back(std::move(part));
  }
  parameters_.push_back(parameter);
  return static_cast<ParameterId>(parameters_.size()) - 1;
}

void ParameterTable::lay_out() {
  elements_ = 0;
  for (const bool decays : {true, false}) {
    for (const Parameter& parameter : parameters_) {
      if (tensors_[parameter.first_tensor].decays != decays) continue;
      elements_ = (elements_ + kAlignment - 1) / kAlignment * kAlignment;
      for (int part = 0; part < parameter.tensor_count; ++part) {
        NamedTensor& tensor = tensors_[parameter.first_tensor + part];
        tensor.offset = elements_;
        elements_ += tensor.shape.elements();
      }
    }
    elements_ = (elements_ + kAlignment - 1) / kAlignment * kAlignment;
    if (decays) decaying_elements_ = elements_;
  }
}

View ParameterTable::view(ParameterId id, const View& flat) const {
  ensure(flat.elements() == elements_, "a flat array of {} elements for {} parameters", flat.elements(),
         elements_);
  const Parameter& parameter = parameters_[static_cast<std::size_t>(id)];
  return View(flat.buffer(), flat.dtype(), parameter.shape,
              flat.offset() + tensors_[parameter.first_tensor].offset);
}

std::span<const NamedTensor> ParameterTable::parts(ParameterId id) const {
  const Parameter& parameter = parameters_[static_cast<std::size_t>(id)];
  return {tensors_.data() + parameter.first_tensor, static_cast<std::size_t>(parameter.tensor_count)};
}

std::int64_t ParameterTable::count() const {
  std::int64_t sum = 0;
  for (const NamedTensor& tensor : tensors_) sum += tensor.shape.elements();
  return sum;
}

const NamedTensor* ParameterTable::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const NamedTensor& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

}  // namespace vretnet::layers
