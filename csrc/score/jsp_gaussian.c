/* jsp_gaussian.c - log determinants and residuals of all parent sets, and of one.
 *
 * Table: a depth-first walk over subsets that eliminates one candidate at a time. Level
 * p holds the Schur complement of p chosen candidates, restricted to candidates below
 * the last chosen one: those are the only ones that can still be added. Choosing v then
 * costs v^2 / 2 operations on the rest, and since half of all subsets end in candidate
 * 0, a quarter in 1 and so on, the mean cost of a subset is a handful of operations,
 * whatever K is. Adding a Cholesky row per subset, the obvious way, costs p^2 / 2 and
 * was several times slower at K = 19. Candidates are chosen from high to low bits so
 * that the innermost subsets are neighbours in memory. Elimination of a positive
 * definite matrix needs no pivoting; a pivot that lost too many digits to cancellation is
 * refused.
 *
 * Means: with A = C + w m m^T, g = 1 + w m_S^T C_SS^-1 m_S and h = m_j - m_S^T C_SS^-1
 * C_Sj (m_j is the mean of the node)
 *     det A_SS = g det C_SS,   residual = residual of C + (w / g) h^2,
 * and what is left of A after S is what is left of C plus (w / g) times the product of
 * what is left of m. So a level is C, b and m apart and the number w / g. Adding w m m^T
 * to C first lost all digits of the scatter once means reach 1e7 standard deviations.
 *
 * One set: Cholesky of C, also the independent second opinion on the table; the mean is
 * then worked into the factor, column by column.
 */
#include "jsp_gaussian.h"

#include <math.h>

#include "jsp_memory.h"

/* Start of row i in a packed lower triangle. */
static inline size_t row_of(int i) {
    return (size_t)i * (i + 1) / 2;
}

void jsp_gaussian_build(const jsp_gaussian_form *form, const jsp_data *data, int node,
                        int n, const int *parents, double *C, double *b, double *m,
                        jsp_gaussian_child *child) {
    size_t D = (size_t)jsp_data_n_variables(data), j = (size_t)node;
    jsp_data_moments moments = jsp_data_node(data, node);
    for (int i = 0; i < n; i++) {
        const double *row = moments.scatter + (size_t)parents[i] * D;
        for (int k = 0; k <= i; k++) C[row_of(i) + k] = form->scale * row[parents[k]];
        C[row_of(i) + i] += form->ridge;
        b[i] = form->scale * row[j];
        m[i] = moments.mean[parents[i]];
    }
    child->residual = form->scale * moments.scatter[j * D + j] + form->child_ridge;
    child->mean = moments.mean[j];
    child->weight = form->scale * form->mean_weight;
}

jsp_status jsp_gaussian_refuse(int node, jsp_error *error) {
    return jsp_status_set(
        error, JSP_ERROR_NUMERICAL,
        "evidences of variable %d would be lost to rounding: some of its possible "
        "parents "
        "are (nearly) linear combinations of each other in the rows that count, or the "
        "numbers are too large for the prior; rescale the columns "
        "(preprocess='standardize'), drop some, or limit max_parents",
        node);
}

/* ---- all subsets ---- */

/* Row u of a level: b[u], m[u], then C[u, 0..u], so that one loop eliminates all. */
enum { COLUMN_B, COLUMN_M, COLUMN_C };

static inline size_t line_of(int u) {
    return row_of(u) + (size_t)u * COLUMN_C;
}

typedef struct walk {
    int max_parents;
    size_t level_size; /* numbers per level: K lines */
    double *levels;    /* [K + 1, level_size] */
    double smallest[JSP_MAX_CANDIDATES];
    double smallest_residual;
    jsp_gaussian_evidence evidence;
    const void *context;
    double *log_evidence;
} walk;

/* Level `next` = what is left of `level` after choosing v, below candidate v. */
static void eliminate(const double *level, int v, double *next) {
    const double *restrict line = level + line_of(v);
    double inverse = 1 / line[COLUMN_C + v];
    for (int u = 0; u < v; u++) {
        double factor = line[COLUMN_C + u] * inverse;
        const double *restrict source = level + line_of(u);
        double *restrict target = next + line_of(u);
        for (int k = 0; k <= COLUMN_C + u; k++) {
            target[k] = source[k] - factor * line[k];
        }
    }
}

