/* jsp_feed.h - the structure chains whose states a policy is trained on.
 *
 * Most are plain chains, each annealed at the start, so that different ones stand in
 * different modes. The others are the cold ends of tempered ensembles (jsp_tempering.h):
 * they also find modes that annealing passes by, and visit each as often as it weighs.
 * Independence proposals of the policy (jsp_feed_replace) let all of them jump. */
#ifndef JSP_FEED_H
#define JSP_FEED_H

#include "jsp_tempering.h"

typedef struct jsp_feed_config {
    int n_chains;
    int n_ensembles; /* of the chains, spread evenly; the others are plain */
    int n_temperatures;
    double temperature_ratio;
    long moves;     /* of a plain chain, and of a cold replica, per step */
    long hot_moves; /* of each other replica, per step */
    uint64_t seed;
} jsp_feed_config;

typedef struct jsp_feed {
    const jsp_scores *scores; /* borrowed */
    jsp_feed_config config;
    jsp_chain_moves moves;
    jsp_tempering_plan plan;
    jsp_chain_state *chain;  /* [n_chains] */
    uint32_t *local;         /* [n_chains, D] */
    jsp_bits *parents;       /* [n_chains, D] */
    jsp_tempering *ensemble; /* [n_ensembles] */
} jsp_feed;

/* Allocates, and starts the ensembles. On failure everything is freed. */
jsp_status jsp_feed_create(jsp_feed *feed, const jsp_scores *scores,
                           const jsp_feed_config *config, jsp_error *error);
void jsp_feed_destroy(jsp_feed *feed); /* all-zero allowed */

/* Anneals chain c, as step 0 of its stream; nothing to do for an ensemble. Different
 * chains may be worked on at the same time, here and below. */
void jsp_feed_start(jsp_feed *feed, int c);

/* Moves chain c on; `step` (at least 1) names the random streams. */
void jsp_feed_step(jsp_feed *feed, int c, uint32_t step);

/* Local masks [D] of chain c; valid until it moves or is replaced. */
const uint32_t *jsp_feed_state(const jsp_feed *feed, int c);

/* Puts chain c at the graph of these local masks [D]. */
void jsp_feed_replace(jsp_feed *feed, int c, const uint32_t *local);

/* Random streams of another seed from now on. */
void jsp_feed_reseed(jsp_feed *feed, uint64_t seed);

/* The ensemble that feeds chain c, or NULL for a plain chain. */
jsp_tempering *jsp_feed_ensemble(const jsp_feed *feed, int c);

#endif
