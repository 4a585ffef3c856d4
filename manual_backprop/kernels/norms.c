/* Normalizations of each sample on the CPU, forward and backward: each row is in cache for all of its steps.

   Each function takes the number of threads last. types.h includes this file again for each type. Weights, statistics
   and gradients of weights are REAL for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "norms.c"
#include "types.h"

#else

/* total[k] = sum over t of parts[t step + k], added in the order of t. */
static void F(add_parts)(REAL *total, const double *parts, I n, I step, I count) {
    for (I k = 0; k < n; k++) {
        double sum = 0;
        for (I t = 0; t < count; t++) sum += parts[t * step + k];
        total[k] = (REAL)sum;
    }
}

/* For one row: if `moved`, out = a d w + b (x - middle) + c, plus e if `besides`; if `summed`, sum += d and
   dot += d (x - middle) scale. */
INLINE void F(norm_row)(STORED *restrict out, REAL *restrict sum, REAL *restrict dot, const STORED *d, const STORED *e,
                        const STORED *x, const REAL *weight, REAL a, REAL b, REAL c, REAL middle, REAL scale, I n,
                        int moved, int besides, int weighted, int summed) {
#pragma omp simd
    for (I i = 0; i < n; i++) {
        const REAL delta = V(d[i]), off = V(x[i]) - middle;
        if (moved) {
            const REAL through = a * (weighted ? delta * weight[i] : delta) + (b * off + c);
            out[i] = S(besides ? V(e[i]) + through : through);
        }
        if (summed) sum[i] += delta, dot[i] += delta * (off * scale);
    }
}

/* normalization.LayerNorm.derivatives of rows of n elements; with mean NULL, RMSNorm.derivatives. out (delta_input),
   sums (grad_bias) and dots (grad_weight) are NULL if not needed. weight may be NULL. With `besides`, which is delta_s,
   residual.AddLayerNorm.derivatives and AddRMSNorm.derivatives. */
void F(norm_derivatives)(STORED *out, REAL *sums, REAL *dots, const STORED *delta, const STORED *besides,
                         const STORED *x, const REAL *weight, const REAL *mean, const REAL *invstd, I rows, I n,
                         I threads) {
    const int total = sums || dots;
    if (rows * n <= GRAIN) threads = 1;
    double *parts = total ? calloc((size_t)(2 * threads * n), sizeof(double)) : NULL;
    REAL *blocks = total ? malloc((size_t)(2 * threads * n) * sizeof(REAL)) : NULL;
    const int around = out && AROUND(STORED, out, n, rows * n);
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        REAL *sum = blocks + 2 * t * n, *dot = sum + n;
        STORED part[PART] __attribute__((aligned(PART)));
        const I stop = rows * (t + 1) / threads;
        for (I from = rows * t / threads; from < stop; from += ROWS) {
            const I to = from + ROWS < stop ? from + ROWS : stop;
            if (total) memset(sum, 0, (size_t)(2 * n) * sizeof(REAL));
            for (I r = from; r < to; r++) {
                const STORED *d = delta + r * n, *e = besides + r * n, *v = x + r * n;
                STORED *o = out + r * n;
                const REAL middle = mean ? mean[r] : 0, scale = invstd[r];
                double along_one = 0, along_x = 0;
                REAL a = 0, b = 0, c = 0;
                if (out) {
                    if (weight)
                        SUMS(along_one, along_x, n, V(d[i]) * weight[i], V(d[i]) * weight[i] * (V(v[i]) - middle))
                    else
                        SUMS(along_one, along_x, n, V(d[i]), V(d[i]) * (V(v[i]) - middle))
                    const double slope = -(double)scale * scale * scale * along_x / n;
                    a = scale, b = (REAL)slope, c = (REAL)(mean ? -scale * along_one / n : 0);
                }
#define ROW(moved, added, weighted, summed)                                                                    \
    if (moved && around)                                                                                       \
        for (I at = 0; at < n; at += PART) {                                                                   \
            F(norm_row)(part, (summed) ? sum + at : NULL, (summed) ? dot + at : NULL, d + at, e + at, v + at,  \
                        (weighted) ? weight + at : NULL, a, b, c, middle, scale, PART, moved, added, weighted, \
                        summed);                                                                               \
            stream(o + at, part, sizeof part);                                                                 \
        }                                                                                                      \
    else                                                                                                       \
        F(norm_row)(o, sum, dot, d, e, v, weight, a, b, c, middle, scale, n, moved, added, weighted, summed)
#define ROWS_OF(weighted, summed)                            \
    if (besides) { ROW(1, 1, weighted, summed); }            \
    else { ROW(1, 0, weighted, summed); }
                if (out && weight && total) { ROWS_OF(1, 1) }
                else if (out && weight) { ROWS_OF(1, 0) }
                else if (out && total) { ROWS_OF(0, 1) }
                else if (out) { ROWS_OF(0, 0) }
                else if (total) { ROW(0, 0, 0, 1); }
#undef ROWS_OF
#undef ROW
            }
            if (total)
                for (I k = 0; k < 2 * n; k++) parts[2 * t * n + k] += sum[k];
        }
        streamed();
    }
    if (sums) F(add_parts)(sums, parts, n, 2 * n, threads);
    if (dots) F(add_parts)(dots, parts + n, n, 2 * n, threads);
    free(parts), free(blocks);
}

