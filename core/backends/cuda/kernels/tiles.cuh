// Matrices of a few dozen rows in shared memory, and their product by a whole block: what retention and
// attention, forward and backward, are made of.
//   A tile's rows and columns are padded to multiples of 4 with zeros; its row stride is odd, so that both a
//   column of rows and a row of columns fall into different banks. Launch: blocks of kTileThreads threads or
//   a multiple. Every function below is called by all of them; none waits by itself.
#pragma once

#include <gpu.h>

#include <cstdint>

namespace vretnet::cuda {

constexpr int kTileThreads = 128;
constexpr int kTileBlocks = 4;    // of a multiprocessor at least: up to 128 registers a thread
constexpr int kTileTokens = 32;   // the most rows of a tile of tokens
constexpr int kTileColumns = 64;  // of values, at most, for kTileThreads threads: 4 × 4 outputs each

__device__ inline int threads_of_block() {
  return static_cast<int>(blockDim.x);
}

__host__ __device__ constexpr int padded(int extent) {
  return (extent + 3) / 4 * 4;
}
__host__ __device__ constexpr int tile_stride(int columns) {
  return padded(columns) + 1;
}
__host__ __device__ constexpr int tile_floats(int rows, int columns) {
  return padded(rows) * tile_stride(columns);
}

struct Tile {
  float* data;
  int row, column;  // strides
  __device__ float& operator()(int r, int c) const { return data[r * row + c * column]; }
  __device__ Tile transposed() const { return {data, column, row}; }
};

// Cuts shared memory into tiles.
class TileRoom {
 public:
  __device__ TileRoom() : next_(shared_memory()) {}
  __device__ Tile take(int rows, int columns) {
    const Tile tile{next_, tile_stride(columns), 1};
    next_ += tile_floats(rows, columns);
    return tile;
  }
  __device__ float* take_floats(int count) {
    float* floats = next_;
    next_ += count;
    return floats;
  }

 private:
  float* next_;
};

// tile = `rows` rows of `columns` elements each, scaled, and row by row where there are weights; zero up to
// `padded_rows` rows and padded(columns). Lanes read neighbouring columns.
template <class S>
__device__ inline void load_tile(const Tile& tile, const S* source, std::int64_t row_stride, int rows,
                                 int padded_rows, int columns, const float* weights = nullptr,
                                 float scale = 1) {
  const int width = padded(columns);
  for (int i = static_cast<int>(threadIdx.x); i < padded_rows * width; i += threads_of_block()) {
    const int r = i / width, c = i % width;
    float value = 0;
    if (r < rows && c < columns) {
      value = scale * load(source + r * row_stride + c);
      if (weights) value *= weights[r];
    }
    tile(r, c) = value;
  }
}

// Angles of tokens [tokens, d/2] and a factor; null cosine: nothing turns.
struct Turn {
  const float *cosine, *sine;
  float scale;
};
// As load_tile, with the pairs of columns (2j, 2j + 1) of the tokens from `first_token` on turned and scaled.
// An even number of columns.
template <class S>
__device__ inline void load_turned_tile(const Tile& tile, const S* source, std::int64_t row_stride, int rows,
                                        int padded_rows, int columns, const Turn& turn, int first_token) {
  if (turn.cosine == nullptr) {
    return load_tile(tile, source, row_stride, rows, padded_rows, columns, nullptr, turn.scale);
  }
  const int pairs = padded(columns) / 2, angles = columns / 2;
  for (int i = static_cast<int>(threadIdx.x); i < padded_rows * pairs; i += threads_of_block()) {
    const int r = i / pairs, j = i % pairs;
    float even = 0, odd = 0;
    if (r < rows && j < angles) {  // columns are even
      const S* pair = source + r * row_stride + 2 * j;
      const float first = load(pair), second = load(pair + 1);
      const std::int64_t angle = static_cast<std::int64_t>(first_token + r) * angles + j;
      const float cosine = turn.cosine[angle], sine = turn.sine[angle];
      even = (first * cosine - second * sine) * turn.scale;
      odd = (first * sine + second * cosine) * turn.scale;
    }
    tile(r, 2 * j) = even;
    tile(r, 2 * j + 1) = odd;
  }
}

// The 4 × 4 outputs of a thread in a product of M × N, its rows and columns `M/4` and `N/4` apart so that
// lanes are neighbours. M and N are multiples of 4.
struct Micro {
  int row, column, row_step, column_step;
  __device__ Micro(int m, int rows, int columns)
      : row(m / (columns / 4)), column(m % (columns / 4)), row_step(rows / 4), column_step(columns / 4) {}
  __device__ int row_of(int i) const { return row + i * row_step; }
  __device__ int column_of(int j) const { return column + j * column_step; }
};
__device__ inline int micros(int rows, int columns) {
  return rows / 4 * (columns / 4);
}

struct Sums {
  float value[4][4];
};
// sums += a [.. × depth] · b [depth × ..] at the thread's outputs.
__device__ inline void multiply(Sums& sums, const Micro& micro, const Tile& a, const Tile& b, int depth) {
  for (int k = 0; k < depth; ++k) {
    float left[4], right[4];
    for (int i = 0; i < 4; ++i) left[i] = a(micro.row_of(i), k);
    for (int j = 0; j < 4; ++j) right[j] = b(k, micro.column_of(j));
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) sums.value[i][j] += left[i] * right[j];
    }
  }
}

// visit(row, column, Σ_k a(row, k) · b(k, column)) for all outputs of a product of rows × columns.
template <class Visit>
__device__ inline void product(int rows, int columns, int depth, const Tile& a, const Tile& b,
                               const Visit& visit) {
  for (int m = static_cast<int>(threadIdx.x); m < micros(rows, columns); m += threads_of_block()) {
    const Micro micro(m, rows, columns);
    Sums sums = {};
    multiply(sums, micro, a, b, depth);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) visit(micro.row_of(i), micro.column_of(j), sums.value[i][j]);
    }
  }
}

}  // namespace vretnet::cuda
