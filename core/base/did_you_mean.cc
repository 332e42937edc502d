#include "core/base/did_you_mean.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace vretnet {
namespace {

std::string lower(std::string text) {
  for (char& letter : text) letter = char(std::tolower(static_cast<unsigned char>(letter)));
  return text;
}

}  // namespace

int edit_distance(const std::string& left_word, const std::string& right_word) {
  const std::string left = lower(left_word), right = lower(right_word);
  // Rows of the table of distances between prefixes: of i − 2, i − 1 and i letters of `left`.
  std::vector<int> before(right.size() + 1), previous(right.size() + 1), row(right.size() + 1);
  for (std::size_t j = 0; j <= right.size(); ++j) previous[j] = int(j);
  for (std::size_t i = 1; i <= left.size(); ++i) {
    row[0] = int(i);
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const bool same = left[i - 1] == right[j - 1];
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      const bool exchanged = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
      if (exchanged) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[right.size()];
}

std::string closest_word(const std::string& wrong, const std::vector<std::string>& known) {
  const int allowed = std::max(1, int(wrong.size()) / 3);
  std::string best;
  int best_distance = allowed + 1;
  for (const std::string& word : known) {
    const int distance = edit_distance(wrong, word);
    // One letter replaced by another is no likeness of words of one letter.
    if (distance < best_distance && distance < int(std::max(wrong.size(), word.size()))) {
      best = word;
      best_distance = distance;
    }
  }
  if (!best.empty() || wrong.size() < 2) return best;
  for (const std::string& word : known) {
    if (lower(word).starts_with(lower(wrong))) return word;
  }
  return "";
}

std::string did_you_mean(const std::string& wrong, const std::vector<std::string>& known) {
  const std::string word = closest_word(wrong, known);
  return word.empty() ? "" : fmt::format(" Did you mean '{}'?", word);
}

}  // namespace vretnet
