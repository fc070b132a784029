/* jsp_exact.c - life, steps and results of the exact posterior.
 *
 * Memory per variable and parent set: 12 bytes for tau, 8 for posteriors; per set of
 * nodes: 16 for B, 4 for the order, 8 for each shard. At D = 20 that is 0.21 GB and
 * 0.09 GB, at D = 24 4 GB and 1 GB with half the shards, besides 16 bytes per parent
 * set of the score tables.
 *
 * From about 18 variables on, fetches of B limit the speed. The four nodes whose
 * subsets are summed as a block are mostly those that gain least from parents; with the
 * lowest bits given to them, the 16 entries of a block share a few cache lines, which
 * nearly halves the time of both passes at D = 20. So nodes are numbered by position,
 * sorted by gain, and results are turned back into variables. */
#include "jsp_exact_inner.h"

#include <math.h>

#include "jsp_memory.h"

#define LN2 0.69314718055994530942

/* ---- order of nodes ---- */

/* variable[] by decreasing score of the empty set relative to the best set. */
static void sort_nodes(jsp_exact *exact, const jsp_scores *scores) {
    double key[JSP_EXACT_MAX_VARIABLES];
    for (int j = 0; j < exact->D; j++) {
        double gain = scores->node[j].max_score - scores->node[j].score[0];
        int a = j;
        for (; a > 0 && key[a - 1] > gain; a--) {
            key[a] = key[a - 1];
            exact->variable[a] = exact->variable[a - 1];
        }
        key[a] = gain;
        exact->variable[a] = j;
    }
}

/* The tables by position; candidates keep their order, so local masks their meaning. */
static void make_view(jsp_exact *exact, const jsp_scores *scores) {
    int position[JSP_EXACT_MAX_VARIABLES];
    sort_nodes(exact, scores);
    for (int a = 0; a < exact->D; a++) position[exact->variable[a]] = a;
    for (int a = 0; a < exact->D; a++) {
        jsp_scores_node *node = &exact->node[a];
        *node = scores->node[exact->variable[a]];
        for (int k = 0; k < node->K; k++) {
            exact->candidate[a][k] = position[node->candidate[k]];
        }
        node->candidate = exact->candidate[a];
    }
    exact->view.n_variables = exact->D;
    exact->view.node = exact->node;
    exact->scores = &exact->view;
}

/* ---- life ---- */

/* From 22 variables on the shards' sums would be a burden. */
static int count_shards(int D) {
    return D < 22 ? JSP_EXACT_MAX_SHARDS : 4;
}

static int largest_count(int D, const int *n_candidates) {
    int K = 0;
    for (int j = 0; j < D; j++) K = n_candidates[j] > K ? n_candidates[j] : K;
    return K;
}

/* Below 14 variables a pass takes less than waking a thread. */
static int useful_threads(int D, int n_threads) {
    if (D < 14) return 1;
    return n_threads < 1 ? 1 : n_threads < D ? n_threads : D;
}

size_t jsp_exact_size(int n_variables, const int *n_candidates, jsp_exact_goal goal,
                      int n_threads) {
    size_t D = (size_t)n_variables, sets = (size_t)1 << n_variables;
    size_t number = sizeof(double) + sizeof(int32_t);
    size_t size = sizeof(jsp_exact) + sets * (sizeof(jsp_exact_number) + 4);
    for (int j = 0; j < n_variables; j++) {
        size_t n = (size_t)1 << n_candidates[j];
        size += n * number + 2 * 1024 * sizeof(uint32_t);
        if (goal == JSP_EXACT_POSTERIOR) size += n * sizeof(double);
    }
    if (goal == JSP_EXACT_POSTERIOR) {
        size_t scratch = (size_t)1 << largest_count(n_variables, n_candidates);
        size += sets * (size_t)count_shards(n_variables) * sizeof(double);
        size += D * JSP_EXACT_SLAB * sizeof(double) + D * D * sizeof(double);
        size += scratch * (size_t)useful_threads(n_variables, n_threads) * number;
    }
    return size;
}

/* Sets bit `to` in the images of all bytes that have bit `from`. */
static void map_bit(uint32_t *map, int from, int to) {
    for (int value = 0; value < 256; value++) {
        if (value >> (from & 7) & 1) {
            map[256 * (from >> 3) + value] |= (uint32_t)1 << to;
        }
    }
}

/* Local masks by bytes of U, for tables that lack some variables. */
static void fill_index(jsp_exact_table *table, const jsp_scores_node *node) {
    for (int k = 0; k < table->K; k++) map_bit(table->index, node->candidate[k], k);
}

