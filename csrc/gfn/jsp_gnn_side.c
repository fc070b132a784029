/* jsp_gnn_side.c - one side of a batch, from graphs to densities and back. */
#include "jsp_gnn_side.h"

#include <string.h>

#include "jsp_memory.h"
#include "jsp_places.h"

static void place_side(jsp_gnn_side *side, const jsp_gnn_net *net, jsp_places *p) {
    const size_t D = (size_t)net->gnn.D;
    const size_t graphs = (size_t)side->capacity, K = (size_t)side->K;
    const size_t cells = graphs * D * D, samples = graphs * K;
    const size_t list = graphs * jsp_head_max_entries(&net->head) * K;
    side->adjacency = jsp_places_take(p, cells, 1);
    side->mask = jsp_places_take(p, cells, 1);
    side->only = jsp_places_take(p, graphs, sizeof(int));
    side->eps = jsp_places_take(p, list, sizeof(double));
    side->theta = jsp_places_take(p, list, sizeof(double));
    side->slope = jsp_places_take(p, list, sizeof(double));
    side->d_theta = jsp_places_take(p, (size_t)net->head.P * K, sizeof(double));
    side->log_reward = jsp_places_take(p, samples, sizeof(double));
    side->log_prob = jsp_places_take(p, samples, sizeof(double));
    side->d_log_prob = jsp_places_take(p, samples, sizeof(double));
}

jsp_status jsp_gnn_side_create(const jsp_gnn_net *net, int capacity, int K,
                               jsp_gnn_side *side, jsp_error *error) {
    jsp_places p = {0};
    *side = (jsp_gnn_side){.capacity = capacity, .K = K};
    place_side(side, net, &p);
    side->memory = p.base = jsp_memory_alloc(p.used, 1);
    if (!p.base) {
        return jsp_status_no_memory(error, p.used, "samples of parameters");
    }
    p.used = 0;
    place_side(side, net, &p);
    jsp_status status = jsp_gnn_shard_create(&net->gnn, capacity, &side->shard, error);
    if (status != JSP_OK) return status;
    return jsp_head_state_create(&net->head, capacity, &side->head, error);
}

void jsp_gnn_side_destroy(jsp_gnn_side *side) {
    if (!side) return;
    jsp_gnn_shard_destroy(&side->shard);
    jsp_head_state_destroy(&side->head);
    jsp_memory_free(side->memory);
    *side = (jsp_gnn_side){0};
}

static void forward_head(const jsp_gnn_net *net, const jsp_real *params,
                         jsp_gnn_side *side) {
    jsp_head_forward(&net->head, params, net->head_shared, &side->head, side->shard.B,
                     side->adjacency, side->is_partial ? side->only : NULL,
                     side->shard.node_features, side->shard.global_features);
}

void jsp_gnn_side_forward(const jsp_gnn_net *net, const jsp_real *params,
                          jsp_gnn_side *side, int B, double logit_scale) {
    jsp_gnn_shard_forward(&net->gnn, params, &net->shared, &side->shard, B,
                          side->adjacency, side->mask, logit_scale);
    forward_head(net, params, side);
}

void jsp_gnn_side_forward_next(const jsp_gnn_net *net, const jsp_real *params,
                               const jsp_gnn_side *base, jsp_gnn_side *side,
                               const int *action, double logit_scale) {
    jsp_gnn_shard_forward_next(&net->gnn, params, &net->shared, &base->shard,
                               &side->shard, side->adjacency, side->mask, action,
                               logit_scale);
    forward_head(net, params, side);
}

void jsp_gnn_side_sample(const jsp_gnn_net *net, const jsp_gnn_target *target,
                         jsp_gnn_side *side) {
    const jsp_head_state *head = &side->head;
    const int D = net->gnn.D, K = side->K, B = head->B;
    const size_t samples = (size_t)K;
    for (int b = 0; b < B; b++) {
        const double weight =
            jsp_gnn_target_log_weight(target,
                                      side->adjacency + (size_t)b * (size_t)(D * D));
        double *log_reward = side->log_reward + (size_t)b * samples;
        for (int k = 0; k < K; k++) log_reward[k] = weight;
    }
    memset(side->log_prob, 0, (size_t)B * samples * sizeof *side->log_prob);
    for (int n = 0; n < head->n_rows; n++) {
        const int parents = head->parent_first[n];
        const size_t at = (size_t)head->first[n] * samples;
        jsp_head_normal_sample(&net->head, head, n, n + 1, K, side->eps, side->theta);
        target->setup.model->log_joint(&target->setup, head->node[n],
                                       head->parent_first[n + 1] - parents,
                                       head->parent + parents, K, side->theta + at,
                                       side->log_reward +
                                           (size_t)head->graph[n] * samples,
                                       side->slope + at);
        jsp_head_normal_log_prob(&net->head, head, n, n + 1, K, side->eps,
                                 side->log_prob);
        jsp_head_normal_slope(&net->head, head, n, n + 1, K, side->eps, side->slope);
    }
}

/* Densities and head, to the gradients of the shard's outputs. */
static void backward_head(const jsp_gnn_net *net, const jsp_gnn_target *target,
                          const jsp_real *params, jsp_gnn_side *side,
                          const jsp_gnn_net_gradient *gradient) {
    jsp_head_state *head = &side->head;
    const int K = side->K;
    for (int n = 0; n < head->n_rows; n++) {
        const int parents = head->parent_first[n];
        const size_t at = (size_t)head->first[n] * (size_t)K;
        target->setup.model->pull_slope(&target->setup, head->node[n],
                                        head->parent_first[n + 1] - parents,
                                        head->parent + parents, K, side->theta + at,
                                        side->slope + at, side->d_theta);
        jsp_head_normal_log_prob_backward(&net->head, head, n, n + 1, K, side->eps,
                                          side->theta, side->d_log_prob);
        jsp_head_normal_slope_backward(&net->head, head, n, n + 1, K, side->eps,
                                       side->theta, side->d_theta, side->slope + at);
    }
    jsp_head_backward(&net->head, params, net->head_shared, &side->head,
                      side->shard.d_node_features, side->shard.d_global_features,
                      gradient->params, gradient->head_shared);
}

void jsp_gnn_side_backward(const jsp_gnn_net *net, const jsp_gnn_target *target,
                           const jsp_real *params, jsp_gnn_side *side,
                           const jsp_gnn_net_gradient *gradient) {
    backward_head(net, target, params, side, gradient);
    jsp_gnn_shard_backward(&net->gnn, params, &net->shared, &side->shard,
                           &gradient->pull, gradient->params, gradient->maps);
}

void jsp_gnn_side_backward_pair(const jsp_gnn_net *net, const jsp_gnn_target *target,
                                const jsp_real *params, jsp_gnn_side *before,
                                jsp_gnn_side *after, const int *action,
                                const jsp_gnn_net_gradient *gradient) {
    backward_head(net, target, params, before, gradient);
    backward_head(net, target, params, after, gradient);
    jsp_gnn_shard_backward_pair(&net->gnn, params, &net->shared, &before->shard,
                                &after->shard, action, &gradient->pull,
                                gradient->params, gradient->maps);
}
