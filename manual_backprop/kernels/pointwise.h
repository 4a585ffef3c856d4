/* Elementary functions without branches, and bfloat16, for the printed loops.

   NaN, infinities, signed zeros and subnormals are handled as IEEE 754 and the mathematics have them. Multiply and add
   are fused only where FMA is written, so that an element's value does not depend on its position. The polynomials are
   near-minimax (Chebyshev) on the interval in the comment, with an error below 0.1 ulp. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t I;
typedef uint16_t bfloat16;

#define GRAIN 32768 /* elements below which a second thread costs more than it saves, as in ATen */
#define ROWS 64     /* elements of a column that are summed in their own type; these sums are added in double */
#define INLINE static inline __attribute__((always_inline))

#include "stream.h"

INLINE float load_float(float x) { return x; }
INLINE float store_float(float x) { return x; }
INLINE double load_double(double x) { return x; }
INLINE double store_double(double x) { return x; }

INLINE float load_bfloat16(bfloat16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
INLINE bfloat16 store_bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (bfloat16)(x != x ? 0x7fc0 : rounded);
}

/* The constants and polynomials that differ between float and double. */

#define REAL float
#define WORD uint32_t
#define SIGNED int32_t
#define F(name) name##_float
#define FMA __builtin_fmaf
#define ABS __builtin_fabsf
#define SIGN_OF __builtin_copysignf
#define SQRT __builtin_sqrtf
#define MANTISSA 23
#define BIAS 127
#define MAGIC 0x1.8p23f
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e4p-1f /* 15 bits: its product with an exponent is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_MOST 89.0f
#define EXP_LEAST -104.0f
#define EXPM1_LEAST -18.0f
#define ERFC_MOST 10.5f
#define TANH_MOST 10.0f
#define SMALLEST_NORMAL 0x1p-126f
/* (e^r - 1 - r - r^2 / 2) / r^3, |r| <= ln 2 / 2 */
#define EXP_POLYNOMIAL(r) \
    FMA(FMA(FMA(FMA(0x1.a124f2p-13f, r, 0x1.6d4324p-10f), r, 0x1.1110ep-7f), r, 0x1.5554eap-5f), r, 0x1.555556p-3f)
/* (log((1 + s) / (1 - s)) - 2 s) / s^3 in z = s^2, |s| <= 0.172 */
#define LOG_POLYNOMIAL(z) \
    FMA(FMA(FMA(0x1.ddd4dap-3f, z, 0x1.245c28p-2f), z, 0x1.9999ecp-2f), z, 0x1.555556p-1f)
/* erf x / x - 1 in z = x^2, |x| <= 1 */
#define ERF_POLYNOMIAL(z) \
    FMA(FMA(FMA(FMA(FMA(FMA(FMA(-0x1.445f48p-17f, z, 0x1.d8875p-14f), z, -0x1.bccf66p-11f), z, \
    0x1.562a6p-8f), z, -0x1.b829c8p-6f), z, 0x1.ce2f08p-4f), z, -0x1.812746p-2f), z, 0x1.06eba8p-3f)
/* (x + 3) e^(x^2) erfc x in q = (x - 3) / (x + 3), 0 <= x <= 10.5 (double: 27.5) */
#define ERFC_POLYNOMIAL(q) \
    FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(-0x1.241c2cp-20f, q, -0x1.597488p-12f), q, -0x1.fd3fc2p-12f), \
    q, 0x1.942fbp-9f), q, -0x1.40c91ap-10f), q, -0x1.b7c228p-6f), q, 0x1.e99682p-4f), q, \
    -0x1.3deac6p-2f), q, 0x1.2e326ap-1f), q, -0x1.c44c48p-1f), q, 0x1.12f21ep+0f)
#include "elementary.h"

#define REAL double
#define WORD uint64_t
#define SIGNED int64_t
#define F(name) name##_double
#define FMA __builtin_fma
#define ABS __builtin_fabs
#define SIGN_OF __builtin_copysign
#define SQRT __builtin_sqrt
#define MANTISSA 52
#define BIAS 1023
#define MAGIC 0x1.8p52
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fee00000p-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define EXP_MOST 710.0
#define EXP_LEAST -746.0
#define EXPM1_LEAST -38.0
#define ERFC_MOST 27.5
#define TANH_MOST 20.0
#define SMALLEST_NORMAL 0x1p-1022
#define EXP_POLYNOMIAL(r) \
    FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(0x1.1f730349868cep-29, r, 0x1.af4de97ca4194p-26), r, \
    0x1.27e4db646b17ep-22), r, 0x1.71de0231960ebp-19), r, 0x1.a01a01a6d889cp-16), r, \
    0x1.a01a01abe7fe1p-13), r, 0x1.6c16c16c162d4p-10), r, 0x1.11111111100dcp-7), r, \
    0x1.5555555555556p-5), r, 0x1.5555555555557p-3)
#define LOG_POLYNOMIAL(z) \
    FMA(FMA(FMA(FMA(FMA(FMA(0x1.2b5f68a50d903p-3, z, 0x1.39fdcceb4bb45p-3), z, 0x1.7462b91b8df65p-3), z, \
    0x1.c71c62d5e53ep-3), z, 0x1.2492492dfd86cp-2), z, 0x1.9999999995273p-2), z, 0x1.5555555555558p-1)
#define ERF_POLYNOMIAL(z) \
    FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(0x1.3c01fd3a74542p-42, z, \
    -0x1.b40e7abf9fp-38), z, 0x1.9a0fcb5e22c5bp-34), z, -0x1.517ce02f1265fp-30), z, \
    0x1.fcbb312b48443p-27), z, -0x1.5f73c3bf14b91p-23), z, 0x1.b9e6c38e5cf3dp-20), z, \
    -0x1.f4d25bf9af03ap-17), z, 0x1.f9a326f7ac5b1p-14), z, -0x1.c02db40035f1ep-11), z, \
    0x1.565bcd0e6a2eep-8), z, -0x1.b82ce31288b47p-6), z, 0x1.ce2f21a042be2p-4), z, \
    -0x1.812746b0379e7p-2), z, 0x1.06eba8214db69p-3)
#define ERFC_POLYNOMIAL(q) \
    FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(FMA(-0x1.bf11d2426e46p-30, \
    q, -0x1.b9494d9ed2782p-28), q, 0x1.565dc2769b34fp-29), q, 0x1.a438d30739be4p-25), q, \
    0x1.58cdb054c54c7p-25), q, -0x1.f50a1decea139p-23), q, -0x1.b04296a7680e2p-22), q, \
    0x1.0c52b409ccd4cp-20), q, 0x1.72c3dc7927025p-19), q, -0x1.3ec1221744a9ap-18), q, \
    -0x1.251710a56f32fp-16), q, 0x1.fe001db5f36d5p-16), q, 0x1.c32505f52bbdfp-14), q, \
    -0x1.2239005b9a85cp-12), q, -0x1.1f78e0828bf1cp-11), q, 0x1.8dae3a322673fp-9), q, \
    -0x1.3dd3e717828f9p-10), q, -0x1.b78993d6cc7aap-6), q, 0x1.e995f11b181fcp-4), q, \
    -0x1.3deb21415dbd7p-2), q, 0x1.2e326945de2aep-1), q, -0x1.c44c471baa377p-1), q, 0x1.12f21ddd9f5e2p+0)
#include "elementary.h"
