/* jsp_draws.c - parameters of many graphs.
 *
 * Every draw has a stream of its own, so the order of work is free. Models whose draws share
 * work given a parent set (jsp_model.h, prepare) take all draws of one (node, set) together,
 * which a hash table finds; sorting a million graphs took seconds. The others take the graphs
 * one by one. */
#include "jsp_draws.h"

#include <stdatomic.h>
#include <string.h>

#include "jsp_bits.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Graphs per task of models that share nothing. */
#define GROUP 64
#define POLL 8
#define POLL_LISTING 1024 /* graphs */

typedef struct draw_job {
    const jsp_model_setup *setup;
    long n;
    const uint8_t *graphs;
    uint64_t seed;
    long first_draw;
    const long *first_edge;
    double *weights, *intercepts, *noise_scales, *log_density;
    double *extra; /* NULL when the model has none */
    int n_extra;
    const int64_t *first_cell; /* discrete data */
    double *tables;
    int32_t *edges_before; /* [n, D] edges of a graph in the rows before each one */
    double *density;       /* [n, D] of each node */
    /* Node j of graph s is member s D + j; a task is a list of members of one node with one
     * set. NULL where the graphs are taken one by one. */
    jsp_bits *set; /* [n D] */
    long *next;    /* [n D] next member of the list, or -1 */
    long *first;   /* [n_tasks] */
    long n_tasks;
    jsp_pulse *pulse;   /* or NULL */
    atomic_long n_done; /* nodes of graphs */
    jsp_error *error;   /* [n_tasks] */
} draw_job;

/* Parents of node j in graph s; returns their number. */
static int find_parents(int D, const uint8_t *graphs, long s, int j, int *parents) {
    const uint8_t *graph = graphs + (size_t)s * (size_t)D * (size_t)D;
    int n_parents = 0;
    for (int i = 0; i < D; i++) {
        if (graph[i * D + j]) parents[n_parents++] = i;
    }
    return n_parents;
}

/* Edges in n cells. */
static int32_t count_edges(const uint8_t *cells, int n) {
    int32_t count = 0;
    for (int k = 0; k < n; k++) count += cells[k] != 0;
    return count;
}

static void count_rows(draw_job *job, int D) {
    for (long s = 0; s < job->n; s++) {
        const uint8_t *graph = job->graphs + (size_t)s * (size_t)D * (size_t)D;
        int32_t *before = job->edges_before + s * D, n = 0;
        for (int i = 0; i < D; i++) {
            before[i] = n;
            n += count_edges(graph + i * D, D);
        }
    }
}

/* Puts the weights of the edges into j of graph s where they belong. */
static void place_weights(const draw_job *job, long s, int j, int n_parents,
                          const int *parents, const double *weight) {
    const int D = jsp_data_n_variables(job->setup->data);
    const uint8_t *graph = job->graphs + (size_t)s * (size_t)D * (size_t)D;
    for (int k = 0; k < n_parents; k++) {
        const int i = parents[k];
        const long at = job->first_edge[s] + job->edges_before[s * D + i];
        job->weights[at + count_edges(graph + i * D, j)] = weight[k];
    }
}

/* Asks before every POLL-th of the draws of a task, and before the first one. */
static int is_stopped(draw_job *job, long number) {
    if (number % POLL) return 0;
    const long n = job->n * jsp_data_n_variables(job->setup->data);
    return jsp_pulse_stops(job->pulse, (double)atomic_load(&job->n_done) / (double)n);
}

/* 1 and an error when there are more than buffers hold. */
static int refuse_parents(int node, int n_parents, jsp_error *error) {
    if (n_parents <= JSP_MAX_PARENTS) return 0;
    jsp_status_set(error, JSP_ERROR_VALUE,
                   "variable %d cannot have %d parents, at most %d", node, n_parents,
                   JSP_MAX_PARENTS);
    return 1;
}

/* Draws node j of graph s; prepared is NULL for models that share nothing. */
static jsp_status draw_node(const draw_job *job, long s, int j, int n_parents,
                            const int *parents, void *prepared, jsp_error *error) {
    const jsp_model *model = job->setup->model;
    const int D = jsp_data_n_variables(job->setup->data);
    const size_t at = (size_t)s * (size_t)D + (size_t)j;
    double weight[JSP_MAX_PARENTS];
    jsp_rng rng;
    jsp_rng_init(&rng, job->seed, (uint32_t)j, (uint32_t)(job->first_draw + s),
                 JSP_RNG_PARAMETER);
    jsp_model_draw draw = {.weight = weight};
    if (job->tables) draw.table = job->tables + job->first_cell[at];
    if (job->extra) draw.extra = job->extra + at * (size_t)job->n_extra;
    jsp_status status =
        prepared ? model->draw_prepared(job->setup, j, n_parents, parents, prepared,
                                        &rng, &draw, error)
                 : model->draw(job->setup, j, n_parents, parents, &rng, &draw, error);
    if (status != JSP_OK) return status;
    job->density[at] = draw.log_density;
    if (job->tables) return JSP_OK;
    place_weights(job, s, j, n_parents, parents, weight);
    job->intercepts[at] = draw.intercept;
    job->noise_scales[at] = draw.noise_scale;
    return JSP_OK;
}

