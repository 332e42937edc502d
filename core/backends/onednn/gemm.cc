#include "core/backends/onednn/gemm.h"

#include <algorithm>

#include "core/backends/onednn/kernels.h"
#include "core/backends/onednn/panels.h"
#include "core/backends/onednn/product.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {
namespace {

// One matrix, or a batch whose matrices lie one after the other: what one call can take.
bool one_call(const ops::Gemm& product) {
  if (product.y.rank() == 2) return true;
  if (product.y.rank() > 3) return false;
  for (const View& x : {product.a, product.b, product.y}) {
    const std::int64_t span = row_major(x) ? x.extent(1) * std::max(x.stride(1), x.extent(2))
                                           : x.extent(2) * std::max(x.stride(2), x.extent(1));
    if (x.stride(0) < span) return false;
  }
  return true;
}

// A batch that shares b is one tall matrix, where a and y allow.
ops::Gemm with_merged_batch(ops::Gemm product) {
  const auto mergeable = [](const View& x, int axis) {
    return x.extent(axis) == 1 || x.stride(axis) == x.extent(axis + 1) * x.stride(axis + 1);
  };
  while (product.y.rank() > 2) {
    const int axis = product.y.rank() - 3;
    const bool shared = product.b.stride(axis) == 0 || product.b.extent(axis) == 1;
    if (!shared || !mergeable(product.a, axis) || !mergeable(product.y, axis)) break;
    product.a = product.a.merged(axis);
    product.y = product.y.merged(axis);
    product.b = product.b.select(axis, 0);
  }
  return product;
}

// visit(product) for the calls that make up a batch.
template <class Visit>
void for_each_call(const ops::Gemm& product, Visit&& visit) {
  if (one_call(product)) {
    visit(product);
    return;
  }
  for (std::int64_t index = 0; index < product.y.extent(0); ++index) {
    ops::Gemm one = product;
    one.a = product.a.select(0, index);
    one.b = product.b.select(0, index);
    one.y = product.y.select(0, index);
    for_each_call(one, visit);
  }
}

// How a Gemm is carried out: perhaps on copies, as products by oneDNN, perhaps with an epilogue of our own.
struct Plan {
  ops::Gemm product;  // of operands that oneDNN takes
  bool copies_a = false, copies_b = false;
  bool nothing_to_sum = false;  // K = 0
  View z;  // where the sums go, where activation, residual and accumulation are still to do; in y's shape
  bool adds_residual = false;  // all is done but the residual
};

View regular_copy(const View& x, ops::Workspace& workspace, bool& copied) {
  copied = !regular(x);
  return copied ? workspace.take(x.dtype(), x.shape()) : x;
}

Plan plan(const ops::Gemm& op, ops::Workspace& workspace) {
  Plan made{.product = op};
  made.product.workspace = View();
  made.product.pre_activation = View();
  made.product.a = regular_copy(op.a, workspace, made.copies_a);
  made.product.b = regular_copy(op.b, workspace, made.copies_b);
  made.nothing_to_sum = op.a.extent(-1) == 0;
  const bool activates = op.activation != ops::ActivationKind::none;
  if (made.nothing_to_sum || op.pre_activation || activates || !row_major(op.y)) {
    const bool alone = !op.residual && op.write == ops::Write::overwrite;  // nobody reads what y holds
    View place = op.pre_activation ? op.pre_activation : alone ? op.y : View();
    if (!place || made.nothing_to_sum || !row_major(place)) {
      place = workspace.take(op.y.dtype(), op.y.shape());
    }
    made.z = made.product.y = place;
    made.product.activation = ops::ActivationKind::none;
    made.product.residual = View();
    made.product.write = ops::Write::overwrite;
  } else if (op.residual && !(op.residual.contiguous() && op.y.contiguous() && op.y.rank() == 2)) {
    made.adds_residual = true;  // oneDNN takes a residual only in y's own layout
    made.product.residual = View();
  }
  if (!made.product.residual) made.product = with_merged_batch(made.product);
  return made;
}

// What the largest call needs: calls follow each other in the same room.
std::size_t bytes_of_calls(const Plan& plan, Primitives& primitives) {
  std::size_t bytes = 0;
  if (plan.nothing_to_sum) return bytes;
  for_each_call(plan.product, [&](const ops::Gemm& product) {
    ops::Workspace workspace;
    const ProductCall call(product, primitives, workspace);
    bytes = std::max(bytes, workspace.bytes());
  });
  return bytes;
}

}  // namespace

std::size_t workspace_bytes(const ops::Gemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return 0;
  ops::Workspace workspace;
  if (panel_rows(op) > 0) {
    PanelProduct(op, primitives, workspace);
    return workspace.bytes();
  }
  const Plan made = plan(op, workspace);
  workspace.take_bytes(bytes_of_calls(made, primitives));
  return workspace.bytes();
}

void run(const ops::Gemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  if (panel_rows(op) > 0) {
    PanelProduct(op, primitives, workspace).run(primitives);
    return;
  }
  const Plan made = plan(op, workspace);
  const View room = workspace.take_bytes(bytes_of_calls(made, primitives));
  if (made.nothing_to_sum) {
    std::fill_n(made.z.data<float>(), made.z.elements(), 0.0f);
    if (op.bias) {
      View bias = op.bias;
      for (int axis = op.y.rank() - 2; axis >= 0; --axis) bias = bias.broadcast(0, op.y.extent(axis));
      run(ops::Convert{.x = bias, .y = made.z});
    }
  } else {
    if (made.copies_a) run(ops::Convert{.x = op.a, .y = View(made.product.a).reshaped(op.a.shape())});
    if (made.copies_b) run(ops::Convert{.x = op.b, .y = View(made.product.b).reshaped(op.b.shape())});
    for_each_call(made.product, [&](const ops::Gemm& product) {
      ops::Workspace scratch(room);
      ProductCall(product, primitives, scratch).run(product, primitives);
    });
  }
  if (made.z) {
    if (op.pre_activation && made.z.data<void>() != op.pre_activation.data<void>()) {
      run(ops::Convert{.x = made.z, .y = op.pre_activation});
    }
    run_epilogue(made.z, op.residual, op.y, op.activation, op.write);
  } else if (made.adds_residual) {
    run(ops::Add{op.y, op.residual, op.y});
  }
}

}  // namespace vretnet::onednn
