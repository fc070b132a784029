/* test_layers.c - layer normalisation, attention and message passing: forward against plain
 * twins that follow the definitions, gradients by central differences along random
 * directions in the double build. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_attention.h"
#include "jsp_graphnet.h"
#include "jsp_kernels.h"
#include "jsp_layernorm.h"

#ifdef JSP_REAL_DOUBLE
#define TOLERANCE 1e-12
#else
#define TOLERANCE 2e-5
#endif

static jsp_rng rng;

static jsp_real *make_array(size_t n) {
    jsp_real *p = malloc((n ? n : 1) * sizeof *p);
    for (size_t k = 0; k < n; k++) p[k] = (jsp_real)jsp_rng_normal(&rng);
    return p;
}

static double dot(size_t n, const jsp_real *x, const jsp_real *y) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += (double)x[k] * (double)y[k];
    return sum;
}

#ifdef JSP_REAL_DOUBLE
typedef double (*loss_function)(void *context);

/* |slope of the loss along a random direction of `values` - the gradient's| relative to
 * the length of the gradient; values come back unchanged. */
static double compare_slopes(loss_function loss, void *context, size_t n,
                             jsp_real *values, const jsp_real *gradient, double h) {
    static const double steps[4] = {1, -1, 2, -2}, weights[4] = {8, -8, -1, 1};
    jsp_real *kept = malloc(n * sizeof *kept), *direction = make_array(n);
    double numeric = 0;
    memcpy(kept, values, n * sizeof *kept);
    for (int s = 0; s < 4; s++) {
        for (size_t k = 0; k < n; k++)
            values[k] = kept[k] + steps[s] * h * direction[k];
        numeric += weights[s] * loss(context) / (12 * h);
    }
    memcpy(values, kept, n * sizeof *kept);
    double error = fabs(numeric - dot(n, gradient, direction)) /
                   (sqrt(dot(n, gradient, gradient)) + 1e-3);
    free(kept), free(direction);
    return error;
}
#endif

/* ---- attention ---------------------------------------------------------------------- */

typedef struct attention {
    int B, D, H, n_heads;
    size_t numbers;
    jsp_real *query, *key, *value, *weights, *out, *scratch, *target;
} attention;

static void create_attention(attention *a, int B, int D, int H, int n_heads) {
    *a = (attention){.B = B, .D = D, .H = H, .n_heads = n_heads};
    a->numbers = (size_t)(B * D * H);
    jsp_real **arrays[] = {&a->query, &a->key, &a->value, &a->out, &a->target};
    for (int k = 0; k < 5; k++) *arrays[k] = make_array(a->numbers);
    a->weights = make_array((size_t)(B * n_heads * D * D));
    a->scratch = make_array(jsp_attention_scratch_size(D, H, n_heads));
}

static void destroy_attention(attention *a) {
    free(a->query), free(a->key), free(a->value), free(a->weights), free(a->out);
    free(a->scratch), free(a->target);
}

static double attention_loss(void *context) {
    attention *a = context;
    jsp_attention_forward(a->B, a->D, a->H, a->n_heads, a->query, a->key, a->value,
                          a->weights, a->out, a->scratch);
    return dot(a->numbers, a->out, a->target);
}

/* Largest difference of `out` from the definition. */
static double compare_attention(const attention *a) {
    const int width = a->H / a->n_heads;
    double worst = 0, p[64];
    for (int row = 0; row < a->B * a->D; row++) {
        const int first = row / a->D * a->D;
        for (int h = 0; h < a->n_heads; h++) {
            double sum = 0;
            for (int j = 0; j < a->D; j++) {
                p[j] = exp(dot((size_t)width, a->query + row * a->H + h * width,
                               a->key + (first + j) * a->H + h * width) /
                           sqrt(width));
                sum += p[j];
            }
            for (int c = h * width; c < (h + 1) * width; c++) {
                double out = 0;
                for (int j = 0; j < a->D; j++) {
                    out += p[j] / sum * (double)a->value[(first + j) * a->H + c];
                }
                worst = fmax(worst, fabs(out - (double)a->out[row * a->H + c]));
            }
        }
    }
    return worst;
}

