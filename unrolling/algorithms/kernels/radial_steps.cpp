// x <- g + (delta - W) * prox(x), layer after layer, for small images and kernels W that are even along rows and columns. radial_steps.py compiles this file with
// the system's compiler and calls it through ctypes. An even kernel leaves the even and the odd part of an image apart, along either axis, and is a product for
// their cosine and sine transforms; on sides of some dozens of pixels these are quickest as products with small matrices.
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

typedef float Wide __attribute__((vector_size(64)));
typedef int32_t Whole __attribute__((vector_size(64)));
constexpr int64_t LANES = 16, ROWS = 8;

Wide load(const float* from) {
    Wide value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

void store(float* to, Wide value) { std::memcpy(to, &value, sizeof value); }

// C = A B for some rows of A and columns of B; A may be transposed: its entry (i, k) is at a[i * down + k * along].
template <int64_t rows, int64_t vectors>
void block(const float* a, int64_t down, int64_t along, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t depth) {
    Wide sums[rows][vectors] = {};
    for (int64_t k = 0; k < depth; ++k) {
        Wide row[vectors];
        for (int64_t v = 0; v < vectors; ++v) row[v] = load(b + k * b_row + v * LANES);
        for (int64_t i = 0; i < rows; ++i) {
            for (int64_t v = 0; v < vectors; ++v) sums[i][v] += a[i * down + k * along] * row[v];
        }
    }
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t v = 0; v < vectors; ++v) store(c + i * c_row + v * LANES, sums[i][v]);
    }
}

// C (height, width) = A (height, depth) B (depth, width), width a multiple of LANES.
void product(
    const float* a, int64_t down, int64_t along, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t height, int64_t depth, int64_t width
) {
    for (int64_t j = 0; j < width; j += 2 * LANES) {
        const bool two = j + LANES < width;
        int64_t i = 0;
        for (; i + ROWS <= height; i += ROWS) {
            (two ? block<ROWS, 2> : block<ROWS, 1>)(a + i * down, down, along, b + j, b_row, c + i * c_row + j, c_row, depth);
        }
        for (; i < height; ++i) (two ? block<1, 2> : block<1, 1>)(a + i * down, down, along, b + j, b_row, c + i * c_row + j, c_row, depth);
    }
}

// e^u for u in [-80, 80], to a few units in the last place.
Wide exponential(Wide u) {
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    const Wide shifted = u * 1.44269504088896341f + shift;
    Whole power;
    std::memcpy(&power, &shifted, sizeof power);
    power = (power - 0x4b400000 + 127) << 23;
    Wide scale;
    std::memcpy(&scale, &power, sizeof scale);
    const Wide n = shifted - shift, r = (u - n * 0.693359375f) - n * -2.12194440e-4f;
    Wide sum = r * (1.0f / 5040) + 1.0f / 720;
    for (float factor : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) sum = sum * r + factor;
    return sum * scale;
}

struct Layer {
    const float* spectrum;  // (2, 2, rows, padded): of delta - W, for the parities of rows and columns, with all weights
    int64_t low, high;      // the percentiles are the so many smallest and largest pixel of an image; 0: the prox is max(x - first, 0)
    float first, second;    // alpha and tau, or the threshold
};

struct Sizes {
    int64_t height, width;      // of an image, even
    int64_t half, padded_half;  // columns of a part, and up to a multiple of LANES
    int64_t rows;               // frequencies along the rows
    int64_t columns, padded;    // frequencies along the columns, and up to a multiple of LANES
};

struct Basis {
    const float* down;    // (2, rows, height / 2): cosines, sines
    const float* across;  // (2, columns, padded_half)
    const float* turned;  // (2, half, padded): the same, transposed
};

struct Scratch {
    float* shrunk;     // (height, width)
    float* parts;      // (2, height / 2, 2 padded_half)
    float* between;    // (2, rows, 2 padded_half)
    float* transform;  // (rows, padded)
    int32_t* keys;     // (height, width)
};

// Floating-point numbers as whole numbers in the same order, and back.
Whole ordered(Whole bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// How many keys are at most either bound.
void counted(const int32_t* keys, int64_t count, const int32_t bounds[2], int64_t found[2]) {
    Whole below[2] = {};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        Whole key;
        std::memcpy(&key, keys + i, sizeof key);
        below[0] -= key <= bounds[0];
        below[1] -= key <= bounds[1];
    }
    for (int64_t n = 0; n < 2; ++n) {
        found[n] = 0;
        for (int64_t k = i; k < count; ++k) found[n] += keys[k] <= bounds[n];
        for (int64_t k = 0; k < LANES; ++k) found[n] += below[n][k];
    }
}

