#include "jsp_trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jsp_kernels.h"
#include "jsp_loss.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Chains start by annealing: 20 temperatures 0.7^19 .. 1 with 2,000 moves each. */
#define ANNEAL_TEMPERATURES 20
#define ANNEAL_MOVES 2000

/* Damps the steps of a policy that is nearly exact: gradients are tiny there, and a rare
 * walk would move every parameter by a full learning rate at once. With 1e-8 and a peak
 * rate of 5e-3 some fits of 50,000 updates at 5 variables diverged. */
#define ADAM_EPSILON 1e-5

/* Moves of every chain per update. */
#define CHAIN_MOVES 200

/* Memory of the cache of odds, per worker: rows of 20 variables need it. */
#define CACHE_BYTES ((size_t)1 << 23)

/* Walks per task when sampling or evaluating. */
#define GROUP 32

typedef struct shard {
    jsp_edges_rollout *rollout;
    jsp_real *d_params;   /* [P] gradient block */
    jsp_edges_walk *walk; /* [2 n] own draws, then chain states */
    double *uniform;      /* [n, slots] */
    int first, n;         /* its chains: first .. first + n - 1 */
} shard;

struct jsp_trainer {
    const jsp_scores *scores;
    jsp_trainer_config config;
    jsp_edges *edges;
    jsp_adam adam;
    jsp_real *params; /* [P] */
    long update;
    jsp_chain_moves moves;
    jsp_chain_state *chain;  /* [batch] */
    uint32_t *chain_local;   /* [batch, D] */
    jsp_bits *chain_parents; /* [batch, D] */
    jsp_edges_cache *cache;  /* [n_threads] */
    shard shards[JSP_TRAINER_SHARDS];
    /* per walk of an update, shard by shard: the shard's own draws, then its chain
     * states */
    double *log_q, *log_reward, *weight; /* [2 batch] */
    double *sorted;                      /* [batch] scratch of the metrics */
    jsp_parallel_team *team; /* threads of the present call of jsp_trainer_step */
    int has_own;             /* 1 when the present update has own draws */
    uint64_t n_options;
};

/* ---- creation -------------------------------------------------------------------- */

static jsp_status create_shard(jsp_trainer *trainer, int s, jsp_error *error) {
    shard *part = &trainer->shards[s];
    const long batch = trainer->config.batch_size;
    part->first = (int)(batch * s / JSP_TRAINER_SHARDS);
    part->n = (int)(batch * (s + 1) / JSP_TRAINER_SHARDS) - part->first;
    size_t n = (size_t)part->n, slots = (size_t)trainer->edges->n_slots;
    part->d_params = jsp_memory_alloc(trainer->edges->layout.size, sizeof(jsp_real));
    part->walk = jsp_memory_alloc(2 * n, sizeof *part->walk);
    part->uniform = jsp_memory_alloc(n * slots, sizeof *part->uniform);
    if (!part->d_params || !part->walk || !part->uniform) {
        return jsp_status_no_memory(error, n * slots * sizeof(double),
                                    "a training shard");
    }
    return jsp_edges_rollout_create(trainer->edges, 2 * part->n, 1, &part->rollout,
                                    error);
}

