/* test_gnn.c - the network of the published method: gradients by central differences, work
 * shared among graphs, shards, memory faults. That its numbers are those of the published
 * network is tested in Python, against golden files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_gnn_maps.h"
#include "jsp_gnn_policy.h"
#include "jsp_memory.h"

#ifdef JSP_REAL_DOUBLE
#define TOLERANCE 1e-12
#else
#define TOLERANCE 2e-4
#endif

enum { H = JSP_GNN_WIDTH };

static jsp_rng rng;

/* A network with random parameters and graphs, and weights that make one number of its
 * outputs: loss = sum of d_log_pi log_pi + d_node features + d_global features. */
typedef struct fixture {
    int D, B;
    double N;
    jsp_params layout;
    jsp_gnn gnn;
    jsp_real *params, *gradient, *d_maps, *rows;
    uint8_t *adjacency, *mask;
    double *d_log_pi;
    jsp_real *d_nodes, *d_globals;
    jsp_gnn_shared shared;
    jsp_gnn_shard shard;
} fixture;

/* Random DAGs along random orders, from none of the edges to all of them; an edge may be
 * added when it keeps to the order. The last graph is full: nothing is legal. */
static void draw_graphs(fixture *f) {
    int order[JSP_MAX_VARIABLES];
    for (int b = 0; b < f->B; b++) {
        uint8_t *adjacency = f->adjacency + b * f->D * f->D,
                *mask = f->mask + b * f->D * f->D;
        const double density = f->B > 1 ? (double)b / (f->B - 1) : 0.5;
        for (int v = 0; v < f->D; v++) {
            int other = (int)(jsp_rng_uniform(&rng) * (v + 1));
            order[v] = order[other];
            order[other] = v;
        }
        for (int i = 0; i < f->D; i++) {
            for (int j = 0; j < f->D; j++) {
                if (order[i] >= order[j]) continue;
                adjacency[i * f->D + j] = jsp_rng_uniform(&rng) < density;
                mask[i * f->D + j] = !adjacency[i * f->D + j];
            }
        }
    }
}

static int create_fixture(fixture *f, int D, int B, double N) {
    const size_t cells = (size_t)(B * D * D), rows = (size_t)(B * D * H);
    *f = (fixture){.D = D, .B = B, .N = N};
    jsp_params_init(&f->layout);
    f->gnn = jsp_gnn_create(&f->layout, D);
    f->params = malloc(f->layout.size * sizeof *f->params);
    f->gradient = calloc(f->layout.size, sizeof *f->gradient);
    jsp_params_fill(&f->layout, 3, f->params);
    for (int t = 0; t < f->layout.n_tensors; t++) {
        /* biases, scales and offsets that are not at their initial values */
        const jsp_params_tensor *tensor = &f->layout.tensor[t];
        for (int k = 0; tensor->init_scale == 0 && k < tensor->shape[0]; k++) {
            f->params[tensor->offset + (size_t)k] +=
                (jsp_real)(0.2 * jsp_rng_normal(&rng));
        }
    }
    f->adjacency = calloc(cells + 1, 1), f->mask = calloc(cells + 1, 1);
    draw_graphs(f);
    f->d_log_pi = malloc((cells + (size_t)B) * sizeof *f->d_log_pi);
    f->d_nodes = malloc(rows * sizeof *f->d_nodes);
    f->d_globals = malloc((size_t)(B * H) * sizeof *f->d_globals);
    for (size_t k = 0; k < cells + (size_t)B; k++)
        f->d_log_pi[k] = jsp_rng_normal(&rng);
    for (size_t k = 0; k < rows; k++) f->d_nodes[k] = (jsp_real)jsp_rng_normal(&rng);
    for (int k = 0; k < B * H; k++) f->d_globals[k] = (jsp_real)jsp_rng_normal(&rng);
    CHECK(jsp_gnn_shared_create(&f->gnn, &f->shared, NULL) == JSP_OK);
    CHECK(jsp_gnn_shard_create(&f->gnn, B, &f->shard, NULL) == JSP_OK);
    f->d_maps = calloc(jsp_gnn_maps_size(), sizeof *f->d_maps);
    f->rows = calloc(jsp_graphnet_pull_size(&f->gnn.graphnet, B), sizeof *f->rows);
    return 0;
}

