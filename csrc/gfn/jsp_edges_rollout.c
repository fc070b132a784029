#include "jsp_edges_rollout.h"

#include <math.h>
#include <string.h>

#include "jsp_edges_conditionals.h"
#include "jsp_edges_ends.h"
#include "jsp_edges_features.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"

#define F JSP_EDGES_FEATURES

_Static_assert(2 * JSP_EDGES_MAX_HIDDEN <= JSP_EDGES_ENDS_MAX_WIDTH, "both ends");

/* What a choice gets of the sum of the base weights; see jsp_edges.h. */
#define BASE_SHARE 3.3546262790251185e-4 /* e^-8 */

/* Where the sum is larger than the weight of a choice by more than this factor, its share
 * shrinks by the fourth root of the rest: what is 400 nats too bad must not be left to the
 * network to unlearn. */
#define HOPELESS 72004899337.38588 /* e^25 */

/* Below this log-odds the look-ahead sum is not computed (0 is used). */
#define LOOK_AHEAD_ODDS (-10.0f)

/* The same for detours. */
#define DETOUR_ODDS (-5.0f)

/* Corrections are capped here, so that weights stay in range. */
#define CORRECTION_CAP 50.0

/* The shared output layer is scaled down so that early corrections stay small. That of a
 * direction is not: steps of Adam do not depend on the scale of a parameter, so this lets
 * it learn four times as fast, and each sees few of the options. */
#define OUTPUT_SCALE ((jsp_real)0.25)

/* Rows of one backward block, whose inputs and activations fit into the L1 cache. */
#define BLOCK_ROWS 64

/* The pair of the present slot as one walk sees it; d = 0 is a -> b, 1 is b -> a. */
typedef struct slot_view {
    int open[2];
    int row[2];     /* row of the option in this slot's batch, -1 when not weighed */
    double base[2]; /* weight without network, no edge = 1; 0 when not open */
    float look_ahead[2], detour[2];
} slot_view;

struct jsp_edges_rollout {
    const jsp_edges *edges; /* borrowed */
    int T, H;               /* walks, width of the network */
    int with_record;
    char *memory;           /* all arrays below; owned */
    jsp_edges_state *state; /* [T] */
    char *state_memory;
    double *normaliser;  /* [T] product of normalisers not yet taken off log q */
    jsp_real *pool;      /* [T, H] scaled sum of the embeddings of the edges so far */
    jsp_edges_ends ends; /* when edges->is_large */

    /* one row per option; rows of one slot are contiguous, direction 0 first */
    jsp_real *x;         /* [rows, F] */
    jsp_real *hidden[2]; /* [rows, H] activations of the two layers */
    jsp_real *slope;     /* [rows] gradient of log q with respect to the logit */
    jsp_real *conditional_slope; /* [rows] the same for the full conditional */
    jsp_real *conditional;       /* [T, 2 slots] full conditionals */
    int16_t *row_walk;           /* [rows] which walk the option belongs to */
    int32_t *segment;            /* [2 slots + 1] first row of (slot, direction) */
    int16_t *n_new; /* [slots, T] groups that the edge chosen at a slot has joined */
    int8_t *choice; /* [slots, T] -1 no edge, 0 a -> b, 1 b -> a, -2 nothing open */
    long n_rows;

    slot_view *view;      /* [T] */
    jsp_real *offset;     /* [2 T, H] embeddings added before the first ReLU */
    jsp_real *correction; /* [2 T] */
    jsp_real *output;     /* [H] output + pair_output of one direction */

    jsp_real *d_hidden; /* [BLOCK_ROWS + 2 T, H] */
    jsp_real *d_offset; /* [BLOCK_ROWS + 2 T, H] */
    jsp_real *scratch;  /* [BLOCK_ROWS + 2 T, H] */
    jsp_real *weighted; /* [BLOCK_ROWS + 2 T] slope times weight of the walk */
    jsp_real *d_pool;   /* [T, H] gradient of the pool, summed over later options */
};

