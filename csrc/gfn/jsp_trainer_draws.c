/* jsp_trainer_draws.c - draws and log-probabilities of the averaged policy, in groups of
 * walks that the workers share out. */
#include <string.h>

#include "jsp_memory.h"
#include "jsp_trainer_inner.h"

/* Memory of the cache of odds, per worker: rows of 20 variables need it. */
#define CACHE_BYTES ((size_t)1 << 23)

/* Walks per task. */
#define GROUP 32

jsp_status jsp_trainer_draws_caches_create(jsp_edges_cache **out, int n_workers,
                                           const jsp_scores *scores, jsp_error *error) {
    jsp_edges_cache *cache = jsp_memory_alloc((size_t)n_workers, sizeof *cache);
    *out = cache;
    if (!cache) return jsp_status_no_memory(error, sizeof *cache, "caches of odds");
    for (int k = 0; k < n_workers; k++) {
        jsp_status status =
            jsp_edges_cache_create(&cache[k], scores, CACHE_BYTES, error);
        if (status != JSP_OK) return status;
    }
    return JSP_OK;
}

void jsp_trainer_draws_caches_destroy(jsp_edges_cache *cache, int n_workers) {
    if (!cache) return;
    for (int k = 0; k < n_workers; k++) jsp_edges_cache_destroy(&cache[k]);
    jsp_memory_free(cache);
}

typedef struct walk_job {
    const jsp_trainer *trainer;
    jsp_edges_rollout **rollout; /* [workers] */
    jsp_edges_cache *cache;      /* [workers] */
    double *uniform;             /* [workers, GROUP, slots] */
    long n;
    uint64_t seed;
    long first_draw;
    const uint32_t *target; /* [n, D] or NULL to sample */
    uint32_t *parents;      /* [n, D] or NULL */
    double *log_q;          /* [n] */
    double *log_reward;     /* [n] or NULL */
} walk_job;

static void run_group(void *context, int task, int worker) {
    walk_job *job = context;
    const jsp_trainer *trainer = job->trainer;
    const size_t D = (size_t)trainer->scores->n_variables;
    const int n_slots = trainer->edges->n_slots;
    const long first = (long)task * GROUP;
    const int n = (int)(job->n - first < GROUP ? job->n - first : GROUP);
    jsp_edges_walk walk[GROUP];
    for (int k = 0; k < n; k++) {
        walk[k] = (jsp_edges_walk){0};
        if (job->target) {
            walk[k].target = job->target + (size_t)(first + k) * D;
            continue;
        }
        double *uniform = job->uniform + (size_t)(worker * GROUP + k) * (size_t)n_slots;
        jsp_rng rng;
        jsp_rng_init(&rng, job->seed, 0, (uint32_t)(job->first_draw + first + k),
                     JSP_RNG_SAMPLE);
        jsp_rng_fill_uniform(&rng, n_slots, uniform);
        walk[k].uniform = uniform;
    }
    jsp_edges_rollout_forward(job->rollout[worker], trainer->adam.average,
                              &job->cache[worker], n, walk);
    for (int k = 0; k < n; k++) {
        job->log_q[first + k] = walk[k].log_q;
        if (!job->parents) continue;
        memcpy(job->parents + (size_t)(first + k) * D, walk[k].chosen,
               D * sizeof(uint32_t));
        job->log_reward[first + k] =
            jsp_scores_log_reward(trainer->scores, walk[k].chosen);
    }
}

/* Runs the walks of a job in groups, with memory of its own for every worker. */
static jsp_status run_job(walk_job *job, int n_threads, jsp_error *error) {
    const jsp_trainer *trainer = job->trainer;
    const long n_tasks = (job->n + GROUP - 1) / GROUP;
    const int workers = n_threads < 1         ? 1
                        : n_threads > n_tasks ? (int)n_tasks
                                              : n_threads;
    if (job->n < 1) return JSP_OK;
    size_t slots = (size_t)trainer->edges->n_slots;
    jsp_status status =
        jsp_trainer_draws_caches_create(&job->cache, workers, trainer->scores, error);
    job->rollout = jsp_memory_alloc((size_t)workers, sizeof *job->rollout);
    job->uniform = jsp_memory_alloc((size_t)workers * GROUP * slots, sizeof(double));
    if (status == JSP_OK && (!job->rollout || !job->uniform)) {
        status = jsp_status_no_memory(error, slots * GROUP * sizeof(double),
                                      "random numbers");
    }
    for (int k = 0; k < workers && status == JSP_OK; k++) {
        status =
            jsp_edges_rollout_create(trainer->edges, GROUP, 0, &job->rollout[k], error);
    }
    if (status == JSP_OK) jsp_parallel_for(workers, (int)n_tasks, run_group, job);
    for (int k = 0; k < workers && job->rollout; k++) {
        jsp_edges_rollout_destroy(job->rollout[k]);
    }
    jsp_memory_free(job->rollout);
    jsp_memory_free(job->uniform);
    jsp_trainer_draws_caches_destroy(job->cache, workers);
    return status;
}

jsp_status jsp_trainer_draws_sample(const jsp_trainer *trainer, long n, uint64_t seed,
                                    long first_draw, int n_threads, uint32_t *parents,
                                    double *log_q, double *log_reward,
                                    jsp_error *error) {
    walk_job job = {
        .trainer = trainer,
        .n = n,
        .seed = seed,
        .first_draw = first_draw,
        .parents = parents,
        .log_q = log_q,
        .log_reward = log_reward,
    };
    return run_job(&job, n_threads, error);
}

jsp_status jsp_trainer_draws_log_prob(const jsp_trainer *trainer, long n,
                                      const uint32_t *parents, int n_threads,
                                      double *log_q, jsp_error *error) {
    walk_job job = {.trainer = trainer, .n = n, .target = parents, .log_q = log_q};
    return run_job(&job, n_threads, error);
}
