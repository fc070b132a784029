/* test_edges_large.c - what the generator does beyond 16 variables only: a problem of 24
 * variables of which few have candidates, so that all DAGs can be listed. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "edges_fixture.h"
#include "jsp_edges_ends.h"
#include "jsp_memory.h"
#include "jsp_trainer.h"

enum { D = 24, MAX_ACTIVE = 6, STEP = 4, MAX_DAGS = 543, ACTIVE_DAGS = 4, MOST = 200 };

/* ---- fixtures -------------------------------------------------------------------- */

/* Variables 0, step, 2 step, ... of n have each other as candidates, with normal scores.
 * With `requires` the second is a required parent of the first. */
static jsp_scores *random_scores(int n, int step, int n_active, int requires,
                                 uint64_t seed) {
    static int candidates[MOST][MAX_ACTIVE], counts[MOST];
    static double tables[MOST][1 << (MAX_ACTIVE - 1)];
    const int *rows[MOST];
    const double *table[MOST];
    jsp_scores *scores = NULL;
    for (int j = 0; j < n; j++) {
        counts[j] = 0;
        for (int i = 0; j % step == 0 && j < step * n_active && i < n_active; i++) {
            if (step * i != j) candidates[j][counts[j]++] = step * i;
        }
        rows[j] = candidates[j];
        table[j] = tables[j];
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 0, (uint32_t)j, JSP_RNG_TEST);
        for (int S = 0; S < 1 << counts[j]; S++) {
            double value = jsp_rng_normal(&rng);
            tables[j][S] =
                requires && j == 0 && !(S & 1)
                             ? -INFINITY
                             : value;
        }
    }
    jsp_scores_create_from_tables(n, rows, counts, table, &scores, NULL);
    return scores;
}

/* All allowed DAGs over the first 4 active variables; returns their number. */
static int list_dags(const jsp_scores *scores, uint32_t parents[][D]) {
    static uint8_t graph[D * D];
    int n = 0;
    for (uint32_t code = 0; code < 1u << ACTIVE_DAGS * (ACTIVE_DAGS - 1); code++) {
        int bit = 0;
        for (int i = 0; i < ACTIVE_DAGS; i++) {
            for (int j = 0; j < ACTIVE_DAGS; j++) {
                graph[STEP * i * D + STEP * j] = i == j ? 0 : code >> bit++ & 1;
            }
        }
        if (jsp_dag_find_cycle(D, 1, graph) >= 0) continue;
        n += n < MAX_DAGS && jsp_scores_masks_of_graph(scores, graph, parents[n]);
    }
    return n;
}

static int open_fixture(edges_fixture *f, int n_active, int requires, int T) {
    jsp_scores *scores = random_scores(D, STEP, n_active, requires, 5);
    CHECK(edges_fixture_open(f, scores, 0.2, T) == 0);
    CHECK(f->edges->is_large);
    return 0;
}

/* ---- log q ----------------------------------------------------------------------- */

/* Whatever the parameters, log q sums to 1 over all allowed DAGs. */
static int check_sum(int requires, int n_expected) {
    static uint32_t parents[MAX_DAGS][D];
    static jsp_edges_walk walk[MAX_DAGS];
    edges_fixture f;
    CHECK(open_fixture(&f, ACTIVE_DAGS, requires, MAX_DAGS) == 0);
    const int n = list_dags(f.scores, parents);
    CHECK(n == n_expected);
    CHECK(edges_fixture_check_sum(&f, n, parents[0], walk) == 0);
    edges_fixture_close(&f);
    return 0;
}

static int test_sum_to_one(void) {
    CHECK(check_sum(0, 543) == 0);
    CHECK(check_sum(1, 168) == 0); /* those with a given edge */
    return 0;
}

static int test_free_equals_forced(void) {
    edges_fixture f;
    CHECK(open_fixture(&f, MAX_ACTIVE, 1, EDGES_FIXTURE_WALKS) == 0);
    CHECK(edges_fixture_check_forced(&f) == 0);
    edges_fixture_close(&f);
    return 0;
}

/* ---- full conditionals ------------------------------------------------------------- */

