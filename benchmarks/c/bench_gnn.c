/* bench_gnn.c - the network and the heads of the published method, forward and backward, on
 * one thread: milliseconds of each part for the graphs on both sides of a batch, and GFLOP/s
 * of the network. Two rates are given: products that were done, and products that the
 * published formulas would need (12 per node of 128 x 128, forward and twice backward). The
 * limit is the peak that bench_kernels prints; here the speed of the product of 1,024 x 128
 * and 128 x 128 numbers stands beside. Times are the best of several rounds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jsp_gnn_maps.h"
#include "jsp_head_normal.h"
#include "jsp_kernels.h"

enum { ROUNDS = 8, H = JSP_GNN_WIDTH, NODES_PER_SHARD = 320 };

static double read_seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *allocate(size_t count, size_t size) {
    void *p = calloc(count + 1, size);
    if (!p) exit(1);
    return p;
}

/* Graphs with about one edge per node; mask: the rest of one order. */
static void draw_graphs(int D, int B, uint8_t *adjacency, uint8_t *mask) {
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < B * D * D; k++) {
        if (k / D % D >= k % D) continue;
        adjacency[k] = jsp_rng_uniform(&rng) < 2.0 / (D - 1);
        mask[k] = !adjacency[k];
    }
}

static double measure_product(void) {
    enum { B = 1024 };
    static jsp_real x[B * H], W[H * H], y[B * H];
    double best = HUGE_VAL;
    for (int k = 0; k < B * H; k++) x[k] = W[k % (H * H)] = (jsp_real)(k % 7);
    for (int r = 0; r < 4 * ROUNDS; r++) {
        double start = read_seconds();
        jsp_kernels_active()->dense_forward(B, H, H, x, W, NULL, NULL, 0, NULL, y);
        best = fmin(best, read_seconds() - start);
    }
    return 2e-9 * B * H * H / best;
}

static void measure_network(int D, int B) {
    const int cells = D * D, fit = NODES_PER_SHARD / D > 1 ? NODES_PER_SHARD / D : 1;
    const int per_shard = fit < B ? fit : B;
    double best[4] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL}, total = 0;
    jsp_params layout;
    jsp_params_init(&layout);
    const jsp_gnn gnn = jsp_gnn_create(&layout, D);
    jsp_gnn_shared shared;
    jsp_gnn_shard shard;
    jsp_real *params = allocate(layout.size, sizeof *params);
    jsp_real *gradient = allocate(layout.size, sizeof *gradient);
    uint8_t *adjacency = allocate((size_t)(B * cells), 1);
    uint8_t *mask = allocate((size_t)(B * cells), 1);
    if (jsp_gnn_shared_create(&gnn, &shared, NULL) != JSP_OK ||
        jsp_gnn_shard_create(&gnn, per_shard, &shard, NULL) != JSP_OK) {
        exit(1);
    }
    jsp_real *d_maps = allocate(jsp_gnn_maps_size(), sizeof *d_maps);
    jsp_real *rows = allocate(jsp_graphnet_pull_size(&gnn.graphnet, B), sizeof *rows);
    jsp_graphnet_pull pull = jsp_graphnet_pull_place(&gnn.graphnet, B, rows);
    pull.adjacency = adjacency;
    jsp_params_fill(&layout, 1, params);
    draw_graphs(D, B, adjacency, mask);
    for (int r = 0; r < ROUNDS; r++) {
        double forward = 0, backward = 0, start = read_seconds();
        jsp_graphnet_pairs_reset(&shared.pairs, D);
        jsp_graphnet_pairs_collect(&shared.pairs, D, B, adjacency);
        jsp_graphnet_pairs_finish(&shared.pairs, D);
        jsp_gnn_shared_forward(&gnn, params, &shared);
        best[0] = fmin(best[0], read_seconds() - start);
        memset(d_maps, 0, jsp_gnn_maps_size() * sizeof *d_maps);
        for (int first = 0; first < B; first += per_shard) {
            const int n = B - first < per_shard ? B - first : per_shard;
            start = read_seconds();
            jsp_gnn_shard_forward(&gnn, params, &shared, &shard, n,
                                  adjacency + first * cells, mask + first * cells, 100);
            double middle = read_seconds();
            memset(shard.d_node_features, 0, (size_t)(n * D * H) * sizeof(jsp_real));
            memset(shard.d_global_features, 0, (size_t)(n * H) * sizeof(jsp_real));
            for (int k = 0; k < n * (cells + 1); k++) shard.d_log_pi[k] = k % 7 == 0;
            const jsp_graphnet_pull rest =
                jsp_graphnet_pull_from(&gnn.graphnet, &pull, first);
            jsp_gnn_shard_backward(&gnn, params, &shared, &shard, &rest, gradient,
                                   d_maps);
            backward += read_seconds() - middle;
            forward += middle - start;
        }
        start = read_seconds();
        jsp_gnn_shared_backward(&gnn, params, &shared, &pull, d_maps, gradient);
        best[3] = fmin(best[3], read_seconds() - start);
        best[1] = fmin(best[1], forward);
        best[2] = fmin(best[2], backward);
    }
    for (int k = 0; k < 4; k++) total += best[k];
    const double nodes = (double)B * D, one = 3 * 2e-9 * H * H;
    const double done = 7 * nodes + 5.0 * B + 4.0 * shared.pairs.n + 3.0 * D + 9.0 * H;
    printf("  network: shared %.2f, forward %.2f, backward %.2f, shared back %.2f ms; "
           "%.0f GFLOP/s done, %.0f by the formulas\n",
           1e3 * best[0], 1e3 * best[1], 1e3 * best[2], 1e3 * best[3],
           done * one / total, 12 * nodes * one / total);
    jsp_gnn_shared_destroy(&shared);
    jsp_gnn_shard_destroy(&shard);
    free(params), free(gradient), free(d_maps), free(rows), free(adjacency), free(mask);
}

