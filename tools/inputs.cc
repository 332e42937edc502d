#include "tools/inputs.h"

#include <glob.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <new>
#include <string>

#include "datasets/folder_scan.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;

using Use = std::function<bool(const std::string&)>;
using Idle = std::function<bool()>;

// True when stdin has bytes or has ended; false when `idle` gives up.
bool wait_for_stdin(const Idle& idle) {
  constexpr int kIdleMilliseconds = 100;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (::poll(&input, 1, 0) != 0) return true;
  do {
    if (idle && !idle()) return false;
  } while (::poll(&input, 1, kIdleMilliseconds) == 0);
  return true;
}

// Each line of stdin as soon as it is there.
bool for_each_line(const Use& use, const Idle& idle) {
  std::string text;
  char block[4096];
  for (;;) {
    if (!wait_for_stdin(idle)) return false;
    const ssize_t count = ::read(STDIN_FILENO, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    text.append(block, count > 0 ? std::size_t(count) : 0);
    if (count <= 0 && !text.empty()) text += '\n';  // the last line may lack its end
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string line = text.substr(begin, end - begin);
      if (line.ends_with('\r')) line.pop_back();  // a list made on Windows
      if (!line.empty() && !use(line)) return false;
    }
    if (count <= 0) return true;
    text.erase(0, begin);
  }
}

template <class Iterator>
bool for_each_image(const fs::path& folder, const Use& use) {
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : Iterator(folder, fs::directory_options::skip_permission_denied)) {
    if (entry.is_regular_file() && datasets::has_image_extension(entry.path()))
      files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return std::all_of(files.begin(), files.end(), use);
}

// Sorted; the pattern itself where nothing matches.
std::vector<std::string> expanded(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_NOCHECK, nullptr, &found);
  std::vector<std::string> names(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status != 0) throw std::bad_alloc();  // no other reason is left: GLOB_ERR is not asked for
  return names;
}

bool for_each_of(const std::string& input, bool recursive, const Use& use) {
  if (std::error_code error; !fs::is_directory(input, error)) return use(input);
  return recursive ? for_each_image<fs::recursive_directory_iterator>(input, use)
                   : for_each_image<fs::directory_iterator>(input, use);
}

}  // namespace

void for_each_input(const std::vector<std::string>& inputs, bool recursive, const Use& use,
                    const Idle& idle) {
  const auto use_input = [&](const std::string& name) { return for_each_of(name, recursive, use); };
  for (const std::string& input : inputs) {
    if (input == "-") {
      if (!for_each_line(use, idle)) return;
    } else if (is_pattern(input)) {
      const std::vector<std::string> names = expanded(input);
      if (!std::all_of(names.begin(), names.end(), use_input)) return;
    } else if (!use_input(input)) {
      return;
    }
  }
}

bool is_pattern(const std::string& input) {
  std::error_code error;  // a link that leads nowhere is a file of that name, too
  return input.find_first_of("*?[") != std::string::npos && !fs::exists(fs::symlink_status(input, error));
}

}  // namespace vretnet::tools