static jsp_status create_caches(jsp_edges_cache **out, int n_workers,
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

static void destroy_caches(jsp_edges_cache *cache, int n_workers) {
    if (!cache) return;
    for (int k = 0; k < n_workers; k++) jsp_edges_cache_destroy(&cache[k]);
    jsp_memory_free(cache);
}

static jsp_status create_chains(jsp_trainer *trainer, jsp_error *error) {
    size_t batch = (size_t)trainer->config.batch_size;
    size_t D = (size_t)trainer->scores->n_variables;
    trainer->chain = jsp_memory_alloc(batch, sizeof *trainer->chain);
    trainer->chain_local = jsp_memory_alloc(batch * D, sizeof *trainer->chain_local);
    trainer->chain_parents =
        jsp_memory_alloc(batch * D, sizeof *trainer->chain_parents);
    if (!trainer->chain || !trainer->chain_local || !trainer->chain_parents) {
        return jsp_status_no_memory(error, batch * D * sizeof(jsp_bits), "the chains");
    }
    for (size_t c = 0; c < batch; c++) {
        trainer->chain[c].local = trainer->chain_local + c * D;
        trainer->chain[c].parents = trainer->chain_parents + c * D;
    }
    return jsp_chain_moves_create(&trainer->moves, trainer->scores, error);
}

static jsp_status create_network(jsp_trainer *trainer, jsp_error *error) {
    jsp_status status = jsp_edges_create(trainer->scores, &trainer->edges, error);
    if (status != JSP_OK) return status;
    const jsp_params *layout = &trainer->edges->layout;
    trainer->params = jsp_memory_alloc(layout->size, sizeof *trainer->params);
    if (!trainer->params) {
        return jsp_status_no_memory(error, layout->size * sizeof(jsp_real),
                                    "the network");
    }
    jsp_params_fill(layout, trainer->config.seed, trainer->params);
    status = jsp_adam_create(&trainer->adam, layout->size, trainer->params, error);
    trainer->adam.epsilon = ADAM_EPSILON;
    return status;
}

static jsp_status allocate(jsp_trainer *trainer, jsp_error *error) {
    size_t batch = (size_t)trainer->config.batch_size;
    trainer->log_q = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->log_reward = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->weight = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->sorted = jsp_memory_alloc(batch, sizeof(double));
    if (!trainer->log_q || !trainer->log_reward || !trainer->weight ||
        !trainer->sorted) {
        return jsp_status_no_memory(error, 8 * batch * sizeof(double),
                                    "a batch of walks");
    }
    jsp_status status = create_network(trainer, error);
    if (status == JSP_OK) status = create_chains(trainer, error);
    if (status == JSP_OK) {
        status = create_caches(&trainer->cache, trainer->config.n_threads,
                               trainer->scores, error);
    }
    for (int s = 0; s < JSP_TRAINER_SHARDS && status == JSP_OK; s++) {
        status = create_shard(trainer, s, error);
    }
    return status;
}

static void anneal_chain(void *context, int c, int worker) {
    jsp_trainer *trainer = context;
    jsp_rng rng;
    (void)worker;
    jsp_chain_reset(trainer->scores, &trainer->chain[c]);
    /* step 0 is the annealing; update u uses step u + 1 */
    jsp_rng_init(&rng, trainer->config.seed, 0, (uint32_t)c, JSP_RNG_CHAIN);
    jsp_chain_anneal(trainer->scores, &trainer->moves, ANNEAL_TEMPERATURES,
                     ANNEAL_MOVES, &rng, &trainer->chain[c]);
}

jsp_status jsp_trainer_create(const jsp_scores *scores,
                              const jsp_trainer_config *config, jsp_trainer **out,
                              jsp_error *error) {
    jsp_trainer *trainer = jsp_memory_alloc(1, sizeof *trainer);
    *out = NULL;
    if (!trainer) return jsp_status_no_memory(error, sizeof *trainer, "the trainer");
    trainer->scores = scores;
    trainer->config = *config;
    if (trainer->config.n_threads < 1) trainer->config.n_threads = 1;
    jsp_status status = allocate(trainer, error);
    if (status != JSP_OK) {
        jsp_trainer_destroy(trainer);
        return status;
    }
    jsp_parallel_for(trainer->config.n_threads, config->batch_size, anneal_chain,
                     trainer);
    *out = trainer;
    return JSP_OK;
}

void jsp_trainer_destroy(jsp_trainer *trainer) {
    if (!trainer) return;
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        jsp_edges_rollout_destroy(trainer->shards[s].rollout);
        jsp_memory_free(trainer->shards[s].d_params);
        jsp_memory_free(trainer->shards[s].walk);
        jsp_memory_free(trainer->shards[s].uniform);
    }
    destroy_caches(trainer->cache, trainer->config.n_threads);
    jsp_chain_moves_destroy(&trainer->moves);
    jsp_memory_free(trainer->chain);
    jsp_memory_free(trainer->chain_local);
    jsp_memory_free(trainer->chain_parents);
    jsp_memory_free(trainer->log_q);
    jsp_memory_free(trainer->log_reward);
    jsp_memory_free(trainer->weight);
    jsp_memory_free(trainer->sorted);
    jsp_memory_free(trainer->params);
    jsp_adam_destroy(&trainer->adam);
    jsp_edges_destroy(trainer->edges);
    jsp_memory_free(trainer);
}

/* ---- one update ------------------------------------------------------------------ */

static int count_own(const jsp_trainer *trainer, const shard *part) {
    return trainer->has_own ? part->n : 0;
}

