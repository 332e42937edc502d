// What the inputs of linear layers look like, and the step that rounds them best.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "core/layers/parameters.h"
#include "core/ops/decorator.h"

namespace vretnet::model {

// How often |x| fell where. The range doubles as larger numbers come, so that one pass is enough.
class MagnitudeHistogram {
 public:
  void add(std::span<const float> values);  // without NaN
  double largest() const { return largest_; }
  // The step s for which rounding to s·(−127 … 127) has the least mean square error: numbers beyond 127 s
  // lose |x| − 127 s, the others s²/12, those below s/2 themselves. Neither the largest number (one outlier
  // would make the step of all others) nor a fixed share of the numbers to cut off (which ignores by how much
  // they are cut): the cost of both sides is weighed. 1 where every number was 0.
  float best_step() const;

 private:
  double error_of(double cut) const;  // Σ of squares for 127 s = cut

  double range_ = 0, largest_ = 0;
  std::vector<std::int64_t> counts_;
};

// Watches the constant products of a pass in inference: the inputs of each parameter of `weights`.
class CalibratingBackend : public BackendDecorator {
 public:
  // `weights` is the flat array of the table's layout that the watched passes read.
  CalibratingBackend(Backend& inner, const layers::ParameterTable& table, const View& weights);

  void run(const ops::Op& op) override;
  const std::map<layers::ParameterId, MagnitudeHistogram>& inputs() const { return inputs_; }

 private:
  const Buffer* buffer_;
  std::map<std::int64_t, layers::ParameterId> parameters_;  // by offset in the buffer
  std::map<layers::ParameterId, MagnitudeHistogram> inputs_;
  std::vector<float> values_;
};

}  // namespace vretnet::model
