// Layers of prox-linear descent on the readings of a power grid, sample by sample. grid_steps.py compiles this file with the system's compiler and calls it through
// ctypes. A meter looks at the few buses next to its own, so that products with the derivative take a handful of numbers each; what takes the time is the product
// with the metric, whose rows are read once a dual step. With torch's operators a layer is some eighty launches, which take much longer than what they do.
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

template <class Real>
struct Grid {
    const int32_t* begin;      // (meters + 1,): where the row of each meter begins
    const int32_t* column;     // its buses, and the admittances there
    const Real* conductance;
    const Real* susceptance;
    const int32_t* bus;        // (meters,): that of the meter itself
    const uint8_t* imaginary;  // (meters,): whether it reads reactive power
    const Real* deviation;     // (meters,)
    const Real* metric;        // (2 buses, 2 buses), or none: the identity
    const Real* returning;     // (2 buses, 2 buses), or none: no prior
    const Real* center;        // (2 buses,)
    int64_t meters, buses;
};

template <class Real>
struct Layer {
    const Real* step;  // (inner,)
    const Real* clip;  // (inner,)
    int64_t inner;
    Real radius, pull;
};

template <class Real>
struct Job {
    const Grid<Real>& grid;
    const Layer<Real>* layers;
    const Real* readings;  // (batch, meters)
    Real* voltage;         // (batch, 2 buses): changed in place
    Real* dual;            // (batch, meters)
    Real* scratch;         // for each thread 5 meters + 6 buses
    int64_t depth, batch;
    std::atomic<int64_t> next, worker;

    // y <- y + A^T x, A (size, size), a few rows at once
    static void add_product(const Real* matrix, const Real* x, Real* y, int64_t size) {
        int64_t i = 0;
        for (; i + 4 <= size; i += 4) {
            const Real *a = matrix + i * size, *b = a + size, *c = b + size, *d = c + size;
            const Real p = x[i], q = x[i + 1], s = x[i + 2], t = x[i + 3];
            for (int64_t j = 0; j < size; ++j) y[j] += (p * a[j] + q * b[j]) + (s * c[j] + t * d[j]);
        }
        for (; i < size; ++i) {
            for (int64_t j = 0; j < size; ++j) y[j] += x[i] * matrix[i * size + j];
        }
    }

    // Re and Im of y^T x for the row y of a meter
    void product(int64_t m, const Real* x, Real& real, Real& imaginary) const {
        const Real* other = x + grid.buses;
        real = imaginary = 0;
        for (int32_t k = grid.begin[m]; k < grid.begin[m + 1]; ++k) {
            const Real g = grid.conductance[k], b = grid.susceptance[k];
            const int32_t n = grid.column[k];
            real += g * x[n] - b * other[n];
            imaginary += g * other[n] + b * x[n];
        }
    }

    void sample(int64_t number, Real* memory) const {
        const int64_t meters = grid.meters, buses = grid.buses, size = 2 * buses;
        const Real* z = readings + number * meters;
        Real *v = voltage + number * size, *u = dual + number * meters;
        Real *residual = memory, *a = memory + meters, *c = a + meters, *e = c + meters, *f = e + meters;
        Real *toward = f + meters, *slope = toward + size, *move = slope + size;
        for (const Layer<Real>* layer = layers; layer < layers + depth; ++layer) {
            for (int64_t m = 0; m < meters; ++m) {
                const Real ur = v[grid.bus[m]], ui = v[buses + grid.bus[m]], scale = 1 / grid.deviation[m];
                Real wr, wi;
                product(m, v, wr, wi);
                const bool odd = grid.imaginary[m];
                residual[m] = (z[m] - (odd ? ui * wr - ur * wi : ur * wr + ui * wi)) * scale;
                a[m] = (odd ? ui : ur) * scale, c[m] = (odd ? -ur : ui) * scale;
                e[m] = (odd ? -wi : wr) * scale, f[m] = (odd ? wr : wi) * scale;
            }
            std::memset(toward, 0, size_t(size) * sizeof(Real));
            if (grid.returning != nullptr) {
                const Real weight = layer->radius * layer->pull;
                for (int64_t i = 0; i < size; ++i) slope[i] = weight * (grid.center[i] - v[i]);
                add_product(grid.returning, slope, toward, size);
            }
            std::memcpy(move, toward, size_t(size) * sizeof(Real));
            for (int64_t k = 0; k < layer->inner; ++k) {
                const Real step = layer->step[k], most = layer->clip[k];
                std::memset(slope, 0, size_t(size) * sizeof(Real));
                for (int64_t m = 0; m < meters; ++m) {
                    const int32_t bus = grid.bus[m];
                    Real left = residual[m];
                    if (k != 0 || grid.returning != nullptr) {
                        Real wr, wi;
                        product(m, move, wr, wi);
                        left -= a[m] * wr + c[m] * wi + e[m] * move[bus] + f[m] * move[buses + bus];
                    }
                    const Real raised = k == 0 ? step * left : u[m] + step * left;
                    // What is no number passes both comparisons, and stays one that is none.
                    const Real value = raised < -most ? -most : raised > most ? most : raised;
                    u[m] = value;
                    const Real p = a[m] * value, q = c[m] * value;
                    for (int32_t i = grid.begin[m]; i < grid.begin[m + 1]; ++i) {
                        const Real g = grid.conductance[i], b = grid.susceptance[i];
                        slope[grid.column[i]] += p * g + q * b;
                        slope[buses + grid.column[i]] += q * g - p * b;
                    }
                    slope[bus] += e[m] * value;
                    slope[buses + bus] += f[m] * value;
                }
                if (grid.metric == nullptr) {
                    for (int64_t i = 0; i < size; ++i) move[i] = toward[i] + layer->radius * slope[i];
                } else {
                    for (int64_t i = 0; i < size; ++i) slope[i] *= layer->radius;
                    std::memcpy(move, toward, size_t(size) * sizeof(Real));
                    add_product(grid.metric, slope, move, size);
                }
            }
            for (int64_t i = 0; i < size; ++i) v[i] += move[i];
        }
    }

    static void work(void* given) {
        auto& job = *static_cast<Job*>(given);
        Real* memory = job.scratch + job.worker.fetch_add(1) * (5 * job.grid.meters + 6 * job.grid.buses);
        for (int64_t number; (number = job.next.fetch_add(1)) < job.batch;) job.sample(number, memory);
    }
};

template <class Real>
void run(
    const Grid<Real>& grid, const Layer<Real>* layers, const Real* readings, Real* voltage, Real* dual, Real* scratch, int64_t depth, int64_t batch, int64_t threads,
    Parallel parallel
) {
    Job<Real> job{grid, layers, readings, voltage, dual, scratch, depth, batch, {}, {}};
    if (threads > 1 && parallel != nullptr) {
        parallel(Job<Real>::work, &job, unsigned(threads), 0);
    } else {
        Job<Real>::work(&job);
    }
}

}  // namespace

#define GRID_STEPS(Real, name)                                                                                                                                    \
    extern "C" void name(                                                                                                                                          \
        const Grid<Real>* grid, const Layer<Real>* layers, const Real* readings, Real* voltage, Real* dual, Real* scratch, int64_t depth, int64_t batch,           \
        int64_t threads, Parallel parallel                                                                                                                         \
    ) {                                                                                                                                                            \
        run(*grid, layers, readings, voltage, dual, scratch, depth, batch, threads, parallel);                                                                     \
    }

GRID_STEPS(float, grid_steps_float32)
GRID_STEPS(double, grid_steps_float64)
