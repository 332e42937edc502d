#include "core/ops/measuring_backend.h"

#include <algorithm>

#include "core/base/ensure.h"
#include "core/ops/cost.h"

namespace vretnet {

void MeasuringBackend::run(const ops::Op& op) {
  ops::validate(op);
  ++runs_;
  flops_ += ops::flops(op);
  bytes_ += ops::bytes(op);
  largest_workspace_ = std::max(largest_workspace_, workspace_bytes(op));
}

void MeasuringBackend::download(const View& source, void*) {
  ensure(false, "{} of a dry run was read", source.shape().text());
}

}  // namespace vretnet
