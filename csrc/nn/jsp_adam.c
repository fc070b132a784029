/* jsp_adam.c - the optimiser.
 *
 * Losses of flow networks have rare huge gradients, whose size no one knows in
 * advance; so the bound on the norm follows the norms seen so far. What enters the
 * running mean is the clipped norm, so that one outlier cannot lift the bound for
 * the next. */
#include "jsp_adam.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "jsp_kernels.h"
#include "jsp_memory.h"

#define NORM_DECAY 0.99 /* of the running mean of norms: a memory of about 100 steps */

static int allocate_blocks(jsp_adam *adam, size_t size) {
    adam->first = jsp_memory_alloc(size, sizeof *adam->first);
    adam->second = jsp_memory_alloc(size, sizeof *adam->second);
    adam->average = jsp_memory_alloc(size, sizeof *adam->average);
    return adam->first && adam->second && adam->average;
}

/* The factor that brings the norm down to its bound; updates the running mean. */
static double clip_norm(jsp_adam *adam, double norm) {
    double scale = 1, bound = adam->clip_ratio * adam->norm_mean;
    if (adam->norm_mean > 0 && norm > bound) scale = bound / norm;
    double clipped = scale * norm;
    adam->norm_mean = adam->norm_mean > 0
                          ? NORM_DECAY * adam->norm_mean + (1 - NORM_DECAY) * clipped
                          : clipped;
    return scale;
}

jsp_status jsp_adam_create(jsp_adam *adam, size_t size, const jsp_real *params,
                           jsp_error *error) {
    *adam = (jsp_adam){
        .size = size,
        .beta1 = 0.9,
        .beta2 = 0.99,
        .epsilon = 1e-8,
        .average_decay = 0.995,
        .clip_ratio = 5,
    };
    if (!allocate_blocks(adam, size)) {
        jsp_adam_destroy(adam);
        return jsp_status_no_memory(error, 3 * size * sizeof(jsp_real),
                                    "the optimiser");
    }
    memcpy(adam->average, params, size * sizeof *params);
    return JSP_OK;
}

void jsp_adam_destroy(jsp_adam *adam) {
    if (!adam) return;
    jsp_memory_free(adam->first);
    jsp_memory_free(adam->second);
    jsp_memory_free(adam->average);
    jsp_memory_free(adam->rate);
    jsp_memory_free(adam->kept);
    *adam = (jsp_adam){0};
}

jsp_status jsp_adam_set_rates(jsp_adam *adam, size_t first, size_t n,
                              const jsp_real *rate, jsp_error *error) {
    assert(!adam->rate && first + n <= adam->size);
    adam->rate = jsp_memory_alloc(n, sizeof *adam->rate);
    adam->kept = jsp_memory_alloc(2 * n, sizeof *adam->kept);
    if (!adam->rate || !adam->kept) {
        return jsp_status_no_memory(error, 3 * n * sizeof(jsp_real), "learning rates");
    }
    memcpy(adam->rate, rate, n * sizeof *rate);
    adam->rate_first = first;
    adam->n_rates = n;
    return JSP_OK;
}

/* Parameters and their averages before a step. */
static void keep_values(jsp_adam *adam, const jsp_real *params) {
    const size_t n = adam->n_rates, first = adam->rate_first;
    if (n == 0) return;
    memcpy(adam->kept, params + first, n * sizeof *params);
    memcpy(adam->kept + n, adam->average + first, n * sizeof *params);
}

/* Steps of the stretch with rates of its own, from the common one that was just made. */
static void apply_rates(jsp_adam *adam, jsp_real average_decay, jsp_real *params) {
    const size_t n = adam->n_rates, first = adam->rate_first;
    for (size_t k = 0; k < n; k++) {
        const jsp_real old = adam->kept[k], step = params[first + k] - old;
        params[first + k] = old + adam->rate[k] * step;
        adam->average[first + k] =
            average_decay * adam->kept[n + k] + (1 - average_decay) * params[first + k];
    }
}

/* A step is cut into parts of the parameters, the same for any number of threads. */
enum { PARTS = 16 };

typedef struct step_job {
    jsp_adam *adam;
    const jsp_kernels_adam *step;
    const jsp_real *d_params;
    jsp_real *params;
    double squares[PARTS];
} step_job;

static size_t part_begin(const step_job *job, int part) {
    return part < PARTS ? job->adam->size / PARTS * (size_t)part : job->adam->size;
}

static void sum_part(void *context, int part, int worker) {
    step_job *job = context;
    const size_t begin = part_begin(job, part), end = part_begin(job, part + 1);
    (void)worker;
    job->squares[part] =
        jsp_kernels_active()->sum_squares(end - begin, job->d_params + begin);
}

static void step_part(void *context, int part, int worker) {
    const step_job *job = context;
    const jsp_adam *adam = job->adam;
    const size_t begin = part_begin(job, part), end = part_begin(job, part + 1);
    (void)worker;
    jsp_kernels_active()->adam(end - begin, job->step, job->d_params + begin,
                               job->params + begin, adam->first + begin,
                               adam->second + begin, adam->average + begin);
}

double jsp_adam_step(jsp_adam *adam, double learning_rate, const jsp_real *d_params,
                     jsp_real *params) {
    step_job job = {.adam = adam, .d_params = d_params, .params = params};
    double sum = 0;
    jsp_parallel_team_for(adam->team, PARTS, sum_part, &job);
    for (int part = 0; part < PARTS; part++) sum += job.squares[part];
    const double norm = sqrt(sum);
    if (!isfinite(norm)) return norm;
    double scale = clip_norm(adam, norm);
    double t = (double)++adam->t;
    const jsp_kernels_adam step = {
        .learning_rate = (jsp_real)learning_rate,
        .beta1 = (jsp_real)adam->beta1,
        .beta2 = (jsp_real)adam->beta2,
        .correction1 = (jsp_real)(1 / (1 - pow(adam->beta1, t))),
        .correction2 = (jsp_real)(1 / (1 - pow(adam->beta2, t))),
        .epsilon = (jsp_real)adam->epsilon,
        .gradient_scale = (jsp_real)scale,
        .average_decay = (jsp_real)fmin(adam->average_decay, 1 - 1 / (1 + t / 10)),
    };
    keep_values(adam, params);
    job.step = &step;
    jsp_parallel_team_for(adam->team, PARTS, step_part, &job);
    apply_rates(adam, step.average_decay, params);
    return norm;
}
