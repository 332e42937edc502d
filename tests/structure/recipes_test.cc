// configs/: a twin is its sibling's recipe with another model, as configs/README.md promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace vretnet {
namespace {

// The lines of a recipe that set something, the model apart; comments behind them do not count.
std::vector<std::string> settings_of(const std::filesystem::path& recipe) {
  std::vector<std::string> settings;
  std::ifstream file(recipe);
  EXPECT_TRUE(file) << recipe;
  for (std::string line; std::getline(file, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    line.erase(line.find_last_not_of(' ') + 1);
    if (!line.empty() && !line.starts_with("model = ")) settings.push_back(line);
  }
  return settings;
}

TEST(Recipes, ATwinDiffersInTheModelOnly) {
  const std::filesystem::path folder = std::filesystem::path(VRETNET_SOURCE_DIR) / "configs";
  const std::string suffix = "_vit.toml";
  int twins = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    const std::string sibling = name.substr(0, name.size() - suffix.size()) + ".toml";
    EXPECT_EQ(settings_of(folder / name), settings_of(folder / sibling)) << name << " beside " << sibling;
    ++twins;
  }
  EXPECT_GE(twins, 4);
}

}  // namespace
}  // namespace vretnet
