/* test_scores.c - score tables: priors, subset sums, restricted sums, odds.
 *
 * Sums are compared with plain enumeration of log-sum-exps in double, also on tables
 * whose entries lie thousands of nats apart and on tables with excluded sets.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_candidates.h"
#include "jsp_memory.h"
#include "jsp_evidences.h"
#include "jsp_odds.h"
#include "jsp_scores.h"

#define LOWEST (-30) /* of log-odds */
#define HIGHEST 80

#define MOST 16

/* ---- tables to test on ---- */

/* All other variables as candidates. */
typedef struct lists {
    int member[MOST][MOST];
    const int *list[MOST];
    int n[MOST];
} lists;

static void all_others(int D, lists *l) {
    for (int j = 0; j < D; j++) {
        l->n[j] = 0;
        for (int i = 0; i < D; i++) {
            if (i != j) l->member[j][l->n[j]++] = i;
        }
        l->list[j] = l->member[j];
    }
}

/* Scores: a sum of effects of the members plus noise, so that some sets are far above
 * others; a share of the sets is excluded. The same table for every node. */
static jsp_scores *make_scores(int D, double spread, double excluded, uint64_t seed) {
    lists l;
    all_others(D, &l);
    size_t n = (size_t)1 << (D - 1);
    double *table = malloc(n * sizeof(double)), effect[MOST];
    const double *tables[MOST];
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < D; k++) effect[k] = spread * jsp_rng_normal(&rng);
    for (size_t S = 0; S < n; S++) {
        table[S] = 0.3 * spread * jsp_rng_normal(&rng);
        for (int k = 0; k < D - 1; k++) table[S] += S >> k & 1 ? effect[k] : 0;
        if (S && jsp_rng_uniform(&rng) < excluded) table[S] = -INFINITY;
    }
    for (int j = 0; j < D; j++) tables[j] = table;
    jsp_scores *scores = NULL;
    jsp_scores_create_from_tables(D, l.list, l.n, tables, &scores, NULL);
    free(table);
    return scores;
}

/* log of the sum of exp(score) over sets between S and S + U; sets holding `without` (a
 * mask of one bit, or 0) are left out. */
static double enumerate(const jsp_scores_node *node, uint32_t S, uint32_t U,
                        uint32_t without) {
    double max = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t x = 0; x < (uint32_t)1 << node->K; x++) {
            if ((x & S) != S || (x & ~(S | U)) || (x & without)) continue;
            if (pass == 0 && node->score[x] > max) max = node->score[x];
            if (pass == 1 && max > -INFINITY) sum += exp(node->score[x] - max);
        }
    }
    return sum > 0 ? max + log(sum) : -INFINITY;
}

/* A random pair of disjoint masks; S small when `few`. */
static void random_masks(jsp_rng *rng, int K, int few, uint32_t *S, uint32_t *U) {
    uint32_t full = ((uint32_t)1 << K) - 1, a = jsp_rng_next(rng),
             b = jsp_rng_next(rng);
    if (few) a &= jsp_rng_next(rng) & jsp_rng_next(rng);
    *S = a & full;
    *U = b & full & ~a;
}

/* ---- tests ---- */

static double table_of_priors(int D, int p) {
    return -(lgamma(D) - lgamma(p + 1) - lgamma(D - p));
}

