// What layers of CORONA do frame by frame: correlations of the movie and both parts with small kernels, zeros around, and the shrinkage of entries. movie_steps.py
// compiles this file with the system's compiler and calls it through ctypes. With four to six channels of some dozens of pixels along a side, a library that is made
// for many channels takes several times as long.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// GOMP_parallel of the OpenMP runtime that torch has loaded.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

typedef float Wide __attribute__((vector_size(64)));
constexpr int64_t LANES = 16, BLOCK = 2 * LANES, OUTPUTS = 4;

struct Job {
    const float* inputs[3];  // the movie, tissue and blood, (frames, 2, height, width) each; the last two may be missing
    float* outputs[2];       // tissue and blood, likewise
    const float* weights;    // (inputs, kernel_height, kernel_width, 4)
    const float* bias;       // (4,)
    float* scratch;          // for each thread the channels of a frame with zeros around, (inputs, rows, line)
    int64_t frames, height, width, kernel_height, kernel_width, channels, rows, line;
    std::atomic<int64_t> next, worker;

    void copy(int64_t frame, float* padded) const {
        const int64_t up = kernel_height / 2, left = kernel_width / 2;
        for (int64_t c = 0; c < channels; ++c) {
            const float* from = inputs[c / 2] + (2 * frame + c % 2) * height * width;
            float* to = padded + (c * rows + up) * line + left;
            for (int64_t y = 0; y < height; ++y) std::memcpy(to + y * line, from + y * width, size_t(width) * sizeof(float));
        }
    }

    // Some rows from y on, 32 pixels from x on, of all outputs.
    template <int64_t count>
    void block(const float* padded, int64_t frame, int64_t y, int64_t x) const {
        Wide sums[count][OUTPUTS][2];
        for (auto& row : sums) {
            for (int64_t o = 0; o < OUTPUTS; ++o) row[o][0] = row[o][1] = Wide{} + bias[o];
        }
        const float* weight = weights;
        for (int64_t c = 0; c < channels; ++c) {
            for (int64_t dy = 0; dy < kernel_height; ++dy) {
                const float* from = padded + (c * rows + y + dy) * line + x;
                for (int64_t dx = 0; dx < kernel_width; ++dx, ++from, weight += OUTPUTS) {
                    for (int64_t r = 0; r < count; ++r) {
                        for (int64_t v = 0; v < 2; ++v) {
                            Wide value;
                            std::memcpy(&value, from + r * line + v * LANES, sizeof value);
                            for (int64_t o = 0; o < OUTPUTS; ++o) sums[r][o][v] += weight[o] * value;
                        }
                    }
                }
            }
        }
        const size_t bytes = size_t(std::min(BLOCK, width - x)) * sizeof(float);
        for (int64_t r = 0; r < count; ++r) {
            for (int64_t o = 0; o < OUTPUTS; ++o) {
                std::memcpy(outputs[o / 2] + ((2 * frame + o % 2) * height + y + r) * width + x, sums[r][o], bytes);
            }
        }
    }

    static void work(void* given) {
        auto& job = *static_cast<Job*>(given);
        const int64_t size = job.channels * job.rows * job.line;
        float* padded = job.scratch + job.worker.fetch_add(1) * size;
        std::memset(padded, 0, size_t(size) * sizeof(float));
        for (int64_t frame; (frame = job.next.fetch_add(1)) < job.frames;) {
            job.copy(frame, padded);
            for (int64_t x = 0; x < job.width; x += BLOCK) {
                int64_t y = 0;
                for (; y + 2 <= job.height; y += 2) job.block<2>(padded, frame, y, x);
                if (y < job.height) job.block<1>(padded, frame, y, x);
            }
        }
    }
};

}  // namespace

// sizes: frames, height, width, kernel_height, kernel_width, channels, threads. scratch has threads * channels * (height + kernel_height - 1) * line numbers, line
// being the width up to a multiple of 32, and kernel_width - 1.
extern "C" void movie_convolution(
    const float* const* inputs, float* const* outputs, const float* weights, const float* bias, float* scratch, const int64_t* sizes, Parallel parallel
) {
    Job job{};
    std::copy(inputs, inputs + 3, job.inputs);
    std::copy(outputs, outputs + 2, job.outputs);
    job.weights = weights, job.bias = bias, job.scratch = scratch;
    job.frames = sizes[0], job.height = sizes[1], job.width = sizes[2], job.kernel_height = sizes[3], job.kernel_width = sizes[4], job.channels = sizes[5];
    job.rows = job.height + job.kernel_height - 1;
    job.line = (job.width + BLOCK - 1) / BLOCK * BLOCK + job.kernel_width - 1;
    const unsigned threads = unsigned(sizes[6]);
    if (threads > 1 && parallel != nullptr) {
        parallel(Job::work, &job, threads, 0);
    } else {
        Job::work(&job);
    }
}

// x <- x (1 - share m / |x|^2)_+ of each entry of each movie, (movies, frames, 2, pixels) with real and imaginary parts, m the mean of |x|^2.
extern "C" void movie_garrote(float* x, int64_t movies, int64_t frames, int64_t pixels, float share) {
    for (int64_t movie = 0; movie < movies; ++movie, x += 2 * frames * pixels) {
        double total = 0;
        for (int64_t k = 0; k < 2 * frames; ++k) {
            float sums[LANES] = {};
            int64_t i = 0;
            for (; i + LANES <= pixels; i += LANES) {
                for (int64_t l = 0; l < LANES; ++l) sums[l] += x[k * pixels + i + l] * x[k * pixels + i + l];
            }
            for (; i < pixels; ++i) sums[0] += x[k * pixels + i] * x[k * pixels + i];
            for (float sum : sums) total += sum;
        }
        const float level = share * float(total / double(frames * pixels));
        for (int64_t frame = 0; frame < frames; ++frame) {
            float *real = x + 2 * frame * pixels, *imaginary = real + pixels;
            for (int64_t i = 0; i < pixels; ++i) {
                const float square = real[i] * real[i] + imaginary[i] * imaginary[i];
                const float factor = square <= level ? 0.0f : 1 - level / square;  // not its opposite, which takes NaN for something small
                real[i] *= factor;
                imaginary[i] *= factor;
            }
        }
    }
}
