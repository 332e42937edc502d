// vretnet: one program, one file a subcommand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

constexpr const char* kExamples = R"(examples:
  vretnet train -d photos -m vretnet_nano_patch4_32 --epochs 20
  vretnet predict -m runs/train-1/best.safetensors cat.jpg -k 3
COMMAND --help lists its flags; a TOML file (-c) or VRETNET_LR=... sets them.)";

constexpr std::size_t kCommandColumn = 14;  // so that the top page fits 80 columns

int run(const std::vector<std::string>& arguments) {
  CLI::App app{"Vision RetNet image classifiers: train, evaluate, classify, measure.", "vretnet"};
  app.set_version_flag("-V,--version", std::string("vretnet ") + VRETNET_VERSION);
  app.set_help_flag("-h,--help", "show this help");
  app.footer(kExamples);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)->always_capture_default();
  app.require_subcommand(0, 1);

  std::map<const CLI::App*, Work> works;
  const auto declare = [&](const Command& command) {
    CLI::App* child = app.add_subcommand(command.name, command.summary);
    child->footer("");
    works[child] = command.declare(*child);
  };
  for (const Command& command :
       {train_command(), evaluate_command(), predict_command(), explain_command(), info_command(),
        quantize_command(), models_command(), data_command(), bench_command(), selfcheck_command()}) {
    declare(command);
  }

  // The commands keep the formatter that they were made with: only the list of commands is narrow.
  app.formatter(std::make_shared<CLI::Formatter>());
  app.get_formatter()->column_width(kCommandColumn);

  const AllArguments all = with_config_and_environment(app, arguments);
  try {
    parse_arguments(app, all.list);
    for (const std::string& line : unknown_variables(app)) say("warning: " + line);
    if (app.get_subcommands().empty()) {
      if (!arguments.empty()) throw UsageError(fmt::format("unexpected argument '{}'", arguments.front()));
      print(app.help());
      return 2;
    }
    return works.at(app.get_subcommands().front())();
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const UsageError& error) {
    throw UsageError(all.with_place(error.what()));
  }
}

}  // namespace
}  // namespace vretnet::tools

int main(int argc, char** argv) {
  using vretnet::tools::say_error;
  try {
    const int code = vretnet::tools::run({argv + 1, argv + argc});
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw vretnet::RunError("cannot write to stdout");
    return code;
  } catch (const vretnet::Error& error) {
    say_error(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    say_error("not enough memory; try a smaller --batch-size");
  } catch (const std::exception& error) {
    say_error(error.what());
  }
  return 1;
}