static int test_create(void) {
    enum { N = 30, D = 6 };
    double x[N * D];
    uint8_t mask[N * D];
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) {
        x[k] = jsp_rng_normal(&rng);
        mask[k] = jsp_rng_uniform(&rng) < 0.1;
    }
    lists l;
    all_others(D, &l);
    l.n[2] = 3; /* a short list and an empty one */
    l.n[4] = 0;
    jsp_data *data;
    CHECK(jsp_data_create(x, mask, N, D, 1, &data, NULL) == JSP_OK);
    jsp_model_setup setup = {jsp_model_find("bge"), data, {1, NAN}, 0, NULL};
    int limit[D] = {3, 3, 3, 3, 3, 3};
    for (int prior = 0; prior < 2; prior++) {
        jsp_scores *scores, *others;
        jsp_scores_config config = {.prior = (jsp_scores_prior)prior,
                                    .max_parents = limit,
                                    .candidates = l.list,
                                    .n_candidates = l.n};
        CHECK(jsp_scores_create(&setup, &config, 1, &scores, NULL) == JSP_OK);
        CHECK(jsp_scores_create(&setup, &config, 3, &others, NULL) == JSP_OK);
        CHECK(scores->n_variables == D);
        CHECK(scores->n_bytes == jsp_scores_size(D, l.n));
        for (int j = 0; j < D; j++) {
            jsp_scores_node *node = &scores->node[j];
            size_t n = (size_t)1 << node->K;
            CHECK(node->K == l.n[j] && node->required == 0);
            CHECK(memcmp(node->score, others->node[j].score, n * sizeof(double)) == 0);
            CHECK(memcmp(node->log_sum, others->node[j].log_sum, n * sizeof(float)) ==
                  0);
            for (uint32_t S = 0; S < n; S++) {
                int parents[D], p = 0;
                double value;
                for (int k = 0; k < node->K; k++) {
                    if (S >> k & 1) parents[p++] = l.list[j][k];
                }
                if (p > 3) {
                    CHECK(node->score[S] == -INFINITY &&
                          node->log_term[S] == -INFINITY);
                    continue;
                }
                CHECK(setup.model->evidence(&setup, j, p, parents, &value, NULL) ==
                      JSP_OK);
                if (prior) value += table_of_priors(D, p);
                CHECK_NEAR(node->score[S], value, 1e-9);
                CHECK_NEAR(node->log_term[S], value - node->max_score, 1e-5);
                CHECK(node->score[S] <= node->max_score);
            }
            for (int i = 0; i < D; i++) {
                int bit = scores->local_index[i * D + j];
                CHECK(bit >= -1 && bit < node->K);
                if (bit >= 0) CHECK(node->candidate[bit] == i);
            }
        }
        jsp_scores_destroy(scores);
        jsp_scores_destroy(others);
    }
    jsp_data_destroy(data);
    return 0;
}

static int test_refusals(void) {
    lists l;
    all_others(3, &l);
    double table[4] = {0, 1, 2, 3}, nan[4] = {0, NAN, 0, 0};
    double nothing[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    double no_empty[4] = {-INFINITY, 0, 0, 0}, first[4] = {-INFINITY, 0, -INFINITY, 0};
    const double *tables[3] = {table, table, table};
    jsp_scores *scores;
    jsp_error error = {0};
    l.member[1][0] = 1; /* itself */
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    l.member[1][0] = 2; /* not increasing */
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "variable 1"));
    l.member[1][0] = 0;
    l.n[0] = JSP_MAX_CANDIDATES + 1;
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    l.n[0] = 2;
    tables[2] = nan;
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_NUMERICAL);
    tables[2] = nothing;
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "no allowed"));
    tables[2] = no_empty;
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "common members"));
    tables[0] = tables[1] = tables[2] = first; /* 1 -> 0, 0 -> 1, 0 -> 2 */
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "cycle"));
    tables[0] = table;
    CHECK(jsp_scores_create_from_tables(3, l.list, l.n, tables, &scores, &error) ==
          JSP_OK);
    CHECK(scores->node[0].required == 0 && scores->node[1].required == 1);
    jsp_scores_destroy(scores);
    scores = NULL;
    CHECK(scores == NULL && jsp_memory_live() == 0);
    jsp_scores_destroy(NULL);
    return 0;
}