// The numbers at two places in rising order, counted from 1, by halving the ranges that hold them.
void ranked(const int32_t* keys, int64_t count, const int64_t places[2], float values[2]) {
    int64_t low[2] = {INT32_MIN, INT32_MIN}, high[2] = {INT32_MAX, INT32_MAX};
    while (low[0] < high[0] || low[1] < high[1]) {
        int32_t middle[2];
        int64_t found[2];
        for (int64_t n = 0; n < 2; ++n) middle[n] = int32_t(low[n] + ((high[n] - low[n]) >> 1));
        counted(keys, count, middle, found);
        for (int64_t n = 0; n < 2; ++n) {
            if (low[n] == high[n]) continue;
            if (found[n] >= places[n]) {
                high[n] = middle[n];
            } else {
                low[n] = int64_t(middle[n]) + 1;
            }
        }
    }
    for (int64_t n = 0; n < 2; ++n) {
        int32_t bits = int32_t(low[n]);
        bits ^= (bits >> 31) & 0x7fffffff;
        std::memcpy(values + n, &bits, sizeof bits);
    }
}

struct Job {
    const Sizes& size;
    const Basis& basis;
    const Scratch& scratch;

    // prox(x), a whole number of vectors at a time and what is left over one by one
    void shrink(const float* x, const Layer& layer) const {
        const int64_t count = size.height * size.width;
        float threshold = layer.first, rate = 0;
        if (layer.low) {
            int64_t i = 0;
            for (; i + LANES <= count; i += LANES) {
                Whole bits;
                std::memcpy(&bits, x + i, sizeof bits);
                bits = ordered(bits);
                std::memcpy(scratch.keys + i, &bits, sizeof bits);
            }
            for (; i < count; ++i) {
                Whole bits = {};
                std::memcpy(&bits, x + i, sizeof *x);
                scratch.keys[i] = ordered(bits)[0];
            }
            const int64_t places[2] = {layer.low, count + 1 - layer.high};
            float percentiles[2];
            ranked(scratch.keys, count, places, percentiles);
            threshold = percentiles[0] + layer.first * (percentiles[1] - percentiles[0]);
            const bool none = threshold < 1e-14f;
            rate = none ? layer.second : layer.second / threshold;
            threshold = none ? 0 : threshold;
        }
        const auto some = [&](Wide z) {
            const Wide zero = {};
            if (!layer.low) {
                const Wide left = z - threshold;
                return left > zero ? left : zero;
            }
            const Wide kept = z > zero ? z : zero, most = zero + 80.0f;
            Wide u = rate * (threshold - kept);
            u = u > most ? most : u;
            u = u < -most ? -most : u;
            return kept / (1.0f + exponential(u));
        };
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) store(scratch.shrunk + i, some(load(x + i)));
        if (i == count) return;
        float rest[LANES] = {};
        std::copy(x + i, x + count, rest);
        store(rest, some(load(rest)));
        std::copy(rest, rest + count - i, scratch.shrunk + i);
    }

    // The sums and differences of what lies as far from the middle on either side.
    void fold(const float* image) const {
        const int64_t half = size.height / 2, middle = size.half, wide = 2 * size.padded_half;
        for (int64_t i = 0; i < half; ++i) {
            const float *above = image + (half - 1 - i) * size.width, *below = image + (half + i) * size.width;
            float *even = scratch.parts + i * wide, *odd = even + half * wide;
            for (int64_t j = 0; j < middle; ++j) {
                const float left = below[middle - 1 - j], right = below[middle + j], other_left = above[middle - 1 - j], other_right = above[middle + j];
                even[j] = (right + left) + (other_right + other_left);
                even[j + size.padded_half] = (right - left) + (other_right - other_left);
                odd[j] = (right + left) - (other_right + other_left);
                odd[j + size.padded_half] = (right - left) - (other_right - other_left);
            }
        }
    }

    // The parts, multiplied in the transform domain, in place
    void multiply(const float* spectrum) const {
        const int64_t half = size.height / 2, wide = 2 * size.padded_half;
        for (int64_t a = 0; a < 2; ++a) {
            const float* down = basis.down + a * size.rows * half;
            float *parts = scratch.parts + a * half * wide, *between = scratch.between;
            product(down, half, 1, parts, wide, between, wide, size.rows, half, wide);
            for (int64_t b = 0; b < 2; ++b) {
                float *part = between + b * size.padded_half, *found = scratch.transform;
                const float* factors = spectrum + (2 * a + b) * size.rows * size.padded;
                product(part, wide, 1, basis.turned + b * size.half * size.padded, size.padded, found, size.padded, size.rows, size.half, size.padded);
                for (int64_t i = 0; i < size.rows * size.padded; ++i) found[i] *= factors[i];
                const float* across = basis.across + b * size.columns * size.padded_half;
                product(found, size.padded, 1, across, size.padded_half, part, wide, size.rows, size.columns, size.padded_half);
            }
            product(down, 1, half, between, wide, parts, wide, half, size.rows, wide);
        }
    }

    // to = from + the image of the parts; whether all of it is finite
    bool unfold(const float* from, float* to) const {
        const int64_t half = size.height / 2, middle = size.half, wide = 2 * size.padded_half;
        float wrong = 0;
        for (int64_t i = 0; i < half; ++i) {
            const int64_t above = (half - 1 - i) * size.width, below = (half + i) * size.width;
            const float *even = scratch.parts + i * wide, *odd = even + half * wide;
            float sums[4][64];
            for (int64_t begin = 0; begin < middle; begin += 64) {
                const int64_t end = std::min<int64_t>(64, middle - begin);
                for (int64_t j = 0; j < end; ++j) {
                    const float ee = even[begin + j], eo = even[begin + j + size.padded_half], oe = odd[begin + j], oo = odd[begin + j + size.padded_half];
                    sums[0][j] = (ee + eo) + (oe + oo);
                    sums[1][j] = (ee - eo) + (oe - oo);
                    sums[2][j] = (ee + eo) - (oe + oo);
                    sums[3][j] = (ee - eo) - (oe - oo);
                }
                for (int64_t j = 0; j < end; ++j) {
                    const int64_t right = middle + begin + j, left = middle - 1 - begin - j;
                    to[below + right] = from[below + right] + sums[0][j];
                    to[below + left] = from[below + left] + sums[1][j];
                    to[above + right] = from[above + right] + sums[2][j];
                    to[above + left] = from[above + left] + sums[3][j];
                }
            }
        }
        Wide gone = {};
        const int64_t count = size.height * size.width;
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) gone += load(to + i) * 0.0f;  // NaN where one is not finite
        for (; i < count; ++i) wrong += to[i] * 0.0f;
        for (int64_t k = 0; k < LANES; ++k) wrong += gone[k];
        return wrong == 0;
    }
};

}  // namespace

