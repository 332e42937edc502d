#include "core/backends/onednn/quantized_gemm.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/backends/onednn/parallel.h"
#include "core/backends/onednn/quantized_rows.h"
#include "core/ops/workspace.h"

namespace vretnet::onednn {
namespace {

using dnnl::memory;
using Index = std::int64_t;

// A block of b (in bytes) and the panel of sums that belongs to it (96 Ki of them) are what a second cache of
// 1 MiB about holds.
constexpr Index kMostColumns = 768, kBlockElements = 768 * 1024, kPanelElements = 96 * 1024;
constexpr Index kColumnStep = 64;  // what oneDNN's kernels take at once
constexpr Index kLeastRows = 16, kMostRows = 256;

Index divided_up(Index a, Index b) {
  return (a + b - 1) / b;
}
std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

// How the work is cut: threads share out the rows, or the columns where rows are few; panels of rows and
// blocks of columns are equal parts but for the last.
struct Cut {
  explicit Cut(const ops::QuantizedGemm& op) {
    const Index threads = omp_get_max_threads();
    rows = op.y.extent(0), columns = op.y.extent(1), depth = op.a.extent(1);
    shares_rows = threads == 1 || rows >= threads * kLeastRows;
    const Index most = std::clamp(kBlockElements / std::max<Index>(depth, 1), kColumnStep, kMostColumns);
    const Index blocks = std::max(divided_up(columns, most), shares_rows ? 1 : threads);
    block_columns = divided_up(divided_up(columns, blocks), kColumnStep) * kColumnStep;
    block_columns = std::min(block_columns, columns);
    const Index of_part = shares_rows ? divided_up(rows, threads) : rows;
    const Index panels =
        divided_up(of_part, std::clamp(kPanelElements / block_columns, kLeastRows, kMostRows));
    panel_rows = divided_up(of_part, panels);
    const Index items = shares_rows ? divided_up(rows, panel_rows) : divided_up(columns, block_columns);
    parts = static_cast<int>(std::min(threads, items));
  }
  Range rows_of(int part) const {
    return shares_rows ? part_of(rows, part, parts, panel_rows) : Range{0, rows};
  }
  Range columns_of(int part) const {
    return shares_rows ? Range{0, columns} : part_of(columns, part, parts, block_columns);
  }

  Index rows, columns, depth, block_columns, panel_rows;
  bool shares_rows;
  int parts;
};

// visit(first, count) for the pieces of a range.
template <class Visit>
void for_pieces(const Range& range, Index piece, Visit&& visit) {
  for (Index first = range.begin; first < range.end; first += piece) {
    visit(first, std::min(piece, range.end - first));
  }
}

Output rows_from(const View& x, Index row, Index column) {
  if (!x) return {};
  return {x.data<float>() + row * x.stride(0) + column * x.stride(1), x.stride(0)};
}

class QuantizedProduct {
 public:
  QuantizedProduct(const ops::QuantizedGemm& op, Primitives& primitives, ops::Workspace& workspace)
      : op_(op), cut_(op), bytes_(multiplies_bytes()) {
    for (int part = 0; part < cut_.parts; ++part) {
      for_pieces(cut_.columns_of(part), cut_.block_columns, [&](Index, Index columns) {
        for_pieces(cut_.rows_of(part), cut_.panel_rows, [&](Index, Index rows) {
          const Primitive& matmul = primitives.find(key({rows, columns, part}), [&] {
            const OneThread one;
            return make({rows, columns, part}, primitives);
          });
          scratchpad_bytes_ = std::max(scratchpad_bytes_, matmul.scratchpad_bytes);
        });
      });
    }
    const auto depth = static_cast<std::size_t>(cut_.depth);
    const std::size_t rows = static_cast<std::size_t>(cut_.shares_rows ? most_rows() : cut_.rows);
    const auto columns = static_cast<std::size_t>(cut_.block_columns);
    quantized_bytes_ = aligned(rows * depth * (bytes_ ? 1 : sizeof(float)));
    sums_bytes_ = aligned(static_cast<std::size_t>(cut_.panel_rows) * columns * sizeof(float));
    scale_bytes_ = aligned(columns * sizeof(float));
    scratchpad_bytes_ = aligned(scratchpad_bytes_);
    room_ = workspace.take_bytes(part_bytes() * static_cast<std::size_t>(cut_.parts));
  }

