/* Kernels for the CPU: the formulas of rules/ in as few passes over memory as they need. Compiled by native.py.

   Every function takes the number of threads last; results do not depend on anything else but the arguments. "last"
   says how the axes lie in memory: 1 for (N, positions, C), "channels last", 0 for (N, C, positions). */

#ifndef REAL /* first pass: the whole file, then twice what depends on the type of the numbers */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN 32768 /* elements below which a second thread costs more than it saves, as in ATen */

typedef int64_t I;

#include "stream.h"

I largest_cache = 32 << 20; /* in bytes */
void know_cache(I bytes) { largest_cache = bytes; }

/* out[i] = f for 0 <= i < n */
#define RUN(out, n, around, f)                    \
    if (around)                                   \
        PARTS(REAL, out, n, f)                    \
    else                                          \
        _Pragma("omp simd") for (I i = 0; i < (n); i++)(out)[i] = f;

/* For each run r of n numbers that lie together, of the channel r % channels or (last) one of each channel, out of
   (N, C, positions) in either layout: what is done to the run that begins at `at`. */
#define EACH_RUN(...)                                                                      \
    {                                                                                      \
        const I n = last ? channels : positions, runs = batch * channels * positions / n;  \
        const int around = AROUND(REAL, out, n, runs * n);                                 \
        _Pragma("omp parallel num_threads((int)threads)")                                  \
        {                                                                                  \
            _Pragma("omp for schedule(static)")                                            \
            for (I r = 0; r < runs; r++) {                                                 \
                const I at = r * n;                                                        \
                __VA_ARGS__                                                                \
            }                                                                              \
            streamed();                                                                    \
        }                                                                                  \
    }

/* Sums over one run of numbers: floats in blocks, blocks in double, so that long sums stay as exact as pairwise ones. */
#define BLOCK 256

#define LANES 16 /* neighbouring channels whose sums stay in registers; two rows at a time hide the latency of adding */

/* For rows of `channels` numbers: first[c] = sum of f, second[c] = sum of g, over the rows from begin to end. */
#define SUM_ROWS(first, second, f, g)                                                        \
    for (I c0 = 0; c0 < channels; c0 += LANES) {                                             \
        const I lanes = channels - c0 < LANES ? channels - c0 : LANES;                       \
        REAL s[2][LANES] = {0}, p[2][LANES] = {0};                                           \
        I r = begin;                                                                         \
        if (lanes == LANES)                                                                  \
            for (; r + 1 < end; r += 2)                                                      \
                for (int h = 0; h < 2; h++)                                                  \
                    _Pragma("omp simd") for (int k = 0; k < LANES; k++) {                    \
                        const I c = c0 + k, i = (r + h) * channels + c;                      \
                        s[h][k] += f, p[h][k] += g;                                          \
                        (void)i;                                                             \
                    }                                                                        \
        for (; r < end; r++)                                                                 \
            for (int k = 0; k < lanes; k++) {                                                \
                const I c = c0 + k, i = r * channels + c;                                    \
                s[0][k] += f, p[0][k] += g;                                                  \
                (void)i;                                                                     \
            }                                                                                \
        for (int k = 0; k < lanes; k++) first[c0 + k] = s[0][k] + s[1][k], second[c0 + k] = p[0][k] + p[1][k]; \
    }

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)
#define REAL float
#define SINGLE
#include "cpu.c"
#undef REAL
#undef SINGLE
#define REAL double
#include "cpu.c"

#else

#define F(name) NAMED(name, REAL)

static void F(channel_sums_first)(double *sums, const REAL *delta, const REAL *x, const REAL *mean, I batch, I channels,
                                  I positions, I threads) {
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        const REAL middle = mean[c];
        for (I n = 0; n < batch; n++) {
            const REAL *d = delta + (n * channels + c) * positions, *v = x + (n * channels + c) * positions;
            for (I begin = 0; begin < positions; begin += BLOCK) {
                const I end = begin + BLOCK < positions ? begin + BLOCK : positions;
                REAL s = 0, p = 0;
#pragma omp simd reduction(+ : s, p)
                for (I i = begin; i < end; i++) s += d[i], p += d[i] * (v[i] - middle);
                sum += s, product += p;
            }
        }
        sums[c] = sum, sums[channels + c] = product;
    }
}

