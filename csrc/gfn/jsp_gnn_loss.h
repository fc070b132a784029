/* jsp_gnn_loss.h - the loss of the published method on transitions G -> G' = G + (i -> j),
 * with K samples theta_l of P(. | G) and theta'_k of P(. | G'):
 *
 *   Delta_kl = [log R(G', theta'_k) - log R(G, theta_l)] - log E(G') + log P(stop | G)
 *              + log P(theta_l | G) - log P(G' | G) - log P(stop | G') - log P(theta'_k | G')
 *   loss = mean over transitions of mean_kl Huber(Delta_kl / N)
 *          + penalty_weight 1/2 [g(G) + g(G')]
 *   g(G) = mean over samples and parameters of (d/dtheta [log R - log P(theta | G)])^2,
 *          0 without parameters
 *
 * With partial sides (jsp_gnn_side.h) log R, log P(theta | G) and g have the terms of node j
 * only: those of the others cancel when theta' = theta there and the head is local.
 *
 * In the first term the difference of log R is a constant and so is theta in
 * log P(theta | G); in the penalty nothing is. The published code has 0 / 0 for g of the
 * empty graph. */
#ifndef JSP_GNN_LOSS_H
#define JSP_GNN_LOSS_H

#include "jsp_gnn_side.h"

typedef struct jsp_gnn_loss_config {
    double residual_scale; /* N */
    double delta;          /* where Huber turns linear */
    double penalty_weight; /* 1 as published */
} jsp_gnn_loss_config;

/* Sums over transitions, in nats where they are residuals. */
typedef struct jsp_gnn_loss_sums {
    double huber, penalty;            /* penalty: 1/2 [g(G) + g(G')] */
    double residual, residual_square; /* mean_kl Delta, mean_kl Delta^2 */
} jsp_gnn_loss_sums;

/* All pairs of Delta_kl = after[k] - before[l] + constant: returns mean Huber(Delta / N),
 * adds to residual and residual_square.   d_before, d_after [K], *d_constant overwritten.
 * When every pair is in the quadratic zone means and variances are enough; else K^2. */
double jsp_gnn_loss_pairs(const jsp_gnn_loss_config *config, int K, double constant,
                          const double *before, const double *after, double *d_before,
                          double *d_after, double *d_constant, jsp_gnn_loss_sums *sums);

/* Transitions b: graph b of `before` plus the edge action[b] = i * D + j is graph b of
 * `after`, whose policies need log P(stop) only. Both sides have been sampled. Adds to sums; leaves on both sides gradients of
 * `weight` times the sum over transitions, ready for jsp_gnn_side_backward. scratch [4 K]. */
void jsp_gnn_loss_transitions(const jsp_gnn_loss_config *config, const jsp_gnn_net *net,
                              double weight, const int *action, jsp_gnn_side *before,
                              jsp_gnn_side *after, double *scratch,
                              jsp_gnn_loss_sums *sums);

#endif
