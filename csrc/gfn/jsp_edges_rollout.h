/* jsp_edges_rollout.h - a group of walks in step with each other, forward and backward.
 *
 * All walks visit the same slot at the same time, so the options of one slot form one
 * small batch for the network: products of matrices instead of one vector at a time.
 * Free walks sample; forced walks follow a given graph and yield its log q; a walk may
 * also be forced but for some slots, which are decided anew given the rest. For
 * training, inputs and activations of every option are kept, and the backward pass runs
 * over all options of the group in a few large blocks. */
#ifndef JSP_EDGES_ROLLOUT_H
#define JSP_EDGES_ROLLOUT_H

#include "jsp_edges.h"

typedef struct jsp_edges_rollout jsp_edges_rollout;

/* What one walk is to do and what came of it. */
typedef struct jsp_edges_walk {
    const uint32_t *target; /* [D] local masks to follow, or NULL to sample */
    const double *uniform;  /* [n_slots] in (0, 1), used when sampling */
    /* [n_slots] or NULL, with a target only: 1 = this slot counts. Other slots follow the
     * target and add nothing to log_q. A slot that counts is sampled when `uniform` is
     * given and follows the target otherwise. Such walks leave nothing for the backward
     * pass. */
    const uint8_t *redraw;
    double log_q; /* out: sum of log-probabilities; -inf when the target is cyclic or
                     excluded, or becomes so by what was drawn */
    int n_edges;  /* out */
    const uint32_t
        *chosen; /* out: [D] local masks; valid until the next forward pass */
} jsp_edges_walk;

/* Room for groups of up to T <= 32767 walks. with_record keeps what the backward pass needs. */
jsp_status jsp_edges_rollout_create(const jsp_edges *edges, int T, int with_record,
                                    jsp_edges_rollout **out, jsp_error *error);
void jsp_edges_rollout_destroy(jsp_edges_rollout *rollout); /* NULL allowed */

/* Runs walk[0 .. T-1] with the parameter block `params`. */
void jsp_edges_rollout_forward(jsp_edges_rollout *rollout, const jsp_real *params,
                               jsp_edges_cache *cache, int T, jsp_edges_walk *walk);

/* Has the next backward pass teach walks 0 .. n-1 the full conditionals of their graphs
 * (jsp_edges_conditionals.h), too. Needs with_record. Adds sums of squares over all
 * options of these walks: of 1[chosen] - q to squares[0], and of conditional - q, which
 * are smaller where the walks are close to the posterior, to squares[1]. */
void jsp_edges_rollout_condition(jsp_edges_rollout *rollout, int n, double squares[2]);

/* d_params += sum over the walks of the last forward pass of
 *     weight[t] * gradient of log q(walk t)
 *     + conditional[t] * gradient of sum over slots, choices k of p_k log q_k,
 * p the full conditional and q the probabilities at the slot. `conditional` is NULL or 0
 * but for the walks of jsp_edges_rollout_condition. Needs with_record; once per forward
 * pass, whose record it uses up. */
void jsp_edges_rollout_backward(jsp_edges_rollout *rollout, const jsp_real *params,
                                int T, const double *weight, const double *conditional,
                                jsp_real *d_params);

/* Options (directions weighed by the network) in the last recorded forward pass. */
long jsp_edges_rollout_n_options(const jsp_edges_rollout *rollout);

#endif
