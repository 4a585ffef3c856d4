/* Non-temporal stores, for results too large for the caches. With them the cache lines of a result need not be read
   from memory before they are overwritten, and other data stay in the caches. */

#define PART 64 /* elements that are computed in a buffer and then stored together, at an aligned address */

#ifdef __AVX__
#include <immintrin.h>

static inline void stream(void *to, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 32)
        _mm256_stream_si256((__m256i *)((char *)to + at), _mm256_load_si256((const __m256i *)((const char *)from + at)));
}

/* Call after a thread's last non-temporal store, so that other threads see what it has written. */
static inline void streamed(void) { _mm_sfence(); }
#else
static inline void stream(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
static inline void streamed(void) {}
#endif

extern int64_t largest_cache; /* in bytes */

/* Whether to write runs of n elements at `out` with non-temporal stores: the caches do not hold `count` elements that
   are read and as many that are written. */
#define AROUND(TYPE, out, n, count) \
    ((n) % PART == 0 && (uintptr_t)(out) % PART == 0 && 2 * (count) * (int64_t)sizeof(TYPE) >= largest_cache)

/* to[i] = f for 0 <= i < n with non-temporal stores; n is a multiple of PART. Storing a whole row at once took longer
   than ordinary stores, so the stores alternate with the computation. */
#define PARTS(TYPE, to, n, f)                                  \
    for (int64_t first_ = 0; first_ < (n); first_ += PART) {   \
        TYPE part_[PART] __attribute__((aligned(PART)));       \
        _Pragma("omp simd")                                    \
        for (int k_ = 0; k_ < PART; k_++) {                    \
            const int64_t i = first_ + k_;                     \
            part_[k_] = f;                                     \
        }                                                      \
        stream((to) + first_, part_, sizeof part_);            \
    }
