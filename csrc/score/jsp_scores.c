/* jsp_scores.c - building tables of local scores.
 *
 * log_sum is a zeta transform (for every A the sum over its subsets): K passes, each
 * adding the half without a candidate to the half with it. Scores of one node span up
 * to 10^5 nats and more, so a plain double underflows; log-add-exp would do but costs
 * an exp and a log per addition. Here each number is a mantissa (double, in [1, 2) at
 * first and never above 2^(K+1)) and a power of two (int64_t): an addition lines up the
 * two exponents with two bit operations, and one log per entry is taken at the end.
 */
#include "jsp_scores.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "jsp_evidences.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

#define LOG2 0.69314718055994530942

/* ---- zeta transform in extended range ---- */

/* Value = mantissa 2^exponent; zero has mantissa 0 and a very negative exponent. */
typedef struct extended {
    double *mantissa;  /* [2^K] */
    int64_t *exponent; /* [2^K] */
} extended;

#define EXPONENT_OF_ZERO (INT64_MIN / 8)

/* 2^d for d <= 0; 0 below the range of normal doubles. */
static inline double power_of_two(int64_t d) {
    uint64_t bits = d < -1022 ? 0 : (uint64_t)(d + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void to_extended(size_t n, const double *log_value, double shift, extended z) {
    for (size_t S = 0; S < n; S++) {
        double x = (log_value[S] - shift) / LOG2;
        if (!(x > -1e18)) {
            z.mantissa[S] = 0;
            z.exponent[S] = EXPONENT_OF_ZERO;
        } else {
            double whole = floor(x);
            z.mantissa[S] = exp((x - whole) * LOG2);
            z.exponent[S] = (int64_t)whole;
        }
    }
}

/* (m, e)[k] += (m, e)[k - half] for k in [half, 2 half) */
static void add_half(size_t half, double *m, int64_t *e) {
    double *mh = m + half;
    int64_t *eh = e + half;
    for (size_t k = 0; k < half; k++) {
        int64_t top = e[k] > eh[k] ? e[k] : eh[k];
        mh[k] = mh[k] * power_of_two(eh[k] - top) + m[k] * power_of_two(e[k] - top);
        eh[k] = top;
    }
}

/* Blocks that fit the cache go through all their passes first. */
static void zeta(int K, extended z) {
    size_t n = (size_t)1 << K, block = n < 1024 ? n : 1024;
    for (size_t begin = 0; begin < n; begin += block) {
        for (size_t half = 1; half < block; half *= 2) {
            for (size_t S = begin; S < begin + block; S += 2 * half) {
                add_half(half, z.mantissa + S, z.exponent + S);
            }
        }
    }
    for (size_t half = block; half < n; half *= 2) {
        for (size_t S = 0; S < n; S += 2 * half) {
            add_half(half, z.mantissa + S, z.exponent + S);
        }
    }
}

/* From score: max_score, required, log_term, log_sum. */
static jsp_status derive(jsp_scores_node *node, int j, extended z, jsp_error *error) {
    size_t n = (size_t)1 << node->K;
    double max = -INFINITY;
    uint32_t common = (uint32_t)(n - 1);
    for (size_t S = 0; S < n; S++) {
        double value = node->score[S];
        if (!(value < INFINITY)) {
            return jsp_status_set(error, JSP_ERROR_NUMERICAL,
                                  "a local score of variable %d is NaN or infinite", j);
        }
        if (value > max) max = value;
        if (value > -INFINITY) common &= (uint32_t)S;
    }
    if (!(max > -INFINITY)) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "variable %d has no allowed parent set", j);
    }
    if (node->score[common] == -INFINITY) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "the common members of all allowed parent sets of variable "
            "%d must be an allowed set",
            j);
    }
    node->max_score = max;
    node->required = common;
    for (size_t S = 0; S < n; S++) node->log_term[S] = (float)(node->score[S] - max);
    to_extended(n, node->score, max, z);
    zeta(node->K, z);
    for (size_t S = 0; S < n; S++) {
        node->log_sum[S] = (float)(log(z.mantissa[S]) + LOG2 * (double)z.exponent[S]);
    }
    return JSP_OK;
}

/* ---- building ---- */

double jsp_scores_log_prior(jsp_scores_prior prior, int n_variables, int n_parents) {
    double value = 0;
    if (prior == JSP_SCORES_FAIR) { /* -log C(D - 1, p) */
        for (int q = 0; q < n_parents; q++) {
            value -= log((n_variables - 1.0 - q) / (q + 1.0));
        }
    }
    return value;
}

