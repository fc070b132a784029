/* jsp_gnn_shared.c - what all graphs of a step have in common, once per step: linear maps
 * multiplied together, transposed matrices, tables of edges; and their gradients. */
#include "jsp_gnn.h"
#include "jsp_gnn_maps.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_places.h"

enum { H = JSP_GNN_WIDTH };

static jsp_real *take_reals(jsp_places *p, size_t count) {
    return jsp_places_take(p, count, sizeof(jsp_real));
}

static void place_shared(const jsp_gnn *gnn, jsp_gnn_shared *shared, jsp_places *p) {
    const int D = gnn->D, n_pairs = D * (D - 1);
    const size_t nodes = (size_t)D, pairs = (size_t)n_pairs;
    shared->pairs.sender = jsp_places_take(p, pairs, sizeof(int));
    shared->pairs.receiver = jsp_places_take(p, pairs, sizeof(int));
    shared->pairs.row = jsp_places_take(p, nodes * nodes, sizeof(int));
    const size_t of_tables = jsp_graphnet_tables_size(&gnn->graphnet, n_pairs);
    shared->map_block = take_reals(p, jsp_gnn_maps_size());
    shared->table_block = take_reals(p, of_tables);
    shared->d_table_block = take_reals(p, of_tables);
    for (int k = 0; k < JSP_GNN_TURNED; k++) shared->turned[k] = take_reals(p, H * H);
    shared->map_cache = take_reals(p, jsp_gnn_maps_cache_size());
    shared->table_cache =
        take_reals(p, jsp_graphnet_cache_size(&gnn->graphnet, n_pairs));
    shared->scratch = take_reals(p, 2 * (pairs + nodes) * H);
}

jsp_status jsp_gnn_shared_create(const jsp_gnn *gnn, jsp_gnn_shared *shared,
                                 jsp_error *error) {
    jsp_places p = {0};
    *shared = (jsp_gnn_shared){0};
    place_shared(gnn, shared, &p);
    shared->memory = p.base = jsp_memory_alloc(p.used, 1);
    if (!p.base) return jsp_status_no_memory(error, p.used, "the tables of a step");
    p.used = 0;
    place_shared(gnn, shared, &p);
    return JSP_OK;
}

void jsp_gnn_shared_destroy(jsp_gnn_shared *shared) {
    if (!shared) return;
    jsp_memory_free(shared->memory);
    *shared = (jsp_gnn_shared){0};
}

typedef struct shared_job {
    const jsp_gnn *gnn;
    const jsp_real *params;
    jsp_gnn_shared *shared;
    /* backward */
    const jsp_graphnet_pull *pull;
    jsp_gnn_maps d_maps;
    jsp_real *d_params;
} shared_job;

static void turn(const jsp_real *W, jsp_real *turned) {
    jsp_kernels_active()->transpose(H, H, W, H, turned, H);
}

/* All transposed matrices that are no maps. */
static void turn_layers(const jsp_gnn *gnn, const jsp_real *params,
                        const jsp_gnn_shared *shared) {
    const jsp_linear *layer[] = {
        &gnn->attention,          &gnn->sender[0],
        &gnn->receiver[0],        &gnn->stop[0],
        &gnn->graphnet.node[1],   &gnn->graphnet.global[0],
        &gnn->graphnet.global[1],
    };
    for (int k = JSP_GNN_ATTENTION; k < JSP_GNN_TURNED; k++) {
        turn(params + layer[k - JSP_GNN_ATTENTION]->weight, shared->turned[k]);
    }
}

/* The maps, other matrices to be transposed, then blocks of pairs. */
static void forward_task(void *context, int task, int worker) {
    const shared_job *job = context;
    const jsp_gnn_shared *shared = job->shared;
    const jsp_real *map[JSP_GNN_MAPS_TASKS] = {shared->maps.query, shared->maps.key,
                                               shared->maps.value, shared->maps.pair};
    (void)worker;
    if (task < JSP_GNN_MAPS_TASKS) {
        jsp_gnn_maps_forward(job->gnn, job->params, &shared->maps, shared->map_cache,
                             task);
        turn(map[task], shared->turned[JSP_GNN_QUERY + task]);
        return;
    }
    if (task == JSP_GNN_MAPS_TASKS) {
        turn_layers(job->gnn, job->params, shared);
        return;
    }
    jsp_graphnet_block_forward(&job->gnn->graphnet, job->params, &shared->pairs,
                               &shared->tables, shared->table_cache,
                               task - JSP_GNN_MAPS_TASKS - 1);
}

