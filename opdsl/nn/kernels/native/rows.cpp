// Rows of points through a Fourier layer's pointwise chain, a tile that stays in the cache at a time.
//
// Every array is float32, contiguous, channels last. A row is one line of the last axis of a grid:
// (width, channels). A layer is defined in opdsl/nn/kernels/fourier_layer.py; the names of
// arrays here are those of the formulas there. Work is split over the rows in equal parts, one for
// each thread, and partial sums are added in the order of the threads, so that a result does not
// depend on which thread is faster.

#include "planes.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

// Fresh memory that will be written whole soon: in pages of 2 MB, where the system has them. The C
// library takes a large array from the system each time, and a page fault for every 4 kB takes
// longer than to write them.
extern "C" void expect_large(char* p, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t PAGE = 2 << 20;
  uintptr_t first = ((uintptr_t)p + PAGE - 1) / PAGE * PAGE, last = ((uintptr_t)p + bytes) / PAGE * PAGE;
  if (first < last) madvise((void*)first, last - first, MADV_HUGEPAGE);  // an advice: it may fail
#else
  (void)p, (void)bytes;
#endif
}

// --- waves of a row --------------------------------------------------------------------------------

// Points of a row that are processed together: one piece of it, or two. With two the sums of both
// pieces belong to every other coefficient and the differences to the others, which halves the
// products; that pays for many coefficients.
//
// An exponential of even frequency is the same half a row on, one of odd frequency the opposite: the
// pieces lie half a row apart. A half-wave is the same or the opposite at mirrored points: the second
// piece is the mirror image of the first, without the point in the middle of an odd row.
struct Tile {
  long row;                // where the row begins in the grid
  long from[2], points[2];  // of each piece, in the row
  bool mirrored;

  long all() const { return points[0] + points[1]; }
  long at(int piece) const { return row + from[piece]; }
  long behind(int piece) const { return piece ? points[0] : 0; }  // in arrays of a tile
};

struct Tiles {
  long width, mirrored, pieces, half, n;

  // mirrored: half-waves of which every other one is the same at mirrored points
  Tiles(long width, long k2, long waves, bool mirrored, long channels)
      : width(width),
        mirrored(mirrored),
        pieces(k2 >= MANY && (waves ? mirrored : width % 2 == 0 && k2 % 4 == 0) ? 2 : 1),
        half((width + pieces - 1) / pieces),
        n(tile_points(half, pieces * channels)) {}
  long numbers(long channels) const { return pieces * n * channels; }

  // points t ... t + count - 1 of the first piece
  Tile tile(long row, long t, long count) const {
    if (pieces == 1) return {row, {t, width}, {count, 0}, false};
    if (!mirrored) return {row, {t, t + half}, {count, count}, false};
    long other = std::min(count, width - 2 * t - count);
    return {row, {t, width - t - other}, {count, other}, true};
  }

 private:
  static constexpr long MANY = 16;
};

// (a, b) = (a + b, a - b) of points that belong together, in place; with `back` (a, b) becomes
// (a - b, a + b) of mirrored ones, which undoes it but for a factor of 2
static void fold_pieces(const Tile& tile, long c, float* a, float* b, bool back) {
  if (!tile.mirrored) return fold(tile.points[0] * c, a, b, a, b);
  for (long j = 0, i = tile.points[1] - 1; i >= 0; j++, i--) {
    float *p = a + j * c, *q = b + i * c;
    if (back) fold(c, p, q, q, p);
    else fold(c, q, p, p, q);
  }
}

// A matrix of waves: element (point, coefficient) stands at `at[point * p + coefficient * k]`.
// Exponentials: of `k2` coefficients the first half is real parts, from frequency 0 on. Half-waves:
// families of `waves` functions behind each other.
struct Waves {
  const float* at;
  long p, k, k2, waves;

  // S (+)= M^T x for the points of a tile; x (points, c), which is lost
  void gather(const Tile& tile, long c, float* x, float* S, Start start) const {
    if (!tile.points[1]) return piece(tile, 0, 1, c, x, S, start);
    float* other = x + tile.points[0] * c;
    fold_pieces(tile, c, x, other, false);
    piece(tile, 0, 2, c, x, S, start), piece(tile, 1, 2, c, other, S, start);
  }

  // z = row + M S for the points of a tile; z: arrays (points, c) of its pieces
  void spread(const Tile& tile, long c, const float* S, float* z, float* other,
              const float* row) const {
    if (!tile.points[1]) return values(tile, 0, 1, c, S, z, row);
    values(tile, 0, 2, c, S, z, row), values(tile, 1, 2, c, S, other, nullptr);
    fold_pieces(tile, c, z, other, true);
  }