/* All proper supersets of S made with candidates below `end`, without products of means;
 * -1 = not definite. */
static int descend(const walk *w, int depth, int end, uint32_t S, double log_det,
                   double residual) {
    const double *level = w->levels + depth * w->level_size;
    if (depth == w->max_parents) return 0;
    for (int v = 0; v < end; v++) {
        const double *line = level + line_of(v);
        double pivot = line[COLUMN_C + v], b = line[COLUMN_B];
        if (!(pivot > w->smallest[v])) return -1;
        double log_det_v = log_det + log(pivot);
        double residual_v = residual - b * (b / pivot);
        double value = w->evidence(w->context, depth + 1, log_det_v, residual_v);
        if (!isfinite(value) || residual_v < w->smallest_residual) return -1;
        uint32_t S_v = S | (uint32_t)1 << v;
        w->log_evidence[S_v] = value;
        if (v == 0) continue;
        eliminate(level, v, w->levels + (depth + 1) * w->level_size);
        if (descend(w, depth + 1, v, S_v, log_det_v, residual_v)) return -1;
    }
    return 0;
}

/* The same with products of means, which takes a fifth longer. */
static int descend_with_means(const walk *w, int depth, int end, uint32_t S,
                              double log_det, jsp_gaussian_child child) {
    const double *level = w->levels + depth * w->level_size;
    if (depth == w->max_parents) return 0;
    for (int v = 0; v < end; v++) {
        const double *line = level + line_of(v);
        double d = line[COLUMN_C + v], pivot;
        if (!(d > w->smallest[v])) return -1;
        jsp_gaussian_child child_v =
            jsp_gaussian_choose(child, d, line[COLUMN_B], line[COLUMN_M], &pivot);
        double log_det_v = log_det + log(pivot);
        double residual_v = jsp_gaussian_residual(child_v);
        double value = w->evidence(w->context, depth + 1, log_det_v, residual_v);
        if (!isfinite(value) || residual_v < w->smallest_residual) return -1;
        uint32_t S_v = S | (uint32_t)1 << v;
        w->log_evidence[S_v] = value;
        if (v == 0) continue;
        eliminate(level, v, w->levels + (depth + 1) * w->level_size);
        if (descend_with_means(w, depth + 1, v, S_v, log_det_v, child_v)) return -1;
    }
    return 0;
}

/* Level 0; level 1 lends the place for its parts. */
static jsp_gaussian_child fill_root(walk *w, const jsp_gaussian_form *form,
                                    const jsp_data *data, int node, int K,
                                    const int *candidates) {
    double *C = w->levels + w->level_size, *b = C + row_of(K), *m = b + K;
    jsp_gaussian_child child;
    jsp_gaussian_build(form, data, node, K, candidates, C, b, m, &child);
    for (int v = 0; v < K; v++) {
        double *line = w->levels + line_of(v);
        const double *row = C + row_of(v);
        line[COLUMN_B] = b[v];
        line[COLUMN_M] = m[v];
        for (int k = 0; k <= v; k++) line[COLUMN_C + k] = row[k];
        w->smallest[v] = jsp_gaussian_smallest_pivot(row[v], form->ridge);
    }
    w->smallest_residual = jsp_gaussian_smallest_residual(form, child.residual);
    return child;
}

jsp_status jsp_gaussian_tabulate(const jsp_gaussian_form *form, const jsp_data *data,
                                 int node, int K, const int *candidates,
                                 int max_parents, jsp_gaussian_evidence evidence,
                                 const void *context, double *log_evidence,
                                 jsp_error *error) {
    walk w = {.max_parents = max_parents,
              .level_size = line_of(K),
              .evidence = evidence,
              .context = context,
              .log_evidence = log_evidence};
    size_t length = (size_t)(K + 1) * w.level_size;
    w.levels = jsp_memory_alloc(length, sizeof(double));
    if (!w.levels) {
        return jsp_status_no_memory(error, length * sizeof(double), "a table");
    }
    jsp_gaussian_child child = fill_root(&w, form, data, node, K, candidates);
    if (max_parents < K) {
        for (size_t S = 0; S < (size_t)1 << K; S++) log_evidence[S] = -INFINITY;
    }
    log_evidence[0] = evidence(context, 0, 0, jsp_gaussian_residual(child));
    int failed = !isfinite(log_evidence[0]) ||
                 (child.weight == 0 ? descend(&w, 0, K, 0, 0, child.residual)
                                    : descend_with_means(&w, 0, K, 0, 0, child));
    jsp_memory_free(w.levels);
    return failed ? jsp_gaussian_refuse(node, error) : JSP_OK;
}

