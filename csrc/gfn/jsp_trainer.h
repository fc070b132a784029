/* jsp_trainer.h - training: structure chains, schedules, losses, optimiser, random
 * streams.
 *
 * One update:
 *   1. every chain moves on (structure MCMC on the same tables);
 *   2. walks are run: forced along the chain states and, in the balance phase, as
 *      many free ones; each shard does its share;
 *   3. the loss turns log q and log R of all walks into one weight per walk, and each
 *      free draw is offered to its chain as an independence proposal (both log q are
 *      known);
 *   4. the shards run backward, gradients are added in a fixed order, Adam steps.
 * The first part of a plan is maximum likelihood on chain states, the rest trajectory
 * balance on chain states and own draws together. Own draws alone never find the modes
 * that a confident start leaves out, and their sample size does not show it. Likelihood
 * is that of the full conditionals of the slots (jsp_edges_conditionals.h) rather than of
 * the choices that were made, and has a share in the gradient of the second part, too.
 *
 * Work is cut into a fixed number of shards and every random stream is named by
 * (update, walk or chain, purpose), so results are the same bits for any number of
 * threads. */
#ifndef JSP_TRAINER_H
#define JSP_TRAINER_H

#include "jsp_adam.h"
#include "jsp_edges_rollout.h"
#include "jsp_feed.h"
#include "jsp_hard.h"
#include "jsp_schedule.h"

/* Shards of one update: more balance the load better, fewer make larger batches. */
#define JSP_TRAINER_SHARDS 8

/* The ingredients of training, each a number so that it can be varied in measurements;
 * in the order of the names in jsp_trainer_tuning_name. */
typedef struct jsp_trainer_tuning {
    double n_ensembles;       /* chains fed by tempered ensembles */
    double n_temperatures;    /* of an ensemble */
    double temperature_ratio; /* of neighbours */
    double chain_moves;       /* of a plain chain or cold replica per update */
    double hot_moves;         /* of another replica per update */
    double n_missed;          /* walks along missed graphs per update */
    double n_wild;            /* walks along wild own draws per update */
    double hard_capacity;     /* graphs of each kind that are kept */
    double missed_depth;    /* log R is at least its mean over the chains minus this, */
    double missed_spread;   /* minus this times its standard deviation over them */
    double missed_residual; /* missed: log q - log R - centre is below minus this, */
    double missed_ratio;    /* and below minus this times its mean size */
    double missed_turns;    /* updates that show a missed graph each time it is met */
    double missed_weight;   /* of the gradient */
    double wild_residual;   /* wild: log q - log R - centre is above this */
    double wild_turns;      /* updates that show a wild draw */
    double wild_weight;     /* of the gradient */
    double clip_low, clip_high; /* bounds of residuals log q - log R - centre */
    double
        conditional_share; /* most that full conditionals get of the gradient; 0 = none */
    double proposals;      /* 1 = own draws are proposed to the chains */
    double epsilon;        /* of Adam */
    double average_decay; /* of the averaged parameters */
} jsp_trainer_tuning;

#define JSP_TRAINER_TUNINGS ((int)(sizeof(jsp_trainer_tuning) / sizeof(double)))

/* Entries that are numbers of walks suit this batch size, moves of chains this number of
 * variables. */
void jsp_trainer_tuning_default(int batch_size, int n_variables,
                                jsp_trainer_tuning *tuning);

/* Name of entry k, NULL after the last. */
const char *jsp_trainer_tuning_name(int k);

typedef struct jsp_trainer_config {
    jsp_schedule schedule;
    int batch_size; /* chains, and own draws per update */
    uint64_t seed;
    int order; /* of the slots, see jsp_edges_create */
    int n_threads;
    jsp_trainer_tuning tuning;
} jsp_trainer_config;

/* What one update reports, as doubles in the order of the names in
 * jsp_trainer_metric_name. */
typedef struct jsp_trainer_metrics {
    double phase; /* 0 maximum likelihood, 1 balance */
    double loss;
    double gap; /* mean log R - log q on chain states minus the same on own draws:
                              KL + reverse KL, needs no log Z; NaN in phase 0 */
    double own_gap_median; /* the same with the median over own draws */
    double
        own_ess; /* effective sample size of own draws / their number; NaN in phase 0 */
    double acceptance;  /* of own draws as proposals to the chains; NaN in phase 0 */
    double chain_log_q; /* mean log q of chain states */
    double gradient_norm;
    double learning_rate;
    double progress;
    double n_edges; /* mean over chain states */
} jsp_trainer_metrics;

