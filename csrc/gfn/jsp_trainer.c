#include "jsp_trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jsp_kernels.h"
#include "jsp_loss.h"
#include "jsp_memory.h"
#include "jsp_trainer_inner.h"

/* ---- creation -------------------------------------------------------------------- */

/* Part s of n things dealt to all shards. */
static int share_of(long n, int s) {
    return (int)(n * (s + 1) / JSP_TRAINER_SHARDS - n * s / JSP_TRAINER_SHARDS);
}

static jsp_status create_shard(jsp_trainer *trainer, int s, jsp_error *error) {
    jsp_trainer_shard *part = &trainer->shards[s];
    const long batch = trainer->config.batch_size;
    part->first = (int)(batch * s / JSP_TRAINER_SHARDS);
    part->n = share_of(batch, s);
    const jsp_trainer_tuning *tuning = &trainer->config.tuning;
    const double n_hard[JSP_TRAINER_LISTS] = {tuning->n_missed, tuning->n_wild};
    for (int k = 0; k < JSP_TRAINER_LISTS; k++)
        part->n_hard[k] = share_of((long)n_hard[k], s);
    size_t n = (size_t)part->n, slots = (size_t)trainer->edges->n_slots;
    size_t extra =
        (size_t)(part->n_hard[JSP_TRAINER_MISSED] + part->n_hard[JSP_TRAINER_WILD]);
    part->d_params = trainer->d_params + (size_t)s * trainer->d_params_row;
    part->walk = jsp_memory_alloc(2 * n + extra, sizeof *part->walk);
    part->uniform = jsp_memory_alloc(n * slots, sizeof *part->uniform);
    part->weight = jsp_memory_alloc(2 * n + extra, sizeof *part->weight);
    part->conditional = jsp_memory_alloc(2 * n + extra, sizeof *part->conditional);
    part->extra_log_q = jsp_memory_alloc(3 * extra, sizeof *part->extra_log_q);
    part->place = jsp_memory_alloc(extra, sizeof *part->place);
    if (!part->walk || !part->uniform || !part->weight || !part->conditional ||
        !part->extra_log_q || !part->place) {
        return jsp_status_no_memory(error, n * slots * sizeof(double),
                                    "a training shard");
    }
    part->extra_log_reward = part->extra_log_q + extra;
    part->extra_weight = part->extra_log_reward + extra;
    for (int k = 0; k < JSP_TRAINER_LISTS; k++) {
        jsp_status status =
            jsp_hard_create(&part->hard[k], trainer->scores,
                            share_of((long)tuning->hard_capacity, s), error);
        if (status != JSP_OK) return status;
    }
    return jsp_edges_rollout_create(trainer->edges, (int)(2 * n + extra), 1,
                                    &part->rollout, error);
}

static jsp_status create_chains(jsp_trainer *trainer, jsp_error *error) {
    const jsp_trainer_tuning *tuning = &trainer->config.tuning;
    const jsp_feed_config config = {
        .n_chains = trainer->config.batch_size,
        .n_ensembles = (int)tuning->n_ensembles,
        .n_temperatures = (int)tuning->n_temperatures,
        .temperature_ratio = tuning->temperature_ratio,
        .moves = (long)tuning->chain_moves,
        .hot_moves = (long)tuning->hot_moves,
        .seed = trainer->config.seed,
    };
    return jsp_feed_create(&trainer->feed, trainer->scores, &config, error);
}

static jsp_status create_network(jsp_trainer *trainer, jsp_error *error) {
    jsp_status status = jsp_edges_create(trainer->scores, trainer->config.order,
                                         &trainer->edges, error);
    if (status != JSP_OK) return status;
    const jsp_params *layout = &trainer->edges->layout;
    trainer->params = jsp_memory_alloc(layout->size, sizeof *trainer->params);
    if (!trainer->params) {
        return jsp_status_no_memory(error, layout->size * sizeof(jsp_real),
                                    "the network");
    }
    jsp_params_fill(layout, trainer->config.seed, trainer->params);
    status = jsp_adam_create(&trainer->adam, layout->size, trainer->params, error);
    trainer->adam.epsilon = trainer->config.tuning.epsilon;
    trainer->adam.average_decay = trainer->config.tuning.average_decay;
    return status;
}

/* One block for the gradients of all shards: large blocks get large pages. */
static jsp_status create_gradients(jsp_trainer *trainer, jsp_error *error) {
    trainer->d_params_row = (trainer->edges->layout.size + 15) / 16 * 16;
    const size_t n = JSP_TRAINER_SHARDS * trainer->d_params_row;
    trainer->d_params = jsp_memory_alloc(n, sizeof *trainer->d_params);
    if (trainer->d_params) return JSP_OK;
    return jsp_status_no_memory(error, n * sizeof(jsp_real), "gradients");
}

