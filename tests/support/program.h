// Runs a program the way a shell does: arguments, environment, stdin, folder, limits and signals in, exit
// code and what it wrote out.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace vretnet::testing {

struct ProgramOptions {
  std::filesystem::path folder;                    // working folder; empty: the caller's
  std::map<std::string, std::string> environment;  // beside the caller's, less every VRETNET_*
  std::string stdin_text;
  std::filesystem::path stdout_file;  // instead of catching stdout
  // Sends `signal` when `signal_when` is true (nothing: at once) and `signal_after` has passed since then.
  int signal = 0;
  std::function<bool()> signal_when;
  std::chrono::milliseconds signal_after{0};
  std::optional<rlim_t> largest_file;  // bytes; a longer write fails as on a full disk (EFBIG)
};

struct ProgramResult {
  int exit_code = -1;  // −1 where a signal ended it
  int signal = 0;      // which
  std::string out, err;
  std::int64_t peak_kib = 0;  // of resident memory
  std::chrono::milliseconds time{0};
};

inline std::string text_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace program_detail {

inline void open_as(int descriptor, const std::filesystem::path& path, int flags) {
  const int opened = ::open(path.c_str(), flags, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(127);
  ::close(opened);
}

// In the child: does not return.
[[noreturn]] inline void become(const std::filesystem::path& program,
                                const std::vector<std::string>& arguments, const ProgramOptions& options,
                                const std::filesystem::path& scratch) {
  open_as(STDIN_FILENO, scratch / "in", O_RDONLY);
  open_as(STDOUT_FILENO, options.stdout_file.empty() ? scratch / "out" : options.stdout_file,
          O_WRONLY | O_CREAT);
  open_as(STDERR_FILENO, scratch / "err", O_WRONLY | O_CREAT);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(127);
  if (options.largest_file) {
    const rlimit limit{*options.largest_file, *options.largest_file};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);  // a full disk sends no signal
  }
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!text.starts_with("VRETNET_") && !text.starts_with("NO_COLOR=") &&
        !options.environment.contains(text.substr(0, text.find('='))))
      environment.push_back(text);
  }
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
  std::vector<char*> argument_pointers{const_cast<char*>(program.c_str())}, environment_pointers;
  for (const std::string& text : arguments) argument_pointers.push_back(const_cast<char*>(text.c_str()));
  for (const std::string& text : environment) environment_pointers.push_back(const_cast<char*>(text.c_str()));
  argument_pointers.push_back(nullptr);
  environment_pointers.push_back(nullptr);
  ::execve(program.c_str(), argument_pointers.data(), environment_pointers.data());
  ::_exit(127);
}

}  // namespace program_detail

// Call from a process of one thread. Throws std::runtime_error where the system gives no process.
inline ProgramResult run_program(const std::filesystem::path& program,
                                 const std::vector<std::string>& arguments,
                                 const ProgramOptions& options = {}) {
  namespace fs = std::filesystem;
  using Clock = std::chrono::steady_clock;
  std::string pattern = (fs::temp_directory_path() / "vretnet-program-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  const fs::path scratch = pattern;
  std::ofstream(scratch / "in", std::ios::binary) << options.stdin_text;

  const Clock::time_point began = Clock::now();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) program_detail::become(program, arguments, options, scratch);

  int status = 0;
  rusage usage{};
  bool sent = options.signal == 0;
  std::optional<Clock::time_point> due;
  while (::wait4(child, &status, sent ? 0 : WNOHANG, &usage) == 0) {
    if (!due && (!options.signal_when || options.signal_when())) due = Clock::now() + options.signal_after;
    if (due && Clock::now() >= *due) {
      ::kill(child, options.signal);
      sent = true;
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }

  ProgramResult result;
  result.time = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = text_of_file(scratch / "out");
  result.err = text_of_file(scratch / "err");
  result.peak_kib = usage.ru_maxrss;
  fs::remove_all(scratch);
  return result;
}

}  // namespace vretnet::testing
