#include "core/model/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "core/base/ensure.h"
#include "core/model/quantized_weights.h"

namespace vretnet::model {
namespace {

constexpr std::size_t kBins = 4096;
constexpr double kIntegers = 127;
constexpr int kCandidates = 256;  // cuts that are tried, evenly spaced up to the largest number

}  // namespace

void MagnitudeHistogram::add(std::span<const float> values) {
  if (values.empty()) return;
  double largest = 0;
  for (const float value : values) largest = std::max(largest, static_cast<double>(std::abs(value)));
  ensure(std::isfinite(largest), "an infinity among {} numbers", values.size());
  if (largest == 0) return;  // no step loses a zero
  if (counts_.empty()) counts_.assign(kBins, 0);
  if (range_ == 0) range_ = largest;
  largest_ = std::max(largest_, largest);
  while (range_ < largest) {
    for (std::size_t bin = 0; bin < kBins / 2; ++bin) counts_[bin] = counts_[2 * bin] + counts_[2 * bin + 1];
    std::fill(counts_.begin() + kBins / 2, counts_.end(), 0);
    range_ *= 2;
  }
  const double bins = kBins / range_;
  for (const float value : values) {
    const auto bin = static_cast<std::size_t>(static_cast<double>(std::abs(value)) * bins);
    ++counts_[std::min(bin, kBins - 1)];
  }
}

double MagnitudeHistogram::error_of(double cut) const {
  const double step = cut / kIntegers, width = range_ / kBins, rounding = step * step / 12;
  double sum = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    if (counts_[bin] == 0) continue;
    const double x = (static_cast<double>(bin) + 0.5) * width;
    const double error = x > cut ? (x - cut) * (x - cut) : x < step / 2 ? x * x : rounding;
    sum += static_cast<double>(counts_[bin]) * error;
  }
  return sum;
}

float MagnitudeHistogram::best_step() const {
  if (largest_ == 0) return 1;
  double best_cut = largest_, best = std::numeric_limits<double>::infinity();
  for (int i = kCandidates; i > 0; --i) {
    const double cut = largest_ * i / kCandidates;
    const double error = error_of(cut);
    if (error < best) {
      best = error;
      best_cut = cut;
    }
  }
  const auto step = static_cast<float>(best_cut / kIntegers);
  return std::isnormal(step) ? step : 1;
}

CalibratingBackend::CalibratingBackend(Backend& inner, const layers::ParameterTable& table,
                                       const View& weights)
    : BackendDecorator(inner), buffer_(weights.buffer()) {
  for (layers::ParameterId id = 0; id < table.parameters(); ++id) {
    if (is_quantizable(table, id)) parameters_[table.view(id, weights).offset()] = id;
  }
}

void CalibratingBackend::run(const ops::Op& op) {
  BackendDecorator::run(op);
  const auto* gemm = std::get_if<ops::Gemm>(&op);
  if (!gemm || !gemm->constant_b || gemm->b.buffer() != buffer_) return;
  const auto parameter = parameters_.find(gemm->b.offset());
  if (parameter == parameters_.end()) return;
  inner().synchronize();
  values_.resize(static_cast<std::size_t>(gemm->a.elements()));
  inner().download(gemm->a, values_.data());
  inputs_[parameter->second].add(values_);
}

}  // namespace vretnet::model
