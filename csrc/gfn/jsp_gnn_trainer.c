/* jsp_gnn_trainer.c - lanes of transitions, Adam, and a step of the environments.
 *
 * A lane owns a block of gradients and works through its transitions in chunks that fit
 * the second-level cache; activations belong to workers, since they never outlive a
 * chunk. The environments' step is one more task beside the lanes. */
#include "jsp_gnn_trainer.h"

#include <math.h>
#include <string.h>

#include "jsp_cpu.h"
#include "jsp_gnn_trainer_inner.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"

/* Nodes per side that are worth a lane of their own: a block of gradients must be cleared,
 * filled from far memory and added, which costs about as much as 60 nodes. Two lanes are
 * made from half of that on, or a second thread would have nothing to do. */
#define LANE_NODES 320
#define TWO_LANES_NODES 160

/* Parts of the blocks of gradients that are added up side by side. */
#define SUM_PARTS 16

void jsp_gnn_trainer_destroy(jsp_gnn_trainer *trainer) {
    if (!trainer) return;
    jsp_gnn_trainer_memory_destroy(trainer);
    jsp_memory_free(trainer);
}

static jsp_status check_model(const jsp_gnn_target *target,
                              const jsp_gnn_trainer_config *config, jsp_error *error) {
    const jsp_model *model = target->setup.model;
    if (!model->log_joint) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the model '%s' has no density at given parameters",
                              model->name);
    }
    if (model->needs_rows && !target->setup.rows) {
        return jsp_status_set(error, JSP_ERROR_VALUE, "the model '%s' needs rows",
                              model->name);
    }
    const int is_mlp = config->head.kind == JSP_HEAD_MLP;
    const int n_units = model->n_units ? model->n_units(&target->setup) : 0;
    if (is_mlp != (n_units > 0) || (is_mlp && n_units != config->head.n_units)) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the head does not have the parameters of the model '%s'",
                              model->name);
    }
    if (config->is_partial && !config->head.is_local) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "residuals of one node need a local head");
    }
    if (config->minibatch_rows > 0 && !jsp_data_n_rows(target->setup.data)) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "minibatches need data that keep their rows");
    }
    return JSP_OK;
}

/* A power of two, so that 2, 4 or 8 threads have equal shares. */
static int count_lanes(long nodes) {
    int lanes = nodes >= TWO_LANES_NODES ? 2 : 1;
    while (2 * lanes <= JSP_GNN_TRAINER_LANES && 2L * lanes * LANE_NODES <= nodes)
        lanes *= 2;
    return lanes;
}

jsp_status jsp_gnn_trainer_create(const jsp_gnn_target *target,
                                  const jsp_gnn_trainer_config *config,
                                  jsp_gnn_trainer **out, jsp_error *error) {
    int n_allowed = 0;
    *out = NULL;
    jsp_status status = check_model(target, config, error);
    if (status != JSP_OK) return status;
    if (config->head_spread > 0 && config->head.kind == JSP_HEAD_MLP) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "head_spread is for the heads 'diag' and 'full'");
    }
    for (int j = 0; j < target->D; j++) {
        jsp_bits allowed = target->allowed[j];
        if (jsp_bits_has(allowed, j)) jsp_bits_remove(&allowed, j);
        if (target->max_parents[j] > 0) n_allowed += jsp_bits_count(allowed);
    }
    if (!n_allowed && config->head.kind == JSP_HEAD_MLP) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "no edge may be added: the head 'mlp' learns from "
                              "transitions, of which there are none");
    }
    jsp_gnn_trainer *trainer = jsp_memory_alloc(1, sizeof *trainer);
    if (!trainer) return jsp_status_no_memory(error, sizeof *trainer, "the trainer");
    trainer->target = target;
    trainer->config = *config;
    if (trainer->config.n_threads < 1) trainer->config.n_threads = 1;
    trainer->n_lanes = count_lanes((long)config->batch_size * target->D);
    status = jsp_gnn_trainer_memory_create(trainer, error);
    if (status != JSP_OK) {
        jsp_gnn_trainer_destroy(trainer);
        return status;
    }
    if (n_allowed) { /* else the empty graph is all there is, see run_update */
        jsp_environments_prefill(&trainer->environments, trainer->config.seed,
                                 trainer->config.n_prefill, &trainer->replay);
    }
    *out = trainer;
    return JSP_OK;
}