 private:
  // work(first coefficient, how many) of those of piece i, every `step`-th. Families of an odd number
  // of functions begin with the other parity in turn.
  template <class F>
  void each_family(int i, long step, F work) const {
    long count = waves && waves % 2 && step == 2 ? waves : k2;
    for (long first = 0; first < k2; first += count) work(first + i, (count - i + step - 1) / step);
  }

  void piece(const Tile& tile, int i, long step, long c, const float* x, float* S,
             Start start) const {
    each_family(i, step, [&](long first, long count) {
      gemm(count, c, tile.points[i], matrix(tile, i, step) + first * k, step * k, p, x, c,
           S + first * c, step * c, start);
    });
  }

  void values(const Tile& tile, int i, long step, long c, const float* S, float* z,
              const float* row) const {
    each_family(i, step, [&](long first, long count) {
      gemm(tile.points[i], c, count, matrix(tile, i, step) + first * k, p, step * k, S + first * c,
           step * c, z, c, first != i ? ADD : row ? ROW : ZERO, row);
    });
  }

  // Differences of pieces half a row apart are those of the first less the second.
  const float* matrix(const Tile& tile, int i, long step) const {
    return at + tile.from[tile.mirrored || step == 1 ? i : 0] * p;
  }
};

// --- a Fourier layer, see opdsl/nn/kernels/fourier_layer.py ------------------------------------------------------

