/* jsp_refine.h - corrects draws of a trained generator: Metropolis-Hastings steps whose
 * invariant distribution is the posterior, whatever the generator has learned.
 *
 * Every draw is a Markov chain of its own. A sweep makes
 *   1. local moves (add, delete, reverse; jsp_chain.h), moves_per_pair times the number
 *      of directed candidate pairs;
 *   2. for block sizes m = 4, 8, 16, 32, 64 below D, and last for all D variables: the
 *      decisions of all slots inside a set M of m variables are drawn anew by the
 *      generator with all other decisions kept, G -> G', and accepted with probability
 *
 *          min(1, R(G') q(G_M | G_rest) / (R(G) q(G'_M | G_rest))).
 *
 * q(G_M | G_rest) is the product of the generator's probabilities of the decisions in M
 * along the walk of G. Both walks have the same decisions outside M, so it is the
 * probability of the way back, exactly. A draw that closes the way of a kept decision is
 * refused. With all variables this is independence Metropolis-Hastings.
 *
 * M grows from a random variable along slots chosen by how undecided they are at the
 * start of a walk, never by the present graph, which would have to enter the acceptance.
 * All draws of a sweep share M: their walks then need the network at the same slots.
 *
 * Alternatives: full proposals alone are refused too often from 50 variables on (at 50
 * variables 68 %, at 100 42 % were accepted after a minute of training); blocks of 4, 8,
 * 16, 32 variables were accepted 97, 92, 77, 48 % of the time. */
#ifndef JSP_REFINE_H
#define JSP_REFINE_H

#include "jsp_edges_rollout.h"

#define JSP_REFINE_MAX_LEVELS 6

typedef struct jsp_refine_config {
    uint64_t seed;
    long first_draw;  /* draw k uses the streams of first_draw + k */
    long first_sweep; /* sweep s those of first_sweep + s */
    long n_sweeps;
    long moves_per_pair; /* local moves of a sweep; 10 are of little cost */
    int n_threads;
} jsp_refine_config;

/* Block sizes m_0 < m_1 < ... = D of one sweep, at most JSP_REFINE_MAX_LEVELS. Returns
 * their number. */
int jsp_refine_levels(int n_variables, int size[JSP_REFINE_MAX_LEVELS]);

/* Runs the sweeps on n graphs.
 *   params    [P]    in      parameters of the generator
 *   parents   [n, D] in/out  local masks, acyclic and allowed
 *   accepted  [n, JSP_REFINE_MAX_LEVELS] out, overwritten: accepted blocks by size
 * Sweeps s .. s + n - 1 and then on from s + n are the same as all at once, and no draw
 * depends on the others or on the number of threads. */
jsp_status jsp_refine_run(const jsp_edges *edges, const jsp_real *params,
                          const jsp_refine_config *config, long n, uint32_t *parents,
                          int32_t *accepted, jsp_error *error);

#endif
