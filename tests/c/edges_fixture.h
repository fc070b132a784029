/* edges_fixture.h - a generator of small tables, and what must hold for any of them. */
#ifndef EDGES_FIXTURE_H
#define EDGES_FIXTURE_H

#include <math.h>
#include <string.h>

#include "check.h"
#include "jsp_edges_conditionals.h"
#include "jsp_edges_rollout.h"
#include "jsp_memory.h"

enum { EDGES_FIXTURE_CACHE = 1 << 16, EDGES_FIXTURE_WALKS = 40, GRADIENT_T = 24 };

/* A generator with perturbed parameters and room for T walks. */
typedef struct edges_fixture {
    jsp_scores *scores; /* owned */
    jsp_edges *edges;
    jsp_edges_rollout *rollout;
    jsp_edges_cache cache;
    jsp_real *params;
} edges_fixture;

/* Normal numbers times `scale` on top: parts that start at 0 take part, too. */
static inline void edges_fixture_perturb(const jsp_edges *edges, double scale,
                                         jsp_real *params) {
    for (int k = 0; k < edges->layout.n_tensors; k++) {
        const jsp_params_tensor *tensor = &edges->layout.tensor[k];
        jsp_rng rng;
        jsp_rng_init(&rng, 77, 0, (uint32_t)k, JSP_RNG_TEST);
        for (int m = 0; m < tensor->shape[0] * tensor->shape[1]; m++) {
            params[tensor->offset + (size_t)m] +=
                (jsp_real)(scale * jsp_rng_normal(&rng));
        }
    }
}

/* Takes the scores over. */
static inline int edges_fixture_open(edges_fixture *f, jsp_scores *scores, double scale,
                                     int T) {
    f->scores = scores;
    CHECK(f->scores);
    CHECK(jsp_edges_create(f->scores, 0, &f->edges, NULL) == JSP_OK);
    CHECK(jsp_edges_rollout_create(f->edges, T, 1, &f->rollout, NULL) == JSP_OK);
    CHECK(jsp_edges_cache_create(&f->cache, f->scores, EDGES_FIXTURE_CACHE, NULL) ==
          JSP_OK);
    f->params = jsp_memory_alloc(f->edges->layout.size, sizeof *f->params);
    CHECK(f->params);
    jsp_params_fill(&f->edges->layout, 3, f->params);
    edges_fixture_perturb(f->edges, scale, f->params);
    return 0;
}

static inline void edges_fixture_close(edges_fixture *f) {
    jsp_memory_free(f->params);
    jsp_edges_cache_destroy(&f->cache);
    jsp_edges_rollout_destroy(f->rollout);
    jsp_edges_destroy(f->edges);
    jsp_scores_destroy(f->scores);
}

/* log q sums to 1 over all allowed DAGs, parents [n, D]; walk [n] is scratch. */
static inline int edges_fixture_check_sum(edges_fixture *f, int n,
                                          const uint32_t *parents,
                                          jsp_edges_walk *walk) {
    const size_t D = (size_t)f->scores->n_variables;
    double sum = 0;
    for (int s = 0; s < n; s++)
        walk[s] = (jsp_edges_walk){.target = parents + (size_t)s * D};
    jsp_edges_rollout_forward(f->rollout, f->params, &f->cache, n, walk);
    for (int s = 0; s < n; s++) {
        CHECK(isfinite(walk[s].log_q));
        CHECK(!memcmp(walk[s].chosen, walk[s].target, D * sizeof(uint32_t)));
        sum += exp(walk[s].log_q);
    }
    CHECK_NEAR(sum, 1, 1e-9);
    return 0;
}

/* A free walk and the forced walk along its graph agree to the last bit, alone or in a
 * group. The fixture has room for EDGES_FIXTURE_WALKS. */
static inline int edges_fixture_check_forced(edges_fixture *f) {
    enum { T = EDGES_FIXTURE_WALKS, MAX_SLOTS = 64, MAX_D = 24 };
    static double uniform[T][MAX_SLOTS];
    static uint32_t drawn[T][MAX_D];
    const size_t bytes = (size_t)f->scores->n_variables * sizeof(uint32_t);
    double log_q[T];
    jsp_edges_walk walk[T] = {{0}};
    CHECK(f->edges->n_slots <= MAX_SLOTS && f->scores->n_variables <= MAX_D);
    for (int t = 0; t < T; t++) {
        jsp_rng rng;
        jsp_rng_init(&rng, 9, 0, (uint32_t)t, JSP_RNG_TEST);
        jsp_rng_fill_uniform(&rng, f->edges->n_slots, uniform[t]);
        walk[t].uniform = uniform[t];
    }
    jsp_edges_rollout_forward(f->rollout, f->params, &f->cache, T, walk);
    for (int t = 0; t < T; t++) {
        memcpy(drawn[t], walk[t].chosen, bytes);
        log_q[t] = walk[t].log_q;
    }
    for (int t = 0; t < T; t++) {
        jsp_edges_walk alone = {.target = drawn[t]};
        jsp_edges_rollout_forward(f->rollout, f->params, &f->cache, 1, &alone);
        CHECK(alone.log_q == log_q[t]);
        CHECK(!memcmp(alone.chosen, drawn[t], bytes));
    }
    return 0;
}