static void draw_graphs(void *context, int task, int worker) {
    draw_job *job = context;
    const int D = jsp_data_n_variables(job->setup->data);
    const long first = (long)task * GROUP;
    const long last = first + GROUP < job->n ? first + GROUP : job->n;
    jsp_error *error = &job->error[task];
    (void)worker;
    for (long s = first; s < last && !is_stopped(job, s - first); s++) {
        for (int j = 0; j < D && error->code == JSP_OK; j++) {
            int parents[JSP_MAX_VARIABLES];
            int n_parents = find_parents(D, job->graphs, s, j, parents);
            if (refuse_parents(j, n_parents, error)) break;
            error->code = draw_node(job, s, j, n_parents, parents, NULL, error);
        }
        atomic_fetch_add(&job->n_done, D);
    }
}

static void draw_members(void *context, int task, int worker) {
    draw_job *job = context;
    const jsp_model *model = job->setup->model;
    const int D = jsp_data_n_variables(job->setup->data);
    const long first = job->first[task];
    const int node = (int)(first % D);
    jsp_error *error = &job->error[task];
    int parents[JSP_MAX_VARIABLES];
    void *prepared;
    (void)worker;
    if (is_stopped(job, 0)) return;
    int n_parents = find_parents(D, job->graphs, first / D, node, parents);
    if (refuse_parents(node, n_parents, error)) return;
    error->code =
        model->prepare(job->setup, node, n_parents, parents, &prepared, error);
    if (error->code != JSP_OK) return;
    long n = 0;
    for (long m = first; m >= 0 && !is_stopped(job, n); m = job->next[m], n++) {
        error->code = draw_node(job, m / D, node, n_parents, parents, prepared, error);
        if (error->code != JSP_OK) break;
    }
    model->release(prepared);
    atomic_fetch_add(&job->n_done, n);
}

static size_t hash(int node, jsp_bits set, int n_bits) {
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t h = (uint64_t)node;
    for (int k = 0; k < JSP_BITS_WORDS; k++) {
        h = (h ^ set.word[k]) * factor;
        h ^= h >> 32;
    }
    return (size_t)(h * factor >> (64 - n_bits));
}

/* Puts member m in front of the list of its node and set, or begins one.
 *   table [2^n_bits] task + 1, 0 = free; never full */
static void add_member(draw_job *job, int D, long m, int32_t *table, int n_bits) {
    const size_t last = ((size_t)1 << n_bits) - 1;
    const int node = (int)(m % D);
    size_t at = hash(node, job->set[m], n_bits);
    for (; table[at]; at = (at + 1) & last) {
        long *first = &job->first[table[at] - 1];
        if (*first % D != node || !jsp_bits_equal(job->set[*first], job->set[m]))
            continue;
        job->next[m] = *first;
        *first = m;
        return;
    }
    job->next[m] = -1;
    job->first[job->n_tasks++] = m;
    table[at] = (int32_t)job->n_tasks;
}

/* Fills set, next, first and n_tasks. */
static jsp_status list_members(draw_job *job, jsp_error *error) {
    const int D = jsp_data_n_variables(job->setup->data);
    int n_bits = 1;
    while ((long)1 << n_bits < 2 * job->n * D) n_bits++;
    int32_t *table = jsp_memory_alloc((size_t)1 << n_bits, sizeof *table);
    if (!table) {
        return jsp_status_no_memory(error, sizeof *table << n_bits, "parent sets");
    }
    job->n_tasks = 0;
    for (long s = 0; s < job->n; s++) {
        if (s % POLL_LISTING == 0 && jsp_pulse_stops(job->pulse, 0)) break;
        for (int j = 0; j < D; j++) {
            int parents[JSP_MAX_VARIABLES];
            int n_parents = find_parents(D, job->graphs, s, j, parents);
            jsp_bits *set = &job->set[s * D + j];
            *set = jsp_bits_empty();
            for (int k = 0; k < n_parents; k++) jsp_bits_add(set, parents[k]);
            add_member(job, D, s * D + j, table, n_bits);
        }
    }
    jsp_memory_free(table);
    return JSP_OK;
}