/* The row to normalize: x, or if `other` is not NULL `summed`, to which x + other is written. */
#define SUMMED                                                                                  \
    const STORED *v = x + r * n;                                                                \
    if (other) {                                                                                \
        const STORED *a = v, *b = other + r * n;                                                \
        STORED *s = summed + r * n;                                                             \
        EACH(n, s[i] = S(V(a[i]) + V(b[i])))                                                    \
        v = s;                                                                                  \
    }

/* normalization.LayerNorm.normalized of rows of n elements, in two passes, which avoids cancellation. weight and bias
   may be NULL; eps is passed by address. With `other`, residual.AddLayerNorm.outputs. */
void F(layer_norm)(STORED *out, STORED *summed, REAL *mean, REAL *invstd, const STORED *x, const STORED *other,
                   const REAL *weight, const REAL *bias, const double *eps, I rows, I n, I threads) {
    EACH_ROW(rows, n, {
        SUMMED
        double sum = 0, square = 0;
        SUM(sum, n, V(v[i]))
        const REAL middle = (REAL)(sum / n);
        SUM(square, n, (V(v[i]) - middle) * (V(v[i]) - middle))
        const REAL scale = (REAL)(1 / sqrt(square / n + *eps));
        mean[r] = middle, invstd[r] = scale;
        if (weight && bias) OUT(o, n, around, S((V(v[i]) - middle) * scale * weight[i] + bias[i]))
        else if (weight) OUT(o, n, around, S((V(v[i]) - middle) * scale * weight[i]))
        else if (bias) OUT(o, n, around, S((V(v[i]) - middle) * scale + bias[i]))
        else OUT(o, n, around, S((V(v[i]) - middle) * scale))
    })
}

/* normalization.RMSNorm.normalized and .invrms of rows of n elements. out or invrms is NULL if not needed; weight may
   be NULL; eps is passed by address. With `other`, residual.AddRMSNorm.outputs. */
void F(rms_norm)(STORED *out, STORED *summed, REAL *invrms, const STORED *x, const STORED *other, const REAL *weight,
                 const double *eps, I rows, I n, I threads) {
    const int asked = out != NULL;
    EACH_ROW(rows, n, {
        SUMMED
        double square = 0;
        SUM(square, n, V(v[i]) * V(v[i]))
        const REAL scale = (REAL)(1 / sqrt(square / n + *eps));
        if (invrms) invrms[r] = scale;
        if (!asked) continue;
        if (weight) OUT(o, n, around, S(V(v[i]) * scale * weight[i]))
        else OUT(o, n, around, S(V(v[i]) * scale))
    })
}

/* normalization.GroupNorm.derivatives of (N, C, positions). out, sums (grad_bias) and dots (grad_weight) are NULL if
   not needed. weight may be NULL. */
void F(group_norm_derivatives)(STORED *out, REAL *sums, REAL *dots, const STORED *delta, const STORED *x,
                               const REAL *weight, const REAL *mean, const REAL *invstd, I batch, I channels,
                               I positions, I groups, I threads) {
    const I each = channels / groups, size = each * positions;
    const int asked = out != NULL, runs = AROUND(STORED, out, positions, batch * channels * positions);
    double *parts = malloc((size_t)(2 * batch * channels) * sizeof(double));
    EACH_ROW(batch * groups, size, {
        const I first = r / groups * channels + r % groups * each; /* of the rows of this group */
        const REAL middle = mean[r], scale = invstd[r], *w = weight ? weight + r % groups * each : NULL;
        double along_one = 0, along_x = 0;
        for (I c = 0; c < each; c++) {
            const STORED *d = delta + (first + c) * positions, *v = x + (first + c) * positions;
            double sum = 0, dot = 0;
            SUMS(sum, dot, positions, V(d[i]), V(d[i]) * (V(v[i]) - middle))
            dot *= scale;
            parts[r / groups * 2 * channels + r % groups * each + c] = sum;
            parts[(r / groups * 2 + 1) * channels + r % groups * each + c] = dot;
            along_one += w ? w[c] * sum : sum, along_x += w ? w[c] * dot : dot;
        }
        if (!asked) continue;
        const REAL b = (REAL)(-(double)scale * scale * along_x / size);
        const REAL shift = (REAL)(-scale * along_one / size);
        for (I c = 0; c < each; c++) {
            const STORED *d = delta + (first + c) * positions, *v = x + (first + c) * positions;
            const REAL a = w ? w[c] * scale : scale;
            STORED *at = o + c * positions;
            OUT(at, positions, runs, S(a * V(d[i]) + (b * (V(v[i]) - middle) + shift)))
        }
    })
    if (sums) F(add_parts)(sums, parts, channels, 2 * channels, batch);
    if (dots) F(add_parts)(dots, parts + channels, channels, 2 * channels, batch);
    free(parts);
}

#endif
