/* jsp_chain.h - structure MCMC: add, delete and reverse moves on score tables.
 *
 * One move picks a directed candidate pair i -> j uniformly and a kind by a fair coin:
 * toggle the edge, or reverse it if present. Both are symmetric, so the move is
 * accepted with probability min(1, exp(beta * change of log R)), and refused when it
 * would close a cycle. Source: Madigan and York, Int. Stat. Rev. 63 (1995); reversal
 * moves as usual. */
#ifndef JSP_CHAIN_H
#define JSP_CHAIN_H

#include "jsp_rng.h"
#include "jsp_scores.h"

typedef struct jsp_chain_state {
    uint32_t *local;   /* [D] parents as local masks; borrowed memory */
    jsp_bits *parents; /* [D] parents as sets of variables; borrowed memory */
} jsp_chain_state;

/* The directed candidate pairs a chain chooses from; shared by all chains. */
typedef struct jsp_chain_moves {
    int n_moves;
    int16_t *child;  /* [n_moves] owned */
    int8_t *bit;     /* [n_moves] local index of the parent at the child, owned */
    int16_t *parent; /* [n_moves] owned */
} jsp_chain_moves;

jsp_status jsp_chain_moves_create(jsp_chain_moves *moves, const jsp_scores *scores,
                                  jsp_error *error);
void jsp_chain_moves_destroy(jsp_chain_moves *moves);

/* The graph of the required edges: empty when there are none. */
void jsp_chain_reset(const jsp_scores *scores, jsp_chain_state *state);

/* The graph given by local masks [D], which must be acyclic. */
void jsp_chain_set(const jsp_scores *scores, const uint32_t *local,
                   jsp_chain_state *state);

/* n_moves moves at inverse temperature beta. Every move uses the same number of words
 * of rng. Returns the number of accepted moves. */
long jsp_chain_step(const jsp_scores *scores, const jsp_chain_moves *moves, double beta,
                    long n_moves, jsp_rng *rng, jsp_chain_state *state);

/* Annealing from the current state: temperatures 0.7^(n-1), ..., 0.7, 1 (n inverse
 * temperatures), moves_per_temperature moves each. */
void jsp_chain_anneal(const jsp_scores *scores, const jsp_chain_moves *moves,
                      int n_temperatures, long moves_per_temperature, jsp_rng *rng,
                      jsp_chain_state *state);

#endif
