/* test_nn.c - the table of parameters, the layers and the optimiser.
 *
 * Gradients are checked by central differences in the double build, along every
 * parameter and every input (relative error below 1e-6); the float build runs the
 * same layers against a plain twin only. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_adam.h"
#include "jsp_kernels.h"
#include "jsp_linear.h"
#include "jsp_memory.h"
#include "jsp_mlp.h"

#ifdef JSP_REAL_DOUBLE
#define TOLERANCE 1e-13
#else
#define TOLERANCE 1e-5
#endif

static jsp_rng rng;

static jsp_real *make_array(size_t n) {
    jsp_real *p = malloc((n ? n : 1) * sizeof *p);
    for (size_t k = 0; k < n; k++) p[k] = (jsp_real)jsp_rng_normal(&rng);
    return p;
}

/* ---- parameters ---- */

static int test_params(void) {
    jsp_params params;
    jsp_params_init(&params);
    size_t a = jsp_params_add(&params, "a", 3, 7, 0.5, 0);
    size_t b = jsp_params_add(&params, "b", 16, 1, 0, -2);
    size_t c = jsp_params_add(&params, "c", 50, 40, 2, 0);
    CHECK(a == 0 && b == 32 && c == 48 && params.size == 2048 && params.n_tensors == 3);
    CHECK(jsp_params_find(&params, "b")->offset == b && !jsp_params_find(&params, "d"));
    jsp_real *block = make_array(params.size), *again = make_array(params.size);
    jsp_params_fill(&params, 77, block);
    jsp_params_fill(&params, 77, again);
    CHECK(memcmp(block, again, params.size * sizeof *block) == 0);
    jsp_params_fill(&params, 78, again);
    CHECK(memcmp(block, again, params.size * sizeof *block) != 0);
    for (size_t k = 21; k < 32; k++) CHECK(block[k] == 0);
    for (size_t k = 0; k < 16; k++) CHECK(block[b + k] == -2);
    double squares = 0;
    for (size_t k = 0; k < 2000; k++)
        squares += (double)block[c + k] * (double)block[c + k];
    CHECK_NEAR(squares / 2000, 4, 3.9 * 4 * sqrt(2.0 / 2000));
    /* a tensor draws from its own stream: (seed, 0, t, purpose) */
    jsp_rng stream;
    jsp_rng_init(&stream, 77, 0, 2, JSP_RNG_INIT);
    jsp_params_fill(&params, 77, block);
    CHECK(block[c] == (jsp_real)(2 * jsp_rng_normal(&stream)));
    free(block), free(again);
    return 0;
}

/* ---- layers against plain twins ---- */

typedef struct network {
    jsp_params params;
    jsp_mlp mlp;
    jsp_linear head;
    int B, n_in, H, L, n_out;
    jsp_real *block, *gradient;
    jsp_real *x, *offset, *y, *target; /* target: weights of the outputs in the loss */
    jsp_real *hidden[JSP_MLP_MAX_LAYERS];
} network;

static void create_network(network *net, int B, int n_in, int H, int L, int n_out) {
    static const double scales[JSP_MLP_MAX_LAYERS] = {0.5, 0.3, 0.2, 0.4};
    *net = (network){.B = B, .n_in = n_in, .H = H, .L = L, .n_out = n_out};
    jsp_params_init(&net->params);
    net->mlp = jsp_mlp_create(&net->params, n_in, H, L, scales);
    net->head =
        jsp_linear_create(&net->params, "head.weight", "head.bias", H, n_out, 0.5);
    net->block = make_array(net->params.size);
    net->gradient = calloc(net->params.size, sizeof(jsp_real));
    net->x = make_array((size_t)(B * n_in));
    net->offset = make_array((size_t)(B * H));
    net->y = make_array((size_t)(B * n_out));
    net->target = make_array((size_t)(B * n_out));
    for (int l = 0; l < L; l++) net->hidden[l] = make_array((size_t)(B * H));
    jsp_params_fill(&net->params, 5, net->block);
    for (size_t k = 0; k < net->params.size; k++) {
        if (net->block[k] == 0) net->block[k] = (jsp_real)(0.1 * jsp_rng_normal(&rng));
    }
}

static void destroy_network(network *net) {
    free(net->block), free(net->gradient), free(net->x), free(net->offset);
    free(net->y), free(net->target);
    for (int l = 0; l < net->L; l++) free(net->hidden[l]);
}

/* loss = sum of target * y, y = head(mlp(x)) */
static double compute_loss(network *net) {
    double loss = 0;
    jsp_mlp_forward(&net->mlp, net->block, net->B, net->x, net->offset, net->hidden);
    jsp_linear_forward(&net->head, net->block, net->B, net->hidden[net->L - 1], net->y);
    for (int k = 0; k < net->B * net->n_out; k++) {
        loss += (double)net->target[k] * (double)net->y[k];
    }
    return loss;
}

