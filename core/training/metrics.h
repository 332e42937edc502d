// What a classifier got right: counted once, shown many ways.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vretnet::training {

// How many classes score higher than `label` (an equal score of an earlier class counts as higher): 0 is
// top-1.
std::int64_t rank_of(std::span<const float> scores, std::int64_t label);

// Probabilities of logits, in double.
std::vector<double> softmax(std::span<const float> logits);

struct Prediction {
  std::int64_t index = 0;  // of the sample in its data set
  std::int32_t label = 0;
  std::int32_t predicted = 0;
  float probability = 0;        // of `predicted`
  float label_probability = 0;  // of `label`
  float loss = 0;
};

struct ClassMetrics {
  std::int64_t images = 0;
  double precision = 0, recall = 0, f1 = 0;  // 0 where undefined
};

// The sum over a data set. loss is the plain cross entropy, without smoothing or class weights.
struct Evaluation {
  std::int64_t images = 0;
  double top1 = 0, top5 = 0, loss = 0;
  double ece = 0;  // expected calibration error, 15 equal bins of the top probability (Guo et al. 2017)
  std::vector<Prediction> predictions;               // in the order of the source
  std::vector<std::vector<std::int64_t>> confusion;  // [true class][predicted class]
  std::vector<ClassMetrics> classes;
  std::vector<float> logits;  // [images, classes] as the model gave them; empty unless they were to be kept
};

struct EvaluatorOptions {
  double temperature = 1;  // probabilities and losses are those of logits / temperature
  bool keep_logits = false;
};

class Evaluator {
 public:
  explicit Evaluator(std::int64_t classes, const EvaluatorOptions& options = {});
  void add(std::int64_t index, std::int64_t label, std::span<const float> logits);
  Evaluation finish() const;

 private:
  EvaluatorOptions options_;
  Evaluation sums_;
  std::int64_t top1_ = 0, top5_ = 0;
  double loss_ = 0;
};

// Temperature scaling (Guo et al. 2017): the T that makes the mean cross entropy of softmax(logits / T)
// least, to four digits, between 1/50 and 50. The evaluation has kept its logits and holds at least one
// image.
double best_temperature(const Evaluation& evaluation);

}  // namespace vretnet::training
