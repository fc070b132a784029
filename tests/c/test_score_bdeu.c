/* test_score_bdeu.c - discrete data and their model. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "jsp_memory.h"
#include "jsp_scores.h"
#include "score_cases.h"

/* A walk over subsets of rows with 3, 2, 5 and 4 states, some set by interventions. */
static jsp_data *make_states(int n_rows, jsp_error *error) {
    enum { D = 4 };
    static const int n_states[D] = {3, 2, 5, 4};
    int32_t codes[64 * D];
    uint8_t mask[64 * D];
    jsp_data *data = NULL;
    jsp_rng rng;
    jsp_rng_init(&rng, 31, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < n_rows * D; k++) {
        codes[k] = (int32_t)(jsp_rng_next(&rng) % (uint32_t)n_states[k % D]);
        mask[k] = jsp_rng_uniform(&rng) < 0.2;
    }
    jsp_data_create_discrete(codes, mask, n_rows, D, n_states, &data, error);
    return data;
}

static int test_discrete(void) {
    const int candidates[3] = {0, 1, 2}, n_rows[4] = {0, 1, 7, 64};
    for (int k = 0; k < 4; k++) {
        jsp_data *data = make_states(n_rows[k], NULL);
        CHECK(data && jsp_data_is_discrete(data) && jsp_data_n_states(data, 2) == 5);
        jsp_model_setup setup = {jsp_model_find("bdeu"), data, {2.0}, 0, NULL};
        CHECK(setup.model->is_discrete && setup.model->check(&setup, NULL) == JSP_OK);
        for (int limit = 0; limit <= 3; limit++) {
            double table[8];
            CHECK(setup.model->tabulate(&setup, 3, 3, candidates, limit, table, NULL) ==
                  JSP_OK);
            for (uint32_t S = 0; S < 8; S++) {
                int parents[3], p = 0;
                double value;
                for (int i = 0; i < 3; i++) {
                    if (S >> i & 1) parents[p++] = i;
                }
                CHECK(setup.model->evidence(&setup, 3, p, parents, &value, NULL) ==
                      JSP_OK);
                if (p > limit) {
                    CHECK(table[S] == -INFINITY);
                } else {
                    CHECK_NEAR(table[S], value, 1e-12);
                    CHECK(n_rows[k] > 0 || value == 0);
                }
            }
        }
        double cells[4 * 30];
        jsp_model_draw draw = {.table = cells};
        jsp_rng rng;
        jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
        CHECK(jsp_data_table_size(data, 3, 3, candidates) == 4 * 30);
        CHECK(setup.model->draw(&setup, 3, 3, candidates, &rng, &draw, NULL) == JSP_OK);
        for (int c = 0; c < 30; c++) {
            const double *row = cells + 4 * c;
            CHECK_NEAR(row[0] + row[1] + row[2] + row[3], 1, 1e-12);
        }
        jsp_data_destroy(data);
    }
    return 0;
}

static int test_discrete_refusals(void) {
    const int n_states[2] = {2, 3}, none[2] = {2, 0}, many[2] = {2, JSP_MAX_STATES + 1};
    const int32_t codes[4] = {0, 2, 1, 1}, large[4] = {0, 2, 2, 1},
                  low[4] = {0, -1, 1, 1};
    jsp_data *data;
    jsp_error error = {0};
    CHECK(jsp_data_create_discrete(large, NULL, 2, 2, n_states, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "column 0 has code 2 in row 1"));
    CHECK(jsp_data_create_discrete(low, NULL, 2, 2, n_states, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, none, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, many, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 0, n_states, &data, &error) ==
              JSP_ERROR_VALUE &&
          data == NULL);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, n_states, &data, &error) ==
          JSP_OK);
    jsp_model_setup setup = {jsp_model_find("bdeu"), data, {0}, 0, NULL};
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "equivalent_sample_size"));
    const int *lists[2] = {NULL, NULL}, counts[2] = {0, 0};
    jsp_scores_config config = {.candidates = lists, .n_candidates = counts};
    jsp_scores *scores;
    setup = setup_of("bge", data, 0);
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "needs numbers"));
    jsp_data_destroy(data);
    return 0;
}

/* Every allocation of the discrete path may fail. */
static int test_discrete_faults(void) {
    const int candidates[3] = {0, 1, 2};
    long live = jsp_memory_live();
    int failures = 0;
    for (long at = 1;; at++) {
        jsp_error error = {0};
        double table[8];
        jsp_memory_fail_at(at);
        jsp_data *data = make_states(20, &error);
        jsp_status status = error.code;
        if (data) {
            jsp_model_setup setup = {jsp_model_find("bdeu"), data, {2.0}, 0, NULL};
            status = setup.model->tabulate(&setup, 3, 3, candidates, 3, table, &error);
        }
        jsp_memory_fail_at(0);
        jsp_data_destroy(data);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY);
        failures++;
    }
    CHECK(failures >= 12);
    return 0;
}

static const check_test TESTS[] = {
    {"discrete", test_discrete},
    {"discrete refusals", test_discrete_refusals},
    {"discrete faults", test_discrete_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