extern "C" {

// problem: images g, which become W_A * g; x: states before, which become those after the last layer. Whether every number on the way was finite; what is left is
// not to be used where not.
int32_t radial_steps(
    float* problem, float* x, int64_t count, const float* analysis, int32_t given, const void* layers, int64_t depth, const void* size, const void* basis,
    const void* scratch
) {
    const Job job{*static_cast<const Sizes*>(size), *static_cast<const Basis*>(basis), *static_cast<const Scratch*>(scratch)};
    const int64_t pixels = job.size.height * job.size.width;
    for (int64_t image = 0; image < count; ++image) {
        float *own = problem + image * pixels, *state = x + image * pixels;
        job.fold(own);
        std::fill(own, own + pixels, 0.0f);
        job.multiply(analysis);
        if (!job.unfold(own, own)) return 0;
        if (!given) {
            std::memcpy(state, own, size_t(pixels) * sizeof(float));
        } else {
            for (int64_t i = 0; i < pixels; ++i) {
                if (!(state[i] * 0.0f == 0.0f)) return 0;
            }
        }
        for (const Layer* layer = static_cast<const Layer*>(layers); layer < static_cast<const Layer*>(layers) + depth; ++layer) {
            job.shrink(state, *layer);
            job.fold(job.scratch.shrunk);
            job.multiply(layer->spectrum);
            if (!job.unfold(own, state)) return 0;
        }
    }
    return 1;
}

}
