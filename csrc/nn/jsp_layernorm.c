/* jsp_layernorm.c - layer normalisation: offsets into the parameter block and two
 * kernels. */
#include "jsp_layernorm.h"

#include "jsp_kernels.h"

jsp_layernorm jsp_layernorm_create(jsp_params *params, const char *scale_name,
                                   const char *offset_name, int n) {
    jsp_layernorm layer = {.n = n};
    layer.scale = jsp_params_add(params, scale_name, n, 1, 0, 1);
    layer.offset = jsp_params_add(params, offset_name, n, 1, 0, 0);
    return layer;
}

void jsp_layernorm_forward(const jsp_layernorm *layer, const jsp_real *params, int B,
                           const jsp_real *x, jsp_real *y, jsp_real *moments) {
    jsp_kernels_active()->layernorm(B, layer->n, x, params + layer->scale,
                                    params + layer->offset, y, moments);
}

void jsp_layernorm_backward(const jsp_layernorm *layer, const jsp_real *params, int B,
                            const jsp_real *x, const jsp_real *moments,
                            const jsp_real *dy, jsp_real *dx, jsp_real *d_params) {
    jsp_kernels_active()->layernorm_backward(B, layer->n, x, params + layer->scale,
                                             moments, dy, dx, d_params + layer->scale,
                                             d_params + layer->offset);
}
