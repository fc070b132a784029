/* jsp_kernels_base.c - the table that every processor can run: vectors of 16 bytes in
 * the compiler's portable notation (SSE2 on x86, NEON on ARM).
 *
 * There is no fused multiply-add here: a product is rounded, then a sum. That is
 * what SSE2 offers, and a multiply-add emulated in software would be a hundred times
 * slower. */
#include <math.h>

#include "jsp_kernels_tables.h"

#ifdef JSP_REAL_DOUBLE
#define LANES 2
typedef int64_t lane_bits;
#else
#define LANES 4
typedef int32_t lane_bits;
#endif
#define MAX_ROWS 4 /* of a tile: 4 rows x 2 vectors of sums in 16 registers */

typedef jsp_real vec __attribute__((vector_size(16)));
typedef double dvec __attribute__((vector_size(16)));
typedef lane_bits ivec __attribute__((vector_size(16)));

#define INLINE inline __attribute__((always_inline))

static INLINE vec splat(jsp_real x) {
#ifdef JSP_REAL_DOUBLE
    return (vec){x, x};
#else
    return (vec){x, x, x, x}; /* a loop over the lanes would cost ten instructions */
#endif
}

/* a b + c */
static INLINE vec multiply_add(vec a, vec b, vec c) {
    return a * b + c;
}

static INLINE dvec multiply_add_doubles(dvec a, dvec b, dvec c) {
    return a * b + c;
}

/* lane by lane: x < y ? a : b */
static INLINE vec select_less(vec x, vec y, vec a, vec b) {
    ivec less = (ivec)(x < y);
    return (vec)((less & (ivec)a) | (~less & (ivec)b));
}

/* The larger of a and b; b when one of them is NaN. */
static INLINE vec larger(vec a, vec b) {
    return select_less(b, a, a, b);
}

/* The first n < LANES numbers of p, then zeros. */
static INLINE vec load_part(const jsp_real *p, int n) {
    vec v = {0};
    for (int l = 0; l < n; l++) v[l] = p[l];
    return v;
}

static INLINE void store_part(jsp_real *p, int n, vec v) {
    for (int l = 0; l < n; l++) p[l] = v[l];
}

static INLINE jsp_real sum_lanes(vec v) {
#ifdef JSP_REAL_DOUBLE
    return v[0] + v[1];
#else
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

#define TABLE jsp_kernels_base
#define TABLE_NAME "base"
#include "jsp_kernels_template.inc"
