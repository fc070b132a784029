/* jsp_moments.c - moments of weights under a mixture over parent sets.
 *
 * Each set is solved on its own: p^3 / 3 operations, but only for sets that matter.
 * Sets are cut into a fixed number of tasks whose sums are added in order. */
#include "jsp_moments.h"

#include "jsp_bits.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

#define LEFT_OUT 1e-17 /* square root: an error of a standard deviation near 0 */
#define TASKS 64

void jsp_moments_inverse_diagonal(const jsp_gaussian_solution *solution,
                                  double *diagonal) {
    int n = solution->n_parents;
    double x[JSP_MAX_VARIABLES];
    for (int i = 0; i < n; i++) { /* x = L^-1 e_i, from row i on */
        diagonal[i] = 0;
        for (int k = i; k < n; k++) {
            const double *row = solution->factor + (size_t)k * (k + 1) / 2;
            double sum = k == i;
            for (int m = i; m < k; m++) sum -= row[m] * x[m];
            x[k] = sum / row[k];
            diagonal[i] += x[k] * x[k];
        }
    }
}

typedef struct sums {
    double first[JSP_MAX_CANDIDATES];
    double second[JSP_MAX_CANDIDATES];
    double noise;
    double probability;
    jsp_error error;
} sums;

typedef struct mix_job {
    const jsp_model_setup *setup;
    int node, K;
    const int *candidates;
    const double *probability;
    sums *sums; /* [TASKS] */
} mix_job;

static jsp_status add_set(const mix_job *job, uint32_t S, sums *out) {
    double mean[JSP_MAX_CANDIDATES], variance[JSP_MAX_CANDIDATES], noise;
    int parents[JSP_MAX_CANDIDATES], bit[JSP_MAX_CANDIDATES], n = 0;
    for (uint32_t left = S; left; left &= left - 1) {
        bit[n] = jsp_bits_lowest64(left);
        parents[n] = job->candidates[bit[n]];
        n++;
    }
    jsp_status status = job->setup->model->moments(job->setup, job->node, n, parents,
                                                   mean, variance, &noise, &out->error);
    if (status != JSP_OK) return status;
    double p = job->probability[S];
    for (int k = 0; k < n; k++) {
        out->first[bit[k]] += p * mean[k];
        out->second[bit[k]] += p * (variance[k] + mean[k] * mean[k]);
    }
    out->noise += p * noise;
    out->probability += p;
    return JSP_OK;
}

static void mix_group(void *context, int task, int worker) {
    mix_job *job = context;
    size_t n = (size_t)1 << job->K;
    size_t begin = n * (size_t)task / TASKS, end = n * (size_t)(task + 1) / TASKS;
    double least = LEFT_OUT / (double)n;
    (void)worker;
    for (size_t S = begin; S < end; S++) {
        if (!(job->probability[S] > least)) continue;
        if (add_set(job, (uint32_t)S, &job->sums[task]) != JSP_OK) return;
    }
}

jsp_status jsp_moments_mix(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, const double *probability,
                           int n_threads, double *first, double *second, double *noise,
                           jsp_error *error) {
    if (!setup->model->moments) {
        return jsp_status_set(error, JSP_ERROR_VALUE, "the model '%s' has no weights",
                              setup->model->name);
    }
    sums *part = jsp_memory_alloc(TASKS, sizeof *part);
    if (!part) return jsp_status_no_memory(error, TASKS * sizeof *part, "moments");
    mix_job job = {setup, node, K, candidates, probability, part};
    jsp_status status = JSP_OK;
    double total = 0;
    jsp_parallel_for(n_threads, TASKS, mix_group, &job);
    *noise = 0;
    for (int k = 0; k < K; k++) first[k] = second[k] = 0;
    for (int t = 0; t < TASKS && status == JSP_OK; t++) {
        status = part[t].error.code;
        if (status != JSP_OK)
            jsp_status_set(error, status, "%s", part[t].error.message);
        for (int k = 0; k < K; k++) {
            first[k] += part[t].first[k];
            second[k] += part[t].second[k];
        }
        *noise += part[t].noise;
        total += part[t].probability;
    }
    for (int k = 0; k < K; k++) {
        first[k] /= total;
        second[k] /= total;
    }
    *noise /= total;
    jsp_memory_free(part);
    return status;
}
