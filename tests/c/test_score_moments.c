/* test_score_moments.c - moments of weights over random parent sets, and of columns far
 * from 0, where roots in long double serve as twin. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "jsp_bits.h"
#include "jsp_memory.h"
#include "jsp_moments.h"
#include "score_cases.h"

/* ---- moments of weights ---- */

/* Random probabilities of all subsets of K candidates; no set above max_parents, and
 * one in four is 0. */
static void make_probabilities(int K, int max_parents, double *probability) {
    jsp_rng rng;
    double total = 0;
    jsp_rng_init(&rng, 77, (uint32_t)K, 0, JSP_RNG_TEST);
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) {
        double u = jsp_rng_uniform(&rng);
        probability[S] = S && u < 0.25 ? 0 : u * u * u;
        if (jsp_bits_count64(S) > max_parents) probability[S] = 0;
        total += probability[S];
    }
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) probability[S] /= total;
}

/* The walk against sets that are solved one by one. */
static int check_mixture(const jsp_model_setup *setup, int node, int K, int max_parents,
                         double tolerance) {
    double probability[1 << 9], first[9], second[9], noise, one[9], two[9], v;
    double expected_first[9] = {0}, expected_second[9] = {0}, expected_noise = 0;
    int candidates[9];
    members(jsp_data_n_variables(setup->data), node, ((uint32_t)1 << K) - 1,
            candidates);
    make_probabilities(K, max_parents, probability);
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) {
        int parents[9], bit[9], p = 0;
        double mean[9], variance[9];
        for (int k = 0; k < K; k++) {
            if (S >> k & 1) bit[p] = k, parents[p++] = candidates[k];
        }
        CHECK(setup->model->moments(setup, node, p, parents, mean, variance, &v,
                                    NULL) == JSP_OK);
        for (int k = 0; k < p; k++) {
            expected_first[bit[k]] += probability[S] * mean[k];
            expected_second[bit[k]] +=
                probability[S] * (variance[k] + mean[k] * mean[k]);
        }
        expected_noise += probability[S] * v;
    }
    jsp_moments_mixture mixture = {K,     candidates, probability, 1,
                                   first, second,     &noise};
    CHECK(jsp_moments_mix(setup, node, &mixture, NULL) == JSP_OK);
    for (int k = 0; k < K; k++) {
        CHECK_NEAR(first[k], expected_first[k], tolerance * (0.1 + fabs(first[k])));
        CHECK_NEAR(second[k], expected_second[k], tolerance * (0.1 + second[k]));
    }
    CHECK_NEAR(noise, expected_noise, tolerance * expected_noise);
    mixture = (jsp_moments_mixture){K, candidates, probability, 3, one, two, &v};
    CHECK(jsp_moments_mix(setup, node, &mixture, NULL) == JSP_OK);
    CHECK(memcmp(one, first, (size_t)K * sizeof *one) == 0); /* the same bits */
    CHECK(memcmp(two, second, (size_t)K * sizeof *two) == 0);
    CHECK(v == noise);
    return 0;
}

static int test_mixed_moments(void) {
    static const char *const names[] = {"linear", "nig", "bge"};
    table t;
    CHECK(make_table(&t, 16, 10, 31, 1) == JSP_OK);
    for (int m = 0; m < 6; m++) {
        jsp_model_setup setup = setup_of(names[m / 2], t.data, m & 1);
        for (int K = 0; K < 10; K++) {
            CHECK(check_mixture(&setup, K / 2, K, K, 1e-11) == 0);
            CHECK(check_mixture(&setup, 8, K, 2, 1e-11) == 0);
        }
    }
    jsp_data_destroy(t.data);
    return 0;
}

static int test_mixed_moments_refusals(void) {
    table t;
    double probability[4] = {0.25, 0.25, 0.25, 0.25}, first[2], second[2], noise;
    int candidates[2] = {1, 2};
    jsp_moments_mixture mixture = {2,     candidates, probability, 1,
                                   first, second,     &noise};
    jsp_error error;
    CHECK(make_table(&t, 16, 3, 32, 0) == JSP_OK);
    jsp_model_setup setup = setup_of("linear", t.data, 0);
    for (int fail = 1; fail <= 2; fail++) {
        long live = jsp_memory_live();
        jsp_memory_fail_at(fail);
        CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_MEMORY);
        CHECK(jsp_memory_live() == live);
    }
    jsp_memory_fail_at(0);
    jsp_data_destroy(t.data);
    for (int r = 0; r < 16; r++) t.x[3 * r + 2] = t.x[3 * r + 1]; /* a copy */
    CHECK(jsp_data_create(t.x, NULL, 16, 3, 1, &t.data, NULL) == JSP_OK);
    setup = setup_of("linear", t.data, 0);
    setup.field[1] = 1e12; /* a prior too flat to tell the copies apart */
    CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_NUMERICAL);
    setup.model = &jsp_model_bdeu;
    CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_VALUE);
    jsp_data_destroy(t.data);
    return 0;
}