/* ---- memory ---------------------------------------------------------------------- */

/* All arrays lie in one block: large blocks get large pages. */
static jsp_status allocate(jsp_edges_rollout *r, jsp_error *error) {
    const jsp_edges *edges = r->edges;
    size_t T = (size_t)r->T, H = (size_t)r->H, slots = (size_t)edges->n_slots;
    size_t rows = r->with_record ? T * (size_t)edges->n_directed : 2 * T;
    size_t block = BLOCK_ROWS + 2 * T;
    size_t state_size = jsp_edges_state_size(edges->scores);
    const int D = edges->scores->n_variables, W = 2 * r->H;
    size_t ends_size =
        edges->is_large ? jsp_edges_ends_size(D, W, r->T, r->with_record) : 0;
    char *ends_memory;
    struct {
        void **target;
        size_t count, size;
    } table[] = {
        {(void **)&r->state, T, sizeof *r->state},
        {(void **)&r->state_memory, T * state_size, 1},
        {(void **)&ends_memory, ends_size, 1},
        {(void **)&r->normaliser, T, sizeof *r->normaliser},
        {(void **)&r->pool, T * H, sizeof *r->pool},
        {(void **)&r->view, T, sizeof *r->view},
        {(void **)&r->offset, 2 * T * H, sizeof *r->offset},
        {(void **)&r->correction, 2 * T, sizeof *r->correction},
        {(void **)&r->output, H, sizeof *r->output},
        {(void **)&r->d_hidden, block * H, sizeof *r->d_hidden},
        {(void **)&r->d_offset, block * H, sizeof *r->d_offset},
        {(void **)&r->scratch, block * H, sizeof *r->scratch},
        {(void **)&r->weighted, block, sizeof *r->weighted},
        {(void **)&r->d_pool, T * H, sizeof *r->d_pool},
        {(void **)&r->segment, 2 * slots + 1, sizeof *r->segment},
        {(void **)&r->choice, slots * T, sizeof *r->choice},
        {(void **)&r->n_new, slots * T, sizeof *r->n_new},
        {(void **)&r->slope, rows, sizeof *r->slope},
        {(void **)&r->conditional_slope, r->with_record ? rows : 0,
         sizeof *r->conditional_slope},
        {(void **)&r->conditional, r->with_record ? 2 * T * slots : 0,
         sizeof *r->conditional},
        {(void **)&r->row_walk, rows, sizeof *r->row_walk},
        {(void **)&r->x, rows * F, sizeof *r->x},
        {(void **)&r->hidden[0], rows * H, sizeof *r->hidden[0]},
        {(void **)&r->hidden[1], rows * H, sizeof *r->hidden[1]},
    };
    size_t n_bytes = 0;
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
        n_bytes += jsp_memory_pad(table[k].count * table[k].size);
    r->memory = jsp_memory_alloc(n_bytes, 1);
    if (!r->memory) return jsp_status_no_memory(error, n_bytes, "a group of walks");
    char *cursor = r->memory;
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        *table[k].target = cursor;
        cursor += jsp_memory_pad(table[k].count * table[k].size);
    }
    for (size_t t = 0; t < T; t++) {
        jsp_edges_state_init(&r->state[t], edges->scores,
                             r->state_memory + t * state_size);
    }
    if (edges->is_large) {
        jsp_edges_ends_init(&r->ends, D, W, edges->tensor.above, edges->tensor.below,
                            r->T, r->with_record, ends_memory);
    }
    return JSP_OK;
}

jsp_status jsp_edges_rollout_create(const jsp_edges *edges, int T, int with_record,
                                    jsp_edges_rollout **out, jsp_error *error) {
    *out = NULL;
    if (T > INT16_MAX) { /* row_walk */
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "a group has at most %d walks, got %d", INT16_MAX, T);
    }
    jsp_edges_rollout *rollout = jsp_memory_alloc(1, sizeof *rollout);
    if (!rollout)
        return jsp_status_no_memory(error, sizeof *rollout, "a group of walks");
    rollout->edges = edges;
    rollout->T = T;
    rollout->H = edges->hidden;
    rollout->with_record = with_record;
    jsp_status status = allocate(rollout, error);
    if (status != JSP_OK) {
        jsp_edges_rollout_destroy(rollout);
        return status;
    }
    *out = rollout;
    return JSP_OK;
}

