// Vectors, activations, matrix products, memory and threads, for the kernels beside this file.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int LANES = 16;
#elif defined(__AVX__)
#include <immintrin.h>
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));

static inline V all(float x) { return x - V{}; }

static inline V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

static inline void store(float* p, V v) { std::memcpy(p, &v, sizeof v); }

#if defined(__AVX__) && !defined(__AVX512F__)
// n times all bits, then zeros: from MASK + LANES - n
static const int32_t MASK[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
#endif

// The first n numbers, zeros behind them. A copy of variable length would be a call, and through
// memory: ten times slower in the innermost loop of a product.
static inline V load_some(const float* p, int n) {
#if defined(__AVX512F__)
  return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX__)
  return (V)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i*)(MASK + LANES - n)));
#else
  V v = {};
  std::memcpy(&v, p, 4 * n);
  return v;
#endif
}

static inline void store_some(float* p, V v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX__)
  // in pieces: a store with a mask takes some forty steps on processors of AMD
  if (n == LANES) return store(p, v);
  __m128 x = _mm256_castps256_ps128((__m256)v);
  if (n & 4) _mm_storeu_ps(p, x), p += 4, x = _mm256_extractf128_ps((__m256)v, 1);
  if (n & 2) _mm_storel_pi((__m64*)p, x), p += 2, x = _mm_movehl_ps(x, x);
  if (n & 1) _mm_store_ss(p, x);
#else
  std::memcpy(p, &v, 4 * n);
#endif
}

// --- activations ---------------------------------------------------------------------------------

enum Act { IDENTITY = 0, GELU = 1, RELU = 2 };

static inline V inverse(V x) {
#if defined(__AVX512F__)
  V r = (V)_mm512_rcp14_ps((__m512)x);
  return r + r * (all(1.0f) - x * r);  // one step of Newton: 2^-14 becomes 2^-27
#else
  return all(1.0f) / x;
#endif
}

// 2^z for -126 <= z <= 0: the whole part goes to the exponent, a polynomial does the rest.
static inline V exp2_negative(V z) {
  const V magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  V shifted = z + magic;
  V r = z - (shifted - magic);
  V p = all(1.54353139e-4f);
  p = p * r + all(1.33335581e-3f);
  p = p * r + all(9.61812911e-3f);
  p = p * r + all(5.55041087e-2f);
  p = p * r + all(2.40226507e-1f);
  p = p * r + all(6.93147181e-1f);
  p = p * r + all(1.0f);
  return (V)((I)p + ((I)shifted << 23));
}

struct Normal {
  V cumulative, density;
};

// Phi(x) and phi(x) of the standard normal distribution. Phi(-y) = phi(y) M(y) for y >= 0, where
// M, the ratio of Mills, is a polynomial in t = 1 / (1 + 0.26 y), fitted so that it is right to
// 1e-7 everywhere and phi M to 5e-10. In float32 Phi is off by 2.3e-7 at most.
static inline Normal normal(V x) {
  V y = (V)((I)x & 0x7fffffff);
  // phi(9) = 1e-18 is nothing beside 1; from 13 on gradients times phi would be subnormal numbers,
  // with which processors are fifty times slower
  y = y < all(9.0f) ? y : all(9.0f);
  V density = all(0.398942280f) * exp2_negative(y * y * all(-0.721347520f));
  V t = inverse(all(1.0f) + all(0.26f) * y);
  V p = all(0.0778275094554409f);
  p = p * t + all(-0.38844014611574357f);
  p = p * t + all(0.6385694276733318f);
  p = p * t + all(-0.3841161746599858f);
  p = p * t + all(0.40471940219079766f);
  p = p * t + all(0.12856973410126035f);
  p = p * t + all(0.2577703866102434f);
  p = p * t + all(0.2583377807961091f);
  p = p * t + all(0.260076218478973f);
  V tail = density * (p * t);
  return {x > V{} ? all(1.0f) - tail : tail, density};
}

