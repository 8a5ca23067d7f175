// The axis before the last of a grid: transforms across the rows of a plane, for the stage of
// opdsl/nn/kernels/modes.py (exponentials) and half_waves.py (half-waves).

#pragma once

#include "vectors.h"

// (x, y) = (a + b, a - b)
static inline void fold(long n, const float* a, const float* b, float* x, float* y) {
  each(n, [&](long i, int k) {
    V p = k == LANES ? load(a + i) : load_some(a + i, k);
    V q = k == LANES ? load(b + i) : load_some(b + i, k);
    if (k == LANES) store(x + i, p + q), store(y + i, p - q);
    else store_some(x + i, p + q, k), store_some(y + i, p - q, k);
  });
}

// The axis before the last. Rows of a plane lie in scratch, which is small enough to stay in the
// cache from one step to the next. Without that axis `modes` are the rows, all in one.
struct Planes {
  int64_t planes, n, low, high;  // n rows in each; frequencies -low ... high - 1
  int64_t terms, mirrored;  // terms > 0: half-waves, `high` functions in each term, and low = 0
  int64_t threads;
  // exponentials: (2, m, n / 2 + 1), cosines and sines of frequencies 0 ... m - 1; half-waves: F and
  // the transpose of F^-1, (terms, high, n)
  const float *cut, *grow;
  float *modes, *gradient;  // (planes, 2, low + high, k, channels) or (planes, terms, high, k, channels)

  long half() const { return n / 2 + 1; }
  long most() const { return std::max(low, high - 1) + 1; }
  long opposite(long j) const { return j ? n - j : 0; }
};

constexpr long ACROSS = 4 * LANES;  // columns at a time

// --- half-waves ------------------------------------------------------------------------------------

// work(table of the term, its columns of the rows, its modes, columns, scratch of e and o) for blocks
// of columns. Rows (n, terms, C) have the columns of the terms behind each other, modes are
// (terms, high, C).
template <class F>
static void each_block_of_terms(const Planes& s, const float* table, long C, F work) {
  long blocks = (C + ACROSS - 1) / ACROSS;
  parallel(s.terms * blocks, (int)s.threads, [&](long first, long last, int) {
    Scratch whole = scratch((s.n + 1) * ACROSS);
    for (long i = first; i < last; i++) {
      long term = i / blocks, at = i % blocks * ACROSS;
      work(table + term * s.high * s.n, term * C + at, term * s.high * C + at,
           std::min(ACROSS, C - at), whole.get(), whole.get() + (s.n + 1) / 2 * ACROSS);
    }
  });
}

// modes = table rows. The first, third ... function has the same value at mirrored points, the
// others the opposite, where `mirrored`: sums and differences take half of the products.
static void gather_half_waves(const Planes& s, const float* table, long columns, const float* rows,
                              float* modes) {
  long n = s.n, m = s.high, C = columns / s.terms, pairs = n / 2;
  each_block_of_terms(s, table, C, [&](const float* A, long from, long to, long w, float* e, float* o) {
    const float* x = rows + from;
    float* X = modes + to;
    if (!s.mirrored) return gemm(m, w, n, A, n, 1, x, columns, X, C, ZERO);
    for (long j = 0; j < pairs; j++)
      fold(w, x + j * columns, x + (n - 1 - j) * columns, e + j * w, o + j * w);
    if (n % 2) std::memcpy(e + pairs * w, x + pairs * columns, 4 * w);
    gemm((m + 1) / 2, w, n - pairs, A, 2 * n, 1, e, w, X, 2 * C, ZERO);
    gemm(m / 2, w, pairs, A + n, 2 * n, 1, o, w, X + C, 2 * C, ZERO);
  });
}

// rows = table^T modes
static void spread_half_waves(const Planes& s, const float* table, long columns, const float* modes,
                              float* rows) {
  long n = s.n, m = s.high, C = columns / s.terms, pairs = n / 2;
  each_block_of_terms(s, table, C, [&](const float* A, long to, long from, long w, float* e, float* o) {
    const float* X = modes + from;
    float* x = rows + to;
    if (!s.mirrored) return gemm(n, w, m, A, 1, n, X, C, x, columns, ZERO);
    gemm(n - pairs, w, (m + 1) / 2, A, 1, 2 * n, X, 2 * C, e, w, ZERO);
    gemm(pairs, w, m / 2, A + n, 1, 2 * n, X + C, 2 * C, o, w, ZERO);
    for (long j = 0; j < pairs; j++)
      fold(w, e + j * w, o + j * w, x + j * columns, x + (n - 1 - j) * columns);
    if (n % 2) std::memcpy(x + pairs * columns, e + pairs * w, 4 * w);
  });
}