/* The maps, then rows of the tables, node by node. */
static void collect_task(void *context, int task, int worker) {
    const shared_job *job = context;
    const jsp_gnn_shared *shared = job->shared;
    (void)worker;
    if (task < JSP_GNN_MAPS_TASKS) {
        jsp_gnn_maps_backward(job->gnn, job->params, &job->d_maps, shared->map_cache,
                              job->d_params, task);
        return;
    }
    jsp_graphnet_node_backward(&job->gnn->graphnet, &shared->pairs, job->pull,
                               &shared->d_tables, task - JSP_GNN_MAPS_TASKS);
}

/* The weights of tables, which take longest, then blocks of pairs. */
static void backward_task(void *context, int task, int worker) {
    const shared_job *job = context;
    const jsp_gnn_shared *shared = job->shared;
    const jsp_graphnet *graphnet = &job->gnn->graphnet;
    (void)worker;
    if (task < JSP_GRAPHNET_WEIGHTS) {
        jsp_graphnet_weight_backward(graphnet, &shared->pairs, &shared->d_tables,
                                     shared->table_cache, job->d_params, task);
        return;
    }
    jsp_graphnet_block_backward(graphnet, job->params, &shared->pairs,
                                &shared->d_tables, shared->table_cache, shared->scratch,
                                task - JSP_GRAPHNET_WEIGHTS);
}

static void finish_task(void *context, int task, int worker) {
    const shared_job *job = context;
    const jsp_gnn_shared *shared = job->shared;
    (void)worker;
    if (task == 0) {
        jsp_graphnet_tables_backward(&job->gnn->graphnet, job->params, &shared->pairs,
                                     &shared->d_tables, shared->table_cache,
                                     job->d_params, shared->scratch);
    } else {
        jsp_gnn_maps_backward_finish(job->gnn, shared->map_cache, job->d_params);
    }
}

void jsp_gnn_shared_forward(const jsp_gnn *gnn, const jsp_real *params,
                            jsp_gnn_shared *shared) {
    const jsp_graphnet *graphnet = &gnn->graphnet;
    const int n_pairs = shared->pairs.n;
    shared->maps = jsp_gnn_maps_place(shared->map_block);
    shared->tables = jsp_graphnet_tables_place(graphnet, n_pairs, shared->table_block);
    shared->d_tables =
        jsp_graphnet_tables_place(graphnet, n_pairs, shared->d_table_block);
    shared_job job = {.gnn = gnn, .params = params, .shared = shared};
    jsp_graphnet_tables_forward(graphnet, params, &shared->pairs, &shared->tables,
                                shared->table_cache);
    jsp_parallel_team_for(shared->team,
                          JSP_GNN_MAPS_TASKS + 1 +
                              jsp_graphnet_n_blocks(&shared->pairs),
                          forward_task, &job);
}

void jsp_gnn_shared_backward(const jsp_gnn *gnn, const jsp_real *params,
                             jsp_gnn_shared *shared, const jsp_graphnet_pull *pull,
                             jsp_real *d_maps, jsp_real *d_params) {
    shared_job job = {
        .gnn = gnn,
        .params = params,
        .shared = shared,
        .pull = pull,
        .d_maps = jsp_gnn_maps_place(d_maps),
        .d_params = d_params,
    };
    jsp_parallel_team_for(shared->team, JSP_GNN_MAPS_TASKS + gnn->D, collect_task,
                          &job);
    jsp_parallel_team_for(shared->team,
                          JSP_GRAPHNET_WEIGHTS + jsp_graphnet_n_blocks(&shared->pairs),
                          backward_task, &job);
    jsp_parallel_team_for(shared->team, 2, finish_task, &job);
}
