/* jsp_gnn_target.c - weights of graphs and legal edges, between bytes and bit words. */
#include "jsp_gnn_target.h"

#include <string.h>

double jsp_gnn_target_log_weight(const jsp_gnn_target *target,
                                 const uint8_t *adjacency) {
    const int D = target->D;
    double sum = 0;
    for (int j = 0; j < D; j++) {
        int n_parents = 0;
        for (int i = 0; i < D; i++) {
            if (!adjacency[i * D + j]) continue;
            n_parents++;
            if (target->log_odds) sum += target->log_odds[i * D + j];
        }
        sum += target->log_weight[n_parents];
    }
    return sum;
}

int jsp_gnn_target_mask(const jsp_gnn_target *target, const jsp_dag *dag,
                        uint8_t *mask) {
    const int D = target->D;
    int n_legal = 0;
    memset(mask, 0, (size_t)D * (size_t)D);
    for (int j = 0; j < D; j++) {
        if (jsp_bits_count(dag->parents[j]) >= target->max_parents[j]) continue;
        jsp_bits legal =
            jsp_bits_and(jsp_dag_legal_parents(dag, j), target->allowed[j]);
        for (int i; (i = jsp_bits_pop(&legal)) >= 0; n_legal++) mask[i * D + j] = 1;
    }
    return n_legal;
}

void jsp_gnn_target_graph(const jsp_dag *dag, uint8_t *adjacency) {
    const int D = dag->n_variables;
    memset(adjacency, 0, (size_t)D * (size_t)D);
    for (int j = 0; j < D; j++) {
        jsp_bits parents = dag->parents[j];
        for (int i; (i = jsp_bits_pop(&parents)) >= 0;) adjacency[i * D + j] = 1;
    }
}

void jsp_gnn_target_dag(const uint8_t *adjacency, jsp_dag *dag) {
    const int D = dag->n_variables;
    jsp_dag_reset(dag);
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
            if (adjacency[i * D + j]) jsp_dag_add(dag, i, j);
        }
    }
}