/* Each thread its own rows and sums, which are added up in the threads' order: every run gives the same. */
static void F(channel_sums_last)(double *sums, const REAL *delta, const REAL *x, const REAL *mean, I rows, I channels,
                                 I threads) {
    double *parts = calloc((size_t)(2 * threads * channels), sizeof(double));
    REAL *blocks = malloc((size_t)(2 * threads * channels) * sizeof(REAL));
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        double *part = parts + 2 * t * channels;
        REAL *sum = blocks + 2 * t * channels, *product = sum + channels;
        const I stop = rows * (t + 1) / threads;
        for (I begin = rows * t / threads; begin < stop; begin += BLOCK) {
            const I end = begin + BLOCK < stop ? begin + BLOCK : stop;
            SUM_ROWS(sum, product, delta[i], delta[i] * (x[i] - mean[c]))
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
void F(batch_norm_derivatives)(REAL *out, REAL *grad_weight, REAL *grad_bias, const REAL *delta, const REAL *x,
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
        const REAL *d = delta + at, *v = x + at;
        const REAL ak = a[r % channels], bk = b[r % channels], ck = c[r % channels];
        if (last) {
            RUN(out + at, n, around, a[i] * d[i] + (b[i] * v[i] + c[i]))
        } else {
            RUN(out + at, n, around, ak * d[i] + (bk * v[i] + ck))
        }
    })
    free(sums), free(a);
}

#ifdef SINGLE /* in double ATen's forward stays, equal to the last bit */

/* Adds count numbers of a mean and a sum of squares about it to what a channel has so far: Chan, Golub, LeVeque 1979. */
static inline void F(merge)(double *so_far, double *mean, double *squares, double count, double m, double q) {
    const double all = *so_far + count, step = m - *mean;
    *squares += q + step * step * *so_far * count / all;
    *mean += step * count / all;
    *so_far = all;
}

static void F(moments_first)(double *mean, double *squares, const REAL *x, I batch, I channels, I positions, I threads) {
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I c = 0; c < channels; c++) {
        double so_far = 0, m = 0, q = 0;
        for (I n = 0; n < batch; n++)
            for (I begin = 0; begin < positions; begin += BLOCK) {
                const I size = begin + BLOCK < positions ? BLOCK : positions - begin;
                const REAL *v = x + (n * channels + c) * positions + begin;
                REAL sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
                for (I i = 0; i < size; i++) sum += v[i];
                const REAL middle = sum / size;
#pragma omp simd reduction(+ : square)
                for (I i = 0; i < size; i++) square += (v[i] - middle) * (v[i] - middle);
                F(merge)(&so_far, &m, &q, size, middle, square);
            }
        mean[c] = m, squares[c] = q;
    }
}

static void F(moments_last)(double *mean, double *squares, const REAL *x, I rows, I channels, I threads) {
    double *parts = calloc((size_t)(2 * threads * channels), sizeof(double)), *seen = calloc((size_t)threads, sizeof(double));
    REAL *blocks = malloc((size_t)(3 * threads * channels) * sizeof(REAL));
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I t = 0; t < threads; t++) {
        double *m = parts + 2 * t * channels, *q = m + channels, so_far = 0;
        REAL *middle = blocks + 3 * t * channels, *square = middle + channels, *rest = square + channels;
        const I stop = rows * (t + 1) / threads;
        for (I begin = rows * t / threads; begin < stop; begin += BLOCK) {
            const I end = begin + BLOCK < stop ? begin + BLOCK : stop;
            SUM_ROWS(middle, square, x[i], 0)
            for (I c = 0; c < channels; c++) middle[c] /= end - begin;
            SUM_ROWS(rest, square, 0, (x[i] - middle[c]) * (x[i] - middle[c]))
            for (I c = 0; c < channels; c++) {
                seen[t] = so_far;
                F(merge)(seen + t, m + c, q + c, end - begin, middle[c], square[c]);
            }
            so_far += end - begin;
        }
    }
    for (I c = 0; c < channels; c++) {
        double so_far = 0;
        mean[c] = squares[c] = 0;
        for (I t = 0; t < threads; t++)
            if (seen[t])
                F(merge)(&so_far, mean + c, squares + c, seen[t], parts[2 * t * channels + c],
                         parts[(2 * t + 1) * channels + c]);
    }
    free(parts), free(seen), free(blocks);
}