/* Candidate k, at position p, gets bit p, or p - 1 beyond the node itself. */
static void fill_shuffle(jsp_exact_table *table, const jsp_scores_node *node, int j) {
    for (int k = 0; k < table->K; k++) {
        int bit = node->candidate[k] - (node->candidate[k] > j);
        map_bit(table->shuffle, k, bit);
        map_bit(table->shuffle + 1024, bit, k);
    }
}

static int allocate_table(jsp_exact *exact, int j) {
    const jsp_scores_node *node = &exact->scores->node[j];
    jsp_exact_table *table = &exact->table[j];
    size_t n = (size_t)1 << node->K;
    table->K = node->K;
    table->is_full = node->K == exact->D - 1;
    table->low = ((uint32_t)1 << j) - 1;
    table->mantissa = jsp_memory_alloc(n, sizeof(double));
    table->exponent = jsp_memory_alloc(n, sizeof(int32_t));
    if (!table->mantissa || !table->exponent) return 0;
    if (exact->goal == JSP_EXACT_POSTERIOR) {
        table->posterior = jsp_memory_alloc(n, sizeof(double));
        if (!table->posterior) return 0;
    }
    if (table->is_full) {
        table->shuffle = jsp_memory_alloc(2 * 1024, sizeof(uint32_t));
        if (!table->shuffle) return 0;
        fill_shuffle(table, node, j);
        return 1;
    }
    table->index = jsp_memory_alloc(1024, sizeof(uint32_t));
    if (!table->index) return 0;
    fill_index(table, node);
    return 1;
}

static int allocate_posterior(jsp_exact *exact) {
    size_t sets = (size_t)1 << exact->D, D = (size_t)exact->D;
    size_t workers = (size_t)exact->n_threads;
    for (int s = 0; s < exact->n_shards; s++) {
        exact->placed[s] = jsp_memory_alloc(sets, sizeof(double));
        if (!exact->placed[s]) return 0;
    }
    exact->first = jsp_memory_alloc(D * JSP_EXACT_SLAB, sizeof(double));
    exact->mantissa = jsp_memory_alloc(workers * exact->scratch, sizeof(double));
    exact->exponent = jsp_memory_alloc(workers * exact->scratch, sizeof(int32_t));
    exact->edges = jsp_memory_alloc(D * D, sizeof(double));
    return exact->first && exact->mantissa && exact->exponent && exact->edges;
}

static int allocate(jsp_exact *exact) {
    size_t sets = (size_t)1 << exact->D;
    exact->order = jsp_memory_alloc(sets, sizeof(uint32_t));
    exact->B = jsp_memory_alloc(sets, sizeof(jsp_exact_number));
    if (!exact->order || !exact->B) return 0;
    for (int j = 0; j < exact->D; j++) {
        if (!allocate_table(exact, j)) return 0;
    }
    return exact->goal == JSP_EXACT_PARTITION || allocate_posterior(exact);
}

/* Counting sort of all sets by size. */
static void sort_sets(jsp_exact *exact) {
    size_t sets = (size_t)1 << exact->D, next[JSP_EXACT_MAX_VARIABLES + 2] = {0};
    size_t size = 1, begin = 0;
    for (int k = 0; k <= exact->D; k++) { /* size = C(D, k) */
        exact->layer[k] = next[k] = begin;
        begin += size;
        size = size * (size_t)(exact->D - k) / (size_t)(k + 1);
    }
    exact->layer[exact->D + 1] = begin;
    for (size_t U = 0; U < sets; U++) {
        exact->order[next[jsp_bits_count64(U)]++] = (uint32_t)U;
    }
}

jsp_status jsp_exact_create(const jsp_scores *scores, jsp_exact_goal goal,
                            int n_threads, jsp_exact **out, jsp_error *error) {
    int D = scores->n_variables, counts[JSP_MAX_VARIABLES];
    *out = NULL;
    if (D > JSP_EXACT_MAX_VARIABLES) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the exact posterior takes at most %d variables, got %d",
                              JSP_EXACT_MAX_VARIABLES, D);
    }
    for (int j = 0; j < D; j++) counts[j] = scores->node[j].K;
    jsp_exact *exact = jsp_memory_alloc(1, sizeof *exact);
    if (exact) {
        exact->D = D;
        exact->n_threads = useful_threads(D, n_threads);
        exact->n_shards = count_shards(D);
        exact->goal = goal;
        exact->full = (uint32_t)(((uint64_t)1 << D) - 1);
        exact->scratch = (size_t)1 << largest_count(D, counts);
        make_view(exact, scores);
    }
    if (!exact || !allocate(exact)) {
        jsp_exact_destroy(exact);
        return jsp_status_no_memory(error, jsp_exact_size(D, counts, goal, n_threads),
                                    "the exact posterior");
    }
    sort_sets(exact);
    *out = exact;
    return JSP_OK;
}

