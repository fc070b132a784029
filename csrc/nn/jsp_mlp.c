/* jsp_mlp.c - the stack of dense layers.
 *
 * The forward pass keeps only h_l. The backward pass needs where z_l = h_{l-1} W_l +
 * b_l was positive and reads it off the outputs: h_l > h_{l-1} (h_1 > 0 in the first
 * layer). A z so small that the sum rounds to h_{l-1} gets gradient 0; in floating
 * point the function is flat there. Keeping z or a mask would cost a third more
 * memory traffic for nothing. */
#include "jsp_mlp.h"

#include <assert.h>

#include "jsp_kernels.h"

static const char *const weight_names[JSP_MLP_MAX_LAYERS] = {"mlp.weight1",
                                                             "mlp.weight2",
                                                             "mlp.weight3",
                                                             "mlp.weight4"};
static const char *const bias_names[JSP_MLP_MAX_LAYERS] = {"mlp.bias1", "mlp.bias2",
                                                           "mlp.bias3", "mlp.bias4"};

jsp_mlp jsp_mlp_create(jsp_params *params, int n_in, int n_hidden, int n_layers,
                       const double *weight_scale) {
    assert(n_layers >= 1 && n_layers <= JSP_MLP_MAX_LAYERS);
    jsp_mlp mlp = {.n_in = n_in, .n_hidden = n_hidden, .n_layers = n_layers};
    for (int l = 0; l < n_layers; l++) {
        int rows = l == 0 ? n_in : n_hidden;
        mlp.weight[l] =
            jsp_params_add(params, weight_names[l], rows, n_hidden, weight_scale[l], 0);
        mlp.bias[l] = jsp_params_add(params, bias_names[l], n_hidden, 1, 0, 0);
    }
    return mlp;
}

void jsp_mlp_forward(const jsp_mlp *mlp, const jsp_real *params, int B,
                     const jsp_real *x, const jsp_real *offset,
                     jsp_real *const *hidden) {
    const jsp_kernels *kernels = jsp_kernels_active();
    int H = mlp->n_hidden;
    kernels->dense_forward(B, mlp->n_in, H, x, params + mlp->weight[0],
                           params + mlp->bias[0], offset, 1, NULL, hidden[0]);
    for (int l = 1; l < mlp->n_layers; l++) {
        kernels->dense_forward(B, H, H, hidden[l - 1], params + mlp->weight[l],
                               params + mlp->bias[l], NULL, 1, hidden[l - 1],
                               hidden[l]);
    }
}

void jsp_mlp_backward(const jsp_mlp *mlp, const jsp_real *params, int B,
                      const jsp_real *x, const jsp_real *const *hidden, jsp_real *d_out,
                      jsp_real *d_offset, jsp_real *dx, jsp_real *d_params,
                      jsp_real *scratch, int has_last) {
    const jsp_kernels *kernels = jsp_kernels_active();
    int H = mlp->n_hidden;
    size_t n = (size_t)B * (size_t)H;
    for (int l = mlp->n_layers - 1; l >= 1; l--) {
        /* d_out is dh_{l+1}; scratch = dz. The skip connection leaves d_out in place
         * and the product adds to it, which makes it the gradient of the layer
         * below. */
        if (!has_last || l < mlp->n_layers - 1)
            kernels->relu_backward(n, hidden[l], hidden[l - 1], d_out, scratch);
        kernels->dense_backward_weight(B, H, H, hidden[l - 1], scratch,
                                       d_params + mlp->weight[l],
                                       d_params + mlp->bias[l]);
        kernels->dense_backward_input(B, H, H, scratch, params + mlp->weight[l], 1,
                                      d_out);
    }
    kernels->relu_backward(n, hidden[0], NULL, d_out, d_offset);
    kernels->dense_backward_weight(B, mlp->n_in, H, x, d_offset,
                                   d_params + mlp->weight[0], d_params + mlp->bias[0]);
    if (dx) {
        kernels->dense_backward_input(B, mlp->n_in, H, d_offset,
                                      params + mlp->weight[0], 0, dx);
    }
}
