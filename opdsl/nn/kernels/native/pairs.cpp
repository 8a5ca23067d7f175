// Sums over pairs of points of what a network makes of them, some pairs that stay in the cache at a
// time.
//
// Every array is float32 and contiguous. Pairs are sorted by their queries; each thread has whole
// queries, so that no two add to the same sum. What is computed is written in
// opdsl/nn/fused_pairs.py; the names here are those of the formulas there.

#include "tiles.h"

extern "C" {

struct Pairs {
  int64_t pairs, batch, c, out;     // out = 0: the last layer is not done for each pair
  int64_t inner, act, threads;      // layers between hidden ones
  const int64_t *points, *queries;  // of each pair
  const int64_t* widths;            // (inner + 1), of the hidden layers
  const float *at_points, *at_queries, *values, *weights;
  const float *const *W, *const *b;  // (next, this), (next) of each inner layer
  const float *last, *last_b;        // (out, width), (out)
  float* const* hidden;              // (pairs, width) of each hidden layer but the first, or none
  float* total;
  const float* grad;  // of total
  double *const *gW, *const *gb, *glast, *glast_b;
  float *gx, *gq, *gv, *gw;  // of at_points, at_queries, values, weights
};

}

namespace {

constexpr long SKEW = 16;  // numbers between rows, which else would meet in the same cache lines

// Where rows stand.
struct Place {
  float* at = nullptr;
  long ld = 0;
  float* row(long t) const { return at + t * ld; }
};

// Rows of a few pairs.
struct Rows {
  long ld;
  Scratch at;
  Rows(long count, long width) : ld(width + SKEW), at(scratch(count * (width + SKEW))) {}
  float* row(long t) { return at.get() + t * ld; }
  Place all() { return {at.get(), ld}; }
};

bool tiles_wanted = true;

// Whether tile units are faster for a product with such a matrix: cutting numbers takes time too.
bool tiles_for(long K, long N) { return tiles_wanted && std::min(K, N) >= 32 && tiles_allowed(); }

// A matrix (K x N), W or its transpose, as products want it: in panels of columns that lie behind
// each other, or cut for tile units.
struct Packed {
  long K = 0, N = 0;
  std::vector<float> numbers;
  Words pieces;

  Packed(long K, long N, const float* W, bool transposed) : K(K), N(N) {
    if (tiles_for(K, N)) {
      pieces = words(cut_size(N, K));
      cut(RIGHT, !transposed, N, K, W, transposed ? K : N, pieces.get());
      return;
    }
    numbers.resize(K * N);
    float* p = numbers.data();
    for (long j = 0; j < N; j += PANEL)
      for (long k = 0; k < K; k++)
        for (long n = j; n < std::min(N, j + PANEL); n++) *p++ = W[transposed ? n * K + k : k * N + n];
  }

  // y (count x N) = (row + x (count x K) B) factor. Instead of x `left` is looked at if this is cut.
  void times(long count, Place x, const Word* left, Place y, const float* row,
             Place factor = {}) const {
    Start start = row ? ROW : ZERO;
    if (pieces) {
      tiled(count, N, K, left, pieces.get(), y.at, y.ld, start, row, factor.at, factor.ld);
      return;
    }
    for (long j = 0; j < N; j += PANEL) {
      long n = std::min<long>(PANEL, N - j);
      gemm(count, n, K, x.at, x.ld, 1, numbers.data() + j * K, n, y.at + j, y.ld, start,
           row ? row + j : nullptr);
    }
    for (long s = 0; factor.at && s < count; s++) multiply(N, y.row(s), factor.row(s));
  }

