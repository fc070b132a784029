/* jsp_candidates.c - greedy choice of candidate parents.
 *
 * Ranking by the gain of a single parent alone loses parents that matter only beside
 * others (two causes of opposite sign); ranking by the gain on top of the greedy set
 * alone loses near-copies of a chosen parent, which the posterior may prefer. So the
 * list is filled by the larger of the two.
 */
#include "jsp_candidates.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

#define GREEDY_MOST 8

typedef struct job {
    const jsp_model_setup *setup;
    const jsp_scores_config *config;
    int D, K;
    int *candidates;
    int *n_candidates;
    jsp_error *errors; /* [D] */
} job;

/* Local scores of one node while its list grows. */
typedef struct search {
    const job *job;
    int node;
    jsp_error *error;
    int n; /* chosen so far */
    int chosen[JSP_MAX_CANDIDATES];
    uint8_t taken[JSP_MAX_VARIABLES];
} search;

/* *score = l_node(first n of the chosen + extra); extra < 0 = nothing added. */
static jsp_status score_of(search *s, int n, int extra, double *score) {
    int parents[JSP_MAX_CANDIDATES + 1];
    memcpy(parents, s->chosen, (size_t)n * sizeof(int));
    if (extra >= 0) parents[n++] = extra;
    const jsp_model_setup *setup = s->job->setup;
    jsp_status status =
        setup->model->evidence(setup, s->node, n, parents, score, s->error);
    *score += jsp_scores_log_weight(s->job->config, s->job->D, s->node, n, parents);
    return status;
}

/* gain[i] = l(chosen + i) - l(chosen) with the first n of the chosen. */
static jsp_status gains(search *s, int n, double *gain) {
    double base, with;
    jsp_status status = score_of(s, n, -1, &base);
    for (int i = 0; i < s->job->D && status == JSP_OK; i++) {
        gain[i] = -INFINITY;
        if (s->taken[i]) continue;
        status = score_of(s, n, i, &with);
        gain[i] = with > -INFINITY ? with - base : -INFINITY;
    }
    return status;
}

static int best_of(const search *s, const double *gain) {
    int best = -1;
    for (int i = 0; i < s->job->D; i++) {
        if (!s->taken[i] && (best < 0 || gain[i] > gain[best])) best = i;
    }
    return best;
}

static void choose(search *s, int i) {
    s->chosen[s->n++] = i;
    s->taken[i] = 1;
}

static jsp_status fill_list(search *s, int K) {
    double alone[JSP_MAX_VARIABLES], gain[JSP_MAX_VARIABLES];
    int n_required = s->n;
    jsp_status status = gains(s, n_required, alone);
    memcpy(gain, alone, sizeof gain);
    while (status == JSP_OK && s->n < K && s->n - n_required < GREEDY_MOST) {
        int best = best_of(s, gain);
        if (!(gain[best] > 0)) break;
        choose(s, best);
        status = gains(s, s->n, gain);
    }
    if (status != JSP_OK) return status;
    for (int i = 0; i < s->job->D; i++) {
        if (alone[i] > gain[i]) gain[i] = alone[i];
    }
    while (s->n < K) choose(s, best_of(s, gain));
    return JSP_OK;
}

static void select_node(void *context, int node, int worker) {
    (void)worker;
    const job *q = context;
    search s = {.job = q, .node = node, .error = &q->errors[node]};
    int K = q->K < q->D - 1 ? q->K : q->D - 1;
    s.taken[node] = 1;
    for (int i = 0; i < q->D; i++) {
        if (jsp_scores_is_required(q->config, q->D, i, node) && s.n < K) choose(&s, i);
    }
    if (K < q->D - 1) {
        s.error->code = fill_list(&s, K);
    } else {
        for (int i = 0; i < q->D; i++) s.taken[i] = 1;
    }
    s.taken[node] = 0;
    int *list = q->candidates + (size_t)node * q->K, n = 0;
    for (int i = 0; i < q->D && n < K; i++) {
        if (s.taken[i]) list[n++] = i;
    }
    q->n_candidates[node] = n;
}

jsp_status jsp_candidates_select(const jsp_model_setup *setup,
                                 const jsp_scores_config *config, int K, int n_threads,
                                 int *candidates, int *n_candidates, jsp_error *error) {
    int D = jsp_data_n_variables(setup->data);
    if (K < 0 || K > JSP_MAX_CANDIDATES) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "the number of candidate parents must be between 0 and %d, "
            "got %d",
            JSP_MAX_CANDIDATES, K);
    }
    jsp_error *errors = jsp_memory_alloc((size_t)D, sizeof *errors);
    if (!errors) return jsp_status_no_memory(error, D * sizeof *errors, "candidates");
    job q = {setup, config, D, K, candidates, n_candidates, errors};
    jsp_parallel_for(n_threads, D, select_node, &q);
    jsp_status status = JSP_OK;
    for (int j = D - 1; j >= 0; j--) {
        if (errors[j].code == JSP_OK) continue;
        status = errors[j].code;
        if (error) *error = errors[j];
    }
    jsp_memory_free(errors);
    return status;
}