/* ---- one update ---------------------------------------------------------------------- */

/* Draws the batch and lists the pairs of variables that occur. */
static void draw_batch(jsp_gnn_trainer *trainer) {
    const int D = trainer->target->D, n = trainer->replay.n;
    const size_t cells = (size_t)D * (size_t)D;
    jsp_graphnet_pairs *pairs = &trainer->net.shared.pairs;
    jsp_rng rng;
    jsp_rng_init(&rng, trainer->config.seed, (uint32_t)trainer->update, 0,
                 JSP_RNG_REPLAY);
    trainer->B = trainer->config.batch_size < n ? trainer->config.batch_size : n;
    jsp_replay_sample(&trainer->replay, &rng, trainer->B, trainer->index);
    for (int b = 0; b < trainer->B; b++) {
        uint8_t *before = trainer->before + (size_t)b * cells;
        uint8_t *after = trainer->after + (size_t)b * cells;
        trainer->action[b] =
            jsp_replay_read(&trainer->replay, trainer->index[b], before);
        memcpy(after, before, cells);
        after[trainer->action[b]] = 1;
    }
    trainer->pull.B = trainer->B;
    trainer->pull.adjacency = trainer->before;
    trainer->pull.action = trainer->frozen ? NULL : trainer->action;
    jsp_graphnet_pairs_reset(pairs, D);
    jsp_graphnet_pairs_collect(pairs, D, trainer->B, trainer->after);
    jsp_graphnet_pairs_collect(pairs, D, trainer->config.n_environments,
                               trainer->environments.adjacency);
    jsp_graphnet_pairs_finish(pairs, D);
}

/* Which rows count is drawn by Knuth's selection: each of those left with the probability
 * of rows still wanted over rows left. */
static void draw_rows(jsp_gnn_trainer *trainer) {
    if (!trainer->row_index) return;
    const jsp_data *data = trainer->target->setup.data;
    const int N = jsp_data_n_rows(data), m = trainer->config.minibatch_rows;
    int chosen = 0;
    jsp_rng rng;
    jsp_rng_init(&rng, trainer->config.seed, (uint32_t)trainer->update, 0,
                 JSP_RNG_ROWS);
    for (int r = 0; chosen < m; r++) {
        if ((N - r) * jsp_rng_uniform(&rng) < m - chosen) {
            trainer->row_index[chosen++] = r;
        }
    }
    jsp_rows_fill(&trainer->rows, data, m, trainer->row_index);
}

static void copy_to_frozen(jsp_gnn_trainer *trainer) {
    memcpy(trainer->frozen, trainer->params,
           trainer->net.layout.size * sizeof *trainer->frozen);
}

/* The side of G' looks at parameters of some updates ago. */
static void run_frozen(jsp_gnn_trainer *trainer) {
    const int D = trainer->target->D;
    jsp_graphnet_pairs *pairs = &trainer->frozen_net.shared.pairs;
    if (!trainer->frozen) return;
    if (trainer->update % trainer->config.target_period == 0) copy_to_frozen(trainer);
    jsp_graphnet_pairs_reset(pairs, D);
    jsp_graphnet_pairs_collect(pairs, D, trainer->B, trainer->after);
    jsp_graphnet_pairs_finish(pairs, D);
    jsp_gnn_net_forward(&trainer->frozen_net, trainer->frozen);
}

