// The errors that a user can cause. Library code throws them; tools print one line `error: …` and exit
// with the code. A message says what was found, what was expected, and where (file, option, key).
#pragma once

#include <stdexcept>
#include <string>

namespace vretnet {

class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& message) : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// Something failed while running: a full disk, too little memory, a diverged loss.
struct RunError : Error {
  explicit RunError(const std::string& message) : Error(1, message) {}
};
// A mistake on the command line, in a config file, or in a model or checkpoint named there.
struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(2, message) {}
};
// Images, labels or folders that cannot be used.
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(3, message) {}
};

}  // namespace vretnet
