/* test_gnn_loss.c - the loss of the published method: pairs of samples against all K^2 of
 * them, the linear model at given weights against its evidence, gradients by central
 * differences; replay, training and draws. Parity with the published numbers is tested in
 * Python. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_gnn_density.h"
#include "jsp_gnn_trainer.h"
#include "jsp_memory.h"
#include "jsp_rows.h"

enum { D = 4, N = 30, K = 5, CELLS = D * D };

static jsp_rng rng;

/* ---- pairs --------------------------------------------------------------------------- */

static double all_pairs(const jsp_gnn_loss_config *c, double constant, const double *b,
                        const double *a) {
    double sum = 0;
    for (int k = 0; k < K; k++) {
        for (int l = 0; l < K; l++) {
            double x = fabs(a[k] - b[l] + constant) / c->residual_scale;
            sum += x <= c->delta ? x * x / 2 : c->delta * (x - c->delta / 2);
        }
    }
    return sum / (K * K);
}

static int test_pairs(void) {
    for (int round = 0; round < 60; round++) {
        /* from all pairs quadratic to all linear */
        const jsp_gnn_loss_config c = {pow(10, round % 6 - 2), 0.7, 1};
        double b[K], a[K], d_b[K], d_a[K], d_constant;
        const double constant = 3 * jsp_rng_normal(&rng), h = 1e-6;
        jsp_gnn_loss_sums sums = {0};
        for (int k = 0; k < K; k++) {
            b[k] = jsp_rng_normal(&rng);
            a[k] = jsp_rng_normal(&rng);
        }
        double value =
            jsp_gnn_loss_pairs(&c, K, constant, b, a, d_b, d_a, &d_constant, &sums);
        const double tolerance = 1e-12 * (1 + value);
        CHECK_NEAR(value, all_pairs(&c, constant, b, a), tolerance);
        double slack = 1e-7 * (1 + value);
        double d =
            all_pairs(&c, constant + h, b, a) - all_pairs(&c, constant - h, b, a);
        CHECK_NEAR(d / (2 * h), d_constant, slack);
        for (int k = 0; k < K; k++) {
            double *number[2] = {&a[k], &b[k]}, gradient[2] = {d_a[k], d_b[k]};
            for (int s = 0; s < 2; s++) {
                const double kept = *number[s];
                *number[s] = kept + h;
                d = all_pairs(&c, constant, b, a);
                *number[s] = kept - h;
                d -= all_pairs(&c, constant, b, a);
                *number[s] = kept;
                CHECK_NEAR(d / (2 * h), gradient[s], slack);
            }
        }
    }
    return 0;
}

/* ---- a problem ----------------------------------------------------------------------- */

typedef struct problem {
    jsp_data *data;
    jsp_rows rows;
    jsp_gnn_target target;
} problem;

enum { U = 2 };

static int create_problem(problem *p, int intercept, int is_mlp) {
    double x[N * D];
    uint8_t mask[N * D];
    memset(p, 0, sizeof *p);
    for (int k = 0; k < N * D; k++) {
        x[k] = 1 + jsp_rng_normal(&rng) + (k % D ? 0.5 * x[k - 1] : 0);
        mask[k] = jsp_rng_uniform(&rng) < 0.1;
    }
    CHECK(jsp_data_create(x, mask, N, D, 1, &p->data, NULL) == JSP_OK);
    p->target = (jsp_gnn_target){.D = D};
    p->target.setup =
        (jsp_model_setup){&jsp_model_linear, p->data, {0.8, 1.3}, intercept, NULL};
    CHECK(jsp_data_keep_rows(p->data, x, mask, N, NULL) == JSP_OK);
    if (is_mlp) {
        CHECK(jsp_rows_create(p->data, N, 0, &p->rows, NULL) == JSP_OK);
        jsp_rows_fill(&p->rows, p->data, N, NULL);
        p->target.setup =
            (jsp_model_setup){&jsp_model_mlp, p->data, {0.8, U}, 0, &p->rows};
    }
    for (int j = 0; j < D; j++) {
        p->target.max_parents[j] = D;
        p->target.log_weight[j] = -0.3 * j;
        p->target.allowed[j] = jsp_bits_minus(jsp_bits_first(D), jsp_bits_single(j));
    }
    return 0;
}

static void destroy_problem(problem *p) {
    jsp_rows_destroy(&p->rows);
    jsp_data_destroy(p->data);
}