void jsp_exact_destroy(jsp_exact *exact) {
    if (!exact) return;
    for (int j = 0; j < exact->D; j++) {
        jsp_memory_free(exact->table[j].index);
        jsp_memory_free(exact->table[j].shuffle);
        jsp_memory_free(exact->table[j].mantissa);
        jsp_memory_free(exact->table[j].exponent);
        jsp_memory_free(exact->table[j].posterior);
        jsp_memory_free(exact->list[j]);
    }
    for (int s = 0; s < JSP_EXACT_MAX_SHARDS; s++) jsp_memory_free(exact->placed[s]);
    jsp_memory_free(exact->order);
    jsp_memory_free(exact->B);
    jsp_memory_free(exact->first);
    jsp_memory_free(exact->mantissa);
    jsp_memory_free(exact->exponent);
    jsp_memory_free(exact->edges);
    jsp_memory_free(exact);
}

/* ---- steps ---- */

static void sum_table(void *context, int task, int worker) {
    jsp_exact *exact = context;
    (void)worker;
    jsp_exact_tables_sum(exact, (int)exact->position + task);
}

static void finish_table(void *context, int task, int worker) {
    jsp_exact *exact = context;
    jsp_exact_tables_posterior(exact, (int)exact->position + task, worker);
}

static void start_layer(jsp_exact *exact, jsp_exact_stage stage, int layer) {
    exact->stage = stage;
    exact->layer_now = layer;
    if (layer >= 0 && layer <= exact->D) exact->position = exact->layer[layer];
}

/* Scores that span more than the exponents do matter when all DAGs need low ones. */
static int is_out_of_range(const jsp_exact *exact) {
    int dropped = 0;
    if (exact->B[0].mantissa > 0) return exact->B[0].exponent < JSP_EXACT_LOWEST;
    for (int j = 0; j < exact->D; j++) dropped |= exact->table[j].dropped;
    return dropped;
}

static void start_backward(jsp_exact *exact) {
    exact->log2_least = jsp_exact_passes_bound(exact);
    exact->B[exact->full] = (jsp_exact_number){1, 0, 0};
    start_layer(exact, JSP_EXACT_BACKWARD, exact->D - 1);
    if (exact->log2_least == -INFINITY) { /* no DAG is allowed */
        exact->B[0] = (jsp_exact_number){0, JSP_EXACT_ZERO, 0};
        exact->report.out_of_range = is_out_of_range(exact);
        exact->stage = JSP_EXACT_DONE;
    }
}

static void start_forward(jsp_exact *exact) {
    exact->report.out_of_range = is_out_of_range(exact);
    if (exact->goal == JSP_EXACT_PARTITION || exact->report.out_of_range) {
        exact->stage = JSP_EXACT_DONE;
        return;
    }
    exact->placed[0][0] = 1;
    start_layer(exact, JSP_EXACT_FORWARD, 0);
}

static void start_parents(jsp_exact *exact) {
    double all = 0;
    for (int s = 0; s < exact->n_shards; s++) all += exact->placed[s][exact->full];
    exact->report.closure = fabs(all - 1);
    exact->stage = JSP_EXACT_PARENTS;
    exact->position = 0;
}

/* Work is counted in terms of the sums, 1 to 3 ns each; as measured, a node of a set
 * costs as much, and a parent set of a table ten times as much. */
static double cost_of_sets(const jsp_exact *exact, size_t n) {
    return (double)exact->D * (double)n;
}

/* As many nodes as there are threads. */
static double run_tables(jsp_exact *exact, jsp_parallel_task task) {
    size_t left = (size_t)exact->D - exact->position;
    size_t n = left < (size_t)exact->n_threads ? left : (size_t)exact->n_threads;
    jsp_parallel_team_for(exact->team, (int)n, task, exact);
    exact->position += n;
    return 10 * (double)(n * exact->scratch);
}

/* Sets of a slab: a set of layer k has up to 2^(D-k) terms, of which cuts may leave few.
 * Some sets for every thread, however long they take. */
static size_t slab_size(const jsp_exact *exact) {
    int free = exact->stage == JSP_EXACT_ORDERS ? 0 : exact->D - exact->layer_now;
    size_t n = JSP_EXACT_SLAB_TERMS >> free;
    if (n < JSP_EXACT_LEAST_SLAB) n = JSP_EXACT_LEAST_SLAB;
    return n < JSP_EXACT_SLAB ? n : JSP_EXACT_SLAB;
}