/* Graphs and masks of n transitions from `first` on. */
static void fill_sides(const jsp_gnn_trainer *trainer, jsp_gnn_trainer_worker *work,
                       int first, int n) {
    const int D = trainer->target->D;
    const size_t cells = (size_t)D * (size_t)D;
    jsp_dag *dag = work->dag.dag;
    memcpy(work->before.adjacency, trainer->before + (size_t)first * cells,
           (size_t)n * cells);
    memcpy(work->after.adjacency, trainer->after + (size_t)first * cells,
           (size_t)n * cells);
    for (int b = 0; b < n; b++) {
        const int action = trainer->action[first + b];
        work->before.only[b] = work->after.only[b] = action % D;
        jsp_gnn_target_dag(work->before.adjacency + (size_t)b * cells, dag);
        jsp_gnn_target_mask(trainer->target, dag,
                            work->before.mask + (size_t)b * cells);
        jsp_dag_add(dag, action / D, action % D);
        jsp_gnn_target_mask(trainer->target, dag, work->after.mask + (size_t)b * cells);
    }
}

/* Every graph of the batch has a stream of its own. */
static void fill_noise(const jsp_gnn_trainer *trainer, jsp_gnn_side *side, int first,
                       int is_after) {
    for (int b = 0; b < side->head.B; b++) {
        size_t begin, end;
        jsp_rng rng;
        jsp_rng_init(&rng, trainer->config.seed, (uint32_t)trainer->update,
                     (uint32_t)(2 * (first + b) + is_after), JSP_RNG_NOISE);
        jsp_head_entries_of(&side->head, b, &begin, &end);
        jsp_kernels_active()->normals((end - begin) * (size_t)side->K, rng.counter,
                                      rng.key, side->eps + begin * (size_t)side->K);
    }
}

static void start_clock(jsp_gnn_trainer_worker *work) {
    work->clock = jsp_cpu_seconds();
}

/* The time since the last call went to `part`. */
static void note_time(jsp_gnn_trainer_worker *work, enum jsp_gnn_trainer_part part) {
    const double now = jsp_cpu_seconds();
    work->seconds[part] += now - work->clock;
    work->clock = now;
}

static void run_chunk(jsp_gnn_trainer *trainer, jsp_gnn_trainer_worker *work, int first,
                      int n, jsp_real *block, jsp_gnn_loss_sums *sums) {
    const jsp_gnn_trainer_config *config = &trainer->config;
    const jsp_gnn_net_gradient gradient =
        jsp_gnn_net_gradient_place(&trainer->net, block,
                                   jsp_graphnet_pull_from(&trainer->net.gnn.graphnet,
                                                          &trainer->pull, first));
    jsp_gnn_side *side[2] = {&work->before, &work->after};
    fill_sides(trainer, work, first, n);
    note_time(work, JSP_GNN_TRAINER_REPLAY);
    for (int s = 0; s < 2; s++) {
        if (jsp_pulse_stops(trainer->pulse, 0)) return;
        const int is_frozen = s == 1 && trainer->frozen;
        const jsp_gnn_net *net = is_frozen ? &trainer->frozen_net : &trainer->net;
        if (s == 1 && !trainer->frozen) {
            jsp_gnn_side_forward_next(net, trainer->params, side[0], side[1],
                                      trainer->action + first, config->logit_scale);
        } else {
            jsp_gnn_side_forward(net, is_frozen ? trainer->frozen : trainer->params,
                                 side[s], n, config->logit_scale);
        }
        note_time(work, JSP_GNN_TRAINER_FORWARD);
        fill_noise(trainer, side[s], first, s);
        jsp_gnn_side_sample(net, &trainer->batch_target, side[s]);
        note_time(work, JSP_GNN_TRAINER_SAMPLES);
    }
    if (jsp_pulse_stops(trainer->pulse, 0)) return;
    jsp_gnn_loss_transitions(&config->loss, &trainer->net, 1.0 / trainer->B,
                             trainer->action + first, side[0], side[1], work->scratch,
                             sums);
    note_time(work, JSP_GNN_TRAINER_LOSS);
    if (trainer->frozen) {
        jsp_gnn_side_backward(&trainer->net, &trainer->batch_target, trainer->params,
                              side[0], &gradient);
    } else {
        jsp_gnn_side_backward_pair(&trainer->net, &trainer->batch_target,
                                   trainer->params, side[0], side[1],
                                   trainer->action + first, &gradient);
    }
    note_time(work, JSP_GNN_TRAINER_BACKWARD);
}

