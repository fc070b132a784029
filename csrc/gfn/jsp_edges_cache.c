#include "jsp_edges_cache.h"

#include <math.h>
#include <string.h>

#include "jsp_cpu.h"
#include "jsp_memory.h"
#include "jsp_odds.h"

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
    float *chance = row + JSP_EDGES_CACHE_CHANCE * stride;
    jsp_odds_compute(scores, node, S, U, odds);
    memset(chance, 0, (size_t)stride * sizeof *chance);
    for (uint32_t left = U; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        exps[k] = expf(odds[k]);
        gain[k] = log_term[S | (uint32_t)1 << k] - log_term[S];
        chance[k] = exps[k] / (1 + exps[k]);
    }
}

/* 7 + 24 + 24 bits identify a row; U is not empty, so no key is 0. */
static uint64_t key_of(int node, uint32_t S, uint32_t U) {
    return (uint64_t)node << 48 | (uint64_t)S << 24 | U;
}

/* Fibonacci hashing: the top bits mix best. */
static size_t entry_of(const jsp_edges_cache *cache, uint64_t key) {
    uint64_t hash = key * 0x9E3779B97F4A7C15u;
    return cache->log2_entries ? (size_t)(hash >> (64 - cache->log2_entries)) : 0;
}

static float *row_of(const jsp_edges_cache *cache, size_t entry) {
    return cache->rows + entry * JSP_EDGES_CACHE_VECTORS * (size_t)cache->stride;
}

void jsp_edges_cache_prefetch(const jsp_edges_cache *cache, int node, uint32_t S,
                              uint32_t U) {
    size_t entry = entry_of(cache, key_of(node, S, U));
    const char *row = (const char *)row_of(cache, entry);
    size_t bytes = JSP_EDGES_CACHE_VECTORS * (size_t)cache->stride * sizeof(float);
    jsp_cpu_prefetch(&cache->key[entry]);
    for (size_t k = 0; k < bytes; k += 64) jsp_cpu_prefetch(row + k);
}

const float *jsp_edges_cache_row(jsp_edges_cache *cache, const jsp_scores *scores,
                                 int node, uint32_t S, uint32_t U) {
    uint64_t key = key_of(node, S, U);
    size_t entry = entry_of(cache, key);
    float *row = row_of(cache, entry);
    cache->n_lookups++;
    if (cache->key[entry] != key) {
        cache->n_misses++;
        compute_row(scores, node, S, U, cache->stride, row);
        cache->key[entry] = key;
    }
    return row;
}