// Phi(x) alone, cheaper: 1/2 + x P(x^2) / Q(x^2) up to |x| = 5.4, beyond which it is 0 or 1 to
// 4e-8. The fit is right to 6e-9; in float32 the result is off by 2.3e-7 at most.
static inline V cumulative(V x) {
  V y = x < all(5.4f) ? x : all(5.4f);
  V s = y * y;
  V p = all(2.3386334e-08f), q = all(1.21657517e-06f);
  p = p * s + all(6.35996069e-06f), q = q * s + all(7.23997692e-05f);
  p = p * s + all(0.000164321254f), q = q * s + all(0.00185897863f);
  p = p * s + all(0.00465084652f), q = q * s + all(0.0283786809f);
  p = p * s + all(0.0333722412f), q = q * s + all(0.250317893f);
  p = p * s + all(0.398942245f), q = q * s + all(1.0f);
  V found = all(0.5f) + y * (p * inverse(q));
  return x < all(-5.4f) ? V{} : found;
}

template <int act>
static inline V bent(V x) {
  if (act == GELU) return x * cumulative(x);
  if (act == RELU) return x < V{} ? V{} : x;
  return x;
}

// The activation, and in `slope` its derivative.
template <int act>
static inline V bent(V x, V& slope) {
  if (act == GELU) {
    Normal n = normal(x);
    slope = n.cumulative + x * n.density;
    return x * n.cumulative;
  }
  slope = x > V{} ? all(1.0f) : V{};
  return x < V{} ? V{} : x;
}

template <class F>
static inline void each(long n, F f) {
  long i = 0;
  for (; i + LANES <= n; i += LANES) f(i, LANES);
  if (i < n) f(i, (int)(n - i));
}

// What the next tile reads comes into the cache while this one is computed: an arithmetic loop over
// a tile of as many numbers is the time for it. An address behind the end does no harm.
static inline void fetch(const float* p, long i) {
#if defined(__GNUC__)
  if (p) __builtin_prefetch(p + i, 0, 2);
#endif
}

template <int act>
static void bend_as(long n, float* y, const float* x, const float* next) {
  each(n, [&](long i, int k) {
    fetch(next, i);
    if (k == LANES) store(y + i, bent<act>(load(x + i)));
    else store_some(y + i, bent<act>(load_some(x + i, k)), k);
  });
}

// y = act(x)
static void bend(int act, long n, float* y, const float* x, const float* next = nullptr) {
  if (act == GELU) bend_as<GELU>(n, y, x, next);
  else if (act == RELU) bend_as<RELU>(n, y, x, next);
  else if (y != x) std::memcpy(y, x, 4 * n);
}

template <int act>
static void bend_both_as(long n, float* y, float* slope, const float* x, const float* next) {
  each(n, [&](long i, int k) {
    fetch(next, i);
    V s, v = bent<act>(k == LANES ? load(x + i) : load_some(x + i, k), s);
    if (k == LANES) store(y + i, v), store(slope + i, s);
    else store_some(y + i, v, k), store_some(slope + i, s, k);
  });
}

// y = act(x), slope = act'(x); not of the identity
static void bend_both(int act, long n, float* y, float* slope, const float* x,
                      const float* next = nullptr) {
  if (act == GELU) bend_both_as<GELU>(n, y, slope, x, next);
  else bend_both_as<RELU>(n, y, slope, x, next);
}

template <int act>
static void unbend_as(long n, float* y, const float* g, const float* x) {
  each(n, [&](long i, int k) {
    fetch(y + n, i), fetch(x + n, i);
    auto get = [&](const float* p) { return k == LANES ? load(p + i) : load_some(p + i, k); };
    V s = all(1.0f), v = g ? get(y) + get(g) : get(y);
    if (act != IDENTITY) bent<act>(get(x), s);
    if (k == LANES) store(y + i, v * s);
    else store_some(y + i, v * s, k);
  });
}

// y = (y + g) act'(x); g may be missing
static void unbend(int act, long n, float* y, const float* g, const float* x) {
  if (act == GELU) unbend_as<GELU>(n, y, g, x);
  else if (act == RELU) unbend_as<RELU>(n, y, g, x);
  else if (g) unbend_as<IDENTITY>(n, y, g, x);
}

