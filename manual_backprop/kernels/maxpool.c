/* Max-pooling on the CPU in up to three axes, forward and backward.

   The number of threads comes last, and no result depends on it; the file is read once for itself and once for each type
   (types.h). "last" says how the axes lie in memory: 1 for (N, *, C), "channels last", 0 for (N, C, *). */

#ifndef STORED

#include "rows.h"

/* Along each of three axes. */
typedef struct {
    I batch, channels, outputs[3], inputs[3], window[3], stride[3], padding[3], dilation[3];
} Windows;

/* Where a window begins along an axis, and the first and the last of its steps that lie inside the input. */
typedef struct {
    I begin, first, last;
} Steps;

INLINE Steps steps(const Windows *w, int axis, I p) {
    const I begin = p * w->stride[axis] - w->padding[axis], by = w->dilation[axis];
    const I room = (w->inputs[axis] - 1 - begin) / by, most = w->window[axis] - 1;
    return (Steps){begin, begin >= 0 ? 0 : (-begin + by - 1) / by, room < most ? room : most};
}

#define SOURCE "maxpool.c"
#include "types.h"

#else

/* The largest of a window in neighbouring channels, or (C = 1) of windows `apart` from each other along a row, and which
   place of the window it has. x: where the window begins, maybe before the input. */
