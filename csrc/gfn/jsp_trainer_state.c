/* jsp_trainer_state.c - what an owner may look at, save and put back; names; settings. */
#include <string.h>

#include "jsp_trainer_inner.h"

enum { N_LISTS = JSP_TRAINER_SHARDS * JSP_TRAINER_LISTS };

static const jsp_hard *list_of(const jsp_trainer *trainer, int k) {
    return &trainer->shards[k / JSP_TRAINER_LISTS].hard[k % JSP_TRAINER_LISTS];
}

static int count_kept(const jsp_trainer *trainer) {
    int n = trainer->feed.config.n_ensembles * trainer->feed.config.n_temperatures;
    for (int k = 0; k < N_LISTS; k++) n += list_of(trainer, k)->capacity;
    return n;
}

static int count_counts(const jsp_trainer *trainer) {
    int n = 0;
    for (int k = 0; k < N_LISTS; k++) n += list_of(trainer, k)->capacity + 2;
    return n;
}

jsp_trainer_view jsp_trainer_state_open(jsp_trainer *trainer) {
    return (jsp_trainer_view){
        .scores = trainer->scores,
        .edges = trainer->edges,
        .layout = &trainer->edges->layout,
        .schedule = &trainer->config.schedule,
        .seed = &trainer->config.seed,
        .params = trainer->params,
        .average = trainer->adam.average,
        .first_moment = trainer->adam.first,
        .second_moment = trainer->adam.second,
        .update = &trainer->update,
        .adam_steps = &trainer->adam.t,
        .gradient_norm_mean = &trainer->adam.norm_mean,
        .good = trainer->guard.good,
        .guard = &trainer->guard.best_loss,
        .n_chains = trainer->config.batch_size,
        .chain_parents = trainer->feed.local,
        .n_kept = count_kept(trainer),
        .n_counts = count_counts(trainer),
    };
}

void jsp_trainer_state_sync(jsp_trainer *trainer) {
    for (int c = 0; c < trainer->config.batch_size; c++) {
        jsp_chain_set(trainer->scores, trainer->feed.chain[c].local,
                      &trainer->feed.chain[c]);
    }
    jsp_feed_reseed(&trainer->feed, trainer->config.seed);
}

void jsp_trainer_state_get_kept(const jsp_trainer *trainer, uint32_t *graphs,
                                int32_t *counts) {
    const size_t D = (size_t)trainer->scores->n_variables;
    const jsp_feed *feed = &trainer->feed;
    for (int e = 0; e < feed->config.n_ensembles; e++) {
        for (int k = 0; k < feed->config.n_temperatures; k++, graphs += D) {
            memcpy(graphs, feed->ensemble[e].state[k].local, D * sizeof *graphs);
        }
    }
    for (int k = 0; k < N_LISTS; k++) {
        const jsp_hard *hard = list_of(trainer, k);
        const size_t n = (size_t)hard->capacity;
        memcpy(graphs, hard->local, n * D * sizeof *graphs);
        memcpy(counts, hard->left, n * sizeof *counts);
        graphs += n * D;
        counts += n;
        *counts++ = hard->newest;
        *counts++ = hard->next;
    }
}

/* 1 when all counts are in range. */
static int check_counts(const jsp_trainer *trainer, const int32_t *counts) {
    for (int k = 0; k < N_LISTS; k++) {
        const int n = list_of(trainer, k)->capacity;
        for (int p = 0; p < n; p++) {
            if (counts[p] < 0) return 0;
        }
        for (int p = n; p < n + 2; p++) {
            if (counts[p] < 0 || counts[p] >= (n > 0 ? n : 1)) return 0;
        }
        counts += n + 2;
    }
    return 1;
}

int jsp_trainer_state_set_kept(jsp_trainer *trainer, const uint32_t *graphs,
                               const int32_t *counts) {
    const size_t D = (size_t)trainer->scores->n_variables;
    const jsp_feed *feed = &trainer->feed;
    if (!check_counts(trainer, counts)) return 0;
    for (int e = 0; e < feed->config.n_ensembles; e++) {
        jsp_tempering *ensemble = &feed->ensemble[e];
        for (int k = 0; k < feed->config.n_temperatures; k++, graphs += D) {
            jsp_chain_set(trainer->scores, graphs, &ensemble->state[k]);
            ensemble->log_reward[k] = jsp_scores_log_reward(trainer->scores, graphs);
        }
    }
    for (int k = 0; k < N_LISTS; k++) {
        jsp_hard *hard =
            &trainer->shards[k / JSP_TRAINER_LISTS].hard[k % JSP_TRAINER_LISTS];
        const size_t n = (size_t)hard->capacity;
        memcpy(hard->local, graphs, n * D * sizeof *graphs);
        memcpy(hard->left, counts, n * sizeof *counts);
        graphs += n * D;
        counts += n;
        hard->newest = *counts++;
        hard->next = *counts++;
    }
    return 1;
}
