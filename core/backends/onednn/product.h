// One call of oneDNN's matmul.
#pragma once

#include "core/backends/onednn/primitives.h"
#include "core/ops/ops.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {

// oneDNN takes matrices whose rows or columns are contiguous and do not overlap.
bool row_major(const View& x);
bool regular(const View& x);

// [rows, columns] or [batch, rows, columns], of a regular view.
dnnl::memory::desc layout_of(const View& x);
// Rank 2, in any layout that oneDNN likes.
dnnl::memory::desc any_layout_of(const View& x);

// y (+)= α·a·b + bias + residual: rank 2, or 3 with a batch; a, b and y regular, the residual
// laid out as y. b is read in the layout given, which may be format_tag::any.
Primitive make_product(const ops::Gemm& product, const dnnl::memory::desc& b, const Primitives& primitives);
PrimitiveKey key_of(const ops::Gemm& product);
// Runs it on the product's memory. b: where the matrix lies in the primitive's layout.
void execute_product(Primitive& matmul, const ops::Gemm& product, float* b, const View& scratchpad,
                     Primitives& primitives);

// b in `layout`: a copy that is kept where b is constant, else made anew in `room`.
float* packed_b(const ops::Gemm& product, const dnnl::memory::desc& layout, Primitive& reorder,
                const View& room, const View& scratchpad, Primitives& primitives);

// The primitives of one call on all threads, and its part of the workspace: b laid out anew where that pays,
// and oneDNN's scratchpad.
class ProductCall {
 public:
  ProductCall(const ops::Gemm& product, Primitives& primitives, ops::Workspace& workspace);
  void run(const ops::Gemm& product, Primitives& primitives) const;

 private:
  Primitive* matmul_ = nullptr;
  Primitive* reorder_ = nullptr;
  View packed_, scratchpad_;
};

}  // namespace vretnet::onednn
