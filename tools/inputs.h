// The images that a command line names: files, folders, and - for a list of files, one a line, on stdin.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace vretnet::tools {

// Calls `use` for each file in order. A folder gives its images sorted by name, those of subfolders only when
// `recursive`. A file that does not exist is passed on all the same: whoever reads it says so in its place.
void for_each_input(const std::vector<std::string>& inputs, bool recursive,
                    const std::function<void(const std::string&)>& use);

}  // namespace vretnet::tools