/* A config that contradicts itself is refused; +inf odds require an edge. */
static int test_config(void) {
    enum { N = 20, D = 3 };
    double x[N * D], odds[D * D] = {0};
    uint8_t required[D * D] = {0};
    int limit[D] = {2, 2, 2};
    jsp_rng rng;
    jsp_rng_init(&rng, 9, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) x[k] = jsp_rng_normal(&rng);
    jsp_data *data;
    lists l;
    all_others(D, &l);
    jsp_error error = {0};
    CHECK(jsp_data_create(x, NULL, N, D, 1, &data, NULL) == JSP_OK);
    jsp_model_setup setup = {jsp_model_find("nig"), data, {1, 1, 1}, 1, NULL};
    jsp_scores_config config = {.edge_log_odds = odds,
                                .required = required,
                                .max_parents = limit,
                                .candidates = l.list,
                                .n_candidates = l.n};
    jsp_scores *scores;
    odds[0 * D + 1] = INFINITY; /* 0 -> 1 required */
    odds[2 * D + 1] = 0.5;
    odds[1 * D + 2] = -INFINITY;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_OK);
    CHECK(scores->node[1].required == 1 && scores->node[0].required == 0);
    int parents[2] = {0, 2};
    double value;
    CHECK(setup.model->evidence(&setup, 1, 2, parents, &value, NULL) == JSP_OK);
    CHECK_NEAR(scores->node[1].score[3], value + 0.5, 1e-9);
    CHECK(scores->node[1].score[0] == -INFINITY);
    CHECK(scores->node[2].score[2] == -INFINITY && scores->node[2].score[1] < 0);
    CHECK_NEAR(jsp_scores_log_weight(&config, D, 1, 2, parents), 0.5, 1e-15);
    CHECK(jsp_scores_log_weight(&config, D, 1, 1, parents + 1) == -INFINITY);
    jsp_scores_destroy(scores);
    limit[1] = 0;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "required parents, more than"));
    limit[1] = 2;
    required[1 * D + 2] = 1;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "1 -> 2 is required and forbidden"));
    required[1 * D + 2] = 0;
    required[1 * D + 0] = 1;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "cycle"));
    required[1 * D + 0] = 0;
    l.list[1] = l.member[1] + 1; /* without 0 */
    l.n[1] = 1;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "not among the candidates"));
    odds[0 * D + 1] = NAN;
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "NaN") && scores == NULL);
    jsp_data_destroy(data);
    return 0;
}

/* Scores of 0 make every graph count 1: Z(V) by the sink recursion over subset sums,
 * tau_j(U) = restricted sum of the empty set, must give the number of DAGs. */
static double count_dags(const jsp_scores *scores) {
    int D = scores->n_variables;
    double Z[1 << 5] = {1};
    for (uint32_t W = 1; W < (uint32_t)1 << D; W++) {
        Z[W] = 0;
        for (uint32_t T = W; T; T = (T - 1) & W) {
            uint32_t rest = W & ~T;
            double product = jsp_bits_count64(T) & 1 ? 1 : -1;
            for (int j = 0; j < D; j++) {
                if (!(T >> j & 1)) continue;
                uint32_t U = 0;
                for (int k = 0; k < D - 1; k++) {
                    if (rest >> scores->node[j].candidate[k] & 1) U |= (uint32_t)1 << k;
                }
                product *= exp(jsp_odds_restricted_sum(scores, j, 0, U));
            }
            Z[W] += Z[rest] * product;
        }
    }
    return Z[((uint32_t)1 << D) - 1];
}

static int test_uniform(void) {
    double number[] = {0, 1, 3, 25, 543, 29281};
    for (int D = 1; D <= 5; D++) {
        jsp_scores *scores = make_scores(D, 0, 0, 1);
        CHECK(scores != NULL);
        CHECK_NEAR(count_dags(scores), number[D], 1e-3 * number[D]);
        jsp_scores_destroy(scores);
    }
    jsp_scores *scores = make_scores(12, 0, 0, 1);
    float odds[11];
    for (uint32_t S = 0; S < 1 << 11; S += 7) {
        uint32_t U = 0x7ff & ~S;
        CHECK_NEAR(jsp_odds_restricted_sum(scores, 3, S, U),
                   log(2) * jsp_bits_count64(U), 1e-3);
        jsp_odds_compute(scores, 3, S, U, odds);
        for (int k = 0; k < 11; k++) {
            if (U >> k & 1) CHECK_NEAR(odds[k], 0, 1e-2);
        }
    }
    jsp_scores_destroy(scores);
    return 0;
}

