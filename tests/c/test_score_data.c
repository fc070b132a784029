/* test_score_data.c - data moments, special functions, settings, candidates, faults. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_candidates.h"
#include "jsp_memory.h"
#include "jsp_special.h"
#include "score_cases.h"

/* ---- data ---- */

static int test_moments(void) {
    enum { N = 5003, D = 7 };
    double *x = malloc(sizeof(double) * N * D);
    uint8_t *mask = malloc(N * D);
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) {
        x[k] = 1e6 + jsp_rng_normal(&rng);
        mask[k] = k % D != 2 && jsp_rng_uniform(&rng) < 0.3;
    }
    for (int r = 0; r < N; r++)
        mask[r * D + 5] = mask[r * D + 4]; /* a shared pattern */
    for (int with_mask = 0; with_mask < 2; with_mask++) {
        jsp_data *one, *three;
        const uint8_t *used = with_mask ? mask : NULL;
        CHECK(jsp_data_create(x, used, N, D, 1, &one, NULL) == JSP_OK);
        CHECK(jsp_data_create(x, used, N, D, 3, &three, NULL) == JSP_OK);
        CHECK(jsp_data_n_variables(one) == D);
        for (int j = 0; j < D; j++) {
            jsp_data_moments a = jsp_data_node(one, j), b = jsp_data_node(three, j);
            CHECK(memcmp(a.mean, b.mean, sizeof(double) * D) == 0);
            CHECK(memcmp(a.scatter, b.scatter, sizeof(double) * D * D) == 0);
            double n = 0, mean[D] = {0}, scatter[D][D] = {{0}};
            for (int r = 0; r < N; r++) {
                if (used && used[r * D + j]) continue;
                n++;
                for (int k = 0; k < D; k++) mean[k] += x[r * D + k] - 1e6;
            }
            for (int k = 0; k < D; k++) mean[k] /= n;
            for (int r = 0; r < N; r++) {
                if (used && used[r * D + j]) continue;
                for (int i = 0; i < D; i++) {
                    for (int k = 0; k < D; k++) {
                        scatter[i][k] += (x[r * D + i] - 1e6 - mean[i]) *
                                         (x[r * D + k] - 1e6 - mean[k]);
                    }
                }
            }
            CHECK(a.n_rows == n);
            for (int k = 0; k < D; k++) {
                CHECK_NEAR(a.mean[k], 1e6 + mean[k], 1e-8);
                for (int i = 0; i < D; i++) {
                    CHECK_NEAR(a.scatter[i * D + k], scatter[i][k], 1e-6);
                    CHECK(a.scatter[i * D + k] == a.scatter[k * D + i]);
                }
            }
        }
        jsp_data_destroy(one);
        jsp_data_destroy(three);
    }
    free(x);
    free(mask);
    return 0;
}

static int test_special(void) {
    for (double x = 0.05; x < 3000; x *= 1.07) {
        CHECK_NEAR(jsp_special_log_gamma(x), lgamma(x), 1e-13 + 1e-15 * lgamma(x) * 10);
    }
    return 0;
}

/* lgamma(x + n) - lgamma(x) against products, small and large. */
static int test_rising(void) {
    const double xs[] = {1e-300, 1e-9, 0.3, 1, 11.9, 12, 345.6, 1e9};
    for (size_t k = 0; k < sizeof xs / sizeof *xs; k++) {
        double expected = 0;
        for (int n = 0; n < 60; n++) {
            CHECK_NEAR(jsp_special_log_rising(xs[k], n), expected,
                       1e-13 * (1 + fabs(expected)));
            expected += log(xs[k] + n);
        }
    }
    return 0;
}

/* ---- settings, candidates, faults ---- */

