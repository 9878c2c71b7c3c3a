// A product of a decoding step: few rows in float32, each as two digits, with weights in int8. See `__init__.py`.
//
// Weights lie as the loop reads them: tiles of 32 outputs, and in a tile four inputs of each output side by side, which
// one instruction (AVX512-VNNI's vpdpbusd) multiplies and adds up. So a core reads them in one stream and adds nothing
// across a register. Digits are unsigned for that instruction: 64 stands for 0, and what it adds is taken off at the end.

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define TILE 32  // outputs of a tile: two registers of 16 sums
#define FOUR 4   // inputs that one instruction adds up
#define ZERO 64
#define FIRST 63.0f
#define SECOND 126.0f

struct product {
    const int8_t *weights;  // (outputs / TILE, inputs / FOUR, TILE, FOUR), both filled up with zeros
    const float *scales;    // of each output, filled up
    const int32_t *sums;    // of each output's weights, ZERO times, filled up
    const float *bias;      // of each output, filled up; or NULL
    const float *norm;      // what to multiply each input with, if rows are to be normed; or NULL
    float least;            // added to a row's sum of squares before it is normed
    int64_t inputs, outputs;
};

// Write a row's two digits, inputs filled up with zeros; give its scale.
static float digits_of(const struct product *p, const float *x, uint8_t *first, uint8_t *second, int64_t filled) {
    __m512 largest = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int64_t at = 0; at < p->inputs; at += 16) {
        __mmask16 here = p->inputs - at < 16 ? (1u << (p->inputs - at)) - 1 : 0xffff;
        __m512 value = _mm512_maskz_loadu_ps(here, x + at);
        squares = _mm512_fmadd_ps(value, value, squares);
        if (p->norm) value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(here, p->norm + at));
        largest = _mm512_max_ps(largest, _mm512_abs_ps(value));
    }
    float step = 1e-30f + _mm512_reduce_max_ps(largest) / FIRST;
    __m512 inverse = _mm512_set1_ps(1.0f / step), zero = _mm512_set1_ps(ZERO), fine = _mm512_set1_ps(SECOND);
    for (int64_t at = 0; at < filled; at += 16) {
        int64_t left = p->inputs - at;
        __mmask16 here = left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1;
        __m512 value = _mm512_maskz_loadu_ps(here, x + at);
        if (p->norm) value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(here, p->norm + at));
        value = _mm512_mul_ps(value, inverse);
        __m512 whole = _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        __m512 rest = _mm512_mul_ps(_mm512_sub_ps(value, whole), fine);
        __m512i a = _mm512_cvtps_epi32(_mm512_add_ps(whole, zero)), b = _mm512_cvtps_epi32(_mm512_add_ps(rest, zero));
        _mm_storeu_si128((__m128i *)(first + at), _mm512_cvtepi32_epi8(a));
        _mm_storeu_si128((__m128i *)(second + at), _mm512_cvtepi32_epi8(b));
    }
    if (!p->norm) return step;
    return step / sqrtf(_mm512_reduce_add_ps(squares) + p->least);
}

// Multiply one tile with the digits of 1 or 2 rows, and write their outputs.
static inline __attribute__((always_inline)) void tile(
    const struct product *p, int64_t number, int64_t filled, const uint8_t *digits, const float *steps,
    const float *plus, float *out, const int rows
) {
    const int8_t *weights = p->weights + number * filled * TILE;
    __m512i sums[4][2];
    #pragma GCC unroll 4
    for (int d = 0; d < 2 * rows; d++) sums[d][0] = sums[d][1] = _mm512_setzero_si512();
    for (int64_t at = 0; at < filled; at += FOUR) {
        __m512i left = _mm512_load_si512(weights + at * TILE), right = _mm512_load_si512(weights + at * TILE + 64);
        #pragma GCC unroll 4
        for (int d = 0; d < 2 * rows; d++) {
            __m512i digit = _mm512_set1_epi32(*(const int32_t *)(digits + d * filled + at));
            sums[d][0] = _mm512_dpbusd_epi32(sums[d][0], digit, left);
            sums[d][1] = _mm512_dpbusd_epi32(sums[d][1], digit, right);
        }
    }
    #pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        int64_t at = number * TILE + half * 16, left = p->outputs - at;
        if (left <= 0) return;
        __mmask16 here = left < 16 ? (1u << left) - 1 : 0xffff;
        __m512i added = _mm512_loadu_si512(p->sums + at);
        #pragma GCC unroll 2
        for (int row = 0; row < rows; row++) {
            __m512 first = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[2 * row][half], added));
            __m512 second = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[2 * row + 1][half], added));
            __m512 sum = _mm512_fmadd_ps(second, _mm512_set1_ps(1.0f / SECOND), first);
            sum = _mm512_mul_ps(_mm512_mul_ps(sum, _mm512_loadu_ps(p->scales + at)), _mm512_set1_ps(steps[row]));
            if (p->bias) sum = _mm512_add_ps(sum, _mm512_loadu_ps(p->bias + at));
            if (plus) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(here, plus + row * p->outputs + at));
            _mm512_mask_storeu_ps(out + row * p->outputs + at, here, sum);
        }
    }
}

// Map rows of `inputs` numbers to rows of `outputs`; give 0, or 1 where there is no memory.
int multiply(const struct product *p, const float *x, int64_t rows, const float *plus, float *out, int threads) {
    int64_t filled = (p->inputs + FOUR * 16 - 1) / (FOUR * 16) * (FOUR * 16), tiles = (p->outputs + TILE - 1) / TILE;
    uint8_t *digits = aligned_alloc(64, 2 * rows * filled + (rows * sizeof(float) + 63) / 64 * 64);
    if (!digits) return 1;
    float *steps = (float *)(digits + 2 * rows * filled);
    for (int64_t row = 0; row < rows; row++) {
        uint8_t *first = digits + 2 * row * filled;
        steps[row] = digits_of(p, x + row * p->inputs, first, first + filled, filled);
    }
    #pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t number = 0; number < tiles; number++) {
        for (int64_t row = 0; row < rows; row += 2) {
            const uint8_t *of_row = digits + 2 * row * filled;
            const float *plus_row = plus ? plus + row * p->outputs : 0;
            float *out_row = out + row * p->outputs;
            if (rows - row > 1) tile(p, number, filled, of_row, steps + row, plus_row, out_row, 2);
            else tile(p, number, filled, of_row, steps + row, plus_row, out_row, 1);
        }
    }
    free(digits);
    return 0;
}
