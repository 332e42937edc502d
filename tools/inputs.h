// The images that a command line names: files, folders, and - for a list of files, one a line, on stdin.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace vretnet::tools {

// Calls `use` for each file in order, until it returns false. A folder gives its images sorted by name, those
// of subfolders only when `recursive`. A file that does not exist is passed on all the same: whoever reads it
// says so in its place. `idle` (may be empty) is called while stdin has no further line to give yet, and then
// some times a second; where it returns false, no more is waited for.
void for_each_input(const std::vector<std::string>& inputs, bool recursive,
                    const std::function<bool(const std::string&)>& use,
                    const std::function<bool()>& idle = {});

}  // namespace vretnet::tools