void jsp_edges_rollout_destroy(jsp_edges_rollout *rollout) {
    if (!rollout) return;
    jsp_memory_free(rollout->memory);
    jsp_memory_free(rollout);
}

long jsp_edges_rollout_n_options(const jsp_edges_rollout *rollout) {
    return rollout->n_rows;
}

/* y += scale x */
static void add_scaled(size_t H, jsp_real scale, const jsp_real *x, jsp_real *y) {
    for (size_t h = 0; h < H; h++) y[h] += scale * x[h];
}

/* ---- forward: one slot ----------------------------------------------------------- */

/* 0 when the walk only follows its target here, and no logit is needed. */
static int counts(const jsp_edges_walk *walk, int p) {
    return !walk->redraw || walk->redraw[p];
}

/* Adds to each weight its share of the sum, then divides by that of no edge. */
static void set_base(slot_view *view, const double weight[3]) {
    const double sum = weight[0] + weight[1] + weight[2];
    double with_share[3];
    for (int k = 0; k < 3; k++) {
        double depth = fmin(1, HOPELESS * weight[k] / sum);
        with_share[k] = weight[k] + BASE_SHARE * sum * sqrt(sqrt(depth));
    }
    for (int d = 0; d < 2; d++)
        view->base[d] = view->open[d] ? with_share[1 + d] / with_share[0] : 0;
}

static void view_slot(const jsp_edges_slot *slot, const jsp_edges_state *state,
                      int with_odds, int with_detour, slot_view *view) {
    const int child[2] = {slot->b, slot->a}, parent[2] = {slot->a, slot->b};
    const int bit[2] = {slot->bit_ab, slot->bit_ba};
    double weight[3] = {1, 0, 0};
    for (int d = 0; d < 2; d++) {
        view->open[d] = bit[d] >= 0 && (state->open[child[d]] >> bit[d] & 1);
        view->row[d] = -1;
        view->look_ahead[d] = view->detour[d] = 0;
        if (!view->open[d] || !with_odds) continue;
        const float *row = jsp_edges_state_row(state, child[d], 0) + bit[d];
        weight[1 + d] = (double)row[JSP_EDGES_CACHE_EXP * state->stride];
        const float log_odds = row[JSP_EDGES_CACHE_ODDS * state->stride];
        if (log_odds > LOOK_AHEAD_ODDS) {
            view->look_ahead[d] =
                jsp_edges_state_look_ahead(state, parent[d], child[d]);
        }
        if (with_detour && log_odds > DETOUR_ODDS) {
            view->detour[d] = jsp_edges_state_detour(state, parent[d], child[d]);
        }
    }
    set_base(view, weight);
}

/* Looks at slot p with every walk and numbers the options that the network weighs,
 * direction by direction. Returns their number. */
static int gather_options(jsp_edges_rollout *r, int p, int T,
                          const jsp_edges_walk *walk, int count[2]) {
    const jsp_edges_slot *slot = &r->edges->slot[p];
    for (int t = 0; t < T; t++) {
        view_slot(slot, &r->state[t], counts(&walk[t], p), r->edges->is_large,
                  &r->view[t]);
    }
    int n = 0;
    for (int d = 0; d < 2; d++) {
        count[d] = n;
        for (int t = 0; t < T; t++) {
            slot_view *view = &r->view[t];
            if (view->open[d] && counts(&walk[t], p)) view->row[d] = n++;
        }
        count[d] = n - count[d];
    }
    return n;
}