static void multiply(long n, float* g, const float* s) {
  for (long i = 0; i < n; i++) g[i] *= s[i];
}

// --- matrix products -----------------------------------------------------------------------------

enum Start { ZERO, ADD, ROW };  // what a product is added to: nothing, C, or one row for all

// C (rows x columns) = start + A B, for R rows and N vectors of columns. Element (i, k) of A stands
// at A[i * ai + k * ak], so A may be transposed. `tail`: numbers in the last vector.
template <int R, int N, bool whole>
static inline void product(long K, const float* A, long ai, long ak, const float* B, long ldb,
                           float* C, long ldc, Start start, const float* row, int tail) {
  V c[R][N];
  auto get = [&](const float* p, int n) {
    return whole || n < N - 1 ? load(p + n * LANES) : load_some(p + n * LANES, tail);
  };
  for (int i = 0; i < R; i++)
    for (int n = 0; n < N; n++)
      c[i][n] = V{};
  for (long k = 0; k < K; k++) {
    V b[N];
    for (int n = 0; n < N; n++) b[n] = get(B + k * ldb, n);
    for (int i = 0; i < R; i++) {
      V a = all(A[i * ai + k * ak]);
      for (int n = 0; n < N; n++) c[i][n] += a * b[n];
    }
  }
  for (int i = 0; i < R; i++)
    for (int n = 0; n < N; n++) {
      float* p = C + i * ldc + n * LANES;
      // at the end: what is large would take digits from every term
      if (start != ZERO) c[i][n] += get(start == ADD ? C + i * ldc : row, n);
      if (whole || n < N - 1) store(p, c[i][n]);
      else store_some(p, c[i][n], tail);
    }
}

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TALL[5] = {0, 14, 12, 8, 6};  // rows for so many vectors: 32 registers
#else
constexpr int TALL[5] = {0, 6, 4, 3, 2};  // 16 registers
#endif

template <int R, int N, bool whole>
struct Rest {  // the last rows, fewer than a block has
  static void run(long m, long K, const float* A, long ai, long ak, const float* B, long ldb,
                  float* C, long ldc, Start start, const float* row, int tail) {
    if (m == R) product<R, N, whole>(K, A, ai, ak, B, ldb, C, ldc, start, row, tail);
    else Rest<R - 1, N, whole>::run(m, K, A, ai, ak, B, ldb, C, ldc, start, row, tail);
  }
};
template <int N, bool whole>
struct Rest<0, N, whole> {
  static void run(long, long, const float*, long, long, const float*, long, float*, long, Start,
                  const float*, int) {}
};

template <int N, bool whole>
static void columns(long M, long K, const float* A, long ai, long ak, const float* B, long ldb,
                    float* C, long ldc, Start start, const float* row, int tail) {
  constexpr int R = TALL[N];
  long i = 0;
  for (; i + R <= M; i += R)
    product<R, N, whole>(K, A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, start, row, tail);
  Rest<R - 1, N, whole>::run(M - i, K, A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, start, row,
                             tail);
}

// C (M x N) = start + A (M x K) B (K x N), see `product`; rows of B and C are contiguous.
static void gemm(long M, long N, long K, const float* A, long ai, long ak, const float* B, long ldb,
                 float* C, long ldc, Start start, const float* row = nullptr) {
  for (long j = 0; j < N; j += 4 * LANES) {
    long left = std::min<long>(N - j, 4 * LANES);
    int vectors = (int)((left + LANES - 1) / LANES), tail = (int)(left - (vectors - 1) * LANES);
    const float *b = B + j, *r = row ? row + j : nullptr;
    float* c = C + j;
#define CASE(n)                                                                         \
  case n:                                                                               \
    if (tail == LANES) columns<n, true>(M, K, A, ai, ak, b, ldb, c, ldc, start, r, tail); \
    else columns<n, false>(M, K, A, ai, ak, b, ldb, c, ldc, start, r, tail);              \
    break;
    switch (vectors) { CASE(1) CASE(2) CASE(3) CASE(4) }
#undef CASE
  }
}

