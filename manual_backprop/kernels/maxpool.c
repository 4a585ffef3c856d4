/* Max-pooling on the CPU in up to three axes, forward and backward.

   Each function takes the number of threads last; no result depends on it. types.h includes this file again for each
   type. `last` is the memory layout: 1 for (N, *, C), "channels last", 0 for (N, C, *). */

#ifndef STORED

#include "rows.h"

/* The sizes and options of a pooling, for each of three axes. */
typedef struct {
    I batch, channels, outputs[3], inputs[3], window[3], stride[3], padding[3], dilation[3];
} Windows;

#define PLACES 256 /* most positions in a window */

/* Where a window begins along an axis, and the first and last of its steps that are inside the input. */
typedef struct {
    I begin, first, last;
} Steps;

/* The Steps of all windows, axis after axis; axes[k] is set to the first of axis k. */
static Steps *all_steps(const Windows *w, const Steps **axes) {
    Steps *all = malloc((size_t)(w->outputs[0] + w->outputs[1] + w->outputs[2]) * sizeof(Steps)), *to = all;
    for (int k = 0; k < 3; k++) {
        axes[k] = to;
        for (I p = 0; p < w->outputs[k]; p++, to++) {
            const I begin = p * w->stride[k] - w->padding[k], by = w->dilation[k];
            const I room = (w->inputs[k] - 1 - begin) / by, most = w->window[k] - 1;
            *to = (Steps){begin, begin >= 0 ? 0 : (-begin + by - 1) / by, room < most ? room : most};
        }
    }
    return all;
}

/* The distance from a position in a window to the next one along each axis: in memory, and in the numbering of
   positions. */
typedef struct {
    I far[3];
    int count[3];
} Next;

#define SOURCE "maxpool.c"
#include "types.h"

#else

/* The largest element of a window and its position in the window. `lanes` results at once: for neighbouring channels,
   or if C = 1 for windows along a row, which are `apart` elements from each other. x is where the window begins, which
   may be before the input. */
INLINE void F(largest)(STORED *out, uint8_t *winner, const STORED *x, Next next, Steps a, Steps b, Steps c, I apart,
                       int lanes) {
    REAL best[LANES];
    int won[LANES]; /* as wide as a float: compares and selects of both stay in the same registers */
    const I right = next.far[2];
    x += a.first * next.far[0] + b.first * next.far[1] + c.first * right;
    int place = (int)a.first * next.count[0] + (int)b.first * next.count[1] + (int)c.first;
#pragma omp simd
    for (int l = 0; l < lanes; l++) best[l] = V(x[l * apart]), won[l] = place;
    I first = 1;
    for (I i = a.first; i <= a.last; i++, x += next.far[0], place += next.count[0]) {
        const STORED *row = x;
        int before = place;
        for (I j = b.first; j <= b.last; j++, row += next.far[1], before += next.count[1], first = 0) {
            const STORED *v = row + first * right;
            int here = before + (int)first;
            for (I k = c.first + first; k <= c.last; k++, v += right, here++) {
#pragma omp simd
                for (int l = 0; l < lanes; l++) {
                    const REAL y = V(v[l * apart]);
                    const int smaller = y <= best[l];
                    const int stays = smaller | ((best[l] != best[l]) & (y == y));
                    best[l] = stays ? best[l] : y;
                    won[l] = stays ? won[l] : here;
                }
            }
        }
    }
#pragma omp simd
    for (int l = 0; l < lanes; l++) out[l] = S(best[l]), winner[l] = (uint8_t)won[l];
}

/* pooling.MaxPool.winners: the largest element of each window. NaN counts as largest. Of several NaN the last wins, of
   several equal largest elements the first. */