/* Where the walks of a shard begin in the arrays over all walks of an update. */
static int first_walk(const jsp_trainer *trainer, const shard *part) {
    return trainer->has_own ? 2 * part->first : part->first;
}

/* Streams of an update are named by its number plus 1; step 0 is the annealing. */
static uint32_t stream_step(const jsp_trainer *trainer) {
    return (uint32_t)trainer->update + 1;
}

static void start_own_walk(jsp_trainer *trainer, shard *part, int k) {
    const int n_slots = trainer->edges->n_slots;
    double *uniform = part->uniform + (size_t)k * (size_t)n_slots;
    jsp_rng rng;
    jsp_rng_init(&rng, trainer->config.seed, stream_step(trainer),
                 (uint32_t)(part->first + k), JSP_RNG_TRAJECTORY);
    jsp_rng_fill_uniform(&rng, n_slots, uniform);
    part->walk[k] = (jsp_edges_walk){.uniform = uniform};
}

static void start_chain_walk(jsp_trainer *trainer, shard *part, int k) {
    jsp_chain_state *chain = &trainer->chain[part->first + k];
    jsp_rng rng;
    jsp_rng_init(&rng, trainer->config.seed, stream_step(trainer),
                 (uint32_t)(part->first + k), JSP_RNG_CHAIN);
    jsp_chain_step(trainer->scores, &trainer->moves, 1.0, CHAIN_MOVES, &rng, chain);
    part->walk[count_own(trainer, part) + k] = (jsp_edges_walk){.target = chain->local};
}

/* Moves the chains of one shard and runs its walks. */
static void forward_shard(void *context, int s, int worker) {
    jsp_trainer *trainer = context;
    shard *part = &trainer->shards[s];
    const int n_own = count_own(trainer, part), first = first_walk(trainer, part);
    for (int k = 0; k < n_own; k++) start_own_walk(trainer, part, k);
    for (int k = 0; k < part->n; k++) start_chain_walk(trainer, part, k);
    jsp_edges_rollout_forward(part->rollout, trainer->params, &trainer->cache[worker],
                              n_own + part->n, part->walk);
    for (int k = 0; k < n_own + part->n; k++) {
        trainer->log_q[first + k] = part->walk[k].log_q;
        trainer->log_reward[first + k] =
            jsp_scores_log_reward(trainer->scores, part->walk[k].chosen);
    }
}

static void backward_shard(void *context, int s, int worker) {
    jsp_trainer *trainer = context;
    shard *part = &trainer->shards[s];
    (void)worker;
    memset(part->d_params, 0, trainer->edges->layout.size * sizeof(jsp_real));
    jsp_edges_rollout_backward(part->rollout, trainer->params,
                               count_own(trainer, part) + part->n,
                               trainer->weight + first_walk(trainer, part),
                               part->d_params);
}

/* Adds the gradient blocks of all shards into the first, pairwise in a fixed tree. */
static void sum_gradients(jsp_trainer *trainer) {
    const size_t size = trainer->edges->layout.size;
    for (int step = 1; step < JSP_TRAINER_SHARDS; step *= 2) {
        for (int s = 0; s + step < JSP_TRAINER_SHARDS; s += 2 * step) {
            jsp_kernels_active()->add(size, trainer->shards[s + step].d_params,
                                      trainer->shards[s].d_params);
        }
    }
}

static int compare_doubles(const void *left, const void *right) {
    double x = *(const double *)left, y = *(const double *)right;
    return (x > y) - (x < y);
}

/* Effective sample size of n importance weights exp(log_weight), as a fraction. */
static double effective_fraction(int n, const double *log_weight) {
    double top = -INFINITY, sum = 0, squares = 0;
    for (int k = 0; k < n; k++) top = fmax(top, log_weight[k]);
    for (int k = 0; k < n; k++) {
        double w = exp(log_weight[k] - top);
        sum += w;
        squares += w * w;
    }
    return sum * sum / squares / n;
}

/* Metrics that compare own draws with chain states. */
static void measure_gap(jsp_trainer *trainer, jsp_trainer_metrics *metrics) {
    const int batch = trainer->config.batch_size;
    double own = 0, chain = 0;
    double *sorted = trainer->sorted;
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        const shard *part = &trainer->shards[s];
        const double *log_q = trainer->log_q + first_walk(trainer, part);
        const double *log_reward = trainer->log_reward + first_walk(trainer, part);
        for (int k = 0; k < part->n; k++) {
            sorted[part->first + k] = log_reward[k] - log_q[k];
            own += sorted[part->first + k] / batch;
            chain += (log_reward[part->n + k] - log_q[part->n + k]) / batch;
        }
    }
    metrics->own_ess = effective_fraction(batch, sorted);
    qsort(sorted, (size_t)batch, sizeof *sorted, compare_doubles);
    metrics->gap = chain - own;
    metrics->own_gap_median = chain - sorted[batch / 2];
}

