/* jsp_params.c - the table of tensors of one flat block.
 *
 * Offsets are multiples of 16 numbers, so that every tensor of a 64-byte aligned block
 * starts on a cache line. A tensor draws its initial values from a stream of its own:
 * adding a tensor at the end leaves the initial values of the others as they were. */
#include "jsp_params.h"

#include <assert.h>
#include <string.h>

static size_t count_numbers(const jsp_params_tensor *tensor) {
    return (size_t)tensor->shape[0] * (size_t)tensor->shape[1];
}

void jsp_params_init(jsp_params *params) {
    *params = (jsp_params){0};
}

size_t jsp_params_add(jsp_params *params, const char *name, int rows, int columns,
                      double init_scale, double init_value) {
    assert(params->n_tensors < JSP_PARAMS_MAX_TENSORS);
    assert(rows >= 0 && columns >= 0);
    jsp_params_tensor *tensor = &params->tensor[params->n_tensors++];
    *tensor = (jsp_params_tensor){
        .name = name,
        .offset = params->size,
        .shape = {rows, columns},
        .init_scale = init_scale,
        .init_value = init_value,
    };
    params->size += (count_numbers(tensor) + 15) / 16 * 16;
    return tensor->offset;
}

void jsp_params_fill(const jsp_params *params, uint64_t seed, jsp_real *block) {
    memset(block, 0, params->size * sizeof *block);
    for (int t = 0; t < params->n_tensors; t++) {
        const jsp_params_tensor *tensor = &params->tensor[t];
        jsp_real *values = block + tensor->offset;
        size_t n = count_numbers(tensor);
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 0, (uint32_t)t, JSP_RNG_INIT);
        for (size_t k = 0; k < n; k++) {
            values[k] = tensor->init_scale == 0
                            ? (jsp_real)tensor->init_value
                            : (jsp_real)(tensor->init_scale * jsp_rng_normal(&rng));
        }
    }
}

const jsp_params_tensor *jsp_params_find(const jsp_params *params, const char *name) {
    for (int t = 0; t < params->n_tensors; t++) {
        if (strcmp(params->tensor[t].name, name) == 0) return &params->tensor[t];
    }
    return NULL;
}
