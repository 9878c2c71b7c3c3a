// Attention of a step of one column a row: turn queries and keys, keep keys and values, and attend. See `block.py`.

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define LANES 16  // numbers in a register; heads are as wide as some registers

struct attention {
    int64_t queries, keys, width;  // heads of each, and how wide all are
    float scale;                   // of scores
};

// Turn a head: pairs of numbers are complex, and multiplied by as many on the unit circle.
static void turn(const float *x, const float *by, int64_t width, float scale, float *out) {
    for (int64_t at = 0; at < width; at += 2) {
        out[at] = scale * (x[at] * by[at] - x[at + 1] * by[at + 1]);
        out[at + 1] = scale * (x[at] * by[at + 1] + x[at + 1] * by[at]);
    }
}

// e to the x, for x <= 0, to the last bits of a float: a power of two times a polynomial.
static inline __m512 exponential(__m512 x) {
    x = _mm512_mul_ps(_mm512_max_ps(x, _mm512_set1_ps(-200.0f)), _mm512_set1_ps(1.44269504f));
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), sum;
    __m512 f = _mm512_mul_ps(_mm512_sub_ps(x, whole), _mm512_set1_ps(0.69314718f));
    sum = _mm512_set1_ps(1.0f / 720);
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 120));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 24));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 6));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(0.5f));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

// Put weights in place of `count` scores, not yet divided by their sum; give it. Room is filled up to whole registers.
static float weigh(float *scores, int64_t count) {
    __m512 largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (int64_t at = count; at % LANES; at++) scores[at] = -INFINITY;
    for (int64_t at = 0; at < count; at += LANES) largest = _mm512_max_ps(largest, _mm512_loadu_ps(scores + at));
    largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    for (int64_t at = 0; at < count; at += LANES) {
        __m512 score = _mm512_loadu_ps(scores + at);
        __mmask16 seen = _mm512_cmp_ps_mask(score, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
        __m512 weight = _mm512_maskz_mov_ps(seen, exponential(_mm512_sub_ps(score, largest)));
        _mm512_storeu_ps(scores + at, weight);
        sum = _mm512_add_ps(sum, weight);
    }
    return _mm512_reduce_add_ps(sum);
}

// One query: `scores` is room for as many numbers as there are positions, filled up.
static void attend_one(
    const float *query, const float *keys, const float *values, const float *mask, int64_t seen, int64_t width,
    float *scores, float *out
) {
    for (int64_t p = 0; p < seen; p++) {
        __m512 sum = _mm512_setzero_ps();
        scores[p] = -INFINITY;
        if (mask[p] == -INFINITY) continue;
        for (int64_t w = 0; w < width; w += LANES)
            sum = _mm512_fmadd_ps(_mm512_loadu_ps(query + w), _mm512_loadu_ps(keys + p * width + w), sum);
        scores[p] = _mm512_reduce_add_ps(sum) + mask[p];
    }
    __m512 by = _mm512_set1_ps(1.0f / weigh(scores, seen));
    for (int64_t w = 0; w < width; w += 4 * LANES) {
        int64_t registers = (width - w) / LANES < 4 ? (width - w) / LANES : 4;
        __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        if (registers == 4) {  // the usual width, in registers
            for (int64_t p = 0; p < seen; p++)
                for (int r = 0; r < 4; r++) {
                    __m512 value = _mm512_loadu_ps(values + p * width + w + r * LANES);
                    sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(scores[p]), value, sums[r]);
                }
        } else {
            for (int64_t p = 0; p < seen; p++)
                for (int64_t r = 0; r < registers; r++) {
                    __m512 value = _mm512_loadu_ps(values + p * width + w + r * LANES);
                    sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(scores[p]), value, sums[r]);
                }
        }
        for (int64_t r = 0; r < registers; r++) _mm512_storeu_ps(out + w + r * LANES, _mm512_mul_ps(sums[r], by));
    }
}

// Let rows attend. Heads are queries, keys and values, (rows, all heads, width); turns are (rows, width); memories are
// (rows, keys, positions, width); a row's keys and values are kept at `at`; masks are added, (rows, seen); out is (rows,
// queries, width). Give 0, or 1 where there is no memory.
int attend(
    const struct attention *a, const float *heads, const float *turns, float *key_memory, float *value_memory,
    int64_t positions, const int64_t *at, const float *masks, int64_t seen, int64_t rows, float *out, int threads
) {
    int64_t width = a->width, group = a->queries / a->keys, all = a->queries + 2 * a->keys;
    int64_t room = (seen + LANES - 1) / LANES * LANES + width;
    float *scratch = malloc(rows * a->keys * room * sizeof(float));
    if (!scratch) return 1;
    #pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t task = 0; task < rows * a->keys; task++) {
        int64_t row = task / a->keys, head = task % a->keys, first = (row * a->keys + head) * positions * width;
        const float *of_row = heads + row * all * width, *by = turns + row * width;
        const float *value = of_row + (a->queries + a->keys + head) * width;
        float *keys = key_memory + first, *values = value_memory + first;
        float *query = scratch + task * room, *scores = query + width;
        turn(of_row + (a->queries + head) * width, by, width, 1.0f, keys + at[row] * width);
        for (int64_t w = 0; w < width; w++) values[at[row] * width + w] = value[w];
        for (int64_t g = head * group; g < (head + 1) * group; g++) {
            turn(of_row + g * width, by, width, a->scale, query);
            attend_one(query, keys, values, masks + row * seen, seen, width, scores, out + (row * a->queries + g) * width);
        }
    }
    free(scratch);
    return 0;
}
