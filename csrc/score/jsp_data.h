/* jsp_data.h - the table of numbers, reduced to what scores need; the only place that
 * sees X.
 *
 * Row r counts for node j unless j was intervened on in that row, so each node has its
 * own number of rows, means and scatter matrix (shared by all nodes when there are no
 * interventions). */
#ifndef JSP_DATA_H
#define JSP_DATA_H

#include "jsp_status.h"

typedef struct jsp_data jsp_data;

/* Moments of all columns over the rows that count for one node. */
typedef struct jsp_data_moments {
    double n_rows;
    const double *mean;    /* [D] */
    const double *scatter; /* [D, D] sum of (x - mean)(x - mean)^T, symmetric */
} jsp_data_moments;

/* Reads x [N, D] (row-major, finite) and mask [N, D] (1 = this cell was set by an
 * intervention; NULL = none); keeps no pointer to them. Means first, then centred
 * products, so that data far from 0 lose no digits. */
jsp_status jsp_data_create(const double *x, const uint8_t *mask, int n_rows,
                           int n_variables, int n_threads, jsp_data **out,
                           jsp_error *error);
void jsp_data_destroy(jsp_data *data); /* NULL allowed */

int jsp_data_n_variables(const jsp_data *data);

/* Pointers stay valid as long as `data`. */
jsp_data_moments jsp_data_node(const jsp_data *data, int node);

#endif
