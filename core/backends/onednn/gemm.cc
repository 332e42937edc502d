#include "core/backends/onednn/gemm.h"

#include <algorithm>

#include "core/backends/onednn/kernels.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {
namespace {

using dnnl::memory;

// The operand of the binary operation at this place among the post-ops.
int post_op_operand(int place) {
  return DNNL_ARG_ATTR_MULTIPLE_POST_OP(place) | DNNL_ARG_SRC_1;
}

// oneDNN takes matrices whose rows or columns are contiguous and do not overlap.
bool row_major(const View& x) {
  return (x.stride(-1) == 1 || x.extent(-1) == 1) && (x.stride(-2) >= x.extent(-1) || x.extent(-2) == 1);
}
bool regular(const View& x) {
  return row_major(x) || row_major(x.transposed());
}

// [rows, columns] or [batch, rows, columns]
memory::desc layout_of(const View& x) {
  const bool by_rows = row_major(x);
  const View rows = by_rows ? x : x.transposed();
  const memory::dim leading = rows.extent(-2) == 1 ? rows.extent(-1) : rows.stride(-2);
  memory::dims extents = {x.extent(-2), x.extent(-1)};
  memory::dims strides = {by_rows ? leading : 1, by_rows ? 1 : leading};
  if (x.rank() == 3) {
    extents.insert(extents.begin(), x.extent(0));
    strides.insert(strides.begin(), x.stride(0));
  }
  return {extents, memory::data_type::f32, strides};
}

void add_layout(PrimitiveKey& key, const View& x) {
  key.add(x.extent(-2));
  key.add(x.extent(-1));
  key.add(x.extent(-2) == 1 ? 0 : x.stride(-2));
  key.add(x.extent(-1) == 1 ? 0 : x.stride(-1));
  key.add(x.rank() == 3 ? x.extent(0) : 0);
  key.add(x.rank() == 3 ? x.stride(0) : 0);
}

// Whether to have oneDNN lay b out anew before the product: worth it for tall products, which read b again
// and again, and for a row-major b whose rows lie a multiple of 1 KiB apart, because such a column of b
// shares a few sets of the first cache (measured, 1 thread: 48 → 105 GFLOP/s for 768 x 1576 x 3072; a gain or
// nothing from 1024 rows on).
bool repacks(const ops::Gemm& product) {
  if (product.y.rank() != 2) return false;
  const std::int64_t rows = product.y.extent(0), columns = product.y.extent(1);
  const bool far_apart = row_major(product.b) && product.b.stride(0) % 256 == 0;
  return rows >= 1024 || (far_apart && (rows >= 512 || columns >= 2048));
}

// What one call of oneDNN computes: y (+)= activation(α·a·b + bias) + residual. Rank 2, or 3 with a batch.
Primitive make_product(const ops::Gemm& product, const Primitives& primitives) {
  const memory::desc a = layout_of(product.a), y = layout_of(product.y);
  const bool repacked = repacks(product);
  const memory::desc b = repacked ? memory::desc({product.b.extent(0), product.b.extent(1)},
                                                 memory::data_type::f32, memory::format_tag::any)
                                  : layout_of(product.b);
  const memory::dim width = product.y.extent(-1);
  const memory::desc bias =
      product.y.rank() == 2 ? memory::desc({1, width}, memory::data_type::f32, memory::format_tag::ab)
                            : memory::desc({1, 1, width}, memory::data_type::f32, memory::format_tag::abc);
  dnnl::primitive_attr attributes = with_user_scratchpad();
  dnnl::post_ops after;
  // Output scales multiply oneDNN's own bias, too: then the bias comes after them.
  const bool scaled = product.alpha != 1;
  if (scaled) attributes.set_output_scales(0, {product.alpha});
  if (scaled && product.bias) after.append_binary(dnnl::algorithm::binary_add, bias);
  if (product.activation == ops::ActivationKind::gelu) {
    after.append_eltwise(1, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
  } else if (product.activation == ops::ActivationKind::silu) {
    after.append_eltwise(1, dnnl::algorithm::eltwise_swish, 1, 0);
  }
  if (product.write == ops::Write::accumulate) after.append_sum(1);
  const int residual_place = after.len();
  if (product.residual) after.append_binary(dnnl::algorithm::binary_add, y);
  attributes.set_post_ops(after);

  const bool own_bias = product.bias && !scaled;
  const dnnl::matmul::desc operation =
      own_bias ? dnnl::matmul::desc(a, b, bias, y) : dnnl::matmul::desc(a, b, y);
  const dnnl::matmul::primitive_desc description(operation, attributes, primitives.engine());
  Primitive made = primitives.make<dnnl::matmul>(
      description, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, description.weights_desc()}, {DNNL_ARG_DST, y}});
  if (repacked) made.weights = description.weights_desc();
  if (own_bias) primitives.add_argument(made, DNNL_ARG_BIAS, bias);
  if (scaled && product.bias) primitives.add_argument(made, post_op_operand(0), bias);
  if (product.residual) {
    primitives.add_argument(made, post_op_operand(residual_place), y);
  }
  return made;
}