static int test_model(void) {
    for (int intercept = 0; intercept < 2; intercept++) {
        problem p;
        jsp_error error;
        const int parents[] = {0, 2, 3}, node = 1, n = 3;
        CHECK(create_problem(&p, intercept, 0) == 0);
        const jsp_model_setup *setup = &p.target.setup;
        double weight[3], slope[3], evidence, log_joint = 0;
        jsp_model_draw draw = {.weight = weight};
        CHECK(jsp_model_linear.draw(setup, node, n, parents, &rng, &draw, &error) ==
              JSP_OK);
        CHECK(jsp_model_linear.evidence(setup, node, n, parents, &evidence, &error) ==
              JSP_OK);
        jsp_model_linear.log_joint(setup, node, n, parents, 1, weight, &log_joint,
                                   slope);
        CHECK_NEAR(log_joint - draw.log_density, evidence, 1e-9);
        for (int a = 0; a < n; a++) {
            double up = 0, down = 0, moved[3], high[3], low[3], d[3] = {0}, pulled[3];
            const double h = 1e-4;
            memcpy(moved, weight, sizeof moved);
            moved[a] = weight[a] + h;
            jsp_model_linear.log_joint(setup, node, n, parents, 1, moved, &up, high);
            moved[a] = weight[a] - h;
            jsp_model_linear.log_joint(setup, node, n, parents, 1, moved, &down, low);
            CHECK_NEAR((up - down) / (2 * h), slope[a], 1e-6 * (1 + fabs(slope[a])));
            d[a] = 1;
            jsp_model_linear.pull_slope(setup, node, n, parents, 1, weight, d, pulled);
            for (int c = 0; c < n; c++) {
                CHECK_NEAR((high[c] - low[c]) / (2 * h), pulled[c], 1e-6);
            }
        }
        destroy_problem(&p);
    }
    return 0;
}

/* ---- the whole loss, in the double build ---------------------------------------------- */

#ifdef JSP_REAL_DOUBLE

typedef struct batch {
    jsp_gnn_net net;
    jsp_gnn_side side[2];
    jsp_real *params, *gradient, *rows;
    uint8_t *graphs; /* of both sides */
    double scratch[4 * K];
    int action[2];
} batch;

static jsp_gnn_loss_config config = {2.0, 1.0, 0.5};

static double compute_loss(batch *f, const problem *p) {
    jsp_gnn_loss_sums sums = {0};
    jsp_gnn_net_forward_all(&f->net, f->params);
    for (int s = 0; s < 2; s++) {
        jsp_gnn_side_forward(&f->net, f->params, &f->side[s], 2, 3.0);
        jsp_gnn_side_sample(&f->net, &p->target, &f->side[s]);
    }
    jsp_gnn_loss_transitions(&config, &f->net, 0.5, f->action, &f->side[0], &f->side[1],
                             f->scratch, &sums);
    return 0.5 * (sums.huber + config.penalty_weight * sums.penalty);
}

/* Transitions: empty graph + (0 -> 1); {0 -> 2, 1 -> 2, 1 -> 3} + (2 -> 3). */
static int create_batch(batch *f, const problem *p, jsp_head_spec head,
                        int is_partial) {
    memset(f, 0, sizeof *f);
    CHECK(jsp_gnn_net_create(&f->net, D, head, NULL) == JSP_OK);
    const size_t size = f->net.layout.size;
    f->params = malloc(size * sizeof *f->params);
    f->gradient = calloc(jsp_gnn_net_gradient_size(&f->net), sizeof *f->gradient);
    f->rows = calloc(jsp_graphnet_pull_size(&f->net.gnn.graphnet, 4), sizeof *f->rows);
    f->graphs = malloc(4 * CELLS);
    for (size_t k = 0; k < size; k++) {
        f->params[k] = (jsp_real)(0.1 * jsp_rng_normal(&rng));
    }
    f->action[0] = 0 * D + 1;
    f->action[1] = 2 * D + 3;
    jsp_dag_batch dags;
    CHECK(jsp_dag_batch_create(&dags, 2, D, 0, NULL) == JSP_OK);
    jsp_dag_add(&dags.dag[1], 0, 2);
    jsp_dag_add(&dags.dag[1], 1, 2);
    jsp_dag_add(&dags.dag[1], 1, 3);
    for (int s = 0; s < 2; s++) {
        CHECK(jsp_gnn_side_create(&f->net, 2, K, &f->side[s], NULL) == JSP_OK);
        f->side[s].is_partial = is_partial;
        for (int b = 0; b < 2; b++) {
            f->side[s].only[b] = f->action[b] % D;
            jsp_gnn_target_graph(&dags.dag[b], f->side[s].adjacency + b * CELLS);
            jsp_gnn_target_mask(&p->target, &dags.dag[b], f->side[s].mask + b * CELLS);
            if (s == 0) jsp_dag_add(&dags.dag[b], f->action[b] / D, f->action[b] % D);
        }
        for (int k = 0; k < 2 * K * (int)jsp_head_max_entries(&f->net.head); k++) {
            f->side[s].eps[k] = jsp_rng_normal(&rng);
        }
    }
    for (int s = 0; s < 2; s++) {
        memcpy(f->graphs + s * 2 * CELLS, f->side[s].adjacency, 2 * CELLS);
    }
    jsp_dag_batch_destroy(&dags);
    return 0;
}

