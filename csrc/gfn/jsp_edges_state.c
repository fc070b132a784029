#include "jsp_edges_state.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"

/* A closed candidate below this log-odds changes the other odds of its node so little
 * that the row is kept; thresholds of -7 and -2 gave the same untrained policy within
 * noise. */
#define DIRTY_ODDS (-2.0f)

/* Forbidden edges below this log-odds are left out of the look-ahead sum. */
#define LOOK_AHEAD_ODDS (-5.0f)

size_t jsp_edges_state_size(const jsp_scores *scores) {
    size_t D = (size_t)scores->n_variables;
    size_t row = JSP_EDGES_CACHE_VECTORS * (size_t)jsp_edges_cache_stride(scores);
    return jsp_memory_pad(D * row * sizeof(float)) +
           jsp_memory_pad(D * sizeof(jsp_edges_node)) +
           2 * jsp_memory_pad(D * sizeof(uint32_t)) +
           2 * jsp_memory_pad(D * sizeof(jsp_bits)) +
           jsp_dag_size(scores->n_variables, 0);
}

void jsp_edges_state_init(jsp_edges_state *state, const jsp_scores *scores,
                          char *memory) {
    size_t D = (size_t)scores->n_variables;
    char *cursor = memory;
    *state = (jsp_edges_state){0};
    state->scores = scores;
    state->stride = jsp_edges_cache_stride(scores);
    state->memory = memory;
    size_t row = JSP_EDGES_CACHE_VECTORS * (size_t)state->stride;
    state->rows = jsp_memory_take(&cursor, D * row * sizeof(float));
    state->node = jsp_memory_take(&cursor, D * sizeof(jsp_edges_node));
    state->chosen = jsp_memory_take(&cursor, D * sizeof(uint32_t));
    state->open = jsp_memory_take(&cursor, D * sizeof(uint32_t));
    state->open_parents = jsp_memory_take(&cursor, D * sizeof(jsp_bits));
    state->open_children = jsp_memory_take(&cursor, D * sizeof(jsp_bits));
    jsp_dag_init(&state->dag, scores->n_variables, 0, cursor);
}

/* 1 when some set of some node is excluded, which is when additions must look for
 * candidates that the larger parent set no longer allows. */
static int find_exclusions(const jsp_scores *scores) {
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        for (size_t S = 0; S < (size_t)1 << node->K; S++) {
            if (node->score[S] == -INFINITY) return 1;
        }
    }
    return 0;
}

static void close_excluded(jsp_edges_state *state, int child) {
    const double *score = state->scores->node[child].score;
    uint32_t chosen = state->chosen[child];
    for (uint32_t left = state->open[child]; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        if (score[chosen | (uint32_t)1 << k] == -INFINITY) {
            jsp_edges_state_close(state, child, k);
        }
    }
}

/* While a node still lacks one of them all its sets are excluded, so exclusions must
 * not be looked at yet. */
static void add_required(jsp_edges_state *state) {
    const jsp_scores *scores = state->scores;
    state->has_exclusions = 0;
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        for (uint32_t left = node->required; left; left &= left - 1) {
            jsp_edges_state_add(state, node->candidate[jsp_bits_lowest64(left)], j);
        }
    }
}

void jsp_edges_state_start(jsp_edges_state *state, jsp_edges_cache *cache) {
    const jsp_scores *scores = state->scores;
    memset(state->memory, 0, jsp_edges_state_size(scores));
    jsp_dag_reset(&state->dag);
    state->dirty = jsp_bits_first(scores->n_variables);
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        state->open[j] = ((uint32_t)1 << node->K) - 1;
        for (int k = 0; k < node->K; k++) {
            jsp_bits_add(&state->open_parents[j], node->candidate[k]);
            jsp_bits_add(&state->open_children[node->candidate[k]], j);
        }
        state->node[j].n_ancestors = state->node[j].n_descendants = 1;
    }
    add_required(state);
    state->has_exclusions = find_exclusions(scores);
    for (int j = 0; state->has_exclusions && j < scores->n_variables; j++) {
        close_excluded(state, j);
    }
    jsp_edges_state_refresh(state, cache);
}

void jsp_edges_state_copy(jsp_edges_state *target, const jsp_edges_state *source) {
    memcpy(target->memory, source->memory, jsp_edges_state_size(source->scores));
    target->has_exclusions = source->has_exclusions;
    target->dirty = source->dirty;
    target->dag.n_edges = source->dag.n_edges;
}