/* What is added before the first ReLU whatever the walk has done. */
static void load_embeddings(const jsp_edges *edges, const jsp_real *params,
                            const jsp_edges_features_option *option, int direction,
                            jsp_real *sum) {
    const size_t H = (size_t)edges->hidden;
    const jsp_real *parent =
        params + edges->tensor.parent_embedding + (size_t)option->parent * H;
    const jsp_real *child =
        params + edges->tensor.child_embedding + (size_t)option->child * H;
    const jsp_kernels *kernels = jsp_kernels_active();
    memcpy(sum, parent, H * sizeof *sum);
    kernels->add(H, child, sum);
    if (!edges->is_large) return;
    kernels->add(H, params + edges->tensor.pair_embedding + (size_t)direction * H, sum);
}

#define MAX_PLACES 3

/* What options parent -> child see of their walk before the first ReLU: the sum over its
 * edges, and beyond 16 variables the sums over ancestors and descendants of both ends. Of
 * walk t they are [H] from at[s] + t * row[s] on. Returns how many there are. */
static int list_places(const jsp_edges_rollout *r, jsp_real *pool, jsp_real *sum,
                       int parent, int child, jsp_real *at[MAX_PLACES],
                       size_t row[MAX_PLACES]) {
    const size_t H = (size_t)r->H;
    at[0] = pool;
    row[0] = H;
    if (!r->edges->is_large) return 1;
    at[1] = jsp_edges_ends_of(&r->ends, sum, 0, parent);
    at[2] = jsp_edges_ends_of(&r->ends, sum, 0, child) + H;
    row[1] = row[2] = (size_t)r->ends.D * (size_t)r->ends.W;
    return MAX_PLACES;
}

/* Inputs of the n options of direction d, which are rows first .. first + n - 1 of the
 * slot: features, and the terms before the ReLU. */
static void fill_inputs(jsp_edges_rollout *r, const jsp_real *params, int p, int d,
                        int T, long base, int first, int n) {
    const jsp_edges *edges = r->edges;
    const jsp_edges_slot *slot = &edges->slot[p];
    jsp_edges_features_option option = {
        .slot = p,
        .parent = d ? slot->b : slot->a,
        .child = d ? slot->a : slot->b,
        .bit = d ? slot->bit_ba : slot->bit_ab,
    };
    const int reverse_bit = d ? slot->bit_ab : slot->bit_ba;
    jsp_real fixed[JSP_EDGES_MAX_HIDDEN], *at[MAX_PLACES];
    size_t at_row[MAX_PLACES];
    for (int t = 0; t < T; t++) {
        const slot_view *view = &r->view[t];
        if (view->row[d] < 0) continue;
        option.reverse_bit = view->open[1 - d] ? reverse_bit : -1;
        option.look_ahead = view->look_ahead[d];
        option.reverse_look_ahead = view->look_ahead[1 - d];
        option.detour = view->detour[d];
        option.reverse_detour = view->detour[1 - d];
        size_t row = (size_t)(base + view->row[d]);
        jsp_edges_features_fill(edges, &r->state[t], &option, r->x + row * F);
        r->row_walk[row] = (int16_t)t;
    }
    load_embeddings(edges, params, &option, 2 * p + d, fixed);
    const int n_places =
        list_places(r, r->pool, r->ends.sum, option.parent, option.child, at, at_row);
    jsp_kernels_active()->rows_collect(n, r->H, n_places, (const jsp_real *const *)at,
                                       at_row, r->row_walk + base + first, fixed,
                                       r->offset + (long)first * r->H);
}

/* output / 4 + pair_output of one direction */
static void load_output(const jsp_edges *edges, const jsp_real *params, int direction,
                        jsp_real *output) {
    const size_t H = (size_t)edges->hidden;
    const jsp_real *shared = params + edges->tensor.output;
    const jsp_real *own = params + edges->tensor.pair_output + (size_t)direction * H;
    for (size_t h = 0; h < H; h++) output[h] = OUTPUT_SCALE * shared[h] + own[h];
}

