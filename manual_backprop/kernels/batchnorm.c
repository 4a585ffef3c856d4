/* BatchNorm on the CPU, forward and backward.

   Each function takes the number of threads last. types.h includes this file again for each type. Weights, statistics
   and gradients of weights are REAL for each type. `last` is the memory layout: 1 for (N, positions, C), "channels
   last", 0 for (N, C, positions). */

#ifndef STORED

#include "rows.h"

/* Does something for each run r of n elements that are contiguous in memory and begin at `at`. The run has the
   positions of channel r % channels, or, channels last, one element of each channel. */
#define EACH_RUN(...)                                                                      \
    {                                                                                      \
        const I n = last ? channels : positions, runs = batch * channels * positions / n;  \
        const int around = AROUND(STORED, out, n, runs * n);                               \
        _Pragma("omp parallel num_threads((int)threads)")                                  \
        {                                                                                  \
            _Pragma("omp for schedule(static) nowait")                                     \
            for (I r = 0; r < runs; r++) {                                                 \
                const I at = r * n;                                                        \
                __VA_ARGS__                                                                \
            }                                                                              \
            streamed();                                                                    \
        }                                                                                  \
    }

#define WIDE 64 /* from so many channels on, memory is read in order */

/* For rows of `channels` elements: first[c] = sum of f, second[c] = sum of g, over the rows from begin to end. With
   many channels, memory is read in order. With few, additions to the same sum would wait for each other. So the sums of
   LANES channels stay in registers, and two rows are added at a time to hide the latency. */
#define SUM_ROWS(first, second, f, g)                                                        \
    if (channels >= WIDE) {                                                                  \
        memset(first, 0, (size_t)channels * sizeof(REAL));                                   \
        memset(second, 0, (size_t)channels * sizeof(REAL));                                  \
        for (I r = begin; r < end; r++)                                                      \
            _Pragma("omp simd") for (I c = 0; c < channels; c++) {                           \
                const I i = r * channels + c;                                                \
                first[c] += f, second[c] += g;                                               \
                (void)i;                                                                     \
            }                                                                                \
    } else                                                                                   \
        for (I c0 = 0; c0 < channels; c0 += LANES) {                                         \
            const I lanes = channels - c0 < LANES ? channels - c0 : LANES;                   \
            REAL s[2][LANES] = {0}, p[2][LANES] = {0};                                       \
            I r = begin;                                                                     \
            if (lanes == LANES)                                                              \
                for (; r + 1 < end; r += 2)                                                  \
                    for (int h = 0; h < 2; h++)                                              \
                        _Pragma("omp simd") for (int k = 0; k < LANES; k++) {                \
                            const I c = c0 + k, i = (r + h) * channels + c;                  \
                            s[h][k] += f, p[h][k] += g;                                      \
                            (void)i;                                                         \
                        }                                                                    \
            for (; r < end; r++)                                                             \
                for (int k = 0; k < lanes; k++) {                                            \
                    const I c = c0 + k, i = r * channels + c;                                \
                    s[0][k] += f, p[0][k] += g;                                              \
                    (void)i;                                                                 \
                }                                                                            \
            for (int k = 0; k < lanes; k++)                                                  \
                first[c0 + k] = s[0][k] + s[1][k], second[c0 + k] = p[0][k] + p[1][k];       \
        }

/* Merges `count` elements with mean m and sum of squares about it q into a channel's moments: Chan, Golub, LeVeque
   1979. */
INLINE void merge(double *so_far, double *mean, double *squares, double count, double m, double q) {
    const double all = *so_far + count, step = m - *mean;
    *squares += q + step * step * *so_far * count / all;
    *mean += step * count / all;
    *so_far = all;
}

#define SOURCE "batchnorm.c"
#include "types.h"

#else

static void F(channel_sums_first)(double *sums, const STORED *delta, const STORED *x, const REAL *mean, I batch,
                                  I channels, I positions, I threads) {
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        const REAL middle = mean[c];
        for (I n = 0; n < batch; n++) {
            const STORED *d = delta + (n * channels + c) * positions, *v = x + (n * channels + c) * positions;
            SUMS(sum, product, positions, V(d[i]), V(d[i]) * (V(v[i]) - middle))
        }
        sums[c] = sum, sums[channels + c] = product;
    }
}