PrimitiveKey key_of(const ops::Gemm& product) {
  PrimitiveKey key(PrimitiveKey::kMatmul);
  add_layout(key, product.a);
  add_layout(key, product.b);
  add_layout(key, product.y);
  key.add((product.bias ? 1 : 0) + (product.residual ? 2 : 0) +
          (product.write == ops::Write::accumulate ? 4 : 0) +
          8 * static_cast<std::int64_t>(product.activation));
  std::int64_t alpha = 0;
  std::copy_n(reinterpret_cast<const char*>(&product.alpha), sizeof(product.alpha),
              reinterpret_cast<char*>(&alpha));
  key.add(alpha);
  return key;
}

// The primitives of one call, and its part of the workspace: b anew, and a scratchpad for both.
struct Call {
  Call(const ops::Gemm& product, Primitives& primitives, ops::Workspace& workspace) {
    const PrimitiveKey key = key_of(product);
    matmul = &primitives.find(key, [&] { return make_product(product, primitives); });
    std::size_t bytes = matmul->scratchpad_bytes;
    if (repacks(product)) {
      reorder = &primitives.reorder(
          key.with_kind(PrimitiveKey::kMatmulWeights), [&] { return layout_of(product.b); },
          [&] { return matmul->weights; });
      packed = workspace.take_bytes(matmul->weights.get_size());
      bytes = std::max(bytes, reorder->scratchpad_bytes);
    }
    scratchpad = workspace.take_bytes(bytes);
  }
  Primitive* matmul = nullptr;
  Primitive* reorder = nullptr;
  View packed, scratchpad;
};

void execute_product(const ops::Gemm& product, Primitives& primitives, const View& room) {
  ops::Workspace workspace(room);
  const Call call(product, primitives, workspace);
  if (call.reorder) {
    primitives.execute(*call.reorder, {{DNNL_ARG_FROM, address(product.b)},
                                       {DNNL_ARG_TO, address(call.packed)},
                                       {DNNL_ARG_SCRATCHPAD, address(call.scratchpad)}});
  }
  float* bias = address(product.bias);
  const int residual_place = static_cast<int>(product.alpha != 1 && product.bias) +
                             static_cast<int>(product.activation != ops::ActivationKind::none) +
                             static_cast<int>(product.write == ops::Write::accumulate);
  // Arguments that this primitive does not have are passed over.
  primitives.execute(*call.matmul,
                     {{DNNL_ARG_SRC, address(product.a)},
                      {DNNL_ARG_WEIGHTS, address(call.reorder ? call.packed : product.b)},
                      {DNNL_ARG_DST, address(product.y)},
                      {DNNL_ARG_BIAS, bias},
                      {post_op_operand(0), bias},
                      {post_op_operand(residual_place), product.residual ? address(product.residual) : bias},
                      {DNNL_ARG_SCRATCHPAD, address(call.scratchpad)}});
}

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
  bool epilogue = false;        // product.y is z: activation, residual and accumulation are still to do
  bool adds_residual = false;   // all is done but the residual
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
  if (made.nothing_to_sum || op.pre_activation || !row_major(op.y)) {
    made.epilogue = true;
    made.product.y = !made.nothing_to_sum && op.pre_activation && row_major(op.pre_activation)
                         ? op.pre_activation
                         : workspace.take(op.y.dtype(), op.y.shape());
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
    const Call call(product, primitives, workspace);
    bytes = std::max(bytes, workspace.bytes());
  });
  return bytes;
}

}  // namespace

std::size_t workspace_bytes(const ops::Gemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return 0;
  ops::Workspace workspace;
  const Plan made = plan(op, workspace);
  workspace.take_bytes(bytes_of_calls(made, primitives));
  return workspace.bytes();
}

void run(const ops::Gemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Plan made = plan(op, workspace);
  const View room = workspace.take_bytes(bytes_of_calls(made, primitives));
  if (made.nothing_to_sum) {
    const View z = made.product.y;
    std::fill_n(z.data<float>(), z.elements(), 0.0f);
    if (op.bias) {
      View bias = op.bias;
      for (int axis = op.y.rank() - 2; axis >= 0; --axis) bias = bias.broadcast(0, op.y.extent(axis));
      run(ops::Convert{.x = bias, .y = z.rank() == op.y.rank() ? z : z.reshaped(op.y.shape())});
    }
  } else {
    if (made.copies_a) run(ops::Convert{.x = op.a, .y = View(made.product.a).reshaped(op.a.shape())});
    if (made.copies_b) run(ops::Convert{.x = op.b, .y = View(made.product.b).reshaped(op.b.shape())});
    for_each_call(made.product,
                  [&](const ops::Gemm& product) { execute_product(product, primitives, room); });
  }
  if (made.epilogue) {
    const bool in_place = !made.nothing_to_sum && op.pre_activation && row_major(op.pre_activation);
    const View z = in_place ? op.pre_activation : made.product.y.reshaped(op.y.shape());
    if (op.pre_activation && !in_place) run(ops::Convert{.x = z, .y = op.pre_activation});
    run_epilogue(z, op.residual, op.y, op.activation, op.write);
  } else if (made.adds_residual) {
    run(ops::Add{op.y, op.residual, op.y});
  }
}

}  // namespace vretnet::onednn
