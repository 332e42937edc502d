#include "tools/comparison.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

namespace vretnet::tools {
namespace {

using measure::Answers;

// The runs of one group.
using Runs = std::vector<const RunAnswers*>;

std::vector<std::int8_t> right_answers(const std::vector<training::Prediction>& predictions) {
  std::vector<std::int8_t> right;
  right.reserve(predictions.size());
  for (const training::Prediction& each : predictions) right.push_back(each.label == each.predicted);
  return right;
}

// [run][image]: right under the condition, or lost by it.
Answers answers_of(const Runs& runs, Measure measure, std::size_t condition) {
  Answers answers;
  for (const RunAnswers* run : runs) {
    std::vector<std::int8_t> right = right_answers(run->predictions[condition]);
    if (measure == Measure::lost) {
      const std::vector<std::int8_t> whole = right_answers(run->predictions.front());
      std::transform(whole.begin(), whole.end(), right.begin(), right.begin(), std::minus<>());
    }
    answers.push_back(std::move(right));
  }
  return answers;
}

double mean_over(const Runs& runs, const std::function<double(const RunAnswers&)>& value) {
  double sum = 0;
  for (const RunAnswers* run : runs) sum += value(*run);
  return sum / static_cast<double>(runs.size());
}

double mean_loss(const std::vector<training::Prediction>& predictions) {
  double sum = 0;
  for (const training::Prediction& each : predictions) sum += each.loss;
  return sum / static_cast<double>(predictions.size());
}

GroupResult group_result(const ComparedGroup& group, const Runs& runs,
                         const std::vector<std::string>& conditions) {
  GroupResult result{.group = &group};
  for (std::size_t c = 0; c < conditions.size(); ++c) {
    const Answers answers = answers_of(runs, Measure::top1, c);
    ConditionResult condition{.images_with = conditions[c], .top1 = measure::mean_answer(answers)};
    if (c == 0) {
      result.top1_of_runs = measure::means_of_runs(answers);
    } else {
      condition.lost = measure::mean_answer(answers_of(runs, Measure::lost, c));
    }
    condition.loss = mean_over(runs, [&](const RunAnswers& run) { return mean_loss(run.predictions[c]); });
    condition.ece = mean_over(runs, [&](const RunAnswers& run) {
      return training::expected_calibration_error(run.predictions[c]);
    });
    result.conditions.push_back(condition);
  }
  if (std::all_of(runs.begin(), runs.end(), [](const RunAnswers* run) { return run->run->timing; })) {
    result.training_seconds =
        mean_over(runs, [](const RunAnswers& run) { return run.run->timing->training_seconds; });
    result.images_per_second =
        mean_over(runs, [](const RunAnswers& run) { return run.run->timing->images_per_second(); });
  }
  return result;
}

std::set<std::string> seeds_of(const Runs& runs) {
  std::set<std::string> seeds;
  for (const RunAnswers* run : runs) seeds.insert(run->run->seed);
  return seeds;
}

// `other` in the order of the seeds of `runs`; empty where their seeds are not the same, each once.
Runs paired_with(const Runs& runs, const Runs& other) {
  const std::set<std::string> seeds = seeds_of(runs);
  if (seeds.size() != runs.size() || runs.size() != other.size() || seeds != seeds_of(other) ||
      seeds.contains(""))
    return {};
  Runs paired;
  for (const RunAnswers* run : runs) {
    paired.push_back(*std::find_if(other.begin(), other.end(), [&](const RunAnswers* each) {
      return each->run->seed == run->run->seed;
    }));
  }
  return paired;
}

GroupDifference difference_of(const Runs& runs, const Runs& other, Measure measure, std::size_t condition) {
  const Runs paired = paired_with(runs, other);
  const Answers first = answers_of(runs, measure, condition),
                second = answers_of(paired.empty() ? other : paired, measure, condition);
  GroupDifference difference{.measure = measure,
                             .difference = measure::mean_difference(first, second, !paired.empty()),
                             .paired_by_seed = !paired.empty()};
  if (difference.paired_by_seed) {
    difference.of_seeds = measure::means_of_runs(first);
    const std::vector<double> means = measure::means_of_runs(second);
    std::transform(difference.of_seeds.begin(), difference.of_seeds.end(), means.begin(),
                   difference.of_seeds.begin(), std::minus<>());
  }
  return difference;
}

}  // namespace

std::string GroupDifference::verdict() const {
  if (difference.above(0)) return measure == Measure::top1 ? "above" : "loses more";
  if (difference.below(0)) return measure == Measure::top1 ? "below" : "loses fewer";
  return "not told apart";
}

Comparison compare_groups(const std::vector<ComparedGroup>& groups, const std::vector<RunAnswers>& answers,
                          const std::vector<std::string>& conditions, const ComparedGroup* against) {
  Comparison comparison;
  comparison.images = static_cast<std::int64_t>(answers.front().predictions.front().size());
  std::vector<Runs> runs(groups.size());
  auto next = answers.begin();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t r = 0; r < groups[g].runs.size(); ++r) runs[g].push_back(&*next++);
    comparison.groups.push_back(group_result(groups[g], runs[g], conditions));
  }
  for (std::size_t c = 0; c < conditions.size(); ++c) {
    for (std::size_t one = 0; one < groups.size(); ++one) {
      for (std::size_t other = 0; other < groups.size(); ++other) {
        if (against ? &groups[other] != against || one == other : other <= one) continue;
        GroupDifference difference =
            difference_of(runs[one], runs[other], c == 0 ? Measure::top1 : Measure::lost, c);
        difference.images_with = conditions[c];
        difference.group = &groups[one];
        difference.against = &groups[other];
        comparison.differences.push_back(std::move(difference));
      }
    }
  }
  return comparison;
}

}  // namespace vretnet::tools
