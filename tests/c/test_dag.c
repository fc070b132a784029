/* test_dag.c - the DAG state and the structure chain.
 *
 * The state is compared with naive recomputation after random adds and undos. The chain
 * is compared with the exact posterior over the 25 DAGs of three nodes by chi-square;
 * chains that are wrong on purpose must fail the same test.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "chi_square.h"
#include "sortable.h"
#include "jsp_chain.h"
#include "jsp_dag.h"
#include "jsp_memory.h"

#define MOST 300

/* ---- naive graphs ---- */

/* reach[i][j] = 1 when a path of any length, 0 included, leads from i to j. */
static void close_naively(int D, uint8_t (*edge)[MOST], uint8_t (*reach)[MOST]) {
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) reach[i][j] = i == j || edge[i][j];
    }
    for (int k = 0; k < D; k++) {
        for (int i = 0; i < D; i++) {
            for (int j = 0; reach[i][k] && j < D; j++) reach[i][j] |= reach[k][j];
        }
    }
}

static int check_state(const jsp_dag *dag, uint8_t (*edge)[MOST], int n_edges) {
    static uint8_t reach[MOST][MOST];
    int D = dag->n_variables;
    uint8_t *graph = malloc((size_t)D * D);
    close_naively(D, edge, reach);
    CHECK(dag->n_edges == n_edges);
    for (int j = 0; j < D; j++) {
        jsp_bits legal = jsp_dag_legal_parents(dag, j);
        for (int i = 0; i < D; i++) {
            graph[i * D + j] = edge[i][j];
            CHECK(jsp_bits_has(dag->parents[j], i) == edge[i][j]);
            CHECK(jsp_bits_has(dag->children[i], j) == edge[i][j]);
            CHECK(jsp_bits_has(dag->ancestors[j], i) == reach[i][j]);
            CHECK(jsp_bits_has(dag->descendants[i], j) == reach[i][j]);
            CHECK(jsp_bits_has(legal, i) == (!edge[i][j] && !reach[j][i]));
        }
        for (int i = D; i < MOST; i++) CHECK(!jsp_bits_has(legal, i));
    }
    CHECK(is_sortable(D, graph));
    CHECK(jsp_dag_find_cycle(D, 1, graph) == -1);
    free(graph);
    return 0;
}

/* ---- state ---- */

/* A random legal edge, or 0 when the graph is complete. */
static int random_edge(const jsp_dag *dag, jsp_rng *rng, int *i, int *j) {
    int D = dag->n_variables, start = (int)(jsp_rng_next(rng) % (uint32_t)D);
    for (int t = 0; t < D; t++) {
        *j = (start + t) % D;
        jsp_bits legal = jsp_dag_legal_parents(dag, *j);
        int n = jsp_bits_count(legal);
        if (n == 0) continue;
        int skip = (int)(jsp_rng_next(rng) % (uint32_t)n);
        do *i = jsp_bits_pop(&legal);
        while (skip-- > 0);
        return 1;
    }
    return 0;
}

typedef struct history {
    int parent[MOST * MOST / 2], child[MOST * MOST / 2];
} history;

/* Adds and undos at random, `adds` of 8 steps are adds; checked now and then. */
static int walk(jsp_dag *dag, int steps, int adds, int check_every, uint64_t seed) {
    static uint8_t edge[MOST][MOST];
    static history h;
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    memset(edge, 0, sizeof edge);
    jsp_dag_reset(dag);
    int n = 0;
    for (int s = 0; s < steps; s++) {
        int i, j;
        if ((int)(jsp_rng_next(&rng) % 8) < adds) {
            if (!random_edge(dag, &rng, &i, &j)) continue;
            jsp_dag_add(dag, i, j);
            edge[i][j] = 1;
            h.parent[n] = i;
            h.child[n++] = j;
        } else if (n == 0) {
            CHECK(jsp_dag_undo(dag) == -1);
        } else {
            CHECK(jsp_dag_undo(dag) == 0);
            n--;
            edge[h.parent[n]][h.child[n]] = 0;
        }
        if (s % check_every == 0 && check_state(dag, edge, n)) return 1;
    }
    if (check_state(dag, edge, n)) return 1;
    while (jsp_dag_undo(dag) == 0) n--;
    memset(edge, 0, sizeof edge);
    CHECK(n == 0);
    return check_state(dag, edge, 0);
}

