/* jsp_evidences.c - fits parent sets, a few per task.
 *
 * A set takes from a tenth of a millisecond to tens of them. Tasks of SETS sets make the
 * work even among threads, and a wish to stop is heard soon. Models write into a table
 * [2^K] of the node; what was asked for is then copied into the list. Nodes come one after
 * the other, so that there is one such table. */
#include "jsp_evidences.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

#define SETS 4 /* parent sets of a task */

typedef struct job {
    const jsp_model_setup *setup;
    const jsp_scores_config *config;
    int node, n_sets;   /* what is being fitted */
    uint32_t *all;      /* [2^K] sets of the node; owned */
    uint32_t *sets;     /* [n_sets] those of them that are asked for */
    double *table;      /* [2^K] owned */
    jsp_error *errors;  /* one per task; owned */
    atomic_long n_done; /* sets */
    double n_wanted;
} job;

size_t jsp_evidences_count_node(const jsp_scores_config *config, int n_variables,
                                int node) {
    const int K = config->n_candidates[node];
    const int limit = jsp_scores_limit(config, n_variables, node);
    size_t count = 0, term = 1; /* binomials C(K, p) */
    for (int p = 0; p <= K && p <= limit; p++) {
        count += term;
        term = term * (size_t)(K - p) / (size_t)(p + 1);
    }
    return count;
}

size_t jsp_evidences_count(const jsp_scores_config *config, int n_variables) {
    size_t count = 0;
    for (int j = 0; j < n_variables; j++) {
        count += jsp_evidences_count_node(config, n_variables, j);
    }
    return count;
}

static void fit_some(void *context, int task, int worker) {
    job *q = context;
    const int first = task * SETS, left = q->n_sets - first;
    const int n = left < SETS ? left : SETS;
    jsp_error *error = &q->errors[task];
    (void)worker;
    if (jsp_pulse_stops(q->config->pulse,
                        (double)atomic_load(&q->n_done) / q->n_wanted))
        return;
    error->code = q->setup->model->tabulate_sets(q->setup, q->node,
                                                 q->config->n_candidates[q->node],
                                                 q->config->candidates[q->node], n,
                                                 q->sets + first, q->table, error);
    atomic_fetch_add(&q->n_done, n);
}

/* Sets `first` to `last` - 1 of a node. */
static jsp_status fit_node(job *q, size_t first, size_t last, int n_threads,
                           double *log_evidence, jsp_error *error) {
    const int D = jsp_data_n_variables(q->setup->data);
    jsp_model_list_sets(q->config->n_candidates[q->node],
                        jsp_scores_limit(q->config, D, q->node), q->all);
    q->sets = q->all + first;
    q->n_sets = (int)(last - first);
    const int n_tasks = (q->n_sets + SETS - 1) / SETS;
    memset(q->errors, 0, (size_t)n_tasks * sizeof(jsp_error));
    jsp_parallel_for(n_threads < n_tasks ? n_threads : n_tasks, n_tasks, fit_some, q);
    for (int k = 0; k < n_tasks; k++) {
        if (q->errors[k].code == JSP_OK) continue;
        if (error) *error = q->errors[k];
        return q->errors[k].code;
    }
    if (jsp_pulse_stopped(q->config->pulse)) {
        return jsp_status_set(error, JSP_INTERRUPTED, "tables were not finished");
    }
    for (int s = 0; s < q->n_sets; s++) log_evidence[s] = q->table[q->sets[s]];
    return JSP_OK;
}

static jsp_status allocate(job *q, int D, jsp_error *error) {
    size_t size = 1, most = 1;
    for (int j = 0; j < D; j++) {
        const size_t n = (size_t)1 << q->config->n_candidates[j];
        const size_t count = jsp_evidences_count_node(q->config, D, j);
        size = n > size ? n : size;
        most = count > most ? count : most;
    }
    q->all = jsp_memory_alloc(size, sizeof *q->all);
    q->table = jsp_memory_alloc(size, sizeof *q->table);
    q->errors = jsp_memory_alloc((most + SETS - 1) / SETS, sizeof *q->errors);
    if (q->all && q->table && q->errors) return JSP_OK;
    return jsp_status_no_memory(error, size * (sizeof *q->all + sizeof *q->table),
                                "parent sets");
}

jsp_status jsp_evidences_fit(const jsp_model_setup *setup,
                             const jsp_scores_config *config, size_t first, size_t last,
                             int n_threads, double *log_evidence, jsp_error *error) {
    const int D = jsp_data_n_variables(setup->data);
    job q = {.setup = setup, .config = config, .n_wanted = (double)(last - first)};
    jsp_status status = allocate(&q, D, error);
    size_t begin = 0; /* of the node's part */
    for (q.node = 0; q.node < D && status == JSP_OK; q.node++) {
        const size_t end = begin + jsp_evidences_count_node(config, D, q.node);
        const size_t from = first > begin ? first : begin;
        const size_t to = last < end ? last : end;
        if (from < to) {
            status = fit_node(&q, from - begin, to - begin, n_threads,
                              log_evidence + (from - first), error);
        }
        begin = end;
    }
    jsp_memory_free(q.all);
    jsp_memory_free(q.table);
    jsp_memory_free(q.errors);
    return status;
}

void jsp_evidences_place(const jsp_scores_config *config, int n_variables, int node,
                         const double *part, double *table) {
    const int limit = jsp_scores_limit(config, n_variables, node);
    const size_t n = (size_t)1 << config->n_candidates[node];
    for (size_t S = 0; S < n; S++) {
        table[S] = jsp_bits_count64(S) > limit ? -INFINITY : *part++;
    }
}