void jsp_edges_state_close(jsp_edges_state *state, int child, int bit) {
    uint32_t mask = (uint32_t)1 << bit;
    if (!(state->open[child] & mask)) return;
    int parent = state->scores->node[child].candidate[bit];
    float *chance = jsp_edges_state_row(state, child, JSP_EDGES_CACHE_CHANCE) + bit;
    state->open[child] &= ~mask;
    jsp_bits_remove(&state->open_parents[child], parent);
    jsp_bits_remove(&state->open_children[parent], child);
    state->node[child].expected_parents -= *chance;
    state->node[parent].expected_children -= *chance;
    *chance = 0;
    float odds = jsp_edges_state_row(state, child, JSP_EDGES_CACHE_ODDS)[bit];
    if (odds > DIRTY_ODDS) jsp_bits_add(&state->dirty, child);
}

/* Sizes of the sets that a new path from `above` to `below` has changed. */
static void count_relatives(jsp_edges_state *state, const jsp_bits *above,
                            const jsp_bits *below) {
    const jsp_bits *descendants = state->dag.descendants;
    const jsp_bits *ancestors = state->dag.ancestors;
    const int n_words = state->dag.n_words;
    for (int w = 0; w < n_words; w++) {
        for (uint64_t left = above->word[w]; left; left &= left - 1) {
            const int a = 64 * w + jsp_bits_lowest64(left);
            state->node[a].n_descendants =
                (int16_t)jsp_bits_count_common(n_words, &descendants[a],
                                               &descendants[a]);
        }
        for (uint64_t left = below->word[w]; left; left &= left - 1) {
            const int d = 64 * w + jsp_bits_lowest64(left);
            state->node[d].n_ancestors =
                (int16_t)jsp_bits_count_common(n_words, &ancestors[d], &ancestors[d]);
        }
    }
}

/* Candidates of node k among `below` close: k is above them. */
static void close_cyclic(jsp_edges_state *state, int k, const jsp_bits *below) {
    const int8_t *local_index = state->scores->local_index;
    const int D = state->scores->n_variables;
    for (int w = 0; w < state->dag.n_words; w++) {
        uint64_t left = state->open_parents[k].word[w] & below->word[w];
        for (; left; left &= left - 1) {
            const int c = 64 * w + jsp_bits_lowest64(left);
            jsp_edges_state_close(state, k, local_index[c * D + k]);
        }
    }
}

void jsp_edges_state_add(jsp_edges_state *state, int parent, int child) {
    const int8_t *local_index = state->scores->local_index;
    int D = state->scores->n_variables;
    int bit = local_index[parent * D + child];
    /* neither set changes: parent is not below child */
    const jsp_bits *above = &state->dag.ancestors[parent];
    const jsp_bits *below = &state->dag.descendants[child];
    const int is_new = !jsp_bits_has(state->dag.ancestors[child], parent);
    jsp_dag_add(&state->dag, parent, child);
    if (is_new) count_relatives(state, above, below);
    jsp_edges_state_close(state, child, bit);
    state->chosen[child] |= (uint32_t)1 << bit;
    state->node[child].n_parents++;
    jsp_bits_add(&state->dirty, child);
    for (int w = 0; w < state->dag.n_words; w++) {
        for (uint64_t left = above->word[w]; left; left &= left - 1) {
            close_cyclic(state, 64 * w + jsp_bits_lowest64(left), below);
        }
    }
    if (state->has_exclusions) close_excluded(state, child);
}

static void refresh_row(jsp_edges_state *state, jsp_edges_cache *cache, int j) {
    const uint32_t open = state->open[j];
    jsp_edges_node *node = state->node;
    node[j].expected_parents = 0;
    if (!open) return;
    const int *candidate = state->scores->node[j].candidate;
    const float *row =
        jsp_edges_cache_row(cache, state->scores, j, state->chosen[j], open);
    const float *now = row + JSP_EDGES_CACHE_CHANCE * state->stride;
    const float *before = jsp_edges_state_row(state, j, JSP_EDGES_CACHE_CHANCE);
    float sum = 0;
    for (uint32_t left = open; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        node[candidate[k]].expected_children += now[k] - before[k];
        sum += now[k];
    }
    node[j].expected_parents = sum;
    memcpy(jsp_edges_state_row(state, j, 0), row,
           JSP_EDGES_CACHE_VECTORS * (size_t)state->stride * sizeof(float));
}

void jsp_edges_state_prefetch(const jsp_edges_state *state,
                              const jsp_edges_cache *cache) {
    for (int w = 0; w < state->dag.n_words; w++) {
        for (uint64_t left = state->dirty.word[w]; left; left &= left - 1) {
            const int j = 64 * w + jsp_bits_lowest64(left);
            jsp_edges_cache_prefetch(cache, j, state->chosen[j], state->open[j]);
        }
    }
}

void jsp_edges_state_refresh(jsp_edges_state *state, jsp_edges_cache *cache) {
    for (int w = 0; w < state->dag.n_words; w++) {
        for (uint64_t left = state->dirty.word[w]; left; left &= left - 1) {
            refresh_row(state, cache, 64 * w + jsp_bits_lowest64(left));
        }
        state->dirty.word[w] = 0;
    }
}