static int test_settings(void) {
    table t;
    jsp_error error = {0};
    CHECK(make_table(&t, 10, 4, 9, 0) == JSP_OK);
    CHECK(jsp_model_find("nothing") == NULL);
    CHECK(jsp_model_at(0) == jsp_model_find("linear"));
    CHECK(jsp_model_at(2) == jsp_model_find("bge"));
    CHECK(jsp_model_at(5) == jsp_model_find("mlp"));
    CHECK(jsp_model_at(6) == NULL && jsp_model_at(-1) == NULL);
    double bad[] = {0, -1, NAN, INFINITY, 1e-200};
    for (int k = 0; k < 5; k++) {
        jsp_model_setup setup = setup_of("linear", t.data, 0);
        setup.field[k & 1] = bad[k];
        CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
        CHECK(strstr(error.message, k & 1 ? "weight_scale" : "noise_scale"));
    }
    jsp_model_setup setup = setup_of("bge", t.data, 0);
    setup.field[1] = 5; /* must be above D + 1 */
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "alpha_w"));
    setup.field[1] = 5.001;
    CHECK(setup.model->check(&setup, &error) == JSP_OK);
    setup.field[0] = -1;
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "alpha_mu"));
    jsp_data_destroy(t.data);
    jsp_data *data = NULL;
    CHECK(jsp_data_create(t.x, NULL, 1, 0, 1, &data, &error) == JSP_ERROR_VALUE);
    CHECK(jsp_data_create(t.x, NULL, 1, JSP_MAX_VARIABLES + 1, 1, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create(t.x, NULL, -1, 2, 1, &data, &error) == JSP_ERROR_VALUE);
    CHECK(data == NULL);
    CHECK(jsp_data_create(NULL, NULL, 0, 2, 1, &data, &error) == JSP_OK);
    CHECK(jsp_data_node(data, 1).n_rows == 0);
    jsp_data_destroy(data);
    jsp_data_destroy(NULL);
    /* moments made elsewhere are taken as they are, and nonsense is refused */
    const int32_t set_of[] = {0, 1}, wrong[] = {0, 2};
    const double n_rows[] = {3, 4}, mean[] = {1, 2, 3, 4};
    const double scatter[] = {1, 0, 0, 1, 2, 1, 1, 2};
    CHECK(jsp_data_create_moments(2, 2, wrong, n_rows, mean, scatter, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(data == NULL);
    CHECK(jsp_data_create_moments(2, 2, set_of, n_rows, mean, scatter, &data, &error) ==
          JSP_OK);
    CHECK(jsp_data_n_sets(data) == 2 && jsp_data_set_of(data, 1) == 1);
    CHECK(jsp_data_node(data, 1).n_rows == 4 && jsp_data_node(data, 1).scatter[1] == 1);
    jsp_data_destroy(data);
    return 0;
}

/* Copies of one column beyond the reach of the prior are refused, not garbled. */
static int test_collinear(void) {
    double x[30 * 3];
    jsp_rng rng;
    jsp_rng_init(&rng, 14, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < 30; r++) {
        x[3 * r] = x[3 * r + 1] = 1e9 * jsp_rng_normal(&rng);
        x[3 * r + 2] = jsp_rng_normal(&rng);
    }
    jsp_data *data;
    jsp_error error = {0};
    int candidates[2] = {0, 1};
    double value[4];
    CHECK(jsp_data_create(x, NULL, 30, 3, 1, &data, NULL) == JSP_OK);
    for (int m = 0; m < 2; m++) {
        jsp_model_setup setup = setup_of(m ? "bge" : "linear", data, 1);
        CHECK(setup.model->tabulate(&setup, 2, 2, candidates, 2, value, &error) ==
              JSP_ERROR_NUMERICAL);
        CHECK(strstr(error.message, "variable 2"));
        CHECK(setup.model->evidence(&setup, 2, 2, candidates, value, &error) ==
              JSP_ERROR_NUMERICAL);
        CHECK(setup.model->evidence(&setup, 2, 1, candidates, value, &error) == JSP_OK);
    }
    jsp_data_destroy(data);
    return 0;
}

static const jsp_scores_config FAIR = {.prior = JSP_SCORES_FAIR};

/* Ten groups of four: a, b free, c = a - b + noise, d = c + noise. */
static int test_candidates(void) {
    enum { N = 400, D = 40, K = 6 };
    double *x = malloc(sizeof(double) * N * D);
    jsp_rng rng;
    jsp_rng_init(&rng, 15, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < N; r++) {
        double *row = x + r * D;
        for (int j = 0; j < D; j++) {
            row[j] = jsp_rng_normal(&rng);
            if (j % 4 == 2) row[j] = 0.3 * row[j] + row[j - 2] - row[j - 1];
            if (j % 4 == 3) row[j] = row[j] + row[j - 1];
        }
    }
    jsp_data *data;
    CHECK(jsp_data_create(x, NULL, N, D, 1, &data, NULL) == JSP_OK);
    jsp_model_setup setup = setup_of("bge", data, 0);
    int list[D * K], n[D], list3[D * K], n3[D];
    CHECK(jsp_candidates_select(&setup, &FAIR, K, 1, list, n, NULL) == JSP_OK);
    CHECK(jsp_candidates_select(&setup, &FAIR, K, 3, list3, n3, NULL) == JSP_OK);
    CHECK(memcmp(list, list3, sizeof list) == 0 && memcmp(n, n3, sizeof n) == 0);
    int found = 0;
    for (int j = 0; j < D; j++) {
        CHECK(n[j] == K);
        for (int k = 0; k < K; k++) {
            int i = list[j * K + k];
            CHECK(i >= 0 && i < D && i != j && (k == 0 || i > list[j * K + k - 1]));
            found += j % 4 == 2 && (i == j - 2 || i == j - 1);
            found += j % 4 == 3 && i == j - 1;
        }
    }
    CHECK(found == 3 * 10);
    int all[5 * 10], n_all[5];
    jsp_data *small;
    CHECK(jsp_data_create(x, NULL, N, 5, 1, &small, NULL) == JSP_OK);
    setup.data = small;
    CHECK(jsp_candidates_select(&setup, &FAIR, 10, 1, all, n_all, NULL) == 0);
    for (int j = 0; j < 5; j++) {
        CHECK(n_all[j] == 4);
        for (int k = 0; k < 4; k++) CHECK(all[j * 10 + k] == k + (k >= j));
    }
    CHECK(jsp_candidates_select(&setup, &FAIR, 25, 1, all, n_all, NULL) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_candidates_select(&setup, &FAIR, 0, 1, all, n_all, NULL) == 0);
    CHECK(n_all[0] == 0);
    jsp_data_destroy(small);
    jsp_data_destroy(data);
    free(x);
    return 0;
}

static int test_faults(void) {
    table t;
    CHECK(make_table(&t, 12, 6, 16, 1) == JSP_OK);
    jsp_model_setup setup = setup_of("bge", t.data, 0);
    long live = jsp_memory_live();
    int failures = 0, list[12], n[6], candidates[3] = {1, 2, 4};
    double values[8];
    for (long at = 1;; at++) {
        jsp_data *data = NULL;
        jsp_error error = {0};
        jsp_memory_fail_at(at);
        jsp_status status = jsp_data_create(t.x, t.mask, 12, 6, 1, &data, &error);
        jsp_memory_fail_at(0);
        jsp_data_destroy(data);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && error.code == status && data == NULL);
        failures++;
    }
    CHECK(failures >= 4);
    jsp_memory_fail_at(1);
    CHECK(setup.model->tabulate(&setup, 0, 3, candidates, 3, values, NULL) ==
          JSP_ERROR_MEMORY);
    jsp_memory_fail_at(1);
    CHECK(jsp_candidates_select(&setup, &FAIR, 2, 1, list, n, NULL) ==
          JSP_ERROR_MEMORY);
    jsp_memory_fail_at(0);
    CHECK(jsp_memory_live() == live);
    jsp_data_destroy(t.data);
    return 0;
}

static const check_test TESTS[] = {
    {"moments", test_moments},       {"special", test_special},
    {"settings", test_settings},     {"collinear", test_collinear},
    {"candidates", test_candidates}, {"rising", test_rising},
    {"faults", test_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
