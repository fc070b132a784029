/* bench_step.c - where the time of one training update goes.
 *
 * A policy is trained for a while on simulated linear-Gaussian data, then the parts of
 * an update are run one by one on one thread, many times, in the sizes of the balance
 * phase (32 chains, 32 own draws, 8 shards), and set against whole updates timed in the
 * same run. The network's part is measured by replaying its products on as many rows;
 * its limit is the peak of multiply-adds in registers that bench_kernels prints.
 *
 *     bench_step [variables] [updates of training] [rows] [candidates]
 *     default 12 600 100, all other variables up to 20 and the 12 best beyond */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jsp_candidates.h"
#include "jsp_kernels.h"
#include "jsp_trainer.h"

enum { CHAINS = 32, SHARDS = 8, ROUNDS = 40, MAX_D = JSP_MAX_VARIABLES };
enum { MAX_ROWS = 10000, CACHE_BYTES = 1 << 23 };
enum { PER_SHARD = CHAINS / SHARDS, T = 2 * PER_SHARD };

/* Processor time: other programs on the machine disturb it less. */
static double read_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

static void require(jsp_status status, const jsp_error *error) {
    if (status == JSP_OK) return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/* Erdos-Renyi graph with one edge per node, weights N(0, 1), noise variance 0.1. */
static void simulate(int D, int n_rows, double *x) {
    jsp_rng rng;
    static double weight[MAX_D][MAX_D];
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int j = 0; j < D; j++) {
        for (int i = 0; i < j; i++) {
            double normal = jsp_rng_normal(&rng);
            if (jsp_rng_uniform(&rng) < 2.0 / (D - 1)) weight[i][j] = normal;
        }
    }
    for (int row = 0; row < n_rows; row++) {
        for (int j = 0; j < D; j++) {
            double value = sqrt(0.1) * jsp_rng_normal(&rng);
            for (int i = 0; i < j; i++) value += weight[i][j] * x[row * D + i];
            x[row * D + j] = value;
        }
    }
}

static jsp_scores *tabulate(int D, int n_rows, int K) {
    static double x[MAX_ROWS * MAX_D];
    static int candidates[MAX_D * MAX_D];
    int counts[MAX_D];
    const int *rows[MAX_D];
    jsp_error error;
    jsp_data *data;
    jsp_scores *scores;
    simulate(D, n_rows, x);
    require(jsp_data_create(x, NULL, n_rows, D, 1, &data, &error), &error);
    jsp_model_setup setup = {.model = jsp_model_find("linear"), .data = data};
    for (int k = 0; k < setup.model->n_fields; k++) {
        setup.field[k] = setup.model->fields[k].default_value;
    }
    jsp_scores_config config = {.candidates = rows, .n_candidates = counts};
    require(jsp_candidates_select(&setup, &config, K, 1, candidates, counts, &error),
            &error);
    for (int j = 0; j < D; j++) rows[j] = candidates + (size_t)j * (size_t)K;
    require(jsp_scores_create(&setup, &config, 1, &scores, &error), &error);
    jsp_data_destroy(data);
    return scores;
}

/* ---- the parts ------------------------------------------------------------------- */

typedef struct parts {
    jsp_trainer_view view;
    jsp_edges *edges;
    jsp_edges_rollout *rollout;
    jsp_edges_cache cache;
    jsp_adam adam;
    jsp_chain_moves moves;
    jsp_chain_state chain;
    jsp_bits chain_parents[MAX_D];
    jsp_real *d_params;
    double *uniform; /* [PER_SHARD, slots] */
    jsp_edges_walk walk[T];
    double weight[T];
    jsp_rng rng;
    long n_options;
} parts;

static void move_chains(parts *p) {
    for (int c = 0; c < PER_SHARD; c++) {
        jsp_chain_step(p->view.scores, &p->moves, 1, 200, &p->rng, &p->chain);
    }
}

static void run_forward(parts *p) {
    const int D = p->view.scores->n_variables, slots = p->edges->n_slots;
    jsp_rng_fill_uniform(&p->rng, PER_SHARD * slots, p->uniform);
    for (int t = 0; t < T; t++) {
        p->walk[t] = (jsp_edges_walk){0};
        if (t < PER_SHARD) {
            p->walk[t].uniform = p->uniform + t * slots;
        } else {
            p->walk[t].target = p->view.chain_parents + t * D;
        }
    }
    jsp_edges_rollout_forward(p->rollout, p->view.params, &p->cache, T, p->walk);
    p->n_options = jsp_edges_rollout_n_options(p->rollout);
}

/* A record serves one backward pass, so the walks come along. */
static void run_both(parts *p) {
    run_forward(p);
    memset(p->d_params, 0, p->view.layout->size * sizeof *p->d_params);
    jsp_edges_rollout_backward(p->rollout, p->view.params, T, p->weight, NULL,
                               p->d_params);
}

/* The network alone, forward, in the batches of a slot. */
static void replay_network(parts *p) {
    enum { F = JSP_EDGES_FEATURES, H = JSP_EDGES_MAX_HIDDEN };
    static jsp_real x[2 * T * F], h1[2 * T * H], h2[2 * T * H];
    jsp_real *hidden[2] = {h1, h2};
    const int slots = p->edges->n_slots;
    for (int s = 0; s < slots; s++) {
        int n = (int)(p->n_options * (s + 1) / slots - p->n_options * s / slots);
        if (n) jsp_mlp_forward(&p->edges->mlp, p->view.params, n, x, h1, hidden);
    }
}

