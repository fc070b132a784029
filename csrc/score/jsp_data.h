/* jsp_data.h - the table of data, reduced to what scores need; the only place that sees
 * X. Numbers become moments; discrete data stay codes of states.
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

/* Moments made elsewhere: of the rows that count for the nodes of each set. Copied.
 *   set_of [D] below n_sets, 0 for node 0   n_rows [n_sets]
 *   mean [n_sets, D]   scatter [n_sets, D, D] symmetric
 * JSP_ERROR_VALUE when a number is not finite or a set out of range. */
jsp_status jsp_data_create_moments(int n_variables, int n_sets, const int32_t *set_of,
                                   const double *n_rows, const double *mean,
                                   const double *scatter, jsp_data **out,
                                   jsp_error *error);

/* Copies the rows given to jsp_data_create too, for models that need more than moments.
 * After an error `data` may only be destroyed. */
jsp_status jsp_data_keep_rows(jsp_data *data, const double *x, const uint8_t *mask,
                              int n_rows, jsp_error *error);

/* Discrete data: codes [N, D], column j holds 0 .. n_states[j] - 1 (at most
 * JSP_MAX_STATES states; JSP_ERROR_VALUE otherwise). Keeps copies. */
jsp_status jsp_data_create_discrete(const int32_t *codes, const uint8_t *mask,
                                    int n_rows, int n_variables, const int *n_states,
                                    jsp_data **out, jsp_error *error);
void jsp_data_destroy(jsp_data *data); /* NULL allowed */

int jsp_data_n_variables(const jsp_data *data);

int jsp_data_is_discrete(const jsp_data *data);

/* Numbers only: nodes of one set share their moments. */
int jsp_data_n_sets(const jsp_data *data);
int jsp_data_set_of(const jsp_data *data, int node);

/* Numbers only. Pointers stay valid as long as `data`; sets lie one after the other. */
jsp_data_moments jsp_data_node(const jsp_data *data, int node);

/* Discrete data and kept rows. Pointers stay valid as long as `data`. */
int jsp_data_n_rows(const jsp_data *data);
const uint8_t *jsp_data_mask(const jsp_data *data, int node); /* [N] or NULL */

/* Kept rows only. */
const double *jsp_data_values(const jsp_data *data, int column); /* [N] */

/* Discrete data only. */
int jsp_data_n_states(const jsp_data *data, int column);
const uint16_t *jsp_data_codes(const jsp_data *data, int column); /* [N] */

/* States of the node times configurations of its parents; SIZE_MAX when that is more. */
size_t jsp_data_table_size(const jsp_data *data, int node, int n_parents,
                           const int *parents);

#endif
