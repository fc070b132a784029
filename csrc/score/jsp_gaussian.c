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
 * definite matrix needs no pivoting; a pivot that lost 14 digits to cancellation is
 * refused.
 *
 * One set: plain Cholesky, also the independent second opinion on the table.
 */
#include "jsp_gaussian.h"

#include <math.h>

#include "jsp_memory.h"

/* Start of row i in a packed lower triangle. */
static inline size_t row_of(int i) {
    return (size_t)i * (i + 1) / 2;
}

static double moment(const jsp_gaussian_form *form, const jsp_data_moments *m, int D,
                     int i, int k) {
    double product = m->scatter[(size_t)i * D + k];
    return form->scale * (product + form->mean_weight * m->mean[i] * m->mean[k]);
}

void jsp_gaussian_build(const jsp_gaussian_form *form, const jsp_data *data, int node,
                        int n, const int *parents, double *A, double *b, double *c) {
    int D = jsp_data_n_variables(data);
    jsp_data_moments m = jsp_data_node(data, node);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k <= i; k++) {
            A[row_of(i) + k] = moment(form, &m, D, parents[i], parents[k]);
        }
        A[row_of(i) + i] += form->ridge;
        b[i] = moment(form, &m, D, parents[i], node);
    }
    *c = moment(form, &m, D, node, node) + form->child_ridge;
}

jsp_status jsp_gaussian_refuse(int node, jsp_error *error) {
    return jsp_status_set(
        error, JSP_ERROR_NUMERICAL,
        "a matrix of moments for variable %d is not positive definite: "
        "some of its possible parents are (nearly) linear combinations "
        "of each other, or the scales of the columns differ too much",
        node);
}

/* ---- all subsets ---- */

typedef struct walk {
    int max_parents;
    size_t level_size; /* numbers per level: a packed triangle, then b */
    size_t b_offset;
    double *levels; /* [K + 1, level_size] */
    double smallest[JSP_MAX_CANDIDATES];
    jsp_gaussian_evidence evidence;
    const void *context;
    double *log_evidence;
} walk;

/* Level `next` = Schur complement of `level` after choosing v, below candidate v. */
static void eliminate(const walk *w, const double *level, int v, double *next) {
    const double *restrict row = level + row_of(v), *b = level + w->b_offset;
    double inverse = 1 / row[v];
    for (int i = 0; i < v; i++) {
        double factor = row[i] * inverse;
        const double *restrict source = level + row_of(i);
        double *restrict target = next + row_of(i);
        for (int k = 0; k <= i; k++) target[k] = source[k] - factor * row[k];
        next[w->b_offset + i] = b[i] - factor * b[v];
    }
}

/* All proper supersets of S made with candidates below `end`; -1 = not definite. */
static int descend(const walk *w, int depth, int end, uint32_t S, double log_det,
                   double residual) {
    double *level = w->levels + depth * w->level_size, *b = level + w->b_offset;
    if (depth == w->max_parents) return 0;
    for (int v = 0; v < end; v++) {
        double pivot = level[row_of(v) + v];
        if (!(pivot > w->smallest[v])) return -1;
        double log_det_v = log_det + log(pivot);
        double residual_v = residual - b[v] * b[v] / pivot;
        double value = w->evidence(w->context, depth + 1, log_det_v, residual_v);
        if (!isfinite(value)) return -1;
        uint32_t S_v = S | (uint32_t)1 << v;
        w->log_evidence[S_v] = value;
        if (v == 0) continue;
        eliminate(w, level, v, level + w->level_size);
        if (descend(w, depth + 1, v, S_v, log_det_v, residual_v)) return -1;
    }
    return 0;
}

jsp_status jsp_gaussian_tabulate(const jsp_gaussian_form *form, const jsp_data *data,
                                 int node, int K, const int *candidates,
                                 int max_parents, jsp_gaussian_evidence evidence,
                                 const void *context, double *log_evidence,
                                 jsp_error *error) {
    walk w = {.max_parents = max_parents,
              .evidence = evidence,
              .context = context,
              .log_evidence = log_evidence};
    w.b_offset = row_of(K);
    w.level_size = w.b_offset + (size_t)K;
    size_t length = (size_t)(K + 1) * w.level_size;
    w.levels = jsp_memory_alloc(length, sizeof(double));
    if (!w.levels) {
        return jsp_status_no_memory(error, length * sizeof(double), "a table");
    }
    double c;
    jsp_gaussian_build(form, data, node, K, candidates, w.levels, w.levels + w.b_offset,
                       &c);
    for (int v = 0; v < K; v++) {
        w.smallest[v] = JSP_GAUSSIAN_SMALLEST_PIVOT * w.levels[row_of(v) + v];
    }
    if (max_parents < K) {
        for (size_t S = 0; S < (size_t)1 << K; S++) log_evidence[S] = -INFINITY;
    }
    log_evidence[0] = evidence(context, 0, 0, c);
    int failed = !isfinite(log_evidence[0]) || descend(&w, 0, K, 0, 0, c);
    jsp_memory_free(w.levels);
    return failed ? jsp_gaussian_refuse(node, error) : JSP_OK;
}

/* ---- one parent set ---- */

/* A = L L^T in place on the packed triangle; -1 when not definite. */
static int factorize(int n, double *A, double *log_det) {
    *log_det = 0;
    for (int i = 0; i < n; i++) {
        double *row = A + row_of(i), smallest = JSP_GAUSSIAN_SMALLEST_PIVOT * row[i];
        for (int k = 0; k < i; k++) {
            const double *other = A + row_of(k);
            double value = row[k];
            for (int m = 0; m < k; m++) value -= row[m] * other[m];
            row[k] = value / other[k];
        }
        double pivot = row[i];
        for (int m = 0; m < i; m++) pivot -= row[m] * row[m];
        if (!(pivot > smallest)) return -1;
        row[i] = sqrt(pivot);
        *log_det += log(pivot);
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
    if (n_parents < 0 || n_parents >= JSP_MAX_VARIABLES) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "variable %d cannot have %d parents", node, n_parents);
    }
    double *L = solution->factor, *x = solution->mean;
    solution->n_parents = n_parents;
    jsp_gaussian_build(form, data, node, n_parents, parents, L, x, &solution->residual);
    if (factorize(n_parents, L, &solution->log_det)) {
        return jsp_gaussian_refuse(node, error);
    }
    for (int i = 0; i < n_parents; i++) { /* x = L^-1 b */
        const double *row = L + row_of(i);
        for (int k = 0; k < i; k++) x[i] -= row[k] * x[k];
        x[i] /= row[i];
        solution->residual -= x[i] * x[i];
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
