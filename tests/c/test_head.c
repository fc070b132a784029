/* test_head.c - heads for the parameters of nodes: densities against the definition,
 * gradients by central differences, bits and memory. Parity with the published numbers is
 * tested in Python. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_gnn.h"
#include "jsp_head_normal.h"
#include "jsp_memory.h"

enum { H = JSP_GNN_WIDTH, B = 4, D = 6, K = 3, CELLS = D * D, U = 3 };

/* Every head; a local one also with one node per graph. */
static const jsp_head_spec specs[] = {
    {JSP_HEAD_DIAG, 0, 0}, {JSP_HEAD_FULL, 0, 0}, {JSP_HEAD_MLP, U, 0},
    {JSP_HEAD_DIAG, 0, 1}, {JSP_HEAD_FULL, 0, 1}, {JSP_HEAD_MLP, U, 1},
};
enum { N_SPECS = sizeof specs / sizeof specs[0] };
static const int chosen[B] = {2, 5, 1, 3};

#ifdef JSP_REAL_DOUBLE
#define TOLERANCE 1e-11
#else
#define TOLERANCE 1e-5
#endif

static jsp_rng rng;

typedef struct fixture {
    jsp_head head;
    jsp_params layout;
    size_t n_params, n_features;
    jsp_real *values, *gradient; /* parameters, node features, global features */
    jsp_real *shared, *d_shared;
    uint8_t adjacency[B * CELLS];
    jsp_head_state state;
    const int *only;
    int n; /* entries */
    double *eps, *theta, *slope, *fixed_theta, weight[B * K], log_prob[B * K];
} fixture;

static jsp_real *nodes_of(fixture *f) {
    return f->values + f->n_params;
}

static jsp_real *globals_of(fixture *f) {
    return f->values + f->n_params + (size_t)(B * D * H);
}

static void run_forward(fixture *f) {
    jsp_head_shared_forward(&f->head, f->values, f->shared);
    jsp_head_forward(&f->head, f->values, f->shared, &f->state, B, f->adjacency,
                     f->only, nodes_of(f), globals_of(f));
}

static int create_fixture(fixture *f, jsp_head_spec spec, const int *only) {
    memset(f, 0, sizeof *f);
    f->only = only;
    jsp_params_init(&f->layout);
    f->head = jsp_head_create(&f->layout, spec, D);
    f->n_params = f->layout.size;
    f->n_features = (size_t)(B * D * H + B * H);
    f->values = malloc((f->n_params + f->n_features) * sizeof *f->values);
    f->gradient = calloc(f->n_params + f->n_features, sizeof *f->gradient);
    for (size_t k = 0; k < f->n_params + f->n_features; k++) {
        double scale = k < f->n_params ? 0.1 : 1;
        f->values[k] = (jsp_real)(scale * jsp_rng_normal(&rng));
    }
    for (int b = 0; b < B; b++) { /* empty, two between, full; not in index order */
        for (int k = 0; k < CELLS; k++) {
            int i = (k / D * 5 + b) % D, j = (k % D * 5 + b) % D;
            f->adjacency[b * CELLS + k] =
                i < j && jsp_rng_uniform(&rng) < (double)b / (B - 1);
        }
    }
    f->shared = malloc(jsp_head_shared_size(&f->head) * sizeof *f->shared);
    f->d_shared = calloc(jsp_head_shared_size(&f->head), sizeof *f->d_shared);
    CHECK(jsp_head_state_create(&f->head, B, &f->state, NULL) == JSP_OK);
    run_forward(f);
    f->n = jsp_head_entries(&f->state);
    double **arrays[] = {&f->eps, &f->theta, &f->slope, &f->fixed_theta};
    for (int k = 0; k < 4; k++)
        *arrays[k] = malloc((size_t)(f->n * K) * sizeof(double));
    for (int k = 0; k < f->n * K; k++) f->eps[k] = jsp_rng_normal(&rng);
    for (int k = 0; k < B * K; k++) f->weight[k] = jsp_rng_normal(&rng);
    jsp_head_normal_sample(&f->head, &f->state, 0, f->state.n_rows, K, f->eps,
                           f->fixed_theta);
    return 0;
}

static void destroy_fixture(fixture *f) {
    free(f->values), free(f->gradient), free(f->shared), free(f->d_shared);
    free(f->eps), free(f->theta), free(f->slope), free(f->fixed_theta);
    jsp_head_state_destroy(&f->state);
}

/* U_ac of node n, a <= c */
static double factor_of(const fixture *f, int n, int a, int c) {
    const int k = f->state.first[n + 1] - f->state.first[n];
    const double *U = f->state.factor + f->state.factor_first[n];
    if (f->head.spec.kind != JSP_HEAD_FULL) return a == c ? U[a] : 0;
    return U[a * k - a * (a - 1) / 2 + c - a];
}

