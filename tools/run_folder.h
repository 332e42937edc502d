// The folder of a training run: one place that knows its files. Appended files grow by whole lines and are
// cut back on resume to what the last commit (last.state.safetensors) knew; all others are replaced whole.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace vretnet::tools {

// The model file that a user names by itself or by the folder of its run (its best.safetensors). Throws
// UsageError where it does not exist or the folder has none.
std::filesystem::path trained_file(const std::string& named);

class RunFolder {
 public:
  // A new folder: `wanted`, which must be empty or not exist, or runs/train-N with the next free N. Throws
  // UsageError.
  static RunFolder create(const std::string& wanted);
  // The folder of a run to be continued: a run folder, a file in one, or "auto" for the newest in runs/.
  // Throws UsageError where there is no saved state.
  static RunFolder existing(const std::string& named);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  std::filesystem::path state() const { return file("last.state.safetensors"); }

  // Adds a line and syncs it.
  void append(const std::string& name, const std::string& line) const;
  // Lengths of the appended files, to be kept in the saved state.
  std::map<std::string, std::int64_t> lengths() const;
  // Cuts the appended files back to these lengths; one that is not named is removed.
  void cut_back(const std::map<std::string, std::int64_t>& lengths) const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace vretnet::tools