extern "C" {

struct Layer {
  int64_t rows, width, c, o, k2, h;   // h = 0: no network at each point
  int64_t act_in, act_mid, act_hidden, threads;
  int64_t waves, mirrored;  // half-waves: functions of a family, and whether mirror images pair up
  const float *u, *cut, *grow, *z_hat;  // cut (k2, width), grow (width, k2), z_hat (rows, k2, o)
  const float *W, *Wt, *b;              // (o, c), (c, o), (o)
  const float *W1, *W1t, *b1;           // (h, o), (o, h), (h)
  const float *W2, *W2t, *b2;           // (o, h), (h, o), (o)
  const float *gate;                    // (o) or none
  const float *G, *Gt;                  // (o, c), (c, o) or none
  const float *g;                       // (rows, width, o), of the result
  float *y;                             // the result, or the gradient of x
  float *spectrum;                      // (rows, k2, c or o)
  double *gW, *gb, *gW1, *gb1, *gW2, *gb2, *ggate, *gG;  // gWt, gGt (c, o), gW1t (o, h), gW2 (o, h)
};

// work(row, tile, the next tile, whether it is the first of the row)
extern "C++" {  // templates have no C names
template <class F>
static void each_tile(const Layer& l, const Tiles& tiles, long first, long last, F work) {
  for (long r = first; r < last; r++)
    for (long t = 0, n; t < tiles.half; t += n) {
      n = std::min(tiles.n, tiles.half - t);
      Tile now = tiles.tile(r * l.width, t, n);
      Tile next = t + n < tiles.half
                      ? tiles.tile(r * l.width, t + n, std::min(tiles.n, tiles.half - t - n))
                      : tiles.tile((r + 1) * l.width, 0, tiles.n);
      work(r, now, next, t ? ADD : ZERO);
    }
}

// work(points of a piece, where they are in the grid, and in arrays of the tile)
template <class F>
static inline void each_piece(const Tile& tile, F work) {
  for (int i = 0; i < 2 && tile.points[i]; i++) work(tile.points[i], tile.at(i), tile.behind(i));
}
}

static Tiles tiles_of(const Layer& l, long channels) {
  return Tiles(l.width, l.k2, l.waves, l.mirrored, channels);
}

// x (points, c) = act_in(u)
static void bend_pieces(const Layer& l, const Tile& tile, const Tile& next, float* x) {
  for (int i = 0; i < 2 && tile.points[i]; i++)
    bend((int)l.act_in, tile.points[i] * l.c, x + tile.behind(i) * l.c, l.u + tile.at(i) * l.c,
         l.u + next.at(i) * l.c);
}

// spectrum = F x on the last axis, x = act_in(u)
void cut_rows(const Layer* s) {
  const Layer& l = *s;
  Tiles tiles = tiles_of(l, l.c);
  Waves waves{l.cut, 1, l.width, l.k2, l.waves};
  parallel(l.rows, (int)l.threads, [&](long first, long last, int) {
    Scratch xs = scratch(tiles.numbers(l.c));
    each_tile(l, tiles, first, last, [&](long r, const Tile& tile, const Tile& next, Start start) {
      bend_pieces(l, tile, next, xs.get());
      waves.gather(tile, l.c, xs.get(), l.spectrum + r * l.k2 * l.c, start);
    });
  });
}

// y = MLP(act_mid(z)) + gate x + G x, z = F^-1 z_hat + W x + b
void layer_rows(const Layer* s) {
  const Layer& l = *s;
  Tiles tiles = tiles_of(l, std::max(l.c, l.o));
  Waves waves{l.grow, l.k2, 1, l.k2, l.waves};
  parallel(l.rows, (int)l.threads, [&](long first, long last, int) {
    Scratch xs = scratch(tiles.numbers(l.c)), zs = scratch(tiles.numbers(l.o)),
            hs = scratch(tiles.numbers(l.h));
    each_tile(l, tiles, first, last, [&](long r, const Tile& tile, const Tile& next, Start) {
      long N = tile.all();
      float *x = xs.get(), *z = l.h ? zs.get() : l.y + tile.at(0) * l.o;
      float* other = l.h ? z + tile.points[0] * l.o : l.y + tile.at(1) * l.o;
      bend_pieces(l, tile, next, x);
      waves.spread(tile, l.o, l.z_hat + r * l.k2 * l.o, z, other, l.b);
      each_piece(tile, [&](long n, long, long behind) {
        gemm(n, l.o, l.c, x + behind * l.c, l.c, 1, l.Wt, l.o, behind ? other : z, l.o, ADD);
      });
      if (!l.h) return;
      bend((int)l.act_mid, N * l.o, z, z, l.y + next.at(0) * l.o);
      gemm(N, l.h, l.o, z, l.o, 1, l.W1t, l.h, hs.get(), l.h, ROW, l.b1);
      bend((int)l.act_hidden, N * l.h, hs.get(), hs.get());
      each_piece(tile, [&](long n, long at, long behind) {
        float* y = l.y + at * l.o;
        start_output(n, l.o, x + behind * l.c, l.gate, l.b2, y);
        gemm(n, l.o, l.h, hs.get() + behind * l.h, l.h, 1, l.W2t, l.o, y, l.o, ADD);
        if (l.G) gemm(n, l.o, l.c, x + behind * l.c, l.c, 1, l.Gt, l.o, y, l.o, ADD);
      });
    });
  });
}

// y = gradient of x but for its way through F, spectrum = that of z_hat, and those of the weights
void layer_rows_backward(const Layer* s) {
  const Layer& l = *s;
  long h = l.h, c = l.c, o = l.o;
  Tiles tiles = tiles_of(l, std::max(c, o));
  Waves waves{l.grow, l.k2, 1, l.k2, l.waves};
  int threads = (int)std::max<long>(1, std::min(l.threads, l.rows));
  struct Sums {
    Sum W, b, W1, b1, W2, b2, gate, G;
  };
  std::vector<std::unique_ptr<Sums>> sums(threads);
  parallel(l.rows, threads, [&](long first, long last, int thread) {
    sums[thread].reset(
        new Sums{Sum(c * o), Sum(o), Sum(o * h), Sum(h), Sum(o * h), Sum(o), Sum(o),
                 Sum(l.G ? c * o : 0)});
    Sums& sum = *sums[thread];
    auto flush = [&] {
      for (Sum* x :
           {&sum.W, &sum.b, &sum.W1, &sum.b1, &sum.W2, &sum.b2, &sum.gate, &sum.G})
        x->flush();
    };
    Scratch xs = scratch(tiles.numbers(c)), zs = scratch(tiles.numbers(o)),
            dz = scratch(tiles.numbers(o)), hs = scratch(tiles.numbers(h)),
            dh = scratch(tiles.numbers(h)), gh = scratch(tiles.numbers(h)),
            gz = scratch(tiles.numbers(o));
    long count = 0;
    each_tile(l, tiles, first, last, [&](long r, const Tile& tile, const Tile& next, Start start) {
      long N = tile.all();
      float *x = xs.get(), *gradient = gz.get();
      bend_pieces(l, tile, next, x);
      if (h) {
        float *z = zs.get(), *q = hs.get();
        waves.spread(tile, o, l.z_hat + r * l.k2 * o, z, z + tile.points[0] * o, l.b);
        gemm(N, o, c, x, c, 1, l.Wt, o, z, o, ADD);
        if (l.act_mid != IDENTITY)
          bend_both((int)l.act_mid, N * o, z, dz.get(), z, l.g + next.at(0) * o);
        gemm(N, h, o, z, o, 1, l.W1t, h, q, h, ROW, l.b1);
        if (l.act_hidden != IDENTITY)
          bend_both((int)l.act_hidden, N * h, q, dh.get(), q, l.y + next.at(0) * c);
        each_piece(tile, [&](long n, long at, long behind) {
          const float* g = l.g + at * o;
          gemm(o, h, n, g, 1, o, q + behind * h, h, sum.W2.now(), h, ADD);
          add_points(n, o, g, sum.b2.now());
          gemm(n, h, o, g, o, 1, l.W2, h, gh.get() + behind * h, h, ZERO);
        });
        if (l.act_hidden != IDENTITY) multiply(N * h, gh.get(), dh.get());
        gemm(o, h, N, z, 1, o, gh.get(), h, sum.W1.now(), h, ADD);
        add_points(N, h, gh.get(), sum.b1.now());
        gemm(N, o, h, gh.get(), h, 1, l.W1, o, gradient, o, ZERO);
        if (l.act_mid != IDENTITY) multiply(N * o, gradient, dz.get());
      } else {
        each_piece(tile, [&](long n, long at, long behind) {
          std::memcpy(gradient + behind * o, l.g + at * o, 4 * n * o);
        });
      }
      gemm(c, o, N, x, 1, c, gradient, o, sum.W.now(), o, ADD);
      add_points(N, o, gradient, sum.b.now());
      each_piece(tile, [&](long n, long at, long behind) {
        const float *g = l.g + at * o, *own = x + behind * c;
        float* y = l.y + at * c;
        if (l.gate) {
          add_products(n, o, g, own, sum.gate.now());
          start_output(n, o, g, l.gate, nullptr, y);
        }
        if (l.G) {
          gemm(c, o, n, own, 1, c, g, o, sum.G.now(), o, ADD);
          gemm(n, c, o, g, o, 1, l.G, c, y, c, l.gate ? ADD : ZERO);
        }
        gemm(n, c, o, gradient + behind * o, o, 1, l.W, c, y, c, l.gate || l.G ? ADD : ZERO);
      });
      waves.gather(tile, o, gradient, l.spectrum + r * l.k2 * o, start);
      if (++count % FLUSH == 0) flush();
    });
    flush();
  });
  for (auto& x : sums) {
    if (!x) continue;
    x->W.add_to(l.gW), x->b.add_to(l.gb), x->W1.add_to(l.gW1), x->b1.add_to(l.gb1);
    x->W2.add_to(l.gW2), x->b2.add_to(l.gb2), x->gate.add_to(l.ggate);
    x->G.add_to(l.gG);
  }
}

// y = (y + F^T spectrum) act_in'(u): the gradient of u
void cut_rows_backward(const Layer* s) {
  const Layer& l = *s;
  Tiles tiles = tiles_of(l, l.c);
  Waves waves{l.cut, 1, l.width, l.k2, l.waves};
  parallel(l.rows, (int)l.threads, [&](long first, long last, int) {
    Scratch gs = scratch(tiles.numbers(l.c));
    each_tile(l, tiles, first, last, [&](long r, const Tile& tile, const Tile&, Start) {
      float* g = gs.get();
      waves.spread(tile, l.c, l.spectrum + r * l.k2 * l.c, g, g + tile.points[0] * l.c, nullptr);
      each_piece(tile, [&](long n, long at, long behind) {
        unbend((int)l.act_in, n * l.c, l.y + at * l.c, g + behind * l.c, l.u + at * l.c);
      });
    });
  });
}

// --- degrees of spherical harmonics, see opdsl/nn/kernels/degrees.py ------------------------------

struct Degrees {
  int64_t batch, latitudes, degrees, orders, threads;  // orders m = 0 ... orders - 1
  const float *there, *back;                // tables of both ways, (orders, degrees, latitudes)
  const float *re, *im;                     // R, (degrees, in, out); no im: real matrices
  const float *adjoint_re, *adjoint_im;     // conj(R)^T, (degrees, out, in)
  float *spectrum;                          // (batch, 2, degrees, orders, in), orders <= degree
  float *gre, *gim;                         // the gradient of R, zeros at first

  long coefficients() const { return 2 * degrees * orders; }
};

constexpr long TOGETHER = 4;  // orders at a time: longer pieces of what lies far apart in memory

// Latitudes are symmetric about the equator, and a harmonic whose degree less its order is even has
// the same value on both sides, one where it is odd the opposite. So sums and differences of both
// sides take half of the products.
struct Sides {
  long n, half, middle;  // latitudes, those on one side, and the equator if it is one

  explicit Sides(long latitudes) : n(latitudes), half(n / 2), middle(n % 2) {}
  long even() const { return half + middle; }
};

// work(real or imaginary part, first order, how many, scratch of n for each of these)
extern "C++" {  // templates have no C names
template <class F>
static void each_order(const Degrees& d, long n, F work) {
  long groups = (d.orders + TOGETHER - 1) / TOGETHER;
  parallel(2 * groups, (int)d.threads, [&](long first, long last, int) {
    Scratch packed = scratch(TOGETHER * n);
    for (long i = first; i < last; i++) {
      long m = i % groups * TOGETHER;
      work(i / groups, m, std::min(TOGETHER, d.orders - m), packed.get());
    }
  });
}
}

// S (2, degrees, orders, c) = table rows (latitudes, 2, orders, c), for degrees from the order on
static void gather_latitudes(const Degrees& d, const float* table, long c, const float* rows,
                             float* S) {
  long n = d.latitudes, M = d.orders, L = d.degrees;
  Sides sides(n);
  each_order(d, n * c, [&](long part, long m0, long count, float* z) {
    for (long j = 0; j < sides.even(); j++) {
      const float *north = rows + ((2 * j + part) * M + m0) * c,
                  *south = rows + ((2 * (n - 1 - j) + part) * M + m0) * c;
      for (long i = 0; i < count; i++) {
        float *even = z + (i * n + j) * c, *odd = even + sides.even() * c;
        if (j < sides.half) fold(c, north + i * c, south + i * c, even, odd);
        else std::memcpy(even, north + i * c, 4 * c);
      }
    }
    for (long m = m0; m < m0 + count; m++, z += n * c)
      for (long odd = 0; odd < 2 && m + odd < L; odd++)
        gemm((L - m - odd + 1) / 2, c, odd ? sides.half : sides.even(),
             table + (m * L + m + odd) * n, 2 * n, 1, z + odd * sides.even() * c, c,
             S + ((part * L + m + odd) * M + m) * c, 2 * M * c, ZERO);
  });
}

// rows = table^T S, of degrees from the order on
static void spread_latitudes(const Degrees& d, const float* table, long c, const float* S,
                             float* rows) {
  long n = d.latitudes, M = d.orders, L = d.degrees;
  Sides sides(n);
  each_order(d, (L + n) * c, [&](long part, long m0, long count, float* z) {
    float* x = z + TOGETHER * L * c;
    for (long l = m0; l < L; l++)
      for (long i = 0; i < count && m0 + i <= l; i++) {
        // even ones first: those of degrees m, m + 2 ...
        long m = m0 + i, at = (l - m) / 2 + (l - m) % 2 * ((L - m + 1) / 2);
        std::memcpy(z + (i * L + at) * c, S + ((part * L + l) * M + m) * c, 4 * c);
      }
    for (long i = 0; i < count; i++) {
      long m = m0 + i, evens = (L - m + 1) / 2;
      const float *values = table + (m * L + m) * n, *from = z + i * L * c;
      float *even = x + i * n * c, *odd = even + sides.even() * c;
      gemm(sides.even(), c, evens, values, 1, 2 * n, from, c, even, c, ZERO);
      gemm(sides.half, c, L - m - evens, values + n, 1, 2 * n, from + evens * c, c, odd, c, ZERO);
    }
    for (long j = 0; j < sides.even(); j++) {
      float *north = rows + ((2 * j + part) * M + m0) * c,
            *south = rows + ((2 * (n - 1 - j) + part) * M + m0) * c;
      for (long i = 0; i < count; i++) {
        const float *even = x + (i * n + j) * c, *odd = even + sides.even() * c;
        if (j < sides.half) fold(c, even, odd, north + i * c, south + i * c);
        else std::memcpy(north + i * c, even, 4 * c);
      }
    }
  });
}

static void negate(long n, float* x, const float* y) {
  for (long i = 0; i < n; i++) x[i] = -y[i];
}

// Y (2, degrees, orders, o) = S (re + i im), a matrix for each degree
static void mix_degrees(const Degrees& d, long c, long o, const float* re, const float* im,
                        const float* S, float* Y) {
  long M = d.orders, L = d.degrees;
  parallel(L, (int)d.threads, [&](long first, long last, int) {
    for (long l = first; l < last; l++) {
      long n = std::min(l + 1, M), next = L * M;
      const float *xr = S + l * M * c, *xi = xr + next * c, *R = re + l * c * o;
      float *yr = Y + l * M * o, *yi = yr + next * o;
      if (im) {
        gemm(n, o, c, xi, c, 1, im + l * c * o, o, yr, o, ZERO);
        gemm(n, o, c, xr, c, 1, im + l * c * o, o, yi, o, ZERO);
        negate(n * o, yr, yr);
      }
      gemm(n, o, c, xr, c, 1, R, o, yr, o, im ? ADD : ZERO);
      gemm(n, o, c, xi, c, 1, R, o, yi, o, im ? ADD : ZERO);
    }
  });
}

// gre + i gim += conj(S)^T G, summed over orders
static void mix_degrees_backward(const Degrees& d, long c, long o, const float* S, const float* G) {
  long M = d.orders, L = d.degrees;
  parallel(L, (int)d.threads, [&](long first, long last, int) {
    Scratch minus = scratch(M * c);
    for (long l = first; l < last; l++) {
      long n = std::min(l + 1, M), next = L * M;
      const float *xr = S + l * M * c, *xi = xr + next * c;
      const float *yr = G + l * M * o, *yi = yr + next * o;
      gemm(c, o, n, xr, 1, c, yr, o, d.gre + l * c * o, o, ADD);
      gemm(c, o, n, xi, 1, c, yi, o, d.gre + l * c * o, o, ADD);
      if (!d.gim) continue;
      negate(n * c, minus.get(), xi);
      gemm(c, o, n, xr, 1, c, yi, o, d.gim + l * c * o, o, ADD);
      gemm(c, o, n, minus.get(), 1, c, yr, o, d.gim + l * c * o, o, ADD);
    }
  });
}

// work(the layer of one sample, whose latitudes are rows, and its spectrum)
extern "C++" {
template <class F>
static void each_sample(const Layer& l, const Degrees& d, long y_channels, F work) {
  for (long b = 0; b < d.batch; b++) {
    Layer x = l;
    long points = b * d.latitudes * l.width;
    x.rows = d.latitudes;
    x.u += points * l.c, x.y += points * y_channels;
    if (l.g) x.g += points * l.o;
    work(x, d.spectrum + b * d.coefficients() * l.c);
  }
}
}

// `layer_rows` with z = S^-1(R . S(x)) + W x + b. What lies between is scratch, which is small
// enough to stay in the cache from one step to the next.
void layer_sphere(const Layer* l, const Degrees* s) {
  const Degrees& d = *s;
  Scratch rows = scratch(d.latitudes * l->k2 * std::max(l->c, l->o)),
          mixed = scratch(d.coefficients() * l->o);
  each_sample(*l, d, l->o, [&](Layer& x, float* S) {
    x.spectrum = rows.get(), x.z_hat = rows.get();
    cut_rows(&x);
    gather_latitudes(d, d.there, x.c, rows.get(), S);
    mix_degrees(d, x.c, x.o, d.re, d.im, S, mixed.get());
    spread_latitudes(d, d.back, x.o, mixed.get(), rows.get());
    layer_rows(&x);
  });
}

// y = the gradient of u, and those of all weights
void layer_sphere_backward(const Layer* l, const Degrees* s) {
  const Degrees& d = *s;
  long most = std::max(l->c, l->o);
  Scratch rows = scratch(d.latitudes * l->k2 * most), gradient = scratch(d.latitudes * l->k2 * most),
          mixed = scratch(d.coefficients() * most), G = scratch(d.coefficients() * l->o);
  each_sample(*l, d, l->c, [&](Layer& x, float* S) {
    mix_degrees(d, x.c, x.o, d.re, d.im, S, mixed.get());
    spread_latitudes(d, d.back, x.o, mixed.get(), rows.get());
    x.z_hat = rows.get(), x.spectrum = gradient.get();
    layer_rows_backward(&x);
    gather_latitudes(d, d.back, x.o, gradient.get(), G.get());
    mix_degrees_backward(d, x.c, x.o, S, G.get());
    mix_degrees(d, x.o, x.c, d.adjoint_re, d.adjoint_im, G.get(), mixed.get());
    spread_latitudes(d, d.there, x.c, mixed.get(), gradient.get());
    cut_rows_backward(&x);
  });
}

// --- waves across the rows of a plane, see opdsl/nn/kernels/modes.py --------------------------------

// work(the layer in one plane, its modes, scratch for rows)
extern "C++" {
template <class F>
static void each_plane(const Layer& l, const Planes& s, long channels, long y_channels, F work) {
  Scratch rows = scratch(s.n * l.k2 * channels);
  for (long i = 0; i < s.planes; i++) {
    Layer x = l;
    Planes z = s;
    long points = i * s.n * l.width, modes = i * (s.low + s.high) * l.k2 * channels;
    if (s.n) x.rows = s.n;
    x.u += points * l.c;
    if (l.y) x.y += points * y_channels;
    if (l.g) x.g += points * l.o;
    z.modes += modes;
    if (s.gradient) z.gradient += modes;
    work(x, z, s.n ? rows.get() : z.modes);
  }
}
}

// modes = F act_in(u) on the last two axes
void cut_planes(const Layer* l, const Planes* s) {
  each_plane(*l, *s, l->c, 0, [](Layer& x, Planes& z, float* rows) {
    x.spectrum = rows;
    cut_rows(&x), gather_planes(z, z.cut, x.k2 * x.c, rows, z.modes);
  });
}

// `layer_rows` with F^-1 modes on both axes
void layer_planes(const Layer* l, const Planes* s) {
  each_plane(*l, *s, l->o, l->o, [](Layer& x, Planes& z, float* rows) {
    x.z_hat = rows;
    spread_planes(z, z.grow, x.k2 * x.o, z.modes, rows), layer_rows(&x);
  });
}

// `layer_rows_backward` with these; `gradient` = that of the modes
void layer_planes_backward(const Layer* l, const Planes* s) {
  Scratch scratch_rows = scratch(s->n * l->k2 * l->o);
  each_plane(*l, *s, l->o, l->c, [&](Layer& x, Planes& z, float* rows) {
    x.z_hat = rows, x.spectrum = z.n ? scratch_rows.get() : z.gradient;
    spread_planes(z, z.grow, x.k2 * x.o, z.modes, rows), layer_rows_backward(&x);
    gather_planes(z, z.grow, x.k2 * x.o, x.spectrum, z.gradient);
  });
}

// `cut_rows_backward` with the gradient of the modes of x
void cut_planes_backward(const Layer* l, const Planes* s) {
  each_plane(*l, *s, l->c, l->c, [](Layer& x, Planes& z, float* rows) {
    x.spectrum = rows;
    spread_planes(z, z.cut, x.k2 * x.c, z.modes, rows), cut_rows_backward(&x);
  });
}

// --- products of the modes with R ----------------------------------------------------------------

struct Mixing {
  int64_t batch, modes, c, o, threads;
  const float *R;        // (modes, c, o), real
  const float *S, *g;    // (batch, modes, c), (batch, modes, o) of the result
  float *y, *gS, *gR;    // the result; the gradients of S and of R
};

// What the next mode reads comes into the cache: rows far apart in memory are too many streams for a
// processor to foresee.
static void fetch_rows(long rows, long numbers, const float* p, long apart) {
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < numbers; j += 16) fetch(p + i * apart, j);
}

