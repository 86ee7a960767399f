// Steps of ISTA in residual form for a single sample, x <- S_theta(x + s W (y - A x)), in place. thin_step.py compiles this file with the system's compiler and
// calls it through ctypes. A step reads W once, and of A only the columns where x is not zero. One thread does it all: a step takes less than waking a second
// one, and a team that spins instead waits for whatever else runs on the machine.
#include <cstdint>
#include <cstring>

namespace {

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

    // Halves onto one another down to 16 bytes, so that it takes a few instructions.
    static Real sum(type value) {
        typedef Real Half __attribute__((vector_size(32)));
        typedef Real Quarter __attribute__((vector_size(16)));
        Half halves[2];
        std::memcpy(halves, &value, sizeof halves);
        const Half half = halves[0] + halves[1];
        Quarter quarters[2];
        std::memcpy(quarters, &half, sizeof quarters);
        const Quarter quarter = quarters[0] + quarters[1];
        Real total = 0;
        for (int64_t i = 0; i < lanes / 4; ++i) total += quarter[i];
        return total;
    }
};

constexpr int64_t BLOCK = 4, AHEAD = 4;  // rows at once, and how many such blocks ahead they are asked for

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
    int32_t* nonzero;  // (n + 1,): where x is not zero, ended by -1
    const Layer<Real>* layers;
    int64_t depth, m, n;

    // gap = y - A x
    void residual(const Layer<Real>& layer) const {
        std::memcpy(gap, y, size_t(m) * sizeof(Real));
        int32_t active[BLOCK];
        int64_t count = 0;
        for (const int32_t* entry = nonzero; *entry >= 0; ++entry) {
            active[count++] = *entry;
            if (count == BLOCK) {
                subtract(layer.columns, active, count);
                count = 0;
            }
        }
        if (count) subtract(layer.columns, active, count);
    }

    // i at the end of a list where x is not zero, without a branch, which nobody could foretell
    void note(int64_t i, int32_t*& end) const {
        *end = int32_t(i);
        end += x[i] != 0;
    }

    // Some columns of A, weighted by x.
    void subtract(const Real* columns, const int32_t* active, int64_t used) const {
        using V = Wide<Real>;
        const Real* a[BLOCK];
        Real weight[BLOCK];
        for (int64_t k = 0; k < BLOCK; ++k) {  // what is left over goes to the first column with a weight of zero
            a[k] = columns + int64_t(active[k < used ? k : 0]) * m;
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
    }

    void finish(const Layer<Real>& layer, int64_t i, Real product, int32_t*& end) const {
        const Real value = x[i] + Real(layer.scale) * product, level = layer.threshold[i * layer.stride];
        // NaN in either is in no comparison, and so is what the last case gives.
        x[i] = value > level ? value - level : value < -level ? value + level : value >= -level && value <= level ? Real(0) : value + level;
        note(i, end);
    }

    // x, and the list of where it is not zero
    void rows(const Layer<Real>& layer) const {
        using V = Wide<Real>;
        const Real* encoder = layer.encoder;
        int32_t* end = nonzero;
        int64_t i = 0;
        if (m >= V::lanes) {
            // What is left over at the end of a row is read with what comes before it, whose factors are zero here.
            const int64_t whole = m / V::lanes * V::lanes, tail = m - V::lanes;
            Real last_factors[V::lanes] = {};
            for (int64_t j = whole; j < m; ++j) last_factors[j - tail] = gap[j];
            const auto g_tail = V::load(last_factors);
            for (; i + BLOCK <= n; i += BLOCK) {
                const Real* w = encoder + i * m;
                typename V::type sums[BLOCK];
                for (int64_t k = 0; k < BLOCK; ++k) sums[k] = V::load(w + k * m + tail) * g_tail;
                for (int64_t j = 0; j < whole; j += V::lanes) {
                    const auto g = V::load(gap + j);
                    for (int64_t k = 0; k < BLOCK; ++k) {
                        __builtin_prefetch(w + (k + AHEAD * BLOCK) * m + j);
                        sums[k] += V::load(w + k * m + j) * g;
                    }
                }
                for (int64_t k = 0; k < BLOCK; ++k) finish(layer, i + k, V::sum(sums[k]), end);
            }
        }
        for (; i < n; ++i) {
            Real total = 0;
            for (int64_t j = 0; j < m; ++j) total += encoder[i * m + j] * gap[j];
            finish(layer, i, total, end);
        }
        *end = -1;
    }

    void all() const {
        int32_t* end = nonzero;
        for (int64_t i = 0; i < n; ++i) note(i, end);
        *end = -1;
        for (const Layer<Real>* layer = layers; layer < layers + depth; ++layer) {
            residual(*layer);
            rows(*layer);
        }
    }
};

template <class Real>
void run(Real* x, const Real* y, const void* layers, int64_t depth, Real* gap, int32_t* nonzero, int64_t m, int64_t n) {
    Job<Real>{x, y, gap, nonzero, static_cast<const Layer<Real>*>(layers), depth, m, n}.all();
}

}  // namespace

extern "C" {

void thin_steps_float32(float* x, const float* y, const void* layers, int64_t depth, float* gap, int32_t* nonzero, int64_t m, int64_t n) {
    run(x, y, layers, depth, gap, nonzero, m, n);
}

void thin_steps_float64(double* x, const double* y, const void* layers, int64_t depth, double* gap, int32_t* nonzero, int64_t m, int64_t n) {
    run(x, y, layers, depth, gap, nonzero, m, n);
}

}