/* The first block is what all others are added to, and gets the rest of the gradient. */
static void clear_block(jsp_gnn_trainer *trainer, int lane) {
    jsp_real *block = trainer->gradient[lane];
    if (lane == 0) {
        memset(block, 0, jsp_gnn_net_gradient_size(&trainer->net) * sizeof *block);
        return;
    }
    for (int k = 0; k < trainer->n_stretches; k++) {
        const jsp_gnn_net_stretch *s = &trainer->stretch[k];
        memset(block + s->first, 0, s->n * sizeof *block);
    }
}

/* Task 0 are the environments, task 1 + l is lane l. */
static void run_task(void *context, int task, int w) {
    jsp_gnn_trainer *trainer = context;
    start_clock(&trainer->workers[w]);
    if (task == 0) {
        jsp_gnn_shard_forward(&trainer->net.gnn, trainer->params, &trainer->net.shared,
                              &trainer->env_shard, trainer->config.n_environments,
                              trainer->environments.adjacency,
                              trainer->environments.mask, trainer->config.logit_scale);
        /* streams of environments: prefill first, then the updates */
        jsp_environments_choose(&trainer->environments, trainer->config.seed,
                                (uint32_t)(trainer->config.n_prefill + trainer->update),
                                trainer->exploration, trainer->env_shard.log_pi);
        note_time(&trainer->workers[w], JSP_GNN_TRAINER_ENVIRONMENTS);
        return;
    }
    const int lane = task - 1, size = trainer->chunk;
    const int begin = (int)((long)trainer->B * lane / trainer->n_lanes);
    const int end = (int)((long)trainer->B * (lane + 1) / trainer->n_lanes);
    clear_block(trainer, lane);
    trainer->sums[lane] = (jsp_gnn_loss_sums){0};
    note_time(&trainer->workers[w], JSP_GNN_TRAINER_SUM);
    for (int first = begin; first < end; first += size) {
        const int n = end - first < size ? end - first : size;
        if (jsp_pulse_stopped(trainer->pulse)) return;
        run_chunk(trainer, &trainer->workers[w], first, n, trainer->gradient[lane],
                  &trainer->sums[lane]);
    }
}

/* Adds n numbers from `first` on of all blocks into the first, pairwise in a fixed tree. */
static void sum_blocks(const jsp_gnn_trainer *trainer, size_t first, size_t n) {
    for (int step = 1; step < trainer->n_lanes; step *= 2) {
        for (int lane = 0; lane + step < trainer->n_lanes; lane += 2 * step) {
            jsp_kernels_active()->add(n, trainer->gradient[lane + step] + first,
                                      trainer->gradient[lane] + first);
        }
    }
}

/* Part `part` of every stretch. */
static void sum_part(void *context, int part, int w) {
    jsp_gnn_trainer *trainer = context;
    start_clock(&trainer->workers[w]);
    for (int k = 0; k < trainer->n_stretches; k++) {
        const jsp_gnn_net_stretch *s = &trainer->stretch[k];
        const size_t begin = s->n * (size_t)part / SUM_PARTS / 16 * 16;
        const size_t end = part + 1 < SUM_PARTS
                               ? s->n * (size_t)(part + 1) / SUM_PARTS / 16 * 16
                               : s->n;
        sum_blocks(trainer, s->first + begin, end - begin);
    }
    note_time(&trainer->workers[w], JSP_GNN_TRAINER_SUM);
}

