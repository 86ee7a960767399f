// Steps of ISTA in residual form for a batch, x <- S_theta(x + s W (y - A x)), from zero. packed_steps.py compiles this file with the system's compiler and calls
// it through ctypes. Each thread takes some rows of the batch through all layers, so that their state stays in its cache, with the matrices as oneMKL has packed
// them.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded. Inside it oneMKL runs on the thread that calls it.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

// cblas_sgemm_compute: C <- A B + beta C with B packed.
using Compute = void (*)(int, int, int, int, int, int, const float*, int, const float*, int, float, float*, int);
constexpr int ROW_MAJOR = 101, NO_TRANSPOSE = 111, PACKED = 151;

struct Layer {
    const float* down;       // -A^T, packed
    const float* up;         // s W^T, packed
    const float* threshold;  // (n,), or one number: stride 0
    int64_t stride;
};

struct Job {
    const float* y;   // (batch, m)
    float* out;       // (batch, n)
    float* scratch;   // for each thread x (rows, n) and gap (rows, m)
    const Layer* layers;
    int64_t depth, batch, rows, m, n;
    Compute compute;
    std::atomic<int64_t> next, worker;

    void multiply(const float* a, const float* packed, float beta, float* c, int64_t inner, int64_t columns) const {
        compute(ROW_MAJOR, NO_TRANSPOSE, PACKED, int(rows), int(columns), int(inner), a, int(inner), packed, int(inner), beta, c, int(columns));
    }

    void shrink(const float* z, float* x, int64_t count, const Layer& layer) const {
        if (layer.stride == 0) {
            shrink_row(z, x, count * n, layer.threshold[0]);
            return;
        }
        for (int64_t row = 0; row < count; ++row) {
            const float *from = z + row * n, *level = layer.threshold;
            float* to = x + row * n;
            for (int64_t i = 0; i < n; ++i) to[i] = from[i] - clamp(from[i], level[i]);
        }
    }

    static void shrink_row(const float* z, float* x, int64_t count, float level) {
        for (int64_t i = 0; i < count; ++i) x[i] = z[i] - clamp(z[i], level);
    }

    // Into [-level, level]; NaN, in either, makes value - clamp(value) NaN.
    static float clamp(float value, float level) {
        const float below = value <= level ? value : level;
        return below < -level ? -level : below;
    }

    void take(int64_t first, float* x, float* gap) const {
        const int64_t count = std::min(rows, batch - first);
        const size_t bytes = size_t(count * m) * sizeof(float);
        const float* given = y + first * m;
        // Packed matrices are for so many rows: those beyond the batch are zero at first, and nobody reads what becomes of them.
        std::memset(gap + count * m, 0, size_t((rows - count) * m) * sizeof(float));
        for (int64_t k = 0; k < depth; ++k) {
            std::memcpy(gap, given, bytes);
            if (k > 0) multiply(x, layers[k].down, 1.0f, gap, n, m);
            multiply(gap, layers[k].up, k > 0 ? 1.0f : 0.0f, x, m, n);
            const bool last = k + 1 == depth;
            shrink(x, last ? out + first * n : x, last ? count : rows, layers[k]);
        }
    }

    static void work(void* given) {
        auto& job = *static_cast<Job*>(given);
        float* x = job.scratch + job.worker.fetch_add(1) * job.rows * (job.m + job.n);
        for (int64_t first; (first = job.next.fetch_add(job.rows)) < job.batch;) job.take(first, x, x + job.rows * job.n);
    }
};

}  // namespace

extern "C" void packed_steps(const float* y, float* out, float* scratch, const void* layers, int64_t depth, int64_t batch, int64_t rows, int64_t m, int64_t n,
                             unsigned threads, void* parallel, void* compute) {
    Job job{y, out, scratch, static_cast<const Layer*>(layers), depth, batch, rows, m, n, reinterpret_cast<Compute>(compute), {0}, {0}};
    if (threads > 1 && parallel) {
        reinterpret_cast<Parallel>(parallel)(Job::work, &job, threads, 0);
    } else {
        Job::work(&job);
    }
}
