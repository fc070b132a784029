/* jsp_layernorm.h - layer normalisation of rows.
 *
 *   y[b, :] = (x[b, :] - mean_b) / sqrt(variance_b + 1e-5) * scale + offset
 *
 * with the mean and the variance (divisor n) of row b. */
#ifndef JSP_LAYERNORM_H
#define JSP_LAYERNORM_H

#include "jsp_params.h"

typedef struct jsp_layernorm {
    int n;                /* columns */
    size_t scale, offset; /* offsets into the parameter block */
} jsp_layernorm;

/* Registers scale (1) and offset (0) under these names (static strings). */
jsp_layernorm jsp_layernorm_create(jsp_params *params, const char *scale_name,
                                   const char *offset_name, int n);

/* x, y [B, n], y overwritten; moments [B, 2] overwritten, for the backward pass. */
void jsp_layernorm_forward(const jsp_layernorm *layer, const jsp_real *params, int B,
                           const jsp_real *x, jsp_real *y, jsp_real *moments);

/* Given dy [B, n]: dx [B, n] overwritten (may be dy); gradients of scale and offset
 * accumulate into d_params. */
void jsp_layernorm_backward(const jsp_layernorm *layer, const jsp_real *params, int B,
                            const jsp_real *x, const jsp_real *moments,
                            const jsp_real *dy, jsp_real *dx, jsp_real *d_params);

#endif
