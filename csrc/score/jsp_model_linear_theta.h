/* jsp_model_linear_theta.h - the linear model at given weights, see jsp_model.h for the
 * functions that jsp_model_linear takes from here. */
#ifndef JSP_MODEL_LINEAR_THETA_H
#define JSP_MODEL_LINEAR_THETA_H

#include "jsp_model.h"

void jsp_model_linear_theta_log_joint(const jsp_model_setup *setup, int node,
                                      int n_parents, const int *parents, int K,
                                      const double *theta, double *log_joint,
                                      double *slope);

void jsp_model_linear_theta_pull_slope(const jsp_model_setup *setup, int node,
                                       int n_parents, const int *parents, int K,
                                       const double *theta, const double *d_slope,
                                       double *d_theta);

#endif
