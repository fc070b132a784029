/* jsp_exact_tables.c - sums over parent sets, in extended range.
 *
 * tau_j is a zeta transform (every set gets the sum over its subsets), K passes of
 * additions that line up two exponents. The way back is its mirror image: with
 * first_j(U) of the forward pass,
 *     P(Pa_j = S) = exp l_j(S) sum over U containing S of first_j(U) / tau_j(U).
 * Only probabilities are stored per set; the quotients, which span thousands of nats,
 * live in scratch of one node at a time. */
#include "jsp_exact_inner.h"

#include <math.h>

#define LOG2E 1.44269504088896340736
#define LN2 0.69314718055994530942

/* mantissa 2^exponent = exp(x); scores 10^7 nats below the best count as excluded */
static void split(double x, double *mantissa, int32_t *exponent) {
    double y = x * LOG2E;
    if (!(y > JSP_EXACT_ZERO)) {
        *mantissa = 0;
        *exponent = JSP_EXACT_ZERO;
        return;
    }
    double whole = floor(y);
    *mantissa = exp((y - whole) * LN2);
    *exponent = (int32_t)whole;
}

/* a[k] += b[k] */
static void add_rows(size_t n, double *am, int32_t *ae, const double *bm,
                     const int32_t *be) {
    for (size_t k = 0; k < n; k++) {
        jsp_exact_add(&am[k], &ae[k], bm[k], be[k]);
    }
}

/* Subset sums (down = 0) or superset sums (down = 1); blocks that fit the cache go
 * through their passes first. */
static void transform(int K, int down, double *m, int32_t *e) {
    size_t n = (size_t)1 << K, block = n < 1024 ? n : 1024;
    for (size_t begin = 0; begin < n; begin += block) {
        for (size_t half = 1; half < block; half *= 2) {
            for (size_t S = begin; S < begin + block; S += 2 * half) {
                size_t to = S + (down ? 0 : half), from = S + (down ? half : 0);
                add_rows(half, m + to, e + to, m + from, e + from);
            }
        }
    }
    for (size_t half = block; half < n; half *= 2) {
        for (size_t S = 0; S < n; S += 2 * half) {
            size_t to = S + (down ? 0 : half), from = S + (down ? half : 0);
            add_rows(half, m + to, e + to, m + from, e + from);
        }
    }
}

void jsp_exact_tables_sum(jsp_exact *exact, int node) {
    const jsp_scores_node *scores = &exact->scores->node[node];
    jsp_exact_table *table = &exact->table[node];
    size_t n = (size_t)1 << table->K;
    for (size_t S = 0; S < n; S++) {
        uint32_t T = jsp_exact_map(table->shuffle, (uint32_t)S);
        split(scores->score[S] - scores->max_score, &table->mantissa[T],
              &table->exponent[T]);
        table->dropped |= table->mantissa[T] == 0 && scores->score[S] > -INFINITY;
    }
    transform(table->K, 0, table->mantissa, table->exponent);
    for (size_t S = 0; S < n; S++) {
        jsp_exact_normalise(&table->mantissa[S], &table->exponent[S]);
    }
}

/* column of edges: sum over S with candidate k, for each k, by folding halves. The
 * array is used up. */
static void sum_edges(jsp_exact *exact, int node, double *value) {
    int D = exact->D;
    const jsp_scores_node *scores = &exact->scores->node[node];
    for (int k = exact->table[node].K - 1; k >= 0; k--) {
        size_t half = (size_t)1 << k;
        double part[4] = {0};
        for (size_t S = 0; S < half; S++) {
            part[S & 3] += value[half + S];
            value[S] += value[half + S];
        }
        exact->edges[scores->candidate[k] * D + node] =
            (part[0] + part[1]) + (part[2] + part[3]);
    }
}

void jsp_exact_tables_posterior(jsp_exact *exact, int node, int worker) {
    const jsp_scores_node *scores = &exact->scores->node[node];
    jsp_exact_table *table = &exact->table[node];
    size_t n = (size_t)1 << table->K;
    double *m = exact->mantissa + (size_t)worker * exact->scratch;
    int32_t *e = exact->exponent + (size_t)worker * exact->scratch;
    for (size_t U = 0; U < n; U++) {
        m[U] = table->posterior[U] > 0 ? table->posterior[U] / table->mantissa[U] : 0;
        e[U] = m[U] > 0 ? -table->exponent[U] : JSP_EXACT_ZERO;
    }
    transform(table->K, 1, m, e);
    for (size_t S = 0; S < n; S++) {
        double weight;
        int32_t exponent;
        split(scores->score[S] - scores->max_score, &weight, &exponent);
        uint32_t T = jsp_exact_map(table->shuffle, (uint32_t)S);
        table->posterior[S] = m[T] * weight * jsp_exact_power(e[T] + exponent);
    }
    memcpy(m, table->posterior, n * sizeof *m);
    sum_edges(exact, node, m);
}
