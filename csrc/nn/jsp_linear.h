/* jsp_linear.h - one dense layer.  y = x W + b
 *   x [B, n_in]  W [n_in, n_out]  b [n_out]  y [B, n_out] */
#ifndef JSP_LINEAR_H
#define JSP_LINEAR_H

#include "jsp_params.h"

typedef struct jsp_linear {
    int n_in, n_out;
    size_t weight, bias; /* offsets into the parameter block */
} jsp_linear;

/* Registers W (normal, sd weight_scale) and b (0) as `weight_name` and `bias_name`
 * (static strings). */
jsp_linear jsp_linear_create(jsp_params *params, const char *weight_name,
                             const char *bias_name, int n_in, int n_out,
                             double weight_scale);

/* y overwritten. `params` is the parameter block. */
void jsp_linear_forward(const jsp_linear *layer, const jsp_real *params, int B,
                        const jsp_real *x, jsp_real *y);

/* Given dy: dx [B, n_in] overwritten (may be NULL); gradients of W and b accumulate
 * into the gradient block d_params. */
void jsp_linear_backward(const jsp_linear *layer, const jsp_real *params, int B,
                         const jsp_real *x, const jsp_real *dy, jsp_real *dx,
                         jsp_real *d_params);

#endif
