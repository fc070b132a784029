/* jsp_gnn_policy.c - masked log-probabilities of one graph's actions.
 *
 * Sums of exponentials and log-probabilities are double; logits have been multiplied by
 * the number of rows of data and may be thousands apart. */
#include "jsp_gnn_policy.h"

#include <math.h>

#include "jsp_kernels.h"
#include "jsp_special.h"

/* Gradients of logits below this are 0. They are far below what moves a parameter, and
 * what follows from them is subnormal, on which products are many times slower: with logits
 * thousands apart most actions are like that (measured: a quarter of all training time). */
#define SMALLEST_GRADIENT 1e-20

static int count_legal(int n, const uint8_t *mask) {
    int count = 0;
    for (int a = 0; a < n; a++) count += mask[a] != 0;
    return count;
}

double jsp_gnn_policy_stop(int n, double stop_logit, const uint8_t *mask) {
    return count_legal(n, mask) ? -jsp_special_softplus(-stop_logit) : 0;
}

double jsp_gnn_policy_stop_backward(int n, double stop_logit, const uint8_t *mask,
                                    double d_log_stop) {
    return count_legal(n, mask) ? d_log_stop * (1 - 1 / (1 + exp(-stop_logit))) : 0;
}

void jsp_gnn_policy_forward(int n, const jsp_real *logits, double stop_logit,
                            const uint8_t *mask, double *log_pi) {
    if (!count_legal(n, mask)) {
        for (int a = 0; a < n; a++) log_pi[a] = -INFINITY;
        log_pi[n] = 0;
        return;
    }
    const double shift = -jsp_special_softplus(stop_logit) -
                         jsp_kernels_active()->log_sum_exp((size_t)n, logits, mask);
    for (int a = 0; a < n; a++) {
        log_pi[a] = mask[a] ? (double)logits[a] + shift : -INFINITY;
    }
    log_pi[n] = -jsp_special_softplus(-stop_logit);
}

void jsp_gnn_policy_backward(int n, double stop_logit, const uint8_t *mask,
                             const double *log_pi, const double *d_log_pi,
                             jsp_real *d_logits, double *d_stop_logit) {
    const double shift = jsp_special_softplus(stop_logit);
    double sum = 0;
    int legal = 0;
    for (int a = 0; a < n; a++) {
        if (mask[a]) sum += d_log_pi[a], legal++;
        /* log of the softmax among the legal edges */
        d_logits[a] = (jsp_real)(log_pi[a] + shift);
    }
    jsp_kernels_active()->exp((size_t)n, d_logits, d_logits);
    for (int a = 0; a < n; a++) {
        const double d = mask[a] ? d_log_pi[a] - (double)d_logits[a] * sum : 0;
        d_logits[a] = fabs(d) < SMALLEST_GRADIENT ? 0 : (jsp_real)d;
    }
    const double stop = 1 / (1 + exp(-stop_logit));
    *d_stop_logit = legal ? d_log_pi[n] * (1 - stop) - sum * stop : 0;
}
