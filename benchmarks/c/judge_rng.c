/* judge_rng.c - random numbers against their distributions, 10^8 draws of each kind.
 *
 *     judge_rng [draws]
 *
 * Every draw goes through its distribution function into one of BINS equal cells of (0, 1);
 * Pearson's statistic over the cells gives the p-value. `pairs` are neighbours in a stream,
 * `streams` the first words of neighbouring streams (index counts up, as for draws of a
 * posterior), each pair in one cell of 64 x 64. Exits with 1 when a p-value, times the
 * number of tests, is below 1e-4. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "jsp_rng.h"

#define BINS 4096
#define SIDE 64
#define BLOCK 1000

static double count[BINS];
static double smallest_p = 1;
static int n_tests;

static void add(double u) {
    int cell = (int)(u * BINS);
    count[cell < 0 ? 0 : cell >= BINS ? BINS - 1 : cell] += 1;
}

/* Upper tail of chi-square by Wilson and Hilferty. */
static double tail(double statistic, double freedom) {
    double a = 2 / (9 * freedom);
    double z = (cbrt(statistic / freedom) - (1 - a)) / sqrt(a);
    return 0.5 * erfc(z / sqrt(2));
}

static void judge(const char *name, double n) {
    double statistic = 0, expected = n / BINS;
    for (int k = 0; k < BINS; k++) {
        statistic += (count[k] - expected) * (count[k] - expected) / expected;
        count[k] = 0;
    }
    double p = tail(statistic, BINS - 1);
    p = p < 0.5 ? p : 1 - p; /* too good is as bad */
    printf("%-28s chi-square %8.1f of %d cells, two-sided p %.3g\n", name, statistic,
           BINS, 2 * p);
    smallest_p = 2 * p < smallest_p ? 2 * p : smallest_p;
    n_tests++;
}

static double normal_cdf(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}

/* Of Gamma(1/2), Gamma(1), Gamma(3/2) and Gamma(5/2). */
static double gamma_cdf(double shape, double x) {
    double density = exp(-x);
    if (shape == 1) return 1 - density;
    double value = erf(sqrt(x)), term = 2 * sqrt(x / acos(-1)) * density;
    if (shape > 1) value -= term;
    if (shape > 2) value -= term * x / 1.5;
    return value;
}

static void judge_fills(long n) {
    double out[BLOCK];
    jsp_rng rng;
    jsp_rng_init(&rng, 5, 0, 0, JSP_RNG_TEST);
    for (long k = 0; k < n; k += BLOCK) {
        jsp_rng_fill_uniform(&rng, BLOCK, out);
        for (int i = 0; i < BLOCK; i++) add(out[i]);
    }
    judge("fill_uniform", (double)n);
    for (long k = 0; k < n; k += BLOCK) {
        jsp_rng_fill_normal(&rng, BLOCK, out);
        for (int i = 0; i < BLOCK; i++) add(normal_cdf(out[i]));
    }
    judge("fill_normal", (double)n);
}

static void judge_pairs(long n) {
    jsp_rng rng, next;
    jsp_rng_init(&rng, 6, 0, 0, JSP_RNG_TEST);
    for (long k = 0; k < n; k++) {
        int first = (int)(jsp_rng_uniform(&rng) * SIDE);
        add((first + jsp_rng_uniform(&rng)) / SIDE);
    }
    judge("pairs", (double)n);
    for (long k = 0; k < n; k++) {
        jsp_rng_init(&rng, 7, 3, (uint32_t)k, JSP_RNG_SAMPLE);
        jsp_rng_init(&next, 7, 3, (uint32_t)k + 1, JSP_RNG_SAMPLE);
        int first = (int)(jsp_rng_uniform(&rng) * SIDE);
        add((first + jsp_rng_uniform(&next)) / SIDE);
    }
    judge("streams", (double)n);
}

int main(int argc, char **argv) {
    long n = argc > 1 ? atol(argv[1]) : 100000000;
    const double shapes[] = {0.5, 1, 1.5, 2.5};
    jsp_rng rng;
    n -= n % BLOCK;
    jsp_rng_init(&rng, 4, 0, 0, JSP_RNG_TEST);
    for (long k = 0; k < n; k++) add((double)jsp_rng_next(&rng) / 4294967296.0);
    judge("words", (double)n);
    for (long k = 0; k < n; k++) add(jsp_rng_uniform(&rng));
    judge("uniform", (double)n);
    for (long k = 0; k < n; k++) add(normal_cdf(jsp_rng_normal(&rng)));
    judge("normal", (double)n);
    for (int s = 0; s < 4; s++) {
        char name[40];
        for (long k = 0; k < n; k++)
            add(gamma_cdf(shapes[s], jsp_rng_gamma(&rng, shapes[s])));
        snprintf(name, sizeof name, "gamma %.1f", shapes[s]);
        judge(name, (double)n);
    }
    judge_fills(n);
    judge_pairs(n);
    printf("%ld draws of each kind, %d tests: smallest p %.3g\n", n, n_tests,
           smallest_p);
    return smallest_p * n_tests < 1e-4;
}
