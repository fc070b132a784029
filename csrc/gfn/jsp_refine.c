/* jsp_refine.c - Metropolis-Hastings on draws, in groups that walk in step.
 *
 * One task is a group of draws that goes through all sweeps. A proposal and its way back
 * are two walks of the same rollout: 2 n walks for n draws.
 */
#include "jsp_refine.h"

#include <math.h>
#include <string.h>

#include "jsp_chain.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Draws per task. */
#define GROUP 32

#define CACHE_BYTES ((size_t)1 << 23)

/* Smallest block; sizes double up to 64. */
#define SMALLEST_BLOCK 4
#define LARGEST_BLOCK 64

/* Added to the weight by which a block grows along a slot, so that every pair of
 * candidates can be in a block. */
#define LEAST_WEIGHT 1e-3

/* Memory of one worker. */
typedef struct bench {
    jsp_edges_rollout *rollout;
    jsp_edges_cache cache;
    double *uniform;   /* [GROUP, slots] */
    double *pull;      /* [slots] scratch of choose_block */
    uint8_t *redraw;   /* [slots] */
    jsp_bits *parents; /* [D] of the chain that makes local moves */
} bench;

typedef struct job {
    const jsp_edges *edges;
    const jsp_real *params;
    const jsp_refine_config *config;
    int n_levels;
    int size[JSP_REFINE_MAX_LEVELS];
    long n;
    uint32_t *parents;     /* [n, D] */
    int32_t *accepted;     /* [n, JSP_REFINE_MAX_LEVELS] */
    double *weight;        /* [slots] by which blocks grow */
    jsp_chain_moves moves; /* owned */
    bench *benches;        /* [workers] owned */
} job;

int jsp_refine_levels(int n_variables, int size[JSP_REFINE_MAX_LEVELS]) {
    int n = 0;
    for (int m = SMALLEST_BLOCK; m <= LARGEST_BLOCK && m < n_variables; m *= 2) {
        size[n++] = m;
    }
    size[n++] = n_variables;
    return n;
}

/* ---- blocks ---------------------------------------------------------------------- */

/* How undecided a slot is at the start: p (1 - p) of "some edge", plus a little. */
static void weigh_slots(const jsp_edges *edges, double *weight) {
    const jsp_edges_state *state = &edges->initial;
    for (int p = 0; p < edges->n_slots; p++) {
        const jsp_edges_slot *slot = &edges->slot[p];
        const int child[2] = {slot->b, slot->a}, bit[2] = {slot->bit_ab, slot->bit_ba};
        double odds = 0;
        for (int d = 0; d < 2; d++) {
            if (bit[d] < 0 || !(state->open[child[d]] >> bit[d] & 1)) continue;
            odds += (double)jsp_edges_state_row(state, child[d],
                                                JSP_EDGES_CACHE_EXP)[bit[d]];
        }
        weight[p] = LEAST_WEIGHT + odds / ((1 + odds) * (1 + odds));
    }
}

/* Adds to `block` one variable across a slot with one end inside, the slot drawn by its
 * weight. Returns 0 when there is none. */
static int grow_block(const job *j, double *pull, double u, jsp_bits *block) {
    const jsp_edges *edges = j->edges;
    double total = 0;
    for (int p = 0; p < edges->n_slots; p++) {
        int inside = jsp_bits_has(*block, edges->slot[p].a) +
                     jsp_bits_has(*block, edges->slot[p].b);
        if (inside == 1) total += j->weight[p];
        pull[p] = total;
    }
    if (total == 0) return 0;
    int p = 0;
    while (p < edges->n_slots - 1 && pull[p] <= u * total) p++;
    jsp_bits_add(block, edges->slot[p].a);
    jsp_bits_add(block, edges->slot[p].b);
    return 1;
}

/* redraw[p] = 1 for the slots inside a connected set of m variables. */
static void choose_block(const job *j, int m, jsp_rng *rng, double *pull,
                         uint8_t *redraw) {
    const int D = j->edges->scores->n_variables;
    jsp_bits block = jsp_bits_first(D);
    if (m < D) {
        block = jsp_bits_single((int)(jsp_rng_uniform(rng) * D));
        for (int k = 1; k < m; k++) {
            if (!grow_block(j, pull, jsp_rng_uniform(rng), &block)) break;
        }
    }
    for (int p = 0; p < j->edges->n_slots; p++) {
        const jsp_edges_slot *slot = &j->edges->slot[p];
        redraw[p] =
            (uint8_t)(jsp_bits_has(block, slot->a) && jsp_bits_has(block, slot->b));
    }
}

/* ---- sweeps ---------------------------------------------------------------------- */

static void move_locally(const job *j, bench *b, long sweep, long first, int n) {
    const jsp_scores *scores = j->edges->scores;
    const size_t D = (size_t)scores->n_variables;
    for (int k = 0; k < n; k++) {
        jsp_chain_state state = {j->parents + (size_t)(first + k) * D, b->parents};
        jsp_rng rng;
        jsp_rng_init(&rng, j->config->seed, (uint32_t)sweep,
                     (uint32_t)(j->config->first_draw + first + k),
                     JSP_RNG_REFINE_MOVE);
        jsp_chain_set(scores, state.local, &state);
        jsp_chain_step(scores, &j->moves, 1.0,
                       j->config->moves_per_pair * (long)j->moves.n_moves, &rng,
                       &state);
    }
}