/* Factor that the lost candidate edge c -> k contributes. */
static double lost_factor(const jsp_edges_state *state, int c, int k) {
    const int8_t *local_index = state->scores->local_index;
    const int D = state->scores->n_variables;
    const int bit = local_index[c * D + k];
    if (jsp_edges_state_row(state, k, JSP_EDGES_CACHE_ODDS)[bit] < LOOK_AHEAD_ODDS) {
        return 1;
    }
    double odds = (double)jsp_edges_state_row(state, k, JSP_EDGES_CACHE_EXP)[bit];
    if (!jsp_bits_has(state->open_parents[c], k)) return 1 + odds;
    const float *reverse = jsp_edges_state_row(state, c, JSP_EDGES_CACHE_EXP);
    return 1 + odds / (1 + (double)reverse[local_index[k * D + c]]);
}

/* Adds log(product) to sum when the product is about to overflow: a factor is at most
 * 1 + e^80. */
static void keep_in_range(double *product, double *sum) {
    if (*product < 1e250) return;
    *sum += log(*product);
    *product = 1;
}

/* Logs are summed as products: one log for many factors. */
typedef struct lost_sum {
    int parent, child;
    double product, sum;
} lost_sum;

static inline void add_lost(const jsp_edges_state *state, int c, int k, lost_sum *s) {
    if (k == s->parent && c == s->child) return;
    s->product *= lost_factor(state, c, k);
    keep_in_range(&s->product, &s->sum);
}

/* What node k, above the parent, loses of its open candidates. */
static inline void add_lost_parents(const jsp_edges_state *state, int n_words, int k,
                                    const jsp_bits *below, lost_sum *s) {
    for (int w = 0; w < n_words; w++) {
        uint64_t left = state->open_parents[k].word[w] & below->word[w];
        for (; left; left &= left - 1) {
            add_lost(state, 64 * w + jsp_bits_lowest64(left), k, s);
        }
    }
}

/* What node c, below the child, loses of the nodes whose open candidate it is. */
static inline void add_lost_children(const jsp_edges_state *state, int n_words, int c,
                                     const jsp_bits *above, lost_sum *s) {
    for (int w = 0; w < n_words; w++) {
        uint64_t left = state->open_children[c].word[w] & above->word[w];
        for (; left; left &= left - 1) {
            add_lost(state, c, 64 * w + jsp_bits_lowest64(left), s);
        }
    }
}

/* The smaller of the two sets is walked, and of the other one only what it loses. */
static inline float look_ahead(const jsp_edges_state *state, int n_words, int parent,
                               int child) {
    lost_sum s = {.parent = parent, .child = child, .product = 1};
    const jsp_bits *above = &state->dag.ancestors[parent];
    const jsp_bits *below = &state->dag.descendants[child];
    const int by_parents =
        state->node[parent].n_ancestors < state->node[child].n_descendants;
    for (int w = 0; w < n_words; w++) {
        uint64_t left = by_parents ? above->word[w] : below->word[w];
        for (; left; left &= left - 1) {
            const int k = 64 * w + jsp_bits_lowest64(left);
            if (by_parents) {
                add_lost_parents(state, n_words, k, below, &s);
            } else {
                add_lost_children(state, n_words, k, above, &s);
            }
        }
    }
    return s.product == 1 ? (float)-s.sum : (float)-(s.sum + log(s.product));
}

/* Loops over one or two words are unrolled. */
float jsp_edges_state_look_ahead(const jsp_edges_state *state, int parent, int child) {
    const int n_words = state->dag.n_words;
    if (n_words == 1) return look_ahead(state, 1, parent, child);
    if (n_words == 2) return look_ahead(state, 2, parent, child);
    return look_ahead(state, n_words, parent, child);
}

/* Sets of n_words words. Members are taken out one by one by a loop that ends once,
 * whatever the number of words: how long such short loops run is hard to foresee. */
static inline uint64_t has_any(int n_words, const uint64_t *set) {
    uint64_t any = 0;
    for (int w = 0; w < n_words; w++) any |= set[w];
    return any;
}

/* Takes the lowest member out of a set that has any. */
static inline int pop_lowest(int n_words, uint64_t *set) {
    if (n_words == 2) { /* without branches */
        const uint64_t low = set[0], high = set[1];
        const uint64_t from = low ? low : high, rest = from & (from - 1);
        set[0] = low ? rest : 0;
        set[1] = low ? high : rest;
        return (low ? 0 : 64) + jsp_bits_lowest64(from);
    }
    int w = 0;
    while (w < n_words - 1 && !set[w]) w++;
    const int lowest = jsp_bits_lowest64(set[w]);
    set[w] &= set[w] - 1;
    return 64 * w + lowest;
}