/* U (theta - loc) for given theta: what eps would have been */
static void whiten(const fixture *f, const double *theta, double *eps) {
    for (int n = 0; n < f->state.n_rows; n++) {
        const int first = f->state.first[n], k = f->state.first[n + 1] - first;
        for (int a = 0; a < k; a++) {
            for (int l = 0; l < K; l++) {
                double sum = 0;
                for (int c = a; c < k; c++) {
                    sum += factor_of(f, n, a, c) *
                           (theta[(first + c) * K + l] - f->state.loc[first + c]);
                }
                eps[(first + a) * K + l] = sum;
            }
        }
    }
}

/* Samples are whitened back to eps; entries are the parents; the log-probability and the
 * slope are those of the definition. */
static int check_density(jsp_head_spec spec, const int *only) {
    fixture f;
    CHECK(!create_fixture(&f, spec, only));
    double *white = malloc((size_t)(f.n * K) * sizeof *white);
    whiten(&f, f.fixed_theta, white);
    for (int k = 0; k < f.n * K; k++) CHECK_NEAR(white[k], f.eps[k], 1e-10);
    const int is_mlp = spec.kind == JSP_HEAD_MLP;
    int n_entries = 0;
    for (int k = 0; k < B * CELLS; k++) {
        const int counts = !only || only[k / CELLS] == k % D;
        n_entries += (is_mlp ? U : 1) * f.adjacency[k] * counts;
        if (is_mlp && counts && k % CELLS < D) n_entries += 2 * U + 1;
    }
    CHECK(f.n == n_entries && n_entries > (only ? 0 : 15));
    memset(f.log_prob, 0, sizeof f.log_prob);
    jsp_head_normal_log_prob(&f.head, &f.state, 0, f.state.n_rows, K, f.eps,
                             f.log_prob);
    memset(f.slope, 0, (size_t)(f.n * K) * sizeof *f.slope);
    jsp_head_normal_slope(&f.head, &f.state, 0, f.state.n_rows, K, f.eps, f.slope);
    double expected[B * K] = {0};
    for (int n = 0; n < f.state.n_rows; n++) {
        const int first = f.state.first[n], k = f.state.first[n + 1] - first;
        const int b = f.state.graph[n], node = f.state.node[n];
        CHECK(only ? b == n && node == only[b] : n == b * D + node);
        for (int a = 0; a < k; a++) {
            const int index = f.state.index[first + a];
            const int parent = is_mlp ? index / U - 1 : index;
            CHECK((is_mlp && (index < U || index >= U * (D + 1))) ||
                  f.adjacency[b * CELLS + parent * D + node]);
            CHECK(index < f.head.P && (a == 0 || index > f.state.index[first + a - 1]));
            for (int l = 0; l < K; l++) {
                const double e = f.eps[(first + a) * K + l];
                double slope = 0;
                for (int c = 0; c <= a; c++) {
                    slope += factor_of(&f, n, c, a) * f.eps[(first + c) * K + l];
                }
                CHECK_NEAR(f.slope[(first + a) * K + l], slope, 1e-10);
                expected[b * K + l] += log(factor_of(&f, n, a, a)) - 0.5 * e * e -
                                       0.5 * log(2 * 3.14159265358979323846);
            }
        }
    }
    for (int k = 0; k < B * K; k++) CHECK_NEAR(f.log_prob[k], expected[k], 1e-10);
    /* no parameters, density 1 */
    if (!is_mlp) CHECK(f.log_prob[0] == 0);
    free(white);
    destroy_fixture(&f);
    return 0;
}

static int test_density(void) {
    for (int s = 0; s < N_SPECS; s++) {
        CHECK(!check_density(specs[s], NULL));
        if (specs[s].is_local) CHECK(!check_density(specs[s], chosen));
    }
    return 0;
}

