/* jsp_gnn_sampler.c - trajectories in groups, sums over orders.
 *
 * A group of graphs grows in step, and those that have stopped leave it. Groups are fixed
 * by the number of a draw in its call, never by threads. */
#include "jsp_gnn_sampler.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Nodes in a group. */
#define GROUP_NODES 320

enum { MAX_GROUP = 64, N_SUBGRAPHS = 1 << JSP_GNN_SAMPLER_EXACT_EDGES };

typedef struct worker {
    jsp_gnn_side side;
    jsp_dag_batch dag; /* [group] */
    double *log_flow;  /* [N_SUBGRAPHS], or one per order */
} worker;

struct jsp_gnn_sampler {
    const jsp_gnn_target *target;
    const jsp_real *params;
    double logit_scale;
    jsp_gnn_net net;
    int group, n_threads;
    worker *workers;
};

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
    sampler->group = size < 1 ? 1 : size > MAX_GROUP ? MAX_GROUP : size;
    sampler->n_threads = n_threads < 1 ? 1 : n_threads;
    sampler->workers =
        jsp_memory_alloc((size_t)sampler->n_threads, sizeof *sampler->workers);
    jsp_status status = jsp_gnn_net_create(&sampler->net, target->D, head, error);
    if (status == JSP_OK && !sampler->workers) {
        status = jsp_status_no_memory(error, sizeof *sampler->workers, "threads");
    }
    for (int w = 0; w < sampler->n_threads && status == JSP_OK; w++) {
        worker *work = &sampler->workers[w];
        status =
            jsp_gnn_side_create(&sampler->net, sampler->group, 1, &work->side, error);
        if (status != JSP_OK) break;
        status = jsp_dag_batch_create(&work->dag, sampler->group, target->D, 0, error);
        work->log_flow = jsp_memory_alloc(N_SUBGRAPHS, sizeof(double));
        if (status == JSP_OK && !work->log_flow) {
            status =
                jsp_status_no_memory(error, N_SUBGRAPHS * sizeof(double), "subgraphs");
        }
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
        jsp_memory_free(sampler->workers[w].log_flow);
    }
    jsp_memory_free(sampler->workers);
    jsp_gnn_net_destroy(&sampler->net);
    jsp_memory_free(sampler);
}

/* ---- groups -------------------------------------------------------------------------- */

static size_t count_cells(const jsp_gnn_sampler *sampler) {
    return (size_t)sampler->target->D * (size_t)sampler->target->D;
}

/* Graph and mask of a dag become row b of the worker's side. */
static void put_dag(const jsp_gnn_sampler *sampler, worker *work, int b,
                    const jsp_dag *dag) {
    const size_t at = (size_t)b * count_cells(sampler);
    jsp_gnn_target_graph(dag, work->side.adjacency + at);
    jsp_gnn_target_mask(sampler->target, dag, work->side.mask + at);
}

/* Policy of the first n rows. */
static void run_policy(const jsp_gnn_sampler *sampler, worker *work, int n) {
    jsp_gnn_shard_forward(&sampler->net.gnn, sampler->params, &sampler->net.shared,
                          &work->side.shard, n, work->side.adjacency, work->side.mask,
                          sampler->logit_scale);
}

static double log_pi_of(const jsp_gnn_sampler *sampler, const worker *work, int b,
                        int action) {
    return work->side.shard
        .log_pi[(size_t)b * (count_cells(sampler) + 1) + (size_t)action];
}

/* ---- draws --------------------------------------------------------------------------- */

typedef struct draw_job {
    jsp_gnn_sampler *sampler;
    long n, first_draw;
    uint64_t seed;
    const jsp_gnn_sampler_draws *draws;
} draw_job;

static int choose_action(const jsp_gnn_sampler *sampler, const worker *work, int b,
                         double uniform) {
    const int cells = (int)count_cells(sampler);
    int last = cells;
    for (int a = 0; a < cells; a++) {
        const double log_pi = log_pi_of(sampler, work, b, a);
        if (isinf(log_pi)) continue;
        uniform -= exp(log_pi);
        if (uniform < 0) return a;
        last = a;
    }
    /* rounding may leave a little although stop is impossible */
    return exp(log_pi_of(sampler, work, b, cells)) == 0 ? last : cells;
}