static jsp_status allocate(jsp_trainer *trainer, jsp_error *error) {
    size_t batch = (size_t)trainer->config.batch_size;
    trainer->log_q = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->log_reward = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->weight = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->conditional = jsp_memory_alloc(2 * batch, sizeof(double));
    trainer->sorted = jsp_memory_alloc(batch, sizeof(double));
    if (!trainer->log_q || !trainer->log_reward || !trainer->weight ||
        !trainer->conditional || !trainer->sorted) {
        return jsp_status_no_memory(error, 9 * batch * sizeof(double),
                                    "a batch of walks");
    }
    jsp_status status = create_network(trainer, error);
    if (status == JSP_OK) status = create_gradients(trainer, error);
    if (status == JSP_OK) {
        status = jsp_guard_create(&trainer->guard, trainer->edges->layout.size, error);
    }
    if (status == JSP_OK) status = create_chains(trainer, error);
    if (status == JSP_OK) {
        status =
            jsp_trainer_draws_caches_create(&trainer->cache, trainer->config.n_threads,
                                            trainer->scores, error);
    }
    for (int s = 0; s < JSP_TRAINER_SHARDS && status == JSP_OK; s++) {
        status = create_shard(trainer, s, error);
    }
    return status;
}

static void anneal_chain(void *context, int c, int worker) {
    jsp_trainer *trainer = context;
    (void)worker;
    jsp_feed_start(&trainer->feed, c);
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
        jsp_memory_free(trainer->shards[s].walk);
        jsp_memory_free(trainer->shards[s].uniform);
        jsp_memory_free(trainer->shards[s].weight);
        jsp_memory_free(trainer->shards[s].conditional);
        jsp_memory_free(trainer->shards[s].extra_log_q);
        jsp_memory_free(trainer->shards[s].place);
        for (int k = 0; k < JSP_TRAINER_LISTS; k++)
            jsp_hard_destroy(&trainer->shards[s].hard[k]);
    }
    jsp_trainer_draws_caches_destroy(trainer->cache, trainer->config.n_threads);
    jsp_guard_destroy(&trainer->guard);
    jsp_feed_destroy(&trainer->feed);
    jsp_memory_free(trainer->log_q);
    jsp_memory_free(trainer->log_reward);
    jsp_memory_free(trainer->weight);
    jsp_memory_free(trainer->conditional);
    jsp_memory_free(trainer->sorted);
    jsp_memory_free(trainer->params);
    jsp_memory_free(trainer->d_params);
    jsp_adam_destroy(&trainer->adam);
    jsp_edges_destroy(trainer->edges);
    jsp_memory_free(trainer);
}

/* ---- one update ------------------------------------------------------------------ */

static int count_own(const jsp_trainer *trainer, const jsp_trainer_shard *part) {
    return trainer->has_own ? part->n : 0;
}

/* Where the walks of a shard begin in the arrays over all walks of an update. */
static int first_walk(const jsp_trainer *trainer, const jsp_trainer_shard *part) {
    return trainer->has_own ? 2 * part->first : part->first;
}

/* Streams of an update are named by its number plus 1; step 0 is the annealing. */
static uint32_t stream_step(const jsp_trainer *trainer) {
    return (uint32_t)trainer->update + 1;
}

static void start_own_walk(jsp_trainer *trainer, jsp_trainer_shard *part, int k) {
    const int n_slots = trainer->edges->n_slots;
    double *uniform = part->uniform + (size_t)k * (size_t)n_slots;
    jsp_rng rng;
    jsp_rng_init(&rng, trainer->config.seed, stream_step(trainer),
                 (uint32_t)(part->first + k), JSP_RNG_TRAJECTORY);
    jsp_rng_fill_uniform(&rng, n_slots, uniform);
    part->walk[k] = (jsp_edges_walk){.uniform = uniform};
}

static void start_chain_walk(jsp_trainer *trainer, jsp_trainer_shard *part, int k) {
    const int c = part->first + k;
    jsp_feed_step(&trainer->feed, c, stream_step(trainer));
    part->walk[count_own(trainer, part) + k] =
        (jsp_edges_walk){.target = jsp_feed_state(&trainer->feed, c)};
}

