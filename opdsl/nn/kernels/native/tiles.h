// Matrix products of float32 on the tile units of a processor that has them (Intel AMX).
//
// Such a unit multiplies tiles of bfloat16, 16 rows and columns at a time, and adds in float32. A
// float32 is cut into three bfloat16 without loss: its 24 digits are three times eight. Six of the
// nine products of pieces are computed; what the others would add is below 2^-21 of a product, 2^-24
// on average, so that the result is as near to the exact one as that of float32, and most often
// nearer, since fewer sums are rounded. (Henry, Tang, Heinecke, "Leveraging the bfloat16 artificial
// intelligence datatype for higher-precision computations", 2019.) Subnormal numbers count as zero,
// and infinities become NaN.

#pragma once

#include "vectors.h"

#if defined(__AMX_BF16__) && defined(__AVX512F__) && defined(__linux__)
#define HAVE_TILES 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef uint32_t Word;  // two bfloat16: of k and of k + 16

constexpr long EDGE = 16;               // rows and columns of a tile
constexpr long DEEP = 2 * EDGE;         // terms that one product of tiles adds
constexpr long TILE_WORDS = EDGE * EDGE;
constexpr long CUT = 3 * TILE_WORDS;    // all pieces of a tile, behind each other

enum Side { LEFT, RIGHT };

// Numbers, to which others are added if there are some.
struct Line {
  const float *x = nullptr, *more = nullptr;
};

static long blocks(long n, long of) { return (n + of - 1) / of; }

// Words of a matrix with so many lines, which are the rows of a left and the columns of a right
// factor, of K numbers each.
static long cut_size(long lines, long K) { return blocks(lines, EDGE) * blocks(K, DEEP) * CUT; }

#if HAVE_TILES

// Whether this process may use them: the system has to be asked, since their registers are large.
static bool tiles_allowed() {
  constexpr long REQUEST = 0x1023, TILE_DATA = 18;
  static const bool allowed = syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
  return allowed;
}

// Eight full tiles for this thread, until it goes.
class TilesOfThread {
 public:
  explicit TilesOfThread(bool used) : used_(used) {
    if (!used) return;
    alignas(64) struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = EDGE;
    _tile_loadconfig(&shape);
  }
  ~TilesOfThread() {
    if (used_) _tile_release();
  }

 private:
  bool used_;
};

// The first eight digits of each number and those of its partner: words.
static inline I first_digits(V a, V b) {
  return (I)(((__v16su)a >> 16) | ((__v16su)b & 0xffff0000u));
}

static inline V other_digits(V a) { return a - (V)((I)a & (int)0xffff0000); }

// All digits of both, eight at a time.
static inline void cut_vectors(V a, V b, Word* out) {
  for (int piece = 0; piece < 3; piece++, out += TILE_WORDS) {
    I words = first_digits(a, b);
    std::memcpy(out, &words, sizeof words);
    a = other_digits(a), b = other_digits(b);
  }
}

static void transpose(const Word* x, Word* y) {
  __m512i r[EDGE], s[EDGE];
  for (int i = 0; i < EDGE; i++) r[i] = _mm512_load_si512(x + i * EDGE);
  for (int i = 0; i < EDGE; i += 2)
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  for (int i = 0; i < EDGE; i += 4)
    for (int k = 0; k < 2; k++) {
      r[i + 2 * k] = _mm512_unpacklo_epi64(s[i + k], s[i + 2 + k]);
      r[i + 2 * k + 1] = _mm512_unpackhi_epi64(s[i + k], s[i + 2 + k]);
    }
  for (int i = 0; i < 4; i++) {
    s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    _mm512_store_si512(y + i * EDGE, _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88));
    _mm512_store_si512(y + (i + 8) * EDGE, _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd));
  }
}

// The pieces of a factor, zeros behind it. Element k of a line stands at x[line * ld + k], or if
// `across` at x[k * ld + line].
static void cut(Side side, bool across, long lines, long K, const float* x, long ld, Word* out) {
  alignas(64) Word turned[CUT];
  bool turn = across == (side == LEFT);
  for (long line = 0; line < lines; line += EDGE)
    for (long k = 0; k < K; k += DEEP, out += CUT) {
      for (long j = 0; j < EDGE; j++) {
        const long first = across ? k + j : line + j, last = across ? K : lines;
        const float* p = across ? x + first * ld + line : x + first * ld + k;
        auto part = [&](long skipped, long there) {
          return there <= 0 ? V{} : load_some(p + skipped, (int)std::min(there, EDGE));
        };
        V a, b;
        if (across) {
          a = first < last ? part(0, lines - line) : V{};
          b = first + EDGE < last ? part(EDGE * ld, lines - line) : V{};
        } else {
          a = first < last ? part(0, K - k) : V{};
          b = first < last ? part(EDGE, K - k - EDGE) : V{};
        }
        cut_vectors(a, b, (turn ? turned : out) + j * EDGE);
      }
      for (int piece = 0; turn && piece < 3; piece++)
        transpose(turned + piece * TILE_WORDS, out + piece * TILE_WORDS);
    }
}

