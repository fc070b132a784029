/* jsp_candidates.c - choice of candidate parents, and what the choice costs.
 *
 * Ranking by the gain of a single parent alone loses parents that matter only beside
 * others (two causes of opposite sign); ranking by the gain on top of the greedy set
 * alone loses near-copies of a chosen parent, which the posterior may prefer. So the
 * list is filled by the largest of several gains. Pairs of parents are tried in full
 * unless an evidence is dear (discrete data) and variables are many.
 */
#include "jsp_candidates.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

#define GREEDY_MOST 8
#define ALL_PAIRS 32 /* discrete data: up to this many variables all pairs are tried */
#define MOST_PARTNERS 16 /* beyond, each variable is tried beside the best ones only */
#define BEST_SETS 8

typedef struct job {
    const jsp_model_setup *setup;
    const jsp_scores_config *config;
    const jsp_scores *scores; /* of the estimate of discarded mass */
    int D, K;
    int *candidates;
    int *n_candidates;
    double *strength; /* [D, D] row j: gains of variables as parents of j */
    double *greedy;   /* [D, D] row j: gain when chosen greedily, else -inf */
    double *fraction;
    jsp_error *errors; /* [D] */
} job;

/* Local scores of one node while its set grows. */
typedef struct search {
    const job *job;
    int node;
    jsp_error *error;
    int n; /* chosen so far */
    int chosen[JSP_MAX_VARIABLES + 2];
    uint8_t taken[JSP_MAX_VARIABLES]; /* cannot be chosen (any more) */
} search;

/* *score = l_node(parents), -inf when not allowed, without looking for lacking required
 * parents: all sets here hold them. */
static jsp_status score_of(const search *s, int n, const int *parents, double *score) {
    const jsp_model_setup *setup = s->job->setup;
    *score = jsp_scores_log_weight(s->job->config, s->job->D, s->node, n, parents);
    if (*score == -INFINITY) return JSP_OK;
    double evidence;
    jsp_status status =
        setup->model->evidence(setup, s->node, n, parents, &evidence, s->error);
    *score += evidence;
    return status;
}