#define JSP_TRAINER_METRICS ((int)(sizeof(jsp_trainer_metrics) / sizeof(double)))

typedef struct jsp_trainer jsp_trainer;

/* Allocates everything and anneals the chains. `scores` is borrowed and must outlive
 * the trainer. */
jsp_status jsp_trainer_create(const jsp_scores *scores,
                              const jsp_trainer_config *config, jsp_trainer **out,
                              jsp_error *error);
void jsp_trainer_destroy(jsp_trainer *trainer); /* NULL allowed */

/* Runs n_updates updates and writes one record per update. JSP_ERROR_NUMERICAL names
 * update and quantity; parameters and optimiser are then as before that update (the
 * chains have moved on), and *n_done says how many were finished. */
jsp_status jsp_trainer_step(jsp_trainer *trainer, long n_updates, double time_fraction,
                            jsp_trainer_metrics *metrics, long *n_done,
                            jsp_error *error);

/* Independent draws of the averaged policy; draw k depends on (seed, first_draw + k).
 *   parents [n, D] local masks  log_q [n]  log_reward [n] */
jsp_status jsp_trainer_draws_sample(const jsp_trainer *trainer, long n, uint64_t seed,
                                    long first_draw, int n_threads, uint32_t *parents,
                                    double *log_q, double *log_reward,
                                    jsp_error *error);

/* log q of acyclic graphs under the averaged policy; parents [n, D], log_q [n]. */
jsp_status jsp_trainer_draws_log_prob(const jsp_trainer *trainer, long n,
                                      const uint32_t *parents, int n_threads,
                                      double *log_q, jsp_error *error);

/* Numbers of the guard (jsp_guard.h) from best_loss on. */
#define JSP_TRAINER_GUARD 5

/* State that an owner may read or write between steps, e.g. to save it. */
typedef struct jsp_trainer_view {
    const jsp_scores *scores;
    const jsp_edges *edges;
    const jsp_params *layout;
    jsp_schedule *schedule;
    uint64_t *seed;
    jsp_real *params, *average, *first_moment, *second_moment; /* [layout->size] */
    long *update;                                              /* updates done */
    long *adam_steps;
    double *gradient_norm_mean;
    jsp_real *good; /* [layout->size] where the guard goes back to */
    double *guard;  /* [JSP_TRAINER_GUARD] its numbers */
    int n_chains;
    uint32_t
        *chain_parents; /* [n_chains, D]; after writing call jsp_trainer_state_sync */
    int n_kept;         /* graphs of jsp_trainer_state_get_kept */
    int n_counts;       /* numbers of jsp_trainer_state_get_kept */
} jsp_trainer_view;

jsp_trainer_view jsp_trainer_state_open(jsp_trainer *trainer);

/* Makes the chains' inner sets agree with chain_parents, and all streams with the seed. */
void jsp_trainer_state_sync(jsp_trainer *trainer);

/* What the chains and the lists of hard graphs hold besides: states of all replicas and
 * hard graphs (allowed, without cycles, also in free places), and the lists' counts.
 *   graphs [n_kept, D] local masks    counts [n_counts]
 * Sources of a set must come from a get of a trainer with the same settings; counts out
 * of range are refused with 0, and nothing is changed. */
void jsp_trainer_state_get_kept(const jsp_trainer *trainer, uint32_t *graphs,
                                int32_t *counts);
int jsp_trainer_state_set_kept(jsp_trainer *trainer, const uint32_t *graphs,
                               const int32_t *counts);

/* Name of metric k, NULL after the last. */
const char *jsp_trainer_metric_name(int k);

/* Seconds are the caller's business; the core counts work instead: options weighed by
 * the network, rows of odds looked up and computed, since creation. For profiles. */
typedef struct jsp_trainer_counters {
    uint64_t n_options, n_rows, n_rows_computed;
} jsp_trainer_counters;

jsp_trainer_counters jsp_trainer_count(const jsp_trainer *trainer);

#endif
