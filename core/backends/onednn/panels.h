// Products with an epilogue, by panels of rows: each thread makes its own panels one after the other and goes
// on with a panel while it lies in its cache. A product on all threads at once would send z to memory and
// back: 95 GFLOP/s in place of 170 for 6272 x 336 x 96 with GELU (measured, 2 threads, operands not in
// cache).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/backends/onednn/primitives.h"
#include "core/ops/ops.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {

// Rows of a panel of this Gemm; 0: it is not made by panels, because nothing follows the product, it is
// small, or oneDNN does not take its operands.
std::int64_t panel_rows(const ops::Gemm& op);

// The primitives of such a Gemm and its part of the workspace: b in oneDNN's layout, a scratchpad a thread.
class PanelProduct {
 public:
  PanelProduct(const ops::Gemm& op, Primitives& primitives, ops::Workspace& workspace);
  void run(Primitives& primitives) const;

 private:
  void run_panel(int part, std::int64_t first, std::int64_t rows, float* b, Primitives& primitives) const;
  ops::Gemm panel(std::int64_t first, std::int64_t rows) const;  // z = a·b + bias of these rows

  const ops::Gemm& op_;
  std::int64_t rows_ = 0, panel_rows_ = 0;
  int parts_ = 1;
  Primitive* reorder_ = nullptr;
  const dnnl::memory::desc* layout_ = nullptr;  // of b, for all panels
  View packed_, reorder_scratchpad_, scratchpads_;
  std::size_t scratchpad_bytes_ = 0;  // of a part
};

}  // namespace vretnet::onednn