/* Both sides, each by itself. */
static void compute_gradient(batch *f, const problem *p) {
    const jsp_graphnet *graphnet = &f->net.gnn.graphnet;
    jsp_graphnet_pull pull = jsp_graphnet_pull_place(graphnet, 4, f->rows);
    pull.adjacency = f->graphs;
    const jsp_gnn_net_gradient all =
        jsp_gnn_net_gradient_place(&f->net, f->gradient, pull);
    for (int s = 0; s < 2; s++) {
        jsp_gnn_net_gradient part = all;
        part.pull = jsp_graphnet_pull_from(graphnet, &pull, 2 * s);
        jsp_gnn_side_backward(&f->net, &p->target, f->params, &f->side[s], &part);
    }
    jsp_gnn_net_backward(&f->net, f->params, &all);
}

static void destroy_batch(batch *f) {
    jsp_gnn_side_destroy(&f->side[0]);
    jsp_gnn_side_destroy(&f->side[1]);
    jsp_gnn_net_destroy(&f->net);
    free(f->params);
    free(f->gradient);
    free(f->rows);
    free(f->graphs);
}

/* Both sides at once, where G' copies from G what the new edge leaves alone and has no
 * logits of edges, against each side by itself: the same loss and the same gradient. */
static int test_next(void) {
    const jsp_head_spec head = {JSP_HEAD_DIAG, 0, 0};
    problem p;
    batch f;
    jsp_gnn_loss_sums sums = {0};
    config = (jsp_gnn_loss_config){2.0, 1.0, 0.5};
    CHECK(create_problem(&p, 0, 0) == 0);
    CHECK(create_batch(&f, &p, head, 0) == 0);
    const double loss = compute_loss(&f, &p);
    const size_t size = jsp_gnn_net_gradient_size(&f.net), n = f.net.layout.size;
    jsp_real *alone = malloc(n * sizeof *alone);
    jsp_graphnet_pull pull = jsp_graphnet_pull_place(&f.net.gnn.graphnet, 2, f.rows);
    pull.adjacency = f.side[0].adjacency;
    pull.action = f.action;
    const jsp_gnn_net_gradient g = jsp_gnn_net_gradient_place(&f.net, f.gradient, pull);
    compute_gradient(&f, &p);
    memcpy(alone, f.gradient, n * sizeof *alone);
    memset(f.gradient, 0, size * sizeof *f.gradient);
    f.side[1].shard.stops_only = 1;
    jsp_gnn_net_forward_all(&f.net, f.params);
    jsp_gnn_side_forward(&f.net, f.params, &f.side[0], 2, 3.0);
    jsp_gnn_side_forward_next(&f.net, f.params, &f.side[0], &f.side[1], f.action, 3.0);
    for (int s = 0; s < 2; s++) jsp_gnn_side_sample(&f.net, &p.target, &f.side[s]);
    jsp_gnn_loss_transitions(&config, &f.net, 0.5, f.action, &f.side[0], &f.side[1],
                             f.scratch, &sums);
    const double exact = 1e-11;
    CHECK_NEAR(0.5 * (sums.huber + config.penalty_weight * sums.penalty), loss,
               exact * fabs(loss));
    jsp_gnn_side_backward_pair(&f.net, &p.target, f.params, &f.side[0], &f.side[1],
                               f.action, &g);
    jsp_gnn_net_backward(&f.net, f.params, &g);
    double error = 0, norm = 0;
    for (size_t k = 0; k < n; k++) {
        error += pow((double)(f.gradient[k] - alone[k]), 2);
        norm += pow((double)alone[k], 2);
    }
    CHECK(norm > 0 && sqrt(error) < exact * sqrt(norm));
    free(alone);
    destroy_batch(&f);
    destroy_problem(&p);
    return 0;
}