static void destroy_fixture(fixture *f) {
    free(f->params), free(f->gradient), free(f->d_maps), free(f->rows);
    free(f->adjacency);
    free(f->mask), free(f->d_log_pi), free(f->d_nodes), free(f->d_globals);
    jsp_gnn_shared_destroy(&f->shared);
    jsp_gnn_shard_destroy(&f->shard);
}

static void prepare_shared(fixture *f) {
    jsp_graphnet_pairs_reset(&f->shared.pairs, f->D);
    jsp_graphnet_pairs_collect(&f->shared.pairs, f->D, f->B, f->adjacency);
    jsp_graphnet_pairs_finish(&f->shared.pairs, f->D);
    jsp_gnn_shared_forward(&f->gnn, f->params, &f->shared);
}

/* Graphs first .. first+B-1 through the shard; their part of the loss. */
static double run_shard(fixture *f, int first, int B) {
    const int cells = f->D * f->D;
    double loss = 0;
    jsp_gnn_shard_forward(&f->gnn, f->params, &f->shared, &f->shard, B,
                          f->adjacency + first * cells, f->mask + first * cells, f->N);
    const double *d_log_pi = f->d_log_pi + first * (cells + 1);
    const jsp_real *d_nodes = f->d_nodes + (size_t)first * (size_t)(f->D * H);
    const jsp_real *d_globals = f->d_globals + first * H;
    for (int k = 0; k < B * (cells + 1); k++) {
        if (isfinite(f->shard.log_pi[k])) loss += d_log_pi[k] * f->shard.log_pi[k];
    }
    for (int k = 0; k < B * f->D * H; k++) {
        loss += (double)d_nodes[k] * (double)f->shard.node_features[k];
    }
    for (int k = 0; k < B * H; k++) {
        loss += (double)d_globals[k] * (double)f->shard.global_features[k];
    }
    memcpy(f->shard.d_log_pi, d_log_pi, (size_t)(B * (cells + 1)) * sizeof *d_log_pi);
    memcpy(f->shard.d_node_features, d_nodes, (size_t)(B * f->D * H) * sizeof *d_nodes);
    memcpy(f->shard.d_global_features, d_globals, (size_t)(B * H) * sizeof *d_globals);
    return loss;
}

/* The gradient, with the graphs cut into shards of B. */
static void compute_gradient(fixture *f, int B) {
    memset(f->gradient, 0, f->layout.size * sizeof *f->gradient);
    prepare_shared(f);
    memset(f->d_maps, 0, jsp_gnn_maps_size() * sizeof *f->d_maps);
    const jsp_graphnet *graphnet = &f->gnn.graphnet;
    jsp_graphnet_pull pull = jsp_graphnet_pull_place(graphnet, f->B, f->rows);
    pull.adjacency = f->adjacency;
    for (int first = 0; first < f->B; first += B) {
        const jsp_graphnet_pull rest = jsp_graphnet_pull_from(graphnet, &pull, first);
        run_shard(f, first, f->B - first < B ? f->B - first : B);
        jsp_gnn_shard_backward(&f->gnn, f->params, &f->shared, &f->shard, &rest,
                               f->gradient, f->d_maps);
    }
    jsp_gnn_shared_backward(&f->gnn, f->params, &f->shared, &pull, f->d_maps,
                            f->gradient);
}

#ifdef JSP_REAL_DOUBLE
/* Loss with tensor t (or all, t < 0) moved by step times a direction. */
static double loss_along(fixture *f, const double *direction, double step) {
    jsp_real *kept = f->params;
    f->params = malloc(f->layout.size * sizeof *f->params);
    for (size_t k = 0; k < f->layout.size; k++) {
        f->params[k] = kept[k] + step * direction[k];
    }
    prepare_shared(f);
    double loss = run_shard(f, 0, f->B);
    free(f->params);
    f->params = kept;
    return loss;
}

