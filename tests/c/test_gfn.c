/* test_gfn.c - the generator and its trainer on random score tables. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "edges_fixture.h"
#include "jsp_chain.h"
#include "jsp_dag.h"
#include "jsp_guard.h"
#include "jsp_loss.h"
#include "jsp_memory.h"
#include "jsp_trainer.h"

enum { MAX_D = 6 };

/* ---- fixtures -------------------------------------------------------------------- */

/* Tables of normal scores with standard deviation `spread`; sets with more than
 * max_parents members are excluded. */
static jsp_scores *random_scores(int D, double spread, int max_parents, uint64_t seed) {
    int candidates[MAX_D][MAX_D], counts[MAX_D];
    const int *rows[MAX_D];
    double tables[MAX_D][1 << (MAX_D - 1)];
    const double *table[MAX_D];
    jsp_scores *scores = NULL;
    for (int j = 0; j < D; j++) {
        counts[j] = 0;
        for (int i = 0; i < D; i++) {
            if (i != j) candidates[j][counts[j]++] = i;
        }
        rows[j] = candidates[j];
        table[j] = tables[j];
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 0, (uint32_t)j, JSP_RNG_TEST);
        for (int S = 0; S < 1 << counts[j]; S++) {
            double value = spread * jsp_rng_normal(&rng);
            tables[j][S] =
                jsp_bits_count64((uint64_t)S) > max_parents ? -INFINITY : value;
        }
    }
    jsp_scores_create_from_tables(D, rows, counts, table, &scores, NULL);
    return scores;
}

/* All DAGs as local masks; returns their number. */
static int list_dags(const jsp_scores *scores, uint32_t *parents, int room) {
    const int D = scores->n_variables;
    uint8_t graph[MAX_D * MAX_D];
    int n = 0;
    for (uint32_t code = 0; code < 1u << (D * (D - 1)); code++) {
        int bit = 0;
        for (int i = 0; i < D; i++) {
            for (int j = 0; j < D; j++) {
                graph[i * D + j] = i == j ? 0 : code >> bit++ & 1;
            }
        }
        if (jsp_dag_find_cycle(D, 1, graph) >= 0) continue;
        if (n < room && jsp_scores_masks_of_graph(scores, graph, parents + n * D)) n++;
    }
    return n;
}

static int open_fixture(edges_fixture *f, int D, double spread, int max_parents,
                        int T) {
    return edges_fixture_open(f, random_scores(D, spread, max_parents, 5), 0.3, T);
}

/* ---- log q ----------------------------------------------------------------------- */

/* Whatever the parameters, log q sums to 1 over all allowed DAGs. */
static int check_sum(int D, double spread, int max_parents, int n_expected) {
    static uint32_t parents[600 * MAX_D];
    jsp_edges_walk walk[600] = {{0}};
    edges_fixture f;
    CHECK(open_fixture(&f, D, spread, max_parents, 600) == 0);
    int n = list_dags(f.scores, parents, 600);
    CHECK(n == n_expected);
    CHECK(edges_fixture_check_sum(&f, n, parents, walk) == 0);
    edges_fixture_close(&f);
    return 0;
}

/* Without network no decision has a log-probability below about `lowest`; corrections
 * far out of range leave log q finite. */
static int check_base_share(double spread, double lowest) {
    enum { D = 4 };
    static uint32_t parents[600 * MAX_D];
    jsp_edges_walk walk[543] = {{0}};
    edges_fixture f;
    CHECK(open_fixture(&f, D, spread, 3, 543) == 0);
    CHECK(list_dags(f.scores, parents, 600) == 543);
    for (int s = 0; s < 543; s++) walk[s].target = parents + s * D;
    for (int bias = -500; bias <= 500; bias += 500) {
        double least = 0;
        memset(f.params, 0, f.edges->layout.size * sizeof *f.params);
        for (int k = 0; k < 2 * f.edges->n_slots; k++)
            f.params[f.edges->tensor.pair_bias + (size_t)k] = (jsp_real)bias;
        jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, 543, walk);
        for (int s = 0; s < 543; s++) {
            CHECK(isfinite(walk[s].log_q));
            least = fmin(least, walk[s].log_q);
        }
        if (bias) continue;
        CHECK(least > 1.01 * lowest * f.edges->n_slots);
        CHECK(least < lowest * f.edges->n_slots / 4);
    }
    edges_fixture_close(&f);
    return 0;
}

