#include "tools/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <set>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "tools/command.h"
#include "tools/run_folder.h"
#include "tools/toml.h"

namespace vretnet::tools {
namespace {

constexpr const char* kVariablePrefix = "VRETNET_";

// The long names of an option or flag that may stand in a config file and in the environment.
std::vector<std::string> long_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (name != "help") names.push_back(name);
    }
  }
  return names;
}

const CLI::Option* find_option(const CLI::App& command, const std::string& name) {
  return command.get_option_no_throw("--" + name);
}

// The keys that a config file cannot hold, because they say where it is, or end the program.
bool is_own_matter(const std::string& name) {
  return name == "config" || name == "help";
}

std::string as_argument(const std::string& name, const std::vector<std::string>& values) {
  return fmt::format("--{}={}", name, fmt::join(values, ","));
}

// What a place other than the command line says, as an argument of an option.
struct Setting {
  const CLI::Option* option;
  std::string argument, place;
};

std::vector<Setting> settings_of_file(const CLI::App& command, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw UsageError(fmt::format("--config: '{}' cannot be read", path));
  std::vector<Setting> settings;
  for (const TomlEntry& entry : parse_toml(text, path)) {
    if (!entry.section.empty() && entry.section != command.get_name()) {
      throw UsageError(fmt::format("{}:{}: section [{}] is not known, expected [{}] or none", path,
                                   entry.line, entry.section, command.get_name()));
    }
    const CLI::Option* option = find_option(command, entry.key);
    if (!option || is_own_matter(entry.key)) {
      throw UsageError(fmt::format("{}:{}: unknown key '{}' for '{}'.{}", path, entry.line, entry.key,
                                   command.get_name(), did_you_mean(entry.key, long_names(command))));
    }
    const bool empty =
        std::all_of(entry.values.begin(), entry.values.end(), std::mem_fn(&std::string::empty));
    if (empty) continue;
    settings.push_back(
        {option, as_argument(entry.key, entry.values), fmt::format("{}:{}", path, entry.line)});
  }
  return settings;
}

