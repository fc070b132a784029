/* jsp_gnn_net.h - network and head of the published method on one block of parameters, with
 * what all graphs of a step share. */
#ifndef JSP_GNN_NET_H
#define JSP_GNN_NET_H

#include "jsp_gnn.h"
#include "jsp_head_normal.h"

typedef struct jsp_gnn_net {
    jsp_params layout;
    jsp_gnn gnn;
    jsp_head head;
    jsp_gnn_shared shared;
    jsp_real *head_shared; /* owned */
} jsp_gnn_net;

jsp_status jsp_gnn_net_create(jsp_gnn_net *net, int D, jsp_head_spec head,
                              jsp_error *error);
void jsp_gnn_net_destroy(jsp_gnn_net *net); /* all-zero allowed */

/* Once per step, after the pairs of the step are known (jsp_graphnet_pairs_finish). */
void jsp_gnn_net_forward(jsp_gnn_net *net, const jsp_real *params);

/* The same for all pairs of variables, so that any graph may follow. */
void jsp_gnn_net_forward_all(jsp_gnn_net *net, const jsp_real *params);

/* One block of gradients: parameters, then tables and maps, then the head's weights. */
size_t jsp_gnn_net_gradient_capacity(const jsp_gnn_net *net);
size_t jsp_gnn_net_gradient_size(const jsp_gnn_net *net); /* of the present step */

typedef struct jsp_gnn_net_gradient {
    jsp_real *params, *shared, *head_shared;
} jsp_gnn_net_gradient;

jsp_gnn_net_gradient jsp_gnn_net_gradient_place(const jsp_gnn_net *net,
                                                jsp_real *block);

/* Once per step, from the sum of blocks: gradients of parameters are complete after it. */
void jsp_gnn_net_backward(jsp_gnn_net *net, const jsp_real *params,
                          const jsp_gnn_net_gradient *gradient);

#endif
