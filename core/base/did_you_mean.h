// "Did you mean …?" for commands, flags, keys, names and folders.
#pragma once

#include <string>
#include <vector>

namespace vretnet {

// Edits that turn one word into the other: a letter inserted, removed, replaced, or exchanged with its
// neighbour (Damerau–Levenshtein, optimal string alignment). Upper and lower case count as equal.
int edit_distance(const std::string& left, const std::string& right);

// The nearest of `known`, or nothing ("") where none is near: at most a third of the letters, at least one
// letter, may differ. A known word that starts with `wrong` is near, too. Of equals the first wins.
std::string closest_word(const std::string& wrong, const std::vector<std::string>& known);

// " Did you mean 'photos'?" to be appended to a message (with its leading space), or "".
std::string did_you_mean(const std::string& wrong, const std::vector<std::string>& known);

}  // namespace vretnet
