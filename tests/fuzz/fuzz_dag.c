/* fuzz_dag.c - bytes are additions, undos, copies and resets of a graph; a matrix with its
 * closure computed afresh is the twin. */
#include "fuzz.h"
#include "jsp_dag.h"
#include "jsp_memory.h"

enum { MOST = 128, MOST_EDGES = MOST * MOST / 2 };

static uint8_t edge[MOST][MOST], reach[MOST][MOST];

static void close_naively(int D) {
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) reach[i][j] = i == j || edge[i][j];
    }
    for (int k = 0; k < D; k++) {
        for (int i = 0; i < D; i++) {
            for (int j = 0; reach[i][k] && j < D; j++) reach[i][j] |= reach[k][j];
        }
    }
}

static void compare(const jsp_dag *dag, int n_edges) {
    static uint8_t graph[MOST * MOST];
    const int D = dag->n_variables;
    close_naively(D);
    MUST(dag->n_edges == n_edges);
    for (int j = 0; j < D; j++) {
        const jsp_bits legal = jsp_dag_legal_parents(dag, j);
        for (int i = 0; i < MOST; i++) {
            const int inside = i < D;
            MUST(jsp_bits_has(dag->parents[j], i) == (inside && edge[i][j]));
            MUST(jsp_bits_has(dag->children[j], i) == (inside && edge[j][i]));
            MUST(jsp_bits_has(dag->ancestors[j], i) == (inside && reach[i][j]));
            MUST(jsp_bits_has(dag->descendants[j], i) == (inside && reach[j][i]));
            MUST(jsp_bits_has(legal, i) == (inside && !edge[i][j] && !reach[j][i]));
            if (inside) graph[i * D + j] = edge[i][j];
        }
    }
    MUST(jsp_dag_find_cycle(D, 1, graph) == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static int history[MOST_EDGES][2];
    fuzz_input in = {bytes, bytes + size};
    const int is_large = fuzz_byte(&in) > 220; /* which takes its time */
    const int D = 1 + fuzz_below(&in, is_large ? MOST : 12), is_small = D <= 12;
    int n = 0;
    jsp_dag_batch batch;
    MUST(jsp_dag_batch_create(&batch, 2, D, 1, NULL) == JSP_OK);
    jsp_dag *dag = &batch.dag[0];
    memset(edge, 0, sizeof edge);
    close_naively(D);
    while (in.at < in.end) {
        const int action = fuzz_byte(&in);
        if (action < 180) { /* add what is asked for, when it is legal */
            const int i = fuzz_below(&in, D), j = fuzz_below(&in, D);
            const int legal = jsp_bits_has(jsp_dag_legal_parents(dag, j), i);
            if (is_small) MUST(legal == (!edge[i][j] && !reach[j][i]));
            if (!legal) continue;
            jsp_dag_add(dag, i, j);
            edge[i][j] = 1;
            history[n][0] = i;
            history[n++][1] = j;
        } else if (action < 250) {
            MUST(jsp_dag_undo(dag) == (n ? 0 : -1));
            if (n) n--, edge[history[n][0]][history[n][1]] = 0;
        } else if (action < 253) { /* go on with a copy, from its own beginning */
            jsp_dag *other = dag == batch.dag ? &batch.dag[1] : &batch.dag[0];
            jsp_dag_copy(other, dag);
            compare(other, dag->n_edges);
            MUST(jsp_dag_undo(other) == -1);
        } else {
            jsp_dag_reset(dag);
            memset(edge, 0, sizeof edge);
            n = 0;
        }
        if (is_small) compare(dag, n);
    }
    compare(dag, n);
    jsp_dag_batch_destroy(&batch);
    MUST(jsp_memory_live() == 0);
    return 0;
}
