/* jsp_head.c - outputs of the heads: from features to loc and U, and back. The densities are
 * in jsp_head_normal.c.
 *
 * Which outputs a node needs depends on its parents. Of `diag` and `full` all D locs and
 * diagonals are computed, in one product for all nodes, which costs less than single rows
 * for the parents there are; what lies off the diagonal, and the many outputs of `mlp`, are
 * computed one by one where they are needed. */
#include "jsp_head.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "jsp_gnn.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_places.h"
#include "jsp_special.h"

enum { H = JSP_GNN_WIDTH };

static int is_full(const jsp_head *head) {
    return head->spec.kind == JSP_HEAD_FULL;
}

static int is_mlp(const jsp_head *head) {
    return head->spec.kind == JSP_HEAD_MLP;
}

/* Whether the head has features of the graph as a whole. */
static int sees_graph(const jsp_head *head) {
    return !is_full(head) && !head->spec.is_local;
}

jsp_head jsp_head_create(jsp_params *params, jsp_head_spec spec, int D) {
    jsp_head head = {.spec = spec, .D = D, .P = D};
    if (is_mlp(&head)) head.P = spec.n_units * (D + 2) + 1;
    if (spec.is_local) {
        head.own = jsp_params_add(params, "posterior_parameters.local.own", D, H, 1, 0);
        head.pair =
            jsp_params_add(params, "posterior_parameters.local.pair", D * D, H, 1, 0);
    }
    const int n_in = sees_graph(&head) ? 2 * H : H;
    head.hidden = jsp_linear_create(params, "posterior_parameters.edges.linear_0.w",
                                    "posterior_parameters.edges.linear_0.b", n_in, H,
                                    sqrt(1.0 / n_in));
    if (is_full(&head)) {
        head.output = jsp_linear_create(params, "posterior_parameters.edges.linear_1.w",
                                        "posterior_parameters.edges.linear_1.b", H,
                                        D + D * (D + 1) / 2, sqrt(1.0 / H));
    } else {
        head.output =
            jsp_linear_create(params, "posterior_parameters.linear.w",
                              "posterior_parameters.linear.b", H, 2 * head.P, 0);
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

/* Entries of a node besides those that its parents bring, and per parent. */
static size_t fixed_entries(const jsp_head *head) {
    return is_mlp(head) ? 2 * (size_t)head->spec.n_units + 1 : 0;
}

static size_t entries_per_parent(const jsp_head *head) {
    return is_mlp(head) ? (size_t)head->spec.n_units : 1;
}

/* A DAG of D nodes has at most D (D - 1) / 2 edges, with 0, 1, ..., D - 1 parents; then
 * its factors have sum of k (k + 1) / 2 = (D - 1) D (D + 1) / 6 numbers. */
size_t jsp_head_max_entries(const jsp_head *head) {
    const size_t D = (size_t)head->D;
    return D * fixed_entries(head) + D * (D - 1) / 2 * entries_per_parent(head);
}

static void place_state(const jsp_head *head, size_t graphs, jsp_head_state *s,
                        jsp_places *p) {
    const size_t D = (size_t)head->D, nodes = graphs * D;
    const size_t entries = graphs * jsp_head_max_entries(head);
    const size_t factors = is_full(head) ? nodes * (D - 1) * (D + 1) / 6 : entries;
    s->row_first = jsp_places_take(p, graphs + 1, sizeof(int));
    s->graph = jsp_places_take(p, nodes, sizeof(int));
    s->node = jsp_places_take(p, nodes, sizeof(int));
    s->first = jsp_places_take(p, nodes + 1, sizeof(int));
    s->factor_first = jsp_places_take(p, nodes + 1, sizeof(int));
    s->parent_first = jsp_places_take(p, nodes + 1, sizeof(int));
    s->parent = jsp_places_take(p, nodes * (D - 1) / 2, sizeof(int));
    s->index = jsp_places_take(p, entries, sizeof(int));
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
    if (!is_mlp(head)) s->dense = jsp_places_take(p, 2 * nodes * D, sizeof(jsp_real));
    if (head->spec.is_local) s->local = jsp_places_take(p, nodes * H, sizeof(jsp_real));
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

int jsp_head_entries(const jsp_head_state *state) {
    return state->first[state->n_rows];
}

void jsp_head_entries_of(const jsp_head_state *state, int b, size_t *first,
                         size_t *end) {
    *first = (size_t)state->first[state->row_first[b]];
    *end = (size_t)state->first[state->row_first[b + 1]];
}

/* ---- forward ------------------------------------------------------------------------ */

static void list_rows(const jsp_head *head, jsp_head_state *s, const int *only) {
    int row = 0;
    for (int b = 0; b < s->B; b++) {
        s->row_first[b] = row;
        for (int i = 0; i < head->D; i++) {
            if (only && only[b] != i) continue;
            s->graph[row] = b;
            s->node[row++] = i;
        }
    }
    s->row_first[s->B] = s->n_rows = row;
}

/* index[entry ..] = n numbers from `start` on; returns the next entry. */
static int list_run(jsp_head_state *s, int entry, int start, int n) {
    for (int k = 0; k < n; k++) s->index[entry++] = start + k;
    return entry;
}

static void list_entries(const jsp_head *head, jsp_head_state *s,
                         const uint8_t *adjacency) {
    const int D = head->D, has_units = is_mlp(head);
    const int per_parent = (int)entries_per_parent(head);
    int entry = 0, factor = 0, edge = 0;
    for (int n = 0; n < s->n_rows; n++) {
        const uint8_t *graph = adjacency + (size_t)s->graph[n] * (size_t)(D * D);
        s->first[n] = entry;
        s->factor_first[n] = factor;
        s->parent_first[n] = edge;
        const int start =
            has_units ? per_parent : 0; /* behind the biases of the units */
        if (has_units) entry = list_run(s, entry, 0, per_parent);
        for (int j = 0; j < D; j++) {
            if (!graph[j * D + s->node[n]]) continue;
            s->parent[edge++] = j;
            entry = list_run(s, entry, start + j * per_parent, per_parent);
        }
        if (has_units) {
            entry = list_run(s, entry, start + D * per_parent, per_parent + 1);
        }
        const int k = entry - s->first[n];
        factor += is_full(head) ? k * (k + 1) / 2 : k;
    }
    s->first[s->n_rows] = entry;
    s->factor_first[s->n_rows] = factor;
    s->parent_first[s->n_rows] = edge;
}

/* relu(own_i + sum over parents j of pair_ij) */
static void forward_local(const jsp_head *head, const jsp_real *params,
                          jsp_head_state *s) {
    for (int n = 0; n < s->n_rows; n++) {
        const size_t i = (size_t)s->node[n], D = (size_t)head->D;
        jsp_real *x = s->local + (size_t)n * H;
        memcpy(x, params + head->own + i * H, H * sizeof *x);
        for (int a = s->parent_first[n]; a < s->parent_first[n + 1]; a++) {
            const size_t pair = i * D + (size_t)s->parent[a];
            jsp_kernels_active()->add(H, params + head->pair + pair * H, x);
        }
        for (int k = 0; k < H; k++) x[k] = x[k] > 0 ? x[k] : 0;
    }
}

static void forward_hidden(const jsp_head *head, const jsp_real *params,
                           jsp_head_state *s) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *layer = &head->hidden;
    const jsp_real *W = params + layer->weight, *b = params + layer->bias;
    if (!sees_graph(head)) {
        const jsp_real *x = head->spec.is_local ? s->local : s->node_features;
        kernels->dense_forward(s->n_rows, H, H, x, W, b, NULL, 1, NULL, s->hidden);
        return;
    }
    kernels->dense_forward(s->B, H, H, s->global_features, W + H * H, b, NULL, 0, NULL,
                           s->graph_part);
    for (size_t n = 0; n < (size_t)s->n_rows; n++) {
        memcpy(s->offset + n * H, s->graph_part + (size_t)s->graph[n] * H,
               H * sizeof *s->offset);
    }
    kernels->dense_forward(s->n_rows, H, H, s->node_features, W, NULL, s->offset, 1,
                           NULL, s->hidden);
}

/* Outputs that are computed at once. */
enum { MAX_RUN = 32 };

/* y[k] = output first + k of the last layer, k < n <= MAX_RUN */
static void compute_outputs(const jsp_head *head, const jsp_real *shared, int first,
                            int n, const jsp_real *hidden, double *y) {
    const jsp_real *bias = shared + (size_t)head->output.n_out * H + (size_t)first;
    jsp_real sum[MAX_RUN];
    jsp_kernels_active()->rows_dot(n, H, shared + (size_t)first * H, hidden, sum);
    for (int k = 0; k < n; k++) y[k] = (double)sum[k] + (double)bias[k];
}

/* Entries from `begin` on whose indices follow each other. */
static int run_length(const jsp_head_state *s, int begin, int end) {
    int n = 1;
    while (begin + n < end && n < MAX_RUN &&
           s->index[begin + n] == s->index[begin] + n) {
        n++;
    }
    return n;
}

/* Where U_ac of the parents a < c (indices of variables) is among the outputs of `full`:
 * the strict upper triangle row by row, after loc and the diagonal. */
static int pair_output(int D, int a, int c) {
    return 2 * D + a * (2 * D - a - 1) / 2 + (c - a - 1);
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

/* dense[n, o] = output o of row n, o < 2 D, without its bias */
static void forward_dense(const jsp_head *head, const jsp_real *params,
                          jsp_head_state *s) {
    const size_t n_out = (size_t)head->output.n_out, columns = 2 * (size_t)head->D;
    jsp_kernels_active()->product(s->n_rows, H, 2 * head->D, s->hidden, H, 1,
                                  params + head->output.weight, n_out, 0, s->dense,
                                  columns);
}

/* loc and r of row n */
static void forward_entries(const jsp_head *head, const jsp_real *shared,
                            jsp_head_state *s, int n) {
    const jsp_real *hidden = s->hidden + (size_t)n * H;
    const jsp_real *bias = shared + (size_t)head->output.n_out * H;
    if (is_mlp(head)) {
        for (int e = s->first[n], length; e < s->first[n + 1]; e += length) {
            const int index = s->index[e];
            length = run_length(s, e, s->first[n + 1]);
            compute_outputs(head, shared, index, length, hidden, s->loc + e);
            compute_outputs(head, shared, head->P + index, length, hidden, s->raw + e);
        }
        return;
    }
    const jsp_real *dense = s->dense + (size_t)n * 2 * (size_t)head->D;
    for (int e = s->first[n]; e < s->first[n + 1]; e++) {
        const int loc = s->index[e], raw = head->D + loc;
        s->loc[e] = (double)dense[loc] + (double)bias[loc];
        s->raw[e] = (double)dense[raw] + (double)bias[raw];
    }
}

static void forward_node(const jsp_head *head, const jsp_real *shared,
                         jsp_head_state *s, int n) {
    const int k = s->first[n + 1] - s->first[n];
    const jsp_real *hidden = s->hidden + (size_t)n * H;
    const int *parent = s->parent + s->parent_first[n];
    const double *raw = s->raw + s->first[n];
    double *factor = s->factor + s->factor_first[n];
    double *inverse = s->inverse + s->factor_first[n];
    forward_entries(head, shared, s, n);
    if (!is_full(head)) {
        for (int a = 0; a < k; a++) {
            inverse[a] = jsp_special_softplus(raw[a]);
            factor[a] = 1 / inverse[a];
        }
        return;
    }
    for (int a = 0; a < k; a++) {
        *factor++ = jsp_special_softplus(raw[a]);
        for (int c = a + 1; c < k; c++) {
            compute_outputs(head, shared, pair_output(head->D, parent[a], parent[c]), 1,
                            hidden, factor++);
        }
    }
    invert_factor(k, s->factor + s->factor_first[n], inverse);
}

void jsp_head_forward(const jsp_head *head, const jsp_real *params,
                      const jsp_real *shared, jsp_head_state *state, int B,
                      const uint8_t *adjacency, const int *only,
                      const jsp_real *node_features, const jsp_real *global_features) {
    assert(B <= state->capacity && (!only || head->spec.is_local));
    state->B = B;
    state->node_features = node_features;
    state->global_features = global_features;
    list_rows(head, state, only);
    list_entries(head, state, adjacency);
    if (head->spec.is_local) forward_local(head, params, state);
    forward_hidden(head, params, state);
    if (!is_mlp(head)) forward_dense(head, params, state);
    const int rows = state->n_rows;
    for (int n = 0; n < rows; n++) forward_node(head, shared, state, n);
    memset(state->d_loc, 0, (size_t)state->first[rows] * sizeof(double));
    memset(state->d_factor, 0, (size_t)state->factor_first[rows] * sizeof(double));
}

/* ---- backward ----------------------------------------------------------------------- */

/* Given the gradients d of n outputs: weights, biases and hidden layer. */
static void pull_outputs(const jsp_head *head, const jsp_real *shared, int first, int n,
                         const double *d, const jsp_real *hidden, jsp_real *d_hidden,
                         jsp_real *d_shared) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t row = (size_t)first * H;
    jsp_real *d_bias = d_shared + (size_t)head->output.n_out * H + (size_t)first;
    jsp_real gradient[MAX_RUN];
    for (int k = 0; k < n; k++) {
        gradient[k] = (jsp_real)d[k];
        d_bias[k] += gradient[k];
    }
    kernels->rows_weighted_sum(n, H, shared + row, gradient, d_hidden);
    kernels->product(n, 1, H, gradient, 1, 1, hidden, H, 1, d_shared + row, H);
}

/* Gradients of r, given those of U. */
static void pull_softplus(const jsp_head *head, const jsp_head_state *s, int n,
                          double *d_raw) {
    const int k = s->first[n + 1] - s->first[n];
    const double *raw = s->raw + s->first[n], *factor = s->factor + s->factor_first[n];
    const double *d_factor = s->d_factor + s->factor_first[n];
    for (int a = 0, at = 0; a < k; a++) {
        const double small = exp(-fabs(raw[a])); /* no overflow on either side */
        const double sigmoid = (raw[a] > 0 ? 1 : small) / (1 + small);
        d_raw[a] = d_factor[at] * sigmoid;
        /* d U = -U^2 sigmoid dr, in an order in which nothing overflows before U does */
        if (!is_full(head))
            d_raw[a] = -(d_factor[at] * factor[at]) * (sigmoid * factor[at]);
        at += is_full(head) ? k - a : 1;
    }
}

/* From gradients of loc and r, in s->raw, to d_hidden (overwritten) and the weights. */
static void backward_dense(const jsp_head *head, const jsp_real *shared,
                           jsp_head_state *s, jsp_real *d_shared) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = head->D;
    const size_t columns = 2 * (size_t)D;
    jsp_real *d_bias = d_shared + (size_t)head->output.n_out * H;
    memset(s->dense, 0, (size_t)s->n_rows * columns * sizeof(jsp_real));
    for (int n = 0; n < s->n_rows; n++) {
        jsp_real *d = s->dense + (size_t)n * columns;
        for (int e = s->first[n]; e < s->first[n + 1]; e++) {
            d[s->index[e]] = (jsp_real)s->d_loc[e];
            d[D + s->index[e]] = (jsp_real)s->raw[e];
        }
        kernels->add(columns, d, d_bias);
    }
    kernels->product(s->n_rows, 2 * D, H, s->dense, columns, 1, shared, H, 0,
                     s->d_hidden, H);
    kernels->product(2 * D, s->n_rows, H, s->dense, 1, columns, s->hidden, H, 1,
                     d_shared, H);
}

/* The outputs that are computed one by one. */
static void backward_node(const jsp_head *head, const jsp_real *shared,
                          jsp_head_state *s, int n, jsp_real *d_shared) {
    const int k = s->first[n + 1] - s->first[n];
    const jsp_real *hidden = s->hidden + (size_t)n * H;
    jsp_real *d_hidden = s->d_hidden + (size_t)n * H;
    const int *parent = s->parent + s->parent_first[n];
    const double *d_factor = s->d_factor + s->factor_first[n];
    for (int e = s->first[n], length; is_mlp(head) && e < s->first[n + 1];
         e += length) {
        length = run_length(s, e, s->first[n + 1]);
        pull_outputs(head, shared, s->index[e], length, s->d_loc + e, hidden, d_hidden,
                     d_shared);
        pull_outputs(head, shared, head->P + s->index[e], length, s->raw + e, hidden,
                     d_hidden, d_shared);
    }
    for (int a = 0; a < k && is_full(head); a++) {
        d_factor++;
        for (int c = a + 1; c < k; c++, d_factor++) {
            pull_outputs(head, shared, pair_output(head->D, parent[a], parent[c]), 1,
                         d_factor, hidden, d_hidden, d_shared);
        }
    }
}

/* From d_hidden before the ReLU to the features of the graph. */
static void backward_graph(const jsp_head *head, const jsp_real *params,
                           const jsp_head_state *s, jsp_real *d_global_features,
                           jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t second = head->hidden.weight + H * H;
    memset(s->graph_part, 0, (size_t)s->B * H * sizeof(jsp_real));
    for (size_t n = 0; n < (size_t)s->n_rows; n++) {
        kernels->add(H, s->d_hidden + n * H, s->graph_part + (size_t)s->graph[n] * H);
    }
    kernels->dense_backward_weight(s->B, H, H, s->global_features, s->graph_part,
                                   d_params + second, NULL);
    kernels->dense_backward_input(s->B, H, H, s->graph_part, params + second, 0,
                                  d_global_features);
}

/* From d_hidden before the ReLU to the tables of a local head; `offset` is scratch. */
static void backward_local(const jsp_head *head, const jsp_real *params,
                           const jsp_head_state *s, jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t numbers = (size_t)s->n_rows * H, D = (size_t)head->D;
    kernels->dense_backward_input(s->n_rows, H, H, s->d_hidden,
                                  params + head->hidden.weight, 0, s->offset);
    kernels->relu_backward(numbers, s->local, NULL, s->offset, s->offset);
    for (int n = 0; n < s->n_rows; n++) {
        const size_t i = (size_t)s->node[n];
        const jsp_real *d = s->offset + (size_t)n * H;
        kernels->add(H, d, d_params + head->own + i * H);
        for (int a = s->parent_first[n]; a < s->parent_first[n + 1]; a++) {
            const size_t pair = i * D + (size_t)s->parent[a];
            kernels->add(H, d, d_params + head->pair + pair * H);
        }
    }
}

void jsp_head_backward(const jsp_head *head, const jsp_real *params,
                       const jsp_real *shared, jsp_head_state *state,
                       jsp_real *d_node_features, jsp_real *d_global_features,
                       jsp_real *d_params, jsp_real *d_shared) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int rows = state->n_rows, is_local = head->spec.is_local;
    const size_t numbers = (size_t)rows * H;
    /* r itself is not needed any more */
    for (int n = 0; n < rows; n++)
        pull_softplus(head, state, n, state->raw + state->first[n]);
    if (is_mlp(head)) {
        memset(state->d_hidden, 0, numbers * sizeof(jsp_real));
    } else {
        backward_dense(head, shared, state, d_shared);
    }
    for (int n = 0; n < rows; n++) backward_node(head, shared, state, n, d_shared);
    kernels->relu_backward(numbers, state->hidden, NULL, state->d_hidden,
                           state->d_hidden);
    kernels->dense_backward_weight(rows, H, H,
                                   is_local ? state->local : state->node_features,
                                   state->d_hidden, d_params + head->hidden.weight,
                                   d_params + head->hidden.bias);
    if (!sees_graph(head)) {
        memset(d_global_features, 0, (size_t)state->B * H * sizeof(jsp_real));
    }
    if (is_local) {
        memset(d_node_features, 0,
               (size_t)state->B * (size_t)head->D * H * sizeof(jsp_real));
        backward_local(head, params, state, d_params);
        return;
    }
    kernels->dense_backward_input(rows, H, H, state->d_hidden,
                                  params + head->hidden.weight, 0, d_node_features);
    if (sees_graph(head)) {
        backward_graph(head, params, state, d_global_features, d_params);
    }
}