int jsp_scores_is_required(const jsp_scores_config *config, int n_variables, int parent,
                           int child) {
    size_t cell = (size_t)parent * n_variables + child;
    if (parent == child) return 0;
    if (config->required && config->required[cell]) return 1;
    return config->edge_log_odds && config->edge_log_odds[cell] == INFINITY;
}

/* Log odds that count in a weight. */
static double log_odds_of(const jsp_scores_config *config, int D, int i, int j) {
    double value = config->edge_log_odds ? config->edge_log_odds[(size_t)i * D + j] : 0;
    return value == INFINITY ? 0 : value;
}

int jsp_scores_limit(const jsp_scores_config *config, int n_variables, int node) {
    int most = n_variables - 1;
    int limit = config->max_parents ? config->max_parents[node] : most;
    return limit < most ? limit : most;
}

double jsp_scores_log_weight(const jsp_scores_config *config, int n_variables, int node,
                             int n_parents, const int *parents) {
    int D = n_variables, missing = 0;
    if (n_parents > jsp_scores_limit(config, D, node)) return -INFINITY;
    for (int i = 0; i < D; i++) missing += jsp_scores_is_required(config, D, i, node);
    double value = jsp_scores_log_prior(config->prior, D, n_parents);
    for (int k = 0; k < n_parents; k++) {
        missing -= jsp_scores_is_required(config, D, parents[k], node);
        value += log_odds_of(config, D, parents[k], node);
    }
    return missing ? -INFINITY : value;
}

static jsp_status check_candidates(int D, const int *const *candidates,
                                   const int *n_candidates, jsp_error *error) {
    if (D < 1 || D > JSP_MAX_VARIABLES) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "the number of variables must be between 1 and %d, got %d",
            JSP_MAX_VARIABLES, D);
    }
    for (int j = 0; j < D; j++) {
        int K = n_candidates[j], last = -1;
        if (K < 0 || K > JSP_MAX_CANDIDATES) {
            return jsp_status_set(
                error, JSP_ERROR_VALUE,
                "variable %d has %d candidate parents; between 0 and %d "
                "are possible",
                j, K, JSP_MAX_CANDIDATES);
        }
        for (int k = 0; k < K; k++) {
            int i = candidates[j][k];
            if (i <= last || i >= D || i == j) {
                return jsp_status_set(
                    error, JSP_ERROR_VALUE,
                    "candidate parents of variable %d must be increasing "
                    "indices of other variables, got %d",
                    j, i);
            }
            last = i;
        }
    }
    return JSP_OK;
}

/* What the config says about one node must fit together. */
static jsp_status check_node(const jsp_scores_config *config, int D, int j,
                             jsp_error *error) {
    int limit = jsp_scores_limit(config, D, j), n_required = 0;
    if (limit < 0) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "max_parents of variable %d must not be negative, got %d",
                              j, limit);
    }
    for (int i = 0; i < D; i++) {
        if (i == j) continue;
        double odds = log_odds_of(config, D, i, j);
        if (isnan(odds)) {
            return jsp_status_set(error, JSP_ERROR_VALUE,
                                  "the log odds of edge %d -> %d are NaN", i, j);
        }
        if (!jsp_scores_is_required(config, D, i, j)) continue;
        int k = 0;
        while (k < config->n_candidates[j] && config->candidates[j][k] != i) k++;
        if (k == config->n_candidates[j] || odds == -INFINITY) {
            return jsp_status_set(error, JSP_ERROR_VALUE,
                                  "edge %d -> %d is required and %s", i, j,
                                  odds == -INFINITY ? "forbidden"
                                                    : "not among the candidates");
        }
        n_required++;
    }
    if (n_required <= limit) return JSP_OK;
    return jsp_status_set(
        error, JSP_ERROR_VALUE,
        "variable %d has %d required parents, more than max_parents = "
        "%d",
        j, n_required, limit);
}