/* Each thread sums its own rows. The sums are added in the order of the threads, so results are reproducible. */
static void F(channel_sums_last)(double *sums, const STORED *delta, const STORED *x, const REAL *mean, I rows,
                                 I channels, I threads) {
    double *parts = calloc((size_t)(2 * threads * channels), sizeof(double));
    REAL *blocks = malloc((size_t)(2 * threads * channels) * sizeof(REAL));
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        double *part = parts + 2 * t * channels;
        REAL *sum = blocks + 2 * t * channels, *product = sum + channels;
        const I stop = rows * (t + 1) / threads;
        for (I begin = rows * t / threads; begin < stop; begin += ROWS) {
            const I end = begin + ROWS < stop ? begin + ROWS : stop;
            SUM_ROWS(sum, product, V(delta[i]), V(delta[i]) * (V(x[i]) - mean[c]))
            for (I c = 0; c < 2 * channels; c++) part[c] += sum[c];
        }
    }
    for (I c = 0; c < 2 * channels; c++) {
        sums[c] = 0;
        for (I t = 0; t < threads; t++) sums[c] += parts[2 * t * channels + c];
    }
    free(parts), free(blocks);
}

/* batchnorm.BatchNorm.derivatives: grad_bias = sum of delta, grad_weight = invstd sum of delta (x - mean), and
   delta_input = a delta + b x + c with three numbers for each channel. weight may be NULL. */
void F(batch_norm_derivatives)(STORED *out, REAL *grad_weight, REAL *grad_bias, const STORED *delta, const STORED *x,
                               const REAL *weight, const REAL *mean, const REAL *invstd, I batch, I channels,
                               I positions, I last, I threads) {
    const I count = batch * positions;
    if (count * channels <= GRAIN) threads = 1;
    double *sums = malloc((size_t)(2 * channels) * sizeof(double));
    REAL *a = malloc((size_t)(3 * channels) * sizeof(REAL)), *b = a + channels, *c = b + channels;
    if (last)
        F(channel_sums_last)(sums, delta, x, mean, count, channels, threads);
    else
        F(channel_sums_first)(sums, delta, x, mean, batch, channels, positions, threads);
    for (I k = 0; k < channels; k++) {
        const double scale = (weight ? weight[k] : 1) * (double)invstd[k], gradient = invstd[k] * sums[channels + k];
        const double slope = -scale * invstd[k] * gradient / count;
        grad_bias[k] = (REAL)sums[k], grad_weight[k] = (REAL)gradient;
        a[k] = (REAL)scale, b[k] = (REAL)slope, c[k] = (REAL)(-scale * sums[k] / count - slope * mean[k]);
    }
    EACH_RUN({
        const STORED *d = delta + at, *v = x + at;
        const REAL ak = a[r % channels], bk = b[r % channels], ck = c[r % channels];
        if (last)
            OUT(out + at, n, around, S(a[i] * V(d[i]) + (b[i] * V(v[i]) + c[i])))
        else
            OUT(out + at, n, around, S(ak * V(d[i]) + (bk * V(v[i]) + ck)))
    })
    free(sums), free(a);
}

static void F(moments_first)(double *mean, double *squares, const STORED *x, I batch, I channels, I positions,
                             I threads) {
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I c = 0; c < channels; c++) {
        double so_far = 0, m = 0, q = 0;
        for (I n = 0; n < batch; n++)
            for (I begin = 0; begin < positions; begin += BLOCK) {
                const I size = begin + BLOCK < positions ? BLOCK : positions - begin;
                const STORED *v = x + (n * channels + c) * positions + begin;
                REAL sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
                for (I i = 0; i < size; i++) sum += V(v[i]);
                const REAL middle = sum / size;
#pragma omp simd reduction(+ : square)
                for (I i = 0; i < size; i++) square += (V(v[i]) - middle) * (V(v[i]) - middle);
                merge(&so_far, &m, &q, size, middle, square);
            }
        mean[c] = m, squares[c] = q;
    }
}

