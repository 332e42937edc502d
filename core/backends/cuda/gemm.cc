#include "core/backends/cuda/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "core/backends/cuda/kernels.h"
#include "core/base/ensure.h"
#include "core/base/error.h"
#include "core/ops/workspace.h"

namespace vretnet::cuda {
namespace {

constexpr std::size_t kLibraryBytes = std::size_t{32} << 20;  // what cuBLAS advises for H100
constexpr unsigned kBestAlignment = 256;

void require(cublasStatus_t status, const char* doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw RunError(fmt::format("cuBLASLt: {}: {}", doing, cublasLtGetStatusString(status)));
}

// cuBLASLt's objects, which end with their owner.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
struct Owned {
  Handle handle = nullptr;
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle) kDestroy(handle);
  }
};
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// cuBLASLt counts columns first: a row-major [rows, columns] is its [columns, rows]. So y = a·b is yᵀ = bᵀ·aᵀ
// there, with b as its A and a as its B.
bool by_columns(const View& view) {
  return view.stride(-1) != 1 && view.extent(-1) > 1;  // the rows lie side by side
}
std::int64_t leading_dimension(const View& view) {
  const bool transposed = by_columns(view);
  const std::int64_t stride = transposed ? view.stride(-1) : view.stride(-2);
  const std::int64_t least = std::max<std::int64_t>(1, view.extent(transposed ? -2 : -1));
  return view.extent(transposed ? -1 : -2) <= 1 ? least : stride;
}
// What a library cannot read in place: rows that run backwards or overlap.
bool must_copy(const View& view) {
  if (by_columns(view) && view.stride(-2) != 1 && view.extent(-2) > 1) return true;
  return leading_dimension(view) < view.extent(by_columns(view) ? -2 : -1);
}

// The matrices of one outer batch index; the axis before the last two is the strided batch.
struct Batch {
  std::int64_t count, stride;
};
Batch batch_of(const View& view) {
  return view.rank() >= 3 ? Batch{view.extent(-3), view.stride(-3)} : Batch{1, 0};
}

cudaDataType_t type_of(const View& view) {
  return view.dtype() == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

void describe(Layout& layout, const View& view) {
  const bool transposed = by_columns(view);
  const auto rows = static_cast<std::uint64_t>(view.extent(transposed ? -2 : -1));
  const auto columns = static_cast<std::uint64_t>(view.extent(transposed ? -1 : -2));
  require(cublasLtMatrixLayoutCreate(&layout.handle, type_of(view), rows, columns, leading_dimension(view)),
          "describing a matrix");
  const Batch batch = batch_of(view);
  const auto count = static_cast<std::int32_t>(batch.count);
  require(cublasLtMatrixLayoutSetAttribute(layout.handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                           sizeof count),
          "describing a batch");
  require(cublasLtMatrixLayoutSetAttribute(layout.handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                           &batch.stride, sizeof batch.stride),
          "describing a batch");
}

unsigned alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  return static_cast<unsigned>(std::min<std::uintptr_t>(kBestAlignment, bits & (~bits + 1)));
}
void prefer_alignment(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
                      const void* address) {
  const std::uint32_t alignment = alignment_of(address);
  require(cublasLtMatmulPreferenceSetAttribute(preference.handle, attribute, &alignment, sizeof alignment),
          "stating an alignment");
}

// What the op becomes: copies of what cannot be read in place, the product into `z`, and an epilogue of our
// own where the library has none.
struct Plan {
  View a, b;
  View z;      // y, pre_activation, or room
  View added;  // the library's C: y (accumulate) or the residual
  bool own_epilogue = false;
  bool own_bias = false;  // the library wants one of z's dtype
};