std::string variable_of(const std::string& name) {
  std::string variable = kVariablePrefix;
  for (const char c : name) {
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

// VRETNET_BATCH_SIZE=64 is --batch-size=64. An empty variable is none.
std::vector<Setting> settings_of_environment(const CLI::App& command) {
  std::vector<Setting> settings;
  for (const std::string& name : long_names(command)) {
    const std::string variable = variable_of(name);
    const char* value = std::getenv(variable.c_str());
    if (value && *value)
      settings.push_back({find_option(command, name), as_argument(name, {value}), variable});
  }
  return settings;
}

// visit(option, value) for the options that these arguments name: "--batch-size=8", "--batch-size 8", "-b8",
// "-b 8", and several in one, "-qb8". Nothing for an option without a value.
template <class Visit>
void for_each_given(const CLI::App& command, const std::vector<std::string>& arguments, Visit&& visit) {
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    const auto following = [&]() -> std::optional<std::string> {
      if (i + 1 == arguments.size() || (arguments[i + 1].starts_with("-") && arguments[i + 1] != "-"))
        return {};
      return arguments[i + 1];
    };
    if (argument.starts_with("--")) {
      const std::size_t equals = argument.find('=');
      const CLI::Option* option = find_option(command, argument.substr(2, equals - 2));
      if (!option) continue;
      visit(option, equals == std::string::npos ? following() : argument.substr(equals + 1));
    } else if (argument.starts_with("-")) {
      for (std::size_t letter = 1; letter < argument.size(); ++letter) {
        const CLI::Option* option = command.get_option_no_throw(std::string("-") + argument[letter]);
        if (!option) break;
        const bool takes_value = option->get_expected_max() > 0;
        const std::size_t rest = letter + 1 + (argument.substr(letter + 1).starts_with("=") ? 1 : 0);
        visit(option, rest < argument.size() ? argument.substr(rest) : following());
        if (takes_value) break;  // the rest was its value
      }
    }
  }
}

std::set<const CLI::Option*> options_among(const CLI::App& command,
                                           const std::vector<std::string>& arguments) {
  std::set<const CLI::Option*> found;
  for_each_given(command, arguments, [&](const CLI::Option* option, const auto&) { found.insert(option); });
  return found;
}

// The last value that an option has among the arguments, "" where it stands there without one.
std::optional<std::string> value_of(const CLI::App& command, const std::vector<std::string>& arguments,
                                    const std::string& name) {
  std::optional<std::string> last;
  for_each_given(command, arguments, [&](const CLI::Option* option, const std::optional<std::string>& value) {
    if (option == find_option(command, name)) last = value.value_or("");
  });
  return last;
}

// As value_of, or else what the environment says.
std::optional<std::string> value_anywhere(const CLI::App& command, const std::vector<std::string>& arguments,
                                          const std::string& name) {
  if (auto value = value_of(command, arguments, name)) return value;
  const char* value = std::getenv(variable_of(name).c_str());
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}

// The config file: of the run that is resumed, or the one that is named; empty where there is none.
std::string config_path(const CLI::App& command, const std::vector<std::string>& arguments) {
  if (const auto run = value_anywhere(command, arguments, "resume")) {
    const std::string own = RunFolder::existing(run->empty() ? "auto" : *run).file("config.toml").string();
    if (const auto other = value_of(command, arguments, "config")) {
      throw UsageError(fmt::format("--config: '{}' beside --resume, but a resumed run has its own recipe, {}",
                                   *other, own));
    }
    return own;
  }
  return value_anywhere(command, arguments, "config").value_or("");
}

// A value as TOML: numbers and truth values bare, and numbers in the form in which a reader gives them back
// ("2e-3" is 0.002), so that the file of a run reads as the recipe that wrote it.
std::string toml_value(const std::string& text) {
  if (text == "true" || text == "false") return text;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool is_number = !text.empty() && *end == '\0' && std::isfinite(number) &&
                         text.find_first_not_of("+-.0123456789eE") == std::string::npos;
  if (!is_number) return toml_string(text);
  if (text.find_first_of(".eE") != std::string::npos) return fmt::format("{}", number);
  constexpr std::size_t kDigits = 18;  // that every TOML integer can hold
  return text.size() <= kDigits ? text : toml_string(text);
}

// The variables of a command's options and of the commands below it.
void add_variables(const CLI::App& command, std::vector<std::string>& variables) {
  for (const std::string& name : long_names(command)) variables.push_back(variable_of(name));
  for (const CLI::App* child : command.get_subcommands({})) add_variables(*child, variables);
}

// What is wrong with a text that is to be a number low … high; nothing where it is one.
template <class Number>
std::string range_error(const std::string& text, Number low, Number high, const char* kind) {
  Number value{};
  if (!CLI::detail::lexical_cast(text, value)) return fmt::format("'{}' is not a {}", text, kind);
  if (value >= low && value <= high) return {};
  return fmt::format("Value {} not in range {} to {}", text, low, high);  // "nan", too
}

// The names of the commands that have this option, for what is said where it stands before its command.
std::vector<std::string> commands_with(const CLI::App& app, const std::string& option) {
  std::vector<std::string> names;
  for (const CLI::App* child : app.get_subcommands({})) {
    if (child->get_option_no_throw(option)) names.push_back(child->get_name());
  }
  return names;
}

[[noreturn]] void refuse_extras(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::vector<std::string> extras = app.remaining(true);
  const std::string wrong = extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
  if (!wrong.starts_with("-")) throw UsageError(fmt::format("unexpected argument '{}'", wrong));
  if (command == &app) {
    if (const auto names = commands_with(app, wrong); !names.empty()) {
      throw UsageError(fmt::format("'{}' comes after a command ({}): vretnet {} {}", wrong,
                                   fmt::join(names, ", "), names.front(), fmt::join(extras, " ")));
    }
  }
  std::vector<std::string> known;
  for (const std::string& name : long_names(*command)) known.push_back("--" + name);
  throw UsageError(fmt::format("unknown option '{}'.{}", wrong, did_you_mean(wrong, known)));
}

// "'data' needs a command: check, stats …" where the last command that was named has commands of its own.
void require_command(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  if (command == &app || command->get_require_subcommand_min() == 0) return;
  std::vector<std::string> names;
  for (const CLI::App* child : command->get_subcommands({})) names.push_back(child->get_name());
  if (names.empty()) return;
  throw UsageError(
      fmt::format("'{}' needs one of its commands: {}", command->get_name(), fmt::join(names, ", ")));
}

}  // namespace

