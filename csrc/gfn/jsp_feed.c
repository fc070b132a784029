#include "jsp_feed.h"

#include "jsp_memory.h"

/* Plain chains start by annealing: 20 temperatures 0.7^19 .. 1 with 2,000 moves each. */
#define ANNEAL_TEMPERATURES 20
#define ANNEAL_MOVES 2000

static jsp_status allocate(jsp_feed *feed, jsp_error *error) {
    const size_t n = (size_t)feed->config.n_chains;
    const size_t D = (size_t)feed->scores->n_variables;
    feed->chain = jsp_memory_alloc(n, sizeof *feed->chain);
    feed->local = jsp_memory_alloc(n * D, sizeof *feed->local);
    feed->parents = jsp_memory_alloc(n * D, sizeof *feed->parents);
    feed->ensemble =
        jsp_memory_alloc((size_t)feed->config.n_ensembles, sizeof *feed->ensemble);
    if (!feed->chain || !feed->local || !feed->parents || !feed->ensemble) {
        return jsp_status_no_memory(error, n * D * sizeof(jsp_bits), "the chains");
    }
    for (size_t c = 0; c < n; c++) {
        feed->chain[c].local = feed->local + c * D;
        feed->chain[c].parents = feed->parents + c * D;
    }
    return jsp_chain_moves_create(&feed->moves, feed->scores, error);
}

jsp_status jsp_feed_create(jsp_feed *feed, const jsp_scores *scores,
                           const jsp_feed_config *config, jsp_error *error) {
    *feed = (jsp_feed){.scores = scores, .config = *config};
    if (feed->config.n_ensembles > config->n_chains) {
        feed->config.n_ensembles = config->n_chains;
    }
    jsp_tempering_plan_geometric(&feed->plan, config->n_temperatures,
                                 config->temperature_ratio, config->moves,
                                 config->hot_moves);
    jsp_status status = allocate(feed, error);
    for (int e = 0; e < feed->config.n_ensembles && status == JSP_OK; e++) {
        status = jsp_tempering_create(&feed->ensemble[e], scores, &feed->moves,
                                      &feed->plan, config->seed, (uint32_t)e, error);
    }
    if (status != JSP_OK) jsp_feed_destroy(feed);
    return status;
}

void jsp_feed_destroy(jsp_feed *feed) {
    for (int e = 0; e < feed->config.n_ensembles && feed->ensemble; e++) {
        jsp_tempering_destroy(&feed->ensemble[e]);
    }
    jsp_chain_moves_destroy(&feed->moves);
    jsp_memory_free(feed->chain);
    jsp_memory_free(feed->local);
    jsp_memory_free(feed->parents);
    jsp_memory_free(feed->ensemble);
    *feed = (jsp_feed){0};
}

jsp_tempering *jsp_feed_ensemble(const jsp_feed *feed, int c) {
    const int n = feed->config.n_chains, n_ensembles = feed->config.n_ensembles;
    const int e = (int)((long)c * n_ensembles / n);
    return (long)(c + 1) * n_ensembles / n > e ? &feed->ensemble[e] : NULL;
}

void jsp_feed_start(jsp_feed *feed, int c) {
    jsp_rng rng;
    if (jsp_feed_ensemble(feed, c)) return;
    jsp_chain_reset(feed->scores, &feed->chain[c]);
    jsp_rng_init(&rng, feed->config.seed, 0, (uint32_t)c, JSP_RNG_CHAIN);
    jsp_chain_anneal(feed->scores, &feed->moves, ANNEAL_TEMPERATURES, ANNEAL_MOVES,
                     &rng, &feed->chain[c]);
}

void jsp_feed_step(jsp_feed *feed, int c, uint32_t step) {
    jsp_tempering *ensemble = jsp_feed_ensemble(feed, c);
    jsp_rng rng;
    if (ensemble) {
        ensemble->round = step;
        jsp_tempering_step(ensemble);
        jsp_chain_set(feed->scores, ensemble->state[0].local, &feed->chain[c]);
        return;
    }
    jsp_rng_init(&rng, feed->config.seed, step, (uint32_t)c, JSP_RNG_CHAIN);
    jsp_chain_step(feed->scores, &feed->moves, 1.0, feed->config.moves, &rng,
                   &feed->chain[c]);
}

const uint32_t *jsp_feed_state(const jsp_feed *feed, int c) {
    return feed->chain[c].local;
}

void jsp_feed_replace(jsp_feed *feed, int c, const uint32_t *local) {
    jsp_tempering *ensemble = jsp_feed_ensemble(feed, c);
    jsp_chain_set(feed->scores, local, &feed->chain[c]);
    if (!ensemble) return;
    jsp_chain_set(feed->scores, local, &ensemble->state[0]);
    ensemble->log_reward[0] = jsp_scores_log_reward(feed->scores, local);
}

void jsp_feed_reseed(jsp_feed *feed, uint64_t seed) {
    feed->config.seed = seed;
    for (int e = 0; e < feed->config.n_ensembles; e++) feed->ensemble[e].seed = seed;
}