void F(max_pool_winners)(STORED *out, uint8_t *winner, const STORED *x, const Windows *w, I last, I threads) {
    const I *outputs = w->outputs, *inputs = w->inputs, most = w->window[2] - 1;
    const I width = inputs[2], C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    if (planes * C * inputs[0] * inputs[1] * width <= GRAIN) threads = 1;
    /* Channels first: windows that are entirely inside the row are computed several at a time. */
    const I room = width - 1 - most * w->dilation[2] + w->padding[2];
    I whole[2] = {(w->padding[2] + w->stride[2] - 1) / w->stride[2], room < 0 ? 0 : room / w->stride[2] + 1};
    if (whole[1] > outputs[2]) whole[1] = outputs[2];
    const I count = whole[1] - whole[0];
    const I lanes = count >= LANES ? LANES : count >= LANES / 2 ? LANES / 2 : LANES / 4;
    const int along = C == 1 && count >= lanes;
#define ALONG(lanes)                                                                                             \
    {                                                                                                            \
        if (w->stride[2] == 1)                                                                                   \
            F(largest)(out + at, winner + at, window, next, a, b, c, 1, lanes);                                        \
        else if (w->stride[2] == 2)                                                                              \
            F(largest)(out + at, winner + at, window, next, a, b, c, 2, lanes);                                        \
        else                                                                                                     \
            F(largest)(out + at, winner + at, window, next, a, b, c, w->stride[2], lanes);                             \
    }
    const Steps *axes[3], *all = all_steps(w, axes);
    const Next next = {{w->dilation[0] * inputs[1] * width * C, w->dilation[1] * width * C, w->dilation[2] * C},
                       {(int)(w->window[1] * w->window[2]), (int)w->window[2], 1}};
#pragma omp parallel for collapse(3) schedule(static) num_threads((int)threads)
    for (I n = 0; n < planes; n++)
        for (I o = 0; o < outputs[0]; o++)
            for (I p = 0; p < outputs[1]; p++) {
                const Steps a = axes[0][o], b = axes[1][p];
                for (I q = 0; q < outputs[2]; q++) {
                    const int inside = q >= whole[0] && q < whole[1];
                    if (along && inside && q > whole[1] - lanes) q = whole[1] - lanes; /* overlaps the ones before */
                    const Steps c = axes[2][q];
                    const I at = (((n * outputs[0] + o) * outputs[1] + p) * outputs[2] + q) * C;
                    const STORED *window =
                        x + (((n * inputs[0] + a.begin) * inputs[1] + b.begin) * width + c.begin) * C;
                    if (along && inside) {
                        if (lanes == LANES) ALONG(LANES)
                        else if (lanes == LANES / 2) ALONG(LANES / 2)
                        else ALONG(LANES / 4)
                        q += lanes - 1;
                        continue;
                    }
                    if (C == 1) {
                        F(largest)(out + at, winner + at, window, next, a, b, c, 1, 1);
                        continue;
                    }
                    I k = 0;
                    for (; k + LANES <= C; k += LANES)
                        F(largest)(out + at + k, winner + at + k, window + k, next, a, b, c, 1, LANES);
                    if (k < C) F(largest)(out + at + k, winner + at + k, window + k, next, a, b, c, 1, (int)(C - k));
                }
            }
    free((void *)all);
#undef ALONG
}

/* Adds the deltas of one row of windows to the positions that won. along: the Steps of its windows, or NULL if none of
   them is empty. */
INLINE void F(hand_on)(REAL *restrict plane, const STORED *d, const uint8_t *won, const I *jumps, const Steps *along,
                       I begin, I step, I columns, I C, I size) {
    for (I q = 0; q < columns; q++, begin += step, d += C, won += C) {
        if (along && along[q].first > along[q].last) continue;
        for (I k = 0; k < C; k++) {
            const uint64_t i = (uint64_t)(begin + jumps[won[k]]);
            if (i < (uint64_t)size) plane[i + (uint64_t)k] += V(d[k]);
        }
    }
}

/* pooling.MaxPool.delta_input: every delta is added to the position that won its window. */
void F(max_pool_delta_input)(STORED *out, const STORED *delta, const uint8_t *winner, const Windows *w, I last,
                             I threads) {
    const I *outputs = w->outputs, *inputs = w->inputs, *window = w->window;
    const I C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    const I size = inputs[0] * inputs[1] * inputs[2] * C, columns = outputs[2], step = w->stride[2] * C;
    const int wide = sizeof(STORED) != sizeof(REAL); /* then sums are kept in REAL and rounded once */
    I jumps[PLACES]; /* distance from a window's begin to each of its positions; for other bytes, outside of the input */
    for (I k = 0; k < PLACES; k++) {
        const I right = k % window[2] * w->dilation[2], row = k / window[2];
        const I down = row % window[1] * w->dilation[1], deep = row / window[1] * w->dilation[0];
        jumps[k] = row < window[0] * window[1] ? ((deep * inputs[1] + down) * inputs[2] + right) * C : INT64_MAX / 2;
    }
    if (planes * size <= GRAIN) threads = 1;
    const Steps *axes[3], *all = all_steps(w, axes);
    const Steps *along = w->dilation[2] > inputs[2] ? axes[2] : NULL; /* with such a dilation a window may be empty */
#pragma omp parallel num_threads((int)threads)
    {
        REAL *sums = wide ? malloc((size_t)size * sizeof(REAL)) : NULL;
#pragma omp for schedule(static) nowait
        for (I n = 0; n < planes; n++) {
            STORED *to = out + n * size;
            REAL *restrict plane = wide ? sums : (REAL *)to;
            memset(plane, 0, (size_t)size * sizeof(REAL));
            for (I o = 0, at = n * outputs[0] * outputs[1] * columns * C; o < outputs[0]; o++)
                for (I p = 0; p < outputs[1]; p++, at += columns * C) {
                    const Steps a = axes[0][o], b = axes[1][p];
                    if (a.first > a.last || b.first > b.last) continue; /* these windows are empty */
                    const I begin = ((a.begin * inputs[1] + b.begin) * inputs[2] - w->padding[2]) * C;
                    if (C == 1)
                        F(hand_on)(plane, delta + at, winner + at, jumps, along, begin, step, columns, 1, size);
                    else
                        F(hand_on)(plane, delta + at, winner + at, jumps, along, begin, step, columns, C, size);
                }
            if (wide)
#pragma omp simd
                for (I i = 0; i < size; i++) to[i] = S(sums[i]);
        }
        free(sums);
    }
    free((void *)all);
}

#endif
