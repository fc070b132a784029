/* jsp_adam.h - Adam with clipping by a running gradient norm and an averaged copy.
 *
 * The gradient is scaled down when its norm exceeds clip_ratio times the running
 * mean of past (clipped) norms. The averaged parameters are what a trained policy is
 * used with. A stretch of the parameters may have learning rates of its own. */
#ifndef JSP_ADAM_H
#define JSP_ADAM_H

#include "jsp_parallel.h"
#include "jsp_params.h"

typedef struct jsp_adam {
    size_t size;
    jsp_real *first, *second; /* moments, owned, [size] */
    jsp_real *average;        /* running average of the parameters, owned, [size] */
    long t;                   /* steps taken */
    double norm_mean; /* running mean of gradient norms; 0 before the first step */
    double beta1, beta2, epsilon, average_decay, clip_ratio;
    size_t rate_first, n_rates;
    jsp_real *rate; /* factors of the learning rate, owned, [n_rates]; NULL = 1 */
    jsp_real *kept; /* owned, [2, n_rates] */
    jsp_parallel_team *team; /* borrowed, for the next steps; NULL = one thread */
} jsp_adam;

/* Allocates for blocks of `size`; betas 0.9 and 0.99, epsilon 1e-8, average_decay
 * 0.995, clip_ratio 5. The average starts as a copy of `params`. */
jsp_status jsp_adam_create(jsp_adam *adam, size_t size, const jsp_real *params,
                           jsp_error *error);
void jsp_adam_destroy(jsp_adam *adam);

/* From now on parameter first + k moves rate[k] times as far as the others; rate [n] is
 * copied. */
jsp_status jsp_adam_set_rates(jsp_adam *adam, size_t first, size_t n,
                              const jsp_real *rate, jsp_error *error);

/* One step: params moves against the gradient block d_params. The average is warmed up:
 * its decay is min(average_decay, 1 - 1 / (1 + t / 10)), t counting this step.
 * Returns the gradient norm before clipping; a norm that is not finite changes nothing,
 * so that the caller can raise an error with everything intact. */
double jsp_adam_step(jsp_adam *adam, double learning_rate, const jsp_real *d_params,
                     jsp_real *params);

#endif
