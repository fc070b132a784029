#include "jsp_edges.h"

#include <math.h>
#include <stdlib.h>

#include "jsp_memory.h"
#include "jsp_odds.h"
#include "jsp_rng.h"

/* A cache for the initial rows only. */
#define START_CACHE_BYTES ((size_t)1 << 16)

/* Width of the network. A wide one is worth its time where many decisions depend on each
 * other; small problems are learned in fewer updates by a narrow one. */
#define NARROW 32
#define WIDE JSP_EDGES_MAX_HIDDEN

/* Up to this number of variables a problem is small. At 20 variables and equal time the
 * wide network ends 0.02 nats closer, at 16 as close, at 12 not as close. */
#define SMALL_VARIABLES 16

/* The sum over all edges enters the wide network times (POOL_VARIABLES / D)^2: in a graph
 * of 50 variables, where a hundred edges have nothing to do with an option, it is mostly
 * noise, at 20 it still costs a fifth of the divergence. The narrow network needs it as it
 * is: a posterior of 11 variables with far-apart modes was 10 times as far off without. */
#define POOL_VARIABLES 4

/* Of the logarithms of strengths in orders other than the first: policies of orders that
 * are further apart have less in common, but find their own order harder. */
#define SPREAD 0.5

typedef struct ranked_slot {
    jsp_edges_slot slot;
    double strength;
} ranked_slot;

/* Log-odds, not clipped, that candidate k joins an otherwise free parent set: the order
 * of the slots must also rank pairs whose odds all lie far beyond the clipping of the
 * rows. */
static double free_log_odds(const jsp_scores *scores, int child, int k) {
    if (k < 0) return -INFINITY;
    uint32_t all = ((uint32_t)1 << scores->node[child].K) - 1;
    double ratio =
        jsp_odds_restricted_sum(scores, child, 0, all & ~((uint32_t)1 << k)) -
        jsp_odds_restricted_sum(scores, child, 0, all);
    if (ratio > -1e-13) return -INFINITY;
    return ratio < -30 ? -ratio : log(-expm1(ratio)) - ratio;
}

/* log(1 + e^x + e^y) */
static double log_one_plus(double x, double y) {
    double top = fmax(0, fmax(x, y));
    return top + log(exp(-top) + exp(x - top) + exp(y - top));
}

/* Strongest first; ties in index order, so that the order never depends on the sort. */
static int compare_slots(const void *left, const void *right) {
    const ranked_slot *x = left, *y = right;
    if (x->strength != y->strength) return x->strength > y->strength ? -1 : 1;
    if (x->slot.a != y->slot.a) return x->slot.a - y->slot.a;
    return x->slot.b - y->slot.b;
}

static int is_required(const jsp_scores *scores, int child, int k) {
    return k >= 0 && (scores->node[child].required >> k & 1);
}

/* Strengths of order `order` stand in for the true ones: a normal number of its own is
 * added to the logarithm of each, so that pairs change places with pairs of like strength. */
static void shuffle_strengths(int order, int n, ranked_slot *ranked) {
    jsp_rng rng;
    for (int p = 0; p < n; p++) {
        jsp_rng_init(&rng, (uint64_t)order, (uint32_t)ranked[p].slot.a,
                     (uint32_t)ranked[p].slot.b, JSP_RNG_SLOTS);
        ranked[p].strength = log(ranked[p].strength) + SPREAD * jsp_rng_normal(&rng);
    }
}

/* A pair with a required edge is decided, so it has no slot. */
static int collect_slots(const jsp_scores *scores, ranked_slot *ranked) {
    int D = scores->n_variables, n = 0;
    for (int a = 0; a < D; a++) {
        for (int b = a + 1; b < D; b++) {
            int8_t ab = scores->local_index[a * D + b];
            int8_t ba = scores->local_index[b * D + a];
            if (ab < 0 && ba < 0) continue;
            if (is_required(scores, b, ab) || is_required(scores, a, ba)) continue;
            ranked[n].slot = (jsp_edges_slot){(int16_t)a, (int16_t)b, ab, ba};
            ranked[n++].strength = log_one_plus(free_log_odds(scores, b, ab),
                                                free_log_odds(scores, a, ba));
        }
    }
    return n;
}

