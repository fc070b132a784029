/* jsp_gnn_net.c - network and head together: memory, shared passes, blocks of gradients. */
#include "jsp_gnn_net.h"

#include <assert.h>

#include "jsp_gnn_maps.h"
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
    uint8_t edges[JSP_MAX_NETWORK_VARIABLES * JSP_MAX_NETWORK_VARIABLES];
    for (int k = 0; k < D * D; k++) edges[k] = k % (D + 1) != 0;
    jsp_graphnet_pairs_reset(pairs, D);
    jsp_graphnet_pairs_collect(pairs, D, 1, edges);
    jsp_graphnet_pairs_finish(pairs, D);
    jsp_gnn_net_forward(net, params);
}

size_t jsp_gnn_net_gradient_size(const jsp_gnn_net *net) {
    return net->layout.size + jsp_gnn_maps_size() + jsp_head_shared_size(&net->head);
}

jsp_gnn_net_gradient jsp_gnn_net_gradient_place(const jsp_gnn_net *net, jsp_real *block,
                                                jsp_graphnet_pull pull) {
    jsp_gnn_net_gradient gradient = {.params = block, .pull = pull};
    gradient.maps = block + net->layout.size;
    gradient.head_shared = gradient.maps + jsp_gnn_maps_size();
    return gradient;
}

int jsp_gnn_net_list_stretches(const jsp_gnn_net *net, jsp_gnn_net_stretch *stretch) {
    const jsp_gnn *gnn = &net->gnn;
    const jsp_head *head = &net->head;
    const size_t H = JSP_GNN_WIDTH, D = (size_t)gnn->D;
    const jsp_linear *layer[] = {
        &gnn->graphnet.node[1], &gnn->graphnet.global[1],
        &gnn->attention,        gnn->sender,
        gnn->receiver,          &gnn->stop[0],
        &gnn->stop[1],          &head->hidden,
    };
    const jsp_linear *global = &gnn->graphnet.global[0];
    int n = 0;
    for (size_t k = 0; k < sizeof layer / sizeof layer[0]; k++) {
        const size_t first = layer[k]->weight;
        stretch[n++] =
            (jsp_gnn_net_stretch){first,
                                  layer[k]->bias + (size_t)layer[k]->n_out - first};
    }
    /* what edges bring to a graph comes by way of the tables */
    stretch[n++] = (jsp_gnn_net_stretch){global->weight, H * H};
    stretch[n++] = (jsp_gnn_net_stretch){global->bias, H};
    for (int k = 0; k < 2; k++) {
        const jsp_layernorm *norm = k ? &gnn->global_norm : &gnn->node_norm;
        stretch[n++] = (jsp_gnn_net_stretch){norm->scale, H};
        stretch[n++] = (jsp_gnn_net_stretch){norm->offset, H};
    }
    if (head->spec.is_local) {
        stretch[n++] = (jsp_gnn_net_stretch){head->own, D * H};
        stretch[n++] = (jsp_gnn_net_stretch){head->pair, D * D * H};
    }
    assert(n < JSP_GNN_NET_STRETCHES);
    stretch[n++] =
        (jsp_gnn_net_stretch){net->layout.size,
                              jsp_gnn_net_gradient_size(net) - net->layout.size};
    return n;
}

void jsp_gnn_net_backward(jsp_gnn_net *net, const jsp_real *params,
                          const jsp_gnn_net_gradient *gradient) {
    jsp_gnn_shared_backward(&net->gnn, params, &net->shared, &gradient->pull,
                            gradient->maps, gradient->params);
    jsp_head_shared_backward(&net->head, gradient->head_shared, gradient->params);
}
