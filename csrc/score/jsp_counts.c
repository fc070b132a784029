/* jsp_counts.c - refinement of groups of equal rows.
 *
 * A pair (group, state) gets its new number from a table when there are few possible
 * pairs, else from a hash table of open addressing; both are as large as a few times the
 * number of rows, whatever the numbers of states. Equal rows are merged first: 5,400 rows
 * of 11 columns with 3 states each are often a third as many distinct ones.
 */
#include "jsp_counts.h"

#include <string.h>

#include "jsp_memory.h"

#define DIRECT_PER_ROW 4
#define NO_NUMBER UINT32_MAX

static jsp_status allocate(jsp_counts *counts, size_t n, size_t n_columns,
                           jsp_error *error) {
    counts->n_direct = DIRECT_PER_ROW * n + 1024;
    counts->n_slots = 1024;
    while (counts->n_slots < 2 * n) counts->n_slots *= 2;
    counts->code = jsp_memory_alloc(n * n_columns, sizeof *counts->code);
    counts->weight = jsp_memory_alloc(n, sizeof *counts->weight);
    counts->direct = jsp_memory_alloc(counts->n_direct, sizeof *counts->direct);
    counts->key = jsp_memory_alloc(counts->n_slots, sizeof *counts->key);
    counts->value = jsp_memory_alloc(counts->n_slots, sizeof *counts->value);
    if (counts->code && counts->weight && counts->direct && counts->key &&
        counts->value) {
        return JSP_OK;
    }
    return jsp_status_no_memory(error, n * n_columns * sizeof *counts->code, "counts");
}

/* Copies the rows that count; returns how many there are. */
static int copy_rows(jsp_counts *counts, const jsp_data *data, int node,
                     const int *columns) {
    const uint8_t *mask = jsp_data_mask(data, node);
    int N = jsp_data_n_rows(data), n = 0;
    for (int c = 0; c < counts->n_columns; c++) {
        const uint16_t *source = jsp_data_codes(data, columns[c]);
        uint16_t *target = counts->code + (size_t)c * N;
        n = 0;
        for (int r = 0; r < N; r++) {
            if (!mask || !mask[r]) target[n++] = source[r];
        }
    }
    if (counts->n_columns == 0) {
        for (int r = 0; r < N; r++) n += !mask || !mask[r];
    }
    for (int c = 1; c < counts->n_columns && n < N; c++) { /* close the gaps */
        memmove(counts->code + (size_t)c * n, counts->code + (size_t)c * N,
                (size_t)n * sizeof *counts->code);
    }
    counts->n = n;
    for (int r = 0; r < n; r++) counts->weight[r] = 1;
    return n;
}

/* Keeps the first row of every group, with the size of the group as its weight. */
static void merge(jsp_counts *counts, const uint32_t *group, uint32_t n_groups) {
    int n = counts->n;
    uint32_t *weight = counts->weight, kept = 0;
    for (int c = 0; c < counts->n_columns; c++) {
        const uint16_t *source = counts->code + (size_t)c * n;
        uint16_t *target = counts->code + (size_t)c * n_groups;
        kept = 0;
        for (int r = 0; r < n; r++) {
            if (group[r] == kept) target[kept++] = source[r];
        }
    }
    for (uint32_t g = 0; g < n_groups; g++) weight[g] = 0;
    for (int r = 0; r < n; r++) weight[group[r]]++;
    counts->n = (int)n_groups;
}

jsp_status jsp_counts_create(jsp_counts *counts, const jsp_data *data, int node,
                             int n_columns, const int *columns, jsp_error *error) {
    size_t N = (size_t)jsp_data_n_rows(data);
    *counts = (jsp_counts){.n_columns = n_columns};
    jsp_status status = allocate(counts, N, (size_t)n_columns, error);
    uint32_t *group = jsp_memory_alloc(N, sizeof *group);
    if (status == JSP_OK && !group) {
        status = jsp_status_no_memory(error, N * sizeof *group, "counts");
    }
    if (status == JSP_OK) {
        uint32_t n_groups = copy_rows(counts, data, node, columns) > 0;
        for (int c = 0; c < n_columns; c++) {
            int n_states = jsp_data_n_states(data, columns[c]);
            n_groups = jsp_counts_refine(counts, group, n_groups, c, n_states, group);
        }
        merge(counts, group, n_groups);
    } else {
        jsp_counts_destroy(counts);
    }
    jsp_memory_free(group);
    return status;
}

void jsp_counts_destroy(jsp_counts *counts) {
    jsp_memory_free(counts->code);
    jsp_memory_free(counts->weight);
    jsp_memory_free(counts->direct);
    jsp_memory_free(counts->key);
    jsp_memory_free(counts->value);
    *counts = (jsp_counts){0};
}

static uint32_t refine_directly(jsp_counts *counts, const uint32_t *group,
                                size_t n_pairs, const uint16_t *code, uint32_t n_states,
                                uint32_t *refined) {
    uint32_t *number = counts->direct, next = 0;
    memset(number, 0xff, n_pairs * sizeof *number);
    for (int r = 0; r < counts->n; r++) {
        uint32_t *entry = &number[group[r] * n_states + code[r]];
        if (*entry == NO_NUMBER) *entry = next++;
        refined[r] = *entry;
    }
    return next;
}

static uint32_t refine_by_hash(jsp_counts *counts, const uint32_t *group,
                               const uint16_t *code, uint32_t *refined) {
    size_t last = counts->n_slots - 1;
    uint32_t next = 0;
    memset(counts->value, 0xff, counts->n_slots * sizeof *counts->value);
    for (int r = 0; r < counts->n; r++) {
        uint64_t key = (uint64_t)group[r] << 16 | code[r];
        size_t slot = (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & last;
        while (counts->value[slot] != NO_NUMBER && counts->key[slot] != key) {
            slot = (slot + 1) & last;
        }
        if (counts->value[slot] == NO_NUMBER) {
            counts->key[slot] = key;
            counts->value[slot] = next++;
        }
        refined[r] = counts->value[slot];
    }
    return next;
}

uint32_t jsp_counts_refine(jsp_counts *counts, const uint32_t *group, uint32_t n_groups,
                           int column, int n_states, uint32_t *refined) {
    const uint16_t *code = counts->code + (size_t)column * (size_t)counts->n;
    size_t n_pairs = (size_t)n_groups * (size_t)n_states;
    if (n_pairs <= counts->n_direct) {
        return refine_directly(counts, group, n_pairs, code, (uint32_t)n_states,
                               refined);
    }
    return refine_by_hash(counts, group, code, refined);
}