/* -8 for what is up to 25 nats worse; -8 - (160 - 25) / 4 for the most hopeless. */
/* Where the pair of slot p of `one` stands in `other`, or -1. */
static int place_of(const jsp_edges *one, int p, const jsp_edges *other) {
    for (int q = 0; q < other->n_slots; q++) {
        if (!memcmp(&one->slot[p], &other->slot[q], sizeof *one->slot)) return q;
    }
    return -1;
}

/* Each order has all pairs, is the same whenever it is made, and is one of its own. */
static int test_orders(void) {
    enum { D = 6, N = D * (D - 1) / 2, ORDERS = 4 };
    jsp_scores *scores = random_scores(D, 2, D - 1, 9);
    jsp_edges *edges[ORDERS], *again;
    for (int k = 0; k < ORDERS; k++) {
        CHECK(jsp_edges_create(scores, k, &edges[k], NULL) == JSP_OK);
        CHECK(jsp_edges_create(scores, k, &again, NULL) == JSP_OK);
        CHECK(edges[k]->n_slots == N);
        for (int p = 0; p < N; p++) CHECK(place_of(edges[k], p, again) == p);
        jsp_edges_destroy(again);
        for (int other = 0; other < k; other++) {
            int moved = 0;
            for (int p = 0; p < N; p++) {
                const int q = place_of(edges[k], p, edges[other]);
                CHECK(q >= 0);
                moved += q != p;
            }
            CHECK(moved > 0);
        }
    }
    for (int k = 0; k < ORDERS; k++) jsp_edges_destroy(edges[k]);
    jsp_scores_destroy(scores);
    return 0;
}

static int test_base_share(void) {
    CHECK(check_base_share(6, -8) == 0);
    CHECK(check_base_share(3000, -29.25) == 0);
    return 0;
}

static int test_sum_to_one(void) {
    CHECK(check_sum(1, 1, 0, 1) == 0);
    CHECK(check_sum(2, 1, 1, 3) == 0);
    CHECK(check_sum(3, 2, 2, 25) == 0);
    CHECK(check_sum(4, 2, 3, 543) == 0);
    CHECK(check_sum(4, 300, 3, 543) == 0); /* far beyond the range of exp */
    CHECK(check_sum(3, 2, 1, 16) == 0);    /* rooted forests on 3 nodes: 4^2 */
    return 0;
}

/* Required edges 0 -> 1 and 1 -> 3, forbidden 2 -> 0, at most 2 parents of node 1 and 1
 * of node 2. */
static int is_allowed(int node, uint32_t S) {
    /* local masks leave out the node itself */
    switch (node) {
    case 0:
        return !(S & 2u); /* candidates 1 2 3 */
    case 1:
        return (S & 1u) && jsp_bits_count64(S) <= 2; /* candidates 0 2 3 */
    case 2:
        return jsp_bits_count64(S) <= 1; /* candidates 0 1 3 */
    default:
        return (S & 2u) != 0; /* candidates 0 1 2 */
    }
}

