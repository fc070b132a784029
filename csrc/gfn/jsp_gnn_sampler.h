/* jsp_gnn_sampler.h - using a trained policy: draws of graphs with parameters. */
#ifndef JSP_GNN_SAMPLER_H
#define JSP_GNN_SAMPLER_H

#include "jsp_gnn_side.h"

typedef struct jsp_gnn_sampler jsp_gnn_sampler;

/* target and params are borrowed; tables are made from params as they are now. */
jsp_status jsp_gnn_sampler_create(const jsp_gnn_target *target, jsp_head_spec head,
                                  const jsp_real *params, double logit_scale,
                                  int n_threads, jsp_gnn_sampler **out,
                                  jsp_error *error);
void jsp_gnn_sampler_destroy(jsp_gnn_sampler *sampler); /* NULL allowed */

/* Where n draws go. */
typedef struct jsp_gnn_sampler_draws {
    uint8_t *graphs;          /* [n, D, D] */
    double *log_prob;         /* [n] log P(trajectory) + log E!, an unbiased estimate of
                                 q(G) in the sense of importance weights */
    double *weight;           /* [n, D, D] weight of i -> j, 0 where no edge; or NULL */
    double *theta;            /* [n, D, P] in the order of jsp_head_state.index, 0 where
                                 not active; or NULL */
    double *intercept;        /* [n, D] */
    double *noise_scale;      /* [n, D] */
    double *log_prob_theta;   /* [n] */
    double *log_reward_joint; /* [n] */
} jsp_gnn_sampler_draws;

/* n complete trajectories; draw k has the streams of number first_draw + k. */
void jsp_gnn_sampler_draw(jsp_gnn_sampler *sampler, long n, uint64_t seed,
                          long first_draw, const jsp_gnn_sampler_draws *draws);

/* Log-probabilities of actions at acyclic graphs; log_pi [n, D D + 1]. */
void jsp_gnn_sampler_policy(jsp_gnn_sampler *sampler, long n, const uint8_t *graphs,
                            double *log_pi);

#endif
