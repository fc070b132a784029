/* jsp_gnn_sampler.c - trajectories in groups.
 *
 * A group of graphs grows in step, and those that have stopped leave it. Groups are fixed
 * by the number of a draw in its call, never by threads. */
#include "jsp_gnn_sampler_inner.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Nodes in a group. */
#define GROUP_NODES 320

enum { MIN_GROUP = JSP_GNN_DENSITY_ORDERS, MAX_GROUP = JSP_GNN_SAMPLER_MAX_GROUP };

jsp_status jsp_gnn_sampler_create(const jsp_gnn_target *target, jsp_head_spec head,
                                  const jsp_real *params, double logit_scale,
                                  int n_threads, jsp_gnn_sampler **out,
                                  jsp_error *error) {
    jsp_gnn_sampler *sampler = jsp_memory_alloc(1, sizeof *sampler);
    *out = NULL;
    if (!sampler) return jsp_status_no_memory(error, sizeof *sampler, "the sampler");
    const int size = GROUP_NODES / target->D;
    sampler->target = target;
    sampler->params = params;
    sampler->logit_scale = logit_scale;
    sampler->group = size < MIN_GROUP ? MIN_GROUP : size > MAX_GROUP ? MAX_GROUP : size;
    sampler->n_threads = n_threads < 1 ? 1 : n_threads;
    sampler->workers =
        jsp_memory_alloc((size_t)sampler->n_threads, sizeof *sampler->workers);
    jsp_status status = jsp_gnn_net_create(&sampler->net, target->D, head, error);
    if (status == JSP_OK && !sampler->workers) {
        status = jsp_status_no_memory(error, sizeof *sampler->workers, "threads");
    }
    for (int w = 0; w < sampler->n_threads && status == JSP_OK; w++) {
        jsp_gnn_sampler_worker *work = &sampler->workers[w];
        status =
            jsp_gnn_side_create(&sampler->net, sampler->group, 1, &work->side, error);
        if (status != JSP_OK) break;
        status = jsp_dag_batch_create(&work->dag, sampler->group, target->D, 0, error);
    }
    if (status != JSP_OK) {
        jsp_gnn_sampler_destroy(sampler);
        return status;
    }
    jsp_gnn_net_forward_all(&sampler->net, params);
    *out = sampler;
    return JSP_OK;
}

void jsp_gnn_sampler_destroy(jsp_gnn_sampler *sampler) {
    if (!sampler) return;
    for (int w = 0; sampler->workers && w < sampler->n_threads; w++) {
        jsp_gnn_side_destroy(&sampler->workers[w].side);
        jsp_dag_batch_destroy(&sampler->workers[w].dag);
    }
    jsp_memory_free(sampler->workers);
    jsp_gnn_net_destroy(&sampler->net);
    jsp_memory_free(sampler);
}

/* ---- draws --------------------------------------------------------------------------- */

typedef struct draw_job {
    jsp_gnn_sampler *sampler;
    long n, first_draw;
    uint64_t seed;
    const jsp_gnn_sampler_draws *draws;
} draw_job;

static int choose_action(const jsp_gnn_sampler *sampler,
                         const jsp_gnn_sampler_worker *work, int b, double uniform) {
    const int cells = (int)jsp_gnn_sampler_cells(sampler);
    int last = cells;
    for (int a = 0; a < cells; a++) {
        const double log_pi = jsp_gnn_sampler_log_pi(sampler, work, b, a);
        if (isinf(log_pi)) continue;
        uniform -= exp(log_pi);
        if (uniform < 0) return a;
        last = a;
    }
    /* rounding may leave a little although stop is impossible */
    return exp(jsp_gnn_sampler_log_pi(sampler, work, b, cells)) == 0 ? last : cells;
}

/* Graphs of a group, in work->dag, with log P(trajectory). */
static void grow_graphs(const draw_job *job, jsp_gnn_sampler_worker *work, long first,
                        int n, double *log_prob) {
    const jsp_gnn_sampler *sampler = job->sampler;
    const int D = sampler->target->D;
    jsp_rng rng[MAX_GROUP];
    int active[MAX_GROUP], n_active = n;
    for (int k = 0; k < n; k++) {
        jsp_rng_init(&rng[k], job->seed, 0, (uint32_t)(job->first_draw + first + k),
                     JSP_RNG_SAMPLE);
        jsp_dag_reset(&work->dag.dag[k]);
        active[k] = k;
        log_prob[k] = 0;
    }
    while (n_active) {
        int n_left = 0;
        for (int b = 0; b < n_active; b++) {
            jsp_gnn_sampler_put(sampler, work, b, &work->dag.dag[active[b]]);
        }
        jsp_gnn_sampler_run(sampler, work, n_active);
        for (int b = 0; b < n_active; b++) {
            const int k = active[b];
            const int action =
                choose_action(sampler, work, b, jsp_rng_uniform(&rng[k]));
            log_prob[k] += jsp_gnn_sampler_log_pi(sampler, work, b, action);
            if (action == D * D) continue;
            jsp_dag_add(&work->dag.dag[k], action / D, action % D);
            active[n_left++] = k;
        }
        n_active = n_left;
    }
}

/* Weights, or parameters in their dense order, of row n, which is node i of draw k. */
static void put_parameters(const draw_job *job, const jsp_gnn_sampler_worker *work,
                           size_t n, size_t k, size_t i) {
    const jsp_head_state *head = &work->side.head;
    const size_t D = (size_t)job->sampler->target->D;
    const size_t P = (size_t)job->sampler->net.head.P;
    for (int e = head->first[n]; e < head->first[n + 1]; e++) {
        const size_t index = (size_t)head->index[e];
        if (job->draws->theta) {
            job->draws->theta[(k * D + i) * P + index] = work->side.theta[e];
        }
        if (job->draws->weight) {
            job->draws->weight[(k * D + index) * D + i] = work->side.theta[e];
        }
    }
}

