#include "core/layers/learned_decay.h"

#include <cmath>
#include <vector>

namespace vretnet::layers {
namespace {

constexpr View ops::DecayTables::*kTables[] = {
    &ops::DecayTables::gamma, &ops::DecayTables::mask,  &ops::DecayTables::xi,     &ops::DecayTables::zeta,
    &ops::DecayTables::carry, &ops::DecayTables::xi_up, &ops::DecayTables::zeta_up};

// θ of the fixed decays.
Initial first_log_rates(std::int64_t heads, retention::DecaySpeed speed) {
  Initial initial{.kind = Initial::given};
  for (const double delta : retention::decay_complements(static_cast<int>(heads), speed))
    initial.values.push_back(std::log(-std::log1p(-delta)));
  return initial;
}

// One number a head [heads] → those of the heads that have tables, [such heads, 1].
View of_heads(const View& numbers, const retention::DecaySpec& spec) {
  const View some = numbers.every(0, spec.head_step, spec.first_head);
  return some.split(0, some.extent(0));
}

void run_powers(Pass& pass, const View& exponents, const View& log_rate, const View& y, bool derivative) {
  const std::int64_t numbers = exponents.elements();
  pass.run(ops::DecayPowers{.exponents = exponents.reshaped({numbers}),
                            .log_rate = log_rate,
                            .y = y.reshaped({log_rate.extent(0), numbers}),
                            .derivative = derivative});
}

}  // namespace

LearnedDecay::LearnedDecay(ParameterTable& table, const std::string& name, std::int64_t heads,
                           retention::DecaySpeed speed)
    : log_rate_(table.add({name, {heads}, first_log_rates(heads, speed), /*decays=*/false})) {}

ops::DecayTables LearnedDecay::tables(Pass& pass, const retention::DecaySpec& spec, Tensor& memory) const {
  const ops::DecayTables exponents = pass.tables().decay_exponents(spec);
  const View log_rate = of_heads(pass.wide_weight(log_rate_), spec);
  const std::int64_t heads = log_rate.extent(0);
  std::int64_t numbers = 0;  // of a head
  for (const auto table : kTables) numbers += exponents.*table ? (exponents.*table).elements() : 0;
  memory = pass.make_wide({heads * numbers});
  ops::DecayTables tables;
  std::int64_t begin = 0;
  for (const auto table : kTables) {
    const View& of_one = exponents.*table;
    if (!of_one) continue;
    Shape shape = of_one.shape();
    shape[0] = heads;
    tables.*table = memory.view().slice(0, begin, shape.elements()).reshaped(shape);
    begin += shape.elements();
    run_powers(pass, of_one, log_rate, tables.*table, /*derivative=*/false);
  }
  tables.row_scale = pass.tables().row_scale(spec);
  return tables;
}

Tensor LearnedDecay::derivative(Pass& pass, const retention::DecaySpec& spec) const {
  retention::DecaySpec dense = spec;
  dense.pattern.form = ops::RetentionForm::parallel;
  const View exponents = pass.tables().decay_exponents(dense).mask,
             log_rate = of_heads(pass.wide_weight(log_rate_), spec);
  Tensor derivative = pass.make_wide({log_rate.extent(0), spec.tokens, spec.tokens});
  run_powers(pass, exponents, log_rate, derivative, /*derivative=*/true);
  return derivative;
}

View LearnedDecay::gradient(Pass& pass, const retention::DecaySpec& spec) const {
  return of_heads(pass.gradient(log_rate_), spec);
}

}  // namespace vretnet::layers
