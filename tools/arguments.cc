#include "tools/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "tools/run_folder.h"

namespace vretnet::tools {
namespace {

// The long names of an option or flag that may stand in a config file and in the environment.
std::vector<std::string> long_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  }
  return names;
}

const CLI::Option* find_option(const CLI::App& command, const std::string& name) {
  return command.get_option_no_throw("--" + name);
}

std::string as_argument(const std::string& name, const std::vector<std::string>& values) {
  return fmt::format("--{}={}", name, fmt::join(values, ","));
}

std::vector<std::string> arguments_of_file(const CLI::App& command, const std::string& path) {
  std::ifstream file(path);
  if (!file) throw UsageError(fmt::format("--config: '{}' cannot be opened", path));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(file);
  } catch (const std::exception& error) {
    throw UsageError(fmt::format("--config: '{}' is not TOML: {}", path, error.what()));
  }
  std::vector<std::string> arguments;
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section's begin and end
    if (!item.parents.empty() && item.parents != std::vector<std::string>{command.get_name()}) {
      throw UsageError(fmt::format("--config: '{}': section [{}] is not known, expected keys of '{}' only",
                                   path, fmt::join(item.parents, "."), command.get_name()));
    }
    if (item.name == "config" || !find_option(command, item.name)) {
      throw UsageError(fmt::format("--config: '{}': unknown key '{}' for '{}'.{}", path, item.name,
                                   command.get_name(), did_you_mean(item.name, long_names(command))));
    }
    arguments.push_back(as_argument(item.name, item.inputs));
  }
  return arguments;
}

// VRETNET_BATCH_SIZE=64 is --batch-size=64.
std::vector<std::string> arguments_of_environment(const CLI::App& command) {
  std::vector<std::string> arguments;
  for (const std::string& name : long_names(command)) {
    std::string variable = "VRETNET_";
    for (char c : name)
      variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (const char* value = std::getenv(variable.c_str())) arguments.push_back(as_argument(name, {value}));
  }
  return arguments;
}

// The value that the last of these names has among the arguments ("-c FILE", "-cFILE", "--config=FILE",
// "--config FILE"), or nothing where none stands there. A name without a value has the value "".
std::optional<std::string> value_of(const std::vector<std::string>& arguments,
                                    const std::vector<std::string>& names) {
  std::optional<std::string> value;
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    for (const std::string& name : names) {
      const std::string& argument = arguments[i];
      if (argument == name) {
        const bool follows = i + 1 < arguments.size() && !arguments[i + 1].starts_with("-");
        value = follows ? arguments[i + 1] : "";
      } else if (argument.starts_with(name + "=")) {
        value = argument.substr(name.size() + 1);
      } else if (!name.starts_with("--") && argument.starts_with(name)) {
        value = argument.substr(name.size());
      }
    }
  }
  return value;
}

// The config file: of the run that is resumed, or the one that the user's arguments name, or else the
// environment; empty where there is none.
std::string config_path(const std::vector<std::string>& arguments) {
  if (const auto run = value_of(arguments, {"--resume"})) {
    return RunFolder::existing(run->empty() ? "auto" : *run).file("config.toml").string();
  }
  if (const auto path = value_of(arguments, {"-c", "--config"})) return *path;
  const char* path = std::getenv("VRETNET_CONFIG");
  return path ? path : "";
}

std::string toml_string(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

bool is_number_or_flag(const std::string& text) {
  if (text == "true" || text == "false") return true;
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0' && !std::isalpha(static_cast<unsigned char>(text[0]));
}

}  // namespace

std::vector<std::string> with_config_and_environment(const CLI::App& app,
                                                     const std::vector<std::string>& arguments) {
  // The path of subcommands, for example `data import`.
  const CLI::App* command = &app;
  std::size_t place = 0;
  while (place < arguments.size() && !arguments[place].starts_with("-")) {
    const CLI::App* next = nullptr;
    std::vector<std::string> known;
    for (const CLI::App* child : command->get_subcommands({})) {
      known.push_back(child->get_name());
      if (child->check_name(arguments[place])) next = child;
    }
    if (!next && !known.empty()) {
      throw UsageError(
          fmt::format("unknown command '{}'.{}", arguments[place], did_you_mean(arguments[place], known)));
    }
    if (!next) break;
    command = next;
    ++place;
  }
  if (command == &app) return arguments;

  std::vector<std::string> all(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(place));
  const auto insert = [&](const std::vector<std::string>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  const std::vector<std::string> own(arguments.begin() + static_cast<std::ptrdiff_t>(place), arguments.end());
  if (const std::string path = config_path(own); !path.empty() && find_option(*command, "config")) {
    insert(arguments_of_file(*command, path));
  }
  insert(arguments_of_environment(*command));
  insert(own);
  return all;
}

void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::Success&) {
    throw;
  } catch (const CLI::ExtrasError&) {
    const CLI::App* command = &app;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    const std::vector<std::string> extras = app.remaining(true);
    const std::string wrong = extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
    if (!wrong.starts_with("-")) throw UsageError(fmt::format("unexpected argument '{}'", wrong));
    std::vector<std::string> known;
    for (const std::string& name : long_names(*command)) known.push_back("--" + name);
    throw UsageError(fmt::format("unknown option '{}'.{}", wrong, did_you_mean(wrong, known)));
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
}

std::string config_text(const CLI::App& command, const std::vector<std::string>& skip) {
  std::string text;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty()) continue;
    const std::string& name = option->get_lnames().front();
    if (name == "help" || name == "config" || std::find(skip.begin(), skip.end(), name) != skip.end())
      continue;
    std::string value = option->count() > 0 ? fmt::format("{}", fmt::join(option->results(), ","))
                                            : option->get_default_str();
    if (value.size() >= 2 && value.front() == '[' && value.back() == ']')
      value = value.substr(1, value.size() - 2);
    if (option->get_expected_max() == 0 && value.empty()) value = "false";
    if (value.empty()) continue;
    text += fmt::format("{} = {}\n", name, is_number_or_flag(value) ? value : toml_string(value));
  }
  return text;
}

}  // namespace vretnet::tools