/* Parameters, intercepts and noise of graph b, draw number k of the call. */
static void complete_draw(const draw_job *job, jsp_gnn_sampler_worker *work, int b,
                          long k, jsp_rng *rng) {
    const jsp_gnn_target *target = job->sampler->target;
    const jsp_head_state *head = &work->side.head;
    const size_t D = (size_t)target->D, row = (size_t)k * D;
    for (size_t i = 0; i < D; i++) {
        const size_t n = (size_t)b * D + i;
        const int n_parents = head->parent_first[n + 1] - head->parent_first[n];
        jsp_model_draw out = {.weight = work->side.theta + head->first[n]};
        target->setup.model->complete(&target->setup, (int)i, n_parents,
                                      head->parent + head->parent_first[n], rng, &out);
        job->draws->intercept[row + i] = out.intercept;
        job->draws->noise_scale[row + i] = out.noise_scale;
        put_parameters(job, work, n, (size_t)k, i);
    }
}

/* Rows first .. first + n - 1 of `size` numbers each. */
static void clear(double *values, size_t size, size_t first, size_t n) {
    if (values) memset(values + first * size, 0, n * size * sizeof *values);
}

static void run_draws(void *context, int task, int w) {
    const draw_job *job = context;
    jsp_gnn_sampler *sampler = job->sampler;
    jsp_gnn_sampler_worker *work = &sampler->workers[w];
    const jsp_gnn_sampler_draws *draws = job->draws;
    const size_t cells = jsp_gnn_sampler_cells(sampler);
    const long first = (long)task * sampler->group;
    const int n =
        (int)(job->n - first < sampler->group ? job->n - first : sampler->group);
    jsp_rng rng[MAX_GROUP];
    grow_graphs(job, work, first, n, draws->log_prob + first);
    for (int b = 0; b < n; b++) {
        jsp_gnn_sampler_put(sampler, work, b, &work->dag.dag[b]);
        draws->log_prob[first + b] += lgamma(work->dag.dag[b].n_edges + 1.0);
    }
    jsp_gnn_side_forward(&sampler->net, sampler->params, &work->side, n,
                         sampler->logit_scale);
    for (int b = 0; b < n; b++) {
        size_t begin, end;
        jsp_rng_init(&rng[b], job->seed, 0, (uint32_t)(job->first_draw + first + b),
                     JSP_RNG_PARAMETER);
        jsp_head_entries_of(&work->side.head, b, &begin, &end);
        for (size_t e = begin; e < end; e++) {
            work->side.eps[e] = jsp_rng_normal(&rng[b]);
        }
    }
    jsp_gnn_side_sample(&sampler->net, sampler->target, &work->side);
    memcpy(draws->graphs + (size_t)first * cells, work->side.adjacency,
           (size_t)n * cells);
    clear(draws->weight, cells, (size_t)first, (size_t)n);
    clear(draws->theta, (size_t)sampler->target->D * (size_t)sampler->net.head.P,
          (size_t)first, (size_t)n);
    for (int b = 0; b < n; b++) {
        draws->log_prob_theta[first + b] = work->side.log_prob[b];
        draws->log_reward_joint[first + b] = work->side.log_reward[b];
        complete_draw(job, work, b, first + b, &rng[b]);
    }
}

static int count_groups(const jsp_gnn_sampler *sampler, long n) {
    return (int)((n + sampler->group - 1) / sampler->group);
}

void jsp_gnn_sampler_draw(jsp_gnn_sampler *sampler, long n, uint64_t seed,
                          long first_draw, const jsp_gnn_sampler_draws *draws) {
    draw_job job = {sampler, n, first_draw, seed, draws};
    jsp_parallel_for(sampler->n_threads, count_groups(sampler, n), run_draws, &job);
}

/* ---- the policy itself ----------------------------------------------------------------- */

typedef struct policy_job {
    jsp_gnn_sampler *sampler;
    const uint8_t *graphs;
    long n;
    double *log_pi;
} policy_job;

static void run_policies(void *context, int task, int w) {
    const policy_job *job = context;
    jsp_gnn_sampler *sampler = job->sampler;
    jsp_gnn_sampler_worker *work = &sampler->workers[w];
    const size_t cells = jsp_gnn_sampler_cells(sampler);
    const long first = (long)task * sampler->group;
    const int n =
        (int)(job->n - first < sampler->group ? job->n - first : sampler->group);
    for (int b = 0; b < n; b++) {
        jsp_gnn_target_dag(job->graphs + (size_t)(first + b) * cells, work->dag.dag);
        jsp_gnn_sampler_put(sampler, work, b, work->dag.dag);
    }
    jsp_gnn_sampler_run(sampler, work, n);
    memcpy(job->log_pi + (size_t)first * (cells + 1), work->side.shard.log_pi,
           (size_t)n * (cells + 1) * sizeof(double));
}

void jsp_gnn_sampler_policy(jsp_gnn_sampler *sampler, long n, const uint8_t *graphs,
                            double *log_pi) {
    policy_job job = {.sampler = sampler, .graphs = graphs, .n = n, .log_pi = log_pi};
    jsp_parallel_for(sampler->n_threads, count_groups(sampler, n), run_policies, &job);
}