static int test_sum_with_constraints(void) {
    enum { D = 4 };
    int candidates[D][D - 1], counts[D];
    const int *rows[D];
    double tables[D][8];
    const double *table[D];
    static uint32_t parents[600 * D];
    jsp_edges_walk walk[600] = {{0}};
    edges_fixture f;
    for (int j = 0; j < D; j++) {
        jsp_rng rng;
        jsp_rng_init(&rng, 21, 0, (uint32_t)j, JSP_RNG_TEST);
        counts[j] = D - 1;
        for (int k = 0; k < D - 1; k++) candidates[j][k] = k + (k >= j);
        for (uint32_t S = 0; S < 8; S++) {
            double value = 2 * jsp_rng_normal(&rng);
            tables[j][S] = is_allowed(j, S) ? value : -INFINITY;
        }
        rows[j] = candidates[j];
        table[j] = tables[j];
    }
    jsp_scores *scores = NULL;
    CHECK(jsp_scores_create_from_tables(D, rows, counts, table, &scores, NULL) ==
          JSP_OK);
    CHECK(scores->node[0].required == 0 && scores->node[1].required == 1);
    CHECK(scores->node[2].required == 0 && scores->node[3].required == 2);
    CHECK(edges_fixture_open(&f, scores, 0.3, 600) == 0);
    CHECK(f.edges->n_slots == D * (D - 1) / 2 - 2);
    int n = list_dags(f.scores, parents, 600);
    CHECK(n > 10);
    CHECK(edges_fixture_check_sum(&f, n, parents, walk) == 0);
    /* chains start there too */
    uint32_t local[D];
    jsp_bits sets[D];
    jsp_chain_state state = {local, sets};
    jsp_chain_reset(scores, &state);
    CHECK(local[0] == 0 && local[1] == 1 && local[2] == 0 && local[3] == 2);
    CHECK(jsp_bits_has(sets[1], 0) && jsp_bits_has(sets[3], 1));
    CHECK(jsp_bits_count(sets[1]) == 1 && jsp_bits_count(sets[3]) == 1);
    edges_fixture_close(&f);
    return 0;
}

/* A cyclic target has no walk. */
static int test_impossible_target(void) {
    uint32_t cyclic[3] = {2, 2, 1}; /* 2 -> 0, 2 -> 1, 0 -> 2 */
    jsp_edges_walk walk = {.target = cyclic};
    edges_fixture f;
    CHECK(open_fixture(&f, 3, 1, 2, 1) == 0);
    jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, 1, &walk);
    CHECK(walk.log_q == -INFINITY);
    edges_fixture_close(&f);
    return 0;
}

static int test_free_equals_forced(void) {
    edges_fixture f;
    CHECK(open_fixture(&f, 6, 3, 5, EDGES_FIXTURE_WALKS) == 0);
    CHECK(edges_fixture_check_forced(&f) == 0);
    edges_fixture_close(&f);
    return 0;
}

/* ---- gradients ------------------------------------------------------------------- */

#ifdef JSP_REAL_DOUBLE

static int test_gradient(void) {
    static uint32_t parents[600 * MAX_D];
    edges_fixture f;
    CHECK(open_fixture(&f, 4, 2, 3, GRADIENT_T) == 0);
    CHECK(list_dags(f.scores, parents, 600) == 543);
    CHECK(edges_fixture_check_gradient(&f, 500, parents) == 0);
    edges_fixture_close(&f);
    return 0;
}

#endif

/* ---- full conditionals ------------------------------------------------------------- */

static int test_conditionals(void) {
    enum { D = 4 };
    static uint32_t parents[600 * MAX_D];
    edges_fixture f;
    CHECK(open_fixture(&f, D, 3, 2, 1) == 0);
    const int n = list_dags(f.scores, parents, 600);
    CHECK(n > 300);
    CHECK(edges_fixture_check_conditionals(&f, n, parents) == 0);
    edges_fixture_close(&f);
    return 0;
}

/* The mean over the posterior of the gradients of choices and of full conditionals is the
 * same, and the latter vary less. */
