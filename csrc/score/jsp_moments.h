/* jsp_moments.h - posterior means and variances of weights, mixed over parent sets. */
#ifndef JSP_MOMENTS_H
#define JSP_MOMENTS_H

#include "jsp_gaussian.h"
#include "jsp_model.h"

/* diagonal[i] [n_parents] of A_SS^-1 */
void jsp_moments_inverse_diagonal(const jsp_gaussian_solution *solution,
                                  double *diagonal);

/* One node, mixed over the subsets S of its candidates with probabilities p(S). */
typedef struct jsp_moments_mixture {
    int K;
    const int *candidates;     /* [K] in */
    const double *probability; /* [2^K] in, by local mask */
    int n_threads;
    double *first;  /* [K] out: E theta_k, theta_k = 0 where k is not in S */
    double *second; /* [K] out: E theta_k^2 */
    double *noise;  /* [1] out: E of the noise variance */
} jsp_moments_mixture;

/* Mean of the noise variance given S from the number of parents and the residual. */
typedef double (*jsp_moments_noise)(const void *context, int n_parents,
                                    double residual);

/* For models with theta_S | v ~ N(A_SS^-1 b_S, v A_SS^-1) given the noise variance v.
 * JSP_ERROR_NUMERICAL when a matrix is not positive definite or a variance not positive.
 * Probabilities are scaled to sum 1. Same bits for any n_threads. */
jsp_status jsp_moments_mix_form(const jsp_gaussian_form *form, jsp_moments_noise noise,
                                const void *context, const jsp_data *data, int node,
                                jsp_moments_mixture *mixture, jsp_error *error);

/* Asks the model; JSP_ERROR_VALUE when it has no weights. */
jsp_status jsp_moments_mix(const jsp_model_setup *setup, int node,
                           jsp_moments_mixture *mixture, jsp_error *error);

#endif
