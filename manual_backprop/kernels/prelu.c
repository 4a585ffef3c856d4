/* PReLU backward on the CPU: both derivatives in one pass.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "prelu.c"
#include "types.h"

#else

#define SIZE 4096 /* elements of a block, which stays in a cache between computing the sum and the delta */

/* rectifiers.PReLU.derivatives of (N, channels, inner) with a weight for each channel: out is delta_input, grad is
   grad_weight. The sums do not depend on the number of threads. */
void F(prelu_derivatives)(STORED *out, REAL *grad, const STORED *delta, const STORED *x, const REAL *weight, I batch,
                          I channels, I inner, I threads) {
    const I blocks = (inner + SIZE - 1) / SIZE, runs = batch * channels;
    const int around = AROUND(STORED, out, inner, runs * inner);
    double *parts = malloc((size_t)(runs * blocks) * sizeof(double));
    if (runs * inner <= GRAIN) threads = 1;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp for schedule(static) nowait
        for (I b = 0; b < runs * blocks; b++) {
            const I r = b / blocks, begin = b % blocks * SIZE, n = inner - begin < SIZE ? inner - begin : SIZE;
            const STORED *d = delta + r * inner + begin, *v = x + r * inner + begin;
            STORED *o = out + r * inner + begin;
            const REAL w = weight[r % channels];
            double sum = 0;
            SUM(sum, n, V(v[i]) > 0 ? 0 : V(d[i]) * V(v[i]))
            parts[b] = sum;
            OUT(o, n, around, S(V(v[i]) > 0 ? V(d[i]) : V(d[i]) * w))
        }
        streamed();
    }
    for (I c = 0; c < channels; c++) {
        double sum = 0;
        for (I n = 0; n < batch; n++)
            for (I b = 0; b < blocks; b++) sum += parts[(n * channels + c) * blocks + b];
        grad[c] = (REAL)sum;
    }
    free(parts);
}

#undef SIZE
#endif
