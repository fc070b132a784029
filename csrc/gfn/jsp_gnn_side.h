/* jsp_gnn_side.h - up to `capacity` graphs with K samples of parameters each: policy,
 * samples, their densities and rewards; forward and backward. A batch of transitions has
 * two sides, G and G'. */
#ifndef JSP_GNN_SIDE_H
#define JSP_GNN_SIDE_H

#include "jsp_gnn_net.h"
#include "jsp_gnn_target.h"

typedef struct jsp_gnn_side {
    int capacity, K;
    uint8_t *adjacency, *mask; /* [B, D, D] of acyclic graphs, filled by the caller */
    jsp_gnn_shard shard;       /* holds log_pi, and d_log_pi for the caller to fill */
    jsp_head_state head;
    int is_partial; /* 1: of graph b only the node only[b] has parameters that count */
    int *only;      /* [B] filled by the caller then; for local heads */
    /* lists over active parameters [entries, K], in the order of `head` */
    double *eps;   /* standard normal, filled by the caller after the forward pass */
    double *theta; /* from eps */
    double *slope; /* d/dtheta of (log R - log P(theta | G)); then, by the loss, the
                      gradient of that */
    double *
        d_theta; /* [P, K] what reaches theta of one node from `slope` by way of log R */
    double *log_reward; /* [B, K] */
    double *log_prob;   /* [B, K] log P(theta | G) */
    double *d_log_prob; /* [B, K], filled by the loss */
    char *memory;       /* owned */
} jsp_gnn_side;

jsp_status jsp_gnn_side_create(const jsp_gnn_net *net, int capacity, int K,
                               jsp_gnn_side *side, jsp_error *error);
void jsp_gnn_side_destroy(jsp_gnn_side *side); /* all-zero allowed */

/* Policy and head of the first B graphs; jsp_gnn_net_forward comes before. */
void jsp_gnn_side_forward(const jsp_gnn_net *net, const jsp_real *params,
                          jsp_gnn_side *side, int B, double logit_scale);

/* theta, slope, log_reward and log_prob from eps. Of a partial side log_reward holds the
 * graph's weight and the terms of one node, log_prob that node's. */
void jsp_gnn_side_sample(const jsp_gnn_net *net, const jsp_gnn_target *target,
                         jsp_gnn_side *side);

/* The same for the graphs of `base`, after its forward pass, each plus the edge action[b];
 * side->adjacency has it. */
void jsp_gnn_side_forward_next(const jsp_gnn_net *net, const jsp_real *params,
                               const jsp_gnn_side *base, jsp_gnn_side *side,
                               const int *action, double logit_scale);

/* Given d_log_prob, the gradient of slopes in `slope`, and shard.d_log_pi: adds to the
 * gradients; theta is fixed in log_prob and moves with the head's outputs in slopes. */
void jsp_gnn_side_backward(const jsp_gnn_net *net, const jsp_gnn_target *target,
                           const jsp_real *params, jsp_gnn_side *side,
                           const jsp_gnn_net_gradient *gradient);

/* Both sides, the second from jsp_gnn_side_forward_next. */
void jsp_gnn_side_backward_pair(const jsp_gnn_net *net, const jsp_gnn_target *target,
                                const jsp_real *params, jsp_gnn_side *before,
                                jsp_gnn_side *after, const int *action,
                                const jsp_gnn_net_gradient *gradient);

#endif