/* One slab of the layer in hand; moves to the next layer at its end. Adds what it took to
 * *cost; returns 0 when the stage is over. */
static int run_slab(jsp_exact *exact, int direction, double *cost) {
    size_t last = exact->layer[exact->layer_now + 1], size = slab_size(exact);
    const jsp_exact_report *report = &exact->report;
    double before = report->n_terms_backward + report->n_terms_forward;
    exact->begin = exact->position;
    exact->end = last - exact->begin < size ? last : exact->begin + size;
    jsp_exact_passes_run(exact, exact->stage);
    *cost += report->n_terms_backward + report->n_terms_forward - before +
             cost_of_sets(exact, exact->end - exact->begin);
    exact->position = exact->end;
    if (exact->end < last) return 1;
    int layer = exact->layer_now + direction;
    start_layer(exact, exact->stage, layer);
    return layer >= 0 && layer <= exact->D;
}

/* One parallel loop; returns its cost. */
static double run_loop(jsp_exact *exact) {
    double cost = 0;
    switch (exact->stage) {
    case JSP_EXACT_TABLES:
        cost = run_tables(exact, sum_table);
        if (exact->position < (size_t)exact->D) break;
        exact->B[0] = (jsp_exact_number){1, 0, 0};
        start_layer(exact, JSP_EXACT_ORDERS, 1);
        break;
    case JSP_EXACT_ORDERS:
        if (!run_slab(exact, 1, &cost)) start_backward(exact);
        break;
    case JSP_EXACT_BACKWARD:
        if (!run_slab(exact, -1, &cost)) start_forward(exact);
        break;
    case JSP_EXACT_FORWARD:
        if (!run_slab(exact, 1, &cost)) start_parents(exact);
        break;
    case JSP_EXACT_PARENTS:
        cost = run_tables(exact, finish_table);
        if (exact->position == (size_t)exact->D) exact->stage = JSP_EXACT_DONE;
        break;
    case JSP_EXACT_DONE:
        break;
    }
    return cost;
}

/* A guess: shares of the stages as measured, layers by their sets. */
static double progress(const jsp_exact *exact) {
    static const double begin[] = {0, 0.1, 0.15, 0.55, 0.9, 1};
    static const double share[] = {0.1, 0.05, 0.4, 0.35, 0.1, 0};
    double n = exact->D, done = 0;
    if (exact->stage == JSP_EXACT_DONE) return 1;
    if (exact->stage != JSP_EXACT_TABLES && exact->stage != JSP_EXACT_PARENTS) {
        n = (double)exact->layer[exact->D + 1];
    }
    done = (double)exact->position / n;
    if (exact->stage == JSP_EXACT_BACKWARD) {
        done = 1 - (double)exact->layer[exact->layer_now + 1] / n;
    }
    return begin[exact->stage] + share[exact->stage] * done;
}

typedef struct units {
    jsp_exact *exact;
    int n;
} units;

static void run_units(void *context, jsp_parallel_team *team) {
    const units *q = context;
    q->exact->team = team;
    double left = q->n * JSP_EXACT_UNIT;
    while (left > 0 && q->exact->stage != JSP_EXACT_DONE) left -= run_loop(q->exact);
    q->exact->team = NULL;
}

/* One team for all loops of a step: on a busy machine the end of a team waits for
 * threads that the scheduler holds back, the end of a loop does not. */
double jsp_exact_step(jsp_exact *exact, int n_units) {
    units q = {exact, n_units};
    jsp_parallel_run(exact->n_threads, run_units, &q);
    return progress(exact);
}

/* ---- results ---- */

double jsp_exact_log_partition(const jsp_exact *exact) {
    double sum = log(exact->B[0].mantissa) + LN2 * exact->B[0].exponent;
    for (int j = 0; j < exact->D; j++) sum += exact->scores->node[j].max_score;
    return sum;
}

jsp_exact_report jsp_exact_get_report(const jsp_exact *exact) {
    return exact->report;
}

const double *jsp_exact_parent_sets(const jsp_exact *exact, int node) {
    int a = 0;
    while (exact->variable[a] != node) a++;
    return exact->table[a].posterior;
}

void jsp_exact_edges(const jsp_exact *exact, double *edges) {
    const int *variable = exact->variable;
    for (int a = 0; a < exact->D; a++) {
        for (int b = 0; b < exact->D; b++) {
            edges[variable[a] * exact->D + variable[b]] =
                exact->edges[a * exact->D + b];
        }
    }
}