static void run_optimiser(parts *p) {
    const size_t size = p->view.layout->size;
    for (int s = 1; s < SHARDS; s++)
        jsp_kernels_active()->add(size, p->d_params, p->d_params);
    memset(p->d_params, 0, size * sizeof *p->d_params);
    jsp_adam_step(&p->adam, 0, p->d_params, p->view.params);
}

/* Best seconds of one call, over many. */
static double measure(void (*run)(parts *), parts *p) {
    double best = INFINITY;
    for (int k = 0; k < ROUNDS; k++) {
        double begin = read_seconds();
        run(p);
        best = fmin(best, read_seconds() - begin);
    }
    return best;
}

static void prepare(parts *p, jsp_trainer *trainer) {
    jsp_error error;
    p->view = jsp_trainer_state_open(trainer);
    const jsp_scores *scores = p->view.scores;
    require(jsp_edges_create(scores, 0, &p->edges, &error), &error);
    require(jsp_edges_rollout_create(p->edges, T, 1, &p->rollout, &error), &error);
    require(jsp_edges_cache_create(&p->cache, scores, CACHE_BYTES, &error), &error);
    require(jsp_adam_create(&p->adam, p->view.layout->size, p->view.params, &error),
            &error);
    require(jsp_chain_moves_create(&p->moves, scores, &error), &error);
    p->chain = (jsp_chain_state){p->view.chain_parents, p->chain_parents};
    jsp_chain_set(scores, p->view.chain_parents, &p->chain);
    p->d_params = calloc(p->view.layout->size, sizeof *p->d_params);
    p->uniform = calloc((size_t)(PER_SHARD * p->edges->n_slots), sizeof *p->uniform);
    if (!p->d_params || !p->uniform) exit(1);
    jsp_rng_init(&p->rng, 2, 0, 0, JSP_RNG_TEST);
    for (int t = 0; t < T; t++) p->weight[t] = 0.01 * (t - T / 2);
}

static void print_part(const char *name, double seconds, double whole) {
    printf("  %-34s %8.1f us   %5.1f %%\n", name, 1e6 * seconds, 100 * seconds / whole);
}

int main(int argc, char **argv) {
    const int D = argc > 1 ? atoi(argv[1]) : 12;
    const long n_updates = argc > 2 ? atol(argv[2]) : 600;
    static parts p;
    static jsp_trainer_metrics metrics[1 << 16];
    jsp_trainer *trainer;
    jsp_error error;
    long n_done;
    const int n_rows = argc > 3 ? atoi(argv[3]) : 100;
    const int K = argc > 4 ? atoi(argv[4]) : D <= 20 ? D - 1 : 12;
    if (D < 2 || D > MAX_D || n_updates < 1 || n_updates > 1 << 16) return 2;
    if (n_rows < 1 || n_rows > MAX_ROWS || K < 1 || K >= D) return 2;
    jsp_scores *scores = tabulate(D, n_rows, K);
    jsp_trainer_config config = {
        .schedule = {.n_updates = n_updates,
                     .likelihood_fraction = 0.2,
                     .learning_rate = 5e-3},
        .batch_size = CHAINS,
        .seed = 3,
        .n_threads = 1,
    };
    jsp_trainer_tuning_default(CHAINS, D, &config.tuning);
    require(jsp_trainer_create(scores, &config, &trainer, &error), &error);
    require(jsp_trainer_step(trainer, n_updates, 0, metrics, &n_done, &error), &error);
    double whole = INFINITY;
    for (int k = 0; k < ROUNDS; k++) {
        double begin = read_seconds();
        require(jsp_trainer_step(trainer, 1, 1, metrics, &n_done, &error), &error);
        whole = fmin(whole, read_seconds() - begin);
    }
    prepare(&p, trainer);
    for (int k = 0; k < 20; k++) run_forward(&p); /* fill the cache of odds */
    double forward = measure(run_forward, &p);
    double network = measure(replay_network, &p);
    double backward = measure(run_both, &p) - forward;
    double chains = measure(move_chains, &p);
    double optimiser = measure(run_optimiser, &p);
    double macs = (double)p.n_options * SHARDS *
                  (JSP_EDGES_FEATURES + p.edges->hidden) * p.edges->hidden;
    printf("D = %d, kernels %s, %zu parameters, %.1f options per walk\n", D,
           jsp_kernels_active()->name, p.view.layout->size, (double)p.n_options / T);
    printf("one update of the balance phase, one thread: %.1f us, %.2f us per walk\n",
           1e6 * whole, 1e6 * whole / (2 * CHAINS));
    printf("rows of odds: %.1f asked for per walk, %.2f %% of them computed\n",
           (double)p.cache.n_lookups / (T * (20 + ROUNDS)),
           100.0 * (double)p.cache.n_misses / (double)p.cache.n_lookups);
    print_part("chains, 200 moves each", SHARDS * chains, whole);
    print_part("walks forward: features and state", SHARDS * (forward - network),
               whole);
    print_part("walks forward: network", SHARDS * network, whole);
    print_part("walks backward", SHARDS * backward, whole);
    print_part("sum of gradients, Adam, average", optimiser, whole);
    print_part("sum of the parts", SHARDS * (chains + forward + backward) + optimiser,
               whole);
    printf("network forward: %.1f GFLOP/s\n", 2e-9 * macs / (SHARDS * network));
    return 0;
}