/* Outputs are those of the two layers in full. */
static int check_outputs(jsp_head_spec spec) {
    fixture f;
    CHECK(!create_fixture(&f, spec, NULL));
    const int n_in = f.head.hidden.n_in, n_out = f.head.output.n_out;
    const jsp_real *params = f.values;
    for (int n = 0; n < B * D; n++) {
        double hidden[H];
        for (int h = 0; h < H; h++) {
            double sum = (double)params[f.head.hidden.bias + (size_t)h];
            for (int k = 0; k < n_in; k++) {
                jsp_real x =
                    k < H ? nodes_of(&f)[n * H + k] : globals_of(&f)[n / D * H + k - H];
                sum += (double)x *
                       (double)params[f.head.hidden.weight + (size_t)(k * H + h)];
            }
            hidden[h] = sum > 0 ? sum : 0;
        }
        for (int e = f.state.first[n]; e < f.state.first[n + 1]; e++) {
            for (int part = 0; part < 2; part++) {
                const int o = f.state.index[e] + part * f.head.P;
                double sum = (double)params[f.head.output.bias + (size_t)o];
                for (int h = 0; h < H; h++) {
                    sum +=
                        hidden[h] *
                        (double)params[f.head.output.weight + (size_t)(h * n_out + o)];
                }
                CHECK_NEAR(part ? f.state.raw[e] : f.state.loc[e], sum, TOLERANCE);
            }
        }
    }
    destroy_fixture(&f);
    return 0;
}

static int test_outputs(void) {
    for (int s = 0; s < N_SPECS; s++) {
        if (!specs[s].is_local) CHECK(!check_outputs(specs[s]));
    }
    return 0;
}

#ifdef JSP_REAL_DOUBLE
/* sum of weight log P(fixed theta | G) + |slope|^2 / 2 + sum of sin(theta), the last two at
 * the samples of the present parameters */
static double compute_loss(fixture *f) {
    double loss = 0;
    run_forward(f);
    whiten(f, f->fixed_theta, f->theta);
    memset(f->log_prob, 0, sizeof f->log_prob);
    jsp_head_normal_log_prob(&f->head, &f->state, 0, f->state.n_rows, K, f->theta,
                             f->log_prob);
    for (int k = 0; k < B * K; k++) loss += f->weight[k] * f->log_prob[k];
    jsp_head_normal_sample(&f->head, &f->state, 0, f->state.n_rows, K, f->eps,
                           f->theta);
    memset(f->slope, 0, (size_t)(f->n * K) * sizeof *f->slope);
    jsp_head_normal_slope(&f->head, &f->state, 0, f->state.n_rows, K, f->eps, f->slope);
    for (int k = 0; k < f->n * K; k++) {
        loss += 0.5 * f->slope[k] * f->slope[k] + sin(f->theta[k]);
    }
    return loss;
}

static void compute_gradient(fixture *f) {
    double *d_theta = malloc((size_t)(f->n * K) * sizeof *d_theta);
    compute_loss(f);
    for (int k = 0; k < f->n * K; k++) d_theta[k] = cos(f->theta[k]);
    jsp_head_normal_log_prob_backward(&f->head, &f->state, 0, f->state.n_rows, K,
                                      f->eps, f->fixed_theta, f->weight);
    jsp_head_normal_slope_backward(&f->head, &f->state, 0, f->state.n_rows, K, f->eps,
                                   f->theta, d_theta, f->slope);
    jsp_real *d_features = f->gradient + f->n_params;
    jsp_head_backward(&f->head, f->values, f->shared, &f->state, d_features,
                      d_features + B * D * H, f->gradient, f->d_shared);
    jsp_head_shared_backward(&f->head, f->d_shared, f->gradient);
    free(d_theta);
}

/* Along random directions of the numbers first .. first+n-1 of parameters and features. */
static double compare_slopes(fixture *f, size_t first, size_t n) {
    static const double steps[4] = {1, -1, 2, -2}, weights[4] = {8, -8, -1, 1};
    const double h = 1e-6;
    double numeric = 0, slope = 0, size = 0;
    double *direction = malloc(n * sizeof *direction), *kept = malloc(n * sizeof *kept);
    for (size_t k = 0; k < n; k++) {
        kept[k] = f->values[first + k];
        direction[k] = jsp_rng_normal(&rng);
        slope += direction[k] * f->gradient[first + k];
        size += f->gradient[first + k] * f->gradient[first + k];
    }
    for (int s = 0; s < 4; s++) {
        for (size_t k = 0; k < n; k++) {
            f->values[first + k] = kept[k] + steps[s] * h * direction[k];
        }
        numeric += weights[s] * compute_loss(f) / (12 * h);
    }
    for (size_t k = 0; k < n; k++) f->values[first + k] = kept[k];
    free(direction), free(kept);
    return fabs(numeric - slope) / (sqrt(size) + 1e-3);
}

static int check_gradients(jsp_head_spec spec, const int *only) {
    fixture f;
    CHECK(!create_fixture(&f, spec, only));
    compute_gradient(&f);
    for (int t = 0; t < f.layout.n_tensors; t++) {
        const jsp_params_tensor *tensor = &f.layout.tensor[t];
        size_t n = (size_t)(tensor->shape[0] * tensor->shape[1]);
        CHECK_NEAR(compare_slopes(&f, tensor->offset, n), 0, 1e-6);
    }
    CHECK_NEAR(compare_slopes(&f, f.n_params, (size_t)(B * D * H)), 0, 1e-6);
    CHECK_NEAR(compare_slopes(&f, f.n_params + (size_t)(B * D * H), (size_t)(B * H)), 0,
               1e-6);
    destroy_fixture(&f);
    return 0;
}