/* c = (output / 4 + pair_output) . h + bias + linear terms in odds and look-ahead */
static void compute_corrections(jsp_edges_rollout *r, const jsp_real *params, int p,
                                const int count[2], long base) {
    const jsp_edges *edges = r->edges;
    const jsp_kernels *kernels = jsp_kernels_active();
    const int n = count[0] + count[1], H = r->H;
    jsp_real *hidden[2] = {r->hidden[0] + base * H, r->hidden[1] + base * H};
    jsp_mlp_forward(&edges->mlp, params, n, r->x + base * F, r->offset, hidden);
    const jsp_real odds_weight =
        JSP_EDGES_FEATURES_SCALE * params[edges->tensor.odds_weight];
    const jsp_real look_weight =
        JSP_EDGES_FEATURES_SCALE * params[edges->tensor.look_ahead_weight];
    for (int d = 0, first = 0; d < 2; first += count[d], d++) {
        if (!count[d]) continue;
        load_output(edges, params, 2 * p + d, r->output);
        jsp_real *correction = r->correction + first;
        kernels->rows_dot(count[d], H, hidden[1] + (long)first * H, r->output,
                          correction);
        const jsp_real bias = params[edges->tensor.pair_bias + (size_t)(2 * p + d)];
        const jsp_real *x = r->x + (base + first) * F;
        for (int k = 0; k < count[d]; k++, x += F) {
            correction[k] += bias + odds_weight * x[JSP_EDGES_FEATURES_ODDS] +
                             look_weight * x[JSP_EDGES_FEATURES_LOOK_AHEAD];
        }
    }
}

/* What a forced walk must do at this slot: -1, 0, 1; -2 when that is closed. */
static int follow_target(const jsp_edges_slot *slot, const uint32_t *target,
                         const slot_view *view) {
    int wants_ab = slot->bit_ab >= 0 && (target[slot->b] >> slot->bit_ab & 1);
    int wants_ba = slot->bit_ba >= 0 && (target[slot->a] >> slot->bit_ba & 1);
    if (!wants_ab && !wants_ba) return -1;
    if (wants_ab && wants_ba) return -2;
    return view->open[wants_ab ? 0 : 1] ? (wants_ab ? 0 : 1) : -2;
}

/* Picks among no edge (weight 1) and the two directions (weights e). */
static int draw_choice(double uniform, double total, const double e[2],
                       const int open[2]) {
    double u = uniform * total;
    if (u <= 1) return -1;
    int d = u - 1 < e[0] ? 0 : 1;
    return open[d] ? d : 1 - d; /* rounding at the edge of the interval */
}

/* log q -= log(total), as a product: one logarithm serves many slots. */
static void divide_by(jsp_edges_rollout *r, int t, double total, jsp_edges_walk *walk) {
    r->normaliser[t] *= total;
    if (r->normaliser[t] < 1e250) return;
    walk->log_q -= log(r->normaliser[t]);
    r->normaliser[t] = 1;
}

/* Chooses at slot p of walk t with probability e / (1 + e_0 + e_1), e = base *
 * exp(correction): adds to log_q, writes slopes and returns the choice. `wanted` is the
 * choice to take, -2 to sample. */
static int weigh_slot(jsp_edges_rollout *r, int p, int t, long base, int wanted,
                      jsp_edges_walk *walk) {
    const slot_view *view = &r->view[t];
    double correction[2] = {0, 0}, e[2] = {0, 0};
    for (int d = 0; d < 2; d++) {
        if (!view->open[d]) continue;
        correction[d] = (double)r->correction[view->row[d]];
        /* capped ones still get their slope, so that a wrong one can be unlearned; NaN
         * must pass through to be reported, hence no fmin */
        if (correction[d] > CORRECTION_CAP) correction[d] = CORRECTION_CAP;
        e[d] = view->base[d] * exp(correction[d]);
    }
    double total = 1 + e[0] + e[1];
    int d = wanted > -2 ? wanted : draw_choice(walk->uniform[p], total, e, view->open);
    if (d >= 0) walk->log_q += log(view->base[d]) + correction[d];
    divide_by(r, t, total, walk);
    for (int k = 0; k < 2; k++) {
        if (view->row[k] < 0) continue;
        r->slope[base + view->row[k]] = (jsp_real)((k == d) - e[k] / total);
    }
    return d;
}

