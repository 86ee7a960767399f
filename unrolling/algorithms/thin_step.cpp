// Steps of ISTA in residual form for a single sample, x <- S_theta(x + s W (y - A x)), in place. thin_step.py compiles this file with the system's compiler and
// calls it through ctypes. A step reads W once, and of A only the columns where x is not zero.
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded: torch's own workers, not a second pool that would fight them for the cores.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

template <class Real>
struct Wide {
    typedef Real type __attribute__((vector_size(64)));
    static constexpr int64_t lanes = 64 / sizeof(Real);

    static type load(const Real* from) {
        type value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }

    static void store(Real* to, type value) { std::memcpy(to, &value, sizeof value); }

    static Real sum(type value) {
        Real total = 0;
        for (int64_t i = 0; i < lanes; ++i) total += value[i];
        return total;
    }
};

constexpr int64_t BLOCK = 4, PIECE = 32;

template <class Real>
struct Layer {
    const Real* columns;    // (n, m): A transposed
    const Real* encoder;    // (n, m): W
    const Real* threshold;  // (n,), or one number: stride 0
    int64_t stride;
    double scale;  // s
};

template <class Real>
struct Job {
    Real* x;        // (n,)
    const Real* y;  // (m,)
    Real* gap;      // (m,): scratch
    int64_t m, n;
    const Real* columns;
    const Real* encoder;
    const Real* threshold;
    int64_t stride;
    Real scale;
    std::atomic<int64_t> next;

    // gap = y - A x
    void residual() const {
        using V = Wide<Real>;
        std::memcpy(gap, y, size_t(m) * sizeof(Real));
        int64_t active[BLOCK], count = 0;
        const auto subtract = [&](int64_t used) {
            const Real* a[BLOCK];
            Real weight[BLOCK];
            for (int64_t k = 0; k < BLOCK; ++k) {  // what is left over goes to the first column with a weight of zero
                a[k] = columns + active[k < used ? k : 0] * m;
                weight[k] = k < used ? x[active[k]] : Real(0);
            }
            int64_t j = 0;
            for (; j + V::lanes <= m; j += V::lanes) {
                auto value = V::load(gap + j);
                for (int64_t k = 0; k < BLOCK; ++k) value -= weight[k] * V::load(a[k] + j);
                V::store(gap + j, value);
            }
            for (; j < m; ++j) {
                for (int64_t k = 0; k < BLOCK; ++k) gap[j] -= weight[k] * a[k][j];
            }
        };
        for (int64_t i = 0; i < n; ++i) {
            if (x[i] != 0) {
                active[count++] = i;
                if (count == BLOCK) {
                    subtract(count);
                    count = 0;
                }
            }
        }
        if (count) subtract(count);
    }

    void finish(int64_t i, Real product) const {
        const Real value = x[i] + scale * product, level = threshold[i * stride];
        x[i] = value > level ? value - level : value < -level ? value + level : value == value ? Real(0) : value;
    }

    void rows(int64_t first, int64_t last) const {
        using V = Wide<Real>;
        int64_t i = first;
        if (m >= V::lanes) {
            // What is left over at the end of a row is read with what comes before it, whose factors are zero here.
            const int64_t whole = m / V::lanes * V::lanes, tail = m - V::lanes;
            Real last_factors[V::lanes] = {};
            for (int64_t j = whole; j < m; ++j) last_factors[j - tail] = gap[j];
            const auto g_tail = V::load(last_factors);
            for (; i + BLOCK <= last; i += BLOCK) {
                const Real* w = encoder + i * m;
                typename V::type sums[BLOCK];
                for (int64_t k = 0; k < BLOCK; ++k) sums[k] = V::load(w + k * m + tail) * g_tail;
                for (int64_t j = 0; j < whole; j += V::lanes) {
                    const auto g = V::load(gap + j);
                    for (int64_t k = 0; k < BLOCK; ++k) sums[k] += V::load(w + k * m + j) * g;
                }
                for (int64_t k = 0; k < BLOCK; ++k) finish(i + k, V::sum(sums[k]));
            }
        }
        for (; i < last; ++i) {
            Real total = 0;
            for (int64_t j = 0; j < m; ++j) total += encoder[i * m + j] * gap[j];
            finish(i, total);
        }
    }

    static void work(void* given) {
        auto& job = *static_cast<Job*>(given);
        for (int64_t first; (first = job.next.fetch_add(PIECE)) < job.n;) job.rows(first, first + PIECE < job.n ? first + PIECE : job.n);
    }
};

template <class Real>
void run(Real* x, const Real* y, const Layer<Real>* layers, int64_t depth, Real* gap, int64_t m, int64_t n, unsigned threads, Parallel parallel) {
    for (const Layer<Real>* layer = layers; layer < layers + depth; ++layer) {
        Job<Real> job{x, y, gap, m, n, layer->columns, layer->encoder, layer->threshold, layer->stride, Real(layer->scale), {0}};
        job.residual();
        if (threads > 1 && parallel) {
            parallel(Job<Real>::work, &job, threads, 0);
        } else {
            job.rows(0, n);
        }
    }
}

}  // namespace

extern "C" {

void thin_steps_float32(float* x, const float* y, const void* layers, int64_t depth, float* gap, int64_t m, int64_t n, unsigned threads, void* parallel) {
    run(x, y, static_cast<const Layer<float>*>(layers), depth, gap, m, n, threads, reinterpret_cast<Parallel>(parallel));
}

void thin_steps_float64(double* x, const double* y, const void* layers, int64_t depth, double* gap, int64_t m, int64_t n, unsigned threads, void* parallel) {
    run(x, y, static_cast<const Layer<double>*>(layers), depth, gap, m, n, threads, reinterpret_cast<Parallel>(parallel));
}

}