/* gain[i] = l(chosen + i) - l(chosen); -inf for taken variables. */
static jsp_status gains(search *s, double *base, double *gain) {
    jsp_status status = score_of(s, s->n, s->chosen, base);
    for (int i = 0; i < s->job->D && status == JSP_OK; i++) {
        gain[i] = -INFINITY;
        if (s->taken[i]) continue;
        double with;
        s->chosen[s->n] = i;
        status = score_of(s, s->n + 1, s->chosen, &with);
        if (with > -INFINITY) gain[i] = with - *base;
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

static void raise_to(double *x, double value) {
    if (value > *x) *x = value;
}

/* strength[i] = max(., l(i, k) - max(l(k), l(nothing))) over partners k. */
static jsp_status pair_gains(search *s, const double *alone, double base,
                             double *strength) {
    int D = s->job->D, partner[JSP_MAX_VARIABLES], n_partners = 0;
    int few = s->job->setup->model->is_discrete && D > ALL_PAIRS;
    jsp_status status = JSP_OK;
    uint8_t used[JSP_MAX_VARIABLES] = {0};
    while (n_partners < (few ? MOST_PARTNERS : D)) {
        int best = -1;
        for (int i = 0; i < D; i++) {
            if (s->taken[i] || used[i] || alone[i] == -INFINITY) continue;
            if (best < 0 || alone[i] > alone[best]) best = i;
        }
        if (best < 0) break;
        used[best] = 1;
        partner[n_partners++] = best;
    }
    for (int a = 0; a < n_partners && status == JSP_OK; a++) {
        int k = partner[a];
        for (int i = 0; i < D && status == JSP_OK; i++) {
            double both;
            if (s->taken[i] || i == k || (!few && i > k)) continue;
            s->chosen[s->n] = i;
            s->chosen[s->n + 1] = k;
            status = score_of(s, s->n + 2, s->chosen, &both);
            if (status != JSP_OK || both == -INFINITY) continue;
            raise_to(&strength[i], both - base - fmax(alone[k], 0));
            raise_to(&strength[k], both - base - fmax(alone[i], 0));
        }
    }
    return status;
}

static void require(search *s) {
    const job *q = s->job;
    for (int i = 0; i < q->D; i++) {
        if (jsp_scores_is_required(q->config, q->D, i, s->node)) choose(s, i);
    }
}

/* Rows of strength and greedy of one node. */
static jsp_status measure(search *s, double *strength, double *greedy) {
    const job *q = s->job;
    double gain[JSP_MAX_VARIABLES], alone[JSP_MAX_VARIABLES], base;
    for (int i = 0; i < q->D; i++) greedy[i] = -INFINITY;
    s->taken[s->node] = 1;
    require(s);
    jsp_status status = gains(s, &base, alone);
    if (status != JSP_OK) return status;
    memcpy(strength, alone, (size_t)q->D * sizeof *strength);
    memcpy(gain, alone, sizeof gain);
    status = pair_gains(s, alone, base, strength);
    for (int n = 0; n < GREEDY_MOST && status == JSP_OK; n++) {
        int best = best_of(s, gain);
        if (best < 0 || !(gain[best] > 0)) break;
        greedy[best] = gain[best];
        choose(s, best);
        status = gains(s, &base, gain);
    }
    for (int i = 0; i < q->D; i++) raise_to(&strength[i], gain[i]);
    return status;
}

static void measure_node(void *context, int node, int worker) {
    (void)worker;
    const job *q = context;
    search s = {.job = q, .node = node, .error = &q->errors[node]};
    size_t row = (size_t)node * (size_t)q->D;
    s.error->code = measure(&s, q->strength + row, q->greedy + row);
}

/* A list of at most K: required, greedy, then by strength; forbidden ones never. */
static jsp_status fill_list(const job *q, int node) {
    int D = q->D, *list = q->candidates + (size_t)node * (size_t)q->K, n = 0;
    search s = {.job = q, .node = node};
    double rank[JSP_MAX_VARIABLES];
    s.taken[node] = 1;
    require(&s);
    if (s.n > q->K) {
        return jsp_status_set(
            &q->errors[node], JSP_ERROR_VALUE,
            "variable %d has %d required parents but only %d candidates", node, s.n,
            q->K);
    }
    for (int i = 0; i < D; i++) {
        int forbidden = q->config->edge_log_odds &&
                        q->config->edge_log_odds[(size_t)i * D + node] == -INFINITY;
        if (forbidden) s.taken[i] = 1;
        rank[i] = 0;
        if (!q->strength) continue;
        double gain = q->greedy[(size_t)node * D + i];
        rank[i] = q->strength[(size_t)node * D + i];
        raise_to(&rank[i], q->greedy[(size_t)i * D + node]);
        if (gain > -INFINITY) rank[i] = INFINITY;
    }
    for (int best; s.n < q->K && (best = best_of(&s, rank)) >= 0;) choose(&s, best);
    for (int i = 0; i < D; i++) {
        for (int k = 0; k < s.n; k++) {
            if (s.chosen[k] == i) list[n++] = i;
        }
    }
    q->n_candidates[node] = n;
    return JSP_OK;
}

static jsp_status first_error(int D, const jsp_error *errors, jsp_error *error) {
    for (int j = 0; j < D; j++) {
        if (errors[j].code == JSP_OK) continue;
        if (error) *error = errors[j];
        return errors[j].code;
    }
    return JSP_OK;
}

jsp_status jsp_candidates_select(const jsp_model_setup *setup,
                                 const jsp_scores_config *config, int K, int n_threads,
                                 int *candidates, int *n_candidates, jsp_error *error) {
    int D = jsp_data_n_variables(setup->data);
    size_t cells = (size_t)D * (size_t)D;
    if (K < 0 || K > JSP_MAX_CANDIDATES) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "the number of candidate parents must be between 0 and %d, "
            "got %d",
            JSP_MAX_CANDIDATES, K);
    }
    job q = {.setup = setup,
             .config = config,
             .D = D,
             .K = K,
             .candidates = candidates,
             .n_candidates = n_candidates};
    jsp_status status = JSP_OK;
    q.errors = jsp_memory_alloc((size_t)D, sizeof *q.errors);
    if (q.errors && K > 0 && K < D - 1) {
        q.strength = jsp_memory_alloc(2 * cells, sizeof *q.strength);
        q.greedy = q.strength ? q.strength + cells : NULL;
    }
    if (!q.errors || (K > 0 && K < D - 1 && !q.strength)) {
        status = jsp_status_no_memory(error, 2 * cells * sizeof(double), "candidates");
        goto done;
    }
    if (q.strength) {
        jsp_parallel_for(n_threads, D, measure_node, &q);
        status = first_error(D, q.errors, error);
    }
    for (int j = 0; j < D && status == JSP_OK; j++) {
        status = fill_list(&q, j);
        if (status != JSP_OK && error) *error = q.errors[j];
    }
done:
    jsp_memory_free(q.errors);
    jsp_memory_free(q.strength);
    return status;
}

