#include "jsp_edges_ends.h"

#include <assert.h>
#include <string.h>

#include "jsp_kernels.h"
#include "jsp_memory.h"

/* Nodes above and below that are joined, each with each. */
typedef struct group {
    int n_above, n_below;
    int above[JSP_MAX_VARIABLES], below[JSP_MAX_VARIABLES];
} group;

/* ---- memory ---------------------------------------------------------------------- */

/* A group of p pairs takes at most p + 3 numbers, all groups of a walk at most 4 for each
 * pair. */
static size_t journal_length(int D) {
    return 2 * (size_t)D * (size_t)(D - 1);
}

size_t jsp_edges_ends_size(int D, int W, int T, int with_record) {
    const size_t sums = jsp_memory_pad((size_t)T * (size_t)(D * W) * sizeof(jsp_real));
    const size_t journal =
        jsp_memory_pad((size_t)T * journal_length(D) * sizeof(int16_t));
    return sums + jsp_memory_pad((size_t)T * sizeof(int)) +
           (with_record ? sums + journal : 0);
}

void jsp_edges_ends_init(jsp_edges_ends *ends, int D, int W, size_t above, size_t below,
                         int T, int with_record, char *memory) {
    const size_t sums = (size_t)T * (size_t)(D * W) * sizeof(jsp_real);
    assert(W <= JSP_EDGES_ENDS_MAX_WIDTH);
    *ends = (jsp_edges_ends){.D = D, .W = W, .above = above, .below = below};
    ends->sum = jsp_memory_take(&memory, sums);
    ends->n_journal = jsp_memory_take(&memory, (size_t)T * sizeof(int));
    if (!with_record) return;
    ends->d_sum = jsp_memory_take(&memory, sums);
    ends->journal =
        jsp_memory_take(&memory, (size_t)T * journal_length(D) * sizeof(int16_t));
}

/* ---- groups ---------------------------------------------------------------------- */

/* y[to[a], :] += sum over b of x[from[b], :] for all a; rows of W */
static void add_sums(int W, int n_from, const int *from, const jsp_real *x, int n_to,
                     const int *to, jsp_real *y) {
    const jsp_kernels *kernels = jsp_kernels_active();
    jsp_real sum[JSP_EDGES_ENDS_MAX_WIDTH] = {0};
    if (n_to == 1) {
        kernels->rows_gather(n_from, W, x, from, y + (size_t)to[0] * (size_t)W);
        return;
    }
    kernels->rows_gather(n_from, W, x, from, sum);
    kernels->rows_spread(n_to, W, sum, to, y);
}

static void write_down(jsp_edges_ends *ends, int t, const group *g) {
    int16_t *entry = ends->journal + (size_t)t * journal_length(ends->D);
    int n = ends->n_journal[t];
    for (int a = 0; a < g->n_above; a++) entry[n++] = (int16_t)g->above[a];
    for (int b = 0; b < g->n_below; b++) entry[n++] = (int16_t)g->below[b];
    entry[n++] = (int16_t)g->n_above;
    entry[n++] = (int16_t)g->n_below;
    ends->n_journal[t] = n;
}

static void read_back(jsp_edges_ends *ends, int t, group *g) {
    const int16_t *entry = ends->journal + (size_t)t * journal_length(ends->D);
    int n = ends->n_journal[t];
    g->n_below = entry[--n];
    g->n_above = entry[--n];
    for (int b = g->n_below; b > 0; b--) g->below[b - 1] = entry[--n];
    for (int a = g->n_above; a > 0; a--) g->above[a - 1] = entry[--n];
    ends->n_journal[t] = n;
}

static void join_group(jsp_edges_ends *ends, const jsp_real *params, int t,
                       const group *g) {
    jsp_real *sum = jsp_edges_ends_of(ends, ends->sum, t, 0);
    add_sums(ends->W, g->n_above, g->above, params + ends->above, g->n_below, g->below,
             sum);
    add_sums(ends->W, g->n_below, g->below, params + ends->below, g->n_above, g->above,
             sum);
    if (ends->journal) write_down(ends, t, g);
}