static int check_equal_means(int max_parents) {
    enum { D = 4, N = 543 };
    static uint32_t parents[600 * MAX_D];
    static jsp_edges_walk walk[N];
    static double probability[N], nothing[N];
    edges_fixture f;
    CHECK(open_fixture(&f, D, 2, max_parents, N) == 0);
    const size_t size = f.edges->layout.size;
    const int n = list_dags(f.scores, parents, 600);
    jsp_real *gradient[2];
    double total = 0, squares[2] = {0, 0}, scale = 0;
    for (int s = 0; s < n; s++) {
        walk[s] = (jsp_edges_walk){.target = parents + s * D};
        total += probability[s] = exp(jsp_scores_log_reward(f.scores, parents + s * D));
    }
    for (int s = 0; s < n; s++) probability[s] /= total;
    for (int kind = 0; kind < 2; kind++) {
        gradient[kind] = jsp_memory_alloc(size, sizeof *gradient[kind]);
        CHECK(gradient[kind]);
        jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, n, walk);
        if (kind) jsp_edges_rollout_condition(f.rollout, n, squares);
        jsp_edges_rollout_backward(f.rollout, f.params, n, kind ? nothing : probability,
                                   kind ? probability : NULL, gradient[kind]);
    }
    for (size_t m = 0; m < size; m++) scale = fmax(scale, fabs((double)gradient[0][m]));
    CHECK(scale > 0.01);
    const double tolerance = sizeof(jsp_real) == 8 ? 1e-12 : 1e-5;
    for (size_t m = 0; m < size; m++) {
        CHECK_NEAR((double)gradient[0][m], (double)gradient[1][m],
                   tolerance * (1 + scale));
    }
    CHECK(squares[1] > 0 && squares[1] < squares[0]);
    for (int kind = 0; kind < 2; kind++) jsp_memory_free(gradient[kind]);
    edges_fixture_close(&f);
    return 0;
}

static int test_conditionals_equal_means(void) {
    CHECK(check_equal_means(3) == 0);
    CHECK(check_equal_means(2) == 0);
    return 0;
}

/* ---- losses and schedule --------------------------------------------------------- */

static int test_losses(void) {
    double log_q[4] = {-1, -2, -3, -4}, log_reward[4] = {9, 8, 7, 7}, weight[4], centre;
    CHECK_NEAR(jsp_loss_likelihood(4, log_q, weight), 2.5, 1e-15);
    CHECK(weight[0] == -0.25 && weight[3] == -0.25);
    /* deltas -10, -10, -10, -11: mean -10.25 */
    centre = jsp_loss_centre(4, log_q, log_reward);
    double loss = jsp_loss_balance(4, log_q, log_reward, centre, -10, 10, 4, weight);
    CHECK_NEAR(centre, -10.25, 1e-12);
    CHECK_NEAR(weight[0], 0.25 / 4, 1e-12);
    CHECK_NEAR(weight[3], -0.75 / 4, 1e-12);
    CHECK_NEAR(loss, (3 * 0.0625 + 0.5625) / 8, 1e-12);
    /* one catastrophic draw pulls with 10 nats, and moves the centre little */
    log_reward[3] = 1000;
    centre = jsp_loss_centre(4, log_q, log_reward);
    jsp_loss_balance(4, log_q, log_reward, centre, -10, 10, 4, weight);
    CHECK_NEAR(weight[3], -10.0 / 4, 1e-12);
    CHECK(centre < -10 && centre > -270);
    return 0;
}

