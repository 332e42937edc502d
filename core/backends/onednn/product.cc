#include "core/backends/onednn/product.h"

#include <algorithm>

namespace vretnet::onednn {
namespace {

using dnnl::memory;

// The operand of the binary operation at this place among the post-ops.
int post_op_operand(int place) {
  return DNNL_ARG_ATTR_MULTIPLE_POST_OP(place) | DNNL_ARG_SRC_1;
}

}  // namespace

bool row_major(const View& x) {
  return (x.stride(-1) == 1 || x.extent(-1) == 1) && (x.stride(-2) >= x.extent(-1) || x.extent(-2) == 1);
}
bool regular(const View& x) {
  return row_major(x) || row_major(x.transposed());
}

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

memory::desc any_layout_of(const View& x) {
  return {{x.extent(0), x.extent(1)}, memory::data_type::f32, memory::format_tag::any};
}

namespace {

void add_layout(PrimitiveKey& key, const View& x) {
  key.add(x.extent(-2));
  key.add(x.extent(-1));
  key.add(x.extent(-2) == 1 ? 0 : x.stride(-2));
  key.add(x.extent(-1) == 1 ? 0 : x.stride(-1));
  key.add(x.rank() == 3 ? x.extent(0) : 0);
  key.add(x.rank() == 3 ? x.stride(0) : 0);
}

// Whether to have oneDNN lay b out anew before the product: once for good where b is constant; else where
// that pays in a single call, for tall products, which read b again and again, and for a row-major b whose
// rows lie a multiple of 1 KiB apart, because such a column of b shares a few sets of the first cache
// (measured, 1 thread: 48 → 105 GFLOP/s for 768 x 1576 x 3072; a gain or nothing from 1024 rows on).
bool repacks(const ops::Gemm& product) {
  if (product.y.rank() != 2) return false;
  if (product.constant_b) return true;
  const std::int64_t rows = product.y.extent(0), columns = product.y.extent(1);
  const bool far_apart = row_major(product.b) && product.b.stride(0) % 256 == 0;
  return rows >= 1024 || (far_apart && (rows >= 512 || columns >= 2048));
}

// Which argument of the primitive the residual is.
int residual_operand(const ops::Gemm& product) {
  return post_op_operand(static_cast<int>(product.alpha != 1 && product.bias) +
                         static_cast<int>(product.write == ops::Write::accumulate));
}

}  // namespace

Primitive make_product(const ops::Gemm& product, const memory::desc& b, const Primitives& primitives) {
  const memory::desc a = layout_of(product.a), y = layout_of(product.y);
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
  if (product.write == ops::Write::accumulate) after.append_sum(1);
  if (product.residual) after.append_binary(dnnl::algorithm::binary_add, y);
  attributes.set_post_ops(after);

  const bool own_bias = product.bias && !scaled;
  const dnnl::matmul::desc operation =
      own_bias ? dnnl::matmul::desc(a, b, bias, y) : dnnl::matmul::desc(a, b, y);
  const dnnl::matmul::primitive_desc description(operation, attributes, primitives.engine());
  Primitive made = primitives.make<dnnl::matmul>(
      description, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, description.weights_desc()}, {DNNL_ARG_DST, y}});
  made.weights = description.weights_desc();
  if (own_bias) primitives.add_argument(made, DNNL_ARG_BIAS, bias);
  if (scaled && product.bias) primitives.add_argument(made, post_op_operand(0), bias);
  if (product.residual) primitives.add_argument(made, residual_operand(product), y);
  return made;
}

PrimitiveKey key_of(const ops::Gemm& product) {
  PrimitiveKey key(PrimitiveKey::kMatmul);
  add_layout(key, product.a);
  add_layout(key, product.b);
  add_layout(key, product.y);
  key.add((product.bias ? 1 : 0) + (product.residual ? 2 : 0) +
          (product.write == ops::Write::accumulate ? 4 : 0) + (product.constant_b ? 8 : 0));
  std::int64_t alpha = 0;
  std::copy_n(reinterpret_cast<const char*>(&product.alpha), sizeof(product.alpha),
              reinterpret_cast<char*>(&alpha));
  key.add(alpha);
  return key;
}

void execute_product(Primitive& matmul, const ops::Gemm& product, float* b, const View& scratchpad,
                     Primitives& primitives) {
  float* bias = address(product.bias);
  // Arguments that this primitive does not have are passed over.
  primitives.execute(matmul,
                     {{DNNL_ARG_SRC, address(product.a)},
                      {DNNL_ARG_WEIGHTS, b},
                      {DNNL_ARG_DST, address(product.y)},
                      {DNNL_ARG_BIAS, bias},
                      {post_op_operand(0), bias},
                      {residual_operand(product), product.residual ? address(product.residual) : bias},
                      {DNNL_ARG_SCRATCHPAD, address(scratchpad)}});
}

float* packed_b(const ops::Gemm& product, const memory::desc& layout, Primitive& reorder, const View& room,
                const View& scratchpad, Primitives& primitives) {
  const auto pack = [&](float* to) {
    primitives.execute(
        reorder,
        {{DNNL_ARG_FROM, address(product.b)}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, address(scratchpad)}});
  };
  if (product.constant_b) return primitives.packed_weights().find(product.b, layout, pack);
  pack(address(room));
  return address(room);
}

ProductCall::ProductCall(const ops::Gemm& product, Primitives& primitives, ops::Workspace& workspace) {
  const PrimitiveKey key = key_of(product);
  const bool anew = repacks(product);
  matmul_ = &primitives.find(key, [&] {
    return make_product(product, anew ? any_layout_of(product.b) : layout_of(product.b), primitives);
  });
  std::size_t bytes = matmul_->scratchpad_bytes;
  if (anew) {
    reorder_ = &primitives.reorder(
        key.with_kind(PrimitiveKey::kMatmulWeights), [&] { return layout_of(product.b); },
        [&] { return matmul_->weights; });
    if (!product.constant_b) packed_ = workspace.take_bytes(matmul_->weights.get_size());
    bytes = std::max(bytes, reorder_->scratchpad_bytes);
  }
  scratchpad_ = workspace.take_bytes(bytes);
}

void ProductCall::run(const ops::Gemm& product, Primitives& primitives) const {
  float* b = reorder_ ? packed_b(product, matmul_->weights, *reorder_, packed_, scratchpad_, primitives)
                      : address(product.b);
  execute_product(*matmul_, product, b, scratchpad_, primitives);
}

}  // namespace vretnet::onednn