/* Walk t takes direction d of slot p. */
static void add_edge(jsp_edges_rollout *r, const jsp_real *params, int p, int t,
                     int d) {
    const jsp_edges *edges = r->edges;
    const jsp_edges_slot *slot = &edges->slot[p];
    const int parent = d ? slot->b : slot->a, child = d ? slot->a : slot->b;
    const size_t H = (size_t)r->H;
    jsp_edges_state *state = &r->state[t];
    if (edges->is_large) {
        r->n_new[(size_t)p * (size_t)r->T + (size_t)t] =
            (int16_t)jsp_edges_ends_join(&r->ends, params, t, &state->dag, parent,
                                         child);
    }
    jsp_edges_state_add(state, parent, child);
    add_scaled(H, edges->pool_scale,
               params + edges->tensor.edge_embedding + (size_t)(2 * p + d) * H,
               r->pool + (size_t)t * H);
}

/* Decides slot p in walk t; writes slopes and choice, updates the state but for its dirty
 * rows, which are only fetched: the walks of a group wait for memory together. */
static void decide_slot(jsp_edges_rollout *r, const jsp_real *params,
                        const jsp_edges_cache *cache, int p, int t, long base,
                        jsp_edges_walk *walk) {
    const jsp_edges_slot *slot = &r->edges->slot[p];
    const slot_view *view = &r->view[t];
    int8_t *choice = &r->choice[(size_t)p * (size_t)r->T + (size_t)t];
    const int is_drawn =
        !walk->target || (walk->redraw && walk->redraw[p] && walk->uniform);
    int d = -2;
    *choice = -2;
    if (!is_drawn) {
        d = follow_target(slot, walk->target, view);
        if (d == -2) {
            walk->log_q = -INFINITY;
            d = -1;
        }
    }
    if (!view->open[0] && !view->open[1]) return;
    if (counts(walk, p)) d = weigh_slot(r, p, t, base, d, walk);
    *choice = (int8_t)d;
    jsp_edges_state *state = &r->state[t];
    if (d >= 0) add_edge(r, params, p, t, d);
    if (view->open[0]) jsp_edges_state_close(state, slot->b, slot->bit_ab);
    if (view->open[1]) jsp_edges_state_close(state, slot->a, slot->bit_ba);
    jsp_edges_state_prefetch(state, cache);
}

void jsp_edges_rollout_forward(jsp_edges_rollout *rollout, const jsp_real *params,
                               jsp_edges_cache *cache, int T, jsp_edges_walk *walk) {
    const jsp_edges *edges = rollout->edges;
    for (int t = 0; t < T; t++) {
        jsp_edges_state_copy(&rollout->state[t], &edges->initial);
        rollout->normaliser[t] = 1;
        walk[t].log_q = 0;
        if (edges->is_large)
            jsp_edges_ends_start(&rollout->ends, params, t, &edges->initial.dag);
    }
    memset(rollout->pool, 0, (size_t)(T * rollout->H) * sizeof *rollout->pool);
    long base = 0;
    for (int p = 0; p < edges->n_slots; p++) {
        int count[2];
        int n = gather_options(rollout, p, T, walk, count);
        for (int d = 0; d < 2; d++) {
            if (count[d])
                fill_inputs(rollout, params, p, d, T, base, d ? count[0] : 0, count[d]);
        }
        if (n) compute_corrections(rollout, params, p, count, base);
        for (int t = 0; t < T; t++) {
            decide_slot(rollout, params, cache, p, t, base, &walk[t]);
        }
        for (int t = 0; t < T; t++) {
            jsp_edges_state_refresh(&rollout->state[t], cache);
        }
        if (!rollout->with_record) continue;
        rollout->segment[2 * p] = (int32_t)base;
        rollout->segment[2 * p + 1] = (int32_t)(base + count[0]);
        base += n;
        rollout->segment[2 * p + 2] = (int32_t)base;
    }
    rollout->n_rows = base;
    for (int t = 0; t < T; t++) {
        walk[t].log_q -= log(rollout->normaliser[t]);
        walk[t].n_edges = rollout->state[t].dag.n_edges;
        walk[t].chosen = rollout->state[t].chosen;
    }
}

