/* jsp_gnn_sampler_inner.h - what draws and densities share: a worker runs the policy on a
 * group of graphs. */
#ifndef JSP_GNN_SAMPLER_INNER_H
#define JSP_GNN_SAMPLER_INNER_H

#include "jsp_gnn_density.h"

enum { JSP_GNN_SAMPLER_MAX_GROUP = 64 };

typedef struct jsp_gnn_sampler_worker {
    jsp_gnn_side side; /* [group] */
    jsp_dag_batch dag; /* [group] */
} jsp_gnn_sampler_worker;

struct jsp_gnn_sampler {
    const jsp_gnn_target *target;
    const jsp_real *params;
    double logit_scale;
    jsp_gnn_net net;
    int group, n_threads;
    jsp_gnn_sampler_worker *workers; /* [n_threads] */
};

static inline size_t jsp_gnn_sampler_cells(const jsp_gnn_sampler *sampler) {
    return (size_t)sampler->target->D * (size_t)sampler->target->D;
}

/* Graph and mask of a dag become row b of the worker's side. */
static inline void jsp_gnn_sampler_put(const jsp_gnn_sampler *sampler,
                                       jsp_gnn_sampler_worker *work, int b,
                                       const jsp_dag *dag) {
    const size_t at = (size_t)b * jsp_gnn_sampler_cells(sampler);
    jsp_gnn_target_graph(dag, work->side.adjacency + at);
    jsp_gnn_target_mask(sampler->target, dag, work->side.mask + at);
}

/* Policy of the first n rows. */
static inline void jsp_gnn_sampler_run(const jsp_gnn_sampler *sampler,
                                       jsp_gnn_sampler_worker *work, int n) {
    jsp_gnn_shard_forward(&sampler->net.gnn, sampler->params, &sampler->net.shared,
                          &work->side.shard, n, work->side.adjacency, work->side.mask,
                          sampler->logit_scale);
}

/* log P(action) at row b; action D D = stop. */
static inline double jsp_gnn_sampler_log_pi(const jsp_gnn_sampler *sampler,
                                            const jsp_gnn_sampler_worker *work, int b,
                                            int action) {
    return work->side.shard
        .log_pi[(size_t)b * (jsp_gnn_sampler_cells(sampler) + 1) + (size_t)action];
}

#endif
