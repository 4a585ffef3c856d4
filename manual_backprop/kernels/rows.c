/* Row-wise kernels for the CPU: normalizations, softmax and cross-entropy, a row in cache for all that it needs.

   As in cpu.c the number of threads comes last, and the file is read three times: itself, then for float and double. */

#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN 32768 /* elements below which a second thread costs more than it saves, as in ATen */
#define BLOCK 1024  /* numbers of a row that are summed in their own type before double takes over */
#define ROWS 64     /* the same for rows */

typedef int64_t I;

/* first += sum of f, second += sum of g over 0 <= i < n. */
#define SUMS(first, second, n, f, g)                                       \
    for (I begin = 0; begin < (n); begin += BLOCK) {                       \
        const I end = begin + BLOCK < (n) ? begin + BLOCK : (n);           \
        REAL s = 0, p = 0;                                                 \
        _Pragma("omp simd reduction(+ : s, p)")                            \
        for (I i = begin; i < end; i++) s += f, p += g;                    \
        first += s, second += p;                                           \
    }

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)
#define REAL float
#include "rows.c"
#undef REAL
#define REAL double
#include "rows.c"

#else

#define F(name) NAMED(name, REAL)

/* total[k] = sum over threads t of parts[t n + k], always in the threads' order */
static void F(add_parts)(REAL *total, const double *parts, I n, I threads) {
    for (I k = 0; k < n; k++) {
        double sum = 0;
        for (I t = 0; t < threads; t++) sum += parts[t * n + k];
        total[k] = (REAL)sum;
    }
}

/* out = a d w + b x + c of one row, and sum += d, dot += d (x - middle) scale, where they are asked for */
static inline __attribute__((always_inline)) void F(norm_row)(
    REAL *restrict out, REAL *restrict sum, REAL *restrict dot, const REAL *d, const REAL *x, const REAL *weight,
    REAL a, REAL b, REAL c, REAL middle, REAL scale, I n, int moved, int weighted, int summed) {
#pragma omp simd
    for (I i = 0; i < n; i++) {
        if (moved) out[i] = a * (weighted ? d[i] * weight[i] : d[i]) + (b * x[i] + c);
        if (summed) sum[i] += d[i], dot[i] += d[i] * ((x[i] - middle) * scale);
    }
}

/* normalization.LayerNorm.derivatives, or with mean NULL RMSNorm.derivatives, of rows of n numbers: out NULL, or
   total NULL (behind each other grad_bias and grad_weight), where they are not asked for. weight may be NULL. */
void F(norm_derivatives)(REAL *out, REAL *total, const REAL *delta, const REAL *x, const REAL *weight, const REAL *mean,
                         const REAL *invstd, I rows, I n, I threads) {
    if (rows * n <= GRAIN) threads = 1;
    double *parts = total ? calloc((size_t)(2 * threads * n), sizeof(double)) : NULL;
    REAL *blocks = total ? malloc((size_t)(2 * threads * n) * sizeof(REAL)) : NULL;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        REAL *sum = blocks + 2 * t * n, *dot = sum + n;
        const I stop = rows * (t + 1) / threads;
        for (I from = rows * t / threads; from < stop; from += ROWS) {
            const I to = from + ROWS < stop ? from + ROWS : stop;
            if (total) memset(sum, 0, (size_t)(2 * n) * sizeof(REAL));
            for (I r = from; r < to; r++) {
                const REAL *d = delta + r * n, *v = x + r * n, middle = mean ? mean[r] : 0, scale = invstd[r];
                double along_one = 0, along_x = 0;
                REAL a = 0, b = 0, c = 0;
                if (out) {
                    if (weight)
                        SUMS(along_one, along_x, n, d[i] * weight[i], d[i] * weight[i] * (v[i] - middle))
                    else
                        SUMS(along_one, along_x, n, d[i], d[i] * (v[i] - middle))
                    const double slope = -(double)scale * scale * scale * along_x / n;
                    a = scale, b = (REAL)slope, c = (REAL)(mean ? -scale * along_one / n - slope * middle : 0);
                }
#define ROW(moved, weighted, summed) \
    F(norm_row)(out + r * n, sum, dot, d, v, weight, a, b, c, middle, scale, n, moved, weighted, summed)
                if (out && weight && total) ROW(1, 1, 1);
                else if (out && weight) ROW(1, 1, 0);
                else if (out && total) ROW(1, 0, 1);
                else if (out) ROW(1, 0, 0);
                else if (total) ROW(0, 0, 1);
#undef ROW
            }
            if (total)
                for (I k = 0; k < 2 * n; k++) parts[2 * t * n + k] += sum[k];
        }
    }
    if (total) F(add_parts)(total, parts, 2 * n, threads);
    free(parts), free(blocks);
}

#undef F
#endif
