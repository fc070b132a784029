/* jsp_rows.h - rows of the table laid out for models at given parameters: all of them, or a
 * few that stand for all (minibatches). */
#ifndef JSP_ROWS_H
#define JSP_ROWS_H

#include "jsp_data.h"
#include "jsp_real.h"

typedef struct jsp_rows {
    int D, capacity, n;
    int stride;      /* of a column: n rounded up to a multiple of 16 */
    double weight;   /* rows of the table that each of these stands for */
    int n_masks;     /* D, or 1 when nothing was set */
    jsp_real *value; /* [D, stride], zeros at the end of a column */
    jsp_real
        *counts; /* [n_masks, stride] 1 = the row counts for the node, 0 at the end */
    double *n_counted; /* [n_masks] sums of counts */
    double *mean;      /* [n_masks, D]     as in jsp_data_moments; NULL unless wanted */
    double *scatter;   /* [n_masks, D, D] */
    char *memory;      /* owned */
} jsp_rows;

/* Room for `capacity` rows of data that keep theirs (jsp_data_keep_rows). */
jsp_status jsp_rows_create(const jsp_data *data, int capacity, int with_moments,
                           jsp_rows *rows, jsp_error *error);
void jsp_rows_destroy(jsp_rows *rows); /* all-zero allowed */

/* The rows index[0 .. n-1] of the data, or all when index is NULL; n <= capacity. */
void jsp_rows_fill(jsp_rows *rows, const jsp_data *data, int n, const int *index);

static inline const jsp_real *jsp_rows_counts(const jsp_rows *rows, int node) {
    const int set = rows->n_masks > 1 ? node : 0;
    return rows->counts + (size_t)set * (size_t)rows->stride;
}

static inline double jsp_rows_n_counted(const jsp_rows *rows, int node) {
    return rows->n_counted[rows->n_masks > 1 ? node : 0];
}

/* Only with moments. */
jsp_data_moments jsp_rows_moments(const jsp_rows *rows, int node);

#endif