static int test_mixed_losses(void) {
    const double log_q[3] = {-1, -2, -900}, log_reward[3] = {0, -1, 0};
    const double squares[2] = {8, 2}, none[2] = {0, 0};
    double weight[3] = {1, 2, 3}, conditional[3];
    /* mean square of a normal variable of mean size 1: pi / 2 */
    CHECK_NEAR(jsp_loss_share(1, squares, 1), 4 * acos(-1) / (4 * acos(-1) + 2), 1e-12);
    CHECK(jsp_loss_share(1, squares, 0.5) == 0.5);
    CHECK(jsp_loss_share(1e-9, squares, 1) < 1e-16);
    CHECK(jsp_loss_share(0, none, 0.5) == 0);
    jsp_loss_mix(3, log_q, log_reward, -1, 0.25, 4, weight, conditional);
    CHECK(weight[0] == 0.75 && weight[1] == 1.5 && weight[2] == 2.25);
    CHECK_NEAR(conditional[0], -0.0625, 1e-15);
    CHECK_NEAR(conditional[1], -0.0625, 1e-15);
    CHECK_NEAR(conditional[2], -0.125, 1e-15); /* at most twice */
    return 0;
}

static int test_schedule(void) {
    jsp_schedule s = {.first = 100,
                      .n_updates = 1000,
                      .likelihood_fraction = 0.5,
                      .learning_rate = 2};
    CHECK(jsp_schedule_progress(&s, 100, 0) == 0);
    CHECK(jsp_schedule_progress(&s, 600, 0) == 0.5);
    CHECK(jsp_schedule_progress(&s, 600, 0.75) == 0.75);
    CHECK(jsp_schedule_progress(&s, 5000, 0) == 1);
    CHECK(jsp_schedule_is_likelihood(&s, 0.49) && !jsp_schedule_is_likelihood(&s, 0.5));
    CHECK_NEAR(jsp_schedule_learning_rate(&s, 100, 0), 2.0 / 50, 1e-12);
    CHECK_NEAR(jsp_schedule_learning_rate(&s, 600, 0.5), 1, 1e-12);
    CHECK_NEAR(jsp_schedule_learning_rate(&s, 1099, 1), 0.02, 1e-12);
    return 0;
}

/* Graphs take turns, are forgotten after the last, and are kept only once. */
static int test_hard(void) {
    jsp_scores *scores = random_scores(3, 1, 2, 4);
    const uint32_t graph[3][3] = {{0, 1, 0}, {0, 0, 1}, {2, 0, 0}};
    int place[4];
    jsp_hard hard;
    CHECK(jsp_hard_create(&hard, scores, 2, NULL) == JSP_OK);
    CHECK(jsp_hard_take(&hard, 4, place) == 0);
    jsp_hard_offer(&hard, graph[0], 1);
    jsp_hard_offer(&hard, graph[1], 1000);
    jsp_hard_offer(&hard, graph[1], 1000);
    CHECK(jsp_hard_take(&hard, 4, place) == 2 && place[0] != place[1]);
    CHECK(jsp_hard_take(&hard, 4, place) == 1); /* the first had one turn */
    CHECK(!memcmp(hard.local + place[0] * 3, graph[1], sizeof graph[1]));
    jsp_hard_offer(&hard, graph[2], 2);
    jsp_hard_offer(&hard, graph[0], 2); /* in the place of graph 1, now the oldest */
    CHECK(jsp_hard_take(&hard, 1, place) == 1);
    int first = place[0];
    CHECK(jsp_hard_take(&hard, 1, place) == 1 && place[0] == 1 - first);
    jsp_hard_destroy(&hard);
    /* no room: nothing is kept */
    CHECK(jsp_hard_create(&hard, scores, 0, NULL) == JSP_OK);
    jsp_hard_offer(&hard, graph[0], 1);
    CHECK(jsp_hard_take(&hard, 4, place) == 0);
    jsp_hard_destroy(&hard);
    jsp_scores_destroy(scores);
    return 0;
}

