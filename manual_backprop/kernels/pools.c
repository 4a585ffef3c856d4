/* AvgPool and AdaptiveAvgPool on the CPU in up to three axes, forward and backward.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"

/* One axis. Output p is the sum of the inputs from begin[p] to end[p], divided by count[p]. Input i is in the windows
   from first[i] to last[i]. step > 0: window p begins at step p - padding and has `width` positions, where those
   outside of the axis hold 0. step = 0: windows are irregular. */
typedef struct {
    I inputs, outputs, step, width, padding;
    const I *begin, *end, *count, *first, *last;
} Axis;

/* Reads the axes from a plan of pools.py: the divisor, then five numbers per axis, then the axes' tables. */
static void read_plan(Axis *axes, const I *plan) {
    const I *table = plan + 16;
    for (int k = 0; k < 3; k++) {
        const I *head = plan + 1 + 5 * k;
        const I inputs = head[0], outputs = head[1];
        axes[k] = (Axis){inputs, outputs, head[2], head[3], head[4], table, table + outputs, table + 2 * outputs,
                         table + 3 * outputs, table + 3 * outputs + inputs};
        table += 3 * outputs + 2 * inputs;
    }
}

static inline I larger(I a, I b) { return a > b ? a : b; }

#define SOURCE "pools.c"
#include "types.h"

#else

/* out[p] = sum over window p of `sums`. If windows are regular, `sums` includes the zeros of the padding. */
INLINE void F(along)(REAL *restrict out, const REAL *restrict sums, const Axis *w) {
    const I n = w->outputs, step = w->step;
    if (!step) {
        for (I p = 0; p < n; p++) {
            REAL sum = 0;
            for (I i = w->begin[p]; i < w->end[p]; i++) sum += sums[i];
            out[p] = sum;
        }
        return;
    }
#define ADD(first, step)                                             \
    _Pragma("omp simd") for (I p = 0; p < n; p++) {                  \
        const REAL here = sums[p * (step) + k];                      \
        out[p] = first ? here : out[p] + here;                       \
    }
#define WINDOW(step)               \
    for (I k = 0; k < w->width; k++) \
        if (k == 0) ADD(1, step) else ADD(0, step)
    if (step == 1) WINDOW(1)
    else if (step == 2) WINDOW(2)
    else WINDOW(step)
#undef WINDOW
#undef ADD
}

static void F(mean_first)(STORED *out, const STORED *x, const Axis *axes, I divisor, I planes, I threads) {
    const Axis *a = axes, *b = axes + 1, *w = axes + 2;
    const I width = larger(w->step * (w->outputs - 1) + w->width, w->padding + w->inputs);
#pragma omp parallel num_threads((int)threads)
    {
        REAL *sums = calloc((size_t)(width + w->outputs), sizeof(REAL)), *found = sums + width, *inner = sums + w->padding;
#pragma omp for schedule(static) nowait
        for (I n = 0; n < planes; n++)
            for (I p = 0; p < a->outputs; p++)
                for (I q = 0; q < b->outputs; q++) {
                    int any = 0;
                    for (I i = a->begin[p]; i < a->end[p]; i++)
                        for (I j = b->begin[q]; j < b->end[q]; j++, any = 1) {
                            const STORED *row = x + ((n * a->inputs + i) * b->inputs + j) * w->inputs;
                            if (any)
#pragma omp simd
                                for (I k = 0; k < w->inputs; k++) inner[k] += V(row[k]);
                            else
#pragma omp simd
                                for (I k = 0; k < w->inputs; k++) inner[k] = V(row[k]);
                        }
                    F(along)(found, sums, w);
                    STORED *o = out + ((n * a->outputs + p) * b->outputs + q) * w->outputs;
                    const I counted = a->count[p] * b->count[q];
#pragma omp simd
                    for (I k = 0; k < w->outputs; k++)
                        o[k] = S(found[k] / (REAL)(divisor ? divisor : counted * w->count[k]));
                }
        free(sums);
    }
}

/* pooling.AvgPool.output and AdaptiveAvgPool.output of (planes, *). */
void F(mean_pool)(STORED *out, const STORED *x, const I *plan, I planes, I threads) {
    Axis axes[3];
    read_plan(axes, plan);
    if (planes * axes[0].inputs * axes[1].inputs * axes[2].inputs <= GRAIN) threads = 1;
    F(mean_first)(out, x, axes, plan[0], planes, threads);
}

/* out[i] = sum of the deltas of the windows that contain i. `from` has the deltas, with zeros before and behind. */
INLINE void F(back_along)(STORED *restrict out, const REAL *restrict from, REAL *restrict parts, const Axis *w) {
    const I step = w->step, n = w->inputs;
    if (!step) {
        for (I i = 0; i < n; i++) {
            REAL sum = 0;
            for (I p = w->first[i]; p <= w->last[i]; p++) sum += from[p];
            out[i] = S(sum);
        }
        return;
    }
    /* position j step + e of the padded axis is in the windows j - m with m step + e < width */
    const I size = (n + w->padding + step - 1) / step;
    for (I e = 0; e < step; e++) {
        REAL *part = parts + e * size;
        if (e >= w->width) memset(part, 0, (size_t)size * sizeof(REAL));
        for (I m = 0; m * step + e < w->width; m++)
            if (m)
#pragma omp simd
                for (I j = 0; j < size; j++) part[j] += from[j - m];
            else
#pragma omp simd
                for (I j = 0; j < size; j++) part[j] = from[j];
    }
    const I shift = w->padding;
    if (step == 1)
#pragma omp simd
        for (I i = 0; i < n; i++) out[i] = S(parts[i + shift]);
    else if (step == 2) {
        const REAL *even = parts, *odd = parts + size;
        I i = 0;
        if (shift & 1) out[i++] = S(odd[shift / 2]);
        const I from_j = (i + shift) / 2, pairs = (n - i) / 2;
        STORED *o = out + i;
        even += from_j, odd += from_j;
#pragma omp simd
        for (I j = 0; j < pairs; j++) o[2 * j] = S(even[j]), o[2 * j + 1] = S(odd[j]);
        if ((n - i) & 1) o[2 * pairs] = S(even[pairs]);
    } else
        for (I i = 0; i < n; i++) out[i] = S(parts[(i + shift) % step * size + (i + shift) / step]);
}

