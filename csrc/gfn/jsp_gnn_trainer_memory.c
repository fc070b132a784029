/* jsp_gnn_trainer_memory.c - what a trainer owns: network, workers, batch, blocks of
 * gradients. */
#include <string.h>

#include "jsp_gnn_trainer_inner.h"
#include "jsp_head_units.h"
#include "jsp_memory.h"

/* Nodes per chunk and side. */
#define CHUNK_NODES 160

static int chunk_size(const jsp_gnn_trainer *trainer) {
    const int by_nodes = CHUNK_NODES / trainer->target->D;
    const int lanes = trainer->n_lanes;
    const int by_lane = (trainer->config.batch_size + lanes - 1) / lanes;
    const int size = by_nodes < by_lane ? by_nodes : by_lane;
    return size > 0 ? size : 1;
}

static jsp_status create_workers(jsp_gnn_trainer *trainer, jsp_error *error) {
    const int K = trainer->config.n_theta_samples, size = trainer->chunk;
    const size_t n = (size_t)trainer->config.n_threads;
    trainer->workers = jsp_memory_alloc(n, sizeof *trainer->workers);
    if (!trainer->workers) {
        return jsp_status_no_memory(error, n * sizeof *trainer->workers, "threads");
    }
    jsp_status status = JSP_OK;
    for (size_t w = 0; w < n && status == JSP_OK; w++) {
        jsp_gnn_trainer_worker *work = &trainer->workers[w];
        work->scratch = jsp_memory_alloc(4 * (size_t)K, sizeof(double));
        if (!work->scratch) {
            return jsp_status_no_memory(error, 4 * (size_t)K * sizeof(double),
                                        "samples");
        }
        status = jsp_gnn_side_create(&trainer->net, size, K, &work->before, error);
        if (status != JSP_OK) return status;
        status = jsp_gnn_side_create(&trainer->net, size, K, &work->after, error);
        if (status != JSP_OK) return status;
        work->before.is_partial = work->after.is_partial = trainer->config.is_partial;
        work->after.shard.stops_only = 1;
        status = jsp_dag_batch_create(&work->dag, 1, trainer->target->D, 0, error);
    }
    return status;
}

static jsp_status create_environments(jsp_gnn_trainer *trainer, jsp_error *error) {
    const int n = trainer->config.n_environments;
    jsp_status status =
        jsp_environments_create(trainer->target, n, &trainer->environments, error);
    if (status != JSP_OK) return status;
    return jsp_gnn_shard_create(&trainer->net.gnn, n, &trainer->env_shard, error);
}

static jsp_status create_batch(jsp_gnn_trainer *trainer, jsp_error *error) {
    const size_t D = (size_t)trainer->target->D;
    const size_t batch = (size_t)trainer->config.batch_size, cells = batch * D * D;
    trainer->index = jsp_memory_alloc(batch, sizeof(int));
    trainer->action = jsp_memory_alloc(batch, sizeof(int));
    trainer->before = jsp_memory_alloc(cells, 1);
    trainer->after = jsp_memory_alloc(cells, 1);
    if (!trainer->index || !trainer->action || !trainer->before || !trainer->after) {
        return jsp_status_no_memory(error, 2 * cells, "a batch of transitions");
    }
    const jsp_graphnet *graphnet = &trainer->net.gnn.graphnet;
    const size_t rows = jsp_graphnet_pull_size(graphnet, (int)batch);
    trainer->pull_block = jsp_memory_alloc(rows, sizeof(jsp_real));
    if (!trainer->pull_block) {
        return jsp_status_no_memory(error, rows * sizeof(jsp_real), "gradients");
    }
    trainer->pull = jsp_graphnet_pull_place(graphnet, (int)batch, trainer->pull_block);
    trainer->n_stretches = jsp_gnn_net_list_stretches(&trainer->net, trainer->stretch);
    const size_t size = jsp_gnn_net_gradient_size(&trainer->net);
    for (int lane = 0; lane < trainer->n_lanes; lane++) {
        trainer->gradient[lane] = jsp_memory_alloc(size, sizeof(jsp_real));
        if (!trainer->gradient[lane]) {
            return jsp_status_no_memory(error, size * sizeof(jsp_real), "gradients");
        }
    }
    return JSP_OK;
}

/* The last layers that make logits start smaller. */
static void scale_logits(const jsp_gnn_trainer *trainer) {
    static const char *const name[] = {"senders.linear_1.w", "receivers.linear_1.w",
                                       "stop.linear_1.w"};
    for (int k = 0; k < 3; k++) {
        const jsp_params_tensor *tensor =
            jsp_params_find(&trainer->net.layout, name[k]);
        for (int m = 0; m < tensor->shape[0] * tensor->shape[1]; m++) {
            trainer->params[tensor->offset + (size_t)m] *=
                (jsp_real)trainer->config.init_scale;
        }
    }
}

