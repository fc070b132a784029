/* jsp_gnn_net.c - network and head together: memory, shared passes, blocks of gradients. */
#include "jsp_gnn_net.h"

#include "jsp_memory.h"

jsp_status jsp_gnn_net_create(jsp_gnn_net *net, int D, jsp_head_spec head,
                              jsp_error *error) {
    *net = (jsp_gnn_net){0};
    jsp_params_init(&net->layout);
    net->gnn = jsp_gnn_create(&net->layout, D);
    net->head = jsp_head_create(&net->layout, head, D);
    const size_t size = jsp_head_shared_size(&net->head);
    net->head_shared = jsp_memory_alloc(size, sizeof *net->head_shared);
    if (!net->head_shared) {
        return jsp_status_no_memory(error, size * sizeof(jsp_real), "the head");
    }
    return jsp_gnn_shared_create(&net->gnn, &net->shared, error);
}

void jsp_gnn_net_destroy(jsp_gnn_net *net) {
    if (!net) return;
    jsp_gnn_shared_destroy(&net->shared);
    jsp_memory_free(net->head_shared);
    *net = (jsp_gnn_net){0};
}

void jsp_gnn_net_forward(jsp_gnn_net *net, const jsp_real *params) {
    jsp_gnn_shared_forward(&net->gnn, params, &net->shared);
    jsp_head_shared_forward(&net->head, params, net->head_shared);
}

void jsp_gnn_net_forward_all(jsp_gnn_net *net, const jsp_real *params) {
    const int D = net->gnn.D;
    jsp_graphnet_pairs *pairs = &net->shared.pairs;
    uint8_t edges[JSP_MAX_VARIABLES * JSP_MAX_VARIABLES];
    for (int k = 0; k < D * D; k++) edges[k] = k % (D + 1) != 0;
    jsp_graphnet_pairs_reset(pairs, D);
    jsp_graphnet_pairs_collect(pairs, D, 1, edges);
    jsp_graphnet_pairs_finish(pairs, D);
    jsp_gnn_net_forward(net, params);
}

size_t jsp_gnn_net_gradient_capacity(const jsp_gnn_net *net) {
    return net->layout.size + net->shared.capacity + jsp_head_shared_size(&net->head);
}

size_t jsp_gnn_net_gradient_size(const jsp_gnn_net *net) {
    return net->layout.size + net->shared.size + jsp_head_shared_size(&net->head);
}

jsp_gnn_net_gradient jsp_gnn_net_gradient_place(const jsp_gnn_net *net,
                                                jsp_real *block) {
    jsp_gnn_net_gradient gradient = {.params = block};
    gradient.shared = block + net->layout.size;
    gradient.head_shared = gradient.shared + net->shared.size;
    return gradient;
}

void jsp_gnn_net_backward(jsp_gnn_net *net, const jsp_real *params,
                          const jsp_gnn_net_gradient *gradient) {
    jsp_gnn_shared_backward(&net->gnn, params, &net->shared, gradient->shared,
                            gradient->params);
    jsp_head_shared_backward(&net->head, gradient->head_shared, gradient->params);
}
