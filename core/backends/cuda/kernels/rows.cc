// The host's half of rows.cuh: which axes of strided tensors can be one.
#include "core/backends/cuda/kernels/rows.cuh"

#include <limits>

#include "core/base/ensure.h"

namespace vretnet::cuda {

Strided::Strided(const View& view) {
  if (!view) return;
  ensure(wide_of(view.dtype()) == DType::f32, "the cuda backend runs f32 and bf16, not {}",
         name_of(view.dtype()));
  dtype = view.dtype();
  rank = view.rank();
  for (int axis = 0; axis < rank; ++axis) {
    extent[axis] = view.extent(axis);
    stride[axis] = view.stride(axis);
  }
  if (view.elements() > 0) data = view.data<void>();
}

void Strided::skip(std::int64_t elements) {
  if (data) data = static_cast<char*>(data) + elements * static_cast<std::int64_t>(bytes_of(dtype));
}

void Strided::push_back(std::int64_t the_extent, std::int64_t the_stride) {
  ensure(rank < kMaxAxes, "more than {} axes", kMaxAxes);
  extent[rank] = the_extent;
  stride[rank++] = the_stride;
}

namespace detail {
namespace {

// Whether `outer` goes on where `inner` ends, in every tensor.
bool joins(const Strided* tensors, int count, int outer, int inner) {
  for (int n = 0; n < count; ++n) {
    const Strided& tensor = tensors[n];
    if (tensor.data && tensor.stride[outer] != tensor.stride[inner] * tensor.extent[inner]) return false;
  }
  return true;
}

bool is_vector(const Strided& tensor, int innermost) {
  if (tensor.data == nullptr) return true;  // nothing is read
  if (tensor.stride[innermost] != 1 || tensor.extent[innermost] % 4 != 0) return false;
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % (4 * bytes_of(tensor.dtype)) != 0) return false;
  for (int axis = 0; axis < innermost; ++axis) {
    if (tensor.stride[axis] % 4 != 0) return false;
  }
  return true;
}

// The same tensors with as few axes as describe them; the innermost is left alone unless `merge`.
void simplify(std::array<Strided, 8>& tensors, int count, bool merge) {
  std::array<Strided, 8> simple;
  for (int n = 0; n < count; ++n) {
    simple[n].data = tensors[n].data;
    simple[n].dtype = tensors[n].dtype;
  }
  const int rank = tensors[0].rank;
  const auto push = [&](int axis) {
    for (int n = 0; n < count; ++n) simple[n].push_back(tensors[0].extent[axis], tensors[n].stride[axis]);
  };
  for (int axis = 0; axis < rank; ++axis) {
    const bool innermost = axis == rank - 1;
    if (tensors[0].extent[axis] == 1 && (!innermost || (merge && simple[0].rank > 0))) continue;
    push(axis);
    if (innermost && !merge) continue;
    while (simple[0].rank >= 2 && joins(simple.data(), count, simple[0].rank - 2, simple[0].rank - 1)) {
      for (int n = 0; n < count; ++n) {
        Strided& tensor = simple[n];
        tensor.extent[tensor.rank - 2] *= tensor.extent[tensor.rank - 1];
        tensor.stride[tensor.rank - 2] = tensor.stride[tensor.rank - 1];
        --tensor.rank;
      }
    }
  }
  tensors = simple;
}

}  // namespace

void make_rows(const Strided* given, int count, bool merge, const RowsOutput& rows) {
  std::array<Strided, 8> tensors;
  ensure(count <= 8, "{} tensors", count);
  for (int n = 0; n < count; ++n) tensors[n] = given[n];
  simplify(tensors, count, merge);
  const Strided& first = tensors[0];
  const int innermost = first.rank - 1;
  ensure(innermost >= 0 && innermost <= kOuterAxes, "rows of rank {}", first.rank);
  std::int64_t outer = 1;
  *rows.axes = innermost;
  for (int axis = 0; axis < innermost; ++axis) {
    const int from = innermost - 1 - axis;
    rows.extent[axis] = static_cast<unsigned>(first.extent[from]);
    outer *= first.extent[from];
    for (int n = 0; n < count; ++n) rows.stride[n][axis] = tensors[n].stride[from];
  }
  ensure(outer * first.extent[innermost] < std::numeric_limits<unsigned>::max(), "{} rows of {} elements",
         outer, first.extent[innermost]);
  *rows.rows = static_cast<unsigned>(outer);
  *rows.width = static_cast<unsigned>(first.extent[innermost]);
  *rows.vector = true;
  for (int n = 0; n < count; ++n) {
    rows.data[n] = tensors[n].data;
    rows.inner[n] = static_cast<int>(tensors[n].stride[innermost]);
    *rows.vector = *rows.vector && is_vector(tensors[n], innermost);
  }
}

}  // namespace detail
}  // namespace vretnet::cuda
