/* jsp_linear.c - one dense layer: offsets into the parameter block and three
 * kernels. */
#include "jsp_linear.h"

#include "jsp_kernels.h"

jsp_linear jsp_linear_create(jsp_params *params, const char *weight_name,
                             const char *bias_name, int n_in, int n_out,
                             double weight_scale) {
    jsp_linear layer = {.n_in = n_in, .n_out = n_out};
    layer.weight = jsp_params_add(params, weight_name, n_in, n_out, weight_scale, 0);
    layer.bias = jsp_params_add(params, bias_name, n_out, 1, 0, 0);
    return layer;
}

void jsp_linear_forward(const jsp_linear *layer, const jsp_real *params, int B,
                        const jsp_real *x, jsp_real *y) {
    jsp_kernels_active()->dense_forward(B, layer->n_in, layer->n_out, x,
                                        params + layer->weight, params + layer->bias,
                                        NULL, 0, NULL, y);
}

void jsp_linear_backward(const jsp_linear *layer, const jsp_real *params, int B,
                         const jsp_real *x, const jsp_real *dy, jsp_real *dx,
                         jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->dense_backward_weight(B, layer->n_in, layer->n_out, x, dy,
                                   d_params + layer->weight, d_params + layer->bias);
    if (dx) {
        kernels->dense_backward_input(B, layer->n_in, layer->n_out, dy,
                                      params + layer->weight, 0, dx);
    }
}
