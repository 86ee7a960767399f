// Maximum-likelihood detection by depth-first search, sample by sample. sphere.py compiles this file with the system's compiler and calls it through ctypes.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded: torch's own workers, not a second pool that would fight them for the cores.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

// Norms that Gram-Schmidt has brought down this far, relative to the largest one of the channel, squared: the first are ordered last, the second are zero.
constexpr double SMALL = 1e-10, ZERO = 1e-24;

struct Workspace {
    std::vector<double> a, r, products, norms;        // [H, y] (n, k + 1) on its way to Q; R (k, k)
    std::vector<double> z, center, rest, error, point;  // of each stream: Q^T y, where its parabola is least, z less the streams decided, error so far, level
    std::vector<int64_t> order, choice, low, high, best;
    Workspace(int64_t n, int64_t k)
        : a(n * (k + 1)), r(k * k), products(k + 1), norms(k), z(k), center(k), rest(k), error(k + 1), point(k), order(k), choice(k), low(k), high(k), best(k) {}
};

template <class Real>
struct Job {
    const Real* y;
    const Real* channel;
    const double* levels;
    int64_t* out;      // indices of levels (batch, k)
    int64_t* visited;  // (batch,) nodes of the tree
    int64_t batch, n, k, m, stride, most;
    std::atomic<int64_t> next;

    // H P = Q R, z = Q^T y by modified Gram-Schmidt on [H, y] in double precision, each time with the column that is left with the least norm (Wubben et al.
    // 2001): the streams that are decided first, the last columns, are then the reliable ones. A column that depends on others has a zero on the diagonal.
    void factor(int64_t sample, Workspace& w) const {
        const int64_t width = k + 1;
        const Real* h = channel + sample * stride;
        std::fill(w.norms.begin(), w.norms.end(), 0.0);
        for (int64_t i = 0; i < n; ++i) {
            double* row = &w.a[i * width];
            for (int64_t j = 0; j < k; ++j) {
                row[j] = h[i * k + j];
                w.norms[j] += row[j] * row[j];
            }
            row[k] = y[sample * n + i];
        }
        const double largest = *std::max_element(w.norms.begin(), w.norms.end());
        for (int64_t j = 0; j < k; ++j) w.order[j] = j;
        for (int64_t j = 0; j < k; ++j) {
            int64_t least = j;
            double lowest = std::numeric_limits<double>::infinity();
            for (int64_t l = j; l < k; ++l) {
                const double norm = w.norms[l] > SMALL * largest ? w.norms[l] : std::numeric_limits<double>::max();
                if (norm < lowest) lowest = norm, least = l;
            }
            if (least != j) {
                std::swap(w.order[j], w.order[least]);
                std::swap(w.norms[j], w.norms[least]);
                for (int64_t i = 0; i < n; ++i) std::swap(w.a[i * width + j], w.a[i * width + least]);
                for (int64_t i = 0; i < j; ++i) std::swap(w.r[i * k + j], w.r[i * k + least]);
            }
            double square = 0;
            for (int64_t i = 0; i < n; ++i) square += w.a[i * width + j] * w.a[i * width + j];
            const double length = square > ZERO * largest ? std::sqrt(square) : 0.0, inverse = length > 0 ? 1 / length : 0.0;
            w.r[j * k + j] = length;
            double* products = w.products.data();
            std::fill(products + j + 1, products + width, 0.0);
            for (int64_t i = 0; i < n; ++i) {
                double* row = &w.a[i * width];
                const double q = row[j] *= inverse;
                for (int64_t l = j + 1; l < width; ++l) products[l] += q * row[l];
            }
            for (int64_t i = 0; i < n; ++i) {
                double* row = &w.a[i * width];
                const double q = row[j];
                for (int64_t l = j + 1; l < width; ++l) row[l] -= q * products[l];
            }
            for (int64_t l = j + 1; l < k; ++l) {
                w.r[j * k + l] = products[l];
                w.norms[l] -= products[l] * products[l];
            }
            w.z[j] = products[k];
        }
    }

