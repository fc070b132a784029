/* jsp_exact_inner.h - what the files of the exact posterior share. Private to them. */
#ifndef JSP_EXACT_INNER_H
#define JSP_EXACT_INNER_H

#include <string.h>

#include "jsp_exact.h"
#include "jsp_parallel.h"

/* A node set is dropped from the sums when its terms are this far below the whole. */
#define JSP_EXACT_CUT 1.9287498479639178e-22 /* exp(-50) */

/* Extended range: value = mantissa 2^exponent. Scores of one data set span 10^5 nats
 * and more, doubles 1,400. Zero has mantissa 0 and this exponent, so low that sums of
 * a few stay within int32_t. */
#define JSP_EXACT_ZERO (-(1 << 24))

/* Sums that low are not told from zero for certain. Far more than the log2 of the number
 * of DAGs, so that above it all that counted as zero is negligible. */
#define JSP_EXACT_LOWEST (JSP_EXACT_ZERO + (1 << 16))

/* B(U), and the part of it that was cut; before U is reached, the sum over orders. */
typedef struct jsp_exact_number {
    double mantissa; /* in [1, 2), or 0 */
    int32_t exponent;
    float cut; /* bound on the relative error of B(U) by terms left out */
} jsp_exact_number;

/* tau_j over the subsets of the candidates of j; posteriors take the place of sums. */
typedef struct jsp_exact_table {
    int K;
    int is_full;  /* all other nodes are candidates */
    int dropped;  /* 1: some allowed sets were too far below the best one */
    uint32_t low; /* bits below j, for full tables */
    /* [2, 4, 256] of full tables whose candidates are out of order: local masks of the
     * score tables by bytes to masks in order of position, and back; owned, or NULL */
    uint32_t *shuffle;
    uint32_t *index;   /* [4, 256] local masks by bytes of U, for other tables; owned */
    double *mantissa;  /* [2^K] in [1, 2), or 0; owned */
    int32_t *exponent; /* [2^K] owned */
    double *posterior; /* [2^K] owned, NULL for JSP_EXACT_PARTITION */
} jsp_exact_table;

typedef enum jsp_exact_stage {
    JSP_EXACT_TABLES = 0,
    JSP_EXACT_ORDERS,
    JSP_EXACT_BACKWARD,
    JSP_EXACT_FORWARD,
    JSP_EXACT_PARENTS,
    JSP_EXACT_DONE,
} jsp_exact_stage;

/* Terms of a unit of work. */
#define JSP_EXACT_UNIT 4e6

/* Sets handled by one parallel loop: at most SLAB, and at most SLAB_TERMS terms if that
 * leaves LEAST_SLAB. Then sets handled by one task of the backward pass. */
#define JSP_EXACT_SLAB 16384
#define JSP_EXACT_LEAST_SLAB 16
#define JSP_EXACT_SLAB_TERMS ((size_t)1 << 24)
#define JSP_EXACT_GROUP 64
#define JSP_EXACT_GROUPS (JSP_EXACT_SLAB / JSP_EXACT_GROUP)

/* The forward pass adds into other sets than its own. A fixed number of shards, each
 * with sums of its own, keeps threads apart and results independent of their number. */
#define JSP_EXACT_MAX_SHARDS 8

/* What a task counted; added up in the order of tasks. */
typedef struct jsp_exact_count {
    double n_terms;
    double cut;
} jsp_exact_count;

/* Nodes are numbered by position, not by variable: see
 * jsp_exact.c. Everything but the results of jsp_exact.h speaks of positions. */
