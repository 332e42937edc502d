#include "tools/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "core/base/file.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::array kAppended = {"metrics.csv", "metrics.jsonl"};
constexpr const char* kStateName = "last.state.safetensors";
constexpr const char* kRuns = "runs";
constexpr const char* kPrefix = "train-";

// N of "train-N", or 0.
int run_number(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return 0;
  return std::atoi(name.c_str() + std::strlen(kPrefix));
}

fs::path beside(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// "'runs/a' does not exist. Did you mean 'runs/b'?"
std::string missing_text(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(beside(path), error))
    names.push_back((path.parent_path() / entry.path().filename()).string());
  return fmt::format("'{}' does not exist.{}", path.string(), did_you_mean(path.string(), names));
}

[[noreturn]] void fail(const fs::path& path, const char* what, const std::string& reason) {
  throw RunError(fmt::format("{}: {}: {}", path.string(), what, reason));
}

}  // namespace

fs::path trained_file(const std::string& named) {
  std::error_code error;
  if (!fs::exists(named, error)) throw UsageError(missing_text(named));
  if (!fs::is_directory(named, error)) return named;
  fs::path file = fs::path(named) / "best.safetensors";
  if (!fs::exists(file, error)) {
    throw UsageError(fmt::format(
        "'{}' has no best.safetensors: it is no run's folder, or its first epoch has not ended", named));
  }
  return file;
}

RunFolder RunFolder::create(const std::string& wanted) {
  std::error_code error;
  if (!wanted.empty()) {
    const fs::path path = wanted;
    if (fs::exists(path, error) && (!fs::is_directory(path, error) || !fs::is_empty(path, error))) {
      throw UsageError(
          fmt::format("--output: '{}' exists and is not an empty folder{}", wanted,
                      fs::exists(path / kStateName) ? "; continue that run with --resume " + wanted : ""));
    }
    fs::create_directories(path, error);
    if (error) fail(path, "cannot create", error.message());
    return RunFolder(path);
  }
  fs::create_directories(kRuns, error);
  if (error) fail(kRuns, "cannot create", error.message());
  int number = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(kRuns))
    number = std::max(number, run_number(entry.path()));
  for (;;) {  // create_directory is atomic: two runs that start together get two folders
    const fs::path path = fs::path(kRuns) / fmt::format("{}{}", kPrefix, ++number);
    if (fs::create_directory(path, error)) return RunFolder(path);
    if (error) fail(path, "cannot create", error.message());
  }
}

RunFolder RunFolder::existing(const std::string& named) {
  std::error_code error;
  fs::path path = named;
  if (named == "auto") {
    int newest = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(kRuns, error)) {
      const int number = run_number(entry.path());
      if (number > newest && fs::exists(entry.path() / kStateName)) {
        newest = number;
        path = entry.path();
      }
    }
    if (newest == 0) throw UsageError(fmt::format("--resume: no run with a {} in '{}/'", kStateName, kRuns));
  } else if (!fs::exists(path, error)) {
    throw UsageError("--resume: " + missing_text(path));
  } else if (!fs::is_directory(path, error)) {
    path = beside(path);
  }
  if (!fs::exists(path / kStateName)) {
    throw UsageError(
        fmt::format("--resume: '{}' has no {}: nothing was saved yet", path.string(), kStateName));
  }
  return RunFolder(path);
}

void RunFolder::append(const std::string& name, const std::string& line) const {
  append_to_file(file(name), line + "\n");
}

std::map<std::string, std::int64_t> RunFolder::lengths() const {
  std::map<std::string, std::int64_t> lengths;
  std::error_code error;
  for (const char* name : kAppended) {
    const auto size = fs::file_size(file(name), error);
    if (!error) lengths[name] = static_cast<std::int64_t>(size);
  }
  return lengths;
}

void RunFolder::cut_back(const std::map<std::string, std::int64_t>& lengths) const {
  std::error_code error;
  for (const char* name : kAppended) {
    const auto kept = lengths.find(name);
    if (kept == lengths.end()) {
      fs::remove(file(name), error);
      continue;
    }
    const auto size = fs::file_size(file(name), error);
    if (error || static_cast<std::int64_t>(size) < kept->second) {
      throw UsageError(fmt::format("{}: shorter than the {} bytes that the saved state knows of",
                                   file(name).string(), kept->second));
    }
    fs::resize_file(file(name), static_cast<std::uintmax_t>(kept->second), error);
    if (error) fail(file(name), "cannot cut back", error.message());
  }
}

}  // namespace vretnet::tools
