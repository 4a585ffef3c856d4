/* Sums along one axis by a table, on the CPU: the backward of interpolation and of padding.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "axes.c"
#include "types.h"

#else

/* out (outer, size, inner) from delta (outer, outputs, inner): out[o, i] is the sum of weight[e] delta[o, from[e]] over
   the entries e from begin[i] to begin[i + 1]. weight may be NULL, for 1 everywhere. */
void F(summed_along)(STORED *out, const STORED *delta, const I *begin, const I *from, const double *weight, I outer,
                     I outputs, I size, I inner, I threads) {
    if (outer * size * inner <= GRAIN) threads = 1;
    if (inner == 1) {
#pragma omp parallel for schedule(static) num_threads((int)threads)
        for (I o = 0; o < outer; o++) {
            const STORED *d = delta + o * outputs;
            for (I i = 0; i < size; i++) {
                REAL sum = 0;
                for (I e = begin[i]; e < begin[i + 1]; e++)
                    sum += weight ? (REAL)weight[e] * V(d[from[e]]) : V(d[from[e]]);
                out[o * size + i] = S(sum);
            }
        }
        return;
    }
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I r = 0; r < outer * size; r++) {
        const I o = r / size, i = r % size;
        STORED *y = out + r * inner;
        if (begin[i] == begin[i + 1]) memset(y, 0, (size_t)inner * sizeof(STORED));
        for (I e = begin[i]; e < begin[i + 1]; e++) {
            const STORED *d = delta + (o * outputs + from[e]) * inner;
            const REAL w = weight ? (REAL)weight[e] : 1;
            if (e == begin[i])
#pragma omp simd
                for (I k = 0; k < inner; k++) y[k] = S(w * V(d[k]));
            else
#pragma omp simd
                for (I k = 0; k < inner; k++) y[k] = S(V(y[k]) + w * V(d[k]));
        }
    }
}

/* out (outer, size, inner) from delta (outer, outputs, inner): first the elements of delta from `left` on, 0 where
   there are none. Then each of `count` entries e adds delta[from[e]] to out[target[e]]. */
void F(folded_along)(STORED *out, const STORED *delta, const I *target, const I *from, I count, I left, I outer,
                     I outputs, I size, I inner, I threads) {
    const I begin = left < 0 ? -left : 0, end = size < outputs - left ? size : outputs - left;
    if (outer * size * inner <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I o = 0; o < outer; o++) {
        STORED *y = out + o * size * inner;
        const STORED *d = delta + o * outputs * inner;
        if (begin) memset(y, 0, (size_t)(begin * inner) * sizeof(STORED));
        memcpy(y + begin * inner, d + (begin + left) * inner, (size_t)((end - begin) * inner) * sizeof(STORED));
        if (end < size) memset(y + end * inner, 0, (size_t)((size - end) * inner) * sizeof(STORED));
        for (I e = 0; e < count; e++) {
            STORED *to = y + target[e] * inner;
            const STORED *more = d + from[e] * inner;
#pragma omp simd
            for (I k = 0; k < inner; k++) to[k] = S(V(to[k]) + V(more[k]));
        }
    }
}

#endif