/* list = members of `set`; returns their number */
static int list_members(int n_words, const uint64_t *set, int *list) {
    int n = 0;
    for (int w = 0; w < n_words; w++) {
        for (uint64_t left = set[w]; left; left &= left - 1)
            list[n++] = 64 * w + jsp_bits_lowest64(left);
    }
    return n;
}

void jsp_edges_ends_start(jsp_edges_ends *ends, const jsp_real *params, int t,
                          const jsp_dag *dag) {
    group g = {.n_above = 1};
    ends->n_journal[t] = 0;
    memset(jsp_edges_ends_of(ends, ends->sum, t, 0), 0,
           (size_t)(ends->D * ends->W) * sizeof *ends->sum);
    for (int k = 0; dag->n_edges && k < ends->D; k++) {
        jsp_bits below = dag->descendants[k];
        jsp_bits_remove(&below, k);
        g.above[0] = k;
        g.n_below = list_members(dag->n_words, below.word, g.below);
        if (g.n_below) join_group(ends, params, t, &g);
    }
}

/* fresh = what node k, above `below`, gets below it; 0 when nothing */
static int find_fresh(const jsp_dag *dag, int k, const jsp_bits *below,
                      uint64_t *fresh) {
    uint64_t any = 0;
    for (int w = 0; w < dag->n_words; w++) {
        fresh[w] = below->word[w] & ~dag->descendants[k].word[w];
        any |= fresh[w];
    }
    return any != 0;
}

/* Moves the nodes of `left` that get the same new descendants as its first one into the
 * group; returns 0 when these get nothing. */
static int take_group(const jsp_dag *dag, const jsp_bits *below, uint64_t *left,
                      int first, group *g) {
    uint64_t fresh[JSP_BITS_WORDS], other[JSP_BITS_WORDS];
    const int n_words = dag->n_words;
    const int has_any = find_fresh(dag, first, below, fresh);
    g->n_above = 0;
    for (int w = first / 64; w < n_words; w++) {
        for (uint64_t rest = left[w]; rest; rest &= rest - 1) {
            const int k = 64 * w + jsp_bits_lowest64(rest);
            find_fresh(dag, k, below, other);
            uint64_t differ = 0;
            for (int v = 0; v < n_words; v++) differ |= other[v] ^ fresh[v];
            if (differ) continue;
            left[w] &= ~(rest & -rest);
            g->above[g->n_above++] = k;
        }
    }
    g->n_below = list_members(n_words, fresh, g->below);
    return has_any;
}

int jsp_edges_ends_join(jsp_edges_ends *ends, const jsp_real *params, int t,
                        const jsp_dag *dag, int parent, int child) {
    uint64_t left[JSP_BITS_WORDS];
    group g;
    int n = 0;
    if (dag->ancestors[child].word[parent >> 6] >> (parent & 63) & 1) return 0;
    for (int w = 0; w < dag->n_words; w++) left[w] = dag->ancestors[parent].word[w];
    for (int w = 0; w < dag->n_words; w++) {
        while (left[w]) {
            const int first = 64 * w + jsp_bits_lowest64(left[w]);
            if (!take_group(dag, &dag->descendants[child], left, first, &g)) continue;
            join_group(ends, params, t, &g);
            n++;
        }
    }
    return n;
}

/* ---- backward -------------------------------------------------------------------- */

void jsp_edges_ends_clear(jsp_edges_ends *ends, int T) {
    memset(ends->d_sum, 0,
           (size_t)T * (size_t)ends->D * (size_t)ends->W * sizeof *ends->d_sum);
}

void jsp_edges_ends_part(jsp_edges_ends *ends, int t, int n, jsp_real *d_params) {
    const jsp_real *d_sum = jsp_edges_ends_of(ends, ends->d_sum, t, 0);
    group g;
    for (; n != 0 && ends->n_journal[t] > 0; n--) {
        read_back(ends, t, &g);
        add_sums(ends->W, g.n_below, g.below, d_sum, g.n_above, g.above,
                 d_params + ends->above);
        add_sums(ends->W, g.n_above, g.above, d_sum, g.n_below, g.below,
                 d_params + ends->below);
    }
}
