/* jsp_mlp.h - a stack of dense layers with ReLU and skip connections.
 *
 *   h_1 = relu(x W_1 + b_1 + offset),
 *   h_l = relu(h_{l-1} W_l + b_l) + h_{l-1},  l = 2 .. L
 *
 * All hidden layers have width H. `offset` [B, H] lets a caller add terms that many
 * rows share (embeddings of the nodes, a pooled summary of the graph) without making
 * them inputs of the first product. */
#ifndef JSP_MLP_H
#define JSP_MLP_H

#include "jsp_params.h"

#define JSP_MLP_MAX_LAYERS 4

typedef struct jsp_mlp {
    int n_in;     /* columns of x */
    int n_hidden; /* H */
    int n_layers; /* L >= 1 */
    /* offsets into the parameter block */
    size_t weight[JSP_MLP_MAX_LAYERS], bias[JSP_MLP_MAX_LAYERS];
} jsp_mlp;

/* Registers weights "mlp.weight1", "mlp.bias1", ...; W_l is normal with sd
 * weight_scale[l - 1], biases are 0. */
jsp_mlp jsp_mlp_create(jsp_params *params, int n_in, int n_hidden, int n_layers,
                       const double *weight_scale);

/* hidden[l] [B, H], l = 0 .. L-1, overwritten with h_{l+1}; offset may be NULL. */
void jsp_mlp_forward(const jsp_mlp *mlp, const jsp_real *params, int B,
                     const jsp_real *x, const jsp_real *offset,
                     jsp_real *const *hidden);

/* Given d_out [B, H] = gradient of h_L (destroyed): gradients of weights and biases
 * accumulate into d_params; d_offset [B, H] overwritten with the gradient of offset;
 * dx [B, n_in] overwritten unless NULL. scratch [B, H]; with has_last it holds the
 * gradient before the last ReLU already (L >= 2). */
void jsp_mlp_backward(const jsp_mlp *mlp, const jsp_real *params, int B,
                      const jsp_real *x, const jsp_real *const *hidden, jsp_real *d_out,
                      jsp_real *d_offset, jsp_real *dx, jsp_real *d_params,
                      jsp_real *scratch, int has_last);

#endif
