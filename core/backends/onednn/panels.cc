#include "core/backends/onednn/panels.h"

#include <omp.h>

#include <algorithm>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/parallel.h"
#include "core/backends/onednn/product.h"

namespace vretnet::onednn {
namespace {

// Elements of z in a panel: with the rows of a and y that belong to them, what a second cache of 1 MiB holds.
constexpr std::int64_t kPanelElements = 96 * 1024;
constexpr std::int64_t kLeastRows = 32, kMostRows = 256;

const View& z_of(const ops::Gemm& op) {
  return op.pre_activation ? op.pre_activation : op.y;
}

PrimitiveKey key_of_panel(const ops::Gemm& panel, int part) {
  PrimitiveKey key = key_of(panel).with_kind(PrimitiveKey::kMatmulPanel);
  key.add(part);
  return key;
}

View rows_of(const View& x, std::int64_t first, std::int64_t rows) {
  return x ? x.slice(0, first, rows) : x;
}

}  // namespace

std::int64_t panel_rows(const ops::Gemm& op) {
  const bool epilogue = op.pre_activation || op.residual || op.activation != ops::ActivationKind::none;
  if (!epilogue || op.y.rank() != 2 || op.a.extent(1) == 0) return 0;
  if (op.write == ops::Write::accumulate && !op.pre_activation) return 0;  // z takes y's place
  if (!regular(op.a) || !regular(op.b) || !row_major(op.y) || !row_major(z_of(op))) return 0;
  // Every thread has equally many panels of about equal size.
  const std::int64_t threads = omp_get_max_threads(), of_thread = (op.y.extent(0) + threads - 1) / threads;
  if (of_thread < kLeastRows) return 0;
  const std::int64_t most = std::clamp(kPanelElements / op.y.extent(1), kLeastRows, kMostRows);
  const std::int64_t panels = (of_thread + most - 1) / most;
  return (of_thread + panels - 1) / panels;
}

PanelProduct::PanelProduct(const ops::Gemm& op, Primitives& primitives, ops::Workspace& workspace)
    : op_(op), rows_(op.y.extent(0)), panel_rows_(panel_rows(op)), parts_(omp_get_max_threads()) {
  const ops::Gemm whole = panel(0, panel_rows_);
  const dnnl::memory::desc* b = nullptr;  // all panels read one b, in the layout that the first asks for
  const auto add = [&](const ops::Gemm& product, int part) {
    const Primitive& matmul = primitives.find(key_of_panel(product, part), [&] {
      const OneThread one;
      return make_product(product, b ? *b : any_layout_of(op.b), primitives);
    });
    if (!b) b = &matmul.weights;
    scratchpad_bytes_ = std::max(scratchpad_bytes_, (matmul.scratchpad_bytes + 63) / 64 * 64);
  };
  for (int part = 0; part < parts_; ++part) add(whole, part);
  if (const std::int64_t last = rows_ % panel_rows_; last > 0) add(panel(0, last), parts_ - 1);
  reorder_ = &primitives.reorder(
      key_of_panel(whole, 0).with_kind(PrimitiveKey::kMatmulPanelWeights), [&] { return layout_of(op.b); },
      [&] { return *b; });
  layout_ = b;
  if (!op.constant_b) packed_ = workspace.take_bytes(b->get_size());
  reorder_scratchpad_ = workspace.take_bytes(reorder_->scratchpad_bytes);
  scratchpads_ = workspace.take_bytes(scratchpad_bytes_ * static_cast<std::size_t>(parts_));
}

ops::Gemm PanelProduct::panel(std::int64_t first, std::int64_t rows) const {
  return {.a = rows_of(op_.a, first, rows),
          .b = op_.b,
          .y = rows_of(z_of(op_), first, rows),
          .bias = op_.bias,
          .alpha = op_.alpha,
          .constant_b = op_.constant_b};
}

void PanelProduct::run_panel(int part, std::int64_t first, std::int64_t rows, float* b,
                             Primitives& primitives) const {
  const ops::Gemm product = panel(first, rows);
  Primitive& matmul = primitives.get(key_of_panel(product, part));
  const auto scratchpad = static_cast<std::int64_t>(scratchpad_bytes_ / sizeof(float));
  execute_product(matmul, product, b,
                  scratchpad > 0 ? scratchpads_.slice(0, part * scratchpad, scratchpad) : View(), primitives);
  run_epilogue(product.y, rows_of(op_.residual, first, rows), rows_of(op_.y, first, rows), op_.activation,
               op_.write);
}

void PanelProduct::run(Primitives& primitives) const {
  float* b = packed_b(op_, *layout_, *reorder_, packed_, reorder_scratchpad_, primitives);
  for_parts(parts_, [&](int part) {
    const Range range = part_of(rows_, part, parts_, panel_rows_);
    for (std::int64_t first = range.begin; first < range.end; first += panel_rows_) {
      run_panel(part, first, std::min(panel_rows_, range.end - first), b, primitives);
    }
  });
}

}  // namespace vretnet::onednn