    // Stream j after those above it have been decided: its center, and its first level, the nearest one.
    void enter(int64_t j, Workspace& w) const {
        const double* row = &w.r[j * k];
        double sums[4] = {0, 0, 0, 0};
        int64_t l = j + 1;
        for (; l + 3 < k; l += 4)
            for (int64_t part = 0; part < 4; ++part) sums[part] += row[l + part] * w.point[l + part];
        for (; l < k; ++l) sums[0] += row[l] * w.point[l];
        w.rest[j] = w.z[j] - ((sums[0] + sums[1]) + (sums[2] + sums[3]));
        w.center[j] = row[j] > 0 ? w.rest[j] / row[j] : 0.0;
        int64_t nearest = 0;
        while (nearest + 1 < m && levels[nearest] + levels[nearest + 1] < 2 * w.center[j]) ++nearest;
        take(j, nearest, w);
        w.low[j] = nearest - 1;
        w.high[j] = nearest + 1;
    }

    void take(int64_t j, int64_t index, Workspace& w) const {
        w.choice[j] = index;
        w.point[j] = levels[index];
    }

    // The next level of stream j by distance from its center (Schnorr and Euchner 1994), if any is left.
    bool advance(int64_t j, Workspace& w) const {
        int64_t &low = w.low[j], &high = w.high[j];
        if (low < 0 && high >= m) return false;
        const bool up = low < 0 || (high < m && levels[high] - w.center[j] < w.center[j] - levels[low]);
        take(j, up ? high++ : low--, w);
        return true;
    }

    void search(int64_t sample, Workspace& w) const {
        double radius = std::numeric_limits<double>::infinity();
        int64_t nodes = 0, j = k - 1;
        w.error[k] = 0;
        enter(j, w);
        for (;;) {
            const double residual = w.rest[j] - w.r[j * k + j] * w.point[j];
            const double error = w.error[j + 1] + residual * residual;
            ++nodes;
            if (error < radius && j > 0) {
                w.error[j] = error;
                enter(--j, w);
                continue;
            }
            if (error < radius) {
                radius = error;
                w.best = w.choice;
            }
            // The levels that come later are farther: of this stream none can do better.
            do ++j;
            while (j < k && !advance(j, w));
            if (j == k || nodes >= most) break;
        }
        for (int64_t l = 0; l < k; ++l) out[sample * k + w.order[l]] = w.best[l];
        visited[sample] = j == k ? nodes : -nodes;
    }

    static void work(void* argument) {
        auto& job = *static_cast<Job*>(argument);
        Workspace workspace(job.n, job.k);
        constexpr int64_t chunk = 16;
        for (;;) {
            const int64_t begin = job.next.fetch_add(chunk);
            if (begin >= job.batch) return;
            for (int64_t sample = begin; sample < std::min(begin + chunk, job.batch); ++sample) {
                job.factor(sample, workspace);
                job.search(sample, workspace);
            }
        }
    }
};

template <class Real>
void run(const Real* y, const Real* channel, const double* levels, int64_t* out, int64_t* visited, int64_t batch, int64_t n, int64_t k, int64_t m,
         int64_t stride, int64_t most, unsigned threads, Parallel parallel) {
    Job<Real> job{y, channel, levels, out, visited, batch, n, k, m, stride, most, {0}};
    if (parallel && threads > 1) parallel(&Job<Real>::work, &job, threads, 0);
    else Job<Real>::work(&job);
}

}  // namespace

extern "C" void sphere_float32(const float* y, const float* channel, const double* levels, int64_t* out, int64_t* visited, int64_t batch, int64_t n, int64_t k,
                               int64_t m, int64_t stride, int64_t most, unsigned threads, Parallel parallel) {
    run<float>(y, channel, levels, out, visited, batch, n, k, m, stride, most, threads, parallel);
}

extern "C" void sphere_float64(const double* y, const double* channel, const double* levels, int64_t* out, int64_t* visited, int64_t batch, int64_t n,
                               int64_t k, int64_t m, int64_t stride, int64_t most, unsigned threads, Parallel parallel) {
    run<double>(y, channel, levels, out, visited, batch, n, k, m, stride, most, threads, parallel);
}
