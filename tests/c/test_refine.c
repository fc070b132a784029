/* test_refine.c - walks with some slots redrawn, refinement, transfer of parameters. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "jsp_chain.h"
#include "jsp_dag.h"
#include "jsp_edges_transfer.h"
#include "jsp_memory.h"
#include "jsp_refine.h"

enum { D = 6, N = 20, CACHE = 1 << 16, MAX_SLOTS = D * (D - 1) / 2 };

typedef struct fixture {
    jsp_scores *scores;
    jsp_edges *edges;
    jsp_edges_rollout *rollout;
    jsp_edges_cache cache;
    jsp_real *params;
    uint32_t parents[N * D]; /* graphs drawn by a chain */
} fixture;

/* Normal scores; sets with more than three members are excluded. */
static jsp_scores *random_scores(uint64_t seed) {
    int candidates[D][D - 1], counts[D];
    const int *rows[D];
    double tables[D][1 << (D - 1)];
    const double *table[D];
    jsp_scores *scores = NULL;
    for (int j = 0; j < D; j++) {
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 0, (uint32_t)j, JSP_RNG_TEST);
        for (int i = 0, k = 0; i < D; i++) {
            if (i != j) candidates[j][k++] = i;
        }
        counts[j] = D - 1;
        rows[j] = candidates[j];
        table[j] = tables[j];
        for (int S = 0; S < 1 << (D - 1); S++) {
            double value = 2 * jsp_rng_normal(&rng);
            tables[j][S] = jsp_bits_count64((uint64_t)S) > 3 ? -INFINITY : value;
        }
    }
    jsp_scores_create_from_tables(D, rows, counts, table, &scores, NULL);
    return scores;
}

static int draw_graphs(fixture *f) {
    jsp_bits bits[D];
    jsp_chain_moves moves;
    CHECK(jsp_chain_moves_create(&moves, f->scores, NULL) == JSP_OK);
    for (int s = 0; s < N; s++) {
        jsp_chain_state state = {f->parents + s * D, bits};
        jsp_rng rng;
        jsp_rng_init(&rng, 9, 0, (uint32_t)s, JSP_RNG_TEST);
        jsp_chain_reset(f->scores, &state);
        jsp_chain_step(f->scores, &moves, 1.0, 500, &rng, &state);
    }
    jsp_chain_moves_destroy(&moves);
    return 0;
}

static int open_fixture(fixture *f, uint64_t seed) {
    f->scores = random_scores(seed);
    CHECK(f->scores);
    CHECK(jsp_edges_create(f->scores, 0, &f->edges, NULL) == JSP_OK);
    CHECK(jsp_edges_rollout_create(f->edges, 2 * N, 0, &f->rollout, NULL) == JSP_OK);
    CHECK(jsp_edges_cache_create(&f->cache, f->scores, CACHE, NULL) == JSP_OK);
    f->params = jsp_memory_alloc(f->edges->layout.size, sizeof *f->params);
    CHECK(f->params);
    jsp_params_fill(&f->edges->layout, seed, f->params);
    for (int k = 0; k < f->edges->layout.n_tensors; k++) {
        const jsp_params_tensor *tensor = &f->edges->layout.tensor[k];
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 1, (uint32_t)k, JSP_RNG_TEST);
        for (int m = 0; m < tensor->shape[0] * tensor->shape[1]; m++) {
            f->params[tensor->offset + (size_t)m] +=
                (jsp_real)(0.3 * jsp_rng_normal(&rng));
        }
    }
    return draw_graphs(f);
}

static void close_fixture(fixture *f) {
    jsp_memory_free(f->params);
    jsp_edges_cache_destroy(&f->cache);
    jsp_edges_rollout_destroy(f->rollout);
    jsp_edges_destroy(f->edges);
    jsp_scores_destroy(f->scores);
}

/* log q of a graph is the sum over slots of what a walk counts at that slot alone. */
static int test_slots_add_up(void) {
    fixture f;
    uint8_t redraw[MAX_SLOTS];
    double total[N], sum[N] = {0};
    CHECK(open_fixture(&f, 3) == 0);
    jsp_edges_walk walk[N];
    for (int p = -1; p < f.edges->n_slots; p++) { /* -1: all slots */
        memset(redraw, p < 0, sizeof redraw);
        if (p >= 0) redraw[p] = 1;
        for (int s = 0; s < N; s++) {
            walk[s] = (jsp_edges_walk){.target = f.parents + s * D, .redraw = redraw};
        }
        jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, N, walk);
        for (int s = 0; s < N; s++) {
            CHECK(!memcmp(walk[s].chosen, walk[s].target, D * sizeof(uint32_t)));
            if (p < 0) total[s] = walk[s].log_q;
            if (p >= 0) sum[s] += walk[s].log_q;
        }
    }
    for (int s = 0; s < N; s++) CHECK_NEAR(sum[s], total[s], 1e-9);
    close_fixture(&f);
    return 0;
}

/* A redrawn walk keeps all other decisions, and the way back has the log q that the
 * same uniforms would count; a proposal that is possible is an allowed DAG. */
