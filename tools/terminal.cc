#include "tools/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace vretnet::tools {
namespace {

constexpr double kBarSeconds = 0.1;   // between two redraws of a bar
constexpr double kPlainSeconds = 10;  // between two plain lines
constexpr int kBarCells = 20;

bool stderr_is_terminal() {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  return terminal;
}

ProgressStyle progress_style() {
  const std::string& wanted = terminal_options().progress;
  if (terminal_options().verbosity < 0 || wanted == "off") return ProgressStyle::off;
  if (wanted == "bar") return ProgressStyle::bar;
  if (wanted == "plain") return ProgressStyle::plain;
  return stderr_is_terminal() ? ProgressStyle::bar : ProgressStyle::plain;
}

int terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void write_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

TerminalOptions& terminal_options() {
  static TerminalOptions options;
  return options;
}

bool shows_progress() {
  return progress_style() != ProgressStyle::off;
}

void say(const std::string& line) {
  if (terminal_options().verbosity >= 0) write_stderr(line + "\n");
}

void say_verbose(const std::string& line) {
  if (terminal_options().verbosity >= 1) write_stderr(line + "\n");
}

void say_error(const std::string& line) {
  write_stderr("error: " + line + "\n");
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string bold(const std::string& text) {
  const std::string& color = terminal_options().color;
  const char* refusal = std::getenv("NO_COLOR");
  const bool shown = color == "always" || (color == "auto" && stderr_is_terminal() && !(refusal && *refusal));
  return shown ? "\033[1m" + text + "\033[0m" : text;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(std::string label, std::int64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(std::max<std::int64_t>(1, total)),
      style_(progress_style()) {}

Progress::~Progress() {
  finish();
}

void Progress::set_total(std::int64_t total) {
  total_ = std::max<std::int64_t>(1, total);
}

double Progress::rate() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  return seconds > 0 ? static_cast<double>(done_ - start_) / seconds : 0;
}

void Progress::update(std::int64_t done, const std::string& text, std::int64_t more) {
  done_ = done;
  if (style_ == ProgressStyle::off) return;
  const Clock::time_point now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  const bool first_bar = style_ == ProgressStyle::bar && !visible_;  // at once: a step may take long
  if (!first_bar && since < (style_ == ProgressStyle::bar ? kBarSeconds : kPlainSeconds)) return;
  shown_ = now;
  const double speed = rate();
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  std::string line = label_;
  if (style_ == ProgressStyle::bar) {
    const int full = static_cast<int>(part * kBarCells);
    line += " [" + std::string(static_cast<std::size_t>(full), '#') +
            std::string(static_cast<std::size_t>(kBarCells - full), '-') + "]";
  }
  line += fmt::format(" {:3.0f}%", 100 * part);
  if (!text.empty()) line += "  " + text;
  line += fmt::format("  {:.0f} {}/s", speed, unit_);
  if (speed > 0) line += "  ETA " + clock_text(static_cast<double>(total_ - done + more) / speed);
  if (style_ == ProgressStyle::bar) {
    line.resize(std::min(line.size(), static_cast<std::size_t>(terminal_columns() - 1)));
    write_stderr("\r\033[K" + line);
    visible_ = true;
  } else {
    write_stderr(line + "\n");
  }
}

void Progress::finish() {
  if (visible_) write_stderr("\r\033[K");
  visible_ = false;
}

}  // namespace vretnet::tools
