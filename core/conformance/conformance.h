// One table of hard cases for every op, and the check of a backend against the reference: the tests run it,
// and so does `vretnet selfcheck`, where users prove a build on their own processor.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/conformance/operands.h"
#include "core/ops/backend.h"

namespace vretnet::conformance {

struct Case {
  std::string name;                        // "LayerNorm/3x17 gaps"
  std::function<ops::Op(Operands&)> make;  // the same views whenever it is called
  // Inputs that change no output here: one value normalized is 0, whatever it was.
  std::vector<std::string> without_influence{};
  // How many last elements a mistake loses that the bound must notice. One; but where an op is a chain of
  // ops, whose roundings add up, the key of a token.
  std::size_t smallest_mistake = 1;
};

// Every op, over hard shapes: 1, odd, no multiple of 16, transposed, with gaps, reversed, accumulating or
// not, empty batches, each optional view given and not.
std::vector<Case> conformance_cases();

struct Result {
  bool passed = false;
  double worst = 0;    // the largest |difference| / bound of any output element
  std::string reason;  // why it did not pass
};

// Runs the case on the backend and holds every output element against the reference in double, under a bound
// of `slack` · u · (the roundings that reach the element, core/backends/reference/tracked.h), u the dtype's
// unit roundoff (in bf16 f32's, of which a rounding to bf16 counts 2^16). The roundings are counted, the
// slack is chosen. 4: of a sum of K terms of like size about (K + 1) / 2 · Σ|t| is counted and another order
// may lose (K − 1) · Σ|t|, twice that; twice again for other formulas. check_bound_is_sharp shows what it
// still notices. In bf16, where the roundings of stored values decide, 1.25 for their second order. NaN,
// infinities, writes outside the outputs and changed inputs do not pass either. The workspace is as small as
// the backend asked for and full of NaN. Views that may be of either dtype take turns, by the case's name.
constexpr double kSlack = 4, kSlackInBf16 = 1.25;
Result run_case(Backend& backend, DType dtype, const Case& the_case, double slack);
Result run_case(Backend& backend, DType dtype, const Case& the_case);
// Whether the op runs in this dtype at all: neither loss nor optimizer do in bf16.
bool exists_in(DType dtype, const Case& the_case);

// Whether the f32 bound would notice a mistake: for every random input with influence, an op that ignores the
// input's last element has to exceed it.
Result check_bound_is_sharp(const Case& the_case);

}  // namespace vretnet::conformance