static int test_rewards(void) {
    enum { D = 4 };
    jsp_scores *scores = make_scores(D, 2, 0.3, 5);
    CHECK(scores != NULL);
    uint8_t graph[D * D] = {0};
    uint32_t parents[D];
    graph[0 * D + 3] = graph[1 * D + 3] = graph[3 * D + 2] = 1;
    int allowed = jsp_scores_masks_of_graph(scores, graph, parents);
    CHECK(parents[0] == 0 && parents[1] == 0 && parents[2] == 4 && parents[3] == 3);
    double sum = 0;
    for (int j = 0; j < D; j++) sum += scores->node[j].score[parents[j]];
    CHECK(allowed == (sum > -INFINITY));
    CHECK(jsp_scores_log_reward(scores, parents) == sum);
    graph[5] = 1; /* a self-loop is outside the candidates */
    CHECK(jsp_scores_masks_of_graph(scores, graph, parents) == 0);
    jsp_scores_destroy(scores);
    return 0;
}

/* log_sum against enumeration: rounding of float is all that may differ. */
static int test_log_sum(void) {
    double spread[] = {1, 30, 3000, 1e5, 1e9};
    for (int c = 0; c < 10; c++) {
        jsp_scores *scores = make_scores(9, spread[c / 2], c & 1 ? 0.5 : 0, 10 + c);
        const jsp_scores_node *node = &scores->node[0];
        for (uint32_t A = 0; A < 256; A++) {
            double exact = enumerate(node, 0, A, 0) - node->max_score;
            CHECK_NEAR(node->log_sum[A], exact, 1e-6 + 1.2e-7 * fabs(exact));
        }
        jsp_scores_destroy(scores);
    }
    return 0;
}

static int test_restricted_sum(void) {
    double spread[] = {1, 5, 50, 1000, 10000};
    jsp_rng rng;
    jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
    for (int c = 0; c < 20; c++) {
        jsp_scores *scores = make_scores(12, spread[c / 4], c & 1 ? 0.3 : 0, 30 + c);
        const jsp_scores_node *node = &scores->node[2];
        for (int q = 0; q < 300; q++) {
            uint32_t S, U;
            random_masks(&rng, 11, q & 1, &S, &U);
            double exact = enumerate(node, S, U, 0) - node->max_score;
            double value = jsp_odds_restricted_sum(scores, 2, S, U);
            CHECK_NEAR(value, exact, 0.02 + 2e-7 * fabs(exact));
        }
        jsp_scores_destroy(scores);
    }
    return 0;
}

/* Too many sets for the direct sum: between the term of S and the truth. */
static int test_large_rest(void) {
    jsp_rng rng;
    jsp_rng_init(&rng, 4, 0, 0, JSP_RNG_TEST);
    for (int c = 0; c < 4; c++) {
        jsp_scores *scores = make_scores(16, c & 1 ? 500 : 5, 0, 60 + c);
        const jsp_scores_node *node = &scores->node[7];
        for (int q = 0; q < 30; q++) {
            uint32_t S = ((uint32_t)1 << jsp_rng_next(&rng) % 15) |
                         ((uint32_t)1 << jsp_rng_next(&rng) % 15);
            uint32_t U = 0x7fff & ~S;
            double exact = enumerate(node, S, U, 0) - node->max_score;
            double value = jsp_odds_restricted_sum(scores, 7, S, U);
            CHECK(value >= node->log_term[S]);
            CHECK(value <= exact + 0.1 + 2e-7 * fabs(exact));
            float odds[15];
            jsp_odds_compute(scores, 7, S, U, odds);
            for (int k = 0; k < 15; k++) {
                if (U >> k & 1) CHECK(odds[k] >= LOWEST && odds[k] <= HIGHEST);
            }
        }
        jsp_scores_destroy(scores);
    }
    return 0;
}