// y = S R, a matrix for each mode
void mix_modes(const Mixing* s) {
  const Mixing& l = *s;
  parallel(l.modes, (int)l.threads, [&](long first, long last, int) {
    for (long k = first; k < last; k++) {
      const float *S = l.S + k * l.c, *R = l.R + k * l.c * l.o;
      fetch_rows(l.batch, l.c, S + l.c, l.modes * l.c), fetch_rows(1, l.c * l.o, R + l.c * l.o, 0);
      gemm(l.batch, l.o, l.c, S, l.modes * l.c, 1, R, l.o, l.y + k * l.o, l.modes * l.o, ZERO);
    }
  });
}

void mix_modes_backward(const Mixing* s) {
  const Mixing& l = *s;
  parallel(l.modes, (int)l.threads, [&](long first, long last, int) {
    Scratch transposed = scratch(l.c * l.o);
    for (long k = first; k < last; k++) {
      const float *R = l.R + k * l.c * l.o, *g = l.g + k * l.o;
      float* Rt = transposed.get();
      fetch_rows(l.batch, l.c, l.S + (k + 1) * l.c, l.modes * l.c);
      fetch_rows(l.batch, l.o, g + l.o, l.modes * l.o);
      fetch_rows(1, l.c * l.o, R + l.c * l.o, 0);
      for (long i = 0; i < l.c; i++)
        for (long j = 0; j < l.o; j++) Rt[j * l.c + i] = R[i * l.o + j];
      gemm(l.batch, l.c, l.o, g, l.modes * l.o, 1, Rt, l.c, l.gS + k * l.c, l.modes * l.c, ZERO);
      gemm(l.c, l.o, l.batch, l.S + k * l.c, 1, l.modes * l.c, g, l.modes * l.o,
           l.gR + k * l.c * l.o, l.o, ZERO);
    }
  });
}