/* Graphs of a group, in work->dag, with log P(trajectory). */
static void grow_graphs(const draw_job *job, worker *work, long first, int n,
                        double *log_prob) {
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
            put_dag(sampler, work, b, &work->dag.dag[active[b]]);
        }
        run_policy(sampler, work, n_active);
        for (int b = 0; b < n_active; b++) {
            const int k = active[b];
            const int action =
                choose_action(sampler, work, b, jsp_rng_uniform(&rng[k]));
            log_prob[k] += log_pi_of(sampler, work, b, action);
            if (action == D * D) continue;
            jsp_dag_add(&work->dag.dag[k], action / D, action % D);
            active[n_left++] = k;
        }
        n_active = n_left;
    }
}

/* Weights, or parameters in their dense order, of row n, which is node i of draw k. */
static void put_parameters(const draw_job *job, const worker *work, size_t n, size_t k,
                           size_t i) {
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
static void complete_draw(const draw_job *job, worker *work, int b, long k,
                          jsp_rng *rng) {
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
    worker *work = &sampler->workers[w];
    const jsp_gnn_sampler_draws *draws = job->draws;
    const size_t cells = count_cells(sampler);
    const long first = (long)task * sampler->group;
    const int n =
        (int)(job->n - first < sampler->group ? job->n - first : sampler->group);
    jsp_rng rng[MAX_GROUP];
    grow_graphs(job, work, first, n, draws->log_prob + first);
    for (int b = 0; b < n; b++) {
        put_dag(sampler, work, b, &work->dag.dag[b]);
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

/* ---- log q ----------------------------------------------------------------------------- */

typedef struct density_job {
    jsp_gnn_sampler *sampler;
    const uint8_t *graphs;
    long n, first_graph;
    int n_orders;
    uint64_t seed;
    double *log_prob, *standard_error, *log_pi;
} density_job;

/* log(e^a + e^b) */
static double add_logs(double a, double b) {
    const double top = fmax(a, b);
    return isinf(top) ? top : top + log1p(exp(fmin(a, b) - top));
}

static int list_edges(int D, const uint8_t *graph, int *edge) {
    int E = 0;
    for (int cell = 0; cell < D * D; cell++) {
        if (graph[cell]) edge[E++] = cell;
    }
    return E;
}

/* F(S) = sum over e in S of F(S - e) P(add e | S - e): a subgraph comes after all that it
 * contains when sets of edges count up as binary numbers. */
static double sum_subgraphs(const jsp_gnn_sampler *sampler, worker *work, int E,
                            const int *edge) {
    const int D = sampler->target->D, n_sets = 1 << E;
    double *log_flow = work->log_flow;
    jsp_dag *dag = work->dag.dag;
    for (int set = 0; set < n_sets; set++) log_flow[set] = set ? -INFINITY : 0;
    for (int first = 0; first < n_sets; first += sampler->group) {
        const int n = n_sets - first < sampler->group ? n_sets - first : sampler->group;
        for (int b = 0; b < n; b++) {
            jsp_dag_reset(dag);
            for (int e = 0; e < E; e++) {
                if ((first + b) >> e & 1) jsp_dag_add(dag, edge[e] / D, edge[e] % D);
            }
            put_dag(sampler, work, b, dag);
        }
        run_policy(sampler, work, n);
        for (int b = 0; b < n; b++) {
            for (int e = 0; e < E; e++) {
                double *next = &log_flow[(first + b) | 1 << e];
                if ((first + b) >> e & 1) continue;
                *next = add_logs(*next, log_flow[first + b] +
                                            log_pi_of(sampler, work, b, edge[e]));
            }
        }
    }
    const int last = (n_sets - 1) % sampler->group; /* G itself, in the last pass */
    return log_flow[n_sets - 1] + log_pi_of(sampler, work, last, D * D);
}

/* log P(trajectory) of the edges in this order. */
static double follow_order(const jsp_gnn_sampler *sampler, worker *work, int E,
                           const int *edge) {
    const int D = sampler->target->D;
    jsp_dag *dag = work->dag.dag;
    double log_prob = 0;
    jsp_dag_reset(dag);
    for (int first = 0; first <= E; first += sampler->group) {
        const int n = E + 1 - first < sampler->group ? E + 1 - first : sampler->group;
        for (int b = 0; b < n; b++) {
            put_dag(sampler, work, b, dag);
            if (first + b < E) {
                jsp_dag_add(dag, edge[first + b] / D, edge[first + b] % D);
            }
        }
        run_policy(sampler, work, n);
        for (int b = 0; b < n; b++) {
            const int action = first + b < E ? edge[first + b] : D * D;
            log_prob += log_pi_of(sampler, work, b, action);
        }
    }
    return log_prob;
}

static void shuffle(jsp_rng *rng, int E, int *edge) {
    for (int e = E - 1; e > 0; e--) {
        const int other = (int)(jsp_rng_uniform(rng) * (e + 1)), kept = edge[e];
        edge[e] = edge[other];
        edge[other] = kept;
    }
}

static double average_orders(const density_job *job, worker *work, long g, int E,
                             int *edge, double *standard_error) {
    const int M = job->n_orders;
    double total = -INFINITY, squares = 0;
    for (int m = 0; m < M; m++) {
        jsp_rng rng;
        jsp_rng_init(&rng, job->seed, (uint32_t)m, (uint32_t)(job->first_graph + g),
                     JSP_RNG_ORDER);
        shuffle(&rng, E, edge);
        work->log_flow[m] = follow_order(job->sampler, work, E, edge);
        total = add_logs(total, work->log_flow[m]);
    }
    const double mean = total - log(M);
    *standard_error = 0;
    if (isinf(mean)) return mean;
    for (int m = 0; m < M; m++) {
        const double ratio = exp(work->log_flow[m] - mean) - 1;
        squares += ratio * ratio;
    }
    *standard_error = M > 1 ? sqrt(squares / (M - 1) / M) : NAN;
    return mean + lgamma(E + 1.0);
}

static void run_density(void *context, int task, int w) {
    const density_job *job = context;
    const int D = job->sampler->target->D;
    int edge[JSP_MAX_VARIABLES * JSP_MAX_VARIABLES / 2];
    worker *work = &job->sampler->workers[w];
    const uint8_t *graph = job->graphs + (size_t)task * (size_t)(D * D);
    const int E = list_edges(D, graph, edge);
    job->standard_error[task] = 0;
    job->log_prob[task] =
        E <= JSP_GNN_SAMPLER_EXACT_EDGES
            ? sum_subgraphs(job->sampler, work, E, edge)
            : average_orders(job, work, task, E, edge, &job->standard_error[task]);
}

void jsp_gnn_sampler_log_prob(jsp_gnn_sampler *sampler, long n, const uint8_t *graphs,
                              int n_orders, uint64_t seed, long first_graph,
                              double *log_prob, double *standard_error) {
    density_job job = {.sampler = sampler,
                       .graphs = graphs,
                       .n = n,
                       .first_graph = first_graph,
                       .n_orders = n_orders < 1             ? 1
                                   : n_orders > N_SUBGRAPHS ? N_SUBGRAPHS
                                                            : n_orders,
                       .seed = seed,
                       .log_prob = log_prob,
                       .standard_error = standard_error};
    jsp_parallel_for(sampler->n_threads, (int)n, run_density, &job);
}

static void run_policies(void *context, int task, int w) {
    const density_job *job = context;
    jsp_gnn_sampler *sampler = job->sampler;
    worker *work = &sampler->workers[w];
    const size_t cells = count_cells(sampler);
    const long first = (long)task * sampler->group;
    const int n =
        (int)(job->n - first < sampler->group ? job->n - first : sampler->group);
    for (int b = 0; b < n; b++) {
        jsp_gnn_target_dag(job->graphs + (size_t)(first + b) * cells, work->dag.dag);
        put_dag(sampler, work, b, work->dag.dag);
    }
    run_policy(sampler, work, n);
    memcpy(job->log_pi + (size_t)first * (cells + 1), work->side.shard.log_pi,
           (size_t)n * (cells + 1) * sizeof(double));
}

void jsp_gnn_sampler_policy(jsp_gnn_sampler *sampler, long n, const uint8_t *graphs,
                            double *log_pi) {
    density_job job = {.sampler = sampler, .graphs = graphs, .n = n, .log_pi = log_pi};
    jsp_parallel_for(sampler->n_threads, count_groups(sampler, n), run_policies, &job);
}
