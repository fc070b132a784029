/* jsp_counts.h - how often configurations of discrete columns occur.
 *
 * A set of columns cuts the rows into groups of equal values, numbered 0, 1, ... in the
 * order of their first row. Adding a column refines the groups, so the number of possible
 * configurations never matters, only those that occur. */
#ifndef JSP_COUNTS_H
#define JSP_COUNTS_H

#include "jsp_data.h"

/* Distinct rows over some columns, and scratch for the refinement. */
typedef struct jsp_counts {
    int n;            /* distinct rows */
    int n_columns;    /* of the list given to create */
    uint16_t *code;   /* [n_columns, n] owned */
    uint32_t *weight; /* [n] how often each occurs, owned */
    size_t n_direct;  /* pairs (group, state) up to this number have a table */
    uint32_t *direct; /* [n_direct] owned */
    size_t n_slots;   /* a power of two, at least 2 n */
    uint64_t *key;    /* [n_slots] hash table for more pairs, owned */
    uint32_t *value;  /* [n_slots] owned */
} jsp_counts;

/* The rows of discrete data that count for `node`, over the given columns. */
jsp_status jsp_counts_create(jsp_counts *counts, const jsp_data *data, int node,
                             int n_columns, const int *columns, jsp_error *error);
void jsp_counts_destroy(jsp_counts *counts); /* all-zero allowed */

/* Refines groups by column number `column` (of the list given to create) with n_states
 * states; returns the number of new groups.
 *   group [n] in, below n_groups    refined [n] out, may be the same memory */
uint32_t jsp_counts_refine(jsp_counts *counts, const uint32_t *group, uint32_t n_groups,
                           int column, int n_states, uint32_t *refined);

#endif
