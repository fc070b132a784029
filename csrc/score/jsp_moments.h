/* jsp_moments.h - posterior means and variances of weights, mixed over parent sets. */
#ifndef JSP_MOMENTS_H
#define JSP_MOMENTS_H

#include "jsp_gaussian.h"
#include "jsp_model.h"

/* diagonal[i] [n_parents] of A_SS^-1 */
void jsp_moments_inverse_diagonal(const jsp_gaussian_solution *solution,
                                  double *diagonal);

/* One node, mixed over its parent sets S with probabilities p(S):
 *     first[k]  = E theta_k,  second[k] = E theta_k^2,  theta_k = 0 where k is not in S
 *     *noise    = E of the noise variance
 *   candidates [K]   probability [2^K]   first, second [K] out
 * The least probable sets, 1e-17 together at most, are left out and the rest scaled up.
 * JSP_ERROR_VALUE when the model has no weights. Same bits for any n_threads. */
jsp_status jsp_moments_mix(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, const double *probability,
                           int n_threads, double *first, double *second, double *noise,
                           jsp_error *error);

#endif