/* ---- far from 0 ---- */

/* A of one node as R^T R, the node last, by Gram-Schmidt on rows: no products of means
 * are ever formed, and long double leaves more digits than the data have. */
typedef struct root {
    int n, p; /* rows that count, parents */
    long double R[MOST][MOST];
} root;

/* F [n, q] is used up. */
static void orthogonalize(int n, int q, long double F[][MOST], root *out) {
    for (int c = 0; c < q; c++) {
        for (int k = c; k < q; k++) {
            long double sum = 0;
            for (int r = 0; r < n; r++) sum += F[r][c] * F[r][k];
            out->R[c][k] = k == c ? sqrtl(sum) : sum / out->R[c][c];
            for (int r = 0; k > c && r < n; r++) {
                F[r][k] -= F[r][c] * (out->R[c][k] / out->R[c][c]);
            }
        }
    }
}

/* Rows: the data, divided by the noise scale (bge: about their mean, and the mean once,
 * weighted), then the roots of the ridge. Settings are the defaults. */
static void find_root(const table *t, int bge, double noise_scale, int node, int p,
                      const int *parents, root *out) {
    long double F[2 * MOST + 1][MOST] = {{0}};
    int n = 0, ridges = bge ? p + 1 : p;
    for (int r = 0; r < t->N; r++) {
        if (t->mask[r * t->D + node]) continue;
        for (int c = 0; c <= p; c++) {
            F[n][c] = t->x[r * t->D + (c < p ? parents[c] : node)];
            F[n][c] /= noise_scale;
        }
        n++;
    }
    out->n = n;
    out->p = p;
    for (int c = 0; bge && c <= p; c++) {
        long double mean = 0;
        for (int r = 0; r < n; r++) mean += F[r][c] / n;
        for (int r = 0; r < n; r++) F[r][c] -= mean;
        F[n][c] = sqrtl(n / (1.0L + n)) * mean;
    }
    for (int c = 0; c < ridges; c++) F[n + bge + c][c] = bge ? sqrtl(0.5L) : 1;
    orthogonalize(n + bge + ridges, p + 1, F, out);
}

/* log det A_SS */
static double root_log_det(const root *q) {
    long double value = 0;
    for (int c = 0; c < q->p; c++) value += 2 * logl(q->R[c][c]);
    return (double)value;
}

static double root_residual(const root *q) {
    return (double)(q->R[q->p][q->p] * q->R[q->p][q->p]);
}

static double root_evidence(const root *q, const char *model) {
    double n = q->n, p = q->p, log_det = root_log_det(q), residual = root_residual(q);
    if (!strcmp(model, "linear")) {
        return -0.5 * (n * log(TWO_PI * 0.1) + log_det + residual);
    }
    if (!strcmp(model, "nig")) {
        return -0.5 * (n * log(TWO_PI) + log_det) + lgamma(1 + n / 2) -
               (1 + n / 2) * log(1 + residual / 2);
    }
    return -n / 2 * log(TWO_PI / 2) + 0.5 * log(1 / (1 + n)) +
           lgamma((n + 2 + p + 1) / 2) - lgamma((2 + p + 1) / 2) +
           (2 + p + p + 1) / 2 * log(0.5) - 0.5 * log_det -
           (n + 2 + p + 1) / 2 * log(residual);
}

/* mean = A_SS^-1 b_S, diagonal of A_SS^-1 */
static void root_moments(const root *q, double *mean, double *diagonal) {
    long double inverse[MOST][MOST] = {{0}}, x[MOST];
    for (int i = q->p - 1; i >= 0; i--) { /* of R_SS */
        x[i] = q->R[i][q->p];
        inverse[i][i] = 1 / q->R[i][i];
        for (int k = i + 1; k < q->p; k++) {
            x[i] -= q->R[i][k] * x[k];
            for (int c = k; c < q->p; c++) {
                inverse[i][c] -= q->R[i][k] * inverse[k][c] / q->R[i][i];
            }
        }
        x[i] /= q->R[i][i];
        long double sum = 0;
        for (int c = i; c < q->p; c++) sum += inverse[i][c] * inverse[i][c];
        mean[i] = (double)x[i];
        diagonal[i] = (double)sum;
    }
}

/* What long double resolves here: valgrind computes it as double. */
static double long_epsilon(void) {
    volatile long double x = 1;
    x += LDBL_EPSILON;
    return x > 1 ? (double)LDBL_EPSILON : DBL_EPSILON;
}