static int check_direction(fixture *f, int t) {
    double *direction = calloc(f->layout.size, sizeof *direction), slope = 0, size = 0;
    for (int k = 0; k < f->layout.n_tensors; k++) {
        const jsp_params_tensor *tensor = &f->layout.tensor[k];
        if (t >= 0 && k != t) continue;
        for (size_t i = 0; i < (size_t)(tensor->shape[0] * tensor->shape[1]); i++) {
            double d = jsp_rng_normal(&rng), g = f->gradient[tensor->offset + i];
            direction[tensor->offset + i] = d;
            slope += d * g;
            size += g * g;
        }
    }
    /* Four points; the step is short against the distance of ReLUs from their kinks. */
    const double h = 2e-7;
    double numeric =
        (8 * (loss_along(f, direction, h) - loss_along(f, direction, -h)) -
         (loss_along(f, direction, 2 * h) - loss_along(f, direction, -2 * h))) /
        (12 * h);
    free(direction);
    if (fabs(numeric - slope) <= 1e-6 * (sqrt(size) + 1)) return 0;
    printf("tensor %s: %.12g, by differences %.12g\n",
           t < 0 ? "(all)" : f->layout.tensor[t].name, slope, numeric);
    return 1;
}

static int test_gradients(void) {
    static const int cases[][2] = {{4, 5}, {1, 2}, {7, 3}};
    for (int c = 0; c < 3; c++) {
        fixture f;
        CHECK(!create_fixture(&f, cases[c][0], cases[c][1], 1.5));
        compute_gradient(&f, f.B);
        for (int t = -1; t < f.layout.n_tensors; t++) CHECK(!check_direction(&f, t));
        destroy_fixture(&f);
    }
    return 0;
}
#endif

/* However graphs are cut into shards, outputs are the same bits and gradients the same
 * numbers. */
static int test_shards(void) {
    fixture f;
    CHECK(!create_fixture(&f, 6, 9, 4));
    const size_t actions = 9 * 37;
    double *log_pi = malloc(actions * sizeof *log_pi);
    jsp_real *whole = malloc(f.layout.size * sizeof *whole);
    prepare_shared(&f);
    run_shard(&f, 0, 9);
    memcpy(log_pi, f.shard.log_pi, actions * sizeof *log_pi);
    for (int first = 0; first < 9; first += 2) {
        int B = 9 - first < 2 ? 9 - first : 2;
        run_shard(&f, first, B);
        CHECK(memcmp(f.shard.log_pi, log_pi + first * 37,
                     (size_t)(B * 37) * sizeof *log_pi) == 0);
    }
    compute_gradient(&f, 9);
    memcpy(whole, f.gradient, f.layout.size * sizeof *whole);
    compute_gradient(&f, 4);
    double largest = 0;
    for (size_t k = 0; k < f.layout.size; k++)
        largest = fmax(largest, fabs((double)whole[k]));
    for (size_t k = 0; k < f.layout.size; k++) {
        CHECK_NEAR((double)f.gradient[k], (double)whole[k], TOLERANCE * largest);
    }
    free(log_pi), free(whole);
    destroy_fixture(&f);
    return 0;
}

/* Probabilities of each graph sum to 1; a graph without legal edges stops; rows of the
 * tables for pairs that do not occur change no bit. */
