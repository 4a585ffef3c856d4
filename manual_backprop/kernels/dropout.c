/* Dropout of whole channels on the CPU, in one pass.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#pragma STDC FP_CONTRACT OFF
#ifndef __clang__
#pragma GCC optimize("fp-contract=off") /* no fused multiply-add: products are rounded before a sum, as in torch */
#endif

#include "rows.h"
#define SOURCE "dropout.c"
#include "types.h"

#else

/* dropout.Dropout.delta_input, or with `shifted` AlphaDropout.output, of (N, C, positions), or with `last` of (N,
   positions, C), by a mask (N, C). Where the mask is set: x times numbers[0]; else 0. `shifted` then adds numbers[1]
   where it is set, else numbers[2]. */
void F(masked_channels)(STORED *out, const STORED *x, const uint8_t *mask, const double *numbers, I shifted, I batch,
                        I channels, I positions, I last, I threads) {
    const I rows = batch * (last ? positions : channels), n = last ? channels : positions;
    const int around = AROUND(STORED, out, n, rows * n);
    const REAL set = (REAL)numbers[0], up = (REAL)numbers[1], down = (REAL)numbers[2];
    const REAL factors[] = {0, set}, shifts[] = {down, up}; /* a table, because a branch would be mispredicted often */
    if (rows * n <= GRAIN) threads = 1;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp for schedule(static) nowait
        for (I r = 0; r < rows; r++) {
            const STORED *v = x + r * n;
            STORED *o = out + r * n;
            if (last) {
                const uint8_t *m = mask + r / positions * channels;
                if (shifted)
                    OUT(o, n, around, S(V(S(V(v[i]) * (m[i] ? set : 0))) + (m[i] ? up : down)))
                else
                    OUT(o, n, around, S(V(v[i]) * (m[i] ? set : 0)))
            } else {
                const REAL times = factors[mask[r]], shift = shifts[mask[r]];
                if (shifted)
                    OUT(o, n, around, S(V(S(V(v[i]) * times)) + shift))
                else
                    OUT(o, n, around, S(V(v[i]) * times))
            }
        }
        streamed();
    }
}

#endif