static void measure_chains(jsp_trainer *trainer, jsp_trainer_metrics *metrics) {
    const int batch = trainer->config.batch_size;
    metrics->chain_log_q = 0;
    metrics->n_edges = 0;
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        const shard *part = &trainer->shards[s];
        const int n_own = count_own(trainer, part);
        for (int k = n_own; k < n_own + part->n; k++) {
            metrics->chain_log_q +=
                trainer->log_q[first_walk(trainer, part) + k] / batch;
            metrics->n_edges += (double)part->walk[k].n_edges / batch;
        }
    }
}

/* Offers every own draw to one chain: independence Metropolis-Hastings with q as the
 * proposal, which lets chains jump between modes. Returns the accepted share. */
static double propose_to_chains(jsp_trainer *trainer) {
    int accepted = 0;
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        shard *part = &trainer->shards[s];
        const double *log_q = trainer->log_q + first_walk(trainer, part);
        const double *log_reward = trainer->log_reward + first_walk(trainer, part);
        for (int k = 0; k < part->n; k++) {
            int c = part->n + k;
            double log_ratio = (log_reward[k] - log_q[k]) - (log_reward[c] - log_q[c]);
            jsp_rng rng;
            jsp_rng_init(&rng, trainer->config.seed, stream_step(trainer),
                         (uint32_t)(part->first + k), JSP_RNG_ACCEPT);
            if (log(jsp_rng_uniform(&rng)) >= log_ratio) continue;
            jsp_chain_set(trainer->scores, part->walk[k].chosen,
                          &trainer->chain[part->first + k]);
            accepted++;
        }
    }
    return (double)accepted / trainer->config.batch_size;
}

static jsp_status check_walks(const jsp_trainer *trainer, int T, jsp_error *error) {
    for (int t = 0; t < T; t++) {
        if (isfinite(trainer->log_q[t]) && isfinite(trainer->log_reward[t])) continue;
        return jsp_status_set(error, JSP_ERROR_NUMERICAL,
                              "update %ld: log q = %g and log R = %g of a trajectory, "
                              "expected finite numbers",
                              trainer->update, trainer->log_q[t],
                              trainer->log_reward[t]);
    }
    return JSP_OK;
}

/* Backward pass and optimiser step. */
static jsp_status descend(jsp_trainer *trainer, jsp_trainer_metrics *metrics,
                          jsp_error *error) {
    jsp_parallel_team_for(trainer->team, JSP_TRAINER_SHARDS, backward_shard, trainer);
    sum_gradients(trainer);
    metrics->gradient_norm =
        jsp_adam_step(&trainer->adam, metrics->learning_rate,
                      trainer->shards[0].d_params, trainer->params);
    if (isfinite(metrics->gradient_norm)) return JSP_OK;
    return jsp_status_set(
        error, JSP_ERROR_NUMERICAL,
        "update %ld: norm of the gradient = %g, expected a finite number",
        trainer->update, metrics->gradient_norm);
}

static jsp_status run_update(jsp_trainer *trainer, double time_fraction,
                             jsp_trainer_metrics *metrics, jsp_error *error) {
    const jsp_schedule *schedule = &trainer->config.schedule;
    const double progress =
        jsp_schedule_progress(schedule, trainer->update, time_fraction);
    trainer->has_own = !jsp_schedule_is_likelihood(schedule, progress);
    const int T = trainer->config.batch_size * (trainer->has_own ? 2 : 1);
    *metrics = (jsp_trainer_metrics){
        .phase = trainer->has_own,
        .progress = progress,
        .learning_rate =
            jsp_schedule_learning_rate(schedule, trainer->update, progress),
        .gap = NAN,
        .own_gap_median = NAN,
        .own_ess = NAN,
        .acceptance = NAN,
    };
    jsp_parallel_team_for(trainer->team, JSP_TRAINER_SHARDS, forward_shard, trainer);
    jsp_status status = check_walks(trainer, T, error);
    if (status != JSP_OK) return status;
    measure_chains(trainer, metrics);
    if (trainer->has_own) {
        double centre;
        metrics->loss = jsp_loss_balance(T, trainer->log_q, trainer->log_reward,
                                         trainer->weight, &centre);
        measure_gap(trainer, metrics);
    } else {
        metrics->loss = jsp_loss_likelihood(T, trainer->log_q, trainer->weight);
    }
    status = descend(trainer, metrics, error);
    if (status != JSP_OK) return status;
    if (trainer->has_own) metrics->acceptance = propose_to_chains(trainer);
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        trainer->n_options +=
            (uint64_t)jsp_edges_rollout_n_options(trainer->shards[s].rollout);
    }
    trainer->update++;
    return JSP_OK;
}

