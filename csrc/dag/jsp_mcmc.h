/* jsp_mcmc.h - the sampler: several independent tempered chains and what they saw.
 *
 * After each round a chain looks at its cold state and adds to the running batch, for
 * every candidate pair m (order of jsp_chain_moves),
 *
 *     count[m] += 1 if i -> j is in the graph
 *     sum[m]   += P(i -> j | parents of all other nodes)       (jsp_conditional.h)
 *
 * All chains are always at the same round. The number of batches is bounded: when all
 * are full, neighbours are joined and batches become twice as long. Stored states thin
 * themselves out in the same way. So memory is fixed before the first move, burn-in can
 * be cut off afterwards, whatever the length of the run, and nothing depends on how a
 * run is cut into calls or on the number of threads. */
#ifndef JSP_MCMC_H
#define JSP_MCMC_H

#include "jsp_tempering.h"

typedef struct jsp_mcmc_config {
    int n_chains;            /* independent ensembles */
    jsp_tempering_plan plan; /* of each ensemble */
    int n_batches;           /* even, at least 2: room for batches of each chain */
    int n_stored;            /* even, at least 2: room for states of each chain */
    uint64_t seed;
    int n_threads;
} jsp_mcmc_config;

typedef struct jsp_mcmc jsp_mcmc;

/* Read-only view of everything a sampler knows; valid until the next call on it.
 * The first n_full batches of a chain hold batch_rounds looks each, batch number n_full
 * the n_partial < batch_rounds looks after them (0 when n_full = n_batches). State s of
 * a chain was seen after round s * thinning + 1. */
typedef struct jsp_mcmc_view {
    const jsp_scores *scores;
    const jsp_chain_moves *moves;
    const jsp_mcmc_config *config;
    const jsp_tempering *ensemble; /* [n_chains] */
    long n_rounds;
    int n_full;
    long batch_rounds, n_partial;
    const double *count;    /* [n_chains, n_batches, n_moves] */
    const double *sum;      /* [n_chains, n_batches, n_moves] */
    int n_states;           /* stored so far, of each chain */
    long thinning;          /* rounds between stored states */
    const uint32_t *stored; /* [n_chains, n_stored, D] local masks */
} jsp_mcmc_view;

/* Starts all chains. `scores` is borrowed and must live as long. */
jsp_status jsp_mcmc_create(const jsp_scores *scores, const jsp_mcmc_config *config,
                           jsp_mcmc **out, jsp_error *error);
void jsp_mcmc_destroy(jsp_mcmc *mcmc); /* NULL allowed */

/* Bytes that jsp_mcmc_create would allocate, roughly. */
size_t jsp_mcmc_size(int n_variables, size_t n_moves, const jsp_mcmc_config *config);

/* n_rounds rounds of every chain. Allocates nothing. */
void jsp_mcmc_step(jsp_mcmc *mcmc, long n_rounds);

jsp_mcmc_view jsp_mcmc_open(const jsp_mcmc *mcmc);

/* Where all chains stand: enough to go on to the same bits. T = n_temperatures. */
typedef struct jsp_mcmc_state {
    int n_full; /* at least 1 */
    long batch_rounds, n_partial;
    int n_states;
    long thinning;
    const double *count, *sum; /* [n_chains, n_full + (n_partial > 0), n_moves] */
    const uint32_t *stored;    /* [n_chains, n_states, D] */
    const uint32_t *replica;   /* [n_chains, T, D] allowed, acyclic graphs */
    const int8_t *heading;     /* [n_chains, T] */
    const int64_t *accepted_moves, *tried_swaps, *accepted_swaps; /* [n_chains, T],
                                      [n_chains, T - 1], [n_chains, T - 1] */
    const int64_t *round_trips;                                   /* [n_chains] */
} jsp_mcmc_state;

/* Puts chains that were made with the same scores and config where others stood. The
 * numbers must be such as jsp_mcmc_open shows. */
void jsp_mcmc_restore(jsp_mcmc *mcmc, const jsp_mcmc_state *state);

#endif
