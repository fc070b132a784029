/* jsp_head_normal.h - the Normal densities of the heads: samples, log-probabilities, slopes.
 * eps, theta and slope are [entries, K]: K samples of every parameter that the graphs of the
 * state have, in the order of its lists. All functions are for rows begin .. end-1 of the
 * state; whoever goes from row to row finds a row's samples in the first-level cache. */
#ifndef JSP_HEAD_NORMAL_H
#define JSP_HEAD_NORMAL_H

#include "jsp_head.h"

/* theta [entries, K] overwritten, from eps [entries, K] */
void jsp_head_normal_sample(const jsp_head *head, const jsp_head_state *state,
                            int begin, int end, int K, const double *eps,
                            double *theta);

/* log_prob [B, K] += the rows' part of log P(theta | G) of those samples */
void jsp_head_normal_log_prob(const jsp_head *head, const jsp_head_state *state,
                              int begin, int end, int K, const double *eps,
                              double *log_prob);

/* slope [entries, K] += - d log P(theta | G) / d theta = U^T eps */
void jsp_head_normal_slope(const jsp_head *head, const jsp_head_state *state, int begin,
                           int end, int K, const double *eps, double *slope);

/* Collects gradients of loc and U, given d_log_prob [B, K], theta held fixed. */
void jsp_head_normal_log_prob_backward(const jsp_head *head, jsp_head_state *state,
                                       int begin, int end, int K, const double *eps,
                                       const double *theta, const double *d_log_prob);

/* Collects gradients of loc and U through the samples and through jsp_head_normal_slope, given
 * d_theta and d_slope, [entries, K] of these rows only. */
void jsp_head_normal_slope_backward(const jsp_head *head, jsp_head_state *state,
                                    int begin, int end, int K, const double *eps,
                                    const double *theta, const double *d_theta,
                                    const double *d_slope);

#endif
