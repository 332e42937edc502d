// Decays that are learned: θ = log(−log γ), one a head and layer, so that γ = exp(−exp θ) lies between 0 and
// 1 whatever a step makes of it. All tables are powers of γ, whose exponents no step changes, so the machine
// makes them anew in every pass (ops::DecayPowers) and the host has nothing to do. The scale of the rows
// stays that of the first decays: the head norm takes out whatever scale a row has, but for its ε.
#pragma once

#include <string>

#include "core/layers/pass.h"

namespace vretnet::layers {

class LearnedDecay {
 public:
  // Adds `name` [heads], which starts from the fixed decays and has no weight decay.
  LearnedDecay(ParameterTable& table, const std::string& name, std::int64_t heads,
               retention::DecaySpeed speed);

  // The tables of the heads that an order reads by, as TableCache::decay gives them of fixed decays; `memory`
  // keeps them.
  ops::DecayTables tables(Pass& pass, const retention::DecaySpec& spec, Tensor& memory) const;
  // ∂D/∂θ of all pairs of tokens, [heads, tokens, tokens], and where the gradients of these θ are summed up,
  // [heads, 1]: what ops::RetentionBlockGradient asks for.
  Tensor derivative(Pass& pass, const retention::DecaySpec& spec) const;
  View gradient(Pass& pass, const retention::DecaySpec& spec) const;

 private:
  ParameterId log_rate_;
};

}  // namespace vretnet::layers