/* batchnorm.BatchNorm.scaled: y = a x + b with a = w invstd, b = bias - a mean. weight and bias may be NULL. rectified:
   max(0, y) of it. */
void F(batch_norm_scaled)(REAL *out, const REAL *x, const REAL *weight, const REAL *bias, const REAL *mean,
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
        const REAL *v = x + at, ac = a[r % channels], bc = b[r % channels];
        if (last && rectified) {
            RUN(out + at, n, around, RECTIFIED(a[i] * v[i] + b[i]))
        } else if (last) {
            RUN(out + at, n, around, a[i] * v[i] + b[i])
        } else if (rectified) {
            RUN(out + at, n, around, RECTIFIED(ac * v[i] + bc))
        } else {
            RUN(out + at, n, around, ac * v[i] + bc)
        }
    })
    free(a);
#undef RECTIFIED
}

/* batchnorm.BatchNorm.normalized: the same by the batch's own statistics, and the running statistics moved.
   weight, bias and the running statistics may be NULL; momentum and eps come by address. */
void F(batch_norm_normalized)(REAL *out, REAL *mean, REAL *invstd, const REAL *x, const REAL *weight, const REAL *bias,
                              REAL *running_mean, REAL *running_var, const double *momentum, const double *eps, I batch,
                              I channels, I positions, I last, I threads) {
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

/* Windows of two axes: output sizes, input sizes, window, stride, padding, dilation. */
#ifndef WINDOWS
#define WINDOWS
typedef struct {
    I batch, channels, outputs[2], inputs[2], window[2], stride[2], padding[2], dilation[2];
} Windows;

/* The first and the last step k of a window along an axis that lie inside the input. */
static inline I first_step(const Windows *w, int axis, I begin) {
    return begin >= 0 ? 0 : (-begin + w->dilation[axis] - 1) / w->dilation[axis];
}
static inline I last_step(const Windows *w, int axis, I begin) {
    const I room = (w->inputs[axis] - 1 - begin) / w->dilation[axis];
    return room < w->window[axis] - 1 ? room : w->window[axis] - 1;
}
#endif

/* The largest of a window in neighbouring channels, or (C = 1) of windows `apart` from each other along a row, and how
   far its index lies behind that of the window's first place. rows and columns: steps of the window that lie inside the
   input, from first to last. */
static inline __attribute__((always_inline)) void F(largest)(REAL *out, uint8_t *winner, const REAL *x, const Windows *w,
                                                             const I *rows, const I *columns, I C, I apart,
                                                             int lanes) {
    REAL best[LANES];
    int won[LANES]; /* as wide as a float: compares and selects of both stay in the same registers */
    const I down = w->dilation[0] * w->inputs[1], right = w->dilation[1];
    const I begin = rows[0] * down + columns[0] * right;
#pragma omp simd
    for (int c = 0; c < lanes; c++) best[c] = x[begin * C + c * apart], won[c] = (int)begin;
    for (I k = rows[0]; k <= rows[1]; k++)
        for (I l = columns[0] + (k == rows[0]); l <= columns[1]; l++) {
            const int off = (int)(k * down + l * right);
            const REAL *v = x + off * C;
#pragma omp simd
            for (int c = 0; c < lanes; c++) {
                const REAL here = v[c * apart];
                const int smaller = here <= best[c];
                const int stays = smaller | ((best[c] != best[c]) & (here == here));
                best[c] = stays ? best[c] : here;
                won[c] = stays ? won[c] : off;
            }
        }
#pragma omp simd
    for (int c = 0; c < lanes; c++) out[c] = best[c], winner[c] = (uint8_t)won[c];
}

/* pooling.MaxPool.winners: the largest of each window: NaN counts as largest, the last of several; else the first. */
void F(max_pool_winners)(REAL *out, uint8_t *winner, const REAL *x, const Windows *w, I last, I threads) {
    const I width = w->inputs[1], C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    if (planes * C * w->inputs[0] * width <= GRAIN) threads = 1;
    /* Windows that lie inside the row from end to end are taken many at a time where channels are not. */
    const I room = width - 1 - (w->window[1] - 1) * w->dilation[1] + w->padding[1];
    I inside[2] = {(w->padding[1] + w->stride[1] - 1) / w->stride[1], room < 0 ? 0 : room / w->stride[1] + 1};
    if (inside[1] > w->outputs[1]) inside[1] = w->outputs[1];
    const I count = C > 1 ? 0 : inside[1] - inside[0];
    const I lanes = count >= LANES ? LANES : count >= LANES / 2 ? LANES / 2 : LANES / 4;
    if (count < lanes) inside[1] = inside[0];
#define ALONG(lanes)                                                                                             \
    {                                                                                                            \
        if (w->stride[1] == 1)                                                                                   \
            F(largest)(out + at, winner + at, window, w, rows, columns, 1, 1, lanes);                            \
        else if (w->stride[1] == 2)                                                                              \
            F(largest)(out + at, winner + at, window, w, rows, columns, 1, 2, lanes);                            \
        else                                                                                                     \
            F(largest)(out + at, winner + at, window, w, rows, columns, 1, w->stride[1], lanes);                 \
    }
#pragma omp parallel for collapse(2) schedule(static) num_threads((int)threads)
    for (I n = 0; n < planes; n++)
        for (I p = 0; p < w->outputs[0]; p++) {
            const I top = p * w->stride[0] - w->padding[0];
            const I rows[2] = {first_step(w, 0, top), last_step(w, 0, top)};
            for (I q = 0; q < w->outputs[1]; q++) {
                const int whole = q >= inside[0] && q < inside[1];
                if (whole && q > inside[1] - lanes) q = inside[1] - lanes; /* the last overlap those before */
                const I left = q * w->stride[1] - w->padding[1];
                const I columns[2] = {whole ? 0 : first_step(w, 1, left), whole ? w->window[1] - 1 : last_step(w, 1, left)};
                const I at = ((n * w->outputs[0] + p) * w->outputs[1] + q) * C;
                const REAL *window = x + ((n * w->inputs[0] + top) * width + left) * C;
                if (whole) {
                    if (lanes == LANES) ALONG(LANES)
                    else if (lanes == LANES / 2) ALONG(LANES / 2)
                    else ALONG(LANES / 4)
                    q += lanes - 1;
                    continue;
                }
                if (C == 1) {
                    F(largest)(out + at, winner + at, window, w, rows, columns, 1, 1, 1);
                    continue;
                }
                I c = 0;
                for (; c + LANES <= C; c += LANES)
                    F(largest)(out + at + c, winner + at + c, window + c, w, rows, columns, C, 1, LANES);
                if (c < C) F(largest)(out + at + c, winner + at + c, window + c, w, rows, columns, C, 1, (int)(C - c));
            }
        }
}
#undef ALONG

/* pooling.MaxPool.delta_input: every delta goes to the place that has won its window. */
void F(max_pool_delta_input)(REAL *out, const REAL *delta, const uint8_t *winner, const Windows *w, I last,
                             I threads) {
    const I width = w->inputs[1], C = last ? w->channels : 1, planes = last ? w->batch : w->batch * w->channels;
    const I places = w->inputs[0] * width, size = places * C;
    if (planes * size <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I n = 0; n < planes; n++) {
        REAL *restrict plane = out + n * size;
        memset(plane, 0, (size_t)size * sizeof(REAL));
        for (I p = 0; p < w->outputs[0]; p++)
            for (I q = 0; q < w->outputs[1]; q++) {
                const I begin = (p * w->stride[0] - w->padding[0]) * width + q * w->stride[1] - w->padding[1];
                const I at = ((n * w->outputs[0] + p) * w->outputs[1] + q) * C;
                for (I c = 0; c < C; c++) {
                    const uint64_t i = (uint64_t)(begin + winner[at + c]); /* beyond x: the window holds nothing */
                    if (i < (uint64_t)places) plane[(I)i * C + c] += delta[at + c];
                }
            }
    }
}

#undef F
#endif