typedef struct step_job {
    jsp_trainer *trainer;
    long n_updates;
    double time_fraction;
    jsp_trainer_metrics *metrics; /* [n_updates] */
    long n_done;
    jsp_error *error;
    jsp_status status;
} step_job;

/* One team of threads serves all updates of a call. */
static void run_updates(void *context, jsp_parallel_team *team) {
    step_job *job = context;
    job->trainer->team = team;
    for (; job->n_done < job->n_updates && job->status == JSP_OK; job->n_done++) {
        job->status = run_update(job->trainer, job->time_fraction,
                                 &job->metrics[job->n_done], job->error);
    }
    if (job->status != JSP_OK) job->n_done--;
}

jsp_status jsp_trainer_step(jsp_trainer *trainer, long n_updates, double time_fraction,
                            jsp_trainer_metrics *metrics, long *n_done,
                            jsp_error *error) {
    step_job job = {trainer, n_updates, time_fraction, metrics, 0, error, JSP_OK};
    jsp_parallel_run(trainer->config.n_threads, run_updates, &job);
    *n_done = job.n_done;
    return job.status;
}

/* ---- using the averaged policy --------------------------------------------------- */

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
    jsp_status status = create_caches(&job->cache, workers, trainer->scores, error);
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
    destroy_caches(job->cache, workers);
    return status;
}

jsp_status jsp_trainer_sample(const jsp_trainer *trainer, long n, uint64_t seed,
                              long first_draw, int n_threads, uint32_t *parents,
                              double *log_q, double *log_reward, jsp_error *error) {
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

jsp_status jsp_trainer_log_prob(const jsp_trainer *trainer, long n,
                                const uint32_t *parents, int n_threads, double *log_q,
                                jsp_error *error) {
    walk_job job = {.trainer = trainer, .n = n, .target = parents, .log_q = log_q};
    return run_job(&job, n_threads, error);
}

/* ---- looking inside -------------------------------------------------------------- */

jsp_trainer_view jsp_trainer_open(jsp_trainer *trainer) {
    return (jsp_trainer_view){
        .scores = trainer->scores,
        .edges = trainer->edges,
        .layout = &trainer->edges->layout,
        .schedule = &trainer->config.schedule,
        .seed = &trainer->config.seed,
        .params = trainer->params,
        .average = trainer->adam.average,
        .first_moment = trainer->adam.first,
        .second_moment = trainer->adam.second,
        .update = &trainer->update,
        .adam_steps = &trainer->adam.t,
        .gradient_norm_mean = &trainer->adam.norm_mean,
        .n_chains = trainer->config.batch_size,
        .chain_parents = trainer->chain_local,
    };
}

void jsp_trainer_sync_chains(jsp_trainer *trainer) {
    for (int c = 0; c < trainer->config.batch_size; c++) {
        jsp_chain_set(trainer->scores, trainer->chain[c].local, &trainer->chain[c]);
    }
}

const char *jsp_trainer_metric_name(int k) {
    static const char *const names[] = {
        "phase",         "loss",       "gap",         "own_gap_median",
        "own_ess",       "acceptance", "chain_log_q", "gradient_norm",
        "learning_rate", "progress",   "n_edges",
    };
    int n = (int)(sizeof names / sizeof *names);
    return k >= 0 && k < n ? names[k] : NULL;
}

jsp_trainer_counters jsp_trainer_count(const jsp_trainer *trainer) {
    jsp_trainer_counters counters = {.n_options = trainer->n_options};
    for (int k = 0; k < trainer->config.n_threads; k++) {
        counters.n_rows += trainer->cache[k].n_lookups;
        counters.n_rows_computed += trainer->cache[k].n_misses;
    }
    return counters;
}