/* ---- full conditionals -------------------------------------------------------------- */

void jsp_edges_rollout_condition(jsp_edges_rollout *rollout, int n, double squares[2]) {
    const int n_directions = 2 * rollout->edges->n_slots;
    for (int t = 0; t < n; t++) {
        jsp_edges_conditionals(rollout->edges, &rollout->state[t],
                               rollout->conditional + (long)t * n_directions);
    }
    for (int s = 0; s < n_directions; s++) {
        const int8_t *choice = rollout->choice + (long)(s / 2) * rollout->T;
        for (long k = rollout->segment[s]; k < rollout->segment[s + 1]; k++) {
            const int t = rollout->row_walk[k];
            if (t >= n) break; /* rows of a direction are in the order of walks */
            const jsp_real slope = rollout->slope[k], taken = choice[t] == s % 2;
            const jsp_real smooth =
                slope - taken + rollout->conditional[(long)t * n_directions + s];
            rollout->conditional_slope[k] = smooth;
            squares[0] += (double)(slope * slope);
            squares[1] += (double)(smooth * smooth);
        }
    }
}

/* ---- backward -------------------------------------------------------------------- */

/* Gradients of the output layer for the rows of one direction of one slot, and of their
 * activations after and before the last ReLU (d_hidden, scratch). Rows are counted from
 * `first`, the first row of the block. */
static void output_backward(jsp_edges_rollout *r, const jsp_real *params, int direction,
                            long first, jsp_real *d_params) {
    const jsp_edges_tensors *tensor = &r->edges->tensor;
    const jsp_kernels *kernels = jsp_kernels_active();
    const long begin = r->segment[direction], end = r->segment[direction + 1];
    const jsp_real *slope = r->weighted + (begin - first);
    const int n = (int)(end - begin), H = r->H;
    jsp_real bias = 0, odds = 0, look = 0;
    load_output(r->edges, params, direction, r->output);
    for (int k = 0; k < n; k++) {
        const jsp_real *x = r->x + (begin + k) * F;
        bias += slope[k];
        odds += slope[k] * x[JSP_EDGES_FEATURES_ODDS];
        look += slope[k] * x[JSP_EDGES_FEATURES_LOOK_AHEAD];
    }
    jsp_real sum[JSP_EDGES_MAX_HIDDEN] = {0};
    const long in_block = (begin - first) * H;
    kernels->rows_dot_backward(n, H, slope, r->output, r->hidden[1] + begin * H,
                               r->hidden[0] + begin * H, sum, r->d_hidden + in_block,
                               r->scratch + in_block);
    d_params[tensor->pair_bias + (size_t)direction] += bias;
    d_params[tensor->odds_weight] += JSP_EDGES_FEATURES_SCALE * odds;
    d_params[tensor->look_ahead_weight] += JSP_EDGES_FEATURES_SCALE * look;
    /* gradient of this direction's `pair_output`, and with its scale of `output` */
    kernels->add((size_t)H, sum,
                 d_params + tensor->pair_output + (size_t)(direction * H));
    for (int h = 0; h < H; h++) sum[h] *= OUTPUT_SCALE;
    kernels->add((size_t)H, sum, d_params + tensor->output);
}

/* Gradients of embeddings from d_offset, slots walked backwards: the pool of a walk at
 * some option holds all edges before it, so an edge collects the sum over later
 * options. */
