/* jsp_dag.c - adjacency and transitive closure in bit words.
 *
 * i -> j may be added when i is not a descendant of j, so with the closure at hand the
 * legal parents of a node are three bit operations. Adding i -> j makes every ancestor
 * of i an ancestor of every descendant of j: one OR per affected row. When i is an
 * ancestor of j already the closure stays as it is.
 *
 * Undo: before a closure row grows its old value goes into a journal, and each added
 * edge ends with one entry naming the edge. A DAG's closure has at most D (D - 1) / 2
 * pairs, each seen from both sides, and at most as many edges, which bounds the
 * journal. The other way, recomputing the closure after a removal, costs O(D E) words.
 */
#include "jsp_dag.h"

#include <string.h>

#include "jsp_memory.h"

/* Either an old closure row (row >= 0: ancestors of row, or of descendants row - D), or
 * an edge (row < 0). */
struct jsp_dag_change {
    jsp_bits before;
    int32_t row;
    int16_t parent, child;
};

static size_t journal_length(size_t D) {
    return D * (D - 1) + D * (D - 1) / 2;
}

size_t jsp_dag_size(int n_variables, int with_undo) {
    size_t D = (size_t)n_variables, size = jsp_memory_pad(4 * D * sizeof(jsp_bits));
    if (with_undo) size += jsp_memory_pad(journal_length(D) * sizeof(jsp_dag_change));
    return size;
}

void jsp_dag_init(jsp_dag *dag, int n_variables, int with_undo, void *memory) {
    size_t D = (size_t)n_variables;
    jsp_bits *rows = memory;
    dag->n_variables = n_variables;
    dag->n_words = jsp_bits_n_words(n_variables);
    dag->parents = rows;
    dag->children = rows + D;
    dag->ancestors = rows + 2 * D;
    dag->descendants = rows + 3 * D;
    dag->journal = NULL;
    if (with_undo) {
        char *bytes = memory;
        dag->journal =
            (jsp_dag_change *)(bytes + jsp_memory_pad(4 * D * sizeof(jsp_bits)));
    }
    jsp_dag_reset(dag);
}

void jsp_dag_reset(jsp_dag *dag) {
    size_t size = (size_t)dag->n_variables * sizeof(jsp_bits);
    memset(dag->parents, 0, size);
    memset(dag->children, 0, size);
    for (int j = 0; j < dag->n_variables; j++) {
        dag->ancestors[j] = dag->descendants[j] = jsp_bits_single(j);
    }
    dag->n_edges = 0;
    dag->journal_used = 0;
}

void jsp_dag_copy(jsp_dag *target, const jsp_dag *source) {
    size_t size = (size_t)source->n_variables * sizeof(jsp_bits);
    memcpy(target->parents, source->parents, size);
    memcpy(target->children, source->children, size);
    memcpy(target->ancestors, source->ancestors, size);
    memcpy(target->descendants, source->descendants, size);
    target->n_edges = source->n_edges;
    target->journal_used = 0;
}

jsp_bits jsp_dag_legal_parents(const jsp_dag *dag, int j) {
    jsp_bits all = jsp_bits_first(dag->n_variables);
    return jsp_bits_minus(jsp_bits_minus(all, dag->descendants[j]), dag->parents[j]);
}

/* rows[r] |= addition, remembering the old row if that changes it; `first` = 0 for
 * ancestors, D for descendants. */
static void grow_row(jsp_dag *dag, jsp_bits *rows, int first, int r,
                     const jsp_bits *addition) {
    if (dag->journal) {
        if (!jsp_bits_any(jsp_bits_minus(*addition, rows[r]))) return;
        jsp_dag_change change = {rows[r], first + r, 0, 0};
        dag->journal[dag->journal_used++] = change;
    }
    jsp_bits_join(dag->n_words, &rows[r], addition);
}

/* Rows of all ancestors of i grow by what lies below j, and the other way round. The two
 * sets themselves stay as they are: j is not above i. */
