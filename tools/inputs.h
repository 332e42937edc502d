// The images that a command line names: files, folders, patterns, and - for a list of files, one a line, on
// stdin.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace vretnet::tools {

// Calls `use` for each file in order, until it returns false. A folder gives its images sorted by name, those
// of subfolders only when `recursive`; a pattern (is_pattern) what matches it, as a shell would. A file that
// does not exist and a pattern that nothing matches are passed on all the same: whoever reads them says so in
// their place. `idle` (may be empty) is called while stdin has no further line to give yet, and then
// some times a second; where it returns false, no more is waited for.
void for_each_input(const std::vector<std::string>& inputs, bool recursive,
                    const std::function<bool(const std::string&)>& use,
                    const std::function<bool()>& idle = {});

// Whether an input of the command line (not a line of stdin, which is taken as it stands) is a pattern that
// no shell has expanded: it has one of * ? [, and there is no file of that name.
bool is_pattern(const std::string& input);

}  // namespace vretnet::tools
