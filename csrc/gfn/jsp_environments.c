#include "jsp_environments.h"

#include <math.h>

#include "jsp_memory.h"
#include "jsp_rng.h"

static size_t count_cells(const jsp_environments *environments) {
    const size_t D = (size_t)environments->target->D;
    return D * D;
}

jsp_status jsp_environments_create(const jsp_gnn_target *target, int n,
                                   jsp_environments *environments, jsp_error *error) {
    *environments = (jsp_environments){.target = target, .n = n};
    const size_t cells = (size_t)n * count_cells(environments);
    environments->adjacency = jsp_memory_alloc(cells, 1);
    environments->mask = jsp_memory_alloc(cells, 1);
    environments->action = jsp_memory_alloc((size_t)n, sizeof(int));
    if (!environments->adjacency || !environments->mask || !environments->action) {
        return jsp_status_no_memory(error, 2 * cells, "the environments");
    }
    return jsp_dag_batch_create(&environments->dag, n, target->D, 0, error);
}

void jsp_environments_destroy(jsp_environments *environments) {
    jsp_dag_batch_destroy(&environments->dag);
    jsp_memory_free(environments->adjacency);
    jsp_memory_free(environments->mask);
    jsp_memory_free(environments->action);
}

void jsp_environments_read(jsp_environments *environments) {
    const size_t cells = count_cells(environments);
    for (size_t e = 0; e < (size_t)environments->n; e++) {
        const jsp_dag *dag = &environments->dag.dag[e];
        jsp_gnn_target_graph(dag, environments->adjacency + e * cells);
        jsp_gnn_target_mask(environments->target, dag, environments->mask + e * cells);
    }
}

/* The action that a uniform number picks: by the policy, or uniform over legal ones and
 * stop when log_pi is NULL. */
static int choose_action(int n_cells, const uint8_t *mask, const double *log_pi,
                         double uniform) {
    int n_legal = 0, last = n_cells;
    for (int a = 0; a < n_cells; a++) n_legal += mask[a];
    double left = log_pi ? uniform : uniform * (n_legal + 1);
    for (int a = 0; a < n_cells; a++) {
        if (!mask[a]) continue;
        left -= log_pi ? exp(log_pi[a]) : 1;
        if (left < 0) return a;
        last = a;
    }
    /* rounding may leave a little although stop is impossible */
    return log_pi && exp(log_pi[n_cells]) == 0 ? last : n_cells;
}

void jsp_environments_choose(jsp_environments *environments, uint64_t seed,
                             uint32_t step, double exploration, const double *log_pi) {
    const size_t cells = count_cells(environments);
    for (size_t e = 0; e < (size_t)environments->n; e++) {
        jsp_rng rng;
        jsp_rng_init(&rng, seed, step, (uint32_t)e, JSP_RNG_ENVIRONMENT);
        const int explores = jsp_rng_uniform(&rng) < exploration;
        environments->action[e] =
            choose_action((int)cells, environments->mask + e * cells,
                          explores || !log_pi ? NULL : log_pi + e * (cells + 1),
                          jsp_rng_uniform(&rng));
    }
}

void jsp_environments_move(jsp_environments *environments, jsp_replay *replay) {
    const int D = environments->target->D, cells = D * D;
    for (int e = 0; e < environments->n; e++) {
        const int action = environments->action[e];
        if (action == cells) {
            jsp_dag_reset(&environments->dag.dag[e]);
            continue;
        }
        jsp_replay_push(replay, environments->adjacency + (size_t)e * (size_t)cells,
                        action);
        jsp_dag_add(&environments->dag.dag[e], action / D, action % D);
    }
}

static void move_at_random(jsp_environments *environments, uint64_t seed, uint32_t step,
                           jsp_replay *replay) {
    jsp_environments_read(environments);
    jsp_environments_choose(environments, seed, step, 1, NULL);
    jsp_environments_move(environments, replay);
}

void jsp_environments_prefill(jsp_environments *environments, uint64_t seed,
                              int n_steps, jsp_replay *replay) {
    for (int t = 0; t < n_steps; t++) {
        move_at_random(environments, seed, (uint32_t)t, replay);
    }
    /* a batch needs a transition: a short prefill may have stopped at once */
    for (int t = 0; replay->n == 0; t++) {
        move_at_random(environments, seed, UINT32_MAX - (uint32_t)t, replay);
    }
}
