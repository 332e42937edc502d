// The cuBLASLt functions that the backend calls, behind NVIDIA's own header: column-major matrices, strided
// batches, f32, or bf16 with results in either (a bias is in the result's type), the bias epilogue and (as on
// a GPU) the tanh GELU. What the fake does not know it answers with NOT_SUPPORTED, as the library answers
// what a kernel does not exist for. An algorithm holds the alignment that it was chosen for.
#include <cublasLt.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "core/tensor/bfloat16.h"
#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

namespace {

using vretnet::emulation::note_violation;
using vretnet::emulation::Runtime;

struct Matrix {
  cudaDataType type;
  std::uint64_t rows, columns;
  std::int64_t leading_dimension, batch_stride = 0;
  std::int32_t batch = 1;
};
struct Product {
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Preferences {
  std::uint64_t workspace = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
};
static_assert(sizeof(Preferences) <= sizeof(cublasLtMatmulAlgo_t::data));

template <class Fake, class Handle>
Fake& of(Handle handle) {
  return *reinterpret_cast<Fake*>(const_cast<std::remove_const_t<std::remove_pointer_t<Handle>>*>(handle));
}
template <class Handle, class Fake>
cublasStatus_t make(Handle* handle, const Fake& fake) {
  *handle = reinterpret_cast<Handle>(new Fake(fake));
  return CUBLAS_STATUS_SUCCESS;
}
template <class T>
cublasStatus_t take(T& target, const void* value, std::size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&target, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

float tanh_gelu(float x) {
  return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
}

// Changes a product as the injected defect says; true when that is another product.
bool inject(vretnet::emulation::ProductDefect defect, Product& product, Matrix& right, float& keep) {
  using Defect = vretnet::emulation::ProductDefect;
  switch (defect) {
    case Defect::none:
      return false;
    case Defect::lost_bias:
      return std::exchange(product.epilogue, CUBLASLT_EPILOGUE_DEFAULT) != CUBLASLT_EPILOGUE_DEFAULT;
    case Defect::gelu_epilogue:
      product.epilogue =
          product.epilogue == CUBLASLT_EPILOGUE_BIAS ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
      return true;
    case Defect::lost_sum:
      return std::exchange(keep, 0.0f) != 0;
    case Defect::wrong_stride:
      ++right.leading_dimension;
      return right.columns > 1;
    case Defect::wrong_batch_step:
      ++right.batch_stride;
      return right.batch > 1;
  }
  return false;
}

std::size_t bytes_of(cudaDataType type) {
  return type == CUDA_R_16BF ? 2 : 4;
}

// Every element of a matrix must lie in one block of the device's memory.
bool strays(int device, const void* data, const Matrix& matrix) {
  if (matrix.rows == 0 || matrix.columns == 0) return false;
  const std::int64_t last = (matrix.batch - 1) * matrix.batch_stride +
                            static_cast<std::int64_t>(matrix.columns - 1) * matrix.leading_dimension +
                            static_cast<std::int64_t>(matrix.rows);
  return Runtime::get().strays("a product", device, data,
                               static_cast<std::size_t>(last) * bytes_of(matrix.type));
}

// Element i of an array of f32 or bf16.
float element(const void* data, cudaDataType type, std::int64_t i) {
  return type == CUDA_R_16BF ? vretnet::to_float(static_cast<const vretnet::BFloat16*>(data)[i])
                             : static_cast<const float*>(data)[i];
}
void set_element(void* data, cudaDataType type, std::int64_t i, float value) {
  if (type == CUDA_R_16BF) {
    static_cast<vretnet::BFloat16*>(data)[i] = vretnet::to_bfloat16(value);
  } else {
    static_cast<float*>(data)[i] = value;
  }
  vretnet::emulation::tell_written(static_cast<char*>(data) + i * static_cast<std::int64_t>(bytes_of(type)),
                                   bytes_of(type));
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return make(handle, 0);
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete &of<int>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "the functionality requested is not supported"
                                               : "an error of the fake";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t leading_dimension) {
  if (type != CUDA_R_32F && type != CUDA_R_16BF) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (leading_dimension < static_cast<std::int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  return make(layout, Matrix{type, rows, columns, leading_dimension});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &of<Matrix>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                std::size_t bytes) {
  Matrix& matrix = of<Matrix>(layout);
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return take(matrix.batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return take(matrix.batch_stride, value, bytes);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  return make(description, Product{});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete &of<Product>(description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  Product& product = of<Product>(description);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return take(product.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return take(product.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return take(product.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return take(product.bias, value, bytes);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return make(preference, Preferences{});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete &of<Preferences>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  Preferences& preferences = of<Preferences>(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return take(preferences.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return take(preferences.alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return take(preferences.alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return take(preferences.alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return take(preferences.alignment[3], value, bytes);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  *found = 0;
  const cublasLtEpilogue_t epilogue = of<Product>(description).epilogue;
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS &&
      epilogue != CUBLASLT_EPILOGUE_GELU && epilogue != CUBLASLT_EPILOGUE_GELU_BIAS) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (most < 1) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(results[0].algo.data, &of<Preferences>(preference), sizeof(Preferences));
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  Product product = of<Product>(description);
  const Matrix ma = of<Matrix>(a_layout), mc = of<Matrix>(c_layout), md = of<Matrix>(d_layout);
  Matrix mb = of<Matrix>(b_layout);
  const bool ta = product.transpose_a == CUBLAS_OP_T, tb = product.transpose_b == CUBLAS_OP_T;
  const std::uint64_t rows = ta ? ma.columns : ma.rows, depth = ta ? ma.rows : ma.columns;
  const std::uint64_t columns = tb ? mb.rows : mb.columns;
  if (depth != (tb ? mb.columns : mb.rows) || md.rows != rows || md.columns != columns || mc.rows != rows ||
      mc.columns != columns || ma.batch != mb.batch || ma.batch != md.batch || ma.batch != mc.batch) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (ma.type != mb.type || mc.type != md.type || (ma.type == CUDA_R_32F && md.type != CUDA_R_32F)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const auto guard = std::unique_lock(Runtime::get().mutex);
  Preferences chosen;
  std::memcpy(&chosen, algorithm->data, sizeof chosen);
  const void* addresses[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<std::uintptr_t>(addresses[i]) % chosen.alignment[i] == 0) continue;
    note_violation(
        fmt::format("a product of matrices less aligned than its algorithm ({} bytes)", chosen.alignment[i]));
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const float scale = *static_cast<const float*>(alpha);
  float keep = *static_cast<const float*>(beta);
  Runtime& runtime = Runtime::get();
  runtime.defective_products += inject(runtime.product_defect, product, mb, keep);
  const int device = stream ? stream->device : -1;
  const bool with_bias =
      product.epilogue == CUBLASLT_EPILOGUE_BIAS || product.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
  if (strays(device, a, ma) || strays(device, b, mb) || strays(device, d, md) ||
      (keep != 0 && strays(device, c, mc)) ||
      (with_bias &&
       strays(device, product.bias, Matrix{md.type, rows, 1, static_cast<std::int64_t>(rows)})) ||
      (workspace_bytes > 0 && runtime.strays("a product's workspace", device, workspace, workspace_bytes))) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const cudaError_t queued = Runtime::get().enqueue(stream, [=] {
    for (std::int32_t batch = 0; batch < md.batch; ++batch) {
      const std::int64_t a0 = batch * ma.batch_stride, b0 = batch * mb.batch_stride;
      const std::int64_t c0 = batch * mc.batch_stride, d0 = batch * md.batch_stride;
      const std::int64_t a_row = ta ? ma.leading_dimension : 1, a_depth = ta ? 1 : ma.leading_dimension;
      const std::int64_t b_depth = tb ? mb.leading_dimension : 1, b_column = tb ? 1 : mb.leading_dimension;
      for (std::int64_t column = 0; column < static_cast<std::int64_t>(columns); ++column) {
        for (std::int64_t row = 0; row < static_cast<std::int64_t>(rows); ++row) {
          float sum = 0;
          std::int64_t left = a0 + row * a_row, right = b0 + column * b_column;
          for (std::uint64_t k = 0; k < depth; ++k, left += a_depth, right += b_depth) {
            sum += element(a, ma.type, left) * element(b, mb.type, right);
          }
          float value = scale * sum;
          if (keep != 0) value += keep * element(c, mc.type, c0 + row + column * mc.leading_dimension);
          if (with_bias) value += element(product.bias, md.type, row);
          if (product.epilogue == CUBLASLT_EPILOGUE_GELU || product.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS) {
            value = tanh_gelu(value);
          }
          set_element(d, md.type, d0 + row + column * md.leading_dimension, value);
        }
      }
    }
  });
  return queued == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
