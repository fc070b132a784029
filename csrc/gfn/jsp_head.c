/* jsp_head.c - outputs of the heads: from features to loc and U, and back. The densities are
 * in jsp_head_normal.c. */
#include "jsp_head.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "jsp_gnn.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_places.h"

enum { H = JSP_GNN_WIDTH };

jsp_head jsp_head_create(jsp_params *params, jsp_head_kind kind, int D) {
    jsp_head head = {.kind = kind, .D = D};
    const int is_diag = kind == JSP_HEAD_DIAG, n_in = is_diag ? 2 * H : H;
    head.hidden = jsp_linear_create(params, "posterior_parameters.edges.linear_0.w",
                                    "posterior_parameters.edges.linear_0.b", n_in, H,
                                    sqrt(1.0 / n_in));
    if (is_diag) {
        head.output = jsp_linear_create(params, "posterior_parameters.linear.w",
                                        "posterior_parameters.linear.b", H, 2 * D, 0);
    } else {
        head.output = jsp_linear_create(params, "posterior_parameters.edges.linear_1.w",
                                        "posterior_parameters.edges.linear_1.b", H,
                                        D + D * (D + 1) / 2, sqrt(1.0 / H));
    }
    return head;
}

/* ---- transposed weights ------------------------------------------------------------- */

/* [outputs, 128], then the biases */
size_t jsp_head_shared_size(const jsp_head *head) {
    return (size_t)head->output.n_out * (H + 1);
}

void jsp_head_shared_forward(const jsp_head *head, const jsp_real *params,
                             jsp_real *shared) {
    const size_t n_out = (size_t)head->output.n_out;
    jsp_kernels_active()->transpose(H, (int)n_out, params + head->output.weight, n_out,
                                    shared, H);
    memcpy(shared + n_out * H, params + head->output.bias, n_out * sizeof *shared);
}

void jsp_head_shared_backward(const jsp_head *head, const jsp_real *d_shared,
                              jsp_real *d_params) {
    const size_t n_out = (size_t)head->output.n_out;
    jsp_real *d_weight = d_params + head->output.weight;
    for (size_t k = 0; k < H; k++) {
        for (size_t o = 0; o < n_out; o++)
            d_weight[k * n_out + o] += d_shared[o * H + k];
    }
    jsp_kernels_active()->add(n_out, d_shared + n_out * H,
                              d_params + head->output.bias);
}

/* ---- memory ------------------------------------------------------------------------- */

/* A DAG of D nodes has at most D (D - 1) / 2 edges, with 0, 1, ..., D - 1 parents; then
 * its factors have sum of k (k + 1) / 2 = (D - 1) D (D + 1) / 6 numbers. */
static void place_state(const jsp_head *head, size_t graphs, jsp_head_state *s,
                        jsp_places *p) {
    const size_t D = (size_t)head->D, nodes = graphs * D;
    const size_t entries = nodes * (D - 1) / 2;
    const size_t factors =
        head->kind == JSP_HEAD_DIAG ? entries : nodes * (D - 1) * (D + 1) / 6;
    s->first = jsp_places_take(p, nodes + 1, sizeof(int));
    s->factor_first = jsp_places_take(p, nodes + 1, sizeof(int));
    s->parent = jsp_places_take(p, entries, sizeof(int));
    s->loc = jsp_places_take(p, entries, sizeof(double));
    s->d_loc = jsp_places_take(p, entries, sizeof(double));
    s->raw = jsp_places_take(p, entries, sizeof(double));
    s->factor = jsp_places_take(p, factors, sizeof(double));
    s->d_factor = jsp_places_take(p, factors, sizeof(double));
    s->inverse = jsp_places_take(p, factors, sizeof(double));
    s->hidden = jsp_places_take(p, nodes * H, sizeof(jsp_real));
    s->d_hidden = jsp_places_take(p, nodes * H, sizeof(jsp_real));
    s->offset = jsp_places_take(p, nodes * H, sizeof(jsp_real));
    s->graph_part = jsp_places_take(p, graphs * H, sizeof(jsp_real));
}

jsp_status jsp_head_state_create(const jsp_head *head, int capacity,
                                 jsp_head_state *state, jsp_error *error) {
    jsp_places p = {0};
    *state = (jsp_head_state){0};
    place_state(head, (size_t)capacity, state, &p);
    state->memory = p.base = jsp_memory_alloc(p.used, 1);
    if (!p.base) return jsp_status_no_memory(error, p.used, "the parameter head");
    p.used = 0;
    place_state(head, (size_t)capacity, state, &p);
    state->capacity = capacity;
    return JSP_OK;
}

void jsp_head_state_destroy(jsp_head_state *state) {
    if (!state) return;
    jsp_memory_free(state->memory);
    *state = (jsp_head_state){0};
}

