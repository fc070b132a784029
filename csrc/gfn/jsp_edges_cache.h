/* jsp_edges_cache.h - remembered rows of marginal odds.
 *
 * A row (node j, parents S, undecided candidates U) is a pure function of the score
 * tables, and a concentrated posterior visits few of them again and again, so rows are
 * kept in a direct-mapped table: one probe, and a new row overwrites an old one. Each
 * worker has a cache of its own. Contents never change a result, only the time it
 * takes. */
#ifndef JSP_EDGES_CACHE_H
#define JSP_EDGES_CACHE_H

#include "jsp_scores.h"

typedef struct jsp_edges_cache {
    int stride; /* numbers per vector: the longest candidate list, padded */
    int log2_entries;
    uint64_t *key;      /* [entries] 0 = empty; owned */
    float *rows;        /* [entries, 4, stride] owned */
    uint64_t n_lookups; /* for profiles */
    uint64_t n_misses;
} jsp_edges_cache;

/* Vectors of one row, each `stride` long; entries outside U are undefined but for the
 * chance, which is 0 there. */
enum {
    JSP_EDGES_CACHE_ODDS = 0, /* log-odds that the candidate joins, from -30 to 80 */
    JSP_EDGES_CACHE_EXP,      /* exp of the odds */
    JSP_EDGES_CACHE_GAIN,     /* l_j(S + k) - l_j(S) */
    JSP_EDGES_CACHE_CHANCE,   /* exp / (1 + exp) */
    JSP_EDGES_CACHE_VECTORS
};

/* Sized to about max_bytes. */
jsp_status jsp_edges_cache_create(jsp_edges_cache *cache, const jsp_scores *scores,
                                  size_t max_bytes, jsp_error *error);
void jsp_edges_cache_destroy(jsp_edges_cache *cache); /* all-zero allowed */

/* The row [4, stride] of (node, S, U), U not empty; valid until the next call. */
const float *jsp_edges_cache_row(jsp_edges_cache *cache, const jsp_scores *scores,
                                 int node, uint32_t S, uint32_t U);

/* Has the memory of a row that will soon be asked for fetched. Rows of many nodes do not
 * fit into the second-level cache, and a group of walks can wait for all its rows at
 * once. */
void jsp_edges_cache_prefetch(const jsp_edges_cache *cache, int node, uint32_t S,
                              uint32_t U);

/* Candidate lists padded to the vector length that rows use. */
int jsp_edges_cache_stride(const jsp_scores *scores);

#endif