/* The forward pass in plain double loops; the largest difference of any h_l and y. */
static double compare_with_twin(network *net) {
    double worst = 0, h[2][256];
    for (int b = 0; b < net->B; b++) {
        for (int l = 0; l <= net->L; l++) {
            int rows = l == 0 ? net->n_in : net->H,
                columns = l == net->L ? net->n_out : net->H;
            const jsp_real *W =
                net->block + (l == net->L ? net->head.weight : net->mlp.weight[l]);
            const jsp_real *bias =
                net->block + (l == net->L ? net->head.bias : net->mlp.bias[l]);
            const jsp_real *result = l == net->L ? net->y : net->hidden[l];
            for (int j = 0; j < columns; j++) {
                double z = (double)bias[j];
                if (l == 0) z += (double)net->offset[b * net->H + j];
                for (int k = 0; k < rows; k++) {
                    z += (l == 0 ? (double)net->x[b * rows + k] : h[(l - 1) & 1][k]) *
                         (double)W[k * columns + j];
                }
                if (l < net->L) z = z > 0 ? z : 0;
                if (l > 0 && l < net->L) z += h[(l - 1) & 1][j];
                h[l & 1][j] = z;
                worst = fmax(worst, fabs(z - (double)result[b * columns + j]));
            }
        }
    }
    return worst;
}

static const int shapes[][5] = {/* B, n_in, H, L, n_out */
                                {1, 1, 1, 1, 1},
                                {2, 3, 5, 2, 7},
                                {7, 24, 32, 3, 16},
                                {5, 17, 33, 4, 1},
                                {16, 24, 32, 2, 2}};

static int test_forward(void) {
    for (int s = 0; s < 5; s++) {
        network net;
        create_network(&net, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3],
                       shapes[s][4]);
        compute_loss(&net);
        CHECK_NEAR(compare_with_twin(&net), 0, TOLERANCE);
        destroy_network(&net);
    }
    return 0;
}

/* Backward through head and stack; d_x and d_offset are outputs. */
static void compute_gradients(network *net, jsp_real *d_x, jsp_real *d_offset) {
    size_t n = (size_t)(net->B * net->H);
    jsp_real *d_out = make_array(n), *scratch = make_array(n);
    compute_loss(net);
    jsp_linear_backward(&net->head, net->block, net->B, net->hidden[net->L - 1],
                        net->target, d_out, net->gradient);
    jsp_mlp_backward(&net->mlp, net->block, net->B, net->x,
                     (const jsp_real *const *)net->hidden, d_out, d_offset, d_x,
                     net->gradient, scratch, 0);
    free(d_out), free(scratch);
}

/* Gradients of parameters accumulate, the others overwrite; NULL for dx changes
 * nothing. */
static int test_accumulation(void) {
    network net;
    create_network(&net, 7, 9, 12, 3, 4);
    size_t n_x = 7 * 9, n_h = 7 * 12, P = net.params.size;
    jsp_real *d_x = make_array(n_x), *d_x2 = make_array(n_x);
    jsp_real *d_offset = make_array(n_h), *d_offset2 = make_array(n_h),
             *once = make_array(P);
    compute_gradients(&net, d_x, d_offset);
    memcpy(once, net.gradient, P * sizeof *once);
    compute_gradients(&net, d_x2, d_offset2);
    CHECK(memcmp(d_x, d_x2, n_x * sizeof *d_x) == 0);
    CHECK(memcmp(d_offset, d_offset2, n_h * sizeof *d_x) == 0);
    for (size_t k = 0; k < P; k++) {
        CHECK_NEAR((double)net.gradient[k], 2 * (double)once[k],
                   10 * TOLERANCE * (1 + fabs((double)once[k])));
    }
    memset(net.gradient, 0, P * sizeof *net.gradient);
    compute_gradients(&net, NULL, d_offset2);
    CHECK(memcmp(once, net.gradient, P * sizeof *once) == 0);
    /* linear alone, without dx */
    memset(net.gradient, 0, P * sizeof *net.gradient);
    jsp_linear_backward(&net.head, net.block, net.B, net.hidden[2], net.target, NULL,
                        net.gradient);
    size_t w = net.head.weight;
    CHECK(memcmp(once + w, net.gradient + w, (P - w) * sizeof *once) == 0);
    free(d_x), free(d_x2), free(d_offset), free(d_offset2), free(once);
    destroy_network(&net);
    return 0;
}