/* ---- discarded mass ---- */

/* The best sets of a table, best first; returns how many are allowed. */
static int find_best(const jsp_scores_node *node, uint32_t *best) {
    int n = 0;
    for (uint32_t S = 0; S < (uint32_t)1 << node->K; S++) {
        double value = node->score[S];
        if (value == -INFINITY) continue;
        if (n == BEST_SETS && value <= node->score[best[n - 1]]) continue;
        int k = n < BEST_SETS ? n++ : n - 1;
        for (; k > 0 && node->score[best[k - 1]] < value; k--) best[k] = best[k - 1];
        best[k] = S;
    }
    return n;
}

/* exp(l(S + x) - max) summed over excluded variables x. */
static jsp_status lost_beside(const search *s, const jsp_scores_node *node, uint32_t S,
                              double *lost) {
    const job *q = s->job;
    int parents[JSP_MAX_CANDIDATES + 1], n = 0;
    for (uint32_t left = S; left; left &= left - 1) {
        parents[n++] = node->candidate[jsp_bits_lowest64(left)];
    }
    for (int i = 0; i < q->D; i++) {
        if (i == s->node || q->scores->local_index[(size_t)i * q->D + s->node] >= 0) {
            continue;
        }
        double score;
        parents[n] = i;
        jsp_status status = score_of(s, n + 1, parents, &score);
        if (status != JSP_OK) return status;
        *lost += exp(score - node->max_score);
    }
    return JSP_OK;
}

static void estimate_node(void *context, int j, int worker) {
    (void)worker;
    const job *q = context;
    const jsp_scores_node *node = &q->scores->node[j];
    search s = {.job = q, .node = j, .error = &q->errors[j]};
    uint32_t best[BEST_SETS];
    double lost = 0, kept = 0;
    q->fraction[j] = 0;
    if (node->K == q->D - 1) return;
    int n = find_best(node, best);
    for (int k = 0; k < n && s.error->code == JSP_OK; k++) {
        int n_members = jsp_bits_count64(best[k]);
        kept += exp(node->score[best[k]] - node->max_score);
        if (n_members == JSP_MAX_CANDIDATES) continue;
        s.error->code = lost_beside(&s, node, best[k], &lost);
    }
    q->fraction[j] = isinf(lost) ? 1 : lost / (lost + kept);
}

jsp_status jsp_candidates_discarded(const jsp_model_setup *setup,
                                    const jsp_scores_config *config,
                                    const jsp_scores *scores, int n_threads,
                                    double *fraction, jsp_error *error) {
    int D = scores->n_variables;
    jsp_error *errors = jsp_memory_alloc((size_t)D, sizeof *errors);
    if (!errors) return jsp_status_no_memory(error, D * sizeof *errors, "candidates");
    job q = {.setup = setup,
             .config = config,
             .scores = scores,
             .D = D,
             .fraction = fraction,
             .errors = errors};
    jsp_parallel_for(n_threads, D, estimate_node, &q);
    jsp_status status = first_error(D, errors, error);
    jsp_memory_free(errors);
    return status;
}
