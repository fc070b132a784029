/* jsp_kernels_avx2.c - the table for AVX2 with FMA: vectors of 8 floats.
 *
 * The instruction set is switched on for this file's functions only (a pragma, no
 * compiler flag), so that one build runs on every processor. The double build has no
 * use for this table, and other processors compile an empty file. */
#include "jsp_kernels_tables.h"

#if JSP_KERNELS_X86
#include <immintrin.h>
#include <math.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define LANES 8
/* Rows of a tile: 6 rows x 2 vectors of sums in 16 registers. 4 rows were 8 % slower: 8
 * chains of sums leave no slack against 2 multiply-adds per cycle of latency 4. */
#define MAX_ROWS 6

typedef __m256 vec;
typedef __m256d dvec;
typedef int32_t ivec __attribute__((vector_size(32)));

#define INLINE inline __attribute__((always_inline))

static INLINE vec splat(float x) {
    return _mm256_set1_ps(x);
}

/* a b + c, rounded once */
static INLINE vec multiply_add(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}

static INLINE dvec multiply_add_doubles(dvec a, dvec b, dvec c) {
    return _mm256_fmadd_pd(a, b, c);
}

/* lane by lane: x < y ? a : b */
static INLINE vec select_less(vec x, vec y, vec a, vec b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}

/* The larger of a and b; b when one of them is NaN. */
static INLINE vec larger(vec a, vec b) {
    return _mm256_max_ps(a, b);
}

static INLINE __m256i mask_of(int n) {
    static const int32_t table[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(table + 8 - n));
}

/* The first n < LANES numbers of p, then zeros; memory behind them is not touched. */
static INLINE vec load_part(const float *p, int n) {
    return _mm256_maskload_ps(p, mask_of(n));
}

static INLINE void store_part(float *p, int n, vec v) {
    _mm256_maskstore_ps(p, mask_of(n), v);
}

static INLINE float sum_lanes(vec v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    half = _mm_add_ss(half, _mm_movehdup_ps(half));
    return _mm_cvtss_f32(half);
}

#include "jsp_kernels_transpose.inc"

#define TABLE jsp_kernels_avx2
#define TABLE_NAME "avx2"
#include "jsp_kernels_template.inc"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