static double clip(double x) {
    return x > HIGHEST ? HIGHEST : x < LOWEST ? LOWEST : x;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* As probabilities within 0.01; where the direct sum is used (many parents) the odds
 * themselves agree over their whole range. */
static int check_odds(const jsp_scores *scores, uint32_t S, uint32_t U) {
    const jsp_scores_node *node = &scores->node[1];
    int K = node->K, n_S = jsp_bits_count64(S), n_U = jsp_bits_count64(U);
    int direct = n_S > 0 && ((uint32_t)1 << n_U) <= ((uint32_t)1 << n_S) * (n_U + 1);
    float odds[MOST];
    for (int k = 0; k < K; k++) odds[k] = 77;
    jsp_odds_compute(scores, 1, S, U, odds);
    double all = enumerate(node, S, U, 0), size = fabs(all - node->max_score);
    for (int k = 0; k < K; k++) {
        if (!(U >> k & 1)) {
            CHECK(odds[k] == 77);
            continue;
        }
        uint32_t bit = (uint32_t)1 << k;
        double with = enumerate(node, S | bit, U & ~bit, 0);
        double without = enumerate(node, S, U, bit);
        if (all == -INFINITY) {
            CHECK(odds[k] == LOWEST);
            continue;
        }
        double exact = clip(with - without);
        CHECK(odds[k] >= LOWEST && odds[k] <= HIGHEST);
        if (direct) {
            CHECK_NEAR(odds[k], exact, 2e-3 + 3e-7 * size);
        } else {
            double p = sigmoid(exact), q = sigmoid(odds[k]);
            CHECK_NEAR(q, p, 0.01);
        }
    }
    return 0;
}

static int test_odds(void) {
    double spread[] = {1, 5, 50, 1000, 10000};
    jsp_rng rng;
    jsp_rng_init(&rng, 5, 0, 0, JSP_RNG_TEST);
    for (int c = 0; c < 20; c++) {
        jsp_scores *scores = make_scores(12, spread[c / 4], 0, 80 + c);
        for (int q = 0; q < 150; q++) {
            uint32_t S, U;
            random_masks(&rng, 11, q & 1, &S, &U);
            if (q % 5 == 0) S = 0;
            if (check_odds(scores, S, U)) return 1;
        }
        jsp_scores_destroy(scores);
    }
    return 0;
}

/* Limits on the number of parents exclude sets; S + k is always allowed for k in U. */
static int test_odds_with_limit(void) {
    enum { D = 10, K = 9, LIMIT = 3 };
    lists l;
    all_others(D, &l);
    double table[1 << K];
    const double *tables[D];
    jsp_rng rng;
    jsp_rng_init(&rng, 6, 0, 0, JSP_RNG_TEST);
    for (uint32_t S = 0; S < 1 << K; S++) {
        table[S] = 4 * jsp_rng_normal(&rng);
        if (jsp_bits_count64(S) > LIMIT) table[S] = -INFINITY;
    }
    for (int j = 0; j < D; j++) tables[j] = table;
    jsp_scores *scores;
    CHECK(jsp_scores_create_from_tables(D, l.list, l.n, tables, &scores, NULL) ==
          JSP_OK);
    for (uint32_t S = 0; S < 1 << K; S++) {
        if (jsp_bits_count64(S) >= LIMIT) continue;
        if (check_odds(scores, S, ((1u << K) - 1) & ~S)) return 1;
        if (check_odds(scores, S, 0x155 & ~S)) return 1;
    }
    jsp_scores_destroy(scores);
    return 0;
}

static int test_faults(void) {
    enum { N = 12, D = 5 };
    double x[N * D];
    jsp_rng rng;
    jsp_rng_init(&rng, 7, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) x[k] = jsp_rng_normal(&rng);
    jsp_data *data;
    CHECK(jsp_data_create(x, NULL, N, D, 1, &data, NULL) == JSP_OK);
    jsp_model_setup setup = {jsp_model_find("linear"), data, {0.3, 1}, 0, NULL};
    lists l;
    all_others(D, &l);
    double table[16] = {0};
    const double *tables[D] = {table, table, table, table, table};
    jsp_scores_config config = {.prior = JSP_SCORES_FAIR,
                                .candidates = l.list,
                                .n_candidates = l.n};
    long live = jsp_memory_live();
    for (int from_tables = 0; from_tables < 2; from_tables++) {
        int failures = 0;
        for (long at = 1;; at++) {
            jsp_scores *scores = NULL;
            jsp_error error = {0};
            jsp_memory_fail_at(at);
            jsp_status status =
                from_tables ? jsp_scores_create_from_tables(D, l.list, l.n, tables,
                                                            &scores, &error)
                            : jsp_scores_create(&setup, &config, 1, &scores, &error);
            jsp_memory_fail_at(0);
            jsp_scores_destroy(scores);
            CHECK(jsp_memory_live() == live);
            if (status == JSP_OK) break;
            CHECK(status == JSP_ERROR_MEMORY && error.code == status && scores == NULL);
            CHECK(error.message[0] != 0);
            failures++;
        }
        CHECK(failures >= 7);
    }
    jsp_data_destroy(data);
    return 0;
}

static int stop_at_third(void *context, double share) {
    int *n = context;
    return share < 0 || share > 1 || ++*n == 3;
}

/* Parts of the list, whatever their borders and threads, are the whole; tables made of it
 * are those that the model makes; faults and a wish to stop leave nothing behind. */
static int test_evidences(void) {
    enum { N = 15, D = 5, SETS = 4 * 11 + 2 };
    double x[N * D], whole[SETS], part[SETS];
    jsp_rng rng;
    jsp_rng_init(&rng, 8, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) x[k] = jsp_rng_normal(&rng);
    jsp_data *data;
    CHECK(jsp_data_create(x, NULL, N, D, 1, &data, NULL) == JSP_OK);
    CHECK(jsp_data_keep_rows(data, x, NULL, N, NULL) == JSP_OK);
    jsp_model_setup setup = {jsp_model_find("features"), data, {0}, 1, NULL};
    for (int k = 0; k < setup.model->n_fields; k++) {
        setup.field[k] = setup.model->fields[k].default_value;
    }
    int limit[D] = {2, 2, 2, 2, 2}, n_calls = 0;
    lists l;
    all_others(D, &l);
    l.n[3] = 1;
    jsp_scores_config config = {.prior = JSP_SCORES_FAIR,
                                .max_parents = limit,
                                .candidates = l.list,
                                .n_candidates = l.n};
    CHECK(jsp_scores_check(&setup, &config, NULL) == JSP_OK);
    CHECK(jsp_evidences_count_node(&config, D, 0) == 11);
    CHECK(jsp_evidences_count(&config, D) == SETS);
    CHECK(jsp_evidences_fit(&setup, &config, 0, SETS, 1, whole, NULL) == JSP_OK);
    for (size_t cut = 0; cut <= SETS; cut++) {
        CHECK(jsp_evidences_fit(&setup, &config, 0, cut, 1, part, NULL) == JSP_OK);
        CHECK(jsp_evidences_fit(&setup, &config, cut, SETS, 2, part + cut, NULL) ==
              JSP_OK);
        CHECK(memcmp(part, whole, sizeof whole) == 0);
    }
    jsp_scores *own, *given;
    CHECK(jsp_scores_create(&setup, &config, 2, &own, NULL) == JSP_OK);
    config.evidences = whole;
    CHECK(jsp_scores_create(&setup, &config, 2, &given, NULL) == JSP_OK);
    for (int j = 0; j < D; j++) {
        const size_t size = sizeof(double) << l.n[j];
        CHECK(memcmp(own->node[j].score, given->node[j].score, size) == 0);
    }
    jsp_scores_destroy(own);
    jsp_scores_destroy(given);
    jsp_pulse pulse = {.ask = stop_at_third, .context = &n_calls};
    config.pulse = &pulse;
    CHECK(jsp_evidences_fit(&setup, &config, 0, SETS, 1, part, NULL) ==
          JSP_INTERRUPTED);
    CHECK(n_calls == 3);
    config.pulse = NULL;
    const long live = jsp_memory_live();
    for (long at = 1;; at++) {
        jsp_memory_fail_at(at);
        jsp_status status = jsp_evidences_fit(&setup, &config, 0, 20, 1, part, NULL);
        jsp_memory_fail_at(0);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY);
    }
    jsp_data_destroy(data);
    return 0;
}

static const check_test TESTS[] = {
    {"create", test_create},
    {"refusals", test_refusals},
    {"config", test_config},
    {"uniform", test_uniform},
    {"rewards", test_rewards},
    {"log_sum", test_log_sum},
    {"restricted sum", test_restricted_sum},
    {"large rest", test_large_rest},
    {"odds", test_odds},
    {"odds with a limit", test_odds_with_limit},
    {"evidences", test_evidences},
    {"faults", test_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