CLI::Validator number_range(double low, double high) {
  return CLI::Validator([low, high](std::string& text) { return range_error(text, low, high, "number"); },
                        fmt::format("FLOAT in [{} - {}]", low, high));
}

CLI::Validator count_range(std::int64_t least, std::int64_t most) {
  return CLI::Validator(
      [least, most](std::string& text) { return range_error(text, least, most, "whole number"); },
      fmt::format("INT in [{} - {}]", least, most));
}

std::string AllArguments::with_place(const std::string& message) const {
  const std::string option = message.substr(0, message.find_first_of(": "));
  const auto place = places.find(option);
  return place == places.end() ? message : place->second + ": " + message;
}

std::vector<std::string> unknown_variables(const CLI::App& app) {
  std::vector<std::string> known, lines;
  add_variables(app, known);
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry, name = text.substr(0, text.find('='));
    if (!name.starts_with(kVariablePrefix) || std::find(known.begin(), known.end(), name) != known.end()) {
      continue;
    }
    lines.push_back(fmt::format("{} belongs to no option.{}", name, did_you_mean(name, known)));
  }
  return lines;
}

AllArguments with_config_and_environment(const CLI::App& app, const std::vector<std::string>& arguments) {
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
  if (command == &app) return {arguments, {}};

  // An option that stands higher up is left out below, so that a list replaces a list.
  const std::vector<std::string> own(arguments.begin() + static_cast<std::ptrdiff_t>(place), arguments.end());
  std::set<const CLI::Option*> decided = options_among(*command, own);
  AllArguments all{{arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(place)}, {}};
  const auto insert = [&](const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      if (decided.contains(setting.option)) continue;
      all.list.push_back(setting.argument);
      all.places["--" + setting.option->get_lnames().front()] = setting.place;
    }
    for (const Setting& setting : settings) decided.insert(setting.option);
  };
  insert(settings_of_environment(*command));
  if (find_option(*command, "config")) {
    if (const std::string path = config_path(*command, own); !path.empty())
      insert(settings_of_file(*command, path));
  }
  all.list.insert(all.list.end(), own.begin(), own.end());
  return all;
}

void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::Success&) {
    throw;
  } catch (const CLI::ExtrasError&) {
    refuse_extras(app);
  } catch (const CLI::RequiredError& error) {
    require_command(app);
    throw UsageError(error.what());
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
}

std::string config_text(const CLI::App& command, const std::vector<std::string>& skip,
                        const std::map<std::string, std::string>& values) {
  std::string text;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty()) continue;
    const std::string& name = option->get_lnames().front();
    if (is_own_matter(name) || std::find(skip.begin(), skip.end(), name) != skip.end()) continue;
    std::string value = option->count() > 0 ? fmt::format("{}", fmt::join(option->reduced_results(), ","))
                                            : option->get_default_str();
    if (const auto other = values.find(name); other != values.end()) value = other->second;
    if (value.size() >= 2 && value.front() == '[' && value.back() == ']')
      value = value.substr(1, value.size() - 2);
    if (option->get_expected_max() == 0 && value.empty()) value = "false";
    if (value.empty()) continue;
    text += fmt::format("{} = {}\n", name,
                        option->get_type_name().starts_with("TEXT") ? toml_string(value) : toml_value(value));
  }
  return text;
}

}  // namespace vretnet::tools