/* Of drawn graphs of n variables with a required edge. */
static int check_conditionals(int n, int step) {
    enum { T = 30, MAX_SLOTS = MAX_ACTIVE * (MAX_ACTIVE - 1) / 2 };
    static double uniform[T][MAX_SLOTS];
    static uint32_t drawn[T * MOST];
    static jsp_edges_walk walk[T];
    edges_fixture f;
    jsp_scores *scores = random_scores(n, step, MAX_ACTIVE, 1, 5);
    CHECK(edges_fixture_open(&f, scores, 0.2, T) == 0);
    CHECK(f.edges->n_slots <= MAX_SLOTS);
    for (int t = 0; t < T; t++) {
        jsp_rng rng;
        jsp_rng_init(&rng, 8, 0, (uint32_t)t, JSP_RNG_TEST);
        jsp_rng_fill_uniform(&rng, f.edges->n_slots, uniform[t]);
        walk[t] = (jsp_edges_walk){.uniform = uniform[t]};
    }
    jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, T, walk);
    for (int t = 0; t < T; t++)
        memcpy(drawn + t * n, walk[t].chosen, (size_t)n * sizeof *drawn);
    CHECK(edges_fixture_check_conditionals(&f, T, drawn) == 0);
    edges_fixture_close(&f);
    return 0;
}

static int test_conditionals(void) {
    CHECK(check_conditionals(D, STEP) == 0);
    CHECK(check_conditionals(130, 25) == 0); /* sets of several words */
    return 0;
}

/* ---- sums over ancestors and descendants ----------------------------------------- */

/* sum[x] over all pairs of the graph, from its closure. */
static double direct_sum(const jsp_dag *dag, const jsp_real *params, size_t below,
                         int W, int x, int w) {
    double sum = 0;
    for (int k = 0; k < dag->n_variables; k++) {
        if (k == x) continue;
        if (jsp_bits_has(dag->ancestors[x], k)) sum += (double)params[k * W + w];
        if (jsp_bits_has(dag->descendants[x], k))
            sum += (double)params[below + (size_t)(k * W + w)];
    }
    return sum;
}

/* Sums along random edges, from a graph that has some already, against their definition;
 * the backward pass against the transpose of it. */
static int check_ends(int n, int n_edges) {
    enum { W = 4, T = 3 };
    static jsp_real params[2 * MOST * W], gradient[2 * MOST * W];
    const size_t below = (size_t)n * W;
    const double tolerance = 4e-7 * n;
    jsp_edges_ends ends;
    jsp_dag_batch batch;
    jsp_rng rng;
    jsp_rng_init(&rng, 4, 0, 0, JSP_RNG_TEST);
    for (int m = 0; m < 2 * n * W; m++) params[m] = (jsp_real)jsp_rng_normal(&rng);
    char *memory = jsp_memory_alloc(jsp_edges_ends_size(n, W, T, 1), 1);
    CHECK(memory);
    jsp_edges_ends_init(&ends, n, W, 0, below, T, 1, memory);
    CHECK(jsp_dag_batch_create(&batch, T, n, 0, NULL) == JSP_OK);
    jsp_edges_ends_clear(&ends, T);
    for (int t = 0; t < T; t++) {
        jsp_dag *dag = &batch.dag[t];
        int n_new = 0;
        if (t) jsp_dag_add(dag, 1, 0);
        jsp_edges_ends_start(&ends, params, t, dag);
        for (int e = 0; e < n_edges; e++) {
            const int j = (int)(jsp_rng_uniform(&rng) * n);
            const int i = (int)(jsp_rng_uniform(&rng) * n);
            if (!jsp_bits_has(jsp_dag_legal_parents(dag, j), i)) continue;
            n_new += jsp_edges_ends_join(&ends, params, t, dag, i, j);
            jsp_dag_add(dag, i, j);
        }
        for (int x = 0; x < n; x++) {
            for (int w = 0; w < W; w++) {
                CHECK_NEAR(jsp_edges_ends_of(&ends, ends.sum, t, x)[w],
                           direct_sum(dag, params, below, W, x, w), tolerance);
                jsp_edges_ends_of(&ends, ends.d_sum, t, x)[w] =
                    params[(x * W + w + 7 * t) % (2 * n * W)];
            }
        }
        /* <d_sum, sum(params)> = <gradient, params>, both linear */
        double expected = 0, found = 0;
        memset(gradient, 0, sizeof gradient);
        jsp_edges_ends_part(&ends, t, n_new, gradient);
        CHECK((ends.n_journal[t] > 0) == (t > 0));
        jsp_edges_ends_part(&ends, t, -1, gradient);
        CHECK(ends.n_journal[t] == 0);
        for (int m = 0; m < n * W; m++) {
            expected += (double)jsp_edges_ends_of(&ends, ends.sum, t, 0)[m] *
                        (double)jsp_edges_ends_of(&ends, ends.d_sum, t, 0)[m];
        }
        for (int m = 0; m < 2 * n * W; m++)
            found += (double)gradient[m] * (double)params[m];
        CHECK_NEAR(found, expected, 100 * tolerance);
    }
    jsp_dag_batch_destroy(&batch);
    jsp_memory_free(memory);
    return 0;
}

