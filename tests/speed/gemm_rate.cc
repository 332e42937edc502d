// GEMM rates of the oneDNN backend on the shapes of ViTs: GFLOP/s, best of runs. Compare with the processor's
// peak.
//   gemm_rate [THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "core/backends/available.h"
#include "core/model/weights.h"

namespace {

using namespace vretnet;

double best_seconds(Backend& backend, const ops::Op& op) {
  double best = 1e9, total = 0;
  for (int run = 0; run < 5 || total < 0.5; ++run) {
    const auto began = std::chrono::steady_clock::now();
    backend.run(op);
    const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    best = std::min(best, time);
    total += time;
  }
  return best;
}

Allocation random_matrix(Backend& backend, std::int64_t rows, std::int64_t columns) {
  Allocation matrix(backend, DType::f32, {rows, columns});
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 17 - 0.5f;
  backend.upload(matrix.view(), values.data());
  return matrix;
}

}  // namespace

int main(int argc, char** argv) {
  const auto backend = make_backend("onednn", argc > 1 ? std::atoi(argv[1]) : 2);
  struct Product {
    const char* what;
    std::int64_t m, n, k;
  };
  const Product products[] = {{"nano qkv, 128 x 49", 6272, 576, 192},
                              {"nano fc1", 6272, 768, 192},
                              {"nano fc2", 6272, 192, 768},
                              {"pico qkvg, 128 x 49", 6272, 384, 96},
                              {"pico out", 6272, 96, 96},
                              {"pico fc1", 6272, 288, 96},
                              {"pico fc2", 6272, 96, 288},
                              {"tiny fc1, 8 x 197", 1576, 768, 192},
                              {"small fc1, 8 x 197", 1576, 1536, 384},
                              {"base fc1, 8 x 197", 1576, 3072, 768},
                              {"base fc2, 8 x 197", 1576, 768, 3072},
                              {"base fc1, 1 x 197", 197, 3072, 768}};
  std::printf("%-22s %28s  %28s  %28s\n", "shape (M, N, K)", "y = x Wt  [GFLOP/s]", "d_x = d_y W",
              "d_W += d_yt x");
  for (const Product& p : products) {
    const Allocation x = random_matrix(*backend, p.m, p.k), weight = random_matrix(*backend, p.n, p.k);
    const Allocation y = random_matrix(*backend, p.m, p.n), d_x = random_matrix(*backend, p.m, p.k);
    const Allocation d_weight = random_matrix(*backend, p.n, p.k);
    const auto rate = [&](ops::Gemm op) {
      Allocation workspace(*backend, std::max<std::size_t>(64, backend->workspace_bytes(op)));
      op.workspace =
          View(workspace.buffer(), DType::f32, {static_cast<std::int64_t>(workspace.buffer()->bytes / 4)});
      return 2e-9 * static_cast<double>(p.m * p.n * p.k) / best_seconds(*backend, op);
    };
    const double forward = rate({.a = x.view(), .b = weight.view().transposed(), .y = y.view()});
    const double input = rate({.a = y.view(), .b = weight.view(), .y = d_x.view()});
    const double weights = rate(
        {.a = y.view().transposed(), .b = x.view(), .y = d_weight.view(), .write = ops::Write::accumulate});
    std::printf("%-22s %6lld %5lld %5lld %8.1f  %28.1f  %28.1f\n", p.what, static_cast<long long>(p.m),
                static_cast<long long>(p.n), static_cast<long long>(p.k), forward, input, weights);
  }
}
