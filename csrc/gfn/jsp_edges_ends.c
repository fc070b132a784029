#include "jsp_edges_ends.h"

#include <string.h>

#include "jsp_kernels.h"
#include "jsp_memory.h"

jsp_status jsp_edges_ends_create(jsp_edges_ends *ends, int D, int W, size_t above,
                                 size_t below, int T, int with_record,
                                 jsp_error *error) {
    const size_t n = (size_t)T * (size_t)D * (size_t)W;
    const size_t pairs = (size_t)D * (size_t)(D - 1) / 2;
    *ends = (jsp_edges_ends){.D = D, .W = W, .above = above, .below = below};
    ends->sum = jsp_memory_alloc(n, sizeof *ends->sum);
    ends->d_sum = with_record ? jsp_memory_alloc(n, sizeof *ends->d_sum) : NULL;
    ends->journal = jsp_memory_alloc(2 * (size_t)T * pairs, sizeof *ends->journal);
    ends->n_journal = jsp_memory_alloc((size_t)T, sizeof *ends->n_journal);
    if (ends->sum && (ends->d_sum || !with_record) && ends->journal && ends->n_journal)
        return JSP_OK;
    jsp_edges_ends_destroy(ends);
    return jsp_status_no_memory(error, n * sizeof *ends->sum, "a group of walks");
}

void jsp_edges_ends_destroy(jsp_edges_ends *ends) {
    jsp_memory_free(ends->sum);
    jsp_memory_free(ends->d_sum);
    jsp_memory_free(ends->journal);
    jsp_memory_free(ends->n_journal);
    *ends = (jsp_edges_ends){0};
}

/* Where the journal of walk t begins. */
static int16_t *journal_of(const jsp_edges_ends *ends, int t) {
    return ends->journal + (size_t)t * (size_t)ends->D * (size_t)(ends->D - 1);
}

/* Node k of walk t has become an ancestor of c. */
static void join_pair(jsp_edges_ends *ends, const jsp_real *params, int t, int k,
                      int c) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t W = (size_t)ends->W;
    kernels->add(W, params + ends->above + (size_t)k * W,
                 jsp_edges_ends_of(ends, ends->sum, t, c));
    kernels->add(W, params + ends->below + (size_t)c * W,
                 jsp_edges_ends_of(ends, ends->sum, t, k));
    int16_t *entry = journal_of(ends, t) + 2 * ends->n_journal[t]++;
    entry[0] = (int16_t)k;
    entry[1] = (int16_t)c;
}

void jsp_edges_ends_start(jsp_edges_ends *ends, const jsp_real *params, int t,
                          const jsp_dag *dag) {
    ends->n_journal[t] = 0;
    memset(jsp_edges_ends_of(ends, ends->sum, t, 0), 0,
           (size_t)(ends->D * ends->W) * sizeof *ends->sum);
    for (int k = 0; dag->n_edges && k < ends->D; k++) {
        jsp_bits below = dag->descendants[k];
        jsp_bits_remove(&below, k);
        for (int c; (c = jsp_bits_pop(&below)) >= 0;) join_pair(ends, params, t, k, c);
    }
}

/* Node k gets everything below `child` that was not below it. */
static void join_below(jsp_edges_ends *ends, const jsp_real *params, int t,
                       const jsp_dag *dag, int k, int child) {
    const jsp_bits *below = &dag->descendants[child], *known = &dag->descendants[k];
    for (int w = 0; w < dag->n_words; w++) {
        for (uint64_t left = below->word[w] & ~known->word[w]; left; left &= left - 1) {
            join_pair(ends, params, t, k, 64 * w + jsp_bits_lowest64(left));
        }
    }
}

int jsp_edges_ends_join(jsp_edges_ends *ends, const jsp_real *params, int t,
                        const jsp_dag *dag, int parent, int child) {
    const int before = ends->n_journal[t];
    const jsp_bits *above = &dag->ancestors[parent];
    if (jsp_bits_has(dag->ancestors[child], parent)) return 0;
    for (int w = 0; w < dag->n_words; w++) {
        for (uint64_t left = above->word[w]; left; left &= left - 1) {
            join_below(ends, params, t, dag, 64 * w + jsp_bits_lowest64(left), child);
        }
    }
    return ends->n_journal[t] - before;
}

void jsp_edges_ends_clear(jsp_edges_ends *ends, int T) {
    memset(ends->d_sum, 0,
           (size_t)T * (size_t)ends->D * (size_t)ends->W * sizeof *ends->d_sum);
}

void jsp_edges_ends_collect(jsp_edges_ends *ends, int parent, int child, int n,
                            const jsp_real *d, const int16_t *walk) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t H = (size_t)ends->W / 2;
    for (int k = 0; k < n; k++, d += H) {
        kernels->add(H, d, jsp_edges_ends_of(ends, ends->d_sum, walk[k], parent));
        kernels->add(H, d, jsp_edges_ends_of(ends, ends->d_sum, walk[k], child) + H);
    }
}

void jsp_edges_ends_part(jsp_edges_ends *ends, int t, int n, jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t W = (size_t)ends->W;
    if (n < 0) n = ends->n_journal[t];
    for (; n > 0; n--) {
        const int16_t *entry = journal_of(ends, t) + 2 * --ends->n_journal[t];
        kernels->add(W, jsp_edges_ends_of(ends, ends->d_sum, t, entry[1]),
                     d_params + ends->above + (size_t)entry[0] * W);
        kernels->add(W, jsp_edges_ends_of(ends, ends->d_sum, t, entry[0]),
                     d_params + ends->below + (size_t)entry[1] * W);
    }
}