/* Takes away nodes whose required parents are all gone until none is left. */
static jsp_status check_acyclic(const jsp_scores *scores, jsp_error *error) {
    int D = scores->n_variables, removed = 1;
    jsp_bits left = jsp_bits_first(D);
    while (removed) {
        removed = 0;
        for (int j = 0; j < D; j++) {
            const jsp_scores_node *node = &scores->node[j];
            int held = !jsp_bits_has(left, j);
            for (uint32_t S = node->required; S; S &= S - 1) {
                held |= jsp_bits_has(left, node->candidate[jsp_bits_lowest64(S)]);
            }
            if (held) continue;
            jsp_bits_remove(&left, j);
            removed = 1;
        }
    }
    int first = jsp_bits_pop(&left);
    if (first < 0) return JSP_OK;
    return jsp_status_set(error, JSP_ERROR_VALUE,
                          "required edges form a cycle at or above variable %d", first);
}

size_t jsp_scores_size(int n_variables, const int *n_candidates) {
    size_t D = (size_t)n_variables;
    size_t size = sizeof(jsp_scores) + D * sizeof(jsp_scores_node) + D * D;
    for (int j = 0; j < n_variables; j++) {
        size_t n = (size_t)1 << n_candidates[j];
        size +=
            n * (sizeof(double) + 2 * sizeof(float)) + n_candidates[j] * sizeof(int);
    }
    return size;
}

/* Bytes of a table of doubles and two of floats. */
static size_t tables_size(int K) {
    return jsp_memory_pad(sizeof(double) << K) + 2 * jsp_memory_pad(sizeof(float) << K);
}

/* Lays the tables of a node out on `memory`; returns what follows. */
static char *place_node(jsp_scores_node *node, char *memory) {
    node->score = jsp_memory_take(&memory, sizeof(double) << node->K);
    node->log_term = jsp_memory_take(&memory, sizeof(float) << node->K);
    node->log_sum = jsp_memory_take(&memory, sizeof(float) << node->K);
    return memory;
}

/* All tables lie in one block: large blocks get large pages, and chains and walks look at
 * random entries. */
static int allocate_tables(jsp_scores *scores, const int *n_candidates) {
    size_t n_bytes = 0, n_total = 0;
    for (int j = 0; j < scores->n_variables; j++) {
        n_bytes += tables_size(n_candidates[j]);
        n_total += (size_t)n_candidates[j];
    }
    scores->tables = jsp_memory_alloc(n_bytes, 1);
    scores->candidates = jsp_memory_alloc(n_total, sizeof(int));
    if (!scores->tables || !scores->candidates) return 0;
    char *memory = scores->tables;
    int *candidate = scores->candidates;
    for (int j = 0; j < scores->n_variables; j++) {
        jsp_scores_node *node = &scores->node[j];
        node->K = n_candidates[j];
        node->candidate = candidate;
        candidate += node->K;
        memory = place_node(node, memory);
    }
    return 1;
}

/* The tables without their numbers; NULL when memory ran out. */
static jsp_scores *allocate(int D, const int *const *candidates,
                            const int *n_candidates) {
    jsp_scores *scores = jsp_memory_alloc(1, sizeof *scores);
    if (!scores) return NULL;
    scores->n_variables = D;
    scores->n_bytes = jsp_scores_size(D, n_candidates);
    scores->local_index = jsp_memory_alloc((size_t)D * D, sizeof(int8_t));
    scores->node = jsp_memory_alloc((size_t)D, sizeof *scores->node);
    if (!scores->local_index || !scores->node ||
        !allocate_tables(scores, n_candidates)) {
        jsp_scores_destroy(scores);
        return NULL;
    }
    memset(scores->local_index, -1, (size_t)D * D);
    for (int j = 0; j < D; j++) {
        for (int k = 0; k < n_candidates[j]; k++) {
            scores->node[j].candidate[k] = candidates[j][k];
            scores->local_index[candidates[j][k] * D + j] = (int8_t)k;
        }
    }
    return scores;
}

/* Scratch for one zeta transform per worker. */
typedef struct scratch {
    double *mantissa;  /* [n_workers, size] owned */
    int64_t *exponent; /* [n_workers, size] owned */
    size_t size;
} scratch;

static int allocate_scratch(scratch *s, int n_workers, int D, const int *n_candidates) {
    int K = 0;
    for (int j = 0; j < D; j++) K = n_candidates[j] > K ? n_candidates[j] : K;
    s->size = (size_t)1 << K;
    s->mantissa = jsp_memory_alloc((size_t)n_workers * s->size, sizeof(double));
    s->exponent = jsp_memory_alloc((size_t)n_workers * s->size, sizeof(int64_t));
    return s->mantissa && s->exponent;
}

