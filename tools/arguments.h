// One precedence for every flag: command line, then VRETNET_* environment, then config file, then default.
// The environment and the config file are turned into arguments that stand before the user's own, and the
// last one wins, so that CLI11's parser sees a single list.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace vretnet::tools {

// `arguments` without the program's name. Inserts, after the subcommand that they name, what the file after
// -c or
// --config and the environment say. Throws UsageError for an unknown subcommand or key, with the nearest
// known one, and for a file that cannot be read, with its line.
std::vector<std::string> with_config_and_environment(const CLI::App& app,
                                                     const std::vector<std::string>& arguments);

// Parses; a mistake becomes UsageError in our words ("unknown option '--epoch'. Did you mean '--epochs'?").
// CLI::Success (--help, --version) passes through.
void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments);

// The configurable options of a subcommand with their values now, as a TOML file that `-c` reads again.
// `skip` names options that do not belong to a recipe.
std::string config_text(const CLI::App& command, const std::vector<std::string>& skip);

}  // namespace vretnet::tools