  static constexpr long PANEL = 4 * LANES;
};

// What the last layer gives times values, or sums of products, of some pairs at a time.
class Chain {
 public:
  Chain(const Pairs& p, bool back) : p_(p), back_(back), L_(p.inner), H_(p.widths[p.inner]) {
    widest_ = p.out;
    for (long i = 0; i <= L_; i++) widest_ = std::max<long>(widest_, p.widths[i]);
    T = widest_ > 128 ? 96 : 192;
    for (long i = 0; i < L_; i++) pack(p.W[i], p.widths[i + 1], p.widths[i]);
    if (p.out) pack(p.last, p.out, H_);
    for (long i = 0; i <= L_; i++) {
      long w = p.widths[i];
      a_.emplace_back(are_cut(i) ? 0 : T, w);
      slope_.emplace_back(back ? T : 0, w);
      right_.push_back(words(back && are_cut(i) ? cut_size(w, T) : 0));
    }
    each_ = p.batch * std::max<long>(p.c, 1);
    z_ = Rows(T, widest_), d_ = Rows(back ? T : 0, widest_);
    left_ = words(cut_size(T, blocks(widest_, DEEP) * DEEP));  // T is a multiple of DEEP
    v_ = scratch(T * each_), gv_ = scratch(back ? T * each_ : 0);
    if (back) {
      for (long i = 0; i < L_; i++) {
        gW_.emplace_back(p.widths[i] * p.widths[i + 1]);
        gb_.emplace_back(p.widths[i + 1]);
      }
      gW_.emplace_back(p.out * H_), gb_.emplace_back(p.out);
    }
  }

  void forward(long t, long n) {
    hidden(t, n);
    if (p_.out) add_multiplied(t, n);
    else add_products_of(t, n);
  }

  // But for the gradients at points, see `add_at_points`.
  void backward(long t, long n) {
    first_ = t, count_ = n;
    hidden(t, n);
    if (p_.out) of_multiplied(t, n);
    else of_products(t, n);
    for (long i = L_; i-- > 0;) of_layer(i, n);
    for (long s = 0; s < n; s++)
      add(p_.widths[0], p_.gq + p_.queries[t + s] * p_.widths[0], d_.row(s));
    if (++done_ % FLUSH == 0) flush();
  }

  // What `backward` found for points, which several pairs may share: part i of n of the channels.
  void add_at_points(long i, long n) {
    auto each_pair = [&](float* sums, long width, auto row) {
      long begin = width * i / n, own = width * (i + 1) / n - begin;
      auto place = [&](long s) { return sums + p_.points[first_ + s] * width + begin; };
      for (long s = 0; sums && s < count_; s++)
        add(own, place(s), row(s) + begin, place(std::min(s + 1, count_ - 1)));
    };
    each_pair(p_.gx, p_.widths[0], [&](long s) { return d_.row(s); });
    each_pair(p_.gv, each_, [&](long s) { return gv_.get() + s * each_; });
  }

  // The sums of this thread go to those of all.
  void add_sums() {
    flush();
    for (long i = 0; i < L_; i++) gW_[i].add_to(p_.gW[i]), gb_[i].add_to(p_.gb[i]);
    gW_[L_].add_to(p_.glast), gb_[L_].add_to(p_.glast_b);
  }

  long T;

 private:
  void pack(const float* W, long N, long K) {
    there_.emplace_back(K, N, W, true);
    if (back_) here_.emplace_back(N, K, W, false);
  }

  // Whether the activated layer goes on in pieces.
  bool are_cut(long i) const { return i < (long)there_.size() && there_[i].pieces; }

  // Activates all hidden layers: for products, and for their gradients with slope_.
  void hidden(long t, long n) {
    bool known = back_ && p_.hidden;
    activate(0, n, !known, [&](long s) -> Line {
      return {p_.at_points + p_.points[t + s] * p_.widths[0],
              p_.at_queries + p_.queries[t + s] * p_.widths[0]};
    });
    for (long i = 1; i <= L_; i++) {
      long w = p_.widths[i];
      Place z = p_.hidden ? Place{p_.hidden[i - 1] + t * w, w} : z_.all();
      if (!known) there_[i - 1].times(n, a_[i - 1].all(), left_.get(), z, p_.b[i - 1]);
      activate(i, n, !known || i == L_, [&](long s) -> Line { return {z.row(s), nullptr}; });
    }
  }

  // `multiplied`: a product with the activated layer follows. The results go to left_ and right_,
  // or to a_.
  template <class F>
  void activate(long i, long n, bool multiplied, F line) {
    long w = p_.widths[i];
    if (are_cut(i)) {
      auto slope = [&](long s) { return back_ ? slope_[i].row(s) : nullptr; };
      bend_and_cut(p_.act, n, w, line, slope, multiplied ? left_.get() : nullptr,
                   back_ ? right_[i].get() : nullptr);
      return;
    }
    for (long s = 0; s < n; s++) {
      Line z = line(s);
      if (z.more) {
        for (long k = 0; k < w; k++) z_.row(s)[k] = z.x[k] + z.more[k];
        z.x = z_.row(s);
      }
      if (back_) bend_both(p_.act, w, a_[i].row(s), slope_[i].row(s), z.x);
      else bend(p_.act, w, a_[i].row(s), z.x);
    }
  }

