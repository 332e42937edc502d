// configs/: a twin is its sibling's recipe with another model, as configs/README.md promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace vretnet {
namespace {

struct Recipe {
  std::string model;
  std::vector<std::string> settings;  // the lines that set something else, without comments
};

Recipe read_recipe(const std::filesystem::path& recipe) {
  Recipe result;
  std::ifstream file(recipe);
  EXPECT_TRUE(file) << recipe;
  for (std::string line; std::getline(file, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    line.erase(line.find_last_not_of(' ') + 1);
    if (line.starts_with("model = ")) {
      EXPECT_EQ(result.model, "") << recipe;
      result.model = line;
    } else if (!line.empty()) {
      result.settings.push_back(line);
    }
  }
  EXPECT_NE(result.model, "") << recipe;
  return result;
}

TEST(Recipes, ATwinDiffersInTheModelOnly) {
  const std::filesystem::path folder = std::filesystem::path(VRETNET_SOURCE_DIR) / "configs";
  const std::string suffix = "_vit.toml";
  int twins = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    const std::string sibling = name.substr(0, name.size() - suffix.size()) + ".toml";
    const Recipe twin = read_recipe(folder / name), original = read_recipe(folder / sibling);
    EXPECT_EQ(twin.settings, original.settings) << name << " beside " << sibling;
    EXPECT_NE(twin.model, original.model) << name << " beside " << sibling;
    ++twins;
  }
  EXPECT_GE(twins, 4);
}

}  // namespace
}  // namespace vretnet
