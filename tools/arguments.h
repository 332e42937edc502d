// One precedence for every flag: command line, then VRETNET_* environment, then config file, then default.
// The environment and the config file are turned into arguments that stand before the user's own, and the
// last one wins, so that CLI11's parser sees a single list.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

namespace vretnet::tools {

struct AllArguments {
  std::vector<std::string> list;
  // Where values stand that are not the user's own: "--lr" → "VRETNET_LR", "--epochs" → "recipe.toml:3".
  std::map<std::string, std::string> places;

  // A message about an option's value ("--lr: …") with the place before it where the user did not say it
  // here.
  std::string with_place(const std::string& message) const;
};

// `arguments` without the program's name. Inserts, after the subcommand that they name, what the file after
// -c or
// --config and the environment say. Throws UsageError for an unknown subcommand or key, with the nearest
// known one, and for a file that cannot be read, with its line.
AllArguments with_config_and_environment(const CLI::App& app, const std::vector<std::string>& arguments);

// A line for each VRETNET_* variable that no command has an option for.
std::vector<std::string> unknown_variables(const CLI::App& app);

// Parses; a mistake becomes UsageError in our words ("unknown option '--epoch'. Did you mean '--epochs'?").
// CLI::Success (--help, --version) passes through.
void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments);

// The configurable options of a subcommand with their values now, as a TOML file that `-c` reads again.
// `skip` names options that do not belong to a recipe, `values` those with another value than was given.
std::string config_text(const CLI::App& command, const std::vector<std::string>& skip,
                        const std::map<std::string, std::string>& values = {});

}  // namespace vretnet::tools