/* The penalty alone: in the first term theta is a constant, which differences cannot see
 * (the golden numbers can). Policies: weight 0 of the penalty, parameters of the policy. */
static int test_gradients(void) {
    /* kind, units, local head; partial sides */
    static const int cases[][4] = {{JSP_HEAD_DIAG, 0, 0, 0}, {JSP_HEAD_FULL, 0, 0, 0},
                                   {JSP_HEAD_MLP, U, 0, 0},  {JSP_HEAD_FULL, 0, 1, 0},
                                   {JSP_HEAD_FULL, 0, 1, 1}, {JSP_HEAD_MLP, U, 1, 1}};
    for (int k = 0; k < 6; k++) {
        const int *c = cases[k], is_mlp = c[0] == JSP_HEAD_MLP;
        const jsp_head_spec head = {(jsp_head_kind)c[0], c[1], c[2]};
        for (int part = 0; part < 2; part++) {
            problem p;
            batch f;
            config = part ? (jsp_gnn_loss_config){2.0, 1.0, 0}
                          : (jsp_gnn_loss_config){1e9, 1.0, 0.5};
            CHECK(create_problem(&p, 0, is_mlp) == 0);
            CHECK(create_batch(&f, &p, head, c[3]) == 0);
            compute_loss(&f, &p);
            compute_gradient(&f, &p);
            /* along a random direction: all of them, or the layers of the logits */
            const size_t begin =
                part ? jsp_params_find(&f.net.layout, "senders.linear_0.w")->offset : 0;
            const size_t end =
                part ? jsp_params_find(&f.net.layout, "stop.linear_1.b")->offset + 1
                     : f.net.layout.size;
            double *direction = malloc((end - begin) * sizeof *direction), dot = 0;
            for (size_t k = begin; k < end; k++) {
                direction[k - begin] = jsp_rng_normal(&rng);
                dot += direction[k - begin] * (double)f.gradient[k];
            }
            /* Steps so short that no unit switches: slopes of a ReLU jump, and with them
             * the penalty of the model mlp. Policies allow, and need, longer ones: rounding
             * of a loss of 170 whose slope is 0.01 (the worst case here) leaves
             * 1e-16 170 / (0.01 h). */
            const double h = part ? 1e-5 : 1e-7, tolerance = part ? 1e-6 : 1e-8;
            double value[2];
            for (int s = 0; s < 2; s++) {
                for (size_t k = begin; k < end; k++) {
                    f.params[k] += (s ? -2 : 1) * h * direction[k - begin];
                }
                value[s] = compute_loss(&f, &p);
            }
            const double found = (value[0] - value[1]) / (2 * h);
            CHECK(fabs(dot) > 1e-6);
            CHECK_NEAR(found, dot, tolerance * fabs(dot));
            free(direction);
            destroy_batch(&f);
            destroy_problem(&p);
        }
    }
    return 0;
}

#endif

/* ---- replay -------------------------------------------------------------------------- */

static int test_replay(void) {
    jsp_replay replay;
    enum { SIZE = 7, ROUNDS = 20000 };
    int hits[SIZE] = {0}, index[3];
    uint8_t graph[36] = {0}, read[36];
    CHECK(jsp_replay_create(&replay, SIZE, 6, NULL) == JSP_OK);
    for (int k = 0; k < 10; k++) {
        memset(graph, 0, sizeof graph);
        graph[k + 20] = 1;
        jsp_replay_push(&replay, graph, k);
        CHECK(replay.n == (k < SIZE ? k + 1 : SIZE));
    }
    for (int k = 3; k < 10; k++) { /* 0, 1, 2 have been overwritten */
        CHECK(jsp_replay_read(&replay, k % SIZE, read) == k);
        for (int c = 0; c < 36; c++) CHECK(read[c] == (c == k + 20));
    }
    for (int r = 0; r < ROUNDS; r++) {
        jsp_replay_sample(&replay, &rng, 3, index);
        CHECK(index[0] != index[1] && index[0] != index[2] && index[1] != index[2]);
        for (int k = 0; k < 3; k++) hits[index[k]]++;
    }
    for (int k = 0; k < SIZE; k++) { /* within 5 standard deviations */
        const double q = 3.0 / SIZE;
        CHECK_NEAR(hits[k], ROUNDS * q, 5 * sqrt(ROUNDS * q * (1 - q)));
    }
    jsp_replay_destroy(&replay);
    return 0;
}

