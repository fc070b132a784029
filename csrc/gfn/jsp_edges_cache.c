#include "jsp_edges_cache.h"

#include <math.h>

#include "jsp_memory.h"

int jsp_edges_cache_stride(const jsp_scores *scores) {
    int longest = 1;
    for (int j = 0; j < scores->n_variables; j++) {
        if (scores->node[j].K > longest) longest = scores->node[j].K;
    }
    return (longest + 7) / 8 * 8;
}

jsp_status jsp_edges_cache_create(jsp_edges_cache *cache, const jsp_scores *scores,
                                  size_t max_bytes, jsp_error *error) {
    *cache = (jsp_edges_cache){0};
    cache->stride = jsp_edges_cache_stride(scores);
    size_t row = JSP_EDGES_CACHE_VECTORS * (size_t)cache->stride;
    size_t entry = sizeof(uint64_t) + row * sizeof(float);
    while (cache->log2_entries < 30 &&
           (entry << (cache->log2_entries + 1)) <= max_bytes) {
        cache->log2_entries++;
    }
    size_t n_entries = (size_t)1 << cache->log2_entries;
    cache->key = jsp_memory_alloc(n_entries, sizeof(uint64_t));
    cache->rows = jsp_memory_alloc(n_entries * row, sizeof(float));
    if (!cache->key || !cache->rows) {
        jsp_edges_cache_destroy(cache);
        return jsp_status_no_memory(error, n_entries * entry, "the cache of odds");
    }
    return JSP_OK;
}

void jsp_edges_cache_destroy(jsp_edges_cache *cache) {
    jsp_memory_free(cache->key);
    jsp_memory_free(cache->rows);
    *cache = (jsp_edges_cache){0};
}

static void compute_row(const jsp_scores *scores, int node, uint32_t S, uint32_t U,
                        int stride, float *row) {
    const float *log_term = scores->node[node].log_term;
    float *odds = row + JSP_EDGES_CACHE_ODDS * stride;
    float *exps = row + JSP_EDGES_CACHE_EXP * stride;
    float *gain = row + JSP_EDGES_CACHE_GAIN * stride;
    jsp_scores_odds(scores, node, S, U, odds);
    for (uint32_t left = U; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        exps[k] = expf(odds[k]);
        gain[k] = log_term[S | (uint32_t)1 << k] - log_term[S];
    }
}

const float *jsp_edges_cache_row(jsp_edges_cache *cache, const jsp_scores *scores,
                                 int node, uint32_t S, uint32_t U) {
    /* 7 + 24 + 24 bits identify a row; U is not empty, so no key is 0 */
    uint64_t key = (uint64_t)node << 48 | (uint64_t)S << 24 | U;
    uint64_t hash =
        key * 0x9E3779B97F4A7C15u; /* Fibonacci hashing: the top bits mix best */
    size_t entry =
        cache->log2_entries ? (size_t)(hash >> (64 - cache->log2_entries)) : 0;
    float *row = cache->rows + entry * JSP_EDGES_CACHE_VECTORS * (size_t)cache->stride;
    cache->n_lookups++;
    if (cache->key[entry] != key) {
        cache->n_misses++;
        compute_row(scores, node, S, U, cache->stride, row);
        cache->key[entry] = key;
    }
    return row;
}
