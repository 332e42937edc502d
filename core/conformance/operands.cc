#include "core/conformance/operands.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/base/ensure.h"
#include "core/base/random.h"
#include "core/tensor/bfloat16.h"

namespace vretnet::conformance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMargin = 16;  // guard elements at both ends; keeps packed views aligned

View whole(const Buffer* buffer, DType dtype, std::int64_t elements) {
  return View(buffer, dtype, Shape{elements});
}

// A view of `shape` somewhere in a buffer of `elements`, which it sets.
View place(const Buffer* buffer, DType dtype, const Shape& shape, const Layout& layout,
           std::int64_t& elements) {
  Shape outer = shape;
  if (layout.transposed) std::swap(outer[shape.rank() - 2], outer[shape.rank() - 1]);
  for (int axis = 0; axis < outer.rank(); ++axis) outer[axis] += 2 * layout.gap;
  View view(buffer, dtype, outer, kMargin);
  elements = outer.elements() + 2 * kMargin;
  for (int axis = 0; axis < outer.rank(); ++axis) {
    view = view.slice(axis, layout.gap, view.extent(axis) - 2 * layout.gap);
  }
  if (layout.transposed) view = view.transposed();
  if (layout.reversed >= 0) view = view.reversed(layout.reversed);
  return view;
}

// As memory of this dtype holds it; f64 holds what f32 does, so that all dtypes but bf16 see the same
// numbers.
double rounded(double value, DType dtype) {
  const auto number = static_cast<float>(value);
  return dtype == DType::bf16 ? to_float(to_bfloat16(number)) : number;
}

std::vector<std::int64_t> positions_of(const View& view) {
  std::vector<std::int64_t> positions{view.offset()};
  for (int axis = 0; axis < view.rank(); ++axis) {
    std::vector<std::int64_t> next;
    next.reserve(positions.size() * static_cast<std::size_t>(view.extent(axis)));
    for (std::int64_t position : positions) {
      for (std::int64_t i = 0; i < view.extent(axis); ++i) next.push_back(position + i * view.stride(axis));
    }
    positions = std::move(next);
  }
  return positions;
}

}  // namespace

View Operands::add(const std::string& name, Kind kind, DType dtype, const Shape& shape,
                   const Layout& layout) {
  Operand& operand = operands_.emplace_back();
  operand.name = name;
  operand.kind = kind;
  operand.buffer = std::make_unique<Buffer>();
  std::int64_t elements = 0;
  operand.view = place(operand.buffer.get(), dtype, shape, layout, elements);
  operand.positions = positions_of(operand.view);
  const double gap = operand.written() ? kGuard : dtype == DType::s8 ? kIntegerGap : kNan;
  operand.initial.assign(static_cast<std::size_t>(elements), gap);
  for (std::int64_t position : operand.positions) operand.initial[static_cast<std::size_t>(position)] = kNan;
  return operand.view;
}

void Operands::randomize(Operand& operand, Values values) {
  Random random(seed_, {operands_.size()});
  for (std::int64_t position : operand.positions) {
    const double value = values == Values::positive ? random.uniform(0.1, 1)
                         : values == Values::large  ? 30 + random.normal()
                         : values == Values::small  ? 0.25 * random.normal()
                                                    : random.normal();
    operand.initial[static_cast<std::size_t>(position)] = rounded(value, operand.view.dtype());
  }
}

View Operands::input(const std::string& name, const Shape& shape, const Layout& layout, Values values) {
  const View view = add(name, Kind::input, shape, layout);
  randomize(operands_.back(), values);
  return view;
}

View Operands::integers(const std::string& name, const Shape& shape, const Layout& layout) {
  const View view = add(name, Kind::input, DType::s8, shape, layout);
  Random random(seed_, {operands_.size()});
  for (std::int64_t position : operands_.back().positions) {
    operands_.back().initial[static_cast<std::size_t>(position)] =
        std::round(random.uniform(-127, 127)) + 0.0;  // no −0
  }
  return view;
}

