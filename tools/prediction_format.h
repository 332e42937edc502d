// How predict shows its answers: one line an input, in input order, whatever happens to the others.
#pragma once

#include <string>
#include <vector>

#include "vision/classify.h"

namespace vretnet::tools {

class PredictionFormat {
 public:
  // `format`: text, csv, json (one array) or jsonl. `top` classes are shown (as many as there are at most). A
  // best probability under `reject_below` is answered with the label "unknown".
  PredictionFormat(std::string format, const std::vector<std::string>& class_names, std::size_t top,
                   double reject_below);

  std::string begin() const;
  std::string answer(const std::string& file, const vision::Answer& answer) const;
  std::string failure(const std::string& file, const std::string& reason) const;
  std::string end() const;

 private:
  std::string separated(const std::string& object) const;  // an element of a JSON array

  std::string format_;
  const std::vector<std::string>& class_names_;
  std::size_t top_;
  double reject_below_;
  mutable bool first_ = true;
};

}  // namespace vretnet::tools