static jsp_status order_slots(jsp_edges *edges, int order, jsp_error *error) {
    size_t D = (size_t)edges->scores->n_variables;
    size_t n_pairs = D * (D - 1) / 2;
    ranked_slot *ranked = jsp_memory_alloc(n_pairs, sizeof *ranked);
    edges->slot = jsp_memory_alloc(n_pairs, sizeof *edges->slot);
    if (!ranked || !edges->slot) {
        jsp_memory_free(ranked);
        return jsp_status_no_memory(error, n_pairs * sizeof *ranked, "the pair slots");
    }
    edges->n_slots = collect_slots(edges->scores, ranked);
    if (order > 0) shuffle_strengths(order, edges->n_slots, ranked);
    qsort(ranked, (size_t)edges->n_slots, sizeof *ranked, compare_slots);
    for (int p = 0; p < edges->n_slots; p++) {
        edges->slot[p] = ranked[p].slot;
        edges->n_directed +=
            (ranked[p].slot.bit_ab >= 0) + (ranked[p].slot.bit_ba >= 0);
    }
    jsp_memory_free(ranked);
    return JSP_OK;
}

static void register_tensors(jsp_edges *edges) {
    jsp_params *layout = &edges->layout;
    jsp_edges_tensors *tensor = &edges->tensor;
    const int D = edges->scores->n_variables, H = edges->hidden;
    const int directions = 2 * edges->n_slots;
    const double scale[2] = {0.25, sqrt(1.0 / H)};
    jsp_params_init(layout);
    edges->mlp = jsp_mlp_create(layout, JSP_EDGES_FEATURES, H, 2, scale);
    tensor->parent_embedding = jsp_params_add(layout, "parent_embedding", D, H, 0.2, 0);
    tensor->child_embedding = jsp_params_add(layout, "child_embedding", D, H, 0.2, 0);
    tensor->edge_embedding =
        jsp_params_add(layout, "edge_embedding", directions, H, 0.1, 0);
    if (edges->is_large) {
        tensor->pair_embedding =
            jsp_params_add(layout, "pair_embedding", directions, H, 0, 0);
        tensor->above = jsp_params_add(layout, "above", D, 2 * H, 0, 0);
        tensor->below = jsp_params_add(layout, "below", D, 2 * H, 0, 0);
    }
    /* the outputs start at 0, so that the untrained policy is base + look-ahead */
    tensor->output = jsp_params_add(layout, "output", H, 1, 0, 0);
    tensor->pair_output = jsp_params_add(layout, "pair_output", directions, H, 0, 0);
    tensor->pair_bias = jsp_params_add(layout, "pair_bias", directions, 1, 0, 0);
    tensor->odds_weight = jsp_params_add(layout, "odds_weight", 1, 1, 0, 0);
    tensor->look_ahead_weight =
        jsp_params_add(layout, "look_ahead_weight", 1, 1, 0, 0.3);
}

static jsp_status prepare_initial(jsp_edges *edges, jsp_error *error) {
    jsp_edges_cache cache;
    size_t size = jsp_edges_state_size(edges->scores);
    edges->initial_memory = jsp_memory_alloc(size, 1);
    if (!edges->initial_memory)
        return jsp_status_no_memory(error, size, "the initial state");
    jsp_status status =
        jsp_edges_cache_create(&cache, edges->scores, START_CACHE_BYTES, error);
    if (status != JSP_OK) return status;
    jsp_edges_state_init(&edges->initial, edges->scores, edges->initial_memory);
    jsp_edges_state_start(&edges->initial, &cache);
    jsp_edges_cache_destroy(&cache);
    return JSP_OK;
}

jsp_status jsp_edges_create(const jsp_scores *scores, int order, jsp_edges **out,
                            jsp_error *error) {
    jsp_edges *edges = jsp_memory_alloc(1, sizeof *edges);
    *out = NULL;
    if (!edges) return jsp_status_no_memory(error, sizeof *edges, "the generator");
    edges->scores = scores;
    edges->is_large = scores->n_variables > SMALL_VARIABLES;
    edges->hidden = edges->is_large ? WIDE : NARROW;
    edges->policy = 4;
    jsp_status status = order_slots(edges, order, error);
    if (status == JSP_OK) status = prepare_initial(edges, error);
    if (status != JSP_OK) {
        jsp_edges_destroy(edges);
        return status;
    }
    register_tensors(edges);
    const double crowd = (double)scores->n_variables / POOL_VARIABLES;
    edges->pool_scale = edges->is_large ? (jsp_real)(1 / (crowd * crowd)) : 1;
    for (int n = 1; n <= JSP_MAX_VARIABLES; n++)
        edges->half_log[n] = 0.5f * logf((float)n);
    *out = edges;
    return JSP_OK;
}

void jsp_edges_destroy(jsp_edges *edges) {
    if (!edges) return;
    jsp_memory_free(edges->slot);
    jsp_memory_free(edges->initial_memory);
    jsp_memory_free(edges);
}
