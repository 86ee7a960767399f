// Support selection, row by row. support.py compiles this file with the system's compiler and calls it through ctypes: without a header of torch it takes
// half a second.
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded: torch's own workers, not a second pool that would fight them for the cores.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

template <class Real, class Bits>
struct Job {
    const Real* z;
    const Real* threshold;
    const int64_t* counts;  // one per row, or null: `count` in each
    Real* out;
    int8_t* slope;  // d out / d threshold, or null
    int64_t rows, n, row_stride, column_stride, count, chunk;
    std::atomic<int64_t> next;

    static Bits bits_of(Real x) {
        Bits bits;
        std::memcpy(&bits, &x, sizeof bits);
        return bits;
    }

    // The bits of magnitudes, read as integers, are ordered as the magnitudes are; NaN comes last.
    static Bits rank(Real x) { return bits_of(x) & ~(Bits(1) << (8 * sizeof(Bits) - 1)); }

    Bits exceeding(const Real* row, Bits cut) const {
        Bits total = 0;
        for (int64_t i = 0; i < n; ++i) total += rank(row[i]) > cut;
        return total;
    }

    // Entries begin to end of row r, of which those above both their threshold and the cut pass.
    template <bool sloped, bool by_column>
    void write(int64_t r, int64_t begin, int64_t end, Bits cut) const {
        const Real* from = z + r * n;
        const Real* levels = threshold + r * row_stride;
        Real* to = out + r * n;
        int8_t* by_threshold = sloped ? slope + r * n : nullptr;
        const Real level = levels[0];
        for (int64_t i = begin; i < end; ++i) {
            const Real x = from[i], t = by_column ? levels[i] : level;
            // Clamped in this way around, NaN in x or t makes x - clamped NaN.
            Real clamped = x >= -t ? x : -t;
            clamped = clamped <= t ? clamped : t;
            const Real shrunk = x - clamped;
            const bool over = x > t, under = -x > t, selected = rank(x) > cut;
            to[i] = (over | under) & selected ? x : shrunk;
            if (sloped) by_threshold[i] = selected ? 0 : under - over;
        }
    }

    // What is selected of a row exceeds the cut that this returns; before the entry `first`, what equals it is selected too.
    // `low`: the rank of the lowest threshold, or less. If no more than k entries exceed it, every entry above its threshold may pass.
    Bits select(const Real* row, int64_t k, Bits low, int64_t& first) const {
        Bits high = 0, over = 0, above = 0;
        for (int64_t i = 0; i < n; ++i) {
            const Bits b = rank(row[i]);
            over += b > low;
            high = b > high ? b : high;
        }
        if (over <= k) return -1;
        // Bisection: more than k entries exceed low; `above` of them, fewer than k or none, exceed high.
        while (high - low > 1) {
            const Bits middle = low + (high - low) / 2, more = exceeding(row, middle);
            if (more == k) return middle;
            if (more > k) {
                low = middle;
            } else {
                high = middle;
                above = more;
            }
        }
        // Several entries have the magnitude of rank k, and the first of them are selected.
        for (int64_t room = k - above; room > 0; ++first) room -= rank(row[first]) == high;
        return high;
    }

    template <bool sloped, bool by_column>
    void process(int64_t begin, int64_t end) const {
        for (int64_t r = begin; r < end; ++r) {
            const int64_t k = counts ? counts[r] : count;
            const Real* levels = threshold + r * row_stride;
            Bits least = bits_of(levels[0]);
            if (by_column)
                for (int64_t i = 1; i < n; ++i) least = bits_of(levels[i]) < least ? bits_of(levels[i]) : least;
            int64_t first = 0;
            const Bits cut = k < n ? select(z + r * n, k, least < 0 ? -1 : least, first) : -1;
            if (first) write<sloped, by_column>(r, 0, first, cut - 1);
            write<sloped, by_column>(r, first, n, cut);
        }
    }

    static void work(void* argument) {
        auto& job = *static_cast<Job*>(argument);
        for (;;) {
            const int64_t begin = job.next.fetch_add(job.chunk);
            if (begin >= job.rows) return;
            const int64_t end = begin + job.chunk < job.rows ? begin + job.chunk : job.rows;
            if (job.slope) job.column_stride ? job.template process<true, true>(begin, end) : job.template process<true, false>(begin, end);
            else job.column_stride ? job.template process<false, true>(begin, end) : job.template process<false, false>(begin, end);
        }
    }
};

template <class Real, class Bits>
void run(const Real* z, const Real* threshold, const int64_t* counts, Real* out, int8_t* slope, int64_t rows, int64_t n, int64_t row_stride,
         int64_t column_stride, int64_t count, unsigned threads, Parallel parallel) {
    Job<Real, Bits> job{z, threshold, counts, out, slope, rows, n, row_stride, column_stride, count, 1 + 4096 / n, {0}};
    if (parallel && threads > 1) parallel(&Job<Real, Bits>::work, &job, threads, 0);
    else Job<Real, Bits>::work(&job);
}

}  // namespace

extern "C" void support_select_float32(const float* z, const float* threshold, const int64_t* counts, float* out, int8_t* slope, int64_t rows, int64_t n,
                                       int64_t row_stride, int64_t column_stride, int64_t count, unsigned threads, Parallel parallel) {
    run<float, int32_t>(z, threshold, counts, out, slope, rows, n, row_stride, column_stride, count, threads, parallel);
}

extern "C" void support_select_float64(const double* z, const double* threshold, const int64_t* counts, double* out, int8_t* slope, int64_t rows, int64_t n,
                                       int64_t row_stride, int64_t column_stride, int64_t count, unsigned threads, Parallel parallel) {
    run<double, int64_t>(z, threshold, counts, out, slope, rows, n, row_stride, column_stride, count, threads, parallel);
}
