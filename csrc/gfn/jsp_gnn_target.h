/* jsp_gnn_target.h - what the generator `gnn` aims at: log R(G, theta) with its derivatives,
 * and which edges may be added.
 *
 *     log R(G, theta) = log P(D | G, theta) + log P(theta | G) + log w(G)
 *     log w(G) = sum over nodes of log_weight[number of parents]
 *                + sum over edges i -> j of log_odds[i, j] */
#ifndef JSP_GNN_TARGET_H
#define JSP_GNN_TARGET_H

#include "jsp_dag.h"
#include "jsp_model.h"

typedef struct jsp_gnn_target {
    int D;
    jsp_model_setup setup; /* a model that has log_joint; its data are borrowed */
    int max_parents[JSP_MAX_NETWORK_VARIABLES];
    double
        log_weight[JSP_MAX_NETWORK_VARIABLES]; /* of a node by its number of parents */
    jsp_bits allowed[JSP_MAX_NETWORK_VARIABLES]; /* possible parents of each node */
    double *log_odds; /* [D, D] owned; NULL = 0. Finite for allowed edges. */
} jsp_gnn_target;

/* log w(G), of G [D, D] */
double jsp_gnn_target_log_weight(const jsp_gnn_target *target,
                                 const uint8_t *adjacency);

/* mask [D, D] overwritten, 1 = i -> j may be added to the graph; returns their number. */
int jsp_gnn_target_mask(const jsp_gnn_target *target, const jsp_dag *dag,
                        uint8_t *mask);

/* adjacency [D, D] overwritten */
void jsp_gnn_target_graph(const jsp_dag *dag, uint8_t *adjacency);

/* dag becomes the acyclic graph adjacency [D, D]. */
void jsp_gnn_target_dag(const uint8_t *adjacency, jsp_dag *dag);

#endif
