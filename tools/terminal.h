// What the user sees: results on stdout, everything else on stderr; a bar on a terminal only, otherwise one
// plain line an interval. NO_COLOR is honoured.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace vretnet::tools {

enum class ProgressStyle { automatic, bar, plain, off };

struct TerminalOptions {
  int verbosity = 0;              // −1 quiet, 0, 1 verbose
  std::string color = "auto";     // auto, always, never
  std::string progress = "auto";  // auto, bar, plain, off
};
TerminalOptions& terminal_options();

// False where a Progress says nothing.
bool shows_progress();

void say(const std::string& line);          // stderr, unless quiet
void say_verbose(const std::string& line);  // stderr, with -v
void say_error(const std::string& line);    // stderr, "error: …", always
void print(const std::string& text);        // stdout, as it is

std::string bold(const std::string& text);  // where stderr shows colours
std::string clock_text(double seconds);     // 0:12:51

// A line that is rewritten in place (bar), or said now and then (plain). Ends itself when destroyed.
class Progress {
 public:
  // `label` stands in front: "epoch  3/20". `total` in the unit of update(); `unit` is for the rate: "img".
  Progress(std::string label, std::int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` since the start of the label, `more` units after this label's end (for the ETA of a whole run),
  // `text` between the bar and the rate: "loss 0.812". Shows at most ten times a second.
  void update(std::int64_t done, const std::string& text = "", std::int64_t more = 0);
  void set_total(std::int64_t total);  // where it was not known at the start
  void finish();                       // clears the bar
  double rate() const;                 // units a second since the first update
  void start_from(std::int64_t done) { start_ = done; }

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_, unit_;
  std::int64_t total_, start_ = 0, done_ = 0;
  ProgressStyle style_;
  Clock::time_point began_ = Clock::now(), shown_ = began_;
  bool visible_ = false;
};

}  // namespace vretnet::tools
