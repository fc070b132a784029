#include "jsp_draws.h"

#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Graphs per task. */
#define GROUP 64

typedef struct draw_job {
    const jsp_model_setup *setup;
    long n;
    const uint8_t *graphs;
    uint64_t seed;
    long first_draw;
    const long *first_edge;
    double *weights, *intercepts, *noise_scales, *log_density;
    double *feature_weights; /* NULL when the model has none */
    int n_features;
    const int64_t *first_cell; /* discrete data */
    double *tables;
    jsp_error *error; /* [tasks] */
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

/* Draws node j of one graph. place [D, D]: position of edge (i, j) among the weights. */
static jsp_status draw_node(const draw_job *job, long s, int j, const long *place,
                            jsp_error *error) {
    const int D = jsp_data_n_variables(job->setup->data);
    int parents[JSP_MAX_VARIABLES];
    int n_parents = find_parents(D, job->graphs, s, j, parents);
    double weight[JSP_MAX_VARIABLES];
    jsp_rng rng;
    jsp_rng_init(&rng, job->seed, (uint32_t)j, (uint32_t)(job->first_draw + s),
                 JSP_RNG_PARAMETER);
    jsp_model_draw draw = {.weight = weight};
    if (job->tables) draw.table = job->tables + job->first_cell[s * D + j];
    if (job->feature_weights) {
        draw.feature_weight =
            job->feature_weights + (size_t)(s * D + j) * (size_t)job->n_features;
    }
    jsp_status status =
        job->setup->model->draw(job->setup, j, n_parents, parents, &rng, &draw, error);
    if (status != JSP_OK) return status;
    job->log_density[s] += draw.log_density;
    if (job->tables) return JSP_OK;
    for (int k = 0; k < n_parents; k++) {
        job->weights[place[parents[k] * D + j]] = weight[k];
    }
    job->intercepts[s * D + j] = draw.intercept;
    job->noise_scales[s * D + j] = draw.noise_scale;
    return JSP_OK;
}

static jsp_status draw_graph(const draw_job *job, long s, jsp_error *error) {
    const int D = jsp_data_n_variables(job->setup->data);
    const uint8_t *graph = job->graphs + (size_t)s * (size_t)D * (size_t)D;
    long place[JSP_MAX_VARIABLES * JSP_MAX_VARIABLES];
    long next = job->first_edge ? job->first_edge[s] : 0;
    for (int cell = 0; cell < D * D; cell++) {
        if (graph[cell]) place[cell] = next++;
    }
    job->log_density[s] = 0;
    for (int j = 0; j < D; j++) {
        jsp_status status = draw_node(job, s, j, place, error);
        if (status != JSP_OK) return status;
    }
    return JSP_OK;
}

static void draw_group(void *context, int task, int worker) {
    draw_job *job = context;
    const long first = (long)task * GROUP;
    const long last = first + GROUP < job->n ? first + GROUP : job->n;
    (void)worker;
    for (long s = first; s < last; s++) {
        if (draw_graph(job, s, &job->error[task]) != JSP_OK) return;
    }
}

static jsp_status run(draw_job *job, int n_threads, jsp_error *error) {
    const long n_tasks = (job->n + GROUP - 1) / GROUP;
    job->error = jsp_memory_alloc((size_t)n_tasks, sizeof *job->error);
    if (!job->error) {
        return jsp_status_no_memory(error, sizeof *job->error, "draws of parameters");
    }
    jsp_status status = JSP_OK;
    jsp_parallel_for(n_threads, (int)n_tasks, draw_group, job);
    for (long task = 0; task < n_tasks && status == JSP_OK; task++) {
        status = job->error[task].code;
        if (status != JSP_OK) {
            jsp_status_set(error, status, "%s", job->error[task].message);
        }
    }
    jsp_memory_free(job->error);
    return status;
}

jsp_status jsp_draws_parameters(const jsp_model_setup *setup, long n,
                                const uint8_t *graphs, uint64_t seed, long first_draw,
                                int n_threads, const long *first_edge, double *weights,
                                double *intercepts, double *noise_scales,
                                double *feature_weights, double *log_density,
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
                    .feature_weights = feature_weights,
                    .n_features = jsp_model_n_features(setup),
                    .log_density = log_density};
    return run(&job, n_threads, error);
}

jsp_status jsp_draws_tables(const jsp_model_setup *setup, long n, const uint8_t *graphs,
                            uint64_t seed, long first_draw, int n_threads,
                            const int64_t *first_cell, double *tables,
                            double *log_density, jsp_error *error) {
    draw_job job = {.setup = setup,
                    .n = n,
                    .graphs = graphs,
                    .seed = seed,
                    .first_draw = first_draw,
                    .first_cell = first_cell,
                    .tables = tables,
                    .log_density = log_density};
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
