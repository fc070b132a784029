/* fuzz_scores.c - bytes are data, a model, a prior and constraints. Constraints must be
 * refused exactly when no graph fulfils them, and tables hold exactly the parent sets that
 * they allow. */
#include "fuzz.h"
#include "jsp_memory.h"
#include "jsp_scores.h"

enum { MOST = 5, ROWS = 8 };

typedef struct problem {
    int D, N;
    double x[ROWS * MOST], log_odds[MOST * MOST];
    int32_t codes[ROWS * MOST];
    uint8_t mask[ROWS * MOST], required[MOST * MOST];
    int n_states[MOST], max_parents[MOST], member[MOST][MOST], n[MOST];
    const int *list[MOST];
    int has_odds, has_required, has_limits;
} problem;

static void read_problem(fuzz_input *in, problem *p) {
    const int D = p->D = 1 + fuzz_below(in, MOST), N = p->N = 2 + fuzz_below(in, 7);
    p->has_odds = fuzz_byte(in) & 1;
    p->has_required = fuzz_byte(in) & 1;
    p->has_limits = fuzz_byte(in) & 1;
    for (int j = 0; j < D; j++) {
        const int some = fuzz_byte(in) > 180;
        p->n_states[j] = 1 + fuzz_below(in, 4);
        p->max_parents[j] = fuzz_below(in, D + 1);
        p->n[j] = 0;
        p->list[j] = p->member[j];
        for (int i = 0; i < D; i++) {
            const int choice = fuzz_byte(in);
            p->log_odds[i * D + j] = choice < 30   ? -INFINITY
                                     : choice < 45 ? INFINITY
                                                   : (choice - 128) * 0.1;
            p->required[i * D + j] = fuzz_byte(in) > 230;
            if (i != j && !(some && fuzz_byte(in) & 1)) p->member[j][p->n[j]++] = i;
        }
    }
    for (int k = 0; k < N * D; k++) {
        p->x[k] = fuzz_finite(in);
        p->codes[k] = fuzz_below(in, p->n_states[k % D]);
        p->mask[k] = fuzz_byte(in) > 200;
    }
}

static int is_required(const problem *p, int i, int j) {
    return i != j && ((p->has_required && p->required[i * p->D + j]) ||
                      (p->has_odds && p->log_odds[i * p->D + j] == INFINITY));
}

static int is_forbidden(const problem *p, int i, int j) {
    return p->has_odds && p->log_odds[i * p->D + j] == -INFINITY;
}

/* A set over the candidates of j that the constraints allow. */
static int is_allowed(const problem *p, int j, uint32_t S) {
    int size = 0;
    for (int i = 0, k = 0; i < p->D; i++) {
        const int listed = k < p->n[j] && p->member[j][k] == i;
        const int is_in = listed && S >> k & 1;
        k += listed;
        size += is_in;
        if (is_required(p, i, j) && !is_in) return 0;
        if (is_in && is_forbidden(p, i, j)) return 0;
    }
    return !p->has_limits || size <= p->max_parents[j];
}

static int required_are_acyclic(const problem *p) {
    unsigned placed = 0, before;
    do {
        before = placed;
        for (int j = 0; j < p->D; j++) {
            unsigned needs = 0;
            for (int i = 0; i < p->D; i++) needs |= (unsigned)is_required(p, i, j) << i;
            if (!(needs & ~placed)) placed |= 1u << j;
        }
    } while (placed != before);
    return placed == (1u << p->D) - 1;
}

static int is_possible(const problem *p) {
    for (int j = 0; j < p->D; j++) {
        int n = 0;
        for (uint32_t S = 0; S < 1u << p->n[j]; S++) n += is_allowed(p, j, S);
        if (!n) return 0;
    }
    return required_are_acyclic(p);
}

static void check_tables(const problem *p, const jsp_scores *scores) {
    uint8_t graph[MOST * MOST] = {0};
    uint32_t masks[MOST], wanted[MOST];
    for (int j = 0; j < p->D; j++) {
        const jsp_scores_node *node = &scores->node[j];
        MUST(node->K == p->n[j]);
        for (uint32_t S = 0; S < 1u << node->K; S++) {
            MUST(!isnan(node->score[S]) && node->score[S] < INFINITY);
            MUST((node->score[S] > -INFINITY) == is_allowed(p, j, S));
        }
        wanted[j] = node->required;
        for (int k = 0; k < node->K; k++) {
            graph[node->candidate[k] * p->D + j] = node->required >> k & 1;
        }
    }
    MUST(jsp_scores_masks_of_graph(scores, graph, masks) == 1);
    MUST(memcmp(masks, wanted, (size_t)p->D * sizeof *masks) == 0);
    MUST(isfinite(jsp_scores_log_reward(scores, masks)));
}

static jsp_status create_data(const problem *p, const jsp_model *model, int with_mask,
                              jsp_data **data, jsp_error *error) {
    const uint8_t *mask = with_mask ? p->mask : NULL;
    if (model->is_discrete) {
        return jsp_data_create_discrete(p->codes, mask, p->N, p->D, p->n_states, data,
                                        error);
    }
    return jsp_data_create(p->x, mask, p->N, p->D, 1, data, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const names[] = {"linear", "nig", "bge", "bdeu"};
    fuzz_input in = {bytes, bytes + size};
    static problem p;
    jsp_data *data = NULL;
    jsp_error error = {0};
    jsp_model_setup setup = {.model = jsp_model_find(names[fuzz_below(&in, 4)])};
    setup.intercept = fuzz_byte(&in) & 1;
    const int with_mask = fuzz_byte(&in) & 1;
    for (int k = 0; k < setup.model->n_fields; k++) {
        setup.field[k] = setup.model->fields[k].default_value;
        if (fuzz_byte(&in) > 200) setup.field[k] = fuzz_real(&in);
    }
    jsp_scores_config config = {.prior = fuzz_byte(&in) & 1 ? JSP_SCORES_FAIR
                                                            : JSP_SCORES_UNIFORM};
    read_problem(&in, &p);
    config.edge_log_odds = p.has_odds ? p.log_odds : NULL;
    config.required = p.has_required ? p.required : NULL;
    config.max_parents = p.has_limits ? p.max_parents : NULL;
    config.candidates = p.list;
    config.n_candidates = p.n;
    jsp_status status = create_data(&p, setup.model, with_mask, &data, &error);
    setup.data = data;
    if (status == JSP_OK) status = setup.model->check(&setup, &error);
    if (status == JSP_OK) {
        jsp_scores *scores = NULL;
        status = jsp_scores_create(&setup, &config, 1, &scores, &error);
        if (status == JSP_OK) {
            MUST(is_possible(&p));
            check_tables(&p, scores);
        } else {
            MUST(!scores);
            MUST(status == JSP_ERROR_NUMERICAL || !is_possible(&p));
        }
        jsp_scores_destroy(scores);
    }
    MUST(status == JSP_OK || (error.code == status && error.message[0]));
    jsp_data_destroy(data);
    MUST(jsp_memory_live() == 0);
    return 0;
}
