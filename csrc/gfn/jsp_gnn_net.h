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

/* One block of gradients: parameters, then maps, then the head's weights. */
size_t jsp_gnn_net_gradient_size(const jsp_gnn_net *net);

/* What backward passes add to, and where they leave rows of their graphs. */
typedef struct jsp_gnn_net_gradient {
    jsp_real *params, *maps, *head_shared; /* places in a block */
    jsp_graphnet_pull pull;
} jsp_gnn_net_gradient;

jsp_gnn_net_gradient jsp_gnn_net_gradient_place(const jsp_gnn_net *net, jsp_real *block,
                                                jsp_graphnet_pull pull);

/* The stretches of a block to which sides add, at most JSP_GNN_NET_STRETCHES; all else is
 * touched by jsp_gnn_net_backward only. Returns how many. */
#define JSP_GNN_NET_STRETCHES 16
typedef struct jsp_gnn_net_stretch {
    size_t first, n;
} jsp_gnn_net_stretch;

int jsp_gnn_net_list_stretches(const jsp_gnn_net *net, jsp_gnn_net_stretch *stretch);

/* Once per step, from the sum of blocks and the rows of all graphs: gradients of parameters
 * are complete after it. */
void jsp_gnn_net_backward(jsp_gnn_net *net, const jsp_real *params,
                          const jsp_gnn_net_gradient *gradient);

#endif