/* Sets of one, two and four words. */
static int test_ends(void) {
    CHECK(check_ends(D, 30) == 0);
    CHECK(check_ends(100, 120) == 0);
    CHECK(check_ends(MOST, 250) == 0);
    return 0;
}

/* ---- detours --------------------------------------------------------------------- */

/* Chance of the open edge i -> j, 0 when it is not open. */
static double chance_of(const jsp_edges_state *state, int i, int j) {
    const int bit = state->scores->local_index[i * state->scores->n_variables + j];
    if (bit < 0 || !(state->open[j] >> bit & 1)) return 0;
    return (double)jsp_edges_state_row(state, j, JSP_EDGES_CACHE_CHANCE)[bit];
}

/* The definition, word by word; others than multiples of `step` have no open edges. */
static double slow_detour(const jsp_edges_state *state, int step, int parent,
                          int child) {
    const int last = step * MAX_ACTIVE;
    const jsp_dag *dag = &state->dag;
    const jsp_bits above = dag->ancestors[parent], below = dag->descendants[child];
    const jsp_bits ends = jsp_bits_or(above, below);
    double sum = 0;
    for (int m = 0; m < last; m += step) {
        for (int n = 0; n < last; n += step) {
            if (jsp_bits_has(ends, m) || jsp_bits_has(ends, n)) continue;
            if (!jsp_bits_has(dag->descendants[m], n)) continue;
            for (int c = 0; c < last; c += step) {
                for (int k = 0; k < last; k += step) {
                    if (!jsp_bits_has(below, c) || !jsp_bits_has(above, k)) continue;
                    sum += chance_of(state, c, m) * chance_of(state, n, k);
                }
            }
        }
    }
    return sum;
}

/* At every step of random walks, for all open edges. */
static int check_detour(int n, int step) {
    edges_fixture f;
    CHECK(edges_fixture_open(&f, random_scores(n, step, MAX_ACTIVE, 0, 5), 0.2, 1) ==
          0);
    char *memory = jsp_memory_alloc(jsp_edges_state_size(f.scores), 1);
    jsp_edges_state state;
    jsp_rng rng;
    int n_positive = 0;
    CHECK(memory);
    jsp_rng_init(&rng, 8, 0, 0, JSP_RNG_TEST);
    for (int round = 0; round < 20; round++) {
        jsp_edges_state_init(&state, f.scores, memory);
        jsp_edges_state_copy(&state, &f.edges->initial);
        for (int p = 0; p < f.edges->n_slots; p++) {
            const jsp_edges_slot *slot = &f.edges->slot[p];
            for (int pair = 0; pair < MAX_ACTIVE * MAX_ACTIVE; pair++) {
                const int i = pair / MAX_ACTIVE * step, j = pair % MAX_ACTIVE * step;
                if (i == j || chance_of(&state, i, j) == 0) continue;
                const double expected = slow_detour(&state, step, i, j);
                CHECK_NEAR(jsp_edges_state_detour(&state, i, j), expected, 1e-5);
                n_positive += expected > 0;
            }
            const int is_open = state.open[slot->b] >> slot->bit_ab & 1;
            if (is_open && jsp_rng_uniform(&rng) < 0.4)
                jsp_edges_state_add(&state, slot->a, slot->b);
            jsp_edges_state_close(&state, slot->b, slot->bit_ab);
            jsp_edges_state_close(&state, slot->a, slot->bit_ba);
            jsp_edges_state_refresh(&state, &f.cache);
        }
    }
    CHECK(n_positive > 500);
    jsp_memory_free(memory);
    edges_fixture_close(&f);
    return 0;
}

