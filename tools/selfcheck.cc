// vretnet selfcheck
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "core/backends/available.h"
#include "core/base/error.h"
#include "core/conformance/conformance.h"
#include "tools/command.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

struct OpRow {
  std::size_t cases = 0, failed = 0;
  double worst = 0;
};

// One row an op (the part of a case's name before the slash): cases, failures, the largest share of its
// bound.
int selfcheck(const MachineFlags& flags, const std::string& filter) {
  const std::unique_ptr<Backend> backend = make_machine(flags);
  print(fmt::format(
      "{}\nevery op against the reference in double, under a bound counted from its roundings\n\n",
      backend->description()));
  std::vector<std::pair<std::string, OpRow>> rows;
  std::string failures;
  std::vector<conformance::Case> cases = conformance::conformance_cases();
  std::erase_if(cases,
                [&](const conformance::Case& each) { return each.name.find(filter) == std::string::npos; });
  const DType dtype = pass_options(flags, layers::Mode::inference).dtype;
  std::erase_if(cases, [&](const conformance::Case& each) { return !conformance::exists_in(dtype, each); });
  if (cases.empty()) {
    throw UsageError(fmt::format("--filter: no case in {} has '{}' in its name", name_of(dtype), filter));
  }
  Progress progress("selfcheck", static_cast<std::int64_t>(cases.size()), "case");
  std::int64_t done = 0;
  for (const conformance::Case& each : cases) {
    const std::string op = each.name.substr(0, each.name.find('/'));
    if (rows.empty() || rows.back().first != op) rows.emplace_back(op, OpRow{});
    OpRow& row = rows.back().second;
    const conformance::Result result = conformance::run_case(*backend, dtype, each);
    ++row.cases;
    row.worst = std::max(row.worst, result.worst);
    if (!result.passed) {
      ++row.failed;
      failures += fmt::format("FAILED {}: {}\n", each.name, result.reason);
    }
    progress.update(++done);
  }
  progress.finish();
  std::size_t failed = 0, passed = 0;
  print("op                          cases  failed  worst / bound\n");
  for (const auto& [op, row] : rows) {
    print(fmt::format("{:<26} {:6}  {:6}  {:13.3f}\n", op, row.cases, row.failed, row.worst));
    failed += row.failed;
    passed += row.cases - row.failed;
  }
  print(failures + fmt::format("\n{} passed, {} failed\n", passed, failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace

Command selfcheck_command() {
  return {"selfcheck", "prove this build on this processor: every op against the reference",
          [](CLI::App& app) -> Work {
            auto flags = std::make_shared<MachineFlags>();
            auto filter = std::make_shared<std::string>();
            app.add_option("--filter", *filter, "only cases with this text in their name");
            add_machine_flags(app, *flags);
            add_output_flags(app);
            return [flags, filter] { return selfcheck(*flags, *filter); };
          }};
}

}  // namespace vretnet::tools
