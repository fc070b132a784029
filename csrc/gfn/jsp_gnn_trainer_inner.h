/* jsp_gnn_trainer_inner.h - what the files of the trainer share. */
#ifndef JSP_GNN_TRAINER_INNER_H
#define JSP_GNN_TRAINER_INNER_H

#include "jsp_environments.h"
#include "jsp_gnn_trainer.h"
#include "jsp_parallel.h"
#include "jsp_rows.h"

/* What a profile tells apart; names in jsp_gnn_trainer_part_name. */
enum jsp_gnn_trainer_part {
    JSP_GNN_TRAINER_REPLAY,
    JSP_GNN_TRAINER_ENVIRONMENTS,
    JSP_GNN_TRAINER_SHARED,
    JSP_GNN_TRAINER_FORWARD,
    JSP_GNN_TRAINER_SAMPLES,
    JSP_GNN_TRAINER_LOSS,
    JSP_GNN_TRAINER_BACKWARD,
    JSP_GNN_TRAINER_SUM,
    JSP_GNN_TRAINER_PARTS
};

typedef struct jsp_gnn_trainer_worker {
    jsp_gnn_side before, after;
    jsp_dag_batch dag; /* one */
    double *scratch;   /* [4 K] */
    double clock, seconds[JSP_GNN_TRAINER_PARTS];
} jsp_gnn_trainer_worker;

struct jsp_gnn_trainer {
    const jsp_gnn_target *target;
    jsp_gnn_trainer_config config;
    jsp_gnn_net net;
    jsp_adam adam;
    jsp_real *params;
    /* the target network */
    jsp_gnn_net frozen_net;
    jsp_real *frozen; /* NULL without one */
    /* minibatches of rows */
    jsp_gnn_target batch_target; /* the target on `rows` where there are minibatches */
    jsp_rows rows;
    int *row_index; /* [minibatch_rows] */
    long update;
    jsp_replay replay;
    /* environments */
    jsp_environments environments;
    jsp_gnn_shard env_shard;
    double exploration; /* of the present update */
    /* the batch */
    int B;
    int *index, *action; /* [batch_size] */
    uint8_t *before;     /* [batch_size, D, D] */
    uint8_t *after;
    jsp_gnn_trainer_worker *workers; /* [n_threads] */
    int n_lanes, chunk; /* transitions at once; both depend on the config only */
    jsp_real *gradient[JSP_GNN_TRAINER_LANES];
    int n_stretches; /* of a block that lanes add to */
    jsp_gnn_net_stretch stretch[JSP_GNN_NET_STRETCHES];
    jsp_graphnet_pull pull; /* rows of all graphs of the batch */
    jsp_real *pull_block;
    jsp_gnn_loss_sums sums[JSP_GNN_TRAINER_LANES];
    jsp_parallel_team *team;
    jsp_pulse *pulse; /* of the present call, or NULL */
};

/* Memory of everything, and the network at its start; config, target and n_lanes are set. On
 * failure the rest may be destroyed. */
jsp_status jsp_gnn_trainer_memory_create(jsp_gnn_trainer *trainer, jsp_error *error);
void jsp_gnn_trainer_memory_destroy(jsp_gnn_trainer *trainer);

#endif