static int test_normals(void) {
    double z[10003], sum = 0, square = 0, fourth = 0;
    jsp_rng_fill_normal(&rng, 10003, z);
    for (int k = 0; k < 10003; k++) {
        sum += z[k] / 10003;
        square += z[k] * z[k] / 10003;
        fourth += z[k] * z[k] * z[k] * z[k] / 10003;
    }
    CHECK_NEAR(sum, 0, 0.05);
    CHECK_NEAR(square, 1, 0.07);
    CHECK_NEAR(fourth, 3, 0.5);
    return 0;
}

/* ---- training ------------------------------------------------------------------------ */

static jsp_gnn_trainer_config trainer_config(int n_threads) {
    return (jsp_gnn_trainer_config){
        .head = {JSP_HEAD_FULL, 0, 0},
        .batch_size = 70,
        .n_theta_samples = 3,
        .n_environments = 3,
        .replay_capacity = 100,
        .n_prefill = 30,
        .n_updates = 20,
        .learning_rate = 1e-3,
        .decay = 0.5,
        .beta2 = 0.999,
        .clip_ratio = INFINITY,
        .average_decay = 0.9,
        .exploration_start = 1,
        .exploration_end = 0.1,
        .logit_scale = 1,
        .init_scale = 0.1,
        .loss = {1, 1, 1},
        .seed = 5,
        .n_threads = n_threads,
    };
}

static int test_threads(void) {
    problem p;
    CHECK(create_problem(&p, 1, 0) == 0);
    jsp_gnn_trainer *trainer[3];
    jsp_gnn_trainer_metrics metrics[3][6];
    for (int t = 0; t < 3; t++) {
        jsp_gnn_trainer_config c = trainer_config(t + 1);
        long done = 0;
        CHECK(jsp_gnn_trainer_create(&p.target, &c, &trainer[t], NULL) == JSP_OK);
        CHECK(jsp_gnn_trainer_step(trainer[t], 6, 0, metrics[t], &done, NULL, NULL) ==
              JSP_OK);
        CHECK(done == 6);
    }
    const jsp_gnn_trainer_view first = jsp_gnn_trainer_open(trainer[0]);
    for (int t = 1; t < 3; t++) {
        const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(trainer[t]);
        CHECK(memcmp(metrics[0], metrics[t], sizeof metrics[0]) == 0);
        CHECK(memcmp(first.adam->average, view.adam->average,
                     first.net->layout.size * sizeof(jsp_real)) == 0);
    }
    uint8_t graphs[3][50 * CELLS];
    double d[3][6][50 * CELLS];
    for (int t = 0; t < 3; t++) {
        jsp_gnn_sampler *sampler;
        const jsp_gnn_sampler_draws draws = {graphs[t], d[t][0], d[t][1], NULL,
                                             d[t][2],   d[t][3], d[t][4], d[t][5]};
        memset(d[t], 0, sizeof d[t]);
        CHECK(jsp_gnn_sampler_create(&p.target, first.config->head, first.adam->average,
                                     1, t + 1, &sampler, NULL) == JSP_OK);
        jsp_gnn_sampler_draw(sampler, 50, 9, 0, &draws);
        CHECK(memcmp(graphs[0], graphs[t], sizeof graphs[0]) == 0);
        CHECK(memcmp(d[0], d[t], sizeof d[0]) == 0);
        jsp_gnn_sampler_destroy(sampler);
    }
    CHECK(jsp_dag_find_cycle(D, 50, graphs[0]) == -1);
    for (int t = 0; t < 3; t++) jsp_gnn_trainer_destroy(trainer[t]);
    destroy_problem(&p);
    return 0;
}

static int stop_after(void *context, double share) {
    int *left = context;
    (void)share;
    return (*left)-- == 0;
}

/* Stopped within updates, again and again: in the end, bit by bit, what it would have been
 * without. */
