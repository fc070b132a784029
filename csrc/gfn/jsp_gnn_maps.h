/* jsp_gnn_maps.h - consecutive linear maps of the network, multiplied together.
 *
 *   query, key, value   second layer of the node update, a third of the projection, and the
 *                       attention's own layer: three maps become one
 *   pair, pair_sender   <a W_s + b_s, c W_r + b_r> = <a P + p, c> + <a, u> + <b_s, b_r>,
 *                       P = W_s W_r^T, p = W_r b_s, u = W_s b_r; the last term is the same
 *                       for all edges, so it neither changes the softmax nor has a
 *                       gradient, and is left out
 *
 * A bias is row 129 of its matrix, so that it goes through the same products. The products
 * cost as much as about 900 nodes do in one layer, once per step. */
#ifndef JSP_GNN_MAPS_H
#define JSP_GNN_MAPS_H

#include "jsp_gnn.h"

/* Numbers in the block of the maps, and in the cache of their backward pass. */
size_t jsp_gnn_maps_size(void);
size_t jsp_gnn_maps_cache_size(void);

jsp_gnn_maps jsp_gnn_maps_place(jsp_real *block);

/* Work is cut into this many tasks that may run side by side. */
#define JSP_GNN_MAPS_TASKS 4

/* Map `task` of query, key, value, pair; and its cache. */
void jsp_gnn_maps_forward(const jsp_gnn *gnn, const jsp_real *params,
                          const jsp_gnn_maps *maps, jsp_real *cache, int task);

/* Given gradients of the maps: gradients of their factors accumulate into d_params, after
 * all tasks and then _finish. The cache is destroyed. */
void jsp_gnn_maps_backward(const jsp_gnn *gnn, const jsp_real *params,
                           const jsp_gnn_maps *d_maps, jsp_real *cache,
                           jsp_real *d_params, int task);
void jsp_gnn_maps_backward_finish(const jsp_gnn *gnn, jsp_real *cache,
                                  jsp_real *d_params);

#endif