/* to = from */
static inline void copy_set(int n_words, const uint64_t *from, uint64_t *to) {
    for (int w = 0; w < n_words; w++) to[w] = from[w];
}

/* both = a and b */
static inline void meet(int n_words, const uint64_t *a, const uint64_t *b,
                        uint64_t *both) {
    for (int w = 0; w < n_words; w++) both[w] = a[w] & b[w];
}

/* all = union of set[x] over members x of `over` */
static inline void unite(int n_words, const uint64_t *over, const jsp_bits *set,
                         uint64_t *all) {
    uint64_t left[JSP_BITS_WORDS];
    copy_set(n_words, over, left);
    for (int w = 0; w < n_words; w++) all[w] = 0;
    while (has_any(n_words, left)) {
        const int x = pop_lowest(n_words, left);
        for (int w = 0; w < n_words; w++) all[w] |= set[x].word[w];
    }
}

/* Sum over members k of `above` of P(n -> k). */
static inline float chance_into(const jsp_edges_state *state, int n_words, int n,
                                const uint64_t *above) {
    const int8_t *local_index = state->scores->local_index;
    const int D = state->scores->n_variables;
    uint64_t left[JSP_BITS_WORDS];
    float sum = 0;
    meet(n_words, state->open_children[n].word, above, left);
    while (has_any(n_words, left)) {
        const int k = pop_lowest(n_words, left);
        sum += jsp_edges_state_row(state, k,
                                   JSP_EDGES_CACHE_CHANCE)[local_index[n * D + k]];
    }
    return sum;
}

/* Sum over members c of `below` of P(c -> m). */
static inline float chance_out(const jsp_edges_state *state, int n_words, int m,
                               const uint64_t *below) {
    const int8_t *local_index = state->scores->local_index;
    const int D = state->scores->n_variables;
    const float *chance = jsp_edges_state_row(state, m, JSP_EDGES_CACHE_CHANCE);
    uint64_t left[JSP_BITS_WORDS];
    float sum = 0;
    meet(n_words, state->open_parents[m].word, below, left);
    while (has_any(n_words, left)) {
        const int c = pop_lowest(n_words, left);
        sum += chance[local_index[c * D + m]];
    }
    return sum;
}

/* found = members m of `first` with a descendant in `last`, reached = all these
 * descendants; returns the number of the former. `first` is used up. */
static inline int find_ways(const jsp_edges_state *state, int n_words, uint64_t *first,
                            const uint64_t *last, int *found, uint64_t *reached) {
    int n = 0;
    for (int w = 0; w < n_words; w++) reached[w] = 0;
    while (has_any(n_words, first)) {
        const int m = pop_lowest(n_words, first);
        uint64_t on[JSP_BITS_WORDS];
        meet(n_words, state->dag.descendants[m].word, last, on);
        for (int w = 0; w < n_words; w++) reached[w] |= on[w];
        found[n] = m;
        n += has_any(n_words, on) != 0;
    }
    return n;
}

/* Nodes that a way may go through are found first, sets against sets: few are left. */
static inline float detour(const jsp_edges_state *state, int n_words, int parent,
                           int child) {
    const uint64_t *above = state->dag.ancestors[parent].word;
    const uint64_t *below = state->dag.descendants[child].word;
    uint64_t first[JSP_BITS_WORDS], last[JSP_BITS_WORDS], reached[JSP_BITS_WORDS];
    int found[JSP_MAX_VARIABLES];
    float into[JSP_MAX_VARIABLES], sum = 0;
    unite(n_words, below, state->open_children, first);
    unite(n_words, above, state->open_parents, last);
    for (int w = 0; w < n_words; w++) {
        first[w] &= ~(above[w] | below[w]);
        last[w] &= ~(above[w] | below[w]);
    }
    const int n = find_ways(state, n_words, first, last, found, reached);
    copy_set(n_words, reached, first);
    while (has_any(n_words, first)) {
        const int end = pop_lowest(n_words, first);
        into[end] = chance_into(state, n_words, end, above);
    }
    for (int k = 0; k < n; k++) {
        float on = 0;
        meet(n_words, state->dag.descendants[found[k]].word, last, reached);
        while (has_any(n_words, reached)) on += into[pop_lowest(n_words, reached)];
        sum += on * chance_out(state, n_words, found[k], below);
    }
    return sum;
}

float jsp_edges_state_detour(const jsp_edges_state *state, int parent, int child) {
    const int n_words = state->dag.n_words;
    if (n_words == 1) return detour(state, 1, parent, child);
    if (n_words == 2) return detour(state, 2, parent, child);
    return detour(state, n_words, parent, child);
}
