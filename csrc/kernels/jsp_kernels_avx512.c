/* jsp_kernels_avx512.c - the table for AVX-512 (F, DQ, BW, VL): vectors of 16 floats.
 * See jsp_kernels_avx2.c for how the instruction set is switched on. */
#include "jsp_kernels_tables.h"

#if JSP_KERNELS_X86
#include <immintrin.h>
#include <math.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target(                                    \
                                 "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),     \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

#define LANES 16
#define MAX_ROWS 8 /* of a tile: 8 rows x 2 vectors of sums in 32 registers */

typedef __m512 vec;
typedef __m512d dvec;
typedef int32_t ivec __attribute__((vector_size(64)));

#define INLINE inline __attribute__((always_inline))

static INLINE vec splat(float x) {
    return _mm512_set1_ps(x);
}

/* a b + c, rounded once */
static INLINE vec multiply_add(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}

static INLINE dvec multiply_add_doubles(dvec a, dvec b, dvec c) {
    return _mm512_fmadd_pd(a, b, c);
}

/* lane by lane: x < y ? a : b */
static INLINE vec select_less(vec x, vec y, vec a, vec b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}

/* The larger of a and b; b when one of them is NaN. */
static INLINE vec larger(vec a, vec b) {
    return _mm512_max_ps(a, b);
}

/* The first n < LANES numbers of p, then zeros; memory behind them is not touched. */
static INLINE vec load_part(const float *p, int n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

static INLINE void store_part(float *p, int n, vec v) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}

static INLINE float sum_lanes(vec v) {
    __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter =
        _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    quarter = _mm_add_ss(quarter, _mm_movehdup_ps(quarter));
    return _mm_cvtss_f32(quarter);
}

#include "jsp_kernels_transpose.inc"

#define TABLE jsp_kernels_avx512
#define TABLE_NAME "avx512"
#include "jsp_kernels_template.inc"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