/* log R of a graph with choice k (-1, 0, 1) at a slot instead; -inf when not allowed. */
static inline double edges_fixture_changed_reward(const jsp_scores *scores,
                                                  const jsp_edges_slot *slot,
                                                  const uint32_t *graph, int k) {
    static uint8_t matrix[JSP_MAX_VARIABLES * JSP_MAX_VARIABLES];
    uint32_t parents[JSP_MAX_VARIABLES];
    const int D = scores->n_variables;
    memset(matrix, 0, sizeof matrix);
    for (int j = 0; j < D; j++) {
        for (int m = 0; m < scores->node[j].K; m++)
            matrix[scores->node[j].candidate[m] * D + j] = graph[j] >> m & 1;
    }
    matrix[slot->a * D + slot->b] = k == 0;
    matrix[slot->b * D + slot->a] = k == 1;
    if (jsp_dag_find_cycle(D, 1, matrix) >= 0) return -INFINITY;
    if (!jsp_scores_masks_of_graph(scores, matrix, parents)) return -INFINITY;
    return jsp_scores_log_reward(scores, parents);
}

/* The state of a finished graph. */
static inline void edges_fixture_finish(const edges_fixture *f, const uint32_t *graph,
                                        jsp_edges_state *state) {
    const int D = f->scores->n_variables;
    jsp_edges_state_copy(state, &f->edges->initial);
    memcpy(state->chosen, graph, (size_t)D * sizeof *graph);
    for (int j = 0; j < D; j++) {
        for (int m = 0; m < f->scores->node[j].K; m++) {
            const int i = f->scores->node[j].candidate[m];
            if (graph[j] >> m & 1 && !jsp_bits_has(state->dag.parents[j], i))
                jsp_dag_add(&state->dag, i, j);
        }
    }
}

/* Full conditionals of every slot of allowed DAGs, parents [n, D], against log R of the
 * three graphs. */
static inline int edges_fixture_check_conditionals(edges_fixture *f, int n,
                                                   const uint32_t *parents) {
    enum { MAX_DIRECTIONS = 128 };
    jsp_real found[MAX_DIRECTIONS];
    jsp_edges_state state;
    char *memory = jsp_memory_alloc(jsp_edges_state_size(f->scores), 1);
    CHECK(memory && 2 * f->edges->n_slots <= MAX_DIRECTIONS);
    jsp_edges_state_init(&state, f->scores, memory);
    for (int s = 0; s < n; s++) {
        const uint32_t *graph = parents + s * f->scores->n_variables;
        edges_fixture_finish(f, graph, &state);
        jsp_edges_conditionals(f->edges, &state, found);
        for (int p = 0; p < f->edges->n_slots; p++) {
            double reward[3], top = -INFINITY, total = 0;
            for (int k = 0; k < 3; k++) {
                reward[k] = edges_fixture_changed_reward(f->scores, &f->edges->slot[p],
                                                         graph, k - 1);
                top = fmax(top, reward[k]);
            }
            for (int k = 0; k < 3; k++) total += exp(reward[k] - top);
            for (int d = 0; d < 2; d++) {
                CHECK_NEAR((double)found[2 * p + d], exp(reward[1 + d] - top) / total,
                           1e-6);
            }
        }
    }
    jsp_memory_free(memory);
    return 0;
}

#ifdef JSP_REAL_DOUBLE

/* sum_t weight[t] log q(target t) */
static inline double edges_fixture_log_q(edges_fixture *f, int n,
                                         const uint32_t *parents,
                                         const double *weight) {
    jsp_edges_walk walk[GRADIENT_T] = {{0}};
    double sum = 0;
    for (int t = 0; t < GRADIENT_T; t++) {
        walk[t].target = parents + t * 37 % n * f->scores->n_variables;
    }
    jsp_edges_rollout_forward(f->rollout, f->params, &f->cache, GRADIENT_T, walk);
    for (int t = 0; t < GRADIENT_T; t++) sum += weight[t] * walk[t].log_q;
    return sum;
}

/* The backward pass against central differences along random directions, and along each
 * tensor alone, so that a small one cannot hide. parents [n, D] are allowed DAGs. */
static inline int edges_fixture_check_gradient(edges_fixture *f, int n,
                                               const uint32_t *parents) {
    double weight[GRADIENT_T];
    const size_t size = f->edges->layout.size;
    jsp_real *gradient = jsp_memory_alloc(size, sizeof *gradient);
    jsp_real *direction = jsp_memory_alloc(size, sizeof *direction);
    CHECK(gradient && direction);
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int t = 0; t < GRADIENT_T; t++) weight[t] = jsp_rng_normal(&rng);
    edges_fixture_log_q(f, n, parents, weight);
    jsp_edges_rollout_backward(f->rollout, f->params, GRADIENT_T, weight, NULL,
                               gradient);
    for (int k = -8; k < f->edges->layout.n_tensors; k++) {
        const jsp_params_tensor *tensor = k < 0 ? NULL : &f->edges->layout.tensor[k];
        size_t first = tensor ? tensor->offset : 0;
        size_t count =
            tensor ? (size_t)tensor->shape[0] * (size_t)tensor->shape[1] : size;
        double expected = 0, scale = 0, step = 1e-6;
        memset(direction, 0, size * sizeof *direction);
        for (size_t m = first; m < first + count; m++) {
            direction[m] = jsp_rng_normal(&rng);
            expected += direction[m] * gradient[m];
            scale += fabs(direction[m] * gradient[m]);
        }
        for (size_t m = 0; m < size; m++) f->params[m] += step * direction[m];
        double above = edges_fixture_log_q(f, n, parents, weight);
        for (size_t m = 0; m < size; m++) f->params[m] -= 2 * step * direction[m];
        double below = edges_fixture_log_q(f, n, parents, weight);
        for (size_t m = 0; m < size; m++) f->params[m] += step * direction[m];
        CHECK(scale > 1e-3); /* every tensor takes part */
        /* sums near 100 are rounded by 1e-14 */
        CHECK_NEAR((above - below) / (2 * step), expected, 1e-6 * scale + 2e-8);
    }
    jsp_memory_free(gradient);
    jsp_memory_free(direction);
    return 0;
}

#endif

#endif
