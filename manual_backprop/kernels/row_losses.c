/* Derivatives of margin losses and of the cosine of two rows, on the CPU. Each row is read from memory once.

   Each function takes the number of threads last. The file includes itself for each type. */

#ifndef REAL

#include "rows.h"

/* total += sum of f over 0 <= i < n; without vectors if n is small. */
#define TOTAL(total, n, f)                           \
    if ((n) < LANES)                                 \
        for (I i = 0; i < (n); i++) total += f;      \
    else                                             \
        SUM(total, n, f)

#define F(name) NAMED(name, REAL)
#define SQRT(x) _Generic((x), float: sqrtf, double: sqrt)(x)
#define REAL float
#include "row_losses.c"
#undef REAL
#define REAL double
#include "row_losses.c"

#else

/* margins.MultiMarginLoss.delta_input of (rows, n). delta (rows) are the deltas of each row's loss; weight (n) or NULL;
   squared: p is 2. Returns the number of invalid labels. */
I F(multi_margin_delta_input)(REAL *out, const REAL *delta, const REAL *x, const I *labels, const REAL *weight,
                              const double *margin, I squared, I rows, I n, I threads) {
    I wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong) num_threads(rows * n > GRAIN ? (int)threads : 1)
    for (I row = 0; row < rows; row++) {
        const REAL *v = x + row * n;
        REAL *o = out + row * n;
        const I y = labels[row];
        if (y < 0 || y >= n) {
            wrong++;
            continue;
        }
        const REAL scale = delta[row] * (weight ? weight[y] : 1) / (REAL)n, kept = (REAL)*margin - v[y];
        double total = 0;
        if (squared) {
            TOTAL(total, n, (kept + v[i] > 0 ? 2 * (kept + v[i]) : 0))
            for (I j = 0; j < n; j++) o[j] = (kept + v[j] > 0 ? 2 * (kept + v[j]) : 0) * scale;
            total -= kept + v[y] > 0 ? 2 * (kept + v[y]) : 0;
        } else {
            TOTAL(total, n, (REAL)(kept + v[i] > 0))
            for (I j = 0; j < n; j++) o[j] = kept + v[j] > 0 ? scale : 0;
            total -= kept + v[y] > 0;
        }
        o[y] = -(REAL)total * scale;
    }
    return wrong;
}

/* margins.MultiLabelMarginLoss.delta_input of (rows, n). delta (rows) are the deltas of each row's loss; labels (rows,
   n): the first negative label of a row ends its list. Returns the number of invalid labels. */
I F(multilabel_margin_delta_input)(REAL *out, const REAL *delta, const REAL *x, const I *labels, I rows, I n, I threads) {
    I wrong = 0;
#pragma omp parallel reduction(+ : wrong) num_threads(rows * n > GRAIN ? (int)threads : 1)
    {
        char *listed = malloc((size_t)n);
#pragma omp for schedule(static)
        for (I row = 0; row < rows; row++) {
            const REAL *v = x + row * n;
            const I *label = labels + row * n;
            REAL *o = out + row * n;
            for (I i = 0; i < n; i++) listed[i] = 0, o[i] = 0;
            I count = 0;
            for (; count < n && label[count] >= 0; count++) {
                if (label[count] >= n) break;
                listed[label[count]] = 1;
            }
            if (count < n && label[count] >= n) {
                wrong++;
                continue;
            }
            for (I k = 0; k < count; k++) {
                const REAL kept = 1 - v[label[k]];
                REAL broken = 0;
                if (n < LANES)
                    for (I i = 0; i < n; i++) {
                        if (listed[i] || !(kept + v[i] > 0)) continue;
                        o[i] += 1, broken += 1;
                    }
                else
#pragma omp simd reduction(+ : broken)
                    for (I i = 0; i < n; i++) {
                        const int one = !listed[i] & (kept + v[i] > 0);
                        o[i] += (REAL)one, broken += (REAL)one;
                    }
                o[label[k]] -= broken;
            }
            const REAL scale = delta[row] / (REAL)n;
            for (I j = 0; j < n; j++) o[j] *= scale;
        }
        free(listed);
    }
    return wrong;
}

/* The delta of the first of two vectors (rows, n), from the delta of their cosine.
   target NULL: similarity.CosineSimilarity.delta_x1; `number` is its eps. Otherwise:
   similarity.CosineEmbeddingLoss.delta_input1, from the delta of each row's loss; target (rows); `number` is the
   margin. */
void F(cosine_delta)(REAL *out, const REAL *delta, const REAL *x1, const REAL *x2, const REAL *target,
                     const double *number, I rows, I n, I threads) {
    const REAL fact = (REAL)*number;
#pragma omp parallel for schedule(static) num_threads(rows * n > GRAIN ? (int)threads : 1)
    for (I row = 0; row < rows; row++) {
        const REAL *a = x1 + row * n, *b = x2 + row * n;
        REAL *o = out + row * n, of_cosine = delta[row];
        double total1 = target ? 1e-12 : 0, total2 = total1, total = 0;
        TOTAL(total1, n, a[i] * a[i])
        TOTAL(total2, n, b[i] * b[i])
        TOTAL(total, n, a[i] * b[i])
        const REAL length = SQRT((REAL)total1), other = SQRT((REAL)total2);
        const REAL scale1 = 1 / (!target && length < fact ? fact : length);
        const REAL scale2 = 1 / (!target && other < fact ? fact : other), cosine = (REAL)total * scale1 * scale2;
        if (target) of_cosine *= (REAL)(target[row] == -1 && cosine > fact) - (REAL)(target[row] == 1);
        const REAL outer = of_cosine * scale1, of_other = outer * scale2, of_own = length == 0 ? 0 : outer * cosine / length;
        for (I j = 0; j < n; j++) o[j] = of_other * b[j] - of_own * a[j];
    }
}

#endif
