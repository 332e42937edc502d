// Ops in bf16: run in double on what the views hold, each result rounded once to the dtype of its view.
#pragma once

#include "core/ops/backend.h"

namespace vretnet::reference {

// `backend` runs the op in f64 and gives memory for it.
void run_rounded(Backend& backend, const ops::Op& op);

}  // namespace vretnet::reference