static int test_attention(void) {
    static const int cases[][4] = {{1, 1, 4, 1}, {3, 5, 12, 3}, {2, 20, 128, 4}};
    for (int c = 0; c < 3; c++) {
        attention a;
        create_attention(&a, cases[c][0], cases[c][1], cases[c][2], cases[c][3]);
        attention_loss(&a);
        CHECK_NEAR(compare_attention(&a), 0, TOLERANCE);
        jsp_real *d[3];
        for (int k = 0; k < 3; k++) d[k] = make_array(a.numbers);
        jsp_attention_backward(a.B, a.D, a.H, a.n_heads, a.query, a.key, a.value,
                               a.weights, a.target, d[0], d[1], d[2], a.scratch);
#ifdef JSP_REAL_DOUBLE
        jsp_real *values[3] = {a.query, a.key, a.value};
        for (int k = 0; k < 3; k++) {
            CHECK_NEAR(compare_slopes(attention_loss, &a, a.numbers, values[k], d[k],
                                      1e-4),
                       0, 1e-8);
        }
#endif
        for (int k = 0; k < 3; k++) free(d[k]);
        destroy_attention(&a);
    }
    return 0;
}

/* ---- layer normalisation ------------------------------------------------------------ */

typedef struct normalisation {
    int B;
    jsp_params layout;
    jsp_layernorm layer;
    jsp_real *params, *x, *y, *moments, *target;
} normalisation;

static double layernorm_loss(void *context) {
    normalisation *s = context;
    jsp_layernorm_forward(&s->layer, s->params, s->B, s->x, s->y, s->moments);
    return dot((size_t)(s->B * s->layer.n), s->y, s->target);
}

static int test_layernorm(void) {
    enum { B = 5, N = 40 };
    normalisation s = {.B = B};
    jsp_params_init(&s.layout);
    s.layer = jsp_layernorm_create(&s.layout, "scale", "offset", N);
    s.params = make_array(s.layout.size);
    jsp_params_fill(&s.layout, 1, s.params);
    CHECK(s.params[s.layer.scale + 7] == 1 && s.params[s.layer.offset + 7] == 0);
    for (size_t k = 0; k < s.layout.size; k++)
        s.params[k] += (jsp_real)0.1 * (jsp_real)k;
    s.x = make_array(B * N), s.y = make_array(B * N), s.moments = make_array(2 * B);
    s.target = make_array(B * N);
    jsp_real *dx = make_array(B * N),
             *d_params = calloc(s.layout.size, sizeof *d_params);
    double loss = layernorm_loss(&s);
    jsp_layernorm_backward(&s.layer, s.params, B, s.x, s.moments, s.target, dx,
                           d_params);
    /* the loss is linear in scale and offset */
    CHECK_NEAR(dot(s.layout.size, s.params, d_params), loss, 100 * TOLERANCE);
#ifdef JSP_REAL_DOUBLE
    CHECK_NEAR(compare_slopes(layernorm_loss, &s, B * N, s.x, dx, 1e-3), 0, 1e-8);
    CHECK_NEAR(compare_slopes(layernorm_loss, &s, s.layout.size, s.params, d_params,
                              1e-3),
               0, 1e-8);
#endif
    free(s.params), free(s.x), free(s.y), free(s.moments), free(s.target);
    free(dx), free(d_params);
    return 0;
}

/* ---- message passing ---------------------------------------------------------------- */

typedef struct messages {
    int B, D, H;
    jsp_params layout;
    jsp_graphnet net;
    uint8_t *adjacency;
    jsp_graphnet_pairs pairs;
    jsp_graphnet_state state;
    jsp_real *params, *block, *cache, *scratch, *target_hidden, *target_globals;
} messages;

static void create_messages(messages *m, int B, int D, int H, double density) {
    const size_t cells = (size_t)(D * D), nodes = (size_t)(B * D * H);
    *m = (messages){.B = B, .D = D, .H = H};
    jsp_params_init(&m->layout);
    m->net = jsp_graphnet_create(&m->layout, D, H);
    m->params = make_array(m->layout.size);
    jsp_params_fill(&m->layout, 2, m->params);
    for (size_t k = 0; k < m->layout.size; k++) {
        if (m->params[k] == 0) m->params[k] = (jsp_real)(0.3 * jsp_rng_normal(&rng));
    }
    m->adjacency = calloc((size_t)B * cells, 1);
    for (int b = 1; b < B; b++) { /* the first graph is empty */
        for (int k = 0; k < D * D; k++) {
            m->adjacency[b * D * D + k] =
                k % (D + 1) != 0 && jsp_rng_uniform(&rng) < density;
        }
    }
    m->pairs.sender = malloc((cells + 1) * sizeof(int));
    m->pairs.receiver = malloc((cells + 1) * sizeof(int));
    m->pairs.row = malloc(cells * sizeof(int));
    jsp_graphnet_pairs_reset(&m->pairs, D);
    jsp_graphnet_pairs_collect(&m->pairs, D, B, m->adjacency);
    jsp_graphnet_pairs_finish(&m->pairs, D);
    m->block = make_array(jsp_graphnet_tables_size(&m->net, m->pairs.n));
    m->cache = make_array(jsp_graphnet_cache_size(&m->net, m->pairs.n));
    m->scratch = make_array((size_t)((2 * m->pairs.n + 2 * D + B) * H));
    m->state.node_hidden = make_array(nodes);
    jsp_real **of_graphs[] = {&m->state.hidden_sum, &m->state.edge_sum,
                              &m->state.node_sum,   &m->state.global_hidden,
                              &m->state.globals,    &m->target_globals};
    for (int k = 0; k < 6; k++) *of_graphs[k] = make_array((size_t)(B * H));
    m->target_hidden = make_array(nodes);
}

