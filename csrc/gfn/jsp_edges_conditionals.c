#include "jsp_edges_conditionals.h"

#include <math.h>

/* 1 when parent -> child closes no cycle once the edge between the two, if there is one,
 * has been taken out. */
static int is_legal(const jsp_dag *dag, int parent, int child) {
    if (jsp_bits_has(dag->parents[child], parent)) return 1;
    if (!jsp_bits_has(dag->parents[parent], child))
        return !jsp_bits_has(dag->descendants[child], parent);
    /* child -> parent: is there another way, by another parent of `parent`? */
    for (int w = 0; w < dag->n_words; w++) {
        uint64_t others =
            dag->parents[parent].word[w] & dag->descendants[child].word[w];
        if (w == child >> 6) others &= ~((uint64_t)1 << (child & 63));
        if (others) return 0;
    }
    return 1;
}

/* Log-weights of no edge, a -> b and b -> a, up to a constant. */
static void weigh(const jsp_edges_slot *slot, const jsp_edges_state *state,
                  double log_weight[3]) {
    const int child[2] = {slot->b, slot->a}, parent[2] = {slot->a, slot->b};
    const int bit[2] = {slot->bit_ab, slot->bit_ba};
    double without[2], with[2];
    for (int d = 0; d < 2; d++) {
        const double *score = state->scores->node[child[d]].score;
        const uint32_t one = bit[d] < 0 ? 0 : (uint32_t)1 << bit[d];
        const uint32_t others = state->chosen[child[d]] & ~one;
        without[d] = score[others];
        with[d] = one && is_legal(&state->dag, parent[d], child[d])
                      ? score[others | one]
                      : -INFINITY;
    }
    log_weight[0] = without[0] + without[1];
    log_weight[1] = with[0] + without[1];
    log_weight[2] = without[0] + with[1];
}

void jsp_edges_conditionals(const jsp_edges *edges, const jsp_edges_state *state,
                            jsp_real *probability) {
    for (int p = 0; p < edges->n_slots; p++) {
        double weight[3], total = 0;
        weigh(&edges->slot[p], state, weight);
        /* finite: the graph itself is allowed */
        const double top = fmax(weight[0], fmax(weight[1], weight[2]));
        for (int k = 0; k < 3; k++) total += weight[k] = exp(weight[k] - top);
        for (int d = 0; d < 2; d++)
            probability[2 * p + d] = (jsp_real)(weight[1 + d] / total);
    }
}