static jsp_status refuse_memory(size_t numbers, jsp_error *error) {
    return jsp_status_no_memory(error, numbers * sizeof(double), "draws of parameters");
}

static jsp_status share_work(draw_job *job, jsp_error *error) {
    const size_t n = (size_t)job->n * (size_t)jsp_data_n_variables(job->setup->data);
    job->density = jsp_memory_alloc(n, sizeof *job->density);
    job->edges_before = jsp_memory_alloc(n, sizeof *job->edges_before);
    if (!job->density || !job->edges_before) return refuse_memory(2 * n, error);
    count_rows(job, jsp_data_n_variables(job->setup->data));
    job->n_tasks = (job->n + GROUP - 1) / GROUP;
    if (job->setup->model->prepare) {
        job->set = jsp_memory_alloc(n, sizeof *job->set);
        job->next = jsp_memory_alloc(n, sizeof *job->next);
        job->first = jsp_memory_alloc(n, sizeof *job->first);
        if (!job->set || !job->next || !job->first) return refuse_memory(4 * n, error);
        jsp_status status = list_members(job, error);
        if (status != JSP_OK) return status;
    }
    job->error = jsp_memory_alloc((size_t)job->n_tasks, sizeof *job->error);
    return job->error ? JSP_OK : refuse_memory((size_t)job->n_tasks, error);
}

static void add_densities(const draw_job *job) {
    const int D = jsp_data_n_variables(job->setup->data);
    for (long s = 0; s < job->n; s++) {
        job->log_density[s] = 0;
        for (int j = 0; j < D; j++) job->log_density[s] += job->density[s * D + j];
    }
}

static jsp_status run(draw_job *job, int n_threads, jsp_error *error) {
    jsp_status status = share_work(job, error);
    if (status == JSP_OK) {
        jsp_parallel_for(n_threads, (int)job->n_tasks,
                         job->set ? draw_members : draw_graphs, job);
        for (long task = 0; task < job->n_tasks && status == JSP_OK; task++) {
            status = job->error[task].code;
            if (status != JSP_OK) {
                jsp_status_set(error, status, "%s", job->error[task].message);
            }
        }
        if (status == JSP_OK && jsp_pulse_stopped(job->pulse)) {
            status = jsp_status_set(error, JSP_INTERRUPTED, "draws were not finished");
        }
        if (status == JSP_OK) add_densities(job);
    }
    jsp_memory_free(job->density);
    jsp_memory_free(job->edges_before);
    jsp_memory_free(job->set);
    jsp_memory_free(job->next);
    jsp_memory_free(job->first);
    jsp_memory_free(job->error);
    return status;
}

jsp_status jsp_draws_parameters(const jsp_model_setup *setup, long n,
                                const uint8_t *graphs, uint64_t seed, long first_draw,
                                int n_threads, const long *first_edge, double *weights,
                                double *intercepts, double *noise_scales, double *extra,
                                double *log_density, jsp_pulse *pulse,
                                jsp_error *error) {
    draw_job job = {.setup = setup,
                    .n = n,
                    .graphs = graphs,
                    .seed = seed,
                    .first_draw = first_draw,
                    .first_edge = first_edge,
                    .weights = weights,
                    .intercepts = intercepts,
                    .noise_scales = noise_scales,
                    .extra = extra,
                    .n_extra = jsp_model_n_extra(setup),
                    .log_density = log_density,
                    .pulse = pulse};
    return run(&job, n_threads, error);
}

jsp_status jsp_draws_tables(const jsp_model_setup *setup, long n, const uint8_t *graphs,
                            uint64_t seed, long first_draw, int n_threads,
                            const int64_t *first_cell, double *tables,
                            double *log_density, jsp_pulse *pulse, jsp_error *error) {
    draw_job job = {.setup = setup,
                    .n = n,
                    .graphs = graphs,
                    .seed = seed,
                    .first_draw = first_draw,
                    .first_cell = first_cell,
                    .tables = tables,
                    .log_density = log_density,
                    .pulse = pulse};
    return run(&job, n_threads, error);
}

void jsp_draws_table_sizes(const jsp_data *data, long n, const uint8_t *graphs,
                           int64_t *sizes) {
    const int D = jsp_data_n_variables(data);
    int parents[JSP_MAX_VARIABLES];
    for (long s = 0; s < n; s++) {
        for (int j = 0; j < D; j++) {
            int n_parents = find_parents(D, graphs, s, j, parents);
            size_t size = jsp_data_table_size(data, j, n_parents, parents);
            sizes[s * D + j] = size > INT64_MAX ? INT64_MAX : (int64_t)size;
        }
    }
}
