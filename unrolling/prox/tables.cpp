// Piecewise polynomials of one variable, one function per channel, and their gradients. tables.py compiles this file with the system's compiler and calls it
// through ctypes.
#include <atomic>
#include <cstdint>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded: torch's own workers, not a second pool that would fight them for the cores.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

template <class Real, int Terms>
struct Job {
    const Real* z;      // (batch, channels, pixels)
    const Real* table;  // (channels, cells, Terms): coefficients of 1, f, f^2, ... in each cell, f the fraction of it
    const Real* grad;   // like z, or null: evaluate
    Real* out;          // like z: the values, or the gradient in z
    Real* by_table;     // (channels, 2, cells, Terms), zero at first, whose two halves are to be added up; or null
    int64_t batch, channels, pixels, cells;
    Real first, rate;  // of the first cell, and cells per unit
    std::atomic<int64_t> next;

    // What is not a number belongs to the first cell: it must not be looked up outside.
    int32_t locate(Real x, Real& fraction) const {
        const Real position = (x - first) * rate, last = Real(cells - 1);
        Real inside = position > 0 ? position : Real(0);
        inside = inside < last ? inside : last;
        const int32_t cell = int32_t(inside);
        fraction = position - Real(cell);
        return cell;
    }

    void evaluate(const Real* from, const Real* rows, Real* to) const {
        for (int64_t i = 0; i < pixels; ++i) {
            Real f;
            const Real* row = rows + int64_t(locate(from[i], f)) * Terms;
            Real value = row[Terms - 1];
            for (int k = Terms - 2; k >= 0; --k) value = value * f + row[k];
            to[i] = value;
        }
    }

    // In blocks: the look-ups of one are independent of each other, the sums are not. Neighbouring pixels often share a cell, so that they add to two tables
    // in turn (the second one follows the first).
    void differentiate(const Real* from, const Real* rows, const Real* upstream, Real* to, Real* sums) const {
        constexpr int64_t block = 256;
        int32_t cell[block];
        Real fraction[block];
        for (int64_t begin = 0; begin < pixels; begin += block) {
            const int64_t count = pixels - begin < block ? pixels - begin : block;
            for (int64_t i = 0; i < count; ++i) {
                cell[i] = locate(from[begin + i], fraction[i]);
                const Real* row = rows + int64_t(cell[i]) * Terms;
                Real slope = (Terms - 1) * row[Terms - 1];
                for (int k = Terms - 2; k >= 1; --k) slope = slope * fraction[i] + k * row[k];
                to[begin + i] = upstream[begin + i] * slope * rate;
            }
            if (!sums) continue;
            for (int64_t i = 0; i < count; ++i) {
                Real* at = sums + (int64_t(cell[i]) + (i & 1) * cells) * Terms;
                const Real f = fraction[i], g = upstream[begin + i];
                Real term[Terms];
                term[0] = g;
                for (int k = 1; k < Terms; ++k) term[k] = term[k - 1] * f;
                for (int k = 0; k < Terms; ++k) at[k] += term[k];
            }
        }
    }

    // A channel at a time, whose table no other worker writes into.
    static void work(void* argument) {
        auto& job = *static_cast<Job*>(argument);
        for (;;) {
            const int64_t c = job.next.fetch_add(1);
            if (c >= job.channels) return;
            const int64_t shift = c * job.cells * Terms;
            for (int64_t b = 0; b < job.batch; ++b) {
                const int64_t at = (b * job.channels + c) * job.pixels;
                if (job.grad) job.differentiate(job.z + at, job.table + shift, job.grad + at, job.out + at, job.by_table ? job.by_table + 2 * shift : nullptr);
                else job.evaluate(job.z + at, job.table + shift, job.out + at);
            }
        }
    }
};

template <class Real, int Terms>
void start(const Real* z, const Real* table, const Real* grad, Real* out, Real* by_table, int64_t batch, int64_t channels, int64_t pixels, int64_t cells,
           double first, double rate, unsigned threads, Parallel parallel) {
    Job<Real, Terms> job{z, table, grad, out, by_table, batch, channels, pixels, cells, Real(first), Real(rate), {0}};
    if (parallel && threads > 1) parallel(&Job<Real, Terms>::work, &job, threads, 0);
    else Job<Real, Terms>::work(&job);
}

template <class Real>
void run(const Real* z, const Real* table, const Real* grad, Real* out, Real* by_table, int64_t batch, int64_t channels, int64_t pixels, int64_t cells,
         int64_t terms, double first, double rate, unsigned threads, Parallel parallel) {
    if (terms == 2) start<Real, 2>(z, table, grad, out, by_table, batch, channels, pixels, cells, first, rate, threads, parallel);
    else start<Real, 4>(z, table, grad, out, by_table, batch, channels, pixels, cells, first, rate, threads, parallel);
}

}  // namespace

extern "C" void piecewise_float32(const float* z, const float* table, const float* grad, float* out, float* by_table, int64_t batch, int64_t channels,
                                  int64_t pixels, int64_t cells, int64_t terms, double first, double rate, unsigned threads, Parallel parallel) {
    run<float>(z, table, grad, out, by_table, batch, channels, pixels, cells, terms, first, rate, threads, parallel);
}

extern "C" void piecewise_float64(const double* z, const double* table, const double* grad, double* out, double* by_table, int64_t batch, int64_t channels,
                                  int64_t pixels, int64_t cells, int64_t terms, double first, double rate, unsigned threads, Parallel parallel) {
    run<double>(z, table, grad, out, by_table, batch, channels, pixels, cells, terms, first, rate, threads, parallel);
}