static int test_stops(void) {
    problem p;
    CHECK(create_problem(&p, 1, 0) == 0);
    jsp_gnn_trainer_config c = trainer_config(1);
    c.target_period = 2;
    jsp_gnn_trainer *plain, *stopped;
    jsp_gnn_trainer_metrics metrics[4], others[4];
    long n_done, n_stops = 0;
    CHECK(jsp_gnn_trainer_create(&p.target, &c, &plain, NULL) == JSP_OK);
    CHECK(jsp_gnn_trainer_create(&p.target, &c, &stopped, NULL) == JSP_OK);
    CHECK(jsp_gnn_trainer_step(plain, 4, 0, metrics, &n_done, NULL, NULL) == JSP_OK);
    int left = 0;
    for (long n = 0; n < 4; n += n_done) {
        int asked = left;
        jsp_pulse pulse = {.ask = stop_after, .context = &asked};
        jsp_status status =
            jsp_gnn_trainer_step(stopped, 4 - n, 0, others + n, &n_done, &pulse, NULL);
        CHECK(*jsp_gnn_trainer_open(stopped).update == n + n_done);
        CHECK(status == (n + n_done == 4 ? JSP_OK : JSP_INTERRUPTED));
        n_stops += status != JSP_OK;
        left++;
    }
    CHECK(n_stops > 2);
    CHECK(memcmp(metrics, others, sizeof metrics) == 0);
    const jsp_gnn_trainer_view a = jsp_gnn_trainer_open(plain);
    const jsp_gnn_trainer_view b = jsp_gnn_trainer_open(stopped);
    CHECK(memcmp(a.params, b.params, a.net->layout.size * sizeof(jsp_real)) == 0);
    CHECK(a.replay->n == b.replay->n);
    jsp_gnn_trainer_destroy(plain);
    jsp_gnn_trainer_destroy(stopped);
    destroy_problem(&p);
    return 0;
}

/* Every allocation fails once; nothing leaks. */
static int test_faults(void) {
    problem p;
    CHECK(create_problem(&p, 0, 0) == 0);
    const long live = jsp_memory_live();
    const jsp_gnn_trainer_config c = trainer_config(2);
    jsp_error error;
    int failures = 0;
    for (int n = 1;; n++) {
        jsp_gnn_trainer *trainer;
        jsp_memory_fail_at(n);
        jsp_status status = jsp_gnn_trainer_create(&p.target, &c, &trainer, &error);
        jsp_memory_fail_at(0);
        jsp_gnn_trainer_destroy(trainer);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && !trainer);
        failures++;
    }
    CHECK(failures > 20);
    jsp_real *params = calloc(1000000, sizeof *params);
    for (int n = 1;; n++) {
        jsp_gnn_sampler *sampler;
        jsp_memory_fail_at(n);
        jsp_status status =
            jsp_gnn_sampler_create(&p.target, c.head, params, 1, 2, &sampler, &error);
        jsp_memory_fail_at(0);
        jsp_gnn_sampler_destroy(sampler);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && !sampler);
    }
    jsp_gnn_sampler *sampler;
    const uint8_t empty[CELLS] = {0};
    double log_prob, standard_error;
    CHECK(jsp_gnn_sampler_create(&p.target, c.head, params, 1, 2, &sampler, NULL) ==
          JSP_OK);
    const long with_sampler = jsp_memory_live();
    for (int n = 1;; n++) {
        jsp_memory_fail_at(n);
        jsp_status status = jsp_gnn_density_log_prob(sampler, 1, empty, 2, 0, &log_prob,
                                                     &standard_error, &error);
        jsp_memory_fail_at(0);
        CHECK(jsp_memory_live() == with_sampler);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && n < 20);
    }
    CHECK(isfinite(log_prob) && standard_error == 0);
    jsp_gnn_sampler_destroy(sampler);
    free(params);
    for (int j = 0; j < D; j++) p.target.allowed[j] = jsp_bits_empty();
    jsp_gnn_trainer *trainer;
    CHECK(jsp_gnn_trainer_create(&p.target, &c, &trainer, &error) == JSP_OK);
    jsp_gnn_trainer_metrics metrics;
    long n_done; /* the empty graph is all there is */
    CHECK(jsp_gnn_trainer_step(trainer, 1, 0, &metrics, &n_done, NULL, &error) ==
          JSP_OK);
    CHECK(n_done == 1 && metrics.loss == 0 && metrics.learning_rate > 0);
    jsp_gnn_trainer_destroy(trainer);
    CHECK(jsp_memory_live() == live);
    destroy_problem(&p);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
#ifdef JSP_REAL_DOUBLE
        {"gradients", test_gradients}, {"next graphs", test_next},
#endif
        {"pairs", test_pairs},         {"model at theta", test_model},
        {"replay", test_replay},       {"normals", test_normals},
        {"threads", test_threads},     {"stops", test_stops},
        {"faults", test_faults},
    };
    jsp_rng_init(&rng, 77, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
