/* jsp_trainer_inner.h - what the files of the trainer share. */
#ifndef JSP_TRAINER_INNER_H
#define JSP_TRAINER_INNER_H

#include "jsp_guard.h"
#include "jsp_parallel.h"
#include "jsp_trainer.h"

/* Lists of hard graphs of a shard. */
enum { JSP_TRAINER_MISSED, JSP_TRAINER_WILD, JSP_TRAINER_LISTS };

typedef struct jsp_trainer_shard {
    jsp_edges_rollout *rollout;
    jsp_real *d_params;   /* [P] gradient block, 0 between updates but for the first
                           shard's */
    jsp_edges_walk *walk; /* [2 n] own draws, then chain states */
    double *uniform;      /* [n, slots] */
    double *weight;       /* [2 n + n_extra] */
    double *conditional;  /* [2 n + n_extra] 0 for the extra ones */
    double squares[2];    /* of slopes, see jsp_edges_rollout_condition */
    int first, n;         /* its chains: first .. first + n - 1 */
    jsp_hard hard[JSP_TRAINER_LISTS]; /* missed chain states, wild own draws */
    int n_hard[JSP_TRAINER_LISTS];    /* most of each shown per update */
    int n_shown
        [JSP_TRAINER_LISTS]; /* in this update; their walks follow the regular ones */
    int n_extra;             /* sum of n_shown */
    int *place;              /* [n_extra] places of the graphs shown */
    double *extra_log_q, *extra_log_reward, *extra_weight;
} jsp_trainer_shard;

struct jsp_trainer {
    const jsp_scores *scores;
    jsp_trainer_config config;
    jsp_edges *edges;
    jsp_adam adam;
    jsp_real *params;    /* [P] */
    jsp_real *d_params;  /* [shards, d_params_row] */
    size_t d_params_row; /* P, padded */
    long update;
    jsp_guard guard;
    jsp_feed feed;
    jsp_edges_cache *cache; /* [n_threads] */
    jsp_trainer_shard shards[JSP_TRAINER_SHARDS];
    /* per walk of an update, shard by shard: the shard's own draws, then its chain
     * states */
    double *log_q, *log_reward;   /* [2 batch] */
    double *weight, *conditional; /* [2 batch] of jsp_edges_rollout_backward */
    double *sorted;               /* [batch] scratch of the metrics */
    jsp_parallel_team *team;      /* threads of the present call of jsp_trainer_step */
    int has_own;                  /* 1 when the present update has own draws */
    double mean_log_reward;       /* of the chain states */
    double sd_log_reward;
    uint64_t n_options;
};

/* Caches of odds for n_workers; on failure the caller destroys what there is. */
jsp_status jsp_trainer_draws_caches_create(jsp_edges_cache **out, int n_workers,
                                           const jsp_scores *scores, jsp_error *error);
void jsp_trainer_draws_caches_destroy(jsp_edges_cache *cache, int n_workers);

#endif