static void destroy_messages(messages *m) {
    free(m->params), free(m->adjacency), free(m->pairs.sender), free(m->pairs.receiver);
    free(m->pairs.row), free(m->block), free(m->cache), free(m->scratch);
    free(m->state.node_hidden), free(m->state.hidden_sum), free(m->state.edge_sum);
    free(m->state.node_sum);
    free(m->state.global_hidden), free(m->state.globals);
    free(m->target_hidden), free(m->target_globals);
}

static double messages_loss(void *context) {
    messages *m = context;
    jsp_graphnet_tables tables =
        jsp_graphnet_tables_place(&m->net, m->pairs.n, m->block);
    jsp_graphnet_tables_forward(&m->net, m->params, &m->pairs, &tables, m->cache);
    for (int k = 0; k < jsp_graphnet_n_blocks(&m->pairs); k++) {
        jsp_graphnet_block_forward(&m->net, m->params, &m->pairs, &tables, m->cache, k);
    }
    jsp_graphnet_forward(&m->net, m->params, &m->pairs, &tables, m->B, m->adjacency,
                         &m->state);
    return dot((size_t)(m->B * m->D * m->H), m->state.node_hidden, m->target_hidden) +
           dot((size_t)(m->B * m->H), m->state.globals, m->target_globals);
}

/* out[H] (+)= x W + b of a layer; x has n_in numbers */
static void apply_twin(const messages *m, const jsp_linear *layer, const double *x,
                       int relu, double *out) {
    for (int j = 0; j < layer->n_out; j++) {
        double sum = (double)m->params[layer->bias + (size_t)j];
        for (int k = 0; k < layer->n_in; k++) {
            sum += x[k] * (double)m->params[layer->weight + (size_t)(k * m->H + j)];
        }
        out[j] = relu && sum < 0 ? 0 : sum;
    }
}

/* Graph b by the definition: inputs side by side, a zero at the end. hidden [D, H],
 * globals [H]. */
static void run_messages_twin(const messages *m, int b, double *hidden,
                              double *globals) {
    enum { MOST = 3 * 40 + 1 };
    const int D = m->D, H = m->H;
    const uint8_t *adjacency = m->adjacency + b * D * D;
    const jsp_real *embedding = m->params + m->net.embedding;
    double x[MOST], inner[MOST], edge[MOST];
    double *sums = calloc((size_t)((2 * D + 2) * H), sizeof *sums);
    double *node_total = sums + 2 * D * H, *edge_total = node_total + H;
    for (int s = 0; s < D; s++) {
        for (int r = 0; r < D; r++) {
            if (!adjacency[s * D + r]) continue;
            for (int k = 0; k < H; k++) {
                x[k] = (double)m->params[m->net.edge_vector + (size_t)k];
                x[H + k] = (double)embedding[s * H + k];
                x[2 * H + k] = (double)embedding[r * H + k];
            }
            x[3 * H] = 0;
            apply_twin(m, &m->net.edge[0], x, 1, inner);
            apply_twin(m, &m->net.edge[1], inner, 0, edge);
            for (int k = 0; k < H; k++) {
                sums[s * 2 * H + k] += edge[k];
                sums[(r * 2 + 1) * H + k] += edge[k];
                edge_total[k] += edge[k];
            }
        }
    }
    for (int v = 0; v < D; v++) {
        for (int k = 0; k < H; k++) x[k] = (double)embedding[v * H + k];
        memcpy(x + H, sums + v * 2 * H, (size_t)(2 * H) * sizeof *x);
        x[3 * H] = 0;
        apply_twin(m, &m->net.node[0], x, 1, hidden + v * H);
        apply_twin(m, &m->net.node[1], hidden + v * H, 0, inner);
        for (int k = 0; k < H; k++) node_total[k] += inner[k];
    }
    memcpy(x, node_total, (size_t)(2 * H) * sizeof *x);
    x[2 * H] = 0;
    apply_twin(m, &m->net.global[0], x, 1, inner);
    apply_twin(m, &m->net.global[1], inner, 0, globals);
    free(sums);
}

