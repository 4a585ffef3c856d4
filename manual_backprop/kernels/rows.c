/* Row-wise kernels for the CPU: normalizations, softmax and cross-entropy, a row in cache for all that it needs.

   As in cpu.c the number of threads comes last, and the file is read three times: itself, then for float and double. */

#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN 32768 /* elements below which a second thread costs more than it saves, as in ATen */
#define BLOCK 512   /* numbers of a row that are summed in their own type before double takes over */
#define ROWS 64     /* the same for rows */

typedef int64_t I;

#define LANES 16

/* total += sum of f over 0 <= i < n. */
#define SUM(total, n, f)                                                   \
    for (I begin = 0; begin < (n); begin += BLOCK) {                       \
        const I end = begin + BLOCK < (n) ? begin + BLOCK : (n);           \
        REAL one_ = 0;                                                     \
        _Pragma("omp simd reduction(+ : one_)")                            \
        for (I i = begin; i < end; i++) one_ += f;                         \
        total += one_;                                                     \
    }

/* first += sum of f, second += sum of g over 0 <= i < n. */
#define SUMS(first, second, n, f, g)                                       \
    for (I begin = 0; begin < (n); begin += BLOCK) {                       \
        const I end = begin + BLOCK < (n) ? begin + BLOCK : (n);           \
        REAL one_ = 0, other_ = 0;                                         \
        _Pragma("omp simd reduction(+ : one_, other_)")                    \
        for (I i = begin; i < end; i++) one_ += f, other_ += g;            \
        first += one_, second += other_;                                   \
    }

/* What is done for every 0 <= i < n and may be done twice: the last vector overlaps the one before, so that no row ends
   in a rest of single numbers. */
#define EACH(n, doing)                                                     \
    if ((n) < LANES)                                                       \
        for (I i = 0; i < (n); i++) { doing; }                             \
    else                                                                   \
        for (I begin = 0; begin < (n); begin += LANES) {                   \
            const I first_ = begin + LANES <= (n) ? begin : (n) - LANES;   \
            _Pragma("omp simd")                                            \
            for (I i = first_; i < first_ + LANES; i++) { doing; }         \
        }

/* e^x without a branch, for vectors: 2^k e^r with |r| <= ln 2 / 2 and a Taylor series. Adding MAGIC rounds to an
   integer, whose low bits are then k + bias, the exponent of 2^k. Made for logarithms of probabilities: what is below
   the normal numbers gives 0, what is above HIGH infinity. NaN stays NaN. */
#define EXP(REAL, BITS, LOW, HIGH, MAGIC, LN2, REST, MANTISSA, SERIES)                         \
    static inline __attribute__((always_inline)) REAL exp_##REAL(REAL x) {                     \
        union { REAL real; BITS bits; } t, power;                                              \
        t.real = x * (REAL)1.44269504088896340736 + MAGIC;                                     \
        const REAL k = t.real - MAGIC, r = (x - k * LN2) - k * REST;                           \
        power.bits = t.bits << MANTISSA;                                                       \
        const REAL y = SERIES * power.real, bounded = x > HIGH ? (REAL)INFINITY : y;           \
        return x < LOW ? 0 : bounded;                                                          \
    }
#define P7 (1 + r * (1 + r * (1.f / 2 + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720 + r / 5040)))))))
#define R10 (1. / 3628800 + r * (1. / 39916800 + r * (1. / 479001600 + r / 6227020800)))
#define R6 (1. / 720 + r * (1. / 5040 + r * (1. / 40320 + r * (1. / 362880 + r * R10))))
#define P13 (1 + r * (1 + r * (1. / 2 + r * (1. / 6 + r * (1. / 24 + r * (1. / 120 + r * R6))))))
EXP(float, uint32_t, -87.33654f, 88.37f, 12583039.f, 0.693359375f, -2.12194440054690583e-4f, 23, P7)
EXP(double, uint64_t, -708.3964185, 709.4, 6755399441056767., 6.93145751953125e-1, 1.42860682030941723212e-6, 52, P13)

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)
#define REAL float
#include "rows.c"
#undef REAL
#define REAL double
#include "rows.c"

#else

#define F(name) NAMED(name, REAL)

/* total[k] = sum over t of parts[t step + k], always in the order of t */
static void F(add_parts)(REAL *total, const double *parts, I n, I step, I count) {
    for (I k = 0; k < n; k++) {
        double sum = 0;
        for (I t = 0; t < count; t++) sum += parts[t * step + k];
        total[k] = (REAL)sum;
    }
}

