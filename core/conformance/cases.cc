#include "core/conformance/cases.h"

namespace vretnet::conformance {

std::vector<Case> conformance_cases() {
  std::vector<Case> cases;
  add_gemm_cases(cases);
  add_quantized_cases(cases);
  add_image_cases(cases);
  add_elementwise_cases(cases);
  add_norm_cases(cases);
  add_retention_cases(cases);
  add_attention_cases(cases);
  add_head_cases(cases);
  return cases;
}

}  // namespace vretnet::conformance
