/* The derivative of local response normalization on the CPU: one sample at a time, or as many of its positions as fit
   into the cache.

   The function takes the number of threads last. The file includes itself for each type. */

#ifndef REAL

#include "rows.h"

#define TILE 256 /* positions whose channels are summed together */
#define F(name) NAMED(name, REAL)
#define REAL float
#include "response_norm.c"
#undef REAL
#define REAL double
#include "response_norm.c"

#else

/* response_norm.LocalResponseNorm.delta_input of (batch, channels, places), with share = delta / s^beta and
   factor = 2 alpha beta / size. For each channel `size` channels are summed; `before` of them come before it. */
void F(response_norm_delta_input)(REAL *out, const REAL *share, const REAL *x, const REAL *s, const double *factor,
                                  I before, I size, I batch, I channels, I places, I threads) {
    const I tile = places < TILE ? places : TILE, tiles = (places + tile - 1) / tile;
    const REAL scale = (REAL)*factor;
#pragma omp parallel num_threads(batch * channels * places > GRAIN ? (int)threads : 1)
    {
        REAL *terms = malloc((size_t)(2 * channels * tile) * sizeof(REAL)), *sums = terms + channels * tile;
#pragma omp for schedule(static)
        for (I job = 0; job < batch * tiles; job++) {
            const I first = job % tiles * tile, width = places - first < tile ? places - first : tile;
            const I at = job / tiles * channels * places + first;
            /* a whole sample is contiguous, so it is one run */
            const I runs = width == places ? 1 : channels, run = width == places ? channels * places : width;
            for (I r = 0; r < runs; r++)
#pragma omp simd
                for (I i = 0; i < run; i++) {
                    const I from = at + r * places + i;
                    terms[r * run + i] = share[from] * x[from] / s[from];
                    sums[r * run + i] = 0;
                }
            for (I apart = -before; apart < size - before; apart++) {
                const I begin = apart < 0 ? -apart : 0, end = apart > 0 ? channels - apart : channels;
#pragma omp simd
                for (I i = begin * width; i < end * width; i++) sums[i] += terms[i + apart * width];
            }
            for (I r = 0; r < runs; r++)
#pragma omp simd
                for (I i = 0; i < run; i++) {
                    const I to = at + r * places + i;
                    out[to] = share[to] - scale * x[to] * sums[r * run + i];
                }
        }
        free(terms);
    }
}

#endif
