#include "datasets/dataset.h"

namespace vretnet::datasets {

std::vector<std::int64_t> class_counts(const Dataset& dataset) {
  std::vector<std::int64_t> counts(dataset.class_names().size());
  for (std::int64_t i = 0; i < dataset.size(); ++i) ++counts[std::size_t(dataset.label(i))];
  return counts;
}

}  // namespace vretnet::datasets
