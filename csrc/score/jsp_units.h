/* jsp_units.h - evidence of a node that is a network with one hidden layer, and draws of
 * its parameters, by sequential Monte Carlo over the hidden layer.
 *
 *     y = b2 + sum_u w2_u relu(b1_u + w1_u . z) + e,  e ~ N(0, s^2), all others ~ N(0, 1)
 *
 * Given the hidden layer, output weights are those of a linear model: they are integrated
 * out in closed form. What remains is the prior mean of
 *     L(w1, b1, s) = N(y; 0, s^2 I + Phi Phi'),  Phi = hidden activations and ones for b2,
 * an integral over U (p + 1) numbers. Permuted units are no difficulty here: the sampler
 * starts at the prior, which is symmetric in them. */
#ifndef JSP_UNITS_H
#define JSP_UNITS_H

#include "jsp_rng.h"
#include "jsp_status.h"

#define JSP_UNITS_MOST 32 /* hidden units */

/* Data of one node and parent set: only rows that count. Borrowed. */
typedef struct jsp_units_problem {
    int n, p, U;
    const double *const *z; /* [p] columns [n] */
    const double *y;        /* [n] */
    double noise_scale;     /* s; NaN = learned, log s ~ N(-1, 1) */
} jsp_units_problem;

/* Work space for one problem at a time, and the states its last run ended with. */
typedef struct jsp_units jsp_units;

/* For problems of at most these sizes. `effort` scales the number of states: 1 is the
 * default, the error of the log evidence falls with its root. Chains are as long as their
 * agreement asks for, within limits. */
jsp_status jsp_units_create(int most_rows, int most_parents, int U, double effort,
                            jsp_units **out, jsp_error *error);
void jsp_units_destroy(jsp_units *units); /* NULL allowed */

/* Runs the sampler with the stream (seed, node, 0, JSP_RNG_UNITS); *log_evidence out, the
 * same with and without `will_draw`, which keeps states of the posterior for jsp_units_draw.
 * Steps of t, sizes of moves and lengths of chains adapt to the states, so the estimate of
 * the evidence has no bias only in the limit of many states. */
void jsp_units_run(jsp_units *units, const jsp_units_problem *problem, int will_draw,
                   uint64_t seed, uint32_t node, double *log_evidence);

/* Of the last run's log evidence, from the differences between chains at each step of t. */
double jsp_units_standard_error(const jsp_units *units);

/* Moves of one unit of one network that the last run tried, for benchmarks. */
double jsp_units_n_moves(const jsp_units *units);

/* One draw of all parameters given the data of the last run.
 *   w1 [U, p], b1 [U], w2 [U], *b2, *noise_scale out
 *   *log_joint = log P(y | theta) + log P(theta) */
void jsp_units_draw(jsp_units *units, jsp_rng *rng, double *w1, double *b1, double *w2,
                    double *b2, double *noise_scale, double *log_joint);

#endif
