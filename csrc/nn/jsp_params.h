/* jsp_params.h - all numbers of a network in one flat block, and the table that names
 * them.
 *
 * Gradients, Adam moments and the running average are blocks of the same size. The
 * table drives initialisation, saving, the Python view and the tests. */
#ifndef JSP_PARAMS_H
#define JSP_PARAMS_H

#include "jsp_real.h"
#include "jsp_rng.h"
#include "jsp_status.h"

#define JSP_PARAMS_MAX_TENSORS 64

typedef struct jsp_params_tensor {
    const char *name; /* static string */
    size_t offset;    /* first number in the block; a multiple of 16 */
    int shape[2];     /* rows, columns; columns = 1 for vectors */
    double
        init_scale; /* standard deviation of the normal initial values; 0 = constant */
    double init_value; /* the constant, when init_scale is 0 */
} jsp_params_tensor;

typedef struct jsp_params {
    jsp_params_tensor tensor[JSP_PARAMS_MAX_TENSORS];
    int n_tensors;
    size_t size; /* numbers in a block, padding included; padding stays 0 */
} jsp_params;

/* An empty table. */
void jsp_params_init(jsp_params *params);

/* Appends a tensor of rows x columns and returns its offset. The table has room for
 * JSP_PARAMS_MAX_TENSORS (asserted). */
size_t jsp_params_add(jsp_params *params, const char *name, int rows, int columns,
                      double init_scale, double init_value);

/* Fills a block [size] with initial values; tensor t draws from the stream
 * (seed, 0, t, JSP_RNG_INIT). Padding is set to 0. */
void jsp_params_fill(const jsp_params *params, uint64_t seed, jsp_real *block);

/* The tensor called `name`, or NULL. */
const jsp_params_tensor *jsp_params_find(const jsp_params *params, const char *name);

#endif