static void F(moments_last)(double *mean, double *squares, const STORED *x, I rows, I channels, I threads) {
    double *parts = calloc((size_t)(2 * threads * channels), sizeof(double)), *seen = calloc((size_t)threads, sizeof(double));
    REAL *blocks = malloc((size_t)(3 * threads * channels) * sizeof(REAL));
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        double *m = parts + 2 * t * channels, *q = m + channels, so_far = 0;
        REAL *middle = blocks + 3 * t * channels, *square = middle + channels, *rest = square + channels;
        const I stop = rows * (t + 1) / threads;
        for (I begin = rows * t / threads; begin < stop; begin += ROWS) {
            const I end = begin + ROWS < stop ? begin + ROWS : stop;
            SUM_ROWS(middle, square, V(x[i]), 0)
            for (I c = 0; c < channels; c++) middle[c] /= end - begin;
            SUM_ROWS(rest, square, 0, (V(x[i]) - middle[c]) * (V(x[i]) - middle[c]))
            for (I c = 0; c < channels; c++) {
                seen[t] = so_far;
                merge(seen + t, m + c, q + c, end - begin, middle[c], square[c]);
            }
            so_far += end - begin;
        }
    }
    for (I c = 0; c < channels; c++) {
        double so_far = 0;
        mean[c] = squares[c] = 0;
        for (I t = 0; t < threads; t++)
            if (seen[t])
                merge(&so_far, mean + c, squares + c, seen[t], parts[2 * t * channels + c],
                      parts[(2 * t + 1) * channels + c]);
    }
    free(parts), free(seen), free(blocks);
}

/* batchnorm.BatchNorm.scaled: y = a x + b with a = w invstd, b = bias - a mean. weight and bias may be NULL. rectified:
   max(0, y) instead. */
void F(batch_norm_scaled)(STORED *out, const STORED *x, const REAL *weight, const REAL *bias, const REAL *mean,
                          const REAL *invstd, I rectified, I batch, I channels, I positions, I last, I threads) {
#define RECTIFIED(y) ((y) <= 0 ? 0 : (y))
    const I count = batch * positions;
    if (count * channels <= GRAIN) threads = 1;
    REAL *a = malloc((size_t)(2 * channels) * sizeof(REAL)), *b = a + channels;
    for (I c = 0; c < channels; c++) {
        const double scale = (weight ? weight[c] : 1) * (double)invstd[c];
        a[c] = (REAL)scale, b[c] = (REAL)((bias ? bias[c] : 0) - mean[c] * scale);
    }
    EACH_RUN({
        const STORED *v = x + at;
        const REAL ac = a[r % channels], bc = b[r % channels];
        if (last && rectified)
            OUT(out + at, n, around, S(RECTIFIED(a[i] * V(v[i]) + b[i])))
        else if (last)
            OUT(out + at, n, around, S(a[i] * V(v[i]) + b[i]))
        else if (rectified)
            OUT(out + at, n, around, S(RECTIFIED(ac * V(v[i]) + bc)))
        else
            OUT(out + at, n, around, S(ac * V(v[i]) + bc))
    })
    free(a);
#undef RECTIFIED
}

/* batchnorm.BatchNorm.normalized: computes the statistics of the batch, the same y with them, and updates the running
   statistics. weight, bias and the running statistics may be NULL. momentum and eps are passed by address. */
void F(batch_norm_normalized)(STORED *out, REAL *mean, REAL *invstd, const STORED *x, const REAL *weight,
                              const REAL *bias, REAL *running_mean, REAL *running_var, const double *momentum,
                              const double *eps, I batch, I channels, I positions, I last, I threads) {
    const I count = batch * positions, split = count * channels <= GRAIN ? 1 : threads;
    double *means = malloc((size_t)(2 * channels) * sizeof(double)), *squares = means + channels;
    if (last)
        F(moments_last)(means, squares, x, count, channels, split);
    else
        F(moments_first)(means, squares, x, batch, channels, positions, split);
    for (I c = 0; c < channels; c++) {
        mean[c] = (REAL)means[c], invstd[c] = (REAL)(1 / sqrt(squares[c] / count + *eps));
        if (running_mean) running_mean[c] = (REAL)(*momentum * means[c] + (1 - *momentum) * running_mean[c]);
        if (running_var)
            running_var[c] = (REAL)(*momentum * squares[c] / (count - 1) + (1 - *momentum) * running_var[c]);
    }
    F(batch_norm_scaled)(out, x, weight, bias, mean, invstd, 0, batch, channels, positions, last, threads);
    free(means);
}

#endif