static void report(const jsp_gnn_trainer *trainer, jsp_gnn_trainer_metrics *metrics) {
    const size_t cells = (size_t)trainer->target->D * (size_t)trainer->target->D;
    const int B = trainer->B;
    jsp_gnn_loss_sums total = {0};
    size_t n_edges = 0;
    for (int lane = 0; lane < trainer->n_lanes; lane++) {
        total.huber += trainer->sums[lane].huber / B;
        total.penalty += trainer->sums[lane].penalty / B;
        total.residual += trainer->sums[lane].residual / B;
        total.residual_square += trainer->sums[lane].residual_square / B;
    }
    for (size_t k = 0; k < (size_t)B * cells; k++) n_edges += trainer->after[k];
    metrics->huber = total.huber;
    metrics->penalty = total.penalty;
    metrics->loss = total.huber + trainer->config.loss.penalty_weight * total.penalty;
    metrics->residual_mean = total.residual;
    metrics->residual_sd =
        sqrt(fmax(0, total.residual_square - total.residual * total.residual));
    metrics->n_edges = (double)n_edges / B;
}

static void plan_update(const jsp_gnn_trainer *trainer, double time_fraction,
                        jsp_gnn_trainer_metrics *metrics) {
    const jsp_gnn_trainer_config *config = &trainer->config;
    const double pi = 3.14159265358979323846;
    const double done =
        (double)(trainer->update - config->first) / (double)config->n_updates;
    const double progress = fmin(1, fmax(done, time_fraction));
    const double slope = config->exploration_end - config->exploration_start;
    double rate = config->learning_rate;
    if (progress > 1 - config->decay) {
        const double x = (progress - (1 - config->decay)) / config->decay;
        rate *= 0.01 + 0.99 * 0.5 * (1 + cos(pi * x));
    }
    metrics->progress = progress;
    metrics->learning_rate = rate;
    metrics->exploration = config->exploration_start + slope * fmin(1, 2 * progress);
}

static jsp_status check_finite(const jsp_gnn_trainer *trainer, const char *name,
                               double value, jsp_error *error) {
    if (isfinite(value)) return JSP_OK;
    return jsp_status_set(error, JSP_ERROR_NUMERICAL,
                          "update %ld: %s = %g, expected a finite number; a smaller "
                          "learning_rate may help",
                          trainer->update, name, isnan(value) ? fabs(value) : value);
}

static jsp_status run_update(jsp_gnn_trainer *trainer, double time_fraction,
                             jsp_gnn_trainer_metrics *metrics, jsp_error *error) {
    *metrics = (jsp_gnn_trainer_metrics){0};
    plan_update(trainer, time_fraction, metrics);
    if (trainer->replay.n == 0) { /* no edge may be added: nothing to learn */
        trainer->update++;
        return JSP_OK;
    }
    jsp_gnn_trainer_worker *work = &trainer->workers[0];
    trainer->exploration = metrics->exploration;
    start_clock(work);
    jsp_environments_read(&trainer->environments);
    draw_batch(trainer);
    draw_rows(trainer);
    note_time(work, JSP_GNN_TRAINER_REPLAY);
    run_frozen(trainer);
    jsp_gnn_net_forward(&trainer->net, trainer->params);
    note_time(work, JSP_GNN_TRAINER_SHARED);
    jsp_parallel_team_for(trainer->team, 1 + trainer->n_lanes, run_task, trainer);
    if (jsp_pulse_stopped(trainer->pulse)) {
        /* nothing but scratch has changed so far */
        return jsp_status_set(error, JSP_INTERRUPTED, "update %ld was stopped",
                              trainer->update);
    }
    report(trainer, metrics);
    jsp_status status = check_finite(trainer, "loss", metrics->loss, error);
    if (status != JSP_OK) return status;
    jsp_parallel_team_for(trainer->team, SUM_PARTS, sum_part, trainer);
    const jsp_gnn_net_gradient gradient =
        jsp_gnn_net_gradient_place(&trainer->net, trainer->gradient[0], trainer->pull);
    start_clock(work);
    jsp_gnn_net_backward(&trainer->net, trainer->params, &gradient);
    note_time(work, JSP_GNN_TRAINER_SHARED);
    metrics->gradient_norm = jsp_adam_step(&trainer->adam, metrics->learning_rate,
                                           gradient.params, trainer->params);
    note_time(work, JSP_GNN_TRAINER_SUM);
    status =
        check_finite(trainer, "norm of the gradient", metrics->gradient_norm, error);
    if (status != JSP_OK) return status;
    jsp_environments_move(&trainer->environments, &trainer->replay);
    trainer->update++;
    return JSP_OK;
}