/* Gradient of messages_loss, which has just been called, with respect to all parameters. */
static void pull_messages(messages *m, jsp_real *gradient) {
    const int H = m->H;
    const size_t nodes = (size_t)(m->B * m->D * H), graphs = (size_t)(m->B * H);
    const size_t square = (size_t)(H * H);
    jsp_real *d_block = make_array(jsp_graphnet_tables_size(&m->net, m->pairs.n));
    jsp_real *pull_block = make_array(jsp_graphnet_pull_size(&m->net, m->B));
    jsp_real *d_globals = make_array(graphs), *transposed = make_array(3 * square);
    const size_t weights[] = {m->net.node[1].weight, m->net.global[0].weight,
                              m->net.global[1].weight};
    jsp_real *turned[3];
    for (int k = 0; k < 3; k++) {
        turned[k] = transposed + (size_t)k * square;
        jsp_kernels_active()->transpose(H, H, m->params + weights[k], (size_t)H,
                                        turned[k], (size_t)H);
    }
    jsp_graphnet_pull pull = jsp_graphnet_pull_place(&m->net, m->B, pull_block);
    pull.B = m->B;
    pull.adjacency = m->adjacency;
    pull.action = NULL;
    memcpy(pull.node, m->target_hidden, nodes * sizeof *pull.node);
    memcpy(d_globals, m->target_globals, graphs * sizeof *d_globals);
    jsp_graphnet_tables d_tables =
        jsp_graphnet_tables_place(&m->net, m->pairs.n, d_block);
    jsp_graphnet_backward(&m->net, turned, m->B, &m->state, d_globals, &pull, gradient,
                          m->scratch);
    for (int v = 0; v < m->D; v++) {
        jsp_graphnet_node_backward(&m->net, &m->pairs, &pull, &d_tables, v);
    }
    for (int k = 0; k < JSP_GRAPHNET_WEIGHTS; k++) {
        jsp_graphnet_weight_backward(&m->net, &m->pairs, &d_tables, m->cache, gradient,
                                     k);
    }
    for (int k = 0; k < jsp_graphnet_n_blocks(&m->pairs); k++) {
        jsp_graphnet_block_backward(&m->net, m->params, &m->pairs, &d_tables, m->cache,
                                    m->scratch, k);
    }
    jsp_graphnet_tables_backward(&m->net, m->params, &m->pairs, &d_tables, m->cache,
                                 gradient, m->scratch);
    free(d_block), free(pull_block), free(d_globals), free(transposed);
}

static int check_messages(messages *m) {
    double *hidden = malloc((size_t)(m->D * m->H) * sizeof *hidden), globals[64];
    messages_loss(m);
    for (int b = 0; b < m->B; b++) {
        run_messages_twin(m, b, hidden, globals);
        for (int k = 0; k < m->D * m->H; k++) {
            CHECK_NEAR((double)m->state.node_hidden[b * m->D * m->H + k], hidden[k],
                       50 * TOLERANCE);
        }
        for (int k = 0; k < m->H; k++) {
            CHECK_NEAR((double)m->state.globals[b * m->H + k], globals[k],
                       50 * TOLERANCE * (1 + fabs(globals[k])));
        }
    }
    free(hidden);
    jsp_real *gradient = calloc(m->layout.size, sizeof *gradient);
    pull_messages(m, gradient);
    /* the input that is always zero has no gradient */
    const size_t last = m->net.edge[0].weight + (size_t)(3 * m->H * m->H);
    for (int k = 0; k < m->H; k++) CHECK(gradient[last + (size_t)k] == 0);
#ifdef JSP_REAL_DOUBLE
    for (int k = 0; k < 5; k++) {
        /* a short step, or ReLUs would pass their kinks */
        CHECK_NEAR(compare_slopes(messages_loss, m, m->layout.size, m->params, gradient,
                                  2e-8),
                   0, 1e-6);
    }
#endif
    free(gradient);
    return 0;
}

static int test_messages(void) {
    static const int cases[][3] = {{4, 6, 9}, {1, 1, 4}, {3, 2, 16}, {6, 9, 40}};
    for (int c = 0; c < 4; c++) {
        for (int density = 0; density <= 2; density++) { /* no, some and all edges */
            messages m;
            create_messages(&m, cases[c][0], cases[c][1], cases[c][2],
                            0.5 * density - (density == 0));
            CHECK(!check_messages(&m));
            destroy_messages(&m);
        }
    }
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"attention", test_attention},
        {"layernorm", test_layernorm},
        {"messages", test_messages},
    };
    jsp_rng_init(&rng, 22, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
