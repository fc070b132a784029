#include "jsp_edges_state.h"

#include <math.h>
#include <string.h>

/* A closed candidate below this log-odds changes the other odds of its node so little
 * that the row is kept; thresholds of -7 and -2 gave the same untrained policy within
 * noise. */
#define DIRTY_ODDS (-2.0f)

/* Forbidden edges below this log-odds are left out of the look-ahead sum. */
#define LOOK_AHEAD_ODDS (-5.0f)

static size_t pad(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

size_t jsp_edges_state_size(const jsp_scores *scores) {
    size_t D = (size_t)scores->n_variables;
    size_t matrix = pad(D * (size_t)jsp_edges_cache_stride(scores) * sizeof(float));
    return 4 * matrix + 2 * pad(D * sizeof(float)) + 2 * pad(D * sizeof(uint32_t)) +
           pad(D * sizeof(jsp_bits)) + jsp_dag_size(scores->n_variables, 0);
}

static void *take(char **cursor, size_t bytes) {
    void *here = *cursor;
    *cursor += pad(bytes);
    return here;
}

void jsp_edges_state_init(jsp_edges_state *state, const jsp_scores *scores,
                          char *memory) {
    size_t D = (size_t)scores->n_variables;
    char *cursor = memory;
    *state = (jsp_edges_state){0};
    state->scores = scores;
    state->stride = jsp_edges_cache_stride(scores);
    state->memory = memory;
    size_t matrix = D * (size_t)state->stride * sizeof(float);
    state->odds = take(&cursor, matrix);
    state->exp_odds = take(&cursor, matrix);
    state->gain = take(&cursor, matrix);
    state->chance = take(&cursor, matrix);
    state->expected_parents = take(&cursor, D * sizeof(float));
    state->expected_children = take(&cursor, D * sizeof(float));
    state->chosen = take(&cursor, D * sizeof(uint32_t));
    state->open = take(&cursor, D * sizeof(uint32_t));
    state->open_parents = take(&cursor, D * sizeof(jsp_bits));
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
        }
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
    size_t cell = (size_t)child * (size_t)state->stride + (size_t)bit;
    int parent = state->scores->node[child].candidate[bit];
    state->open[child] &= ~mask;
    jsp_bits_remove(&state->open_parents[child], parent);
    state->expected_parents[child] -= state->chance[cell];
    state->expected_children[parent] -= state->chance[cell];
    state->chance[cell] = 0;
    if (state->odds[cell] > DIRTY_ODDS) jsp_bits_add(&state->dirty, child);
}

void jsp_edges_state_add(jsp_edges_state *state, int parent, int child) {
    const int8_t *local_index = state->scores->local_index;
    int D = state->scores->n_variables;
    int bit = local_index[parent * D + child];
    jsp_bits above = state->dag.ancestors[parent];
    jsp_bits below = state->dag.descendants[child];
    jsp_dag_add(&state->dag, parent, child);
    jsp_edges_state_close(state, child, bit);
    state->chosen[child] |= (uint32_t)1 << bit;
    jsp_bits_add(&state->dirty, child);
    for (int k; (k = jsp_bits_pop(&above)) >= 0;) {
        jsp_bits cyclic = jsp_bits_and(state->open_parents[k], below);
        for (int c; (c = jsp_bits_pop(&cyclic)) >= 0;) {
            jsp_edges_state_close(state, k, local_index[c * D + k]);
        }
    }
    if (state->has_exclusions) close_excluded(state, child);
}

static void refresh_row(jsp_edges_state *state, jsp_edges_cache *cache, int j) {
    uint32_t open = state->open[j];
    state->expected_parents[j] = 0;
    if (!open) return;
    int stride = state->stride;
    const int *candidate = state->scores->node[j].candidate;
    const float *row =
        jsp_edges_cache_row(cache, state->scores, j, state->chosen[j], open);
    const float *exps = row + JSP_EDGES_CACHE_EXP * stride;
    size_t first = (size_t)j * (size_t)stride;
    size_t bytes = (size_t)stride * sizeof(float);
    memcpy(state->odds + first, row + JSP_EDGES_CACHE_ODDS * stride, bytes);
    memcpy(state->exp_odds + first, exps, bytes);
    memcpy(state->gain + first, row + JSP_EDGES_CACHE_GAIN * stride, bytes);
    float *chance = state->chance + first;
    float sum = 0;
    for (uint32_t left = open; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        float now = exps[k] / (1 + exps[k]);
        state->expected_children[candidate[k]] += now - chance[k];
        chance[k] = now;
        sum += now;
    }
    state->expected_parents[j] = sum;
}

void jsp_edges_state_refresh(jsp_edges_state *state, jsp_edges_cache *cache) {
    for (int j; (j = jsp_bits_pop(&state->dirty)) >= 0;) refresh_row(state, cache, j);
}

float jsp_edges_state_look_ahead(const jsp_edges_state *state, int parent, int child) {
    const int8_t *local_index = state->scores->local_index;
    int D = state->scores->n_variables;
    size_t stride = (size_t)state->stride;
    double sum = 0,
           product = 1; /* logs are summed as products: one log for many factors */
    jsp_bits above = state->dag.ancestors[parent];
    jsp_bits below = state->dag.descendants[child];
    for (int k; (k = jsp_bits_pop(&above)) >= 0;) {
        jsp_bits lost = jsp_bits_and(state->open_parents[k], below);
        if (k == parent) jsp_bits_remove(&lost, child);
        for (int c; (c = jsp_bits_pop(&lost)) >= 0;) {
            size_t cell = (size_t)k * stride + (size_t)local_index[c * D + k];
            if (state->odds[cell] < LOOK_AHEAD_ODDS) continue;
            int reverse = local_index[k * D + c];
            float other = 0;
            if (reverse >= 0 && (state->open[c] >> reverse & 1)) {
                other = state->exp_odds[(size_t)c * stride + (size_t)reverse];
            }
            product *= 1 + state->exp_odds[cell] / (1 + other);
            if (product > 1e250) {
                sum += log(product);
                product = 1;
            }
        }
    }
    return product == 1 ? (float)-sum : (float)-(sum + log(product));
}