Plan plan_of(const ops::Gemm& op, ops::Workspace& workspace) {
  Plan plan{.a = op.a, .b = op.b, .z = op.y};
  const auto copied = [&](const View& view) {
    return must_copy(view) ? workspace.take(view.dtype(), view.shape()) : view;
  };
  plan.a = copied(op.a);
  plan.b = copied(op.b);
  plan.own_bias = op.bias && op.bias.dtype() != op.y.dtype();
  const bool accumulates = op.write == ops::Write::accumulate;
  ensure(!op.pre_activation || !must_copy(op.pre_activation),
         "a pre_activation whose rows run backwards ({})", op.pre_activation.shape().text());
  plan.own_epilogue = op.activation != ops::ActivationKind::none || op.pre_activation ||
                      (op.residual && (accumulates || must_copy(op.residual))) || must_copy(op.y);
  if (plan.own_epilogue) {
    plan.z = op.pre_activation ? op.pre_activation : workspace.take(op.y.dtype(), op.y.shape());
  } else if (accumulates) {
    plan.added = op.y;
  } else if (op.residual) {
    plan.added = op.residual;
  }
  return plan;
}

}  // namespace

GemmEngine::GemmEngine() {
  workspace_ = take_memory(kLibraryBytes, "cuBLASLt");  // first: this says how much is free
  require(cublasLtCreate(&handle_), "starting the library");
}
GemmEngine::~GemmEngine() {
  cudaFree(workspace_);
  cublasLtDestroy(handle_);
}

std::size_t GemmEngine::workspace_bytes(const ops::Gemm& op) const {
  if (op.y.elements() == 0) return 0;
  ops::Workspace workspace;
  plan_of(op, workspace);
  return workspace.bytes();
}

void GemmEngine::run(const ops::Gemm& op, const Stream& stream) {
  if (op.y.elements() == 0) return;
  ops::Workspace workspace(op.workspace);
  const Plan plan = plan_of(op, workspace);
  if (must_copy(op.a)) cuda::run(ops::Convert{.x = op.a, .y = plan.a}, stream.get());
  if (must_copy(op.b)) cuda::run(ops::Convert{.x = op.b, .y = plan.b}, stream.get());

  Description description;
  require(cublasLtMatmulDescCreate(&description.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "describing a product");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    require(cublasLtMatmulDescSetAttribute(description.handle, attribute, &value, sizeof value),
            "describing a product");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, by_columns(plan.b) ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, by_columns(plan.a) ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (op.bias && !plan.own_bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    const void* bias = op.bias.data<void>();
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }

  // One call for an outer batch index.
  const std::int64_t outer = op.y.rank() == 4 ? op.y.extent(0) : 1;
  const auto matrices = [&](const View& view, std::int64_t i) {
    return view.rank() == 4 ? view.select(0, i) : view;
  };
  Layout a, b, z, c;
  describe(a, matrices(plan.a, 0));
  describe(b, matrices(plan.b, 0));
  describe(z, matrices(plan.z, 0));
  const View added = plan.added ? plan.added : plan.z;
  describe(c, matrices(added, 0));
  const float alpha = op.alpha, beta = plan.added ? 1.0f : 0.0f;
  for (std::int64_t i = 0; i < outer; ++i) {
    const void *at_a = matrices(plan.a, i).data<void>(), *at_b = matrices(plan.b, i).data<void>(),
               *at_c = matrices(added, i).data<void>();
    void* at_z = matrices(plan.z, i).data<void>();
    Preference preference;
    require(cublasLtMatmulPreferenceCreate(&preference.handle), "stating a preference");
    require(cublasLtMatmulPreferenceSetAttribute(preference.handle, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &kLibraryBytes, sizeof kLibraryBytes),
            "stating a preference");
    prefer_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, at_b);
    prefer_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, at_a);
    prefer_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, at_c);
    prefer_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, at_z);
    cublasLtMatmulHeuristicResult_t chosen{};
    int found = 0;
    require(cublasLtMatmulAlgoGetHeuristic(handle_, description.handle, b.handle, a.handle, c.handle,
                                           z.handle, preference.handle, 1, &chosen, &found),
            "choosing an algorithm");
    ensure(found == 1, "cuBLASLt has no algorithm for {} · {}", op.a.shape().text(), op.b.shape().text());
    require(cublasLtMatmul(handle_, description.handle, &alpha, at_b, b.handle, at_a, a.handle, &beta, at_c,
                           c.handle, at_z, z.handle, &chosen.algo, workspace_, kLibraryBytes, stream.get()),
            "a product");
  }
  if (plan.own_bias) run_wide_bias(op.bias, plan.z, stream.get());
  if (plan.own_epilogue) run_epilogue(plan.z, op.residual, op.y, op.activation, op.write, stream.get());
}

}  // namespace vretnet::cuda
