/* fuzz_tables.c - bytes are candidate lists and tables of scores, nonsense included. Either
 * they are refused, or sums over parent sets and over all DAGs are those of enumeration. */
#include "fuzz.h"
#include "jsp_exact.h"
#include "jsp_memory.h"
#include "jsp_odds.h"

enum { MOST = 4, SETS = 1 << (MOST - 1) };

typedef struct tables {
    int D;
    int member[MOST][MOST];
    const int *list[MOST];
    int n[MOST];
    double value[MOST][SETS];
    const double *table[MOST];
} tables;

static void read_tables(fuzz_input *in, tables *t) {
    t->D = 1 + fuzz_below(in, MOST);
    for (int j = 0; j < t->D; j++) {
        const int shape = fuzz_byte(in);
        t->n[j] = 0;
        for (int i = 0; i < t->D; i++) {
            if (i != j && (shape < 200 || fuzz_byte(in) & 1)) {
                t->member[j][t->n[j]++] = i;
            }
        }
        if (shape >= 250 && t->n[j]) { /* a member that may be anything */
            t->member[j][fuzz_below(in, t->n[j])] = fuzz_byte(in) - 100;
        }
        for (int S = 0; S < 1 << t->n[j]; S++) {
            const double value = fuzz_real(in); /* sums do not reach beyond 7e17 nats */
            t->value[j][S] = isfinite(value) ? fmin(fmax(value, -1e15), 1e15) : value;
        }
        t->list[j] = t->member[j];
        t->table[j] = t->value[j];
    }
}

static double add_logs(double a, double b) {
    const double top = fmax(a, b);
    return isinf(top) ? top : top + log1p(exp(fmin(a, b) - top));
}

static double enumerate(const jsp_scores_node *node, uint32_t S, uint32_t U) {
    double sum = -INFINITY;
    for (uint32_t x = 0; x < (uint32_t)1 << node->K; x++) {
        if ((x & S) == S && !(x & ~(S | U))) {
            sum = add_logs(sum, node->score[x] - node->max_score);
        }
    }
    return sum;
}

static void check_sums(const jsp_scores *scores) {
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        const uint32_t full = ((uint32_t)1 << node->K) - 1;
        MUST(isfinite(node->max_score));
        for (uint32_t S = 0; S <= full; S++) {
            MUST(node->score[S] <= node->max_score);
            const double twin = enumerate(node, 0, S), got = node->log_sum[S];
            MUST(got == twin || fabs(got - twin) <= 1e-5 + 1e-6 * fabs(twin));
            for (uint32_t U = full & ~S;; U = (U - 1) & full & ~S) {
                const double sum = jsp_odds_restricted_sum(scores, j, S, U);
                const double all = enumerate(node, S, U);
                MUST(!isnan(sum));
                MUST((sum == -INFINITY) == (all == -INFINITY));
                if (isfinite(all)) MUST(fabs(sum - all) <= 0.02 + 1e-5 * fabs(all));
                if (!U) break;
            }
        }
    }
}

static int is_acyclic(int D, const jsp_scores *scores, const uint32_t *parents) {
    unsigned placed = 0, before;
    do {
        before = placed;
        for (int j = 0; j < D; j++) {
            unsigned needs = 0;
            for (int k = 0; k < scores->node[j].K; k++) {
                if (parents[j] >> k & 1) needs |= 1u << scores->node[j].candidate[k];
            }
            if (!(needs & ~placed)) placed |= 1u << j;
        }
    } while (placed != before);
    return placed == (1u << D) - 1;
}

/* log Z, and the largest score of a DAG. */
static double sum_dags(const jsp_scores *scores, double *best) {
    const int D = scores->n_variables;
    uint32_t parents[MOST] = {0};
    double sum = *best = -INFINITY;
    for (;;) {
        if (is_acyclic(D, scores, parents)) {
            const double reward = jsp_scores_log_reward(scores, parents);
            sum = add_logs(sum, reward);
            *best = fmax(*best, reward);
        }
        int j = 0;
        while (j < D && ++parents[j] >> scores->node[j].K) parents[j++] = 0;
        if (j == D) return sum;
    }
}

static void check_exact(const jsp_scores *scores) {
    const int D = scores->n_variables;
    double best, edges[MOST * MOST], ceiling = 0, scale = 1;
    const double log_z = sum_dags(scores, &best);
    jsp_exact *exact;
    MUST(jsp_exact_create(scores, JSP_EXACT_POSTERIOR, 1, &exact, NULL) == JSP_OK);
    while (jsp_exact_step(exact, 1000) < 1) continue;
    for (int j = 0; j < D; j++) {
        ceiling += scores->node[j].max_score;
        scale += fabs(scores->node[j].max_score);
    }
    const jsp_exact_report report = jsp_exact_get_report(exact);
    if (report.out_of_range) MUST(ceiling - log_z > 1e6);
    if (!report.out_of_range) {
        const double got = jsp_exact_log_partition(exact);
        MUST(got == log_z || fabs(got - log_z) <= 1e-9 * (scale + fabs(log_z)));
        jsp_exact_edges(exact, edges);
        for (int k = 0; k < D * D; k++) MUST(edges[k] >= 0 && edges[k] <= 1 + 1e-9);
        uint32_t masks[20 * MOST];
        MUST(jsp_exact_sample(exact, 20, 1, 0, 1, masks, NULL, NULL) == JSP_OK);
        for (int s = 0; s < 20; s++) {
            MUST(is_acyclic(D, scores, masks + s * D));
            MUST(jsp_scores_log_reward(scores, masks + s * D) > -INFINITY);
        }
    }
    jsp_exact_destroy(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_input in = {bytes, bytes + size};
    tables t;
    jsp_scores *scores = NULL;
    jsp_error error = {0};
    read_tables(&in, &t);
    const jsp_status status =
        jsp_scores_create_from_tables(t.D, t.list, t.n, t.table, &scores, &error);
    if (status == JSP_OK) {
        check_sums(scores);
        check_exact(scores);
        jsp_scores_destroy(scores);
    } else {
        MUST(!scores && error.code == status && error.message[0]);
    }
    MUST(jsp_memory_live() == 0);
    return 0;
}
