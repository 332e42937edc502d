// Products of small row-major f32 matrices that lie in cache: one head's queries, keys, values and score
// panels. Unlike a library GEMM nothing is packed and a call costs nanoseconds.
#pragma once

#include "core/backends/onednn/mixers/matrix.h"

namespace vretnet::onednn {

enum class Left { plain, transposed };  // a is [rows, depth] or [depth, rows]
enum class Sum { fresh, added };        // c = op(a)·b or c = keep · c + op(a)·b

// c [rows, columns] from op(a)·b, b [depth, columns]. c overlaps neither a nor b. Nothing outside the
// matrices is read or written. depth = 0 gives zeros.
void multiply(Left left, std::size_t rows, std::size_t columns, std::size_t depth, Input a, Input b, Output c,
              Sum sum = Sum::fresh, float keep = 1);

}  // namespace vretnet::onednn