  void run(Primitives& primitives) const {
    // Copies of b are made before threads look for them.
    for (int part = 0; part < cut_.parts; ++part) {
      for_pieces(cut_.columns_of(part), cut_.block_columns,
                 [&](Index first, Index columns) { packed_b(first, columns, part, primitives); });
      if (cut_.shares_rows) break;
    }
    for_parts(cut_.parts, [&](int part) { run_part(part, primitives); });
  }

 private:
  struct Piece {
    Index rows, columns;
    int part;
  };
  // A block of b in oneDNN's layout, and 128 · Σ_k b[k,n] behind it.
  struct PackedBlock {
    float* b;
    const std::int32_t* correction;
  };

  std::size_t part_bytes() const { return quantized_bytes_ + sums_bytes_ + scale_bytes_ + scratchpad_bytes_; }
  Index most_rows() const {
    Index most = 0;
    for (int part = 0; part < cut_.parts; ++part) {
      const Range range = cut_.rows_of(part);
      most = std::max(most, range.end - range.begin);
    }
    return most;
  }

  // The cut belongs to it: its whole panels decide the layout of b, which the last one reads as well.
  PrimitiveKey key(const Piece& piece) const {
    PrimitiveKey made(PrimitiveKey::kQuantizedPanel);
    for (Index number : {piece.rows, piece.columns, cut_.depth, Index{piece.part}, cut_.panel_rows}) {
      made.add(number);
    }
    return made;
  }

  // All panels that read a block of b agree on its layout: the one for a panel of this cut.
  memory::desc layout_of_b(Index columns, const Primitives& primitives) const {
    return description({cut_.panel_rows, columns, 0}, memory::format_tag::any, primitives).weights_desc();
  }
  template <class Layout>
  dnnl::matmul::primitive_desc description(const Piece& piece, const Layout& layout,
                                           const Primitives& primitives) const {
    using Type = memory::data_type;
    const auto plain = [](Index rows, Index columns, Type type) {
      return memory::desc({rows, columns}, type, memory::format_tag::ab);
    };
    memory::desc b;
    if constexpr (std::is_same_v<Layout, memory::desc>) {
      b = layout;
    } else {
      b = memory::desc({cut_.depth, piece.columns}, bytes_ ? Type::s8 : Type::f32, layout);
    }
    const dnnl::matmul::desc operation(plain(piece.rows, cut_.depth, bytes_ ? Type::u8 : Type::f32), b,
                                       plain(piece.rows, piece.columns, bytes_ ? Type::s32 : Type::f32));
    return {operation, with_user_scratchpad(), primitives.engine()};
  }
  Primitive make(const Piece& piece, const Primitives& primitives) const {
    const auto made = description(piece, layout_of_b(piece.columns, primitives), primitives);
    Primitive primitive = primitives.make<dnnl::matmul>(made, {{DNNL_ARG_SRC, made.src_desc()},
                                                               {DNNL_ARG_WEIGHTS, made.weights_desc()},
                                                               {DNNL_ARG_DST, made.dst_desc()}});
    primitive.weights = made.weights_desc();
    return primitive;
  }

  PackedBlock packed_b(Index first, Index columns, int part, Primitives& primitives) const {
    const View block = op_.b.slice(1, first, columns);
    // The first panel of a part is a whole one where columns are shared out; of rows, the first part's is.
    const memory::desc& layout =
        primitives.get(key({cut_.panel_rows, columns, cut_.shares_rows ? 0 : part})).weights;
    const std::size_t packed_bytes = aligned(layout.get_size());
    float* packed = primitives.packed_weights().find(
        block, layout, [&](float* to) { pack(block, layout, to, packed_bytes, primitives); },
        packed_bytes - layout.get_size() + static_cast<std::size_t>(columns) * sizeof(std::int32_t));
    const void* behind = reinterpret_cast<const char*>(packed) + packed_bytes;
    return {packed, bytes_ ? static_cast<const std::int32_t*>(behind) : nullptr};
  }