// y (T x N) = b + x (T x K) W^T for a few outputs, W (N x K): a vector for each would be mostly empty.
static void few_outputs(long T, long N, long K, const float* x, const float* W, const float* b,
                        float* y) {
  for (long t = 0; t < T; t++)
    for (long n = 0; n < N; n++) {
      V s = {};
      each(K, [&](long k, int left) {
        if (left == LANES) s += load(x + t * K + k) * load(W + n * K + k);
        else s += load_some(x + t * K + k, left) * load_some(W + n * K + k, left);
      });
      float sum = b ? b[n] : 0.0f;
      for (int i = 0; i < LANES; i++) sum += s[i];
      y[t * N + n] = sum;
    }
}

// s += sum over the points of g (T x N)
static void add_points(long T, long N, const float* g, float* s) {
  each(N, [&](long j, int k) {
    V v = k == LANES ? load(s + j) : load_some(s + j, k);
    for (long t = 0; t < T; t++) v += k == LANES ? load(g + t * N + j) : load_some(g + t * N + j, k);
    if (k == LANES) store(s + j, v);
    else store_some(s + j, v, k);
  });
}

// s += sum over the points of g * x, (T x N)
static void add_products(long T, long N, const float* g, const float* x, float* s) {
  each(N, [&](long j, int k) {
    auto get = [&](const float* p) { return k == LANES ? load(p) : load_some(p, k); };
    V v = get(s + j);
    for (long t = 0; t < T; t++) v += get(g + t * N + j) * get(x + t * N + j);
    if (k == LANES) store(s + j, v);
    else store_some(s + j, v, k);
  });
}

// y (T x N) = row + gate * x; a missing one is left out
static void start_output(long T, long N, const float* x, const float* gate, const float* row,
                         float* y) {
  each(N, [&](long j, int k) {
    auto get = [&](const float* p) { return k == LANES ? load(p) : load_some(p, k); };
    V b = row ? get(row + j) : V{}, g = gate ? get(gate + j) : V{};
    for (long t = 0; t < T; t++) {
      V v = gate ? b + g * get(x + t * N + j) : b;
      if (k == LANES) store(y + t * N + j, v);
      else store_some(y + t * N + j, v, k);
    }
  });
}

// --- memory and threads --------------------------------------------------------------------------

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Scratch = std::unique_ptr<float[], Free>;

static Scratch scratch(long n) {
  size_t bytes = ((size_t)std::max<long>(n, 1) * 4 + 63) / 64 * 64;
  return Scratch((float*)std::aligned_alloc(64, bytes));
}

using Words = std::unique_ptr<uint32_t[], Free>;

static Words words(long n) { return Words((uint32_t*)scratch(n).release()); }

constexpr long TILE = 4096;     // numbers of a tile of one array: 16 kB
constexpr long FLUSH = 64;      // tiles whose sums stay in float32 before they go to float64

// Points of a tile, so that tiles of a row are about equal.
static long tile_points(long width, long channels) {
  long most = std::max<long>(16, TILE / std::max<long>(channels, 1));
  long tiles = (width + most - 1) / most;
  return (width + tiles - 1) / tiles;
}

// Sums of a gradient: many tiles in float32, these in float64, as accurate as a sum in float64 of
// sums of some thousand terms.
class Sum {
 public:
  explicit Sum(long n) : n_(n), now_(n, 0.0f), whole_(n, 0.0) {}
  float* now() { return now_.data(); }
  void flush() {
    for (long i = 0; i < n_; i++) whole_[i] += now_[i], now_[i] = 0.0f;
  }
  void add_to(double* y) const {
    for (long i = 0; y && i < n_; i++) y[i] += whole_[i];
  }

 private:
  long n_;
  std::vector<float> now_;
  std::vector<double> whole_;
};

// work(first, last, thread) for equal parts of the rows
template <class F>
static void parallel(long rows, int threads, F work) {
  int count = (int)std::max<long>(1, std::min<long>(threads, rows));
  if (count == 1) return work(0L, rows, 0);
#pragma omp parallel num_threads(count)
  {
    int t = omp_get_thread_num(), n = omp_get_num_threads();
    work(rows * t / n, rows * (t + 1) / n, t);
  }
}