// --- two layers at each point --------------------------------------------------------------------

struct Network {
  int64_t points, c, h, o, act_in, act_hidden, threads;
  const float *u;
  const float *W1, *W1t, *b1;  // (h, c), (c, h), (h)
  const float *W2, *W2t, *b2;  // (o, h), (h, o), (o)
  const float *g;
  float *y;                    // the result, or the gradient of u, or nothing
  double *gW1, *gb1, *gW2, *gb2;  // gW1t (c, h), gW2 (o, h)
};

constexpr long FEW = 4;

// y = W2 act_hidden(W1 x + b1) + b2, x = act_in(u)
void network_points(const Network* s) {
  const Network& l = *s;
  long T = tile_points(l.points, std::max(l.h, std::max(l.c, l.o)));
  parallel((l.points + T - 1) / T, (int)l.threads, [&](long first, long last, int) {
    Scratch xs = scratch(T * l.c), hs = scratch(T * l.h);
    for (long t = first * T; t < std::min(last * T, l.points); t += T) {
      long n = std::min(T, l.points - t);
      const float* x = l.u + t * l.c;
      if (l.act_in != IDENTITY) bend((int)l.act_in, n * l.c, xs.get(), x), x = xs.get();
      gemm(n, l.h, l.c, x, l.c, 1, l.W1t, l.h, hs.get(), l.h, ROW, l.b1);
      bend((int)l.act_hidden, n * l.h, hs.get(), hs.get(), l.u + (t + n) * l.c);
      if (l.o <= FEW) few_outputs(n, l.o, l.h, hs.get(), l.W2, l.b2, l.y + t * l.o);
      else gemm(n, l.o, l.h, hs.get(), l.h, 1, l.W2t, l.o, l.y + t * l.o, l.o, ROW, l.b2);
    }
  });
}