/* One proposal to each of n draws, whose streams are rng [n]. */
static void redraw_block(const job *j, bench *b, int level, long first, int n,
                         jsp_rng *rng) {
    const jsp_scores *scores = j->edges->scores;
    const size_t D = (size_t)scores->n_variables;
    const int n_slots = j->edges->n_slots;
    jsp_edges_walk walk[2 * GROUP]; /* proposals, then the ways back */
    for (int k = 0; k < n; k++) {
        const uint32_t *target = j->parents + (size_t)(first + k) * D;
        double *uniform = b->uniform + (size_t)k * (size_t)n_slots;
        jsp_rng_fill_uniform(&rng[k], n_slots, uniform);
        walk[k] =
            (jsp_edges_walk){.target = target, .uniform = uniform, .redraw = b->redraw};
        walk[n + k] = (jsp_edges_walk){.target = target, .redraw = b->redraw};
    }
    jsp_edges_rollout_forward(b->rollout, j->params, &b->cache, 2 * n, walk);
    for (int k = 0; k < n; k++) {
        uint32_t *present = j->parents + (size_t)(first + k) * D;
        double u = jsp_rng_uniform(&rng[k]);
        if (walk[k].log_q == -INFINITY) continue;
        double log_ratio = jsp_scores_log_reward(scores, walk[k].chosen) -
                           jsp_scores_log_reward(scores, present) + walk[n + k].log_q -
                           walk[k].log_q;
        if (!(log(u) < log_ratio)) continue;
        memcpy(present, walk[k].chosen, D * sizeof *present);
        j->accepted[(first + k) * JSP_REFINE_MAX_LEVELS + level]++;
    }
}

static void run_group(void *context, int task, int worker) {
    const job *j = context;
    bench *b = &j->benches[worker];
    const long first = (long)task * GROUP;
    const int n = (int)(j->n - first < GROUP ? j->n - first : GROUP);
    const jsp_refine_config *config = j->config;
    for (long s = config->first_sweep; s < config->first_sweep + config->n_sweeps;
         s++) {
        jsp_rng rng[GROUP], block_rng;
        move_locally(j, b, s, first, n);
        for (int k = 0; k < n; k++) {
            jsp_rng_init(&rng[k], config->seed, (uint32_t)s,
                         (uint32_t)(config->first_draw + first + k), JSP_RNG_REFINE);
        }
        jsp_rng_init(&block_rng, config->seed, (uint32_t)s, 0, JSP_RNG_REFINE_BLOCK);
        for (int level = 0; level < j->n_levels; level++) {
            choose_block(j, j->size[level], &block_rng, b->pull, b->redraw);
            redraw_block(j, b, level, first, n, rng);
        }
    }
}

/* ---- memory ---------------------------------------------------------------------- */

static jsp_status create_bench(bench *b, const jsp_edges *edges, jsp_error *error) {
    const size_t slots = (size_t)edges->n_slots;
    const size_t D = (size_t)edges->scores->n_variables;
    b->uniform = jsp_memory_alloc(GROUP * slots, sizeof *b->uniform);
    b->pull = jsp_memory_alloc(slots, sizeof *b->pull);
    b->redraw = jsp_memory_alloc(slots, sizeof *b->redraw);
    b->parents = jsp_memory_alloc(D, sizeof *b->parents);
    if (!b->uniform || !b->pull || !b->redraw || !b->parents) {
        return jsp_status_no_memory(error, GROUP * slots * sizeof(double),
                                    "refinement");
    }
    jsp_status status =
        jsp_edges_cache_create(&b->cache, edges->scores, CACHE_BYTES, error);
    if (status != JSP_OK) return status;
    return jsp_edges_rollout_create(edges, 2 * GROUP, 0, &b->rollout, error);
}

static void destroy_bench(bench *b) {
    jsp_edges_rollout_destroy(b->rollout);
    jsp_edges_cache_destroy(&b->cache);
    jsp_memory_free(b->uniform);
    jsp_memory_free(b->pull);
    jsp_memory_free(b->redraw);
    jsp_memory_free(b->parents);
}

jsp_status jsp_refine_run(const jsp_edges *edges, const jsp_real *params,
                          const jsp_refine_config *config, long n, uint32_t *parents,
                          int32_t *accepted, jsp_error *error) {
    const long n_tasks = (n + GROUP - 1) / GROUP;
    const int workers = config->n_threads < 1         ? 1
                        : config->n_threads > n_tasks ? (int)n_tasks
                                                      : config->n_threads;
    job j = {.edges = edges,
             .params = params,
             .config = config,
             .n = n,
             .parents = parents,
             .accepted = accepted};
    memset(accepted, 0, (size_t)n * JSP_REFINE_MAX_LEVELS * sizeof *accepted);
    if (n < 1) return JSP_OK;
    j.n_levels = jsp_refine_levels(edges->scores->n_variables, j.size);
    jsp_status status = jsp_chain_moves_create(&j.moves, edges->scores, error);
    if (status != JSP_OK) return status;
    j.weight = jsp_memory_alloc((size_t)edges->n_slots, sizeof *j.weight);
    j.benches = jsp_memory_alloc((size_t)workers, sizeof *j.benches);
    if (!j.weight || !j.benches) {
        status = jsp_status_no_memory(error, (size_t)edges->n_slots * sizeof(double),
                                      "refinement");
        goto done;
    }
    weigh_slots(edges, j.weight);
    for (int w = 0; w < workers && status == JSP_OK; w++) {
        status = create_bench(&j.benches[w], edges, error);
    }
    if (status == JSP_OK) jsp_parallel_for(workers, (int)n_tasks, run_group, &j);
done:
    for (int w = 0; j.benches && w < workers; w++) destroy_bench(&j.benches[w]);
    jsp_memory_free(j.benches);
    jsp_memory_free(j.weight);
    jsp_chain_moves_destroy(&j.moves);
    return status;
}