static int test_state(void) {
    int sizes[] = {1, 2, 3, 5, 17, 64, 65, 100, 128, 129, 300};
    for (int k = 0; k < 11; k++) {
        int D = sizes[k];
        jsp_dag_batch batch;
        CHECK(jsp_dag_batch_create(&batch, 2, D, 1, NULL) == JSP_OK);
        for (int adds = 5; adds <= 8; adds += 3) {
            int steps = D < 20 ? 500 : D < 200 ? 60 * D : 10 * D;
            if (walk(&batch.dag[1], steps, adds, D < 20 ? 1 : 500,
                     (uint64_t)(adds + D))) {
                printf("with D = %d\n", D);
                return 1;
            }
        }
        CHECK(batch.dag[0].n_edges == 0);
        jsp_dag_batch_destroy(&batch);
    }
    return 0;
}

/* The longest journal: a chain written from its end, one row more per edge, then all
 * the rest. ASan sees an overrun. */
static int test_journal_bound(void) {
    int D = 40, edges = 0;
    size_t size = jsp_dag_size(D, 1);
    CHECK(size % 64 == 0);
    void *memory = jsp_memory_alloc(1, size);
    jsp_dag dag;
    jsp_dag_init(&dag, D, 1, memory);
    for (int distance = 1; distance < D; distance++) {
        for (int i = D - 1 - distance; i >= 0; i--, edges++) {
            jsp_dag_add(&dag, i, i + distance);
        }
    }
    CHECK(dag.n_edges == edges && edges == D * (D - 1) / 2);
    for (int j = 0; j < D; j++) CHECK(!jsp_bits_any(jsp_dag_legal_parents(&dag, j)));
    while (jsp_dag_undo(&dag) == 0) edges--;
    CHECK(edges == 0 && dag.n_edges == 0);
    jsp_memory_free(memory);
    return 0;
}

static int test_copy(void) {
    jsp_dag_batch batch;
    CHECK(jsp_dag_batch_create(&batch, 3, 9, 0, NULL) == JSP_OK);
    jsp_dag *a = &batch.dag[0], *b = &batch.dag[2];
    jsp_dag_add(a, 3, 5);
    jsp_dag_add(a, 5, 1);
    CHECK(jsp_dag_undo(a) == -1); /* made without undo */
    jsp_dag_copy(b, a);
    CHECK(b->n_edges == 2 && jsp_bits_has(b->ancestors[1], 3));
    jsp_dag_reset(a);
    CHECK(a->n_edges == 0 && !jsp_bits_has(a->ancestors[1], 3));
    CHECK(jsp_bits_has(b->ancestors[1], 3) && jsp_bits_has(b->descendants[3], 1));
    jsp_dag_batch_destroy(&batch);
    jsp_dag_batch_destroy(&batch);
    return 0;
}

static int test_find_cycle(void) {
    jsp_rng rng;
    jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
    int sizes[] = {1, 2, 3, 6, 66, 100, 150};
    for (int k = 0; k < 7; k++) {
        int D = sizes[k], n = 40;
        uint8_t *graphs = calloc((size_t)n * D * D, 1);
        for (int g = 0; g < n; g++) { /* sparse random graphs, often cyclic */
            for (int c = 0; c < D * D; c++) {
                int i = c / D, j = c % D;
                double p = i < j ? 2.0 / D : 0.3 / (D * D);
                graphs[(size_t)g * D * D + c] = jsp_rng_uniform(&rng) < p;
            }
        }
        long first = -1;
        for (int g = n - 1; g >= 0; g--) {
            const uint8_t *graph = graphs + (size_t)g * D * D;
            int cyclic = !is_sortable(D, graph);
            if (cyclic) first = g;
            CHECK(jsp_dag_find_cycle(D, 1, graph) == (cyclic ? 0 : -1));
        }
        CHECK(jsp_dag_find_cycle(D, n, graphs) == first);
        graphs[(size_t)(D - 1) * D + D - 1] = 255; /* a self-loop in the first graph */
        CHECK(jsp_dag_find_cycle(D, n, graphs) == 0);
        CHECK(jsp_dag_find_cycle(D, 0, graphs) == -1);
        free(graphs);
    }
    return 0;
}

/* ---- chain ---- */

/* Tables for D nodes, candidates as given by `allowed`; 1 in 8 sets is excluded when
 * asked for. */
static jsp_scores *make_scores(int D, const uint8_t *allowed, int exclude,
                               double spread, uint64_t seed) {
    static int member[MOST][MOST];
    const int *list[MOST];
    int n[MOST];
    double *table[MOST];
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    for (int j = 0; j < D; j++) {
        n[j] = 0;
        for (int i = 0; i < D; i++) {
            if (i != j && (!allowed || allowed[i * D + j])) member[j][n[j]++] = i;
        }
        list[j] = member[j];
        table[j] = malloc(sizeof(double) << n[j]);
        for (size_t S = 0; S < (size_t)1 << n[j]; S++) {
            table[j][S] = spread * jsp_rng_normal(&rng);
            if (exclude && S && jsp_rng_next(&rng) % 8 == 0) table[j][S] = -INFINITY;
        }
    }
    jsp_scores *scores = NULL;
    jsp_scores_create_from_tables(D, list, n, (const double *const *)table, &scores,
                                  NULL);
    for (int j = 0; j < D; j++) free(table[j]);
    return scores;
}