struct jsp_exact {
    const jsp_scores *scores; /* `view` */
    jsp_scores view;          /* the tables by position; borrows them */
    jsp_scores_node node[JSP_EXACT_MAX_VARIABLES];
    int candidate[JSP_EXACT_MAX_VARIABLES][JSP_EXACT_MAX_VARIABLES]; /* positions */
    int variable[JSP_EXACT_MAX_VARIABLES];                           /* by position */
    int D, n_threads, n_shards;
    jsp_parallel_team *team; /* of the present step */
    jsp_exact_goal goal;
    uint32_t full; /* V, all variables */
    jsp_exact_table table[JSP_EXACT_MAX_VARIABLES];
    uint32_t *order;                           /* [2^D] sets by size, then number */
    size_t layer[JSP_EXACT_MAX_VARIABLES + 2]; /* where each size begins in it */
    jsp_exact_number *B;                       /* [2^D] */
    double *placed[JSP_EXACT_MAX_SHARDS];      /* [2^D] P(U is an ancestral set) */
    double *first;                             /* [D, SLAB] of the present slab */
    double *mantissa;                          /* [n_threads, 2^K] scratch */
    int32_t *exponent;                         /* [n_threads, 2^K] scratch */
    size_t scratch;                            /* 2^K of the largest table */
    double *edges;                             /* [D, D] */
    uint32_t *list[JSP_EXACT_MAX_VARIABLES];   /* parent sets worth drawing, made by */
    size_t list_length[JSP_EXACT_MAX_VARIABLES]; /* the first call for draws; owned */
    jsp_exact_count count[JSP_EXACT_GROUPS];
    double log2_least; /* log2 of a lower bound of Z */
    jsp_exact_stage stage;
    int layer_now;     /* layer in hand */
    size_t position;   /* next set in `order`, or node */
    size_t begin, end; /* the present slab */
    jsp_exact_report report;
};

/* 2^d, for d clamped to the range of normal doubles. */
static inline double jsp_exact_power(int32_t d) {
    d = d < -1022 ? -1022 : d > 1023 ? 1023 : d;
    uint64_t bits = (uint64_t)(d + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Moves the exponent of a normal *mantissa > 0 into *exponent. */
static inline void jsp_exact_normalise(double *mantissa, int32_t *exponent) {
    uint64_t bits;
    memcpy(&bits, mantissa, sizeof bits);
    if (!(*mantissa > 0)) {
        *mantissa = 0;
        *exponent = JSP_EXACT_ZERO;
        return;
    }
    *exponent += (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    memcpy(mantissa, &bits, sizeof bits);
}

/* (m, e) += (m2, e2) */
static inline void jsp_exact_add(double *m, int32_t *e, double m2, int32_t e2) {
    int32_t top = *e > e2 ? *e : e2;
    *m = *m * jsp_exact_power(*e - top) + m2 * jsp_exact_power(e2 - top);
    *e = top;
}

/* map [4, 256] applied to the bytes of S; NULL leaves S alone. */
static inline uint32_t jsp_exact_map(const uint32_t *map, uint32_t S) {
    if (!map) return S;
    return map[S & 255] | map[256 + (S >> 8 & 255)] | map[512 + (S >> 16 & 255)] |
           map[768 + (S >> 24)];
}

/* From the table's masks to those of the score tables. */
static inline uint32_t jsp_exact_unshuffle(const jsp_exact_table *table, uint32_t S) {
    return jsp_exact_map(table->shuffle ? table->shuffle + 1024 : NULL, S);
}

/* Local mask of the candidates of a node within the set U, which lacks the node. */
static inline uint32_t jsp_exact_local(const jsp_exact_table *table, uint32_t U) {
    if (table->is_full) return (U & table->low) | ((U >> 1) & ~table->low);
    return jsp_exact_map(table->index, U);
}

/* ---- jsp_exact_tables.c ---- */

/* tau of one node from its scores. */
void jsp_exact_tables_sum(jsp_exact *exact, int node);

/* Posteriors of the parent sets of one node from the probabilities collected in their
 * place, and its column of edges. `worker` picks scratch. */
void jsp_exact_tables_posterior(jsp_exact *exact, int node, int worker);

/* ---- jsp_exact_passes.c ---- */

/* One slab of the stage ORDERS, BACKWARD or FORWARD. */
void jsp_exact_passes_run(jsp_exact *exact, jsp_exact_stage stage);

/* Lower bound of Z by the best order, once ORDERS is done. */
double jsp_exact_passes_bound(const jsp_exact *exact);

#endif