/* Walks along hard graphs. */
static void start_hard_walks(jsp_trainer *trainer, jsp_trainer_shard *part) {
    const size_t D = (size_t)trainer->scores->n_variables;
    jsp_edges_walk *walk = part->walk + 2 * part->n;
    part->n_extra = 0;
    for (int kind = 0; kind < JSP_TRAINER_LISTS && trainer->has_own; kind++) {
        jsp_hard *hard = &part->hard[kind];
        int *place = part->place + part->n_extra;
        part->n_shown[kind] = jsp_hard_take(hard, part->n_hard[kind], place);
        for (int k = 0; k < part->n_shown[kind]; k++) {
            const uint32_t *graph = hard->local + (size_t)place[k] * D;
            walk[part->n_extra++] = (jsp_edges_walk){.target = graph};
        }
    }
}

/* Moves the chains of one shard and runs its walks. */
static void forward_shard(void *context, int s, int worker) {
    jsp_trainer *trainer = context;
    jsp_trainer_shard *part = &trainer->shards[s];
    const int n_own = count_own(trainer, part), first = first_walk(trainer, part);
    for (int k = 0; k < n_own; k++) start_own_walk(trainer, part, k);
    for (int k = 0; k < part->n; k++) start_chain_walk(trainer, part, k);
    start_hard_walks(trainer, part);
    jsp_edges_rollout_forward(part->rollout, trainer->params, &trainer->cache[worker],
                              n_own + part->n + part->n_extra, part->walk);
    part->squares[0] = part->squares[1] = 0;
    if (trainer->config.tuning.conditional_share > 0)
        jsp_edges_rollout_condition(part->rollout, n_own + part->n, part->squares);
    for (int k = 0; k < n_own + part->n; k++) {
        trainer->log_q[first + k] = part->walk[k].log_q;
        trainer->log_reward[first + k] =
            jsp_scores_log_reward(trainer->scores, part->walk[k].chosen);
    }
    for (int k = 0; k < part->n_extra; k++) {
        const jsp_edges_walk *walk = &part->walk[n_own + part->n + k];
        part->extra_log_q[k] = walk->log_q;
        part->extra_log_reward[k] =
            jsp_scores_log_reward(trainer->scores, walk->chosen);
    }
}

static void backward_shard(void *context, int s, int worker) {
    jsp_trainer *trainer = context;
    jsp_trainer_shard *part = &trainer->shards[s];
    const size_t n = (size_t)(count_own(trainer, part) + part->n);
    const size_t extra = (size_t)part->n_extra;
    (void)worker;
    if (s == 0) /* sum_gradients has cleared the others */
        memset(part->d_params, 0, trainer->edges->layout.size * sizeof(jsp_real));
    memcpy(part->weight, trainer->weight + first_walk(trainer, part),
           n * sizeof *part->weight);
    memcpy(part->weight + n, part->extra_weight, extra * sizeof *part->weight);
    memcpy(part->conditional, trainer->conditional + first_walk(trainer, part),
           n * sizeof *part->conditional);
    jsp_edges_rollout_backward(part->rollout, trainer->params, (int)(n + extra),
                               part->weight, part->conditional, part->d_params);
}

/* Numbers of a gradient that are added up for all shards before the next ones are: they
 * stay in the first-level cache. */
#define CHUNK ((size_t)1024)

/* Adds the gradient blocks of all shards into the first, pairwise in a fixed tree, and
 * clears the others for the next update. */
static void sum_gradients(jsp_trainer *trainer) {
    const size_t size = trainer->edges->layout.size;
    const jsp_trainer_shard *shards = trainer->shards;
    for (size_t first = 0; first < size; first += CHUNK) {
        const size_t n = size - first < CHUNK ? size - first : CHUNK;
        for (int step = 1; step < JSP_TRAINER_SHARDS; step *= 2) {
            for (int s = 0; s + step < JSP_TRAINER_SHARDS; s += 2 * step) {
                jsp_kernels_active()->add(n, shards[s + step].d_params + first,
                                          shards[s].d_params + first);
            }
        }
        for (int s = 1; s < JSP_TRAINER_SHARDS; s++)
            memset(shards[s].d_params + first, 0, n * sizeof(jsp_real));
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
        const jsp_trainer_shard *part = &trainer->shards[s];
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
    double mean = 0, squares = 0, n = 0; /* Welford's sums */
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        const jsp_trainer_shard *part = &trainer->shards[s];
        const int n_own = count_own(trainer, part);
        for (int k = n_own; k < n_own + part->n; k++) {
            metrics->chain_log_q +=
                trainer->log_q[first_walk(trainer, part) + k] / batch;
            const double log_reward =
                trainer->log_reward[first_walk(trainer, part) + k];
            const double step = (log_reward - mean) / ++n;
            squares += step * step * n * (n - 1);
            mean += step;
            metrics->n_edges += (double)part->walk[k].n_edges / batch;
        }
    }
    trainer->mean_log_reward = mean;
    trainer->sd_log_reward = sqrt(squares / n);
}