typedef struct run {
    uint32_t local[MOST];
    jsp_bits parents[MOST];
    jsp_chain_state state;
} run;

static void begin(run *r, const jsp_scores *scores) {
    r->state.local = r->local;
    r->state.parents = r->parents;
    jsp_chain_reset(scores, &r->state);
}

/* Nine bits of a graph of three nodes. */
static int code_of(const run *r) {
    int code = 0;
    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < 3; i++)
            code |= jsp_bits_has(r->parents[j], i) << (3 * i + j);
    }
    return code;
}

/* Probabilities of the 512 codes, proportional to exp(log R); 0 where not acyclic. */
static void enumerate_probabilities(const jsp_scores *scores, double *probability) {
    double total = 0;
    for (int code = 0; code < 512; code++) {
        uint8_t graph[9];
        uint32_t local[3];
        probability[code] = 0;
        for (int c = 0; c < 9; c++) graph[c] = code >> c & 1;
        if (!is_sortable(3, graph)) continue;
        if (!jsp_scores_masks_of_graph(scores, graph, local)) continue;
        probability[code] = exp(jsp_scores_log_reward(scores, local));
        total += probability[code];
    }
    for (int code = 0; code < 512; code++) probability[code] /= total;
}

static double chi_square(const jsp_scores *scores, const double *visits, double n,
                         int *cells) {
    double probability[512];
    enumerate_probabilities(scores, probability);
    return chi_square_statistic(512, probability, visits, n, cells);
}

static double chain_statistic(const jsp_scores *scores, double beta, uint64_t seed,
                              int *cells) {
    enum { STATES = 20000, THIN = 80 };
    static double visits[512];
    memset(visits, 0, sizeof visits);
    jsp_chain_moves moves;
    jsp_rng rng;
    run r;
    if (jsp_chain_moves_create(&moves, scores, NULL)) return NAN;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_CHAIN);
    begin(&r, scores);
    jsp_chain_anneal(scores, &moves, 5, 100, &rng, &r.state);
    for (int s = 0; s < STATES; s++) {
        jsp_chain_step(scores, &moves, beta, THIN, &rng, &r.state);
        visits[code_of(&r)]++;
    }
    jsp_chain_moves_destroy(&moves);
    return chi_square(scores, visits, STATES, cells);
}

static int test_stationary(void) {
    /* 0 -> 2 and 1 -> 0 are not candidates in the second kind of table */
    uint8_t some[9] = {0, 1, 0, 0, 0, 1, 1, 1, 0};
    for (int c = 0; c < 6; c++) {
        jsp_scores *scores =
            make_scores(3, c % 3 == 1 ? some : NULL, c % 3 == 2, 1, (uint64_t)(20 + c));
        CHECK(scores != NULL);
        int cells;
        double right = chain_statistic(scores, 1, 100, &cells);
        CHECK(right < chi_square_limit(cells));
        CHECK(chain_statistic(scores, 0.8, 100, &cells) > chi_square_limit(cells));
        jsp_scores_destroy(scores);
    }
    return 0;
}

/* Uniform over DAGs at beta 0, whatever the scores: also a test of the cycle search. */
static int test_hot_chain(void) {
    jsp_scores *scores = make_scores(3, NULL, 0, 50, 30),
               *flat = make_scores(3, NULL, 0, 0, 1);
    static double visits[512];
    jsp_chain_moves moves;
    jsp_rng rng;
    run r;
    CHECK(jsp_chain_moves_create(&moves, scores, NULL) == JSP_OK);
    CHECK(moves.n_moves == 6);
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_CHAIN);
    begin(&r, scores);
    memset(visits, 0, sizeof visits);
    for (int s = 0; s < 20000; s++) {
        jsp_chain_step(scores, &moves, 0, 80, &rng, &r.state);
        visits[code_of(&r)]++;
    }
    int cells;
    double right = chi_square(flat, visits, 20000, &cells);
    CHECK(cells == 25 && right < chi_square_limit(cells));
    jsp_chain_moves_destroy(&moves);
    jsp_scores_destroy(scores);
    jsp_scores_destroy(flat);
    return 0;
}

