/* jsp_gnn_policy.h - from logits to log-probabilities of actions, and back. */
#ifndef JSP_GNN_POLICY_H
#define JSP_GNN_POLICY_H

#include "jsp_real.h"
#include "jspgfn.h"

/* logits [n] and mask [n] of one graph's edges, its stop logit s:
 *   log_pi[a] = log sigmoid(-s) + logits[a] - log sum over the mask of exp(logits), -inf
 *   outside the mask; log_pi[n] = log sigmoid(s). With an empty mask log_pi[n] = 0. */
void jsp_gnn_policy_forward(int n, const jsp_real *logits, double stop_logit,
                            const uint8_t *mask, double *log_pi);

/* Given log_pi and d_log_pi [n + 1] (not read outside the mask): d_logits [n] and
 * *d_stop_logit overwritten; d_logits below 1e-20 become 0. */
void jsp_gnn_policy_backward(int n, double stop_logit, const uint8_t *mask,
                             const double *log_pi, const double *d_log_pi,
                             jsp_real *d_logits, double *d_stop_logit);

/* log_pi[n] alone, which needs no logits of edges; and the gradient of s, given that of
 * log_pi[n] while no other action has any. */
double jsp_gnn_policy_stop(int n, double stop_logit, const uint8_t *mask);
double jsp_gnn_policy_stop_backward(int n, double stop_logit, const uint8_t *mask,
                                    double d_log_stop);

#endif