View Operands::update(const std::string& name, const Shape& shape, const Layout& layout, Values values) {
  const View view = add(name, Kind::update, shape, layout);
  randomize(operands_.back(), values);
  return view;
}

View Operands::output(const std::string& name, const Shape& shape, const Layout& layout) {
  return add(name, Kind::output, shape, layout);
}

View Operands::given(const std::string& name, const Shape& shape, const std::vector<double>& values) {
  if (values.empty() && shape.elements() > 0) return {};
  const View view = add(name, Kind::given, shape, kPacked);
  Operand& operand = operands_.back();
  ensure(values.size() == operand.positions.size(), "{} values for {} of {}", values.size(), name,
         shape.text());
  for (std::size_t i = 0; i < values.size(); ++i) {
    operand.initial[static_cast<std::size_t>(operand.positions[i])] = rounded(values[i], view.dtype());
  }
  return view;
}

std::vector<double> Operands::values(const std::string& name) const {
  const auto operand = std::find_if(operands_.begin(), operands_.end(),
                                    [&](const Operand& each) { return each.name == name; });
  ensure(operand != operands_.end(), "there is no operand {}", name);
  std::vector<double> values;
  for (std::int64_t position : operand->positions) {
    values.push_back(operand->initial[static_cast<std::size_t>(position)]);
  }
  return values;
}

void Operands::drop_last_elements(std::size_t operand, std::size_t count) {
  Operand& dropped = operands_[operand];
  ensure(!dropped.positions.empty(), "{} has no elements", dropped.name);
  const std::size_t elements = dropped.positions.size();
  for (std::size_t i = elements - std::min(count, elements); i < elements; ++i) {
    double& element = dropped.initial[static_cast<std::size_t>(dropped.positions[i])];
    element = std::abs(element) >= 0.5 ? 0 : element + 1;
  }
}

void Operands::upload(Backend& backend, bool in_doubles) {
  for (Operand& operand : operands_) {
    const std::size_t elements = operand.initial.size();
    const DType dtype = operand.view.dtype();
    operand.buffer->bytes = elements * bytes_of(dtype);
    operand.buffer->data = backend.allocate(operand.buffer->bytes);
    const View target = whole(operand.buffer.get(), dtype, static_cast<std::int64_t>(elements));
    if (dtype == DType::s8) {
      const std::vector<std::int8_t> integers(operand.initial.begin(), operand.initial.end());
      backend.upload(target, integers.data());
    } else if (in_doubles || dtype == DType::f64) {
      backend.upload(target, operand.initial.data());
    } else if (dtype == DType::f32) {
      const std::vector<float> rounded(operand.initial.begin(), operand.initial.end());
      backend.upload(target, rounded.data());
    } else {
      std::vector<BFloat16> rounded;
      for (double value : operand.initial) rounded.push_back(to_bfloat16(static_cast<float>(value)));
      backend.upload(target, rounded.data());
    }
  }
}

void Operands::release(Backend& backend) {
  for (Operand& operand : operands_) {
    if (operand.buffer->data) backend.release(std::exchange(operand.buffer->data, nullptr));
  }
}

std::vector<double> Operands::download(Backend& backend, const Operand& operand) const {
  const std::size_t elements = operand.initial.size();
  const DType dtype = operand.view.dtype();
  const View source = whole(operand.buffer.get(), dtype, static_cast<std::int64_t>(elements));
  if (dtype == DType::s8) {
    std::vector<std::int8_t> integers(elements);
    backend.download(source, integers.data());
    return {integers.begin(), integers.end()};
  }
  std::vector<double> values(elements);
  if (dtype == DType::f64) {
    backend.download(source, values.data());
  } else if (dtype == DType::f32) {
    std::vector<float> floats(elements);
    backend.download(source, floats.data());
    std::copy(floats.begin(), floats.end(), values.begin());
  } else {
    std::vector<BFloat16> halves(elements);
    backend.download(source, halves.data());
    std::transform(halves.begin(), halves.end(), values.begin(), to_float);
  }
  return values;
}

}  // namespace vretnet::conformance