static int test_gradients(void) {
    for (int s = 0; s < N_SPECS; s++) {
        CHECK(!check_gradients(specs[s], NULL));
        if (specs[s].is_local) CHECK(!check_gradients(specs[s], chosen));
    }
    return 0;
}
#endif

/* Scales of e^-200 and e^-600: softplus(r) is e^r there and d log P / d r = +-(eps^2 - 1). */
static int check_tiny_scale(jsp_head_kind kind, double r) {
    fixture f;
    const jsp_head_spec spec = {kind, 0, 0};
    CHECK(!create_fixture(&f, spec, NULL));
    const jsp_linear *output = &f.head.output;
    jsp_real *bias = f.values + output->bias;
    memset(f.values + output->weight, 0,
           (size_t)(output->n_in * output->n_out) * sizeof *bias);
    for (int o = 0; o < output->n_out; o++) {
        bias[o] = (jsp_real)(o >= D && o < 2 * D ? r : 0);
    }
    run_forward(&f);
    jsp_head_normal_sample(&f.head, &f.state, 0, f.state.n_rows, K, f.eps, f.theta);
    memset(f.log_prob, 0, sizeof f.log_prob);
    jsp_head_normal_log_prob(&f.head, &f.state, 0, f.state.n_rows, K, f.eps,
                             f.log_prob);
    jsp_head_normal_log_prob_backward(&f.head, &f.state, 0, f.state.n_rows, K, f.eps,
                                      f.theta, f.weight);
    jsp_real *d_features = f.gradient + f.n_params;
    jsp_head_backward(&f.head, f.values, f.shared, &f.state, d_features,
                      d_features + B * D * H, f.gradient, f.d_shared);
    jsp_head_shared_backward(&f.head, f.d_shared, f.gradient);
    const int sign = kind == JSP_HEAD_FULL ? 1 : -1; /* of r in log P */
    double log_prob[B * K] = {0}, slope[D] = {0};
    for (int n = 0; n < f.state.n_rows; n++) {
        for (int e = f.state.first[n]; e < f.state.first[n + 1]; e++) {
            for (int l = 0; l < K; l++) {
                const double eps = f.eps[e * K + l];
                const int row = f.state.graph[n] * K + l;
                log_prob[row] += sign * r - 0.5 * eps * eps - 0.918938533204672742;
                slope[f.state.index[e]] += f.weight[row] * sign * (1 - eps * eps);
            }
        }
    }
    for (int k = 0; k < B * K; k++) {
        CHECK_NEAR(f.log_prob[k], log_prob[k], 1e-13 * (1 + fabs(log_prob[k])));
    }
    for (int a = 0; a < D; a++) {
        const double found = (double)f.gradient[output->bias + (size_t)(D + a)];
        CHECK_NEAR(found, slope[a], TOLERANCE * (1 + fabs(slope[a])));
    }
    destroy_fixture(&f);
    return 0;
}

static int test_tiny_scales(void) {
    const double r[] = {-50, -200, -600};
    for (int k = 0; k < 3; k++) {
        CHECK(!check_tiny_scale(JSP_HEAD_DIAG, r[k]));
        CHECK(!check_tiny_scale(JSP_HEAD_FULL, r[k]));
    }
    return 0;
}

static int test_fault(void) {
    jsp_params layout;
    jsp_params_init(&layout);
    const jsp_head head =
        jsp_head_create(&layout, (jsp_head_spec){JSP_HEAD_FULL, 0, 0}, 1);
    const long live = jsp_memory_live();
    jsp_head_state state;
    jsp_error error = {0};
    jsp_memory_fail_at(1);
    CHECK(jsp_head_state_create(&head, 3, &state, &error) == JSP_ERROR_MEMORY);
    CHECK(error.code == JSP_ERROR_MEMORY && jsp_memory_live() == live);
    jsp_head_state_destroy(&state);
    CHECK(jsp_head_state_create(&head, 3, &state, NULL) == JSP_OK);
    jsp_head_state_destroy(&state);
    jsp_head_state_destroy(NULL);
    CHECK(jsp_memory_live() == live);
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"outputs", test_outputs},         {"density", test_density},
#ifdef JSP_REAL_DOUBLE
        {"gradients", test_gradients},
#endif
        {"tiny scales", test_tiny_scales}, {"fault", test_fault},
    };
    jsp_rng_init(&rng, 32, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