/* out = a d w + b (x - middle) + c of one row, and sum += d, dot += d (x - middle) scale, where they are asked for */
static inline __attribute__((always_inline)) void F(norm_row)(
    REAL *restrict out, REAL *restrict sum, REAL *restrict dot, const REAL *d, const REAL *x, const REAL *weight,
    REAL a, REAL b, REAL c, REAL middle, REAL scale, I n, int moved, int weighted, int summed) {
#pragma omp simd
    for (I i = 0; i < n; i++) {
        if (moved) out[i] = a * (weighted ? d[i] * weight[i] : d[i]) + (b * (x[i] - middle) + c);
        if (summed) sum[i] += d[i], dot[i] += d[i] * ((x[i] - middle) * scale);
    }
}

/* normalization.LayerNorm.derivatives, or with mean NULL RMSNorm.derivatives, of rows of n numbers: out NULL, or
   sums (grad_bias) or dots (grad_weight) NULL where they are not asked for. weight may be NULL. */
void F(norm_derivatives)(REAL *out, REAL *sums, REAL *dots, const REAL *delta, const REAL *x, const REAL *weight,
                         const REAL *mean, const REAL *invstd, I rows, I n, I threads) {
    const int total = sums || dots;
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
                    a = scale, b = (REAL)slope, c = (REAL)(mean ? -scale * along_one / n : 0);
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
    if (sums) F(add_parts)(sums, parts, n, 2 * n, threads);
    if (dots) F(add_parts)(dots, parts + n, n, 2 * n, threads);
    free(parts), free(blocks);
}

/* normalization.RMSNorm.normalized and .invrms of rows of n numbers: out or invrms NULL where it is not asked for,
   weight where there is none. eps comes by address. */
void F(rms_norm)(REAL *out, REAL *invrms, const REAL *x, const REAL *weight, const double *eps, I rows, I n,
                 I threads) {
    if (rows * n <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I r = 0; r < rows; r++) {
        const REAL *v = x + r * n;
        double square = 0;
        SUM(square, n, v[i] * v[i])
        const REAL scale = (REAL)(1 / sqrt(square / n + *eps));
        if (invrms) invrms[r] = scale;
        if (!out) continue;
        REAL *o = out + r * n;
        if (weight)
#pragma omp simd
            for (I i = 0; i < n; i++) o[i] = v[i] * scale * weight[i];
        else
#pragma omp simd
            for (I i = 0; i < n; i++) o[i] = v[i] * scale;
    }
}

/* normalization.GroupNorm.derivatives of (N, C, positions): out, sums (grad_bias) or dots (grad_weight) NULL where they
   are not asked for. weight may be NULL. */
void F(group_norm_derivatives)(REAL *out, REAL *sums, REAL *dots, const REAL *delta, const REAL *x, const REAL *weight,
                               const REAL *mean, const REAL *invstd, I batch, I channels, I positions, I groups,
                               I threads) {
    if (batch * channels * positions <= GRAIN) threads = 1;
    const I each = channels / groups;
    double *parts = malloc((size_t)(2 * batch * channels) * sizeof(double));
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I k = 0; k < batch * groups; k++) {
        const I first = k / groups * channels + k % groups * each; /* of the rows of this group */
        const REAL middle = mean[k], scale = invstd[k], *w = weight ? weight + k % groups * each : NULL;
        double along_one = 0, along_x = 0;
        for (I c = 0; c < each; c++) {
            const REAL *d = delta + (first + c) * positions, *v = x + (first + c) * positions;
            double sum = 0, dot = 0;
            SUMS(sum, dot, positions, d[i], d[i] * (v[i] - middle))
            dot *= scale;
            parts[k / groups * 2 * channels + k % groups * each + c] = sum;
            parts[(k / groups * 2 + 1) * channels + k % groups * each + c] = dot;
            along_one += w ? w[c] * sum : sum, along_x += w ? w[c] * dot : dot;
        }
        if (!out) continue;
        const REAL b = (REAL)(-(double)scale * scale * along_x / (each * positions));
        const REAL shift = (REAL)(-scale * along_one / (each * positions));
        for (I c = 0; c < each; c++) {
            const REAL *d = delta + (first + c) * positions, *v = x + (first + c) * positions;
            const REAL a = w ? w[c] * scale : scale;
            REAL *o = out + (first + c) * positions;
#pragma omp simd
            for (I i = 0; i < positions; i++) o[i] = a * d[i] + (b * (v[i] - middle) + shift);
        }
    }
    if (sums) F(add_parts)(sums, parts, channels, 2 * channels, batch);
    if (dots) F(add_parts)(dots, parts + channels, channels, 2 * channels, batch);
    free(parts);
}