/* Offers every own draw to one chain: independence Metropolis-Hastings with q as the
 * proposal, which lets chains jump between modes. Returns the accepted share. */
static double propose_to_chains(jsp_trainer *trainer) {
    int accepted = 0;
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        jsp_trainer_shard *part = &trainer->shards[s];
        const double *log_q = trainer->log_q + first_walk(trainer, part);
        const double *log_reward = trainer->log_reward + first_walk(trainer, part);
        for (int k = 0; k < part->n; k++) {
            int c = part->n + k;
            double log_ratio = (log_reward[k] - log_q[k]) - (log_reward[c] - log_q[c]);
            jsp_rng rng;
            jsp_rng_init(&rng, trainer->config.seed, stream_step(trainer),
                         (uint32_t)(part->first + k), JSP_RNG_ACCEPT);
            if (log(jsp_rng_uniform(&rng)) >= log_ratio) continue;
            jsp_feed_replace(&trainer->feed, part->first + k, part->walk[k].chosen);
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

/* Remembers graphs of a shard that the policy gets wrong and that matter: chain states
 * it draws far too rarely, own draws that come far too often. Exempt are chain states so
 * improbable that their whole mode hardly counts. */
static void keep_hard(jsp_trainer *trainer, jsp_trainer_shard *part, double centre,
                      double bad) {
    const jsp_trainer_tuning *tuning = &trainer->config.tuning;
    const int n_own = count_own(trainer, part);
    const double *log_q = trainer->log_q + first_walk(trainer, part);
    const double *log_reward = trainer->log_reward + first_walk(trainer, part);
    const double least = trainer->mean_log_reward - tuning->missed_depth -
                         tuning->missed_spread * trainer->sd_log_reward;
    for (int k = 0; k < n_own && part->n_hard[JSP_TRAINER_WILD]; k++) {
        if (log_q[k] - log_reward[k] - centre < tuning->wild_residual) continue;
        jsp_hard_offer(&part->hard[JSP_TRAINER_WILD], part->walk[k].chosen,
                       (int)tuning->wild_turns);
    }
    for (int k = n_own; k < n_own + part->n && part->n_hard[JSP_TRAINER_MISSED]; k++) {
        if (log_q[k] - log_reward[k] - centre > -bad || log_reward[k] < least) continue;
        jsp_hard_offer(&part->hard[JSP_TRAINER_MISSED], part->walk[k].chosen,
                       (int)tuning->missed_turns);
    }
}

/* Mean size of the clipped residuals. */
static double typical_residual(const jsp_trainer *trainer, int T, double centre) {
    double sum = 0;
    for (int t = 0; t < T; t++) {
        sum += fmin(10, fabs(trainer->log_q[t] - trainer->log_reward[t] - centre));
    }
    return sum / T;
}

/* Size of a residual above which a graph counts as hard. */
static double bad_residual(const jsp_trainer *trainer, int T, double centre) {
    const jsp_trainer_tuning *tuning = &trainer->config.tuning;
    return fmax(tuning->missed_residual,
                tuning->missed_ratio * typical_residual(trainer, T, centre));
}

/* Share of full conditionals in the gradient of the present update. */
static double share_of_conditionals(const jsp_trainer *trainer, int T, double centre) {
    double squares[2] = {0, 0};
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        for (int k = 0; k < 2; k++) squares[k] += trainer->shards[s].squares[k];
    }
    return jsp_loss_share(typical_residual(trainer, T, centre), squares,
                          trainer->config.tuning.conditional_share);
}

/* Weights of all walks in the balance phase; returns the loss of T regular ones. Hard
 * graphs keep their weights relative to the other part of balance. */
static double balance(jsp_trainer *trainer, int T) {
    const jsp_trainer_tuning *tuning = &trainer->config.tuning;
    const double centre = jsp_loss_centre(T, trainer->log_q, trainer->log_reward);
    int total = T;
    const double bad = bad_residual(trainer, T, centre);
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) total += trainer->shards[s].n_extra;
    double loss =
        jsp_loss_balance(T, trainer->log_q, trainer->log_reward, centre,
                         tuning->clip_low, tuning->clip_high, total, trainer->weight);
    const double share = share_of_conditionals(trainer, T, centre);
    jsp_loss_mix(T, trainer->log_q, trainer->log_reward, centre, share, total,
                 trainer->weight, trainer->conditional);
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        jsp_trainer_shard *part = &trainer->shards[s];
        jsp_loss_balance(part->n_extra, part->extra_log_q, part->extra_log_reward,
                         centre, tuning->clip_low, tuning->clip_high, total,
                         part->extra_weight);
        for (int k = 0; k < part->n_extra; k++) {
            part->extra_weight[k] *=
                (1 - share) * (k < part->n_shown[JSP_TRAINER_MISSED]
                                   ? tuning->missed_weight
                                   : tuning->wild_weight);
        }
        keep_hard(trainer, part, centre, bad);
    }
    return loss * total / T;
}