// y = gradient of u, if it is asked for, and those of the weights
void network_points_backward(const Network* s) {
  const Network& l = *s;
  long T = tile_points(l.points, std::max(l.h, std::max(l.c, l.o))), h = l.h;
  long tiles = (l.points + T - 1) / T;
  int threads = (int)std::max<long>(1, std::min(l.threads, tiles));
  struct Sums {
    Sum W1, b1, W2, b2;
  };
  std::vector<std::unique_ptr<Sums>> sums(threads);
  parallel(tiles, threads, [&](long first, long last, int thread) {
    sums[thread].reset(new Sums{Sum(l.c * h), Sum(h), Sum(l.o * h), Sum(l.o)});
    Sums& sum = *sums[thread];
    auto flush = [&] {
      for (Sum* x : {&sum.W1, &sum.b1, &sum.W2, &sum.b2}) x->flush();
    };
    Scratch xs = scratch(T * l.c), hs = scratch(T * h), dh = scratch(T * h), gh = scratch(T * h);
    for (long i = first; i < last; i++) {
      long t = i * T, n = std::min(T, l.points - t);
      const float *x = l.u + t * l.c, *g = l.g + t * l.o;
      float* q = hs.get();
      if (l.act_in != IDENTITY) bend((int)l.act_in, n * l.c, xs.get(), x), x = xs.get();
      gemm(n, h, l.c, x, l.c, 1, l.W1t, h, q, h, ROW, l.b1);
      if (l.act_hidden != IDENTITY) bend_both((int)l.act_hidden, n * h, q, dh.get(), q);
      gemm(l.o, h, n, g, 1, l.o, q, h, sum.W2.now(), h, ADD);
      add_points(n, l.o, g, sum.b2.now());
      gemm(n, h, l.o, g, l.o, 1, l.W2, h, gh.get(), h, ZERO);
      if (l.act_hidden != IDENTITY) multiply(n * h, gh.get(), dh.get());
      gemm(l.c, h, n, x, 1, l.c, gh.get(), h, sum.W1.now(), h, ADD);
      add_points(n, h, gh.get(), sum.b1.now());
      if (l.y) {
        gemm(n, l.c, h, gh.get(), h, 1, l.W1, l.c, l.y + t * l.c, l.c, ZERO);
        unbend((int)l.act_in, n * l.c, l.y + t * l.c, nullptr, l.u + t * l.c);
      }
      if ((i - first) % FLUSH == FLUSH - 1) flush();
    }
    flush();
  });
  for (auto& x : sums) {
    if (!x) continue;
    x->W1.add_to(l.gW1), x->b1.add_to(l.gb1), x->W2.add_to(l.gW2), x->b2.add_to(l.gb2);
  }
}

}  // extern "C"