static void measure_head(jsp_head_kind kind, int D, int B, int K) {
    const size_t nodes = (size_t)(B * D * H), graphs = (size_t)(B * H);
    double best[4] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL};
    jsp_params layout;
    jsp_params_init(&layout);
    const jsp_head head = jsp_head_create(&layout, (jsp_head_spec){.kind = kind}, D);
    const size_t of_shared = jsp_head_shared_size(&head);
    jsp_head_state state;
    jsp_real *params = allocate(layout.size, sizeof *params);
    jsp_real *gradient = allocate(layout.size, sizeof *gradient);
    jsp_real *shared = allocate(2 * of_shared, sizeof *shared);
    jsp_real *features = allocate(2 * (nodes + graphs), sizeof *features);
    uint8_t *adjacency = allocate((size_t)(B * D * D), 1);
    uint8_t *mask = allocate((size_t)(B * D * D), 1);
    if (jsp_head_state_create(&head, B, &state, NULL) != JSP_OK) exit(1);
    jsp_params_fill(&layout, 1, params);
    draw_graphs(D, B, adjacency, mask);
    size_t n_edges = 0;
    for (int k = 0; k < B * D * D; k++) n_edges += adjacency[k];
    const size_t list = n_edges * (size_t)K;
    double *eps = allocate(3 * list + (size_t)(B * K), sizeof *eps);
    double *theta = eps + list, *slope = theta + list, *log_prob = slope + list;
    for (size_t k = 0; k < list; k++) eps[k] = (double)(k * 367 % 1000) / 500 - 1;
    for (size_t k = 0; k < nodes + graphs; k++) {
        features[k] = (jsp_real)(k * 367 % 1000) / 500 - 1;
    }
    jsp_real *d_features = features + nodes + graphs;
    for (int r = 0; r < ROUNDS; r++) {
        double time[5] = {read_seconds()};
        jsp_head_shared_forward(&head, params, shared);
        jsp_head_forward(&head, params, shared, &state, B, adjacency, NULL, features,
                         features + nodes);
        time[1] = read_seconds();
        jsp_head_normal_sample(&head, &state, 0, state.n_rows, K, eps, theta);
        memset(log_prob, 0, (size_t)(B * K) * sizeof *log_prob);
        jsp_head_normal_log_prob(&head, &state, 0, state.n_rows, K, eps, log_prob);
        memset(slope, 0, list * sizeof *slope);
        jsp_head_normal_slope(&head, &state, 0, state.n_rows, K, eps, slope);
        time[2] = read_seconds();
        jsp_head_normal_log_prob_backward(&head, &state, 0, state.n_rows, K, eps, theta,
                                          log_prob);
        jsp_head_normal_slope_backward(&head, &state, 0, state.n_rows, K, eps, theta,
                                       slope, slope);
        time[3] = read_seconds();
        jsp_head_backward(&head, params, shared, &state, d_features, d_features + nodes,
                          gradient, shared + of_shared);
        jsp_head_shared_backward(&head, shared + of_shared, gradient);
        time[4] = read_seconds();
        for (int k = 0; k < 4; k++) best[k] = fmin(best[k], time[k + 1] - time[k]);
    }
    printf("  %s: outputs %.2f, densities %.2f, back %.2f, outputs back %.2f ms\n",
           kind == JSP_HEAD_DIAG ? "diag" : "full", 1e3 * best[0], 1e3 * best[1],
           1e3 * best[2], 1e3 * best[3]);
    jsp_head_state_destroy(&state);
    free(params), free(gradient), free(shared), free(features), free(adjacency);
    free(mask), free(eps);
}

int main(void) {
    static const int cases[][3] = {{5, 64, 1}, {5, 512, 64}, {20, 64, 1}, {50, 64, 1}};
    printf("kernels %s, product of 1,024 rows %.0f GFLOP/s\n",
           jsp_kernels_active()->name, measure_product());
    for (int c = 0; c < 4; c++) {
        const int D = cases[c][0], B = cases[c][1], K = cases[c][2];
        printf("D = %d, %d graphs, K = %d\n", D, B, K);
        measure_network(D, B);
        measure_head(JSP_HEAD_DIAG, D, B, K);
        measure_head(JSP_HEAD_FULL, D, B, K);
    }
    return 0;
}