static int test_redrawn_walks(void) {
    fixture f;
    uint8_t redraw[MAX_SLOTS];
    double uniform[N * MAX_SLOTS];
    jsp_rng rng;
    int n_changed = 0, n_impossible = 0;
    CHECK(open_fixture(&f, 4) == 0);
    const int n_slots = f.edges->n_slots;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    jsp_rng_fill_uniform(&rng, N * n_slots, uniform);
    for (int p = 0; p < n_slots; p++) redraw[p] = p % 3 == 0;
    jsp_edges_walk walk[N], forced[N];
    for (int s = 0; s < N; s++) {
        walk[s] = (jsp_edges_walk){.target = f.parents + s * D,
                                   .uniform = uniform + s * n_slots,
                                   .redraw = redraw};
    }
    jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, N, walk);
    uint32_t chosen[N * D];
    double log_q[N];
    for (int s = 0; s < N; s++) {
        memcpy(chosen + s * D, walk[s].chosen, D * sizeof(uint32_t));
        log_q[s] = walk[s].log_q;
        n_changed +=
            memcmp(chosen + s * D, f.parents + s * D, D * sizeof(uint32_t)) != 0;
        n_impossible += log_q[s] == -INFINITY;
        forced[s] = (jsp_edges_walk){.target = chosen + s * D, .redraw = redraw};
    }
    CHECK(n_changed > N / 2 && n_impossible < N / 2);
    jsp_edges_rollout_forward(f.rollout, f.params, &f.cache, N, forced);
    for (int s = 0; s < N; s++) {
        if (log_q[s] == -INFINITY) continue;
        CHECK(forced[s].log_q == log_q[s]);
        CHECK(isfinite(jsp_scores_log_reward(f.scores, chosen + s * D)));
        for (int p = 0; p < n_slots; p++) { /* other slots are as they were */
            const jsp_edges_slot *slot = &f.edges->slot[p];
            const uint32_t *before = f.parents + s * D, *after = chosen + s * D;
            uint32_t differ_b = before[slot->b] ^ after[slot->b];
            uint32_t differ_a = before[slot->a] ^ after[slot->a];
            int changed =
                (differ_b >> slot->bit_ab & 1) || (differ_a >> slot->bit_ba & 1);
            CHECK(redraw[p] || !changed);
        }
    }
    close_fixture(&f);
    return 0;
}

static int test_failing_allocations(void) {
    fixture f;
    jsp_error error;
    int32_t accepted[N * JSP_REFINE_MAX_LEVELS];
    const jsp_refine_config config = {.n_sweeps = 1,
                                      .moves_per_pair = 1,
                                      .n_threads = 2};
    CHECK(open_fixture(&f, 5) == 0);
    const long before = jsp_memory_live();
    int n_failures = 0;
    for (long n = 1; n < 1000; n++) {
        jsp_memory_fail_at(n);
        jsp_status status =
            jsp_refine_run(f.edges, f.params, &config, N, f.parents, accepted, &error);
        jsp_memory_fail_at(0);
        CHECK(jsp_memory_live() == before);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && error.message[0]);
        n_failures++;
    }
    CHECK(n_failures > 10);
    close_fixture(&f);
    return 0;
}

static int test_levels(void) {
    int size[JSP_REFINE_MAX_LEVELS];
    CHECK(jsp_refine_levels(1, size) == 1 && size[0] == 1);
    CHECK(jsp_refine_levels(4, size) == 1 && size[0] == 4);
    CHECK(jsp_refine_levels(5, size) == 2 && size[0] == 4 && size[1] == 5);
    CHECK(jsp_refine_levels(128, size) == 6 && size[4] == 64 && size[5] == 128);
    return 0;
}

/* Pairs keep their parameters although their slots are in another order, everything
 * else is copied, and a transfer to the same generator copies all. */
static int test_transfer(void) {
    fixture f, g;
    CHECK(open_fixture(&f, 6) == 0 && open_fixture(&g, 7) == 0);
    const size_t bias = f.edges->tensor.pair_bias;
    int n_moved = 0;
    jsp_edges_transfer(f.edges, f.params, g.edges, g.params);
    for (int p = 0; p < f.edges->n_slots; p++) {
        for (int q = 0; q < g.edges->n_slots; q++) {
            if (f.edges->slot[p].a != g.edges->slot[q].a) continue;
            if (f.edges->slot[p].b != g.edges->slot[q].b) continue;
            n_moved += p != q;
            for (size_t d = 0; d < 2; d++) {
                CHECK(f.params[bias + 2 * (size_t)p + d] ==
                      g.params[bias + 2 * (size_t)q + d]);
            }
        }
    }
    CHECK(n_moved > 5);
    CHECK(f.params[f.edges->tensor.look_ahead_weight] ==
          g.params[g.edges->tensor.look_ahead_weight]);
    jsp_edges_transfer(g.edges, g.params, f.edges, f.params);
    jsp_real *copy = jsp_memory_alloc(f.edges->layout.size, sizeof *copy);
    CHECK(copy);
    jsp_edges_transfer(f.edges, f.params, f.edges, copy);
    CHECK(!memcmp(copy, f.params, f.edges->layout.size * sizeof *copy));
    jsp_memory_free(copy);
    close_fixture(&f);
    close_fixture(&g);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"slots_add_up", test_slots_add_up},
        {"redrawn_walks", test_redrawn_walks},
        {"failing_allocations", test_failing_allocations},
        {"levels", test_levels},
        {"transfer", test_transfer},
    };
    return CHECK_RUN_AND_COUNT(tests, jsp_memory_live);
}