/* |R (weight - mean)|^2 */
static double root_distance(const root *q, const double *weight, const double *mean) {
    long double total = 0;
    for (int i = 0; i < q->p; i++) {
        long double sum = 0;
        for (int k = i; k < q->p; k++) {
            sum += q->R[i][k] * ((long double)weight[k] - mean[k]);
        }
        total += sum * sum;
    }
    return (double)total;
}

/* Table, evidence, moments and draws of one set. */
static int check_far_set(const jsp_model_setup *setup, const table *t, int node, int p,
                         const int *parents, double from_table, double shift) {
    const char *name = setup->model->name;
    const int bge = !strcmp(name, "bge"), linear = !strcmp(name, "linear");
    double value, mean[MOST], variance[MOST], noise, expected[MOST], diagonal[MOST];
    /* A root in long double and weights in double: the means multiply what they lack. */
    double twin = 10 * shift * long_epsilon();
    double close = 1e-11 + twin, nearby = 1e-12 + 3e-15 * shift + twin;
    root q = {0};
    find_root(t, bge, linear ? sqrt(0.1) : 1, node, p, parents, &q);
    double evidence = root_evidence(&q, name);
    CHECK(setup->model->evidence(setup, node, p, parents, &value, NULL) == JSP_OK);
    CHECK_NEAR(value, evidence, close * (1 + fabs(evidence)));
    CHECK_NEAR(from_table, evidence, close * (1 + fabs(evidence)));
    CHECK(setup->model->moments(setup, node, p, parents, mean, variance, &noise,
                                NULL) == JSP_OK);
    root_moments(&q, expected, diagonal);
    double v = linear ? 0.1 : noise;
    if (!linear) {
        double shape = bge ? (q.n + 2 + p + 1) / 2.0 : 1 + q.n / 2.0;
        double rate = root_residual(&q) / 2 + !bge;
        CHECK_NEAR(noise, rate / (shape - 1), close * noise);
    }
    for (int k = 0; k < p; k++) {
        double w = linear ? diagonal[k] : v * diagonal[k];
        CHECK_NEAR(mean[k], expected[k], nearby * (1 + fabs(mean[k])));
        CHECK_NEAR(variance[k], w, nearby * w);
    }
    for (int s = 0; s < 3; s++) {
        double weight[MOST];
        jsp_rng rng;
        jsp_rng_init(&rng, 41, (uint32_t)node, (uint32_t)s, JSP_RNG_TEST);
        jsp_model_draw draw = {.weight = weight};
        CHECK(setup->model->draw(setup, node, p, parents, &rng, &draw, NULL) == JSP_OK);
        if (!linear) continue;
        double log_density = 0.5 * (root_log_det(&q) - p * log(TWO_PI) -
                                    root_distance(&q, weight, expected));
        CHECK_NEAR(draw.log_density, log_density, 50 * nearby);
    }
    return 0;
}

/* Columns up to 1e7 standard deviations from 0, one of them not moved. */
static int test_far_from_zero(void) {
    static const char *const names[] = {"linear", "nig", "bge"};
    enum { D = 5, K = D - 1 };
    for (double shift = 1; shift < 2e7; shift *= 10) {
        table t;
        CHECK(make_table(&t, 16, D, 51, 1) == JSP_OK);
        jsp_data_destroy(t.data);
        for (int c = 0; c < 16 * D; c++) {
            int j = c % D;
            if (j != 1) t.x[c] += shift * (1 + j / 3.0) * (j == 2 ? -1 : 1);
        }
        CHECK(jsp_data_create(t.x, t.mask, 16, D, 1, &t.data, NULL) == JSP_OK);
        for (int m = 0; m < 3; m++) {
            jsp_model_setup setup = setup_of(names[m], t.data, 0);
            for (int j = 0; j < D - 1; j++) {
                double values[1 << K];
                int all[K];
                members(D, j, (1 << K) - 1, all);
                CHECK(setup.model->tabulate(&setup, j, K, all, K, values, NULL) ==
                      JSP_OK);
                for (uint32_t S = 0; S < 1 << K; S++) {
                    int parents[K], p = members(D, j, S, parents);
                    CHECK(check_far_set(&setup, &t, j, p, parents, values[S], shift) ==
                          0);
                }
                CHECK(check_mixture(&setup, j, K, K, 1e-11 + 3e-15 * shift) == 0);
            }
        }
        jsp_data_destroy(t.data);
    }
    return 0;
}

static const check_test TESTS[] = {
    {"mixed moments", test_mixed_moments},
    {"mixed moments refusals", test_mixed_moments_refusals},
    {"far from zero", test_far_from_zero},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
