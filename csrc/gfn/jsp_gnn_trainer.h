/* jsp_gnn_trainer.h - the training loop of the published method.
 *
 * One update: a batch of transitions is drawn from the replay; every environment takes one
 * step with the present policy (or, with the probability of exploring, a uniform legal
 * action) and its transition goes to the replay; then one step of Adam on the loss. A stop
 * starts an environment afresh and is not stored. Before the first update environments
 * move at random for a while. The batch is drawn before the environments move, so that
 * both share one pass over everything that graphs have in common; it lacks the newest
 * transitions by one update.
 *
 * Fields of the config are options with the published value in brackets. Work is cut into
 * fixed lanes and streams are named by update and purpose: the same bits for any number of
 * threads. */
#ifndef JSP_GNN_TRAINER_H
#define JSP_GNN_TRAINER_H

#include "jsp_adam.h"
#include "jsp_gnn_loss.h"
#include "jsp_pulse.h"
#include "jsp_replay.h"

/* Most blocks of gradients; transitions are split evenly among them, small batches among
 * fewer. */
#define JSP_GNN_TRAINER_LANES 8

typedef struct jsp_gnn_trainer_config {
    jsp_head_spec head;
    int batch_size;           /* [256] transitions per update */
    int n_theta_samples;      /* [64] K */
    int n_environments;       /* [8] */
    int replay_capacity;      /* [100,000] */
    int n_prefill;            /* [1,000] steps of every environment at random */
    long n_updates;           /* [100,000] length of the plan */
    long first;               /* update at which the plan begins */
    double learning_rate;     /* [1e-4] */
    double decay;             /* [0] share of the plan, at its end, over which the
                                    learning rate goes down to 1/100, by a cosine */
    double beta2;             /* [0.999] */
    double clip_ratio;        /* [infinite] see jsp_adam.h */
    double average_decay;     /* [0] of the averaged parameters that draws use */
    double exploration_start; /* [1] */
    double exploration_end;   /* [0.1] reached after half of the plan */
    double logit_scale;       /* [number of rows] factor of all logits */
    double init_scale;        /* [1] of the last layers that make logits */
    int is_partial;           /* [0] residual and penalty of the changed node only; for
                                    local heads */
    int minibatch_rows;       /* [0 = all] rows that an update looks at */
    long target_period; /* [0 = none] updates between copies of the parameters that
                                    the side of G' uses, without gradient */
    double head_spread; /* [0] not 0: see jsp_head_units.h; not for `mlp` */
    jsp_gnn_loss_config loss; /* [number of rows, 1, 1] */
    uint64_t seed;
    int n_threads;
} jsp_gnn_trainer_config;

/* What one update reports, as doubles in the order of jsp_gnn_trainer_metric_name. */
typedef struct jsp_gnn_trainer_metrics {
    double loss, huber, penalty;
    double residual_mean, residual_sd; /* of Delta over transitions and pairs, nats */
    double gradient_norm, learning_rate, exploration, progress;
    double n_edges; /* mean over the batch's G' */
} jsp_gnn_trainer_metrics;

#define JSP_GNN_TRAINER_METRICS                                                        \
    ((int)(sizeof(jsp_gnn_trainer_metrics) / sizeof(double)))

typedef struct jsp_gnn_trainer jsp_gnn_trainer;

/* Allocates everything and fills the replay. `target` is borrowed and must outlive the
 * trainer; its setup has rows if its model needs them. Minibatches come from rows that its
 * data keep. Where no edge may be added updates do nothing. JSP_ERROR_VALUE when this
 * is so with the head mlp, whose parameters of the empty graph no transition teaches, or
 * the model lacks log_joint or rows, or does not fit the head. */
jsp_status jsp_gnn_trainer_create(const jsp_gnn_target *target,
                                  const jsp_gnn_trainer_config *config,
                                  jsp_gnn_trainer **out, jsp_error *error);
void jsp_gnn_trainer_destroy(jsp_gnn_trainer *trainer); /* NULL allowed */

/* Runs n_updates updates, one record each. JSP_ERROR_NUMERICAL names update and quantity;
 * parameters are then as before that update, and *n_done says how many were finished. The
 * pulse (or NULL) is also asked within an update: with JSP_INTERRUPTED everything is as it
 * was before the update, which can be run again. */
jsp_status jsp_gnn_trainer_step(jsp_gnn_trainer *trainer, long n_updates,
                                double time_fraction, jsp_gnn_trainer_metrics *metrics,
                                long *n_done, jsp_pulse *pulse, jsp_error *error);

/* Seconds spent in part `part` so far, summed over threads, for profiles. */
double jsp_gnn_trainer_seconds(const jsp_gnn_trainer *trainer, int part);

/* Name of a part, NULL after the last. */
const char *jsp_gnn_trainer_part_name(int part);

/* State that an owner may read or write between steps. */
typedef struct jsp_gnn_trainer_view {
    jsp_gnn_trainer_config *config; /* plan and seed may be changed */
    jsp_gnn_net *net;
    jsp_adam *adam;
    jsp_real *params;
    jsp_real *frozen; /* of the target network, NULL without one */
    long *update;
    jsp_replay *replay;
    jsp_dag *environment; /* [n_environments] */
} jsp_gnn_trainer_view;

jsp_gnn_trainer_view jsp_gnn_trainer_open(jsp_gnn_trainer *trainer);

/* Name of metric k, NULL after the last. */
const char *jsp_gnn_trainer_metric_name(int k);

#endif