static extended scratch_of(const scratch *s, int worker) {
    extended z = {s->mantissa + (size_t)worker * s->size,
                  s->exponent + (size_t)worker * s->size};
    return z;
}

static void free_scratch(scratch *s) {
    jsp_memory_free(s->mantissa);
    jsp_memory_free(s->exponent);
}

typedef struct job {
    const jsp_model_setup *setup;
    const jsp_scores_config *config;
    jsp_scores *scores;
    scratch scratch;
    jsp_error *errors; /* [D], so that the first node in order is reported */
    double log_prior[JSP_MAX_VARIABLES];
    const double *evidences; /* list of jsp_evidences.h, or NULL: the model walks */
    double *fitted;          /* the same when they were fitted here; owned */
    atomic_int n_done;       /* nodes */
} job;

/* To be called before a task: whether it shall be left out. */
static int is_stopped(job *q) {
    const double share =
        q->fitted ? 1.0 : (double)atomic_load(&q->n_done) / q->scores->n_variables;
    atomic_fetch_add(&q->n_done, 1);
    return jsp_pulse_stops(q->config->pulse, share);
}

/* Adds log prior weights of a node's sets; what is not allowed becomes -inf. */
static void add_log_weights(const job *q, int j, jsp_scores_node *node) {
    int D = q->scores->n_variables;
    uint32_t required = 0;
    size_t n = (size_t)1 << node->K;
    for (size_t S = 0; S < n; S++) {
        node->score[S] += q->log_prior[jsp_bits_count64(S)];
    }
    for (int k = 0; k < node->K; k++) {
        size_t half = (size_t)1 << k;
        int i = node->candidate[k];
        double odds = log_odds_of(q->config, D, i, j);
        if (jsp_scores_is_required(q->config, D, i, j)) required |= (uint32_t)half;
        for (size_t S = half; odds != 0 && S < n; S = (S + 1) | half) {
            node->score[S] += odds;
        }
    }
    for (size_t S = 0; required && S < n; S++) {
        if ((S & required) != required) node->score[S] = -INFINITY;
    }
}

static void build_node(void *context, int j, int worker) {
    job *q = context;
    jsp_scores_node *node = &q->scores->node[j];
    jsp_error *error = &q->errors[j];
    const int D = q->scores->n_variables;
    if (is_stopped(q)) return;
    if (q->evidences) {
        const double *part = q->evidences;
        for (int i = 0; i < j; i++) part += jsp_evidences_count_node(q->config, D, i);
        jsp_evidences_place(q->config, D, j, part, node->score);
    } else {
        error->code = q->setup->model->tabulate(q->setup, j, node->K, node->candidate,
                                                jsp_scores_limit(q->config, D, j),
                                                node->score, error);
    }
    if (error->code != JSP_OK) return;
    add_log_weights(q, j, node);
    error->code = derive(node, j, scratch_of(&q->scratch, worker), error);
}

static jsp_status first_error(int D, const jsp_error *errors, jsp_error *error) {
    for (int j = 0; j < D; j++) {
        if (errors[j].code == JSP_OK) continue;
        if (error) *error = errors[j];
        return errors[j].code;
    }
    return JSP_OK;
}

jsp_status jsp_scores_check(const jsp_model_setup *setup,
                            const jsp_scores_config *config, jsp_error *error) {
    int D = jsp_data_n_variables(setup->data);
    jsp_status status =
        check_candidates(D, config->candidates, config->n_candidates, error);
    if (status == JSP_OK &&
        setup->model->is_discrete != jsp_data_is_discrete(setup->data)) {
        status =
            jsp_status_set(error, JSP_ERROR_VALUE, "the %s model needs %s",
                           setup->model->name,
                           setup->model->is_discrete ? "discrete data" : "numbers");
    }
    if (status == JSP_OK) status = setup->model->check(setup, error);
    for (int j = 0; j < D && status == JSP_OK; j++) {
        status = check_node(config, D, j, error);
    }
    return status;
}

/* The list of evidences, given or fitted; none for models that walk. */
static jsp_status get_evidences(job *q, int n_threads, jsp_error *error) {
    const int D = q->scores->n_variables;
    q->evidences = q->config->evidences;
    if (q->evidences || !q->setup->model->tabulate_sets) return JSP_OK;
    const size_t n = jsp_evidences_count(q->config, D);
    q->evidences = q->fitted = jsp_memory_alloc(n, sizeof *q->fitted);
    if (!q->fitted) return jsp_status_no_memory(error, n * sizeof(double), "evidences");
    return jsp_evidences_fit(q->setup, q->config, 0, n, n_threads, q->fitted, error);
}