typedef struct step_job {
    jsp_gnn_trainer *trainer;
    long n_updates;
    double time_fraction;
    jsp_gnn_trainer_metrics *metrics; /* [n_updates] */
    long n_done;
    jsp_error *error;
    jsp_status status;
} step_job;

static void set_team(jsp_gnn_trainer *trainer, jsp_parallel_team *team) {
    trainer->team = trainer->adam.team = team;
    trainer->net.shared.team = trainer->frozen_net.shared.team = team;
}

static void run_updates(void *context, jsp_parallel_team *team) {
    step_job *job = context;
    set_team(job->trainer, team);
    while (job->n_done < job->n_updates && job->status == JSP_OK) {
        job->status = run_update(job->trainer, job->time_fraction,
                                 &job->metrics[job->n_done], job->error);
        job->n_done += job->status == JSP_OK;
    }
    set_team(job->trainer, NULL); /* it does not outlive the call */
}

jsp_status jsp_gnn_trainer_step(jsp_gnn_trainer *trainer, long n_updates,
                                double time_fraction, jsp_gnn_trainer_metrics *metrics,
                                long *n_done, jsp_pulse *pulse, jsp_error *error) {
    step_job job = {trainer, n_updates, time_fraction, metrics, 0, error, JSP_OK};
    trainer->pulse = pulse;
    jsp_parallel_run(trainer->config.n_threads, run_updates, &job);
    trainer->pulse = NULL;
    *n_done = job.n_done;
    return job.status;
}

jsp_gnn_trainer_view jsp_gnn_trainer_open(jsp_gnn_trainer *trainer) {
    return (jsp_gnn_trainer_view){
        .config = &trainer->config,
        .net = &trainer->net,
        .adam = &trainer->adam,
        .params = trainer->params,
        .frozen = trainer->frozen,
        .update = &trainer->update,
        .replay = &trainer->replay,
        .environment = trainer->environments.dag.dag,
    };
}

double jsp_gnn_trainer_seconds(const jsp_gnn_trainer *trainer, int part) {
    double sum = 0;
    for (int w = 0; w < trainer->config.n_threads; w++) {
        sum += trainer->workers[w].seconds[part];
    }
    return sum;
}

const char *jsp_gnn_trainer_part_name(int part) {
    static const char *const names[JSP_GNN_TRAINER_PARTS] = {"replay",   "environments",
                                                             "shared",   "forward",
                                                             "samples",  "loss",
                                                             "backward", "sum"};
    return part >= 0 && part < JSP_GNN_TRAINER_PARTS ? names[part] : NULL;
}

const char *jsp_gnn_trainer_metric_name(int k) {
    static const char *const names[] = {"loss",          "huber",       "penalty",
                                        "residual_mean", "residual_sd", "gradient_norm",
                                        "learning_rate", "exploration", "progress",
                                        "n_edges"};
    const int n = (int)(sizeof names / sizeof names[0]);
    return k >= 0 && k < n ? names[k] : NULL;
}