#ifdef JSP_REAL_DOUBLE
/* |analytic - numeric| relative to the larger of their sizes and 1e-2. Between kinks
 * of ReLU the loss is linear in each number, so only rounding limits the step from
 * below. It is small against the distance of most units from the kink of ReLU; a
 * unit that crosses it would fail, and with these fixed seeds none does. */
static int check_difference(network *net, jsp_real *value, double analytic) {
    const double step = 1e-5;
    jsp_real old = *value;
    *value = old + step;
    double above = compute_loss(net);
    *value = old - step;
    double below = compute_loss(net);
    *value = old;
    double numeric = (above - below) / (2 * step);
    double size = fmax(fmax(fabs(numeric), fabs(analytic)), 1e-2);
    CHECK_NEAR(analytic, numeric, 1e-6 * size);
    return 0;
}

static int check_gradients(network *net) {
    int n_x = net->B * net->n_in, n_h = net->B * net->H;
    jsp_real *d_x = make_array((size_t)n_x), *d_offset = make_array((size_t)n_h);
    compute_gradients(net, d_x, d_offset);
    for (int t = 0; t < net->params.n_tensors; t++) {
        const jsp_params_tensor *tensor = &net->params.tensor[t];
        for (int k = 0; k < tensor->shape[0] * tensor->shape[1]; k++) {
            size_t p = tensor->offset + (size_t)k;
            CHECK(!check_difference(net, net->block + p, net->gradient[p]));
        }
    }
    for (int k = 0; k < n_x; k++) CHECK(!check_difference(net, net->x + k, d_x[k]));
    for (int k = 0; k < n_h; k++)
        CHECK(!check_difference(net, net->offset + k, d_offset[k]));
    free(d_x), free(d_offset);
    return 0;
}

static int test_gradients(void) {
    for (int s = 0; s < 5; s++) {
        network net;
        create_network(&net, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3],
                       shapes[s][4]);
        CHECK(!check_gradients(&net));
        destroy_network(&net);
    }
    return 0;
}
#endif

/* ---- optimiser ---- */

/* Adam in plain double, with the settings of jsp_adam_create. */
typedef struct twin {
    double p[40], m[40], v[40], average[40], norm_mean;
    int t;
} twin;

static double step_twin(twin *a, double learning_rate, const double *gradient, int n) {
    double norm = 0;
    for (int k = 0; k < n; k++) norm += gradient[k] * gradient[k];
    norm = sqrt(norm);
    double clipped = a->norm_mean > 0 ? fmin(norm, 5 * a->norm_mean) : norm;
    double scale = norm > 0 ? clipped / norm : 1;
    a->norm_mean = a->norm_mean > 0 ? 0.99 * a->norm_mean + 0.01 * clipped : clipped;
    a->t++;
    double decay = fmin(0.995, 1 - 1 / (1 + a->t / 10.0));
    for (int k = 0; k < n; k++) {
        double g = scale * gradient[k];
        a->m[k] = 0.9 * a->m[k] + 0.1 * g;
        a->v[k] = 0.99 * a->v[k] + 0.01 * g * g;
        a->p[k] -= learning_rate * a->m[k] / (1 - pow(0.9, a->t)) /
                   (sqrt(a->v[k] / (1 - pow(0.99, a->t))) + 1e-8);
        a->average[k] = decay * a->average[k] + (1 - decay) * a->p[k];
    }
    return norm;
}

static int test_adam_twin(void) {
    enum { P = 37, STEPS = 3000 };
    twin twin = {0};
    jsp_real *p = make_array(P), *dp = make_array(P);
    double gradient[P];
    int n_clipped = 0;
    jsp_adam adam;
    CHECK(jsp_adam_create(&adam, P, p, NULL) == JSP_OK);
    CHECK(memcmp(adam.average, p, P * sizeof *p) == 0);
    for (int k = 0; k < P; k++) twin.p[k] = twin.average[k] = (double)p[k];
    for (int t = 0; t < STEPS; t++) {
        /* a noisy bowl, with outliers that must be clipped; rounded as the block is */
        double outlier = t % 97 == 50 ? 1000 : 1;
        for (int k = 0; k < P; k++) {
            dp[k] = (jsp_real)(outlier * (twin.p[k] - 1 + jsp_rng_normal(&rng)));
            gradient[k] = (double)dp[k];
        }
        double rate = t < 2000 ? 0.01 : 0.001;
        double before = twin.norm_mean, norm = step_twin(&twin, rate, gradient, P);
        n_clipped += before > 0 && norm > 5 * before;
        CHECK_NEAR(jsp_adam_step(&adam, rate, dp, p), norm, 1e-12 * norm);
        CHECK_NEAR(adam.norm_mean, twin.norm_mean, 1e-12 * twin.norm_mean);
    }
    CHECK(n_clipped >= STEPS / 97 && adam.t == STEPS);
    for (int k = 0; k < P; k++) {
        CHECK_NEAR((double)p[k], twin.p[k], 100 * TOLERANCE);
        CHECK_NEAR((double)adam.average[k], twin.average[k], 100 * TOLERANCE);
    }
    jsp_adam_destroy(&adam);
    free(p), free(dp);
    return 0;
}