// --- exponentials ----------------------------------------------------------------------------------

// work(first column, columns) with the scratch of two pairs of arrays, (n / 2 + 1, 2, columns) and
// (m, 2, columns)
template <class F>
static void each_block(const Planes& s, long columns, F work) {
  parallel((columns + ACROSS - 1) / ACROSS, (int)s.threads, [&](long first, long last, int) {
    long J = s.half() * 2 * ACROSS, m = s.most() * 2 * ACROSS;
    Scratch whole = scratch(2 * J + 2 * m + ACROSS);
    float* x = whole.get();
    for (long i = first; i < last; i++)
      work(i * ACROSS, std::min(ACROSS, columns - i * ACROSS), x, x + J, x + 2 * J, x + 2 * J + m,
           x + 2 * J + 2 * m);
  });
}

// X_k, the sum of e^{-ikj} z_j. Rows j and n - j have the same cosine and opposite sines, and so
// have frequencies k and -k: sums and differences of both take an eighth of the products.
static void gather_exponentials(const Planes& s, const float* table, long columns,
                                const float* rows, float* modes) {
  long J = s.half(), m = s.most(), K = s.low + s.high;
  each_block(s, columns, [&](long at, long w, float* e, float* o, float* p, float* q, float* none) {
    for (long j = 0; j < J; j++)
      for (long part = 0; part < 2; part++) {
        const float *here = rows + (2 * j + part) * columns + at,
                    *there = rows + (2 * s.opposite(j) + part) * columns + at;
        float *x = e + (2 * j + part) * w, *y = o + (2 * j + part) * w;
        if (here != there) fold(w, here, there, x, y);
        else std::memcpy(x, here, 4 * w), std::memset(y, 0, 4 * w);
      }
    gemm(m, 2 * w, J, table, J, 1, e, 2 * w, p, 2 * w, ZERO);
    gemm(m, 2 * w, J, table + m * J, J, 1, o, 2 * w, q, 2 * w, ZERO);
    for (long k = 0; k < m; k++, p += 2 * w, q += 2 * w) {
      float *plus = modes + (s.low + k) * columns + at, *minus = plus - 2 * k * columns;
      bool above = k < s.high, below = k <= s.low;
      long im = K * columns;
      fold(w, p, q + w, above ? plus : none, below ? minus : none);
      fold(w, p + w, q, below ? minus + im : none, above ? plus + im : none);
    }
  });
}

// z_j, the sum of e^{ikj} X_k
static void spread_exponentials(const Planes& s, const float* table, long columns,
                                const float* modes, float* rows) {
  long J = s.half(), m = s.most(), K = s.low + s.high;
  each_block(s, columns, [&](long at, long w, float* e, float* o, float* p, float* q, float* none) {
    std::memset(none, 0, 4 * w);
    for (long k = 0; k < m; k++)
      for (long part = 0; part < 2; part++) {
        const float *plus = modes + (part * K + s.low + k) * columns + at,
                    *minus = plus - 2 * k * columns;
        fold(w, k < s.high ? plus : none, k && k <= s.low ? minus : none, p + (2 * k + part) * w,
             q + (2 * k + part) * w);
      }
    gemm(J, 2 * w, m, table, 1, J, p, 2 * w, e, 2 * w, ZERO);
    gemm(J, 2 * w, m, table + m * J, 1, J, q, 2 * w, o, 2 * w, ZERO);
    for (long j = 0; j < J; j++, e += 2 * w, o += 2 * w) {
      float *here = rows + 2 * j * columns + at, *there = rows + 2 * s.opposite(j) * columns + at;
      fold(w, e, o + w, there, here);
      fold(w, e + w, o, here + columns, there + columns);
    }
  });
}

// --- both ------------------------------------------------------------------------------------------

// modes = table rows, of rows (n, numbers); nothing without this axis
static void gather_planes(const Planes& s, const float* table, long numbers, const float* rows,
                          float* modes) {
  if (!s.n) return;
  if (s.terms) gather_half_waves(s, table, numbers, rows, modes);
  else gather_exponentials(s, table, numbers / 2, rows, modes);
}

static void spread_planes(const Planes& s, const float* table, long numbers, const float* modes,
                          float* rows) {
  if (!s.n) return;
  if (s.terms) spread_half_waves(s, table, numbers, modes, rows);
  else spread_exponentials(s, table, numbers / 2, modes, rows);
}
