// The layering of core/README.md, read from the #includes: who may include whom, and where each library may
// be met. A wrong include between folders often does not link, a header-only one does.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace vretnet {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = VRETNET_SOURCE_DIR;

// A folder may include itself and these. What is not listed here does not exist.
const std::map<std::string, std::set<std::string>> kMayInclude = [] {
  const std::set<std::string> ground{"core/base", "core/tensor", "core/ops", "core/retention"};
  const auto with = [](std::set<std::string> folders, const std::set<std::string>& more) {
    folders.insert(more.begin(), more.end());
    return folders;
  };
  const auto model = with(ground, {"core/layers", "core/model"});
  const auto core = with(model, {"core/training"});
  return std::map<std::string, std::set<std::string>>{
      {"core/base", {}},
      {"core/tensor", {"core/base"}},
      {"core/ops", {"core/base", "core/tensor"}},
      {"core/measure", {"core/base", "core/tensor", "core/ops"}},
      {"core/retention", {"core/base", "core/tensor", "core/ops"}},
      {"core/backends/reference", ground},
      {"core/backends/onednn", with(ground, {"core/backends/onednn/mixers"})},
      {"core/backends/onednn/mixers", with(ground, {"core/backends/onednn"})},
      {"core/backends/cuda", with(ground, {"core/backends/cuda/kernels", "core/backends/cuda/nccl"})},
      {"core/backends/cuda/nccl", with(ground, {"core/backends/cuda"})},
      {"core/backends/cuda/gpu", {"core/tensor"}},
      {"core/backends/cuda/kernels", with(ground, {"core/backends/cuda"})},
      {"core/backends", with(ground, {"core/backends/reference", "core/backends/onednn"})},
      {"core/conformance", with(ground, {"core/backends/reference"})},
      {"core/layers", ground},
      {"core/model", with(ground, {"core/layers"})},
      {"core/training", model},
      {"vision/image", {"core/base", "vision/image/opencv_module"}},
      {"vision/image/opencv_module", {}},
      {"vision", with(core, {"vision/image"})},
      {"datasets", {"core/base", "core/training", "vision/image"}},
      {"tools", with(core, {"core/backends", "core/conformance", "core/measure", "vision", "vision/image",
                            "datasets"})},
  };
}();

// A library's headers (by the beginning of their path), and the only folders that may know them.
const std::vector<std::pair<std::string, std::vector<std::string>>> kLibraries = {
    {"opencv2/", {"vision/image/opencv_module"}},
    {"oneapi/dnnl", {"core/backends/onednn"}},
    {"dnnl", {"core/backends/onednn"}},
    {"jpeglib.h", {"vision/image"}},
    {"png.h", {"vision/image"}},
    {"CLI/", {"tools"}},
    {"hwy/", {"core/backends/onednn", "core/measure"}},
    {"cuda", {"core/backends/cuda"}},
    {"cublas", {"core/backends/cuda"}},
    {"cudnn", {"core/backends/cuda"}},
    {"nccl", {"core/backends/cuda"}},
    {"gpu.h", {"core/backends/cuda"}},
    {"boost/", {"core/measure"}},
    {"torch/", {"nowhere"}},
    {"gtest/", {"tests"}},
};

struct Include {
  fs::path file;  // from the tree's top
  int line;
  std::string path;
  bool quoted;
};

bool is_source(const fs::path& path) {
  static const std::set<std::string> kSources{".cc", ".h", ".cu", ".cuh"};
  return kSources.contains(path.extension());
}

