/* Writing around the caches: for results so large that no cache would hold them until someone reads them. Nothing is
   then read from memory only to be written over, and what the caches hold stays in them. */

#define PART 64 /* numbers that are made in a cache and go out together; the place they go to begins a cache line */

#ifdef __AVX__
#include <immintrin.h>

static inline void stream(void *to, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 32)
        _mm256_stream_si256((__m256i *)((char *)to + at), _mm256_load_si256((const __m256i *)((const char *)from + at)));
}

/* After a thread's last one: others see what it has written. */
static inline void streamed(void) { _mm_sfence(); }
#else
static inline void stream(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
static inline void streamed(void) {}
#endif