/* ---- one parent set ---- */

/* C = L L^T in place on the packed triangle; -1 when not definite. */
static int factorize(int n, double ridge, double *C) {
    for (int i = 0; i < n; i++) {
        double *row = C + row_of(i);
        double smallest = jsp_gaussian_smallest_pivot(row[i], ridge);
        for (int k = 0; k < i; k++) {
            const double *other = C + row_of(k);
            double value = row[k];
            for (int m = 0; m < k; m++) value -= row[m] * other[m];
            row[k] = value / other[k];
        }
        double pivot = row[i];
        for (int m = 0; m < i; m++) pivot -= row[m] * row[m];
        if (!(pivot > smallest)) return -1;
        row[i] = sqrt(pivot);
    }
    return 0;
}

/* The factor of C becomes that of A = C + w m m^T, and b becomes L^-1 times the b of A;
 * m is used up. Column k before the step is that of C after elimination of the columns
 * before it, divided by the root of its pivot. -1 when a number overflows. */
static int join_means(int n, double *L, double *b, double *m, jsp_gaussian_child *child,
                      double *log_det) {
    *log_det = 0;
    for (int k = 0; k < n; k++) {
        double root_C = L[row_of(k) + k], d = root_C * root_C, w = child->weight, pivot;
        double m_k = m[k], b_k = b[k], numerator = b_k + w * m_k * child->mean;
        *child = jsp_gaussian_choose(*child, d, b_k, m_k, &pivot);
        if (!isfinite(pivot)) return -1;
        double root = sqrt(pivot);
        L[row_of(k) + k] = root;
        b[k] = numerator / root;
        *log_det += log(pivot);
        for (int i = k + 1; i < n; i++) {
            double *row = L + row_of(i), factor = row[k] / root_C;
            row[k] = (row[k] * root_C + w * m[i] * m_k) / root;
            b[i] -= factor * b_k;
            m[i] -= factor * m_k;
        }
    }
    return 0;
}

/* x = L^-T x */
static void solve_transposed(int n, const double *L, double *x) {
    for (int i = n - 1; i >= 0; i--) {
        const double *row = L + row_of(i);
        x[i] /= row[i];
        for (int k = 0; k < i; k++) x[k] -= row[k] * x[i];
    }
}

jsp_status jsp_gaussian_solve(const jsp_gaussian_form *form, const jsp_data *data,
                              int node, int n_parents, const int *parents,
                              jsp_gaussian_solution *solution, jsp_error *error) {
    if (n_parents < 0 || n_parents > JSP_MAX_PARENTS) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "variable %d cannot have %d parents, at most %d", node,
                              n_parents, JSP_MAX_PARENTS);
    }
    double *L = solution->factor, *x = solution->mean, m[JSP_MAX_PARENTS];
    jsp_gaussian_child child;
    solution->n_parents = n_parents;
    jsp_gaussian_build(form, data, node, n_parents, parents, L, x, m, &child);
    double whole = child.residual;
    if (factorize(n_parents, form->ridge, L) ||
        join_means(n_parents, L, x, m, &child, &solution->log_det)) {
        return jsp_gaussian_refuse(node, error);
    }
    solution->residual = jsp_gaussian_residual(child);
    if (solution->residual < jsp_gaussian_smallest_residual(form, whole)) {
        return jsp_gaussian_refuse(node, error);
    }
    solve_transposed(n_parents, L, x);
    return JSP_OK;
}

void jsp_gaussian_combine(const jsp_gaussian_solution *solution, double scale,
                          const double *z, double *weight) {
    int n = solution->n_parents;
    for (int i = 0; i < n; i++) weight[i] = z[i];
    solve_transposed(n, solution->factor, weight);
    for (int i = 0; i < n; i++) weight[i] = solution->mean[i] + scale * weight[i];
}
