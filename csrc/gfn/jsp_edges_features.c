#include "jsp_edges_features.h"

#include <math.h>

static float clip8(float x) {
    return x > 8 ? 8 : x < -8 ? -8 : x;
}

/* Half the size of the common part of the sets of nodes i and j. */
static jsp_real half_common(const jsp_dag *dag, const jsp_bits *sets, int i, int j) {
    return (jsp_real)0.5 *
           (jsp_real)jsp_bits_count_common(dag->n_words, &sets[i], &sets[j]);
}

static jsp_real log_detour(float detour) {
    return (jsp_real)logf(0.1f + detour);
}

/* Pairs of a large network have embeddings, which need no place in the order and no flag;
 * these two make room for the detours. */
void jsp_edges_features_fill(const jsp_edges *edges, const jsp_edges_state *state,
                             const jsp_edges_features_option *option, jsp_real *x) {
    const jsp_dag *dag = &state->dag;
    const int i = option->parent, j = option->child;
    const int stride = state->stride, has_reverse = option->reverse_bit >= 0;
    const jsp_edges_node *parent = &state->node[i], *child = &state->node[j];
    const float *row = jsp_edges_state_row(state, j, 0) + option->bit;
    const float *reverse =
        has_reverse ? jsp_edges_state_row(state, i, 0) + option->reverse_bit : row;
    const float *half_log = edges->half_log;
    const float chance = row[JSP_EDGES_CACHE_CHANCE * stride];
    const float reverse_chance =
        has_reverse ? reverse[JSP_EDGES_CACHE_CHANCE * stride] : 0;
    const jsp_real quarter = (jsp_real)0.25;

    x[0] = quarter * clip8(row[JSP_EDGES_CACHE_ODDS * stride]);
    x[1] = has_reverse ? quarter * clip8(reverse[JSP_EDGES_CACHE_ODDS * stride]) : -2;
    x[2] = edges->is_large ? has_reverse * log_detour(option->reverse_detour)
                           : (jsp_real)has_reverse;
    x[3] = chance;
    x[4] = reverse_chance;
    x[5] = quarter * clip8(option->look_ahead);
    x[6] = has_reverse ? quarter * clip8(option->reverse_look_ahead) : 0;
    x[7] = quarter * (jsp_real)child->n_parents;
    x[8] = quarter * (jsp_real)parent->n_parents;
    /* what is still expected elsewhere: further parents and children of both ends */
    x[9] = child->expected_parents - chance;
    x[10] = parent->expected_parents - reverse_chance;
    x[11] = parent->expected_children - chance;
    x[12] = child->expected_children - reverse_chance;
    x[13] = half_log[child->n_ancestors];
    x[14] = half_log[child->n_descendants];
    x[15] = half_log[parent->n_ancestors];
    x[16] = half_log[parent->n_descendants];
    x[17] = edges->is_large ? log_detour(option->detour)
                            : (jsp_real)option->slot / (jsp_real)edges->n_slots;
    x[18] = (jsp_real)jsp_bits_has(dag->ancestors[j], i);
    x[19] = half_common(dag, dag->parents, i, j);
    x[20] = half_common(dag, dag->children, i, j);
    x[21] = (jsp_real)dag->n_edges / (jsp_real)dag->n_variables;
    x[22] = quarter * clip8(row[JSP_EDGES_CACHE_GAIN * stride]);
    x[23] = has_reverse ? quarter * clip8(reverse[JSP_EDGES_CACHE_GAIN * stride]) : 0;
}