std::vector<fs::path> files_under(const std::vector<std::string>& tops) {
  std::vector<fs::path> files;
  for (const std::string& top : tops) {
    for (const auto& entry : fs::recursive_directory_iterator(kSource / top)) {
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), kSource));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream stream(kSource / file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<Include> includes_of(const fs::path& file) {
  std::vector<Include> includes;
  int number = 0;
  for (const std::string& line : lines_of(file)) {
    ++number;
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#' || line.find("include", hash) == std::string::npos)
      continue;
    const std::size_t begin = line.find_first_of("\"<");
    if (begin == std::string::npos) continue;
    const std::size_t end = line.find_first_of("\">", begin + 1);
    includes.push_back({file, number, line.substr(begin + 1, end - begin - 1), line[begin] == '"'});
  }
  return includes;
}

const std::vector<std::string> kTops = {"core", "vision", "datasets", "tools"};

TEST(Structure, FoldersIncludeOnlyWhatStandsAboveThem) {
  int seen = 0;
  for (const fs::path& file : files_under(kTops)) {
    if (!is_source(file)) continue;
    const std::string folder = file.parent_path();
    const auto allowed = kMayInclude.find(folder);
    ASSERT_NE(allowed, kMayInclude.end()) << folder << " is a folder that this test does not know";
    for (const Include& include : includes_of(file)) {
      if (!include.quoted) continue;
      ++seen;
      const std::string target = fs::path(include.path).parent_path();
      EXPECT_TRUE(target == folder || allowed->second.contains(target))
          << file.string() << ":" << include.line << " includes " << include.path;
      EXPECT_TRUE(fs::exists(kSource / include.path)) << file.string() << ":" << include.line << ": "
                                                      << include.path << " is no path from the tree's top";
    }
  }
  EXPECT_GT(seen, 200) << "the includes were not found";
}

TEST(Structure, LibrariesStayInTheirFolder) {
  int seen = 0;
  for (const fs::path& file : files_under(kTops)) {
    if (!is_source(file)) continue;
    for (const Include& include : includes_of(file)) {
      for (const auto& [library, folders] : kLibraries) {
        if (include.quoted || !include.path.starts_with(library)) continue;
        ++seen;
        EXPECT_TRUE(
            std::any_of(folders.begin(), folders.end(),
                        [&](const std::string& folder) { return file.string().starts_with(folder + "/"); }))
            << file.string() << ":" << include.line << " includes <" << include.path << ">, of "
            << folders[0];
      }
    }
  }
  EXPECT_GT(seen, 10);
}

// backends/available.cc is the only file that names the backends.
TEST(Structure, OnlyOneFileNamesTheBackends) {
  for (const fs::path& file : files_under(kTops)) {
    if (!is_source(file) || file.string().starts_with("core/backends/") ||
        file.string().starts_with("core/conformance/")) {
      continue;
    }
    for (const Include& include : includes_of(file)) {
      EXPECT_FALSE(include.path.starts_with("core/backends/") && include.path != "core/backends/available.h")
          << file.string() << ":" << include.line << " includes " << include.path;
    }
  }
}

TEST(Structure, FilesAreShort) {
  for (const fs::path& file : files_under({"core", "vision", "datasets", "tools", "tests"})) {
    if (is_source(file)) {
      EXPECT_LE(lines_of(file).size(), 500u) << file.string();
    }
  }
}

TEST(Structure, EverySourceSaysWhatItIsAndNothingIsLeftOpen) {
  const std::string marks[] = {std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X"};
  for (const fs::path& file : files_under({"core", "vision", "datasets", "tools", "tests"})) {
    if (!is_source(file)) continue;
    const std::vector<std::string> lines = lines_of(file);
    ASSERT_FALSE(lines.empty()) << file.string();
    if ((file.extension() == ".h" || file.extension() == ".cuh") &&
        file.filename().string().find("-inl") == std::string::npos) {
      EXPECT_NE(std::find(lines.begin(), lines.end(), "#pragma once"), lines.end()) << file.string();
      EXPECT_TRUE(lines[0].starts_with("// ")) << file.string() << ": a header begins with what it is for";
    }
    for (const std::string& line : lines) {
      for (const std::string& mark : marks) {
        const std::size_t at = line.find(mark);
        EXPECT_FALSE(at != std::string::npos &&
                     (at + mark.size() >= line.size() || line[at + mark.size()] != 'X'))
            << file.string() << ": " << line;
      }
    }
  }
}

// No path of the machine on which it was written.
TEST(Structure, NoPathOfAMachine) {
  const std::string roots[] = {std::string("/ho") + "me/", std::string("/ro") + "ot/",
                               std::string("/wo") + "rk/", std::string("/Use") + "rs/",
                               std::string("/ven") + "v/"};
  std::vector<fs::path> files = files_under({"core", "vision", "datasets", "tools", "tests", "configs"});
  for (const char* name :
       {"CMakeLists.txt", "CMakePresets.json", "CONTRIBUTING.md", "README.md", ".ci/run"}) {
    if (fs::exists(kSource / name)) files.emplace_back(name);
  }
  for (const fs::path& file : files) {
    const std::set<std::string> text = {".cc", ".h", ".txt", ".md", ".sh", ".toml", ".py", ".json", ""};
    if (!text.contains(file.extension())) continue;
    for (const std::string& line : lines_of(file)) {
      for (const std::string& root : roots) {
        EXPECT_EQ(line.find(root), std::string::npos) << file.string() << ": " << line.substr(0, 200);
      }
    }
  }
}

}  // namespace
}  // namespace vretnet
