/* jsp_rows.c - gathering rows. */
#include "jsp_rows.h"

#include <string.h>

#include "jsp_memory.h"
#include "jsp_places.h"

#define ROUND 16 /* rows of the kernels' widest vectors */

static void place_rows(jsp_rows *rows, size_t stride, int with_moments, jsp_places *p) {
    const size_t D = (size_t)rows->D, masks = (size_t)rows->n_masks;
    rows->value = jsp_places_take(p, D * stride, sizeof(jsp_real));
    rows->counts = jsp_places_take(p, masks * stride, sizeof(jsp_real));
    rows->n_counted = jsp_places_take(p, masks, sizeof(double));
    if (!with_moments) return;
    rows->mean = jsp_places_take(p, masks * D, sizeof(double));
    rows->scatter = jsp_places_take(p, masks * D * D, sizeof(double));
}

jsp_status jsp_rows_create(const jsp_data *data, int capacity, int with_moments,
                           jsp_rows *rows, jsp_error *error) {
    const size_t stride = ((size_t)capacity + ROUND - 1) / ROUND * ROUND;
    const int D = jsp_data_n_variables(data);
    jsp_places p = {0};
    *rows = (jsp_rows){.D = D,
                       .capacity = capacity,
                       .n_masks = jsp_data_mask(data, 0) ? D : 1};
    place_rows(rows, stride, with_moments, &p);
    rows->memory = p.base = jsp_memory_alloc(p.used, 1);
    if (!p.base) return jsp_status_no_memory(error, p.used, "rows of the data");
    p.used = 0;
    place_rows(rows, stride, with_moments, &p);
    return JSP_OK;
}

void jsp_rows_destroy(jsp_rows *rows) {
    if (!rows) return;
    jsp_memory_free(rows->memory);
    *rows = (jsp_rows){0};
}

static int row_at(const int *index, int k) {
    return index ? index[k] : k;
}

/* Means first, then centred products, as in jsp_data.c. */
static void compute_moments(jsp_rows *rows, const jsp_data *data, int set,
                            const int *index) {
    const size_t D = (size_t)rows->D;
    const uint8_t *mask = jsp_data_mask(data, set);
    double *mean = rows->mean + (size_t)set * D;
    double *scatter = rows->scatter + (size_t)set * D * D, n = 0;
    double centred[JSP_MAX_VARIABLES];
    memset(mean, 0, D * sizeof *mean);
    memset(scatter, 0, D * D * sizeof *scatter);
    for (int k = 0; k < rows->n; k++) {
        const int r = row_at(index, k);
        if (mask && mask[r]) continue;
        n++;
        for (size_t j = 0; j < D; j++) {
            mean[j] += (jsp_data_values(data, (int)j)[r] - mean[j]) / n;
        }
    }
    for (int k = 0; k < rows->n; k++) {
        const int r = row_at(index, k);
        if (mask && mask[r]) continue;
        for (size_t j = 0; j < D; j++) {
            centred[j] = jsp_data_values(data, (int)j)[r] - mean[j];
        }
        for (size_t i = 0; i < D; i++) {
            for (size_t j = 0; j < D; j++) {
                scatter[i * D + j] += centred[i] * centred[j];
            }
        }
    }
}

void jsp_rows_fill(jsp_rows *rows, const jsp_data *data, int n, const int *index) {
    const size_t stride = ((size_t)n + ROUND - 1) / ROUND * ROUND;
    rows->n = n;
    rows->stride = (int)stride;
    rows->weight = n ? (double)jsp_data_n_rows(data) / n : 1;
    for (int j = 0; j < rows->D; j++) {
        const double *x = jsp_data_values(data, j);
        jsp_real *value = rows->value + (size_t)j * stride;
        for (int k = 0; k < n; k++) value[k] = (jsp_real)x[row_at(index, k)];
        for (size_t k = (size_t)n; k < stride; k++) value[k] = 0;
    }
    for (int set = 0; set < rows->n_masks; set++) {
        const uint8_t *mask = jsp_data_mask(data, set);
        jsp_real *counts = rows->counts + (size_t)set * stride;
        rows->n_counted[set] = 0;
        for (int k = 0; k < n; k++) {
            counts[k] = (jsp_real)(!mask || !mask[row_at(index, k)]);
            rows->n_counted[set] += (double)counts[k];
        }
        for (size_t k = (size_t)n; k < stride; k++) counts[k] = 0;
        if (rows->mean) compute_moments(rows, data, set, index);
    }
}

jsp_data_moments jsp_rows_moments(const jsp_rows *rows, int node) {
    const size_t D = (size_t)rows->D, set = rows->n_masks > 1 ? (size_t)node : 0;
    return (jsp_data_moments){rows->n_counted[set], rows->mean + set * D,
                              rows->scatter + set * D * D};
}
