/* jsp_tempering.h - parallel tempering of structure chains: one ensemble.
 *
 * Replica k walks at the inverse temperature beta[k], where a graph has probability
 * proportional to R(G)^beta[k]; beta[0] = 1 is the posterior. A round makes moves[k]
 * moves at each temperature (jsp_chain.h) and then offers swaps to neighbours, the
 * pairs (0, 1), (2, 3), ... in even rounds and (1, 2), (3, 4), ... in odd ones. A swap
 * of a and b = a + 1 is accepted with probability
 *
 *     min(1, exp((beta[a] - beta[b]) (log R of b - log R of a))),
 *
 * so graphs of far-apart modes reach the cold end by way of the hot one. Source: Geyer,
 * "Markov chain Monte Carlo maximum likelihood", 1991; alternating pairs: Okabe et al.,
 * Chem. Phys. Lett. 335 (2001). One temperature is a plain chain. */
#ifndef JSP_TEMPERING_H
#define JSP_TEMPERING_H

#include "jsp_chain.h"

#define JSP_TEMPERING_MAX 64 /* temperatures */

typedef struct jsp_tempering_plan {
    int n_temperatures;
    double beta[JSP_TEMPERING_MAX]; /* 1 = beta[0] > beta[1] > ... > 0 */
    long moves[JSP_TEMPERING_MAX];  /* per round, at least 1 */
} jsp_tempering_plan;

/* beta[k] = ratio^k, 0 < ratio < 1; cold_moves per round at beta = 1, hot_moves at each
 * other temperature. */
void jsp_tempering_plan_geometric(jsp_tempering_plan *plan, int n_temperatures,
                                  double ratio, long cold_moves, long hot_moves);

typedef struct jsp_tempering {
    const jsp_scores *scores;       /* borrowed */
    const jsp_chain_moves *moves;   /* borrowed */
    const jsp_tempering_plan *plan; /* borrowed */
    uint64_t seed;
    uint32_t index;         /* of the ensemble, names its random streams */
    uint32_t round;         /* rounds made */
    jsp_chain_state *state; /* [n] by temperature; swaps exchange the pointers, owned */
    double *log_reward;     /* [n] of the states, owned */
    int8_t *heading;      /* [n] what the state last met: 1 cold end, -1 hot, 0 none */
    long *accepted_moves; /* [n] owned */
    long *tried_swaps;    /* [n - 1] pair (k, k + 1), owned */
    long *accepted_swaps; /* [n - 1] owned */
    long round_trips;     /* arrivals at the cold end of states that met the hot end */
    uint32_t *local;      /* [n, D] memory of the states, owned */
    jsp_bits *parents;    /* [n, D] owned */
} jsp_tempering;

/* All replicas are started from the first graph (jsp_chain_reset) at a high temperature
 * and cooled to their own, slowly, or at once where index is odd. On failure everything
 * is freed and the struct is all zero. */
jsp_status jsp_tempering_create(jsp_tempering *ensemble, const jsp_scores *scores,
                                const jsp_chain_moves *moves,
                                const jsp_tempering_plan *plan, uint64_t seed,
                                uint32_t index, jsp_error *error);
void jsp_tempering_destroy(jsp_tempering *ensemble); /* all-zero allowed */

/* The ensemble after `round` rounds with these replicas, local masks [n, D] of acyclic
 * graphs by temperature; heading [n] and the counters are the caller's to write. */
void jsp_tempering_set(jsp_tempering *ensemble, uint32_t round,
                       const uint32_t *replica);

/* One round. Everything it does is a function of the states, seed, index and round. */
void jsp_tempering_step(jsp_tempering *ensemble);

#endif
