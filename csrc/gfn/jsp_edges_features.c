#include "jsp_edges_features.h"

static float clip8(float x) {
    return x > 8 ? 8 : x < -8 ? -8 : x;
}

static jsp_real count(jsp_bits set) {
    return (jsp_real)jsp_bits_count(set);
}

/* Half the log of the size of an ancestor or descendant set. */
static jsp_real half_log_count(const jsp_edges *edges, jsp_bits set) {
    return (jsp_real)edges->half_log[jsp_bits_count(set)];
}

void jsp_edges_features_fill(const jsp_edges *edges, const jsp_edges_state *state,
                             const jsp_edges_features_option *option, jsp_real *x) {
    const jsp_dag *dag = &state->dag;
    const int i = option->parent, j = option->child;
    const size_t stride = (size_t)state->stride;
    const size_t cell = (size_t)j * stride + (size_t)option->bit;
    const int has_reverse = option->reverse_bit >= 0;
    const size_t reverse =
        has_reverse ? (size_t)i * stride + (size_t)option->reverse_bit : cell;
    const float chance = state->chance[cell];
    const float reverse_chance = has_reverse ? state->chance[reverse] : 0;
    const jsp_real quarter = (jsp_real)0.25;

    x[0] = quarter * clip8(state->odds[cell]);
    x[1] = has_reverse ? quarter * clip8(state->odds[reverse]) : -2;
    x[2] = (jsp_real)has_reverse;
    x[3] = chance;
    x[4] = reverse_chance;
    x[5] = quarter * clip8(option->look_ahead);
    x[6] = has_reverse ? quarter * clip8(option->reverse_look_ahead) : 0;
    x[7] = quarter * (jsp_real)jsp_bits_count64(state->chosen[j]);
    x[8] = quarter * (jsp_real)jsp_bits_count64(state->chosen[i]);
    /* what is still expected elsewhere: further parents and children of both ends */
    x[9] = state->expected_parents[j] - chance;
    x[10] = state->expected_parents[i] - reverse_chance;
    x[11] = state->expected_children[i] - chance;
    x[12] = state->expected_children[j] - reverse_chance;
    x[13] = half_log_count(edges, dag->ancestors[j]);
    x[14] = half_log_count(edges, dag->descendants[j]);
    x[15] = half_log_count(edges, dag->ancestors[i]);
    x[16] = half_log_count(edges, dag->descendants[i]);
    x[17] = (jsp_real)option->slot / (jsp_real)edges->n_slots;
    x[18] = (jsp_real)jsp_bits_has(dag->ancestors[j], i);
    x[19] = (jsp_real)0.5 * count(jsp_bits_and(dag->parents[i], dag->parents[j]));
    x[20] = (jsp_real)0.5 * count(jsp_bits_and(dag->children[i], dag->children[j]));
    x[21] = (jsp_real)dag->n_edges / (jsp_real)dag->n_variables;
    x[22] = quarter * clip8(state->gain[cell]);
    x[23] = has_reverse ? quarter * clip8(state->gain[reverse]) : 0;
}