/* Starts again from the last good average, with fresh moments. */
static void go_back(jsp_trainer *trainer) {
    jsp_adam *adam = &trainer->adam;
    const size_t n_bytes = adam->size * sizeof(jsp_real);
    memcpy(trainer->params, trainer->guard.good, n_bytes);
    memcpy(adam->average, trainer->guard.good, n_bytes);
    memset(adam->first, 0, n_bytes);
    memset(adam->second, 0, n_bytes);
    adam->t = 0;
    adam->norm_mean = 0;
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
            trainer->guard.rate_factor *
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
        metrics->loss = balance(trainer, T);
        measure_gap(trainer, metrics);
    } else {
        metrics->loss = jsp_loss_likelihood(T, trainer->log_q, trainer->weight);
        if (trainer->config.tuning.conditional_share > 0) {
            memcpy(trainer->conditional, trainer->weight, (size_t)T * sizeof(double));
            memset(trainer->weight, 0, (size_t)T * sizeof(double));
        }
        const double centre = jsp_loss_centre(T, trainer->log_q, trainer->log_reward);
        const double bad = bad_residual(trainer, T, centre);
        for (int s = 0; s < JSP_TRAINER_SHARDS; s++)
            keep_hard(trainer, &trainer->shards[s], centre, bad);
    }
    status = descend(trainer, metrics, error);
    if (status != JSP_OK) return status;
    if (trainer->has_own && trainer->config.tuning.proposals)
        metrics->acceptance = propose_to_chains(trainer);
    for (int s = 0; s < JSP_TRAINER_SHARDS; s++) {
        trainer->n_options +=
            (uint64_t)jsp_edges_rollout_n_options(trainer->shards[s].rollout);
    }
    trainer->update++;
    if (trainer->has_own &&
        jsp_guard_watch(&trainer->guard, metrics->loss, trainer->adam.average)) {
        go_back(trainer);
    }
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

/* ---- names and settings --------------------------------------------------------------- */

const char *jsp_trainer_metric_name(int k) {
    static const char *const names[] = {
        "phase",         "loss",       "gap",         "own_gap_median",
        "own_ess",       "acceptance", "chain_log_q", "gradient_norm",
        "learning_rate", "progress",   "n_edges",
    };
    int n = (int)(sizeof names / sizeof *names);
    return k >= 0 && k < n ? names[k] : NULL;
}

void jsp_trainer_tuning_default(int batch_size, int n_variables,
                                jsp_trainer_tuning *tuning) {
    /* a quarter of the batch, up to the size that was measured */
    const int quarter = batch_size < 32 ? batch_size / 4 : 8;
    /* beyond 20 variables 200 moves leave most pairs as they were an update ago */
    const double moves = n_variables > 20 ? 40.0 * n_variables : 200;
    *tuning = (jsp_trainer_tuning){
        .n_ensembles = quarter,
        .n_missed = quarter,
        .n_wild = quarter,
        .n_temperatures = 20,
        .temperature_ratio = 0.7,
        .chain_moves = moves,
        .hot_moves = 50,
        .hard_capacity = 256,
        .missed_depth = 12,
        .missed_spread = 3,
        .missed_residual = 2,
        .missed_ratio = 3,
        .missed_turns = 100,
        .missed_weight = 0.1,
        .wild_residual = 10,
        .wild_turns = 10,
        .wild_weight = 0.3,
        .clip_low = -10,
        .clip_high = 10,
        .conditional_share = 0.8,
        .proposals = 1,
        .epsilon = 1e-5,
        .average_decay = 0.995,
    };
}

const char *jsp_trainer_tuning_name(int k) {
    static const char *const names[] = {
        "n_ensembles",   "n_temperatures",    "temperature_ratio",
        "chain_moves",   "hot_moves",         "n_missed",
        "n_wild",        "hard_capacity",     "missed_depth",
        "missed_spread", "missed_residual",   "missed_ratio",
        "missed_turns",  "missed_weight",     "wild_residual",
        "wild_turns",    "wild_weight",       "clip_low",
        "clip_high",     "conditional_share", "proposals",
        "epsilon",       "average_decay",
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