/* Sets of one, two and four words. */
static int test_detour(void) {
    CHECK(check_detour(D, STEP) == 0);
    CHECK(check_detour(100, 19) == 0);
    CHECK(check_detour(MOST, 39) == 0);
    return 0;
}

/* ---- gradients ------------------------------------------------------------------- */

#ifdef JSP_REAL_DOUBLE

/* With a required edge. */
static int test_gradient(void) {
    static uint32_t parents[MAX_DAGS][D];
    edges_fixture f;
    CHECK(open_fixture(&f, ACTIVE_DAGS, 1, GRADIENT_T) == 0);
    CHECK(list_dags(f.scores, parents) == 168);
    CHECK(edges_fixture_check_gradient(&f, 168, parents[0]) == 0);
    edges_fixture_close(&f);
    return 0;
}

#endif

/* ---- trainer --------------------------------------------------------------------- */

/* Metrics and draws after training are the same bits for any number of threads. */
static int test_threads_same_bits(void) {
    enum { UPDATES = 12, DRAWS = 70 };
    static jsp_trainer_metrics metrics[2][UPDATES];
    static uint32_t parents[2][DRAWS * D];
    double log_q[2][DRAWS], log_reward[DRAWS];
    const int n_threads[] = {1, 2, 3, 8};
    jsp_scores *scores = random_scores(D, STEP, MAX_ACTIVE, 1, 21);
    for (int k = 0; k < 4; k++) {
        const int at = k > 0;
        jsp_trainer_config config = {
            .batch_size = 12,
            .seed = 11,
            .n_threads = n_threads[k],
        };
        config.schedule = (jsp_schedule){.n_updates = UPDATES,
                                         .likelihood_fraction = 0.5,
                                         .learning_rate = 2e-3};
        jsp_trainer_tuning_default(config.batch_size, D, &config.tuning);
        config.tuning.chain_moves = 50;
        jsp_trainer *trainer;
        long n_done;
        CHECK(jsp_trainer_create(scores, &config, &trainer, NULL) == JSP_OK);
        CHECK(jsp_trainer_step(trainer, UPDATES, 0, metrics[at], &n_done, NULL) ==
              JSP_OK);
        CHECK(jsp_trainer_draws_sample(trainer, DRAWS, 4, 0, n_threads[k], parents[at],
                                       log_q[at], log_reward, NULL) == JSP_OK);
        CHECK(!memcmp(metrics[0], metrics[at], sizeof metrics[0]));
        CHECK(!memcmp(parents[0], parents[at], sizeof parents[0]));
        CHECK(!memcmp(log_q[0], log_q[at], sizeof log_q[0]));
        jsp_trainer_destroy(trainer);
    }
    jsp_scores_destroy(scores);
    return 0;
}

/* Every allocation fails once: an error, and nothing is left behind. */
static int test_failing_allocations(void) {
    edges_fixture f;
    jsp_error error;
    CHECK(open_fixture(&f, ACTIVE_DAGS, 0, 2) == 0);
    const long before = jsp_memory_live();
    jsp_edges_rollout *rollout = NULL;
    int n_failures = 0;
    for (long n = 1; n < 200; n++, n_failures++) {
        jsp_memory_fail_at(n);
        jsp_status status = jsp_edges_rollout_create(f.edges, 4, 1, &rollout, &error);
        jsp_memory_fail_at(0);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY);
        CHECK(rollout == NULL && jsp_memory_live() == before);
    }
    CHECK(rollout && n_failures == 2);
    jsp_edges_rollout_destroy(rollout);
    CHECK(jsp_memory_live() == before);
    edges_fixture_close(&f);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"conditionals", test_conditionals},
        {"sum_to_one", test_sum_to_one},
        {"free_equals_forced", test_free_equals_forced},
        {"ends", test_ends},
        {"detour", test_detour},
#ifdef JSP_REAL_DOUBLE
        {"gradient", test_gradient},
#endif
        {"threads_same_bits", test_threads_same_bits},
        {"failing_allocations", test_failing_allocations},
    };
    return CHECK_RUN(tests);
}