/* Far worse than the best stretch: back to the parameters of the last good one. */
static int test_guard(void) {
    const jsp_real early = 1, later = 2, lost = 3;
    jsp_guard guard;
    CHECK(jsp_guard_create(&guard, 1, NULL) == JSP_OK);
    for (int k = 0; k < JSP_GUARD_STRETCH; k++) {
        CHECK(!jsp_guard_watch(&guard, 5, &early));
    }
    for (int k = 0; k < 2 * JSP_GUARD_STRETCH; k++) {
        CHECK(!jsp_guard_watch(&guard, 0.1, &later));
    }
    int n_back = 0;
    for (int k = 0; k < JSP_GUARD_STRETCH; k++) {
        n_back += jsp_guard_watch(&guard, 10, &lost);
    }
    CHECK(n_back == 1 && guard.rate_factor == 0.5 && guard.good[0] == later);
    for (int k = 0; k < JSP_GUARD_STRETCH; k++) {
        CHECK(!jsp_guard_watch(&guard, 0.9, &lost)); /* worse, but not lost */
    }
    CHECK(guard.good[0] == later && guard.n_roll_backs == 1);
    jsp_guard_destroy(&guard);
    return 0;
}

/* ---- trainer --------------------------------------------------------------------- */

static jsp_trainer_config small_config(int n_threads) {
    jsp_trainer_config config = {
        .schedule = {.n_updates = 60,
                     .likelihood_fraction = 0.5,
                     .learning_rate = 2e-3},
        .batch_size = 12,
        .seed = 11,
        .n_threads = n_threads,
    };
    jsp_trainer_tuning_default(config.batch_size, 6, &config.tuning);
    return config;
}

/* Metrics and draws after training are the same bits for any number of threads. */
static int test_threads_same_bits(void) {
    enum { UPDATES = 60, DRAWS = 100, D = 5 };
    static jsp_trainer_metrics metrics[2][UPDATES];
    static uint32_t parents[2][DRAWS * D];
    double log_q[2][DRAWS], log_reward[2][DRAWS], again[DRAWS];
    const int n_threads[] = {1, 2, 3, 8};
    jsp_scores *scores = random_scores(D, 2, D - 1, 21);
    for (int k = 0; k < 4; k++) {
        const int at = k > 0; /* slot 0 keeps the run with one thread */
        jsp_trainer_config config = small_config(n_threads[k]);
        jsp_trainer *trainer;
        long n_done;
        CHECK(jsp_trainer_create(scores, &config, &trainer, NULL) == JSP_OK);
        CHECK(jsp_trainer_step(trainer, UPDATES, 0, metrics[at], &n_done, NULL) ==
              JSP_OK);
        CHECK(n_done == UPDATES);
        CHECK(jsp_trainer_draws_sample(trainer, DRAWS, 4, 0, n_threads[k], parents[at],
                                       log_q[at], log_reward[at], NULL) == JSP_OK);
        CHECK(jsp_trainer_draws_log_prob(trainer, DRAWS, parents[at], n_threads[k],
                                         again, NULL) == JSP_OK);
        CHECK(!memcmp(log_q[at], again, sizeof again));
        CHECK(!memcmp(metrics[0], metrics[at], sizeof metrics[0]));
        CHECK(!memcmp(parents[0], parents[at], sizeof parents[0]));
        CHECK(!memcmp(log_q[0], log_q[at], sizeof log_q[0]));
        CHECK(!memcmp(log_reward[0], log_reward[at], sizeof log_reward[0]));
        CHECK(metrics[at][0].phase == 0 && metrics[at][UPDATES - 1].phase == 1);
        jsp_trainer_destroy(trainer);
    }
    jsp_scores_destroy(scores);
    return 0;
}