static jsp_status create_network(jsp_gnn_trainer *trainer, jsp_error *error) {
    const jsp_gnn_trainer_config *config = &trainer->config;
    double unit[JSP_MAX_NETWORK_VARIABLES];
    jsp_status status =
        jsp_gnn_net_create(&trainer->net, trainer->target->D, config->head, error);
    if (status != JSP_OK) return status;
    const size_t size = trainer->net.layout.size;
    trainer->params = jsp_memory_alloc(size, sizeof *trainer->params);
    if (!trainer->params) {
        return jsp_status_no_memory(error, size * sizeof(jsp_real), "the network");
    }
    jsp_params_fill(&trainer->net.layout, config->seed, trainer->params);
    scale_logits(trainer);
    if (config->head_spread > 0) {
        jsp_head_units_measure(trainer->target, unit);
        jsp_head_units_start(&trainer->net.head, unit, config->head_spread,
                             config->init_scale, trainer->params);
    }
    status = jsp_adam_create(&trainer->adam, size, trainer->params, error);
    if (status == JSP_OK && config->head_spread > 0) {
        status = jsp_head_units_rates(&trainer->net.head, unit, config->head_spread,
                                      &trainer->adam, error);
    }
    trainer->adam.beta2 = config->beta2;
    trainer->adam.clip_ratio = config->clip_ratio;
    trainer->adam.average_decay = config->average_decay;
    return status;
}

static jsp_status create_frozen(jsp_gnn_trainer *trainer, jsp_error *error) {
    const size_t size = trainer->net.layout.size;
    if (trainer->config.target_period < 1) return JSP_OK;
    trainer->frozen = jsp_memory_alloc(size, sizeof *trainer->frozen);
    if (!trainer->frozen) {
        return jsp_status_no_memory(error, size * sizeof(jsp_real),
                                    "the target network");
    }
    memcpy(trainer->frozen, trainer->params, size * sizeof *trainer->frozen);
    return jsp_gnn_net_create(&trainer->frozen_net, trainer->target->D,
                              trainer->config.head, error);
}

static jsp_status create_rows(jsp_gnn_trainer *trainer, jsp_error *error) {
    const jsp_model_setup *setup = &trainer->target->setup;
    const int m = trainer->config.minibatch_rows;
    trainer->batch_target = *trainer->target;
    if (m < 1 || m >= jsp_data_n_rows(setup->data)) return JSP_OK;
    trainer->row_index = jsp_memory_alloc((size_t)m, sizeof(int));
    if (!trainer->row_index) {
        return jsp_status_no_memory(error, (size_t)m * sizeof(int), "rows");
    }
    trainer->batch_target.setup.rows = &trainer->rows;
    return jsp_rows_create(setup->data, m, !setup->model->needs_rows, &trainer->rows,
                           error);
}

jsp_status jsp_gnn_trainer_memory_create(jsp_gnn_trainer *trainer, jsp_error *error) {
    trainer->chunk = chunk_size(trainer);
    jsp_status status = create_network(trainer, error);
    if (status == JSP_OK) status = create_frozen(trainer, error);
    if (status == JSP_OK) status = create_rows(trainer, error);
    if (status == JSP_OK) status = create_workers(trainer, error);
    if (status == JSP_OK) status = create_environments(trainer, error);
    if (status == JSP_OK) status = create_batch(trainer, error);
    if (status != JSP_OK) return status;
    return jsp_replay_create(&trainer->replay, trainer->config.replay_capacity,
                             trainer->target->D, error);
}

void jsp_gnn_trainer_memory_destroy(jsp_gnn_trainer *trainer) {
    for (int w = 0; trainer->workers && w < trainer->config.n_threads; w++) {
        jsp_gnn_side_destroy(&trainer->workers[w].before);
        jsp_gnn_side_destroy(&trainer->workers[w].after);
        jsp_dag_batch_destroy(&trainer->workers[w].dag);
        jsp_memory_free(trainer->workers[w].scratch);
    }
    jsp_memory_free(trainer->workers);
    for (int lane = 0; lane < JSP_GNN_TRAINER_LANES; lane++)
        jsp_memory_free(trainer->gradient[lane]);
    jsp_memory_free(trainer->pull_block);
    jsp_environments_destroy(&trainer->environments);
    jsp_gnn_shard_destroy(&trainer->env_shard);
    jsp_memory_free(trainer->index);
    jsp_memory_free(trainer->action);
    jsp_memory_free(trainer->before);
    jsp_memory_free(trainer->after);
    jsp_replay_destroy(&trainer->replay);
    jsp_adam_destroy(&trainer->adam);
    jsp_memory_free(trainer->params);
    jsp_memory_free(trainer->frozen);
    jsp_memory_free(trainer->row_index);
    jsp_rows_destroy(&trainer->rows);
    jsp_gnn_net_destroy(&trainer->frozen_net);
    jsp_gnn_net_destroy(&trainer->net);
}
