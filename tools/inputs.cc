#include "tools/inputs.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "datasets/folder_scan.h"

namespace vretnet::tools {
namespace {

namespace fs = std::filesystem;

template <class Iterator>
void for_each_image(const fs::path& folder, const std::function<void(const std::string&)>& use) {
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : Iterator(folder, fs::directory_options::skip_permission_denied)) {
    if (entry.is_regular_file() && datasets::has_image_extension(entry.path()))
      files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) use(file);
}

}  // namespace

void for_each_input(const std::vector<std::string>& inputs, bool recursive,
                    const std::function<void(const std::string&)>& use) {
  for (const std::string& input : inputs) {
    if (input == "-") {
      for (std::string line; std::getline(std::cin, line);) {
        if (line.ends_with('\r')) line.pop_back();  // a list made on Windows
        if (!line.empty()) use(line);
      }
    } else if (std::error_code error; !fs::is_directory(input, error)) {
      use(input);
    } else if (recursive) {
      for_each_image<fs::recursive_directory_iterator>(input, use);
    } else {
      for_each_image<fs::directory_iterator>(input, use);
    }
  }
}

}  // namespace vretnet::tools