  // Once for as long as b stays: memory is taken, and nothing is tuned.
  void pack(const View& block, const memory::desc& layout, float* to, std::size_t packed_bytes,
            const Primitives& primitives) const {
    const Index depth = block.extent(0), columns = block.extent(1);
    std::vector<std::int8_t> integers(static_cast<std::size_t>(depth * columns));
    std::vector<float> floats(bytes_ ? 0 : integers.size());
    auto* correction = reinterpret_cast<std::int32_t*>(reinterpret_cast<char*>(to) + packed_bytes);
    for (Index n = 0; n < columns; ++n) {
      std::int32_t sum = 0;
      for (Index k = 0; k < depth; ++k) {
        const std::int8_t value = block.data<std::int8_t>()[k * block.stride(0) + n * block.stride(1)];
        integers[static_cast<std::size_t>(n * depth + k)] = value;
        sum += value;
      }
      correction[n] = 128 * sum;
    }
    if (!bytes_) std::copy(integers.begin(), integers.end(), floats.begin());
    dnnl::engine engine = primitives.engine();
    dnnl::stream stream(engine);
    void* from = bytes_ ? static_cast<void*>(integers.data()) : floats.data();
    const memory::desc by_columns({depth, columns}, bytes_ ? memory::data_type::s8 : memory::data_type::f32,
                                  memory::dims{1, depth});
    dnnl::memory source(by_columns, engine, from);
    dnnl::memory target(layout, engine, to);
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
  }

  void run_part(int part, Primitives& primitives) const {
    char* room = static_cast<char*>(room_.data<void>()) + part_bytes() * static_cast<std::size_t>(part);
    char* quantized = room;
    char* sums = quantized + quantized_bytes_;
    auto* scale = reinterpret_cast<float*>(sums + sums_bytes_);
    char* scratchpad = sums + sums_bytes_ + scale_bytes_;
    const float a_scale = *op_.a_scale.data<float>();
    const Range rows = cut_.rows_of(part), columns = cut_.columns_of(part);
    for_pieces(columns, cut_.block_columns, [&](Index column, Index block_columns) {
      const PackedBlock block = packed_b(column, block_columns, part, primitives);
      const float* b_scale = op_.b_scale.data<float>() + column;
      for (Index n = 0; n < block_columns; ++n) scale[n] = a_scale * b_scale[n];
      const Columns values{block.correction, scale, op_.bias ? op_.bias.data<float>() + column : nullptr};
      for_pieces(rows, cut_.panel_rows, [&](Index row, Index panel_rows) {
        char* q =
            quantized + (row - rows.begin) * cut_.depth * static_cast<Index>(bytes_ ? 1 : sizeof(float));
        if (column == columns.begin) quantize(row, panel_rows, 1 / a_scale, q);
        primitives.execute(primitives.get(key({panel_rows, block_columns, part})),
                           {{DNNL_ARG_SRC, q},
                            {DNNL_ARG_WEIGHTS, block.b},
                            {DNNL_ARG_DST, sums},
                            {DNNL_ARG_SCRATCHPAD, scratchpad}});
        dequantize_rows(sums, values, rows_from(op_.residual, row, column), rows_from(op_.y, row, column),
                        panel_rows, block_columns, op_.activation);
      });
    });
  }

  void quantize(Index row, Index rows, float inverse, char* q) const {
    const Input a = rows_from(op_.a, row, 0);
    if (bytes_) {
      quantize_rows(a, rows, cut_.depth, inverse, reinterpret_cast<std::uint8_t*>(q));
    } else {
      quantize_rows(a, rows, cut_.depth, inverse, reinterpret_cast<float*>(q));
    }
  }

  const ops::QuantizedGemm& op_;
  Cut cut_;
  bool bytes_;  // else floats that hold integers
  std::size_t quantized_bytes_ = 0, sums_bytes_ = 0, scale_bytes_ = 0, scratchpad_bytes_ = 0;  // of a part
  View room_;
};

}  // namespace

bool multiplies_bytes() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_vnni:
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_amx:
      return true;
    default:
      return false;
  }
}

std::size_t workspace_bytes(const ops::QuantizedGemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return 0;
  ops::Workspace workspace;
  QuantizedProduct(op, primitives, workspace);
  return workspace.bytes();
}

void run(const ops::QuantizedGemm& op, Primitives& primitives) {
  if (op.y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  QuantizedProduct(op, primitives, workspace).run(primitives);
}

}  // namespace vretnet::onednn