/* A gradient that is not finite changes nothing; a zero gradient is harmless. */
static int test_adam_bad_gradient(void) {
    enum { P = 20 };
    jsp_real p[P] = {1, 2, 3}, dp[P] = {0}, before[P];
    jsp_adam adam;
    CHECK(jsp_adam_create(&adam, P, p, NULL) == JSP_OK);
    CHECK(jsp_adam_step(&adam, 0.1, dp, p) == 0);
    CHECK(p[0] == 1 && adam.norm_mean == 0 && adam.t == 1);
    for (int k = 0; k < P; k++) dp[k] = (jsp_real)0.5;
    jsp_adam_step(&adam, 0.1, dp, p);
    memcpy(before, p, sizeof p);
    jsp_real first = adam.first[7], average = adam.average[7];
    double norm_mean = adam.norm_mean;
    for (int bad = 0; bad < 2; bad++) {
        dp[7] = (jsp_real)(bad ? NAN : INFINITY);
        CHECK(!isfinite(jsp_adam_step(&adam, 0.1, dp, p)));
        CHECK(memcmp(before, p, sizeof p) == 0 && adam.t == 2);
        CHECK(adam.first[7] == first && adam.average[7] == average);
        CHECK(adam.norm_mean == norm_mean);
    }
    jsp_adam_destroy(&adam);
    return 0;
}

/* With gradients given beforehand a stretch with rates of its own moves that many times as
 * far, and the rest as ever. */
static int test_adam_rates(void) {
    enum { P = 23, FIRST = 5, N = 11, STEPS = 40 };
    jsp_real start[P], plain[P], rated[P], dp[P], rate[N];
    jsp_adam a, b;
    for (int k = 0; k < P; k++) start[k] = plain[k] = rated[k] = (jsp_real)(k - 9);
    for (int k = 0; k < N; k++) rate[k] = (jsp_real)(0.25 * k);
    CHECK(jsp_adam_create(&a, P, plain, NULL) == JSP_OK);
    CHECK(jsp_adam_create(&b, P, rated, NULL) == JSP_OK);
    CHECK(jsp_adam_set_rates(&b, FIRST, N, rate, NULL) == JSP_OK);
    for (int t = 0; t < STEPS; t++) {
        for (int k = 0; k < P; k++) dp[k] = (jsp_real)jsp_rng_normal(&rng);
        const double norm = jsp_adam_step(&a, 0.02, dp, plain);
        CHECK(jsp_adam_step(&b, 0.02, dp, rated) == norm);
    }
    for (int k = 0; k < P; k++) {
        const double factor = k >= FIRST && k < FIRST + N ? (double)rate[k - FIRST] : 1;
        const double moved = (double)(plain[k] - start[k]);
        const double average = (double)(a.average[k] - start[k]);
        CHECK_NEAR((double)(rated[k] - start[k]), factor * moved, 100 * TOLERANCE);
        CHECK_NEAR((double)(b.average[k] - start[k]), factor * average,
                   100 * TOLERANCE);
    }
    jsp_adam_destroy(&a);
    jsp_adam_destroy(&b);
    return 0;
}

static int test_adam_fault(void) {
    jsp_real p[5] = {0};
    long live = jsp_memory_live();
    int n_failed = 0;
    for (long n = 1; n <= 4; n++) {
        jsp_adam adam;
        jsp_error error = {0};
        jsp_memory_fail_at(n);
        jsp_status status = jsp_adam_create(&adam, 5, p, &error);
        CHECK(status == error.code && status == (n <= 3 ? JSP_ERROR_MEMORY : JSP_OK));
        CHECK(status == JSP_OK || jsp_memory_live() == live);
        n_failed += status != JSP_OK;
        jsp_adam_destroy(&adam);
        CHECK(jsp_memory_live() == live);
    }
    jsp_memory_fail_at(0);
    jsp_adam_destroy(NULL);
    CHECK(n_failed == 3);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"params", test_params},
        {"forward", test_forward},
        {"accumulation", test_accumulation},
#ifdef JSP_REAL_DOUBLE
        {"gradients", test_gradients},
#endif
        {"adam", test_adam_twin},
        {"adam, bad gradient", test_adam_bad_gradient},
        {"adam, rates of its own", test_adam_rates},
        {"adam, fault", test_adam_fault},
    };
    jsp_rng_init(&rng, 21, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
