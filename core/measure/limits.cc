#include "core/measure/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <variant>

#include "core/base/random.h"
#include "core/measure/processor_rates.h"
#include "core/measure/repeat.h"
#include "core/ops/cost.h"

namespace vretnet::measure {
namespace {

constexpr double kMebi = 1 << 20;
// Within the L2 caches of a core, of two; within most L3 caches; beyond them.
constexpr double kTriadBytes[] = {0.75 * kMebi, 3 * kMebi, 12 * kMebi, 192 * kMebi};
constexpr std::int64_t kFewest = 3;

double best_seconds(Backend& backend, const ops::Op& op, double seconds) {
  const auto times = repeat([&] { backend.run(op); },
                            {.warm_up = 1, .repeats = kFewest, .seconds = seconds, .machine = &backend});
  return *std::min_element(times.begin(), times.end());
}

Allocation random_matrix(Backend& backend, std::int64_t rows, std::int64_t columns) {
  Allocation matrix(backend, DType::f32, {rows, columns});
  Random random(static_cast<std::uint64_t>(rows));
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
  backend.upload(matrix.view(), values.data());
  return matrix;
}

// Runs a product in its own workspace.
double product_seconds(Backend& backend, ops::Op product, double seconds) {
  const std::size_t bytes = std::max<std::size_t>(sizeof(float), backend.workspace_bytes(product));
  const Allocation workspace(backend, DType::f32, {static_cast<std::int64_t>(bytes / sizeof(float)) + 1});
  set_workspace(product, workspace.view());
  return best_seconds(backend, product, seconds);
}

struct ProductShape {
  std::int64_t m, n, k;
};

// Products y = x·Wᵀ of growing size, until one takes so long that a larger one would not be worth its time: a
// slow backend is at its best early. best_seconds_of(shape, x, y, seconds) times one.
template <class BestSeconds>
double best_rate(Backend& backend, double seconds, const BestSeconds& best_seconds_of) {
  double best = 0;
  for (const ProductShape s :
       {ProductShape{256, 256, 256}, {1024, 1024, 1024}, {1576, 3072, 768}, {2048, 2048, 2048}}) {
    const Allocation x = random_matrix(backend, s.m, s.k), y(backend, DType::f32, {s.m, s.n});
    const double time = best_seconds_of(s, x.view(), y.view(), seconds / 4);
    best = std::max(best, 2 * static_cast<double>(s.m) * static_cast<double>(s.n * s.k) / time);
    if (time > seconds / 4) break;
  }
  return best;
}

// Weights are kept in the backend's layout, as in inference.
double gemm_rate(Backend& backend, double seconds) {
  return best_rate(backend, seconds, [&](const ProductShape& s, const View& x, const View& y, double each) {
    const Allocation weight = random_matrix(backend, s.n, s.k);
    return product_seconds(
        backend, ops::Gemm{.a = x, .b = weight.view().transposed(), .y = y, .constant_b = true}, each);
  });
}

double quantized_rate(Backend& backend, double seconds) {
  return best_rate(backend, seconds, [&](const ProductShape& s, const View& x, const View& y, double each) {
    const Allocation weight(backend, DType::s8, {s.n, s.k}), x_scale(backend, DType::f32, {1}),
        weight_scale(backend, DType::f32, {s.n});
    backend.fill(weight.view(), 100);
    for (const Allocation* scale : {&x_scale, &weight_scale}) backend.fill(scale->view(), 1.0 / 127);
    return product_seconds(backend,
                           ops::QuantizedGemm{.a = x,
                                              .b = weight.view().transposed(),
                                              .y = y,
                                              .a_scale = x_scale.view(),
                                              .b_scale = weight_scale.view()},
                           each);
  });
}

template <class Product>
std::string layout_of(const Product& op) {
  std::string text = ops::name_of(op);
  text += ' ';
  for (const View* view : {&op.a, &op.b, &op.y}) {
    for (int axis = 0; axis < view->rank(); ++axis) {
      text += fmt::format("{}/{} ", view->extent(axis), view->stride(axis));
    }
    text += "; ";
  }
  if constexpr (requires { op.write; }) text += op.write == ops::Write::accumulate ? "+=" : "=";
  if constexpr (requires { op.constant_b; }) text += op.constant_b ? " kept" : "";
  return text;
}

// Without bias, activation, residual.
ops::Gemm bare(const ops::Gemm& op) {
  return {.a = op.a, .b = op.b, .y = op.y, .alpha = op.alpha, .constant_b = op.constant_b, .write = op.write};
}
ops::QuantizedGemm bare(const ops::QuantizedGemm& op) {
  return {.a = op.a, .b = op.b, .y = op.y, .a_scale = op.a_scale, .b_scale = op.b_scale};
}

}  // namespace

double Limits::least_seconds(double flops, double bytes, bool integers) const {
  double rate = bandwidths.front().rate;
  for (const Bandwidth& each : bandwidths) {
    if (each.bytes <= bytes) rate = each.rate;
  }
  const double arithmetic = promised ? fma_rate : integers && quantized_rate > 0 ? quantized_rate : gemm_rate;
  return std::max(flops / arithmetic, bytes / rate);
}

void Limits::improve(const Limits& again) {
  fma_rate = std::max(fma_rate, again.fma_rate);
  gemm_rate = std::max(gemm_rate, again.gemm_rate);
  quantized_rate = std::max(quantized_rate, again.quantized_rate);
  for (std::size_t i = 0; i < bandwidths.size(); ++i) {
    bandwidths[i].rate = std::max(bandwidths[i].rate, again.bandwidths[i].rate);
  }
}

Limits measure_limits(Backend& backend, int threads, double seconds) {
  Limits limits;
  limits.gemm_rate = gemm_rate(backend, seconds);
  if (backend.favours_integers()) limits.quantized_rate = quantized_rate(backend, seconds);
  if (const Peaks peaks = backend.peaks(); peaks.flops > 0) {
    limits.promised = true;
    limits.fma_rate = peaks.flops;
    limits.bandwidths.push_back({0, peaks.bytes});
    return limits;
  }
  limits.fma_rate = fma_rate(threads, seconds);
  for (const double bytes : kTriadBytes) {
    limits.bandwidths.push_back({bytes, triad_rate(bytes, threads, seconds)});
  }
  return limits;
}

double products_rate(Backend& backend, std::span<const ops::Op> recorded, double seconds) {
  struct Product {
    ops::Op op;
    double count = 0;
  };
  std::map<std::string, Product> products;
  const auto add = [&](const auto& op) {
    Product& product = products[layout_of(op)];
    product.op = bare(op);
    ++product.count;
  };
  for (const ops::Op& op : recorded) {
    if (const auto* gemm = std::get_if<ops::Gemm>(&op)) add(*gemm);
    if (const auto* quantized = std::get_if<ops::QuantizedGemm>(&op)) add(*quantized);
  }
  double flops = 0, time = 0;
  for (const auto& [layout, product] : products) {
    flops += product.count * ops::flops(product.op);
    time +=
        product.count * product_seconds(backend, product.op, seconds / static_cast<double>(products.size()));
  }
  return time > 0 ? flops / time : 0;
}

}  // namespace vretnet::measure