jsp_status jsp_scores_create(const jsp_model_setup *setup,
                             const jsp_scores_config *config, int n_threads,
                             jsp_scores **out, jsp_error *error) {
    int D = jsp_data_n_variables(setup->data);
    const int *n_candidates = config->n_candidates;
    *out = NULL;
    jsp_status status = jsp_scores_check(setup, config, error);
    if (status != JSP_OK) return status;
    job q = {.setup = setup,
             .config = config,
             .scores = allocate(D, config->candidates, n_candidates)};
    int n_workers = n_threads < 1 ? 1 : n_threads < D ? n_threads : D;
    if (q.scores) q.errors = jsp_memory_alloc((size_t)D, sizeof(jsp_error));
    if (!q.errors || !allocate_scratch(&q.scratch, n_workers, D, n_candidates)) {
        status = jsp_status_no_memory(error, jsp_scores_size(D, n_candidates),
                                      "tables of local scores");
        goto done;
    }
    for (int p = 0; p < D; p++) {
        q.log_prior[p] = jsp_scores_log_prior(config->prior, D, p);
    }
    status = get_evidences(&q, n_threads, error);
    if (status != JSP_OK) goto done;
    jsp_parallel_for(n_workers, D, build_node, &q);
    status = first_error(D, q.errors, error);
    if (status == JSP_OK && jsp_pulse_stopped(config->pulse)) {
        status = jsp_status_set(error, JSP_INTERRUPTED, "tables were not finished");
    }
    if (status == JSP_OK) status = check_acyclic(q.scores, error);
done:
    free_scratch(&q.scratch);
    jsp_memory_free(q.errors);
    jsp_memory_free(q.fitted);
    if (status == JSP_OK) {
        *out = q.scores;
    } else {
        jsp_scores_destroy(q.scores);
    }
    return status;
}

jsp_status jsp_scores_create_from_tables(int n_variables, const int *const *candidates,
                                         const int *n_candidates,
                                         const double *const *table, jsp_scores **out,
                                         jsp_error *error) {
    *out = NULL;
    jsp_status status = check_candidates(n_variables, candidates, n_candidates, error);
    if (status != JSP_OK) return status;
    scratch s = {0};
    jsp_scores *scores = allocate(n_variables, candidates, n_candidates);
    if (!scores || !allocate_scratch(&s, 1, n_variables, n_candidates)) {
        status = jsp_status_no_memory(error, jsp_scores_size(n_variables, n_candidates),
                                      "tables of local scores");
    }
    for (int j = 0; j < n_variables && status == JSP_OK; j++) {
        jsp_scores_node *node = &scores->node[j];
        memcpy(node->score, table[j], sizeof(double) << node->K);
        status = derive(node, j, scratch_of(&s, 0), error);
    }
    if (status == JSP_OK) status = check_acyclic(scores, error);
    free_scratch(&s);
    if (status == JSP_OK) {
        *out = scores;
    } else {
        jsp_scores_destroy(scores);
    }
    return status;
}

void jsp_scores_destroy(jsp_scores *scores) {
    if (!scores) return;
    jsp_memory_free(scores->tables);
    jsp_memory_free(scores->candidates);
    jsp_memory_free(scores->node);
    jsp_memory_free(scores->local_index);
    jsp_memory_free(scores);
}

/* ---- graphs ---- */

double jsp_scores_log_reward(const jsp_scores *scores, const uint32_t *parents) {
    double sum = 0;
    for (int j = 0; j < scores->n_variables; j++) {
        sum += scores->node[j].score[parents[j]];
    }
    return sum;
}

int jsp_scores_masks_of_graph(const jsp_scores *scores, const uint8_t *graph,
                              uint32_t *parents) {
    int D = scores->n_variables, ok = 1;
    for (int j = 0; j < D; j++) parents[j] = 0;
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
            if (!graph[(size_t)i * D + j]) continue;
            int bit = scores->local_index[(size_t)i * D + j];
            if (bit < 0) {
                ok = 0;
            } else {
                parents[j] |= (uint32_t)1 << bit;
            }
        }
    }
    for (int j = 0; j < D; j++) {
        if (scores->node[j].score[parents[j]] == -INFINITY) ok = 0;
    }
    return ok;
}
