/* jsp_odds.c - restricted sums of local scores, and odds.
 *
 * T(S, U), the sum over sets between S and S + U, is either added up directly (2^|U|
 * terms of log_term) or by inclusion-exclusion (2^|S| terms of log_sum with signs, which
 * may cancel). jsp_odds_compute needs T(S, U) and T(S, U - k) for every k in U. The direct
 * way gets all of them from one array by folding it once per k, so it is used whenever
 * 2^|U| <= 2^|S| (|U| + 1); it never cancels. Buffers hold jsp_real because the kernels'
 * exp and log do.
 */
#include "jsp_odds.h"

#include <math.h>

#include "jsp_kernels.h"

#define DIRECT_BITS 12    /* up to 2^12 terms are added directly */
#define ODDS_LOWEST (-30) /* what is lost to rounding is at most about e^-11 */
#define ODDS_HIGHEST 80
#define CHUNK 512 /* terms of inclusion-exclusion computed at once */

/* ---- restricted sums ---- */

/* Inclusion-exclusion is trusted down to this part of its largest term
 * exp(log_largest): a float log of size t carries an error of 6e-8 t, which must stay
 * small beside it. Where the direct sum is affordable ten times more is asked. */
static inline double trusted_part(double log_largest, int n_U) {
    double part = 1e-4 + 4e-6 * fabs(log_largest);
    return n_U <= DIRECT_BITS ? 10 * part : part;
}

/* log of the sum of exp(term[S + x]) over x subset U. */
static double sum_directly(const float *term, uint32_t S, uint32_t U) {
    double max = -INFINITY, sum = 0;
    uint32_t x = 0;
    do {
        double value = term[S | x];
        if (value > max) max = value;
        x = (x - U) & U; /* the next subset of U */
    } while (x);
    if (max == -INFINITY) return max;
    do {
        double value = term[S | x] - max;
        if (value > -40) sum += exp(value);
        x = (x - U) & U;
    } while (x);
    return max + log(sum);
}

double jsp_odds_restricted_sum(const jsp_scores *scores, int node, uint32_t S,
                               uint32_t U) {
    const jsp_scores_node *table = &scores->node[node];
    const float *sum = table->log_sum, *term = table->log_term;
    uint32_t all = S | U;
    int n_S = jsp_bits_count64(S), n_U = jsp_bits_count64(U);
    double largest = sum[all], result = 0;
    if (n_S == 0 || largest == -INFINITY) return largest;
    if (n_U <= n_S) return sum_directly(term, S, U);
    uint32_t x = 0;
    do {
        double value = exp(sum[all ^ x] - largest);
        result += jsp_bits_count64(x) & 1 ? -value : value;
        x = (x - S) & S;
    } while (x);
    if (result < trusted_part(largest, n_U)) {
        return n_U <= DIRECT_BITS ? sum_directly(term, S, U) : term[S];
    }
    result = largest + log(result);
    return result < term[S] ? term[S] : result;
}

/* ---- odds ---- */

/* Every odds ratio ends here: joins / stays_out >= 0, in logs, clipped. */
static void write_odds(int n, const int *candidate, const jsp_real *joins,
                       const jsp_real *stays_out, float *odds) {
    jsp_real ratio[JSP_MAX_CANDIDATES];
    for (int k = 0; k < n; k++) ratio[k] = joins[k] / stays_out[k];
    jsp_kernels_active()->log((size_t)n, ratio, ratio);
    for (int k = 0; k < n; k++) {
        jsp_real value = ratio[k];
        if (!(joins[k] > 0) || value < ODDS_LOWEST) value = ODDS_LOWEST;
        if (value > ODDS_HIGHEST || (!(stays_out[k] > 0) && joins[k] > 0)) {
            value = ODDS_HIGHEST;
        }
        odds[candidate[k]] = (float)value;
    }
}

/* S empty: T(0, U) is a table entry. With d = log T(U) - log T(U - k) the ratio is
 * exp(d) - 1, by two terms of its series where the subtraction would cancel. */
static void odds_of_empty(const float *sum, uint32_t U, int n, const int *candidate,
                          float *odds) {
    jsp_real d[JSP_MAX_CANDIDATES], joins[JSP_MAX_CANDIDATES], one[JSP_MAX_CANDIDATES];
    for (int k = 0; k < n; k++) {
        jsp_real value = (jsp_real)(sum[U] - sum[U ^ (uint32_t)1 << candidate[k]]);
        d[k] = value < ODDS_HIGHEST + 1 ? value : ODDS_HIGHEST + 1;
    }
    jsp_kernels_active()->exp((size_t)n, d, joins);
    for (int k = 0; k < n; k++) {
        joins[k] = d[k] < (jsp_real)1e-3 ? d[k] + d[k] * d[k] / 2 : joins[k] - 1;
        one[k] = 1;
    }
    write_odds(n, candidate, joins, one, odds);
}

static jsp_real sum_of(size_t n, const jsp_real *x) {
    jsp_real part[8] = {0};
    if (n < 8) {
        for (size_t k = 0; k < n; k++) part[0] += x[k];
        return part[0];
    }
    for (size_t k = 0; k < n; k += 8) {
        for (int m = 0; m < 8; m++) part[m] += x[k + m];
    }
    return ((part[0] + part[4]) + (part[1] + part[5])) +
           ((part[2] + part[6]) + (part[3] + part[7]));
}

/* All 2^|U| terms in an array whose index bits are the members of U; for each member
 * from the last on, one half holds the sets with it and one those without, then the
 * halves are added and the member is gone. n <= DIRECT_BITS. */