int jsp_head_entries(const jsp_head *head, const jsp_head_state *state) {
    return state->first[state->B * head->D];
}

/* ---- forward ------------------------------------------------------------------------ */

static void list_parents(const jsp_head *head, jsp_head_state *s,
                         const uint8_t *adjacency) {
    const int D = head->D;
    int entry = 0, factor = 0;
    for (int n = 0; n < s->B * D; n++) {
        const uint8_t *graph = adjacency + (size_t)(n / D) * (size_t)(D * D);
        s->first[n] = entry;
        s->factor_first[n] = factor;
        for (int j = 0; j < D; j++) {
            if (graph[j * D + n % D]) s->parent[entry++] = j;
        }
        const int k = entry - s->first[n];
        factor += head->kind == JSP_HEAD_DIAG ? k : k * (k + 1) / 2;
    }
    s->first[s->B * D] = entry;
    s->factor_first[s->B * D] = factor;
}

static void forward_hidden(const jsp_head *head, const jsp_real *params,
                           jsp_head_state *s) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *layer = &head->hidden;
    const int rows = s->B * head->D;
    const jsp_real *W = params + layer->weight, *b = params + layer->bias;
    if (head->kind == JSP_HEAD_FULL) {
        kernels->dense_forward(rows, H, H, s->node_features, W, b, NULL, 1, NULL,
                               s->hidden);
        return;
    }
    kernels->dense_forward(s->B, H, H, s->global_features, W + H * H, b, NULL, 0, NULL,
                           s->graph_part);
    for (size_t n = 0; n < (size_t)rows; n++) {
        memcpy(s->offset + n * H, s->graph_part + n / (size_t)head->D * H,
               H * sizeof *s->offset);
    }
    kernels->dense_forward(rows, H, H, s->node_features, W, NULL, s->offset, 1, NULL,
                           s->hidden);
}

static double compute_output(const jsp_head *head, const jsp_real *shared, int output,
                             const jsp_real *hidden) {
    jsp_real y;
    jsp_kernels_active()->rows_dot(1, H, hidden, shared + (size_t)output * H, &y);
    return (double)y + (double)shared[(size_t)head->output.n_out * H + (size_t)output];
}

/* Where U_ac of the parents a < c (indices of variables) is among the outputs of `full`:
 * the strict upper triangle row by row, after loc and the diagonal. */
static int pair_output(int D, int a, int c) {
    return 2 * D + a * (2 * D - a - 1) / 2 + (c - a - 1);
}

/* log(1 + e^x) */
static double softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* Inverse of an upper triangular matrix of k rows, both stored row by row from the
 * diagonal on. */
static void invert_factor(int k, const double *U, double *inverse) {
    for (int a = k - 1; a >= 0; a--) {
        /* row a of U and of U^-1 begin at `row`; V_ac = -(sum of U_ab V_bc) / U_aa */
        const int row = a * k - a * (a - 1) / 2;
        inverse[row] = 1 / U[row];
        for (int c = a + 1; c < k; c++) {
            double sum = 0;
            for (int b = a + 1; b <= c; b++) {
                const int row_b = b * k - b * (b - 1) / 2;
                sum += U[row + b - a] * inverse[row_b + c - b];
            }
            inverse[row + c - a] = -sum * inverse[row];
        }
    }
}

static void forward_node(const jsp_head *head, const jsp_real *shared,
                         jsp_head_state *s, int n) {
    const int D = head->D, k = s->first[n + 1] - s->first[n];
    const jsp_real *hidden = s->hidden + (size_t)n * H;
    const int *parent = s->parent + s->first[n];
    double *loc = s->loc + s->first[n], *raw = s->raw + s->first[n];
    double *factor = s->factor + s->factor_first[n];
    double *inverse = s->inverse + s->factor_first[n];
    for (int a = 0; a < k; a++) {
        loc[a] = compute_output(head, shared, parent[a], hidden);
        raw[a] = compute_output(head, shared, D + parent[a], hidden);
        if (head->kind == JSP_HEAD_DIAG) {
            *inverse++ = softplus(raw[a]);
            *factor++ = 1 / inverse[-1];
            continue;
        }
        *factor++ = softplus(raw[a]);
        for (int c = a + 1; c < k; c++) {
            *factor++ = compute_output(head, shared,
                                       pair_output(D, parent[a], parent[c]), hidden);
        }
    }
    if (head->kind == JSP_HEAD_FULL) {
        invert_factor(k, s->factor + s->factor_first[n], inverse);
    }
}

