#include "tools/evaluation_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/file.h"
#include "tools/confusion_svg.h"
#include "tools/table.h"

namespace vretnet::tools {

std::vector<training::Prediction> worst_predictions(const training::Evaluation& evaluation,
                                                    std::size_t count) {
  std::vector<training::Prediction> worst = evaluation.predictions;
  std::stable_sort(worst.begin(), worst.end(),
                   [](const training::Prediction& a, const training::Prediction& b) {
                     const bool a_wrong = a.label != a.predicted, b_wrong = b.label != b.predicted;
                     return a_wrong != b_wrong ? a_wrong : a.loss > b.loss;
                   });
  worst.resize(std::min(count, worst.size()));
  return worst;
}

void write_evaluation_files(const std::filesystem::path& folder, const training::Evaluation& evaluation,
                            const std::vector<std::string>& class_names,
                            const std::function<std::string(std::int64_t index)>& name_of,
                            std::size_t top_losses) {
  std::string confusion = "true";
  for (const std::string& name : class_names) confusion += "," + csv_field(name);
  confusion += "\n";
  std::string per_class = "class,images,precision,recall,f1\n";
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    confusion += csv_field(class_names[c]);
    for (const std::int64_t count : evaluation.confusion[c]) confusion += fmt::format(",{}", count);
    confusion += "\n";
    const training::ClassMetrics& metrics = evaluation.classes[c];
    per_class += fmt::format("{},{},{:.6f},{:.6f},{:.6f}\n", csv_field(class_names[c]), metrics.images,
                             metrics.precision, metrics.recall, metrics.f1);
  }
  std::string losses = "file,true,predicted,probability,true_probability,loss\n";
  for (const training::Prediction& prediction : worst_predictions(evaluation, top_losses)) {
    losses += fmt::format("{},{},{},{:.6f},{:.6f},{:.6f}\n", csv_field(name_of(prediction.index)),
                          csv_field(class_names[static_cast<std::size_t>(prediction.label)]),
                          csv_field(class_names[static_cast<std::size_t>(prediction.predicted)]),
                          prediction.probability, prediction.label_probability, prediction.loss);
  }
  write_file_atomically(folder / "confusion.csv", confusion);
  write_file_atomically(folder / "confusion.svg", confusion_svg(evaluation.confusion, class_names));
  write_file_atomically(folder / "per_class.csv", per_class);
  write_file_atomically(folder / "top_losses.csv", losses);
}

}  // namespace vretnet::tools