static void odds_directly(const float *term, uint32_t S, uint32_t U, int n,
                          const int *candidate, float *odds) {
    jsp_real value[1 << DIRECT_BITS];
    jsp_real joins[JSP_MAX_CANDIDATES], out[JSP_MAX_CANDIDATES];
    size_t size = (size_t)1 << n;
    float max = -INFINITY;
    uint32_t x = 0;
    for (size_t k = 0; k < size; k++) {
        value[k] = (jsp_real)term[S | x];
        x = (x - U) & U;
    }
    for (size_t k = 0; k < size; k++) max = value[k] > max ? (float)value[k] : max;
    if (max == -INFINITY) max = 0; /* everything excluded: all terms become 0 */
    for (size_t k = 0; k < size; k++) value[k] -= (jsp_real)max;
    jsp_kernels_active()->exp(size, value, value);
    for (int k = n - 1; k >= 0; k--) {
        size_t half = (size_t)1 << k;
        out[k] = sum_of(half, value);
        joins[k] = sum_of(half, value + half);
        for (size_t m = 0; m < half; m++) value[m] += value[half + m];
    }
    write_odds(n, candidate, joins, out, odds);
}

/* Sums by inclusion-exclusion, all divided by exp(log_sum[S + U]). */
typedef struct signed_sums {
    jsp_real total[JSP_MAX_CANDIDATES + 1];   /* T(S, U), then T(S, U - candidate[k]) */
    jsp_real largest[JSP_MAX_CANDIDATES + 1]; /* the largest term of each */
} signed_sums;

/* Rows of n + 1 terms, one per subset of S, go through exp a few at a time. */
static void sum_with_signs(const float *sum, uint32_t S, uint32_t U, int n,
                           const int *candidate, signed_sums *out) {
    jsp_real term[CHUNK], sign[CHUNK];
    double total[JSP_MAX_CANDIDATES + 1] = {0};
    int width = n + 1, rows = 0, most = CHUNK / width, first = 1;
    float shift = sum[S | U];
    uint32_t x = 0;
    do {
        uint32_t all = (S | U) ^ x;
        jsp_real *row = term + rows * width;
        row[0] = (jsp_real)(sum[all] - shift);
        for (int k = 0; k < n; k++) {
            row[1 + k] = (jsp_real)(sum[all ^ (uint32_t)1 << candidate[k]] - shift);
        }
        sign[rows++] = jsp_bits_count64(x) & 1 ? -1 : 1;
        x = (x - S) & S;
        if (rows < most && x) continue;
        jsp_kernels_active()->exp((size_t)(rows * width), term, term);
        for (int k = 0; first && k < width; k++) out->largest[k] = term[k];
        for (int r = 0; r < rows; r++) {
            for (int k = 0; k < width; k++) total[k] += sign[r] * term[r * width + k];
        }
        rows = first = 0;
    } while (x);
    for (int k = 0; k < width; k++) out->total[k] = (jsp_real)total[k];
}

/* 1 when a sum cancelled so far that odds would be wrong. A T(S, U - k) that is
 * negligible beside T(S, U) whatever its digits are gives clipped odds anyway. */
static int has_cancelled(int n, const signed_sums *sums, jsp_real trust) {
    jsp_real least = (jsp_real)1e-36 * sums->total[0]; /* < e^-ODDS_HIGHEST */
    int cancelled = sums->total[0] < trust;
    for (int k = 1; k <= n; k++) {
        jsp_real bound = trust * sums->largest[k];
        cancelled |= (sums->total[k] < bound) & (bound > least);
    }
    return cancelled;
}

static void odds_with_signs(const jsp_scores_node *table, uint32_t S, uint32_t U, int n,
                            const int *candidate, float *odds) {
    signed_sums sums;
    jsp_real joins[JSP_MAX_CANDIDATES], out[JSP_MAX_CANDIDATES];
    sum_with_signs(table->log_sum, S, U, n, candidate, &sums);
    jsp_real trust = (jsp_real)trusted_part(table->log_sum[S | U], n);
    if (has_cancelled(n, &sums, trust)) {
        if (n <= DIRECT_BITS) {
            odds_directly(table->log_term, S, U, n, candidate, odds);
            return;
        }
        /* Too many sets: the term of S bounds every sum from below. */
        jsp_real least =
            (jsp_real)exp((double)table->log_term[S] - table->log_sum[S | U]);
        for (int k = 0; k <= n; k++) {
            jsp_real bound = trust * sums.largest[k];
            if (sums.total[k] < bound || sums.total[k] < least) sums.total[k] = least;
        }
    }
    for (int k = 0; k < n; k++) {
        out[k] = sums.total[1 + k];
        joins[k] = sums.total[0] - out[k];
    }
    write_odds(n, candidate, joins, out, odds);
}

void jsp_odds_compute(const jsp_scores *scores, int node, uint32_t S, uint32_t U,
                      float *odds) {
    const jsp_scores_node *table = &scores->node[node];
    int candidate[JSP_MAX_CANDIDATES], n = 0;
    for (uint32_t left = U; left; left &= left - 1) {
        candidate[n++] = jsp_bits_lowest64(left);
    }
    if (n == 0) return;
    int n_S = jsp_bits_count64(S);
    if (n_S == 0) {
        odds_of_empty(table->log_sum, U, n, candidate, odds);
    } else if (n <= DIRECT_BITS && (size_t)1 << n <= ((size_t)1 << n_S) * (n + 1)) {
        odds_directly(table->log_term, S, U, n, candidate, odds);
    } else {
        odds_with_signs(table, S, U, n, candidate, odds);
    }
}