// act of n lines of w numbers, cut as a left factor of n rows, as a right one of w columns, or both.
// The derivatives go to where `slope` says, unless that is nowhere.
template <int act, class F, class G>
static void bend_and_cut_as(long n, long w, F line, G slope, Word* left, Word* right) {
  long along = blocks(w, DEEP), across = blocks(n, DEEP);
  for (long s = 0; s < n; s += DEEP)
    for (long j = 0; j < EDGE; j++) {
      Line z[2];
      float* d[2] = {};
      for (int r = 0; r < 2; r++)
        if (long own = s + j + r * EDGE; own < n) z[r] = line(own), d[r] = slope(own);
      Line next[2];
      for (int r = 0; r < 2; r++)
        if (long own = s + j + 1 + r * EDGE; own < n) next[r] = line(own);
      for (long k = 0; k < w; k += DEEP) {
        V a[2][2] = {};
        for (int r = 0; r < 2; r++)
          for (long h = 0; h < 2; h++) {
            long at = k + h * EDGE;
            if (!z[r].x || at >= w) continue;
            int there = (int)std::min(EDGE, w - at);
            V x = load_some(z[r].x + at, there), own;
            if (z[r].more) x += load_some(z[r].more + at, there);
            if (d[r]) a[r][h] = bent<act>(x, own), store_some(d[r] + at, own, there);
            else a[r][h] = bent<act>(x);
          }
        for (int r = 0; r < 2; r++) fetch(next[r].x, k), fetch(next[r].x, k + EDGE);
        for (int r = 0; left && r < 2; r++)
          cut_vectors(a[r][0], a[r][1],
                      left + ((s / EDGE + r) * along + k / DEEP) * CUT + j * EDGE);
        for (long h = 0; right && h < 2 && k + h * EDGE < w; h++)
          cut_vectors(a[0][h], a[1][h],
                      right + ((k / EDGE + h) * across + s / DEEP) * CUT + j * EDGE);
      }
    }
}

#define EACH_PAIR_OF_TILES                     \
  _tile_dpbf16ps(0, 4, 6);                     \
  _tile_dpbf16ps(1, 4, 7);                     \
  _tile_dpbf16ps(2, 5, 6);                     \
  _tile_dpbf16ps(3, 5, 7);
#define TAKE(low, high, from, and_from, piece)          \
  _tile_loadd(low, from + piece * TILE_WORDS, 64);      \
  _tile_loadd(high, and_from + piece * TILE_WORDS, 64);

// Two by two tiles of a product, behind each other. The order loads 14 tiles for 24 products.
static inline void four_tiles(long deep, const Word* a, const Word* a2, const Word* b,
                              const Word* b2, float* out) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (long k = 0; k < deep; k++, a += CUT, a2 += CUT, b += CUT, b2 += CUT) {
    TAKE(4, 5, a, a2, 0) TAKE(6, 7, b, b2, 2) EACH_PAIR_OF_TILES
    TAKE(6, 7, b, b2, 0) EACH_PAIR_OF_TILES
    TAKE(6, 7, b, b2, 1) EACH_PAIR_OF_TILES
    TAKE(4, 5, a, a2, 1) EACH_PAIR_OF_TILES
    TAKE(6, 7, b, b2, 0) EACH_PAIR_OF_TILES
    TAKE(4, 5, a, a2, 2) EACH_PAIR_OF_TILES
  }
  _tile_stored(0, out, 64);
  _tile_stored(1, out + TILE_WORDS, 64);
  _tile_stored(2, out + 2 * TILE_WORDS, 64);
  _tile_stored(3, out + 3 * TILE_WORDS, 64);
}
#undef TAKE
#undef EACH_PAIR_OF_TILES

// C (M x N) = (start + A B) factor, of pieces, see `product`.
static void tiled(long M, long N, long K, const Word* A, const Word* B, float* C, long ldc,
                  Start start, const float* row = nullptr, const float* factor = nullptr,
                  long ldf = 0) {
  long deep = blocks(K, DEEP), line = deep * CUT;
  alignas(64) float out[4 * TILE_WORDS];
  for (long j = 0; j < N; j += 2 * EDGE)
    for (long i = 0; i < M; i += 2 * EDGE) {
      const Word *a = A + i / EDGE * line, *b = B + j / EDGE * line;
      four_tiles(deep, a, i + EDGE < M ? a + line : a, b, j + EDGE < N ? b + line : b, out);
      for (long r = 0; r < std::min(2 * EDGE, M - i); r++)
        for (long n = 0; n < std::min(2 * EDGE, N - j); n += EDGE) {
          int there = (int)std::min(EDGE, N - j - n);
          float* c = C + (i + r) * ldc + j + n;
          V v = load(out + (r / EDGE * 2 + n / EDGE) * TILE_WORDS + r % EDGE * EDGE);
          if (start != ZERO) v += load_some(start == ADD ? c : row + j + n, there);
          if (factor) v *= load_some(factor + (i + r) * ldf + j + n, there);
          store_some(c, v, there);
        }
    }
}

#else

static bool tiles_allowed() { return false; }
struct TilesOfThread {
  explicit TilesOfThread(bool) {}
};
static void cut(Side, bool, long, long, const float*, long, Word*) {}
static void tiled(long, long, long, const Word*, const Word*, float*, long, Start,
                  const float* = nullptr, const float* = nullptr, long = 0) {}
template <int act, class F, class G>
static void bend_and_cut_as(long, long, F, G, Word*, Word*) {}

#endif

template <class F, class G>
static void bend_and_cut(int act, long n, long w, F line, G slope, Word* left, Word* right) {
  if (act == GELU) bend_and_cut_as<GELU>(n, w, line, slope, left, right);
  else bend_and_cut_as<RELU>(n, w, line, slope, left, right);
}