void jsp_head_forward(const jsp_head *head, const jsp_real *params,
                      const jsp_real *shared, jsp_head_state *state, int B,
                      const uint8_t *adjacency, const jsp_real *node_features,
                      const jsp_real *global_features) {
    const int nodes = B * head->D;
    assert(B <= state->capacity);
    state->B = B;
    state->node_features = node_features;
    state->global_features = global_features;
    list_parents(head, state, adjacency);
    forward_hidden(head, params, state);
    for (int n = 0; n < nodes; n++) forward_node(head, shared, state, n);
    memset(state->d_loc, 0, (size_t)state->first[nodes] * sizeof(double));
    memset(state->d_factor, 0, (size_t)state->factor_first[nodes] * sizeof(double));
}

/* ---- backward ----------------------------------------------------------------------- */

/* Given the gradient of one output: weights, bias and hidden layer. */
static void pull_output(const jsp_head *head, const jsp_real *shared, int output,
                        double d, const jsp_real *hidden, jsp_real *d_hidden,
                        jsp_real *d_shared) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_real gradient = (jsp_real)d;
    const size_t row = (size_t)output * H;
    kernels->rows_weighted_sum(1, H, shared + row, &gradient, d_hidden);
    kernels->rows_weighted_sum(1, H, hidden, &gradient, d_shared + row);
    d_shared[(size_t)head->output.n_out * H + (size_t)output] += gradient;
}

static void backward_node(const jsp_head *head, const jsp_real *shared,
                          const jsp_head_state *s, int n, jsp_real *d_shared) {
    const int D = head->D, k = s->first[n + 1] - s->first[n];
    const jsp_real *hidden = s->hidden + (size_t)n * H;
    const int *parent = s->parent + s->first[n];
    const double *d_loc = s->d_loc + s->first[n], *raw = s->raw + s->first[n];
    const double *d_factor = s->d_factor + s->factor_first[n];
    const double *factor = s->factor + s->factor_first[n];
    jsp_real *d_hidden = s->d_hidden + (size_t)n * H;
    for (int a = 0; a < k; a++) {
        const double sigmoid = 1 / (1 + exp(-raw[a]));
        double d_raw = *d_factor * sigmoid;
        /* U_aa = 1 / softplus(r) */
        if (head->kind == JSP_HEAD_DIAG) d_raw *= -*factor * *factor;
        d_factor++, factor++;
        pull_output(head, shared, parent[a], d_loc[a], hidden, d_hidden, d_shared);
        pull_output(head, shared, D + parent[a], d_raw, hidden, d_hidden, d_shared);
        if (head->kind == JSP_HEAD_DIAG) continue;
        for (int c = a + 1; c < k; c++, d_factor++, factor++) {
            pull_output(head, shared, pair_output(D, parent[a], parent[c]), *d_factor,
                        hidden, d_hidden, d_shared);
        }
    }
}

/* From d_hidden before the ReLU to the features of the graph. */
static void backward_graph(const jsp_head *head, const jsp_real *params,
                           const jsp_head_state *s, jsp_real *d_global_features,
                           jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t second = head->hidden.weight + H * H, D = (size_t)head->D;
    memset(s->graph_part, 0, (size_t)s->B * H * sizeof(jsp_real));
    for (size_t n = 0; n < (size_t)s->B * D; n++) {
        kernels->add(H, s->d_hidden + n * H, s->graph_part + n / D * H);
    }
    kernels->dense_backward_weight(s->B, H, H, s->global_features, s->graph_part,
                                   d_params + second, NULL);
    kernels->dense_backward_input(s->B, H, H, s->graph_part, params + second, 0,
                                  d_global_features);
}

void jsp_head_backward(const jsp_head *head, const jsp_real *params,
                       const jsp_real *shared, jsp_head_state *state,
                       jsp_real *d_node_features, jsp_real *d_global_features,
                       jsp_real *d_params, jsp_real *d_shared) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int rows = state->B * head->D;
    const size_t numbers = (size_t)rows * H;
    memset(state->d_hidden, 0, numbers * sizeof(jsp_real));
    for (int n = 0; n < rows; n++) backward_node(head, shared, state, n, d_shared);
    kernels->relu_backward(numbers, state->hidden, NULL, state->d_hidden,
                           state->d_hidden);
    kernels->dense_backward_weight(rows, H, H, state->node_features, state->d_hidden,
                                   d_params + head->hidden.weight,
                                   d_params + head->hidden.bias);
    kernels->dense_backward_input(rows, H, H, state->d_hidden,
                                  params + head->hidden.weight, 0, d_node_features);
    if (head->kind == JSP_HEAD_DIAG) {
        backward_graph(head, params, state, d_global_features, d_params);
    } else {
        memset(d_global_features, 0, (size_t)state->B * H * sizeof(jsp_real));
    }
}
