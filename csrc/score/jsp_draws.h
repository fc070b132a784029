/* jsp_draws.h - parameters of many graphs, drawn exactly given each graph. */
#ifndef JSP_DRAWS_H
#define JSP_DRAWS_H

#include "jsp_model.h"
#include "jsp_pulse.h"

/* Graph s draws theta_j of node j from the stream (seed, j, first_draw + s,
 * JSP_RNG_PARAMETER), so a draw depends on nothing else.
 *   graphs [n, D, D] bytes, acyclic, A[i, j] = 1 is i -> j
 *   first_edge [n + 1] index of the first edge of every graph in `weights`
 *   weights [first_edge[n]] in the order (s, i, j) of the edges
 *   intercepts, noise_scales [n, D]; log_density [n] of (weights, noise variances)
 *   extra [n, D, jsp_model_n_extra] or NULL when that is 0
 *   pulse or NULL; stops with JSP_INTERRUPTED, and nothing of the output counts */
jsp_status jsp_draws_parameters(const jsp_model_setup *setup, long n,
                                const uint8_t *graphs, uint64_t seed, long first_draw,
                                int n_threads, const long *first_edge, double *weights,
                                double *intercepts, double *noise_scales, double *extra,
                                double *log_density, jsp_pulse *pulse,
                                jsp_error *error);

/* The same for models of discrete data: conditional probability tables.
 *   first_cell [n, D] index of the first number of the table of node j in graph s
 *   tables [...] each [q, r] as in jsp_model_draw; log_density [n] of all tables. */
jsp_status jsp_draws_tables(const jsp_model_setup *setup, long n, const uint8_t *graphs,
                            uint64_t seed, long first_draw, int n_threads,
                            const int64_t *first_cell, double *tables,
                            double *log_density, jsp_pulse *pulse, jsp_error *error);

/* sizes [n, D]: numbers in the table of node j in graph s (INT64_MAX when more). */
void jsp_draws_table_sizes(const jsp_data *data, long n, const uint8_t *graphs,
                           int64_t *sizes);

#endif
