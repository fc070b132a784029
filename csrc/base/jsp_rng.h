/* jsp_rng.h - counter-based random numbers: Philox-4x32-10.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. A block of four 32-bit words is a pure function of a key (the seed) and a
 * counter, so every consumer owns a stream named by (step, index, purpose) and results
 * do not depend on which thread draws when. */
#ifndef JSP_RNG_H
#define JSP_RNG_H

#include "jspgfn.h"

/* Who draws: the last word of the counter, so that no two consumers share a stream. */
typedef enum jsp_rng_purpose {
    JSP_RNG_TEST = 0,
    JSP_RNG_INIT,        /* initial network weights; index = parameter block */
    JSP_RNG_CHAIN,       /* moves of a structure chain; index = chain */
    JSP_RNG_TRAJECTORY,  /* own training trajectories; index = trajectory */
    JSP_RNG_ACCEPT,      /* acceptance of independence proposals; index = chain */
    JSP_RNG_SAMPLE,      /* draws handed to the user; index = draw */
    JSP_RNG_PARAMETER,   /* draws of parameters; index = draw, step = node */
    JSP_RNG_TEMPERING,   /* moves of a replica; step = round, index = replica */
    JSP_RNG_SWAP,        /* swaps of replicas; step = round, index = ensemble */
    JSP_RNG_ENVIRONMENT, /* moves in training; index = environment */
    JSP_RNG_REPLAY,      /* transitions of a batch */
    JSP_RNG_NOISE,       /* parameters in training; index = 2 transition + side */
    JSP_RNG_ORDER,       /* orders of edges; step = order, index = graph */
    JSP_RNG_FEATURE,     /* random features; step = node, index = feature */
    JSP_RNG_UNITS,       /* hidden layers of a node; step = node */
    JSP_RNG_REFINE_MOVE, /* local moves of refinement; step = sweep, index = draw */
    JSP_RNG_REFINE,      /* its proposals and acceptances; step = sweep, index = draw */
    JSP_RNG_REFINE_BLOCK, /* which variables are redrawn; step = sweep */
    JSP_RNG_ROWS,         /* rows of a minibatch */
    JSP_RNG_SLOTS,        /* order of the slots; seed = order, step, index = pair */
} jsp_rng_purpose;

typedef struct jsp_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* (block, step, index, purpose); block counts up */
    uint32_t words[4];   /* the current block */
    int used;            /* words of it already handed out, 4 = none left */
} jsp_rng;

/* out[4] = Philox-4x32-10(counter, key). */
void jsp_rng_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* The stream (seed, step, index, purpose) from its beginning. */
void jsp_rng_init(jsp_rng *rng, uint64_t seed, uint32_t step, uint32_t index,
                  jsp_rng_purpose purpose);

/* One number for a list of integers, to name streams by sets: SplitMix64 folded over it. */
uint64_t jsp_rng_hash(int n, const int *values);

/* The next 32 random bits. */
uint32_t jsp_rng_next(jsp_rng *rng);

/* Uniform in the open interval (0, 1), 53 bits: two words. */
double jsp_rng_uniform(jsp_rng *rng);

/* Standard normal by Box-Muller: four words, the second value is thrown away so that
 * every call uses the same number of words. */
double jsp_rng_normal(jsp_rng *rng);

/* Gamma with shape a > 0 and rate 1 (Marsaglia and Tsang, ACM TOMS 26, 2000; shapes
 * below 1 by the power trick). Uses a varying number of words: draw it last in a stream
 * or give it a stream of its own. */
double jsp_rng_gamma(jsp_rng *rng, double shape);

/* n uniforms of jsp_rng_uniform, written as a flat loop: out[k] equals what n calls
 * give. */
void jsp_rng_fill_uniform(jsp_rng *rng, int n, double *out);

/* n standard normals by Box-Muller with 32-bit uniforms, both values used: one word each,
 * whole blocks from the next block on. For training; |values| stay below 6.8. */
void jsp_rng_fill_normal(jsp_rng *rng, int n, double *out);

#endif