  float weight(long t) const { return p_.weights ? p_.weights[t] : 1.0f; }
  const float* value(long t) const { return p_.values + p_.points[t] * each_; }

  // k(x, y), into z_
  void kernels(long n) {
    there_[L_].times(n, a_[L_].all(), left_.get(), z_.all(), p_.last_b);
  }

  // total += w k v
  void add_multiplied(long t, long n) {
    kernels(n);
    for (long s = 0; s < n; s++) {
      const float *k = z_.row(s), *v = value(t + s);
      float *y = p_.total + p_.queries[t + s] * each_, w = weight(t + s);
      for (long b = 0; b < p_.batch; b++, v += p_.c, y += p_.c)
        for (long j = 0; j < p_.c; j++) y[j] += w * k[j] * v[j];
    }
  }

  // d_ = gradient of what the last hidden layer is of
  void of_multiplied(long t, long n) {
    if (p_.gv || p_.gw) kernels(n);
    for (long s = 0; s < n; s++) {
      const float *v = value(t + s), *g = p_.grad + p_.queries[t + s] * each_, *k = z_.row(s);
      float *d = d_.row(s), w = weight(t + s), sum = 0.0f;
      for (long j = 0; j < p_.c; j++) d[j] = 0.0f;
      for (long b = 0; b < p_.batch; b++)
        for (long j = 0; j < p_.c; j++) d[j] += g[b * p_.c + j] * v[b * p_.c + j];
      for (long j = 0; p_.gw && j < p_.c; j++) sum += d[j] * k[j];
      if (p_.gw) p_.gw[t + s] = sum;
      for (long j = 0; j < p_.c; j++) d[j] *= w;
      float* gv = p_.gv ? gv_.get() + s * each_ : nullptr;
      for (long b = 0; gv && b < p_.batch; b++)
        for (long j = 0; j < p_.c; j++) gv[b * p_.c + j] = w * k[j] * g[b * p_.c + j];
    }
    of_layer(L_, n);
  }

  // total += w [h, 1] v, the channels of v outside
  void add_products_of(long t, long n) {
    long C = each_ / p_.batch;
    weighed(t, n);
    groups(t, n, [&](long s, long e, long q) {
      for (long b = 0; b < p_.batch; b++) {
        const float* v = v_.get() + s * each_ + b * C;
        float* y = p_.total + (q * p_.batch + b) * C * (H_ + 1);
        gemm(C, H_, e - s, v, 1, each_, a_[L_].row(s), a_[L_].ld, y, H_ + 1, ADD);
        for (long r = 0; r < e - s; r++)
          for (long c = 0; c < C; c++) y[c * (H_ + 1) + H_] += v[r * each_ + c];
      }
    });
  }

  void of_products(long t, long n) {
    long C = each_ / p_.batch;
    weighed(t, n);
    groups(t, n, [&](long s, long e, long q) {
      for (long b = 0; b < p_.batch; b++) {
        const float* v = v_.get() + s * each_ + b * C;
        const float* g = p_.grad + (q * p_.batch + b) * C * (H_ + 1);
        gemm(e - s, H_, C, v, each_, 1, g, H_ + 1, d_.row(s), d_.ld, b ? ADD : ZERO);
        for (long r = s; (p_.gv || p_.gw) && r < e; r++)
          for (long c = 0; c < C; c++) {
            const float* own = g + c * (H_ + 1);
            few_outputs(1, 1, H_, a_[L_].row(r), own, own + H_, gv_.get() + r * each_ + b * C + c);
          }
      }
    });
    for (long s = 0; s < n; s++) of_values(t + s, s);
    for (long s = 0; s < n; s++) multiply(H_, d_.row(s), slope_[L_].row(s));
  }

  // What came to w v goes to w and to v.
  void of_values(long t, long s) {
    float* g = gv_.get() + s * each_;
    float sum = 0.0f, w = weight(t);
    for (long j = 0; p_.gw && j < each_; j++) sum += g[j] * (p_.values ? value(t)[j] : 1.0f);
    if (p_.gw) p_.gw[t] = sum;
    for (long j = 0; p_.gv && j < each_; j++) g[j] *= w;
  }