static void F(back_first)(STORED *out, const STORED *delta, const Axis *axes, I divisor, I planes, I threads) {
    const Axis *a = axes, *b = axes + 1, *w = axes + 2;
    const I outputs = a->outputs * b->outputs * w->outputs, step = larger(w->step, 1);
    const I before = w->step ? (w->width - 1) / step : 0, size = (w->inputs + w->padding + step - 1) / step;
    const I line = before + larger(w->outputs, size);
#pragma omp parallel num_threads((int)threads)
    {
        REAL *shares = malloc((size_t)outputs * sizeof(REAL));
        REAL *sums = calloc((size_t)(line + step * size), sizeof(REAL)), *inner = sums + before, *parts = sums + line;
#pragma omp for schedule(static) nowait
        for (I n = 0; n < planes; n++) {
            const STORED *d = delta + n * outputs;
            for (I p = 0, at = 0; p < a->outputs; p++)
                for (I q = 0; q < b->outputs; q++, at += w->outputs) {
                    const I counted = a->count[p] * b->count[q];
#pragma omp simd
                    for (I k = 0; k < w->outputs; k++)
                        shares[at + k] = V(d[at + k]) / (REAL)(divisor ? divisor : counted * w->count[k]);
                }
            STORED *o = out + n * a->inputs * b->inputs * w->inputs;
            for (I i = 0; i < a->inputs; i++)
                for (I j = 0; j < b->inputs; j++, o += w->inputs) {
                    if (j && b->first[j] == b->first[j - 1] && b->last[j] == b->last[j - 1]) {
                        memcpy(o, o - w->inputs, (size_t)w->inputs * sizeof(STORED));
                        continue;
                    }
                    int any = 0;
                    for (I p = a->first[i]; p <= a->last[i]; p++)
                        for (I q = b->first[j]; q <= b->last[j]; q++, any = 1) {
                            const REAL *row = shares + (p * b->outputs + q) * w->outputs;
                            if (any)
#pragma omp simd
                                for (I k = 0; k < w->outputs; k++) inner[k] += row[k];
                            else
                                memcpy(inner, row, (size_t)w->outputs * sizeof(REAL));
                        }
                    if (any) F(back_along)(o, inner, parts, w);
                    else memset(o, 0, (size_t)w->inputs * sizeof(STORED));
                }
        }
        free(shares), free(sums);
    }
}

static void F(back_last)(STORED *out, const STORED *delta, const Axis *axes, I divisor, I batch, I channels, I threads) {
    const Axis *a = axes, *b = axes + 1, *w = axes + 2;
#pragma omp parallel for collapse(3) schedule(static) num_threads((int)threads)
    for (I n = 0; n < batch; n++)
        for (I i = 0; i < a->inputs; i++)
            for (I j = 0; j < b->inputs; j++)
                for (I k = 0; k < w->inputs; k++) {
                    STORED *o = out + (((n * a->inputs + i) * b->inputs + j) * w->inputs + k) * channels;
                    for (I c = 0; c < channels; c += LANES) {
                        const int lanes = channels - c < LANES ? (int)(channels - c) : LANES;
                        REAL sum[LANES] = {0};
                        for (I p = a->first[i]; p <= a->last[i]; p++)
                            for (I q = b->first[j]; q <= b->last[j]; q++)
                                for (I t = w->first[k]; t <= w->last[k]; t++) {
                                    const STORED *d =
                                        delta + (((n * a->outputs + p) * b->outputs + q) * w->outputs + t) * channels + c;
                                    const REAL share =
                                        1 / (REAL)(divisor ? divisor : a->count[p] * b->count[q] * w->count[t]);
                                    if (lanes == LANES)
#pragma omp simd
                                        for (int l = 0; l < LANES; l++) sum[l] += V(d[l]) * share;
                                    else
                                        for (int l = 0; l < lanes; l++) sum[l] += V(d[l]) * share;
                                }
                        if (lanes == LANES)
#pragma omp simd
                            for (int l = 0; l < LANES; l++) o[c + l] = S(sum[l]);
                        else
                            for (int l = 0; l < lanes; l++) o[c + l] = S(sum[l]);
                    }
                }
}

/* pooling.AvgPool.delta_input and AdaptiveAvgPool.delta_input of (planes, *), or if channels > 0 of (planes, *,
   channels). */
void F(mean_pool_delta_input)(STORED *out, const STORED *delta, const I *plan, I planes, I channels, I threads) {
    Axis axes[3];
    read_plan(axes, plan);
    if (planes * larger(channels, 1) * axes[0].inputs * axes[1].inputs * axes[2].inputs <= GRAIN) threads = 1;
    if (channels) F(back_last)(out, delta, axes, plan[0], planes, channels, threads);
    else F(back_first)(out, delta, axes, plan[0], planes, threads);
}

#endif
