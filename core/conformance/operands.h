// The views of one op under test with their memory: random inputs, outputs full of NaN, gaps and guards in
// between.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/backend.h"

namespace vretnet::conformance {

// How a view lies in its memory. `gap`: so many unused elements before, between and behind the rows of every
// axis but the innermost, so that rows are not aligned and nothing can be merged. `reversed`: this axis runs
// backwards. `transposed`: the two innermost axes change places in memory.
struct Layout {
  std::int64_t gap = 0;
  int reversed = -1;
  bool transposed = false;
};
constexpr Layout kPacked{};
constexpr Layout kGaps{.gap = 3};

enum class Values : std::uint8_t {
  normal,    // mean 0, deviation 1
  small,     // mean 0, deviation 0.25
  positive,  // 0.1 … 1
  large,     // mean 30, deviation 1: where a careless variance cancels
};

class Operands {
 public:
  // How each view is stored: all in one dtype, or those with these names in it and the others in wide_of(it).
  struct Storage {
    DType dtype;
    std::set<std::string> wide{};
    Storage(DType the_dtype) : dtype(the_dtype) {}  // NOLINT(google-explicit-constructor)
    DType of(const std::string& name) const { return wide.contains(name) ? wide_of(dtype) : dtype; }
  };
  // `seed` alone decides the random numbers; they are exact in f32, or in bf16 where the views are.
  Operands(Storage storage, std::uint64_t seed) : storage_(std::move(storage)), seed_(seed) {}

  View input(const std::string& name, const Shape& shape, const Layout& layout = kPacked,
             Values values = Values::normal);
  // s8, −127 … 127, whatever the dtype of the others.
  View integers(const std::string& name, const Shape& shape, const Layout& layout = kPacked);
  // Values that belong together (tables, saved statistics), rounded as the view is stored. Row-major. An
  // empty vector: not given.
  View given(const std::string& name, const Shape& shape, const std::vector<double>& values);
  View output(const std::string& name, const Shape& shape, const Layout& layout = kPacked);
  // Random before, read and written: += or in place.
  View update(const std::string& name, const Shape& shape, const Layout& layout = kPacked,
              Values values = Values::normal);

  enum class Kind : std::uint8_t { input, given, output, update };
  struct Operand {
    std::string name;
    Kind kind;
    View view;
    std::unique_ptr<Buffer> buffer;
    std::vector<double> initial;          // the whole memory, guards included
    std::vector<std::int64_t> positions;  // of the view's elements in it, row-major
    bool written() const { return kind == Kind::output || kind == Kind::update; }
  };
  const std::vector<Operand>& all() const { return operands_; }
  std::vector<double> values(const std::string& name) const;  // of the view, row-major, before any op

  // The operand loses its last `count` elements (each becomes 0, or 1 more where it was nearly 0): the
  // mistake that a bound has to notice.
  void drop_last_elements(std::size_t operand, std::size_t count);

  // Takes memory of `backend` and fills it; `release` gives it back. `in_doubles`: it is uploaded so,
  // whatever the dtype (the tracked backend).
  void upload(Backend& backend, bool in_doubles = false);
  void release(Backend& backend);
  std::vector<double> download(Backend& backend, const Operand& operand) const;  // the whole memory

 private:
  View add(const std::string& name, Kind kind, const Shape& shape, const Layout& layout) {
    return add(name, kind, storage_.of(name), shape, layout);
  }
  View add(const std::string& name, Kind kind, DType dtype, const Shape& shape, const Layout& layout);
  void randomize(Operand& operand, Values values);

  Storage storage_;
  std::uint64_t seed_;
  std::vector<Operand> operands_;
};

// What lies between the rows and around a view that is written; no op makes it by chance. Inputs have NaN
// there. bf16 holds it as well.
constexpr double kGuard = -77824;
constexpr double kIntegerGap = -128;  // there is no NaN among the integers, and no weight of −128

}  // namespace vretnet::conformance