static int test_outputs(void) {
    fixture f;
    CHECK(!create_fixture(&f, 5, 8, 20));
    prepare_shared(&f);
    run_shard(&f, 0, 8);
    double *log_pi = malloc(8 * 26 * sizeof *log_pi);
    memcpy(log_pi, f.shard.log_pi, 8 * 26 * sizeof *log_pi);
    for (int b = 0; b < 8; b++) {
        double sum = 0;
        for (int a = 0; a < 26; a++) {
            CHECK(a == 25 || (f.mask[b * 25 + a] != 0) == isfinite(log_pi[b * 26 + a]));
            sum += exp(log_pi[b * 26 + a]);
        }
        CHECK_NEAR(sum, 1, 1e-5);
    }
    CHECK(log_pi[7 * 26 + 25] == 0);
    uint8_t all[25];
    for (int k = 0; k < 25; k++) all[k] = k % 6 != 0;
    jsp_graphnet_pairs_collect(&f.shared.pairs, 5, 1, all);
    jsp_graphnet_pairs_finish(&f.shared.pairs, 5);
    CHECK(f.shared.pairs.n == 20);
    jsp_gnn_shared_forward(&f.gnn, f.params, &f.shared);
    run_shard(&f, 0, 8);
    CHECK(memcmp(log_pi, f.shard.log_pi, 8 * 26 * sizeof *log_pi) == 0);
    free(log_pi);
    destroy_fixture(&f);
    return 0;
}

/* Logits thousands apart: probabilities of 0 and gradients stay finite. */
static int test_extreme_policy(void) {
    const jsp_real logits[3] = {4000, -3000, 0};
    const uint8_t mask[3] = {1, 1, 0};
    const double d_log_pi[4] = {1, 2, NAN, 3};
    double log_pi[4], d_stop;
    jsp_real d_logits[3];
    jsp_gnn_policy_forward(3, logits, -2000, mask, log_pi);
    CHECK_NEAR(log_pi[0], 0, 1e-9);
    CHECK_NEAR(log_pi[1], -7000, 1e-9);
    CHECK(log_pi[2] == -INFINITY);
    CHECK_NEAR(log_pi[3], -2000, 1e-9);
    jsp_gnn_policy_backward(3, -2000, mask, log_pi, d_log_pi, d_logits, &d_stop);
    CHECK_NEAR((double)d_logits[0], -2, 1e-6);
    CHECK_NEAR((double)d_logits[1], 2, 1e-6);
    CHECK(d_logits[2] == 0);
    CHECK_NEAR(d_stop, 3, 1e-9);
    /* what would be subnormal, and slow in the products that follow, is 0 */
    const jsp_real apart[3] = {0, -88, -40};
    const uint8_t all[3] = {1, 1, 1};
    const double one[4] = {1, 0, 0, 0};
    jsp_gnn_policy_forward(3, apart, 0, all, log_pi);
    jsp_gnn_policy_backward(3, 0, all, log_pi, one, d_logits, &d_stop);
    CHECK(d_logits[1] == 0);
    CHECK_NEAR((double)d_logits[2] / -exp(-40), 1, 1e-4);
    return 0;
}

static int test_faults(void) {
    jsp_params layout;
    jsp_params_init(&layout);
    const jsp_gnn gnn = jsp_gnn_create(&layout, 5);
    const long live = jsp_memory_live();
    for (int fault = 0; fault < 2; fault++) {
        jsp_gnn_shared shared;
        jsp_gnn_shard shard;
        jsp_error error = {0};
        const jsp_status expected = fault ? JSP_ERROR_MEMORY : JSP_OK;
        jsp_memory_fail_at(fault);
        CHECK(jsp_gnn_shared_create(&gnn, &shared, &error) == expected);
        jsp_memory_fail_at(fault);
        CHECK(jsp_gnn_shard_create(&gnn, 3, &shard, &error) == expected);
        CHECK(error.code == expected);
        jsp_gnn_shared_destroy(&shared);
        jsp_gnn_shard_destroy(&shard);
        CHECK(jsp_memory_live() == live);
    }
    jsp_gnn_shared_destroy(NULL);
    jsp_gnn_shard_destroy(NULL);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
#ifdef JSP_REAL_DOUBLE
        {"gradients", test_gradients},
#endif
        {"shards", test_shards},
        {"outputs", test_outputs},
        {"extreme policy", test_extreme_policy},
        {"faults", test_faults},
    };
    jsp_rng_init(&rng, 31, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