static void join_closure(jsp_dag *dag, int i, int j) {
    const jsp_bits *above = &dag->ancestors[i], *below = &dag->descendants[j];
    for (int w = 0; w < dag->n_words; w++) {
        for (uint64_t left = above->word[w]; left; left &= left - 1) {
            grow_row(dag, dag->descendants, dag->n_variables,
                     64 * w + jsp_bits_lowest64(left), below);
        }
    }
    for (int w = 0; w < dag->n_words; w++) {
        for (uint64_t left = below->word[w]; left; left &= left - 1) {
            grow_row(dag, dag->ancestors, 0, 64 * w + jsp_bits_lowest64(left), above);
        }
    }
}

void jsp_dag_add(jsp_dag *dag, int i, int j) {
    if (!jsp_bits_has(dag->ancestors[j], i)) join_closure(dag, i, j);
    jsp_bits_add(&dag->parents[j], i);
    jsp_bits_add(&dag->children[i], j);
    dag->n_edges++;
    if (dag->journal) {
        jsp_dag_change edge = {{{0}}, -1, (int16_t)i, (int16_t)j};
        dag->journal[dag->journal_used++] = edge;
    }
}

int jsp_dag_undo(jsp_dag *dag) {
    if (!dag->journal || dag->journal_used == 0) return -1;
    const jsp_dag_change *edge = &dag->journal[--dag->journal_used];
    jsp_bits_remove(&dag->parents[edge->child], edge->parent);
    jsp_bits_remove(&dag->children[edge->parent], edge->child);
    dag->n_edges--;
    while (dag->journal_used > 0 && dag->journal[dag->journal_used - 1].row >= 0) {
        const jsp_dag_change *change = &dag->journal[--dag->journal_used];
        int D = dag->n_variables;
        if (change->row < D) {
            dag->ancestors[change->row] = change->before;
        } else {
            dag->descendants[change->row - D] = change->before;
        }
    }
    return 0;
}

/* Takes away nodes without parents among the rest until nothing moves. */
static int is_acyclic(int D, const jsp_bits *parents) {
    jsp_bits rest = jsp_bits_first(D);
    int removed = 1;
    while (removed) {
        removed = 0;
        jsp_bits left = rest;
        for (int j; (j = jsp_bits_pop(&left)) >= 0;) {
            if (jsp_bits_any(jsp_bits_and(parents[j], rest))) continue;
            jsp_bits_remove(&rest, j);
            removed = 1;
        }
    }
    return !jsp_bits_any(rest);
}

long jsp_dag_find_cycle(int n_variables, long n, const uint8_t *graphs) {
    size_t D = (size_t)n_variables;
    jsp_bits parents[JSP_MAX_VARIABLES];
    for (long g = 0; g < n; g++) {
        const uint8_t *graph = graphs + (size_t)g * D * D;
        memset(parents, 0, D * sizeof(jsp_bits));
        for (size_t cell = 0; cell < D * D; cell++) {
            if (graph[cell]) jsp_bits_add(&parents[cell % D], (int)(cell / D));
        }
        if (!is_acyclic(n_variables, parents)) return g;
    }
    return -1;
}

jsp_status jsp_dag_batch_create(jsp_dag_batch *batch, int n, int n_variables,
                                int with_undo, jsp_error *error) {
    size_t size = jsp_dag_size(n_variables, with_undo);
    batch->n = n;
    batch->dag = jsp_memory_alloc((size_t)n, sizeof(jsp_dag));
    batch->memory = jsp_memory_alloc((size_t)n, size);
    if (!batch->dag || !batch->memory) {
        jsp_dag_batch_destroy(batch);
        return jsp_status_no_memory(error, (size_t)n * (size + sizeof(jsp_dag)),
                                    "graphs");
    }
    for (int k = 0; k < n; k++) {
        jsp_dag_init(&batch->dag[k], n_variables, with_undo,
                     (char *)batch->memory + (size_t)k * size);
    }
    return JSP_OK;
}

void jsp_dag_batch_destroy(jsp_dag_batch *batch) {
    jsp_memory_free(batch->dag);
    jsp_memory_free(batch->memory);
    memset(batch, 0, sizeof *batch);
}