/* Large graphs: both forms of the state agree, stay acyclic and inside the candidates;
 * a run cut in two gives the same bits as one run. */
static int test_large_chain(void) {
    int sizes[] = {1, 2, 30, 64, 65, 100, 200};
    for (int k = 0; k < 7; k++) {
        int D = sizes[k];
        uint8_t *allowed = calloc((size_t)D * D, 1), *graph = calloc((size_t)D * D, 1);
        jsp_rng rng;
        jsp_rng_init(&rng, 40, 0, 0, JSP_RNG_TEST);
        for (int j = 0; j < D; j++) {
            for (int c = 0; c < 8; c++) {
                int i = (int)(jsp_rng_next(&rng) % (uint32_t)D);
                if (i != j) allowed[i * D + j] = 1;
            }
        }
        jsp_scores *scores = make_scores(D, allowed, D > 50, 2, 41);
        CHECK(scores != NULL);
        jsp_chain_moves moves;
        CHECK(jsp_chain_moves_create(&moves, scores, NULL) == JSP_OK);
        run a, b;
        begin(&a, scores);
        begin(&b, scores);
        jsp_rng left, right;
        jsp_rng_init(&left, 42, 0, 0, JSP_RNG_CHAIN);
        right = left;
        long accepted = jsp_chain_step(scores, &moves, 0.5, 20001, &left, &a.state);
        long parts = jsp_chain_step(scores, &moves, 0.5, 777, &right, &b.state);
        parts += jsp_chain_step(scores, &moves, 0.5, 20001 - 777, &right, &b.state);
        CHECK(accepted == parts && (D == 1) == (accepted == 0));
        CHECK(memcmp(a.local, b.local, sizeof(uint32_t) * D) == 0);
        CHECK(jsp_rng_next(&left) == jsp_rng_next(&right));
        for (int j = 0; j < D; j++) {
            for (int i = 0; i < D; i++) {
                graph[i * D + j] = (uint8_t)jsp_bits_has(a.parents[j], i);
            }
        }
        CHECK(is_sortable(D, graph));
        uint32_t local[MOST];
        CHECK(jsp_scores_masks_of_graph(scores, graph, local) == 1);
        CHECK(memcmp(local, a.local, sizeof(uint32_t) * D) == 0);
        jsp_chain_set(scores, local, &b.state);
        for (int j = 0; j < D; j++) CHECK(jsp_bits_equal(a.parents[j], b.parents[j]));
        jsp_chain_moves_destroy(&moves);
        jsp_scores_destroy(scores);
        free(allowed);
        free(graph);
    }
    return 0;
}

/* A cold chain on tables that favour more edges climbs and never goes far down. */
static int test_annealing(void) {
    jsp_scores *scores = make_scores(10, NULL, 0, 3, 50);
    jsp_chain_moves moves;
    jsp_rng rng;
    run r;
    CHECK(jsp_chain_moves_create(&moves, scores, NULL) == JSP_OK);
    jsp_rng_init(&rng, 2, 0, 0, JSP_RNG_CHAIN);
    begin(&r, scores);
    double before = jsp_scores_log_reward(scores, r.local);
    jsp_chain_anneal(scores, &moves, 10, 5000, &rng, &r.state);
    CHECK(jsp_scores_log_reward(scores, r.local) > before + 10);
    jsp_chain_moves_destroy(&moves);
    jsp_scores_destroy(scores);
    return 0;
}

static int test_faults(void) {
    jsp_scores *scores = make_scores(4, NULL, 0, 1, 60);
    long live = jsp_memory_live();
    for (long at = 1; at <= 3; at++) {
        jsp_chain_moves moves;
        jsp_error error = {0};
        jsp_memory_fail_at(at);
        CHECK(jsp_chain_moves_create(&moves, scores, &error) == JSP_ERROR_MEMORY);
        CHECK(jsp_memory_live() == live && moves.child == NULL);
        if (at == 3) break;
        jsp_dag_batch batch;
        jsp_memory_fail_at(at);
        CHECK(jsp_dag_batch_create(&batch, 5, 4, 1, &error) == JSP_ERROR_MEMORY);
        CHECK(jsp_memory_live() == live && batch.dag == NULL && batch.memory == NULL);
    }
    jsp_memory_fail_at(0);
    jsp_scores_destroy(scores);
    return 0;
}

static const check_test TESTS[] = {
    {"state", test_state},
    {"journal bound", test_journal_bound},
    {"copy", test_copy},
    {"find cycle", test_find_cycle},
    {"stationary distribution", test_stationary},
    {"hot chain", test_hot_chain},
    {"large chain", test_large_chain},
    {"annealing", test_annealing},
    {"faults", test_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
