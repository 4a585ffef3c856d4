/* Macros and types that the C kernels share. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t I;
typedef uint16_t bfloat16;

#define GRAIN 32768 /* elements below which a second thread costs more than it saves, as in ATen */
#define BLOCK 512   /* elements of a row that are summed in their own type; these sums are added in double */
#define ROWS 64     /* the same for sums over rows */
#define LANES 16

#define INLINE static inline __attribute__((always_inline))

#include "stream.h"

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)

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

/* Does something for every 0 <= i < n. It may be done twice for some i: the last vector overlaps the one before, so
   that no single elements are left at the end of a row. */
#define EACH(n, doing)                                                     \
    if ((n) < LANES)                                                       \
        for (I i = 0; i < (n); i++) { doing; }                             \
    else {                                                                 \
        I first_ = 0;                                                      \
        _Pragma("GCC unroll 4")                                            \
        for (; first_ <= (n) - LANES; first_ += LANES)                     \
            _Pragma("omp simd")                                            \
            for (I i = first_; i < first_ + LANES; i++) { doing; }         \
        if (first_ < (n))                                                  \
            _Pragma("omp simd")                                            \
            for (I i = (n) - LANES; i < (n); i++) { doing; }               \
    }

/* e^x without a branch, for vectors: 2^k e^r, where |r| <= ln 2 / 2 and e^r is a polynomial. Adding MAGIC rounds to an
   integer whose low bits are k + bias, the exponent of 2^k. If 2^k would be subnormal, LIFT is added to the exponent
   and the result is multiplied by LOWERED. Large x give infinity, a little before e^x overflows. NaN stays NaN. */
#define EXP(REAL, BITS, LOW, NORMAL, LIFT, LOWERED, HIGH, MAGIC, LN2, REST, MANTISSA, SERIES)  \
    INLINE REAL exp_##REAL(REAL x) {                                                           \
        union { REAL real; BITS bits; } t, power;                                              \
        x = x < LOW ? LOW : x;                                                                 \
        x = x > HIGH ? HIGH : x;                                                               \
        t.real = x * (REAL)1.44269504088896340736 + MAGIC;                                     \
        const REAL k = t.real - MAGIC, r = (x - k * LN2) - k * REST;                           \
        power.bits = (t.bits + (x < NORMAL ? LIFT : 0)) << MANTISSA;                           \
        const REAL y = SERIES * power.real;                                                    \
        return x < NORMAL ? y * LOWERED : y;                                                   \
    }
/* near-minimax on the interval: its error is a sixth of a rounding error */
#define C2 0x1p-1f
#define C3 0x1.5554dcp-3f
#define C4 0x1.555518p-5f
#define C5 0x1.120ce4p-7f
#define C6 0x1.6d127ep-10f
#define P6 (1 + r * (1 + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6))))))
#define R10 (1. / 3628800 + r * (1. / 39916800 + r * (1. / 479001600 + r / 6227020800)))
#define R6 (1. / 720 + r * (1. / 5040 + r * (1. / 40320 + r * (1. / 362880 + r * R10))))
#define P13 (1 + r * (1 + r * (1. / 2 + r * (1. / 6 + r * (1. / 24 + r * (1. / 120 + r * R6))))))
EXP(float, uint32_t, -105.f, -87.f, 64, 0x1p-64f, 89.f, 12583039.f, 0.693359375f, -2.12194440054690583e-4f, 23, P6)
EXP(double, uint64_t, -750., -708., 128, 0x1p-128, 710., 6755399441056767., 6.93145751953125e-1,
    1.42860682030941723212e-6, 52, P13)

/* Maps floating-point numbers to integers of the same size in the same order, NaN at the ends, and back. */
#define ORDER(REAL, BITS, SHIFT)                                                              \
    INLINE BITS order_##REAL(REAL x) {                                                        \
        union { REAL real; BITS bits; } t = {x};                                              \
        return t.bits ^ (BITS)((uint64_t)(t.bits >> SHIFT) >> (63 - SHIFT) >> 1);             \
    }                                                                                         \
    INLINE REAL real_##REAL(BITS bits) {                                                      \
        union { BITS bits; REAL real; } t = {bits ^ (BITS)((uint64_t)(bits >> SHIFT) >> (63 - SHIFT) >> 1)}; \
        return t.real;                                                                        \
    }
ORDER(float, int32_t, 31)
ORDER(double, int64_t, 63)
#define ordered_float int32_t
#define ordered_double int64_t

/* Conversions between elements in memory and REAL. bfloat16 is computed in float and rounded once, to nearest, ties to
   even. */
INLINE float load_float(float x) { return x; }
INLINE float store_float(float x) { return x; }
INLINE double load_double(double x) { return x; }
INLINE double store_double(double x) { return x; }
INLINE float load_bfloat16(bfloat16 x) {
    union { uint32_t bits; float real; } y = {(uint32_t)x << 16};
    return y.real;
}
INLINE bfloat16 store_bfloat16(float x) {
    union { float real; uint32_t bits; } y = {x};
    const uint32_t rounded = (y.bits + 0x7fff + ((y.bits >> 16) & 1)) >> 16;
    return (bfloat16)(x != x ? 0x7fc0 : rounded);
}

/* to[i] = f for 0 <= i < n; f may be computed twice for some i. around: use non-temporal stores. */
#define OUT(to, n, around, f)                                              \
    if (around)                                                            \
        PARTS(STORED, to, n, f)                                            \
    else                                                                   \
        EACH(n, (to)[i] = f)

/* Does something for every row r of n elements. `o` is the row of the result; `row` is a buffer of n REALs. */
#define EACH_ROW(rows, n, ...)                                             \
    {                                                                      \
        if ((rows) * (n) <= GRAIN) threads = 1;                            \
        const int around = AROUND(STORED, out, n, (rows) * (n));           \
        (void)around;                                                      \
        _Pragma("omp parallel num_threads((int)threads)")                  \
        {                                                                  \
            REAL *row = malloc((size_t)(n) * sizeof(REAL));                \
            _Pragma("omp for schedule(static) nowait")                     \
            for (I r = 0; r < (rows); r++) {                               \
                STORED *o = out + r * (n);                                 \
                __VA_ARGS__                                                \
            }                                                              \
            streamed();                                                    \
            free(row);                                                     \
        }                                                                  \
    }