/* Every allocation fails once: an error, and nothing is left behind. */
static int test_failing_allocations(void) {
    jsp_scores *scores = random_scores(4, 1, 3, 2);
    jsp_trainer_config config = small_config(1);
    jsp_trainer *trainer = NULL;
    jsp_error error;
    const long before = jsp_memory_live();
    int n_failures = 0;
    for (long n = 1; n < 2000; n++) {
        jsp_memory_fail_at(n);
        jsp_status status = jsp_trainer_create(scores, &config, &trainer, &error);
        jsp_memory_fail_at(0);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && error.message[0]);
        CHECK(trainer == NULL && jsp_memory_live() == before);
        n_failures++;
    }
    CHECK(trainer && n_failures > 50);
    uint32_t parents[40 * 4];
    double log_q[40], log_reward[40];
    const long with_trainer = jsp_memory_live();
    for (long n = 1; n < 2000; n++) {
        jsp_memory_fail_at(n);
        jsp_status status = jsp_trainer_draws_sample(trainer, 40, 1, 0, 1, parents,
                                                     log_q, log_reward, &error);
        jsp_memory_fail_at(0);
        CHECK(jsp_memory_live() == with_trainer);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY);
    }
    jsp_trainer_destroy(trainer);
    CHECK(jsp_memory_live() == before);
    jsp_scores_destroy(scores);
    return 0;
}

/* NaN in a parameter is reported with update and quantity, and moves nothing. */
static int test_numerical_error(void) {
    jsp_scores *scores = random_scores(4, 1, 3, 2);
    jsp_trainer_config config = small_config(1);
    jsp_trainer *trainer;
    jsp_trainer_metrics metrics[5];
    jsp_error error;
    long n_done;
    CHECK(jsp_trainer_create(scores, &config, &trainer, NULL) == JSP_OK);
    CHECK(jsp_trainer_step(trainer, 5, 0, metrics, &n_done, &error) == JSP_OK);
    jsp_trainer_view view = jsp_trainer_state_open(trainer);
    const jsp_params_tensor *bias = jsp_params_find(view.layout, "pair_bias");
    CHECK(bias);
    view.params[bias->offset] = (jsp_real)NAN;
    CHECK(jsp_trainer_step(trainer, 5, 0, metrics, &n_done, &error) ==
          JSP_ERROR_NUMERICAL);
    CHECK(n_done == 0 && *view.update == 5);
    CHECK(strstr(error.message, "update 5") && strstr(error.message, "log q"));
    for (size_t m = 0; m < view.layout->size; m++) CHECK(isfinite(view.average[m]));
    jsp_trainer_destroy(trainer);
    jsp_scores_destroy(scores);
    return 0;
}

/* One node only: there is one graph, and training has nothing to do. */
static int test_single_variable(void) {
    jsp_scores *scores = random_scores(1, 1, 0, 2);
    jsp_trainer_config config = small_config(2);
    jsp_trainer *trainer;
    jsp_trainer_metrics metrics[60];
    uint32_t parents[3];
    double log_q[3], log_reward[3];
    long n_done;
    CHECK(jsp_trainer_create(scores, &config, &trainer, NULL) == JSP_OK);
    CHECK(jsp_trainer_step(trainer, 60, 0, metrics, &n_done, NULL) == JSP_OK);
    CHECK(jsp_trainer_draws_sample(trainer, 3, 1, 0, 1, parents, log_q, log_reward,
                                   NULL) == JSP_OK);
    CHECK(parents[0] == 0 && log_q[2] == 0);
    jsp_trainer_destroy(trainer);
    jsp_scores_destroy(scores);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"sum_to_one", test_sum_to_one},
        {"orders", test_orders},
        {"base_share", test_base_share},
        {"sum with constraints", test_sum_with_constraints},
        {"impossible_target", test_impossible_target},
        {"free_equals_forced", test_free_equals_forced},
#ifdef JSP_REAL_DOUBLE
        {"gradient", test_gradient},
#endif
        {"conditionals", test_conditionals},
        {"equal means of conditionals", test_conditionals_equal_means},
        {"losses", test_losses},
        {"mixed losses", test_mixed_losses},
        {"hard graphs", test_hard},
        {"guard", test_guard},
        {"schedule", test_schedule},
        {"threads_same_bits", test_threads_same_bits},
        {"failing_allocations", test_failing_allocations},
        {"numerical_error", test_numerical_error},
        {"single_variable", test_single_variable},
    };
    return CHECK_RUN(tests);
}