static void embedding_backward(jsp_edges_rollout *r, int p, int T, long first,
                               jsp_real *d_params) {
    const jsp_edges *edges = r->edges;
    const jsp_edges_tensors *tensor = &edges->tensor;
    const jsp_edges_slot *slot = &edges->slot[p];
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t H = (size_t)r->H;
    for (int t = 0; t < T; t++) {
        int d = r->choice[(size_t)p * (size_t)r->T + (size_t)t];
        if (d < 0) continue;
        add_scaled(H, edges->pool_scale, r->d_pool + (size_t)t * H,
                   d_params + tensor->edge_embedding + (size_t)(2 * p + d) * H);
        if (!edges->is_large) continue;
        jsp_edges_ends_part(&r->ends, t, r->n_new[(size_t)p * (size_t)r->T + (size_t)t],
                            d_params);
    }
    for (int d = 0; d < 2; d++) {
        const int parent = d ? slot->b : slot->a, child = d ? slot->a : slot->b;
        const long begin = r->segment[2 * p + d];
        const int n = (int)(r->segment[2 * p + d + 1] - begin);
        if (!n) continue;
        jsp_real total[JSP_EDGES_MAX_HIDDEN] = {0}, *at[MAX_PLACES];
        size_t at_row[MAX_PLACES];
        const int n_places =
            list_places(r, r->d_pool, r->ends.d_sum, parent, child, at, at_row);
        kernels->rows_scatter(n, r->H, n_places, r->d_offset + (begin - first) * r->H,
                              r->row_walk + begin, at, at_row, total);
        kernels->add(H, total,
                     d_params + tensor->parent_embedding + (size_t)parent * H);
        kernels->add(H, total, d_params + tensor->child_embedding + (size_t)child * H);
        if (!edges->is_large) continue;
        kernels->add(H, total,
                     d_params + tensor->pair_embedding + (size_t)(2 * p + d) * H);
    }
}

/* Backward pass over slots begin .. end-1, whose rows form one block. */
static void backward_block(jsp_edges_rollout *r, const jsp_real *params, int begin,
                           int end, int T, const double *weight,
                           const double *conditional, jsp_real *d_params) {
    const long first = r->segment[2 * begin];
    const int n = (int)(r->segment[2 * end] - first), H = r->H;
    for (int k = 0; k < n; k++) {
        const int t = r->row_walk[first + k];
        double sum = weight[t] * (double)r->slope[first + k];
        if (conditional && conditional[t] != 0)
            sum += conditional[t] * (double)r->conditional_slope[first + k];
        r->weighted[k] = (jsp_real)sum;
    }
    for (int s = 2 * begin; s < 2 * end; s++) {
        if (r->segment[s + 1] > r->segment[s])
            output_backward(r, params, s, first, d_params);
    }
    const jsp_real *hidden[2] = {r->hidden[0] + first * H, r->hidden[1] + first * H};
    if (n) {
        jsp_mlp_backward(&r->edges->mlp, params, n, r->x + first * F, hidden,
                         r->d_hidden, r->d_offset, NULL, d_params, r->scratch, 1);
    }
    for (int p = end - 1; p >= begin; p--) embedding_backward(r, p, T, first, d_params);
}

void jsp_edges_rollout_backward(jsp_edges_rollout *rollout, const jsp_real *params,
                                int T, const double *weight, const double *conditional,
                                jsp_real *d_params) {
    const int32_t *segment = rollout->segment;
    memset(rollout->d_pool, 0, (size_t)(T * rollout->H) * sizeof *rollout->d_pool);
    if (rollout->edges->is_large) jsp_edges_ends_clear(&rollout->ends, T);
    for (int end = rollout->edges->n_slots; end > 0;) {
        int begin = end - 1;
        while (begin > 0 && segment[2 * end] - segment[2 * begin] < BLOCK_ROWS) begin--;
        backward_block(rollout, params, begin, end, T, weight, conditional, d_params);
        end = begin;
    }
    for (int t = 0; t < T && rollout->edges->is_large; t++)
        jsp_edges_ends_part(&rollout->ends, t, -1, d_params);
}