  // v_ = w v
  void weighed(long t, long n) {
    for (long s = 0; s < n; s++) {
      float *y = v_.get() + s * each_, w = weight(t + s);
      for (long j = 0; j < each_; j++) y[j] = p_.values ? w * value(t + s)[j] : w;
    }
  }

  // f(first, end, query) for the pairs of a query each
  template <class F>
  void groups(long t, long n, F f) {
    for (long s = 0, e; s < n; s = e) {
      for (e = s + 1; e < n && p_.queries[t + e] == p_.queries[t + s]; e++) {}
      f(s, e, p_.queries[t + s]);
    }
  }

  // d_ of a hidden layer from that of the next one, or of the last layer
  void of_layer(long i, long n) {
    const Packed& W = here_[i];
    if (W.pieces) {
      cut(LEFT, true, W.K, n, d_.all().at, d_.ld, left_.get());
      tiled(W.K, W.N, n, left_.get(), right_[i].get(), gW_[i].now(), W.N, ADD);
      cut(LEFT, false, n, W.K, d_.all().at, d_.ld, left_.get());
    } else {
      gemm(W.K, W.N, n, d_.all().at, 1, d_.ld, a_[i].all().at, a_[i].ld, gW_[i].now(), W.N, ADD);
    }
    for (long s = 0; s < n; s++) add(W.K, gb_[i].now(), d_.row(s));
    W.times(n, d_.all(), left_.get(), z_.all(), nullptr, slope_[i].all());
    std::swap(z_, d_);
  }

  static void add(long n, float* sums, const float* x, const float* next = nullptr) {
    each(n, [&](long i, int k) {
      fetch(next, i);
      if (k == LANES) store(sums + i, load(sums + i) + load(x + i));
      else store_some(sums + i, load_some(sums + i, k) + load_some(x + i, k), k);
    });
  }

  void flush() {
    for (auto& x : gW_) x.flush();
    for (auto& x : gb_) x.flush();
  }

  const Pairs& p_;
  bool back_;
  long L_, H_, widest_, each_, done_ = 0, first_ = 0, count_ = 0;
  std::vector<Packed> there_, here_;
  std::vector<Rows> a_, slope_;
  Rows z_{0, 0}, d_{0, 0};
  Scratch v_, gv_;
  Words left_;
  std::vector<Words> right_;
  std::vector<Sum> gW_, gb_;
};

// The first pair of thread t of n: where a query begins.
long begin(const Pairs& p, long t, long n) {
  long i = p.pairs * t / n;
  while (i > 0 && i < p.pairs && p.queries[i] == p.queries[i - 1]) i++;
  return i;
}

}  // namespace

extern "C" {

// Whether the next products may use tile units, where there are some; says whether they do.
int use_tiles(int wanted) {
  tiles_wanted = wanted;
  return tiles_wanted && tiles_allowed();
}

void pairs_forward(const Pairs* p) {
  int count = (int)p->threads;
#pragma omp parallel num_threads(count) if (count > 1)
  {
    int t = omp_get_thread_num(), n = omp_get_num_threads();
    TilesOfThread tiles(tiles_allowed());
    Chain chain(*p, false);
    long end = begin(*p, t + 1, n);
    for (long i = begin(*p, t, n); i < end; i += chain.T)
      chain.forward(i, std::min(chain.T, end - i));
  }
}

void pairs_backward(const Pairs* p) {
  int count = (int)p->threads;
  std::vector<Chain*> chains(count);
  long most = 0;  // pairs of a thread
#pragma omp parallel num_threads(count) if (count > 1)
  {
    int t = omp_get_thread_num(), n = omp_get_num_threads();
    TilesOfThread tiles(tiles_allowed());
    Chain chain(*p, true);
    chains[t] = &chain;
    long i = begin(*p, t, n), end = begin(*p, t + 1, n);
#pragma omp critical
    most = std::max(most, end - i);
#pragma omp barrier
    for (long done = 0; done < most; done += chain.T, i += chain.T) {
      chain.backward(i, std::max(0L, std::min(chain.T, end - i)));
#pragma omp barrier
      for (int own = 0; own < n; own++) chains[own]->add_at_points(t, n);
#pragma omp barrier
    }
    for (int turn = 0; turn < n; turn++) {  // in the order of the threads
      if (turn == t) chain.add_sums();
#pragma omp barrier
    }
  }
}

}
