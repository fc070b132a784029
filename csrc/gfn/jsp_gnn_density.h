/* jsp_gnn_density.h - log q(G) of given graphs under a trained policy.
 *
 * The policy adds edges in any order, so that q(G) is a sum over the E! orders of the edges
 * of G. */
#ifndef JSP_GNN_DENSITY_H
#define JSP_GNN_DENSITY_H

#include "jsp_gnn_sampler.h"

/* Up to this many edges q(G) is summed exactly, over the 2^E subgraphs. */
#define JSP_GNN_DENSITY_EXACT_EDGES 10

/* Orders that are drawn together. */
#define JSP_GNN_DENSITY_ORDERS 10

/* log q of acyclic graphs [n, D, D]. Exact, with error 0, for few edges, and -inf for graphs
 * that constraints or limits of parents exclude. Else the log of a mean of n_runs estimates
 * (at least 2), each from JSP_GNN_DENSITY_ORDERS orders, with the standard error of that
 * log. The error knows no bound, is infinite when the mean is 0 or not a number, and comes
 * with a bias of the log by about minus half its square. Streams are named by the edges of
 * a graph, so that its value does not depend on the graphs beside it.
 *   log_prob, standard_error  [n] out */
jsp_status jsp_gnn_density_log_prob(jsp_gnn_sampler *sampler, long n,
                                    const uint8_t *graphs, int n_runs, uint64_t seed,
                                    double *log_prob, double *standard_error,
                                    jsp_error *error);

#endif
