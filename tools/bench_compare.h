// `vretnet bench compare A B`: what became slower or faster between two result files.
#pragma once

#include <string>
#include <vector>

namespace vretnet::tools {

struct CompareFlags {
  std::string before, now, format = "text";
  std::vector<std::string> ignored;  // keys that rows need not share
  double fail_over = 5;              // per cent
  bool matched_only = false;
};

// Prints the ratio of the median times of every pair of rows, with its interval. Gives 1 where a row is
// slower by more than fail_over and its interval lies above 1, else 0. Throws DataError where a file cannot
// be read as results or a row has no partner.
int compare_results(const CompareFlags& flags);

}  // namespace vretnet::tools
