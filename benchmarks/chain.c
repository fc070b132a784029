/* chain.c - edge probabilities by plain structure MCMC, the competitor in accuracy.py.
 *
 * Compiled by chain.py together with the core's base, kernels, score and dag folders. */
#include <stdlib.h>
#include <time.h>

#include "jsp_chain.h"

#define MOVES 200          /* between two looks at the state */
#define LOOKS_PER_CLOCK 64 /* reading the clock costs more than a few moves */
#define BURN_IN 0.1        /* share of the time that does not count */

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Tables of D variables, each with all others as candidates: table [D, 2^(D-1)].
 * One chain, annealed first, for `seconds` of CPU time; edges [D, D] overwritten with the
 * share of looked-at states that have i -> j. Returns the number of moves made, or -1. */
double chain_edges(int D, const double *table, double seconds, unsigned long long seed,
                   double *edges);

static double run(const jsp_scores *scores, const jsp_chain_moves *moves,
                  double seconds, unsigned long long seed, jsp_chain_state *state,
                  double *edges) {
    const int D = scores->n_variables;
    const double start = cpu_seconds();
    double n_moves = 0, n_looks = 0, used = 0;
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_CHAIN);
    jsp_chain_reset(scores, state);
    jsp_chain_anneal(scores, moves, 20, 2000, &rng, state);
    while (used < seconds) {
        for (int look = 0; look < LOOKS_PER_CLOCK; look++) {
            jsp_chain_step(scores, moves, 1.0, MOVES, &rng, state);
            if (used < BURN_IN * seconds) continue;
            for (int j = 0; j < D; j++) {
                for (uint32_t left = state->local[j]; left; left &= left - 1) {
                    int bit = jsp_bits_lowest64(left);
                    edges[scores->node[j].candidate[bit] * D + j] += 1;
                }
            }
            n_looks += 1;
        }
        n_moves += (double)LOOKS_PER_CLOCK * MOVES;
        used = cpu_seconds() - start;
    }
    for (int k = 0; k < D * D; k++) edges[k] /= n_looks > 0 ? n_looks : 1;
    return n_moves;
}

double chain_edges(int D, const double *table, double seconds, unsigned long long seed,
                   double *edges) {
    int storage[32 * 32], n_candidates[32];
    const int *candidates[32];
    const double *tables[32];
    uint32_t local[32];
    jsp_bits parents[32];
    jsp_chain_state state = {local, parents};
    jsp_chain_moves moves = {0};
    jsp_scores *scores = NULL;
    jsp_error error;
    double n_moves = -1;
    if (D < 1 || D > 25) return -1;
    for (int j = 0; j < D; j++) {
        n_candidates[j] = 0;
        candidates[j] = storage + 32 * j;
        tables[j] = table + ((size_t)j << (D - 1));
        for (int i = 0; i < D; i++) {
            if (i != j) storage[32 * j + n_candidates[j]++] = i;
        }
    }
    for (int k = 0; k < D * D; k++) edges[k] = 0;
    if (jsp_scores_create_from_tables(D, candidates, n_candidates, tables, &scores,
                                      &error) == JSP_OK &&
        jsp_chain_moves_create(&moves, scores, &error) == JSP_OK) {
        n_moves = run(scores, &moves, seconds, seed, &state, edges);
    }
    jsp_chain_moves_destroy(&moves);
    jsp_scores_destroy(scores);
    return n_moves;
}