INLINE void F(largest)(STORED *out, uint8_t *winner, const STORED *x, const Windows *w, Steps a, Steps b, Steps c, I C,
                       I apart, int lanes) {
    REAL best[LANES];
    int won[LANES]; /* as wide as a float: compares and selects of both stay in the same registers */
    const I right = w->dilation[2] * C, down = w->dilation[1] * w->inputs[2] * C;
    const I deep = w->dilation[0] * w->inputs[1] * w->inputs[2] * C;
    const STORED *begin = x + a.first * deep + b.first * down + c.first * right;
    const int place = (int)((a.first * w->window[1] + b.first) * w->window[2] + c.first);
#pragma omp simd
    for (int l = 0; l < lanes; l++) best[l] = V(begin[l * apart]), won[l] = place;
    for (I i = a.first; i <= a.last; i++)
        for (I j = b.first; j <= b.last; j++) {
            const int first = i == a.first && j == b.first;
            for (I k = c.first + first; k <= c.last; k++) {
                const STORED *v = x + i * deep + j * down + k * right;
                const int here = (int)((i * w->window[1] + j) * w->window[2] + k);
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
#pragma omp simd
    for (int l = 0; l < lanes; l++) out[l] = S(best[l]), winner[l] = (uint8_t)won[l];
}

/* pooling.MaxPool.winners: the largest of each window: NaN counts as largest, the last of several; else the first. */
void F(max_pool_winners)(STORED *out, uint8_t *winner, const STORED *x, const Windows *w, I last, I threads) {
    const I *outputs = w->outputs, *inputs = w->inputs;
    const I width = inputs[2], C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    if (planes * C * inputs[0] * inputs[1] * width <= GRAIN) threads = 1;
    /* Windows that lie inside the row from end to end are taken many at a time where channels are not. */
    const I room = width - 1 - (w->window[2] - 1) * w->dilation[2] + w->padding[2];
    I inside[2] = {(w->padding[2] + w->stride[2] - 1) / w->stride[2], room < 0 ? 0 : room / w->stride[2] + 1};
    if (inside[1] > outputs[2]) inside[1] = outputs[2];
    const I count = C > 1 ? 0 : inside[1] - inside[0];
    const I lanes = count >= LANES ? LANES : count >= LANES / 2 ? LANES / 2 : LANES / 4;
    if (count < lanes) inside[1] = inside[0];
#define ALONG(lanes)                                                                                             \
    {                                                                                                            \
        if (w->stride[2] == 1)                                                                                   \
            F(largest)(out + at, winner + at, window, w, a, b, c, 1, 1, lanes);                                  \
        else if (w->stride[2] == 2)                                                                              \
            F(largest)(out + at, winner + at, window, w, a, b, c, 1, 2, lanes);                                  \
        else                                                                                                     \
            F(largest)(out + at, winner + at, window, w, a, b, c, 1, w->stride[2], lanes);                       \
    }
#pragma omp parallel for collapse(3) schedule(static) num_threads((int)threads)
    for (I n = 0; n < planes; n++)
        for (I o = 0; o < outputs[0]; o++)
            for (I p = 0; p < outputs[1]; p++) {
                const Steps a = steps(w, 0, o), b = steps(w, 1, p);
                const STORED *row = x + ((n * inputs[0] + a.begin) * inputs[1] + b.begin) * width * C;
                for (I q = 0; q < outputs[2]; q++) {
                    const int whole = q >= inside[0] && q < inside[1];
                    if (whole && q > inside[1] - lanes) q = inside[1] - lanes; /* the last overlap those before */
                    const Steps c = steps(w, 2, q);
                    const I at = (((n * outputs[0] + o) * outputs[1] + p) * outputs[2] + q) * C;
                    const STORED *window = row + c.begin * C;
                    if (whole) {
                        if (lanes == LANES) ALONG(LANES)
                        else if (lanes == LANES / 2) ALONG(LANES / 2)
                        else ALONG(LANES / 4)
                        q += lanes - 1;
                        continue;
                    }
                    if (C == 1) {
                        F(largest)(out + at, winner + at, window, w, a, b, c, 1, 1, 1);
                        continue;
                    }
                    I k = 0;
                    for (; k + LANES <= C; k += LANES)
                        F(largest)(out + at + k, winner + at + k, window + k, w, a, b, c, C, 1, LANES);
                    if (k < C) F(largest)(out + at + k, winner + at + k, window + k, w, a, b, c, C, 1, (int)(C - k));
                }
            }
#undef ALONG
}

/* pooling.MaxPool.delta_input: every delta goes to the place that has won its window. */
void F(max_pool_delta_input)(STORED *out, const STORED *delta, const uint8_t *winner, const Windows *w, I last,
                             I threads) {
    const I *outputs = w->outputs, *inputs = w->inputs, *window = w->window;
    const I C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    const I places = inputs[0] * inputs[1] * inputs[2], size = places * C;
    const int wide = sizeof(STORED) != sizeof(REAL); /* sums are rounded once */
    I jumps[256]; /* from where a window begins to each of its places; elsewhere, out of the input */
    for (I k = 0; k < 256; k++) {
        const I right = k % window[2] * w->dilation[2], row = k / window[2];
        const I down = row % window[1] * w->dilation[1], deep = row / window[1] * w->dilation[0];
        jumps[k] = row < window[0] * window[1] ? (deep * inputs[1] + down) * inputs[2] + right : places;
    }
    if (planes * size <= GRAIN) threads = 1;
#pragma omp parallel num_threads((int)threads)
    {
        REAL *sums = wide ? malloc((size_t)size * sizeof(REAL)) : NULL;
#pragma omp for schedule(static)
        for (I n = 0; n < planes; n++) {
            STORED *to = out + n * size;
            REAL *restrict plane = wide ? sums : (REAL *)to;
            memset(plane, 0, (size_t)size * sizeof(REAL));
            for (I o = 0, at = n * outputs[0] * outputs[1] * outputs[2] * C; o < outputs[0]; o++)
                for (I p = 0; p < outputs[1]; p++)
                    for (I q = 0; q < outputs[2]; q++, at += C) {
                        const Steps a = steps(w, 0, o), b = steps(w, 1, p), c = steps(w, 2, q);
                        if (a.first > a.last || b.first > b.last || c.first > c.last) continue; /* it holds nothing */
                        const I begin = (a.begin * inputs[1] + b.begin) * inputs[2] + c.begin;
                        for (I k = 0; k < C; k++) {
                            const uint64_t i = (uint64_t)(begin + jumps[winner[at + k]]);
                            if (i < (uint64_t)places) plane[(I)i * C + k] += V(delta[at + k]);
                        }
                    }
            if (wide)
#pragma omp simd
                for (I i = 0; i < size; i++) to[i] = S(sums[i]);
        }
        free(sums);
    }
}

#endif