/* softmax.Softmax.delta_input: y (delta - sum of y delta), with sign -1 Softmin's. */
void F(softmax_delta_input)(REAL *out, const REAL *delta, const REAL *y, I rows, I n, I sign, I threads) {
    if (rows * n <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I r = 0; r < rows; r++) {
        const REAL *d = delta + r * n, *p = y + r * n;
        REAL *o = out + r * n;
        double total = 0;
        SUM(total, n, p[i] * d[i])
        const REAL all = (REAL)total, factor = (REAL)sign;
#pragma omp simd
        for (I i = 0; i < n; i++) o[i] = factor * p[i] * (d[i] - all);
    }
}

/* softmax.LogSoftmax.delta_input: delta - e^y sum of delta. */
void F(log_softmax_delta_input)(REAL *out, const REAL *delta, const REAL *y, I rows, I n, I threads) {
    if (rows * n <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I r = 0; r < rows; r++) {
        const REAL *d = delta + r * n, *l = y + r * n;
        REAL *o = out + r * n;
        double total = 0;
        SUM(total, n, d[i])
        const REAL all = (REAL)total;
        EACH(n, o[i] = d[i] - F(exp)(l[i]) * all)
    }
}

/* cross_entropy.CrossEntropyLoss.delta_input of (N, C, positions): delta one number, or one per row with `each`; `mean`
   divides it by the weights that count. weight may be NULL; smoothing comes by address. */
void F(cross_entropy_delta_input)(REAL *out, const REAL *delta, const REAL *log_probs, const I *target,
                                  const REAL *weight, const double *smoothing, I ignored, I mean, I each, I batch,
                                  I classes, I positions, I threads) {
    const I rows = batch * positions;
    if (rows * classes <= GRAIN) threads = 1;
    const double e = *smoothing, share = e / classes;
    double count = 1, all = classes;
    if (mean) {
        count = 0;
        for (I r = 0; r < rows; r++)
            if (target[r] != ignored)
                count += weight && (uint64_t)target[r] < (uint64_t)classes ? weight[target[r]] : 1;
    }
    const REAL *smoothed = e != 0 ? weight : NULL;
    if (smoothed) {
        all = 0;
        for (I c = 0; c < classes; c++) all += weight[c];
    }
    /* Of the rows at up to BLOCK neighbouring positions: onehot's share, that of p, that of the smoothing. */
    const I blocks = (positions + BLOCK - 1) / BLOCK;
#pragma omp parallel for collapse(2) schedule(static) num_threads((int)threads)
    for (I n = 0; n < batch; n++)
        for (I b = 0; b < blocks; b++) {
            const I first = b * BLOCK, size = first + BLOCK < positions ? BLOCK : positions - first;
            REAL at[BLOCK], mass[BLOCK], spread[BLOCK];
            for (I k = 0; k < size; k++) {
                const I r = n * positions + first + k, label = target[r];
                const int kept = label != ignored && (uint64_t)label < (uint64_t)classes;
                const double row = kept ? delta[each ? r : 0] / count : 0;
                const double own = kept ? (1 - e) * row * (weight ? weight[label] : 1) : 0;
                at[k] = (REAL)own, mass[k] = (REAL)(e != 0 ? own + share * row * all : own);
                spread[k] = (REAL)(e != 0 ? share * row : 0);
            }
            REAL *o = out + n * classes * positions + first;
            const REAL *l = log_probs + n * classes * positions + first;
            if (positions > 1)
                for (I c = 0; c < classes; c++) {
                    const REAL w = smoothed ? weight[c] : 1;
                    EACH(size, o[c * positions + i] = F(exp)(l[c * positions + i]) * mass[i] - spread[i] * w)
                }
            else {
                const REAL p = *mass, rest = *spread;
                if (smoothed)
                    EACH(classes, o[i] = F(exp)(l[i]) * p - rest * weight[i])
                else
                    EACH(classes, o[i] = F(exp)(l[i]) * p - rest)
            }
            for (I k = 0; k < size; k++)
                if (at[k] != 0) o[target[n * positions + first + k] * positions + k] -= at[k];
        }
}

#undef F
#endif
