/* jsp_tempering.c - parallel tempering of structure chains: one ensemble.
 *
 * The random stream of a replica is named by (seed, round, ensemble and temperature),
 * that of the swaps by (seed, round, ensemble): no state has to be carried from round
 * to round, and a run that is cut into pieces gives the same bits.
 */
#include "jsp_tempering.h"

#include <math.h>

#include "jsp_memory.h"

#define ANNEALING_STEPS 20
#define ANNEALING_RATIO 0.7
#define ANNEALING_MOVES 2000

void jsp_tempering_plan_geometric(jsp_tempering_plan *plan, int n_temperatures,
                                  double ratio, long cold_moves, long hot_moves) {
    plan->n_temperatures = n_temperatures;
    for (int k = 0; k < n_temperatures; k++) {
        plan->beta[k] = k ? plan->beta[k - 1] * ratio : 1.0;
        plan->moves[k] = k ? hot_moves : cold_moves;
    }
}

static void begin_stream(const jsp_tempering *ensemble, uint32_t step, int replica,
                         jsp_rng *rng) {
    jsp_rng_init(rng, ensemble->seed, step,
                 ensemble->index * JSP_TEMPERING_MAX + (uint32_t)replica,
                 JSP_RNG_TEMPERING);
}

/* Round numbers begin at 1: step 0 of the streams belongs to the start. Ensembles with
 * an odd index are quenched from the hottest temperature instead of annealed: they end
 * in other modes than the annealed ones, so that chains which cannot leave a mode
 * disagree and are found out. */
static void start_replica(jsp_tempering *ensemble, int k) {
    const double beta = ensemble->plan->beta[k];
    jsp_chain_state *state = &ensemble->state[k];
    jsp_rng rng;
    begin_stream(ensemble, 0, k, &rng);
    jsp_chain_reset(ensemble->scores, state);
    for (int t = ANNEALING_STEPS - 1; t > 0; t--) {
        double hotter = pow(ANNEALING_RATIO, t);
        if (hotter >= beta) break;
        if (ensemble->index % 2 && t < ANNEALING_STEPS - 1) continue;
        jsp_chain_step(ensemble->scores, ensemble->moves, hotter, ANNEALING_MOVES, &rng,
                       state);
    }
    jsp_chain_step(ensemble->scores, ensemble->moves, beta, ANNEALING_MOVES, &rng,
                   state);
    ensemble->log_reward[k] = jsp_scores_log_reward(ensemble->scores, state->local);
}

jsp_status jsp_tempering_create(jsp_tempering *ensemble, const jsp_scores *scores,
                                const jsp_chain_moves *moves,
                                const jsp_tempering_plan *plan, uint64_t seed,
                                uint32_t index, jsp_error *error) {
    const size_t n = (size_t)plan->n_temperatures, D = (size_t)scores->n_variables;
    *ensemble = (jsp_tempering){
        .scores = scores, .moves = moves, .plan = plan, .seed = seed, .index = index};
    ensemble->state = jsp_memory_alloc(n, sizeof *ensemble->state);
    ensemble->log_reward = jsp_memory_alloc(n, sizeof *ensemble->log_reward);
    ensemble->heading = jsp_memory_alloc(n, sizeof *ensemble->heading);
    ensemble->accepted_moves = jsp_memory_alloc(n, sizeof *ensemble->accepted_moves);
    ensemble->tried_swaps = jsp_memory_alloc(n, sizeof *ensemble->tried_swaps);
    ensemble->accepted_swaps = jsp_memory_alloc(n, sizeof *ensemble->accepted_swaps);
    ensemble->local = jsp_memory_alloc(n * D, sizeof *ensemble->local);
    ensemble->parents = jsp_memory_alloc(n * D, sizeof *ensemble->parents);
    if (!ensemble->state || !ensemble->log_reward || !ensemble->heading ||
        !ensemble->accepted_moves || !ensemble->tried_swaps ||
        !ensemble->accepted_swaps || !ensemble->local || !ensemble->parents) {
        jsp_tempering_destroy(ensemble);
        return jsp_status_no_memory(error, n * D * (sizeof(jsp_bits) + 4),
                                    "the replicas of a tempered chain");
    }
    for (size_t k = 0; k < n; k++) {
        ensemble->state[k].local = ensemble->local + k * D;
        ensemble->state[k].parents = ensemble->parents + k * D;
        start_replica(ensemble, (int)k);
    }
    return JSP_OK;
}

void jsp_tempering_destroy(jsp_tempering *ensemble) {
    jsp_memory_free(ensemble->state);
    jsp_memory_free(ensemble->log_reward);
    jsp_memory_free(ensemble->heading);
    jsp_memory_free(ensemble->accepted_moves);
    jsp_memory_free(ensemble->tried_swaps);
    jsp_memory_free(ensemble->accepted_swaps);
    jsp_memory_free(ensemble->local);
    jsp_memory_free(ensemble->parents);
    *ensemble = (jsp_tempering){0};
}

void jsp_tempering_set(jsp_tempering *ensemble, uint32_t round,
                       const uint32_t *replica) {
    const jsp_scores *scores = ensemble->scores;
    ensemble->round = round;
    for (int k = 0; k < ensemble->plan->n_temperatures; k++) {
        jsp_chain_state *state = &ensemble->state[k];
        jsp_chain_set(scores, replica + (size_t)k * (size_t)scores->n_variables, state);
        ensemble->log_reward[k] = jsp_scores_log_reward(scores, state->local);
    }
}

static void exchange(jsp_tempering *ensemble, int a) {
    jsp_chain_state state = ensemble->state[a];
    double log_reward = ensemble->log_reward[a];
    int8_t heading = ensemble->heading[a];
    ensemble->state[a] = ensemble->state[a + 1];
    ensemble->log_reward[a] = ensemble->log_reward[a + 1];
    ensemble->heading[a] = ensemble->heading[a + 1];
    ensemble->state[a + 1] = state;
    ensemble->log_reward[a + 1] = log_reward;
    ensemble->heading[a + 1] = heading;
}

static void swap_neighbours(jsp_tempering *ensemble) {
    const double *beta = ensemble->plan->beta, *log_reward = ensemble->log_reward;
    const int n = ensemble->plan->n_temperatures;
    jsp_rng rng;
    jsp_rng_init(&rng, ensemble->seed, ensemble->round, ensemble->index, JSP_RNG_SWAP);
    for (int a = (int)(ensemble->round & 1); a + 1 < n; a += 2) {
        double gain = (beta[a] - beta[a + 1]) * (log_reward[a + 1] - log_reward[a]);
        double u = jsp_rng_uniform(&rng);
        ensemble->tried_swaps[a]++;
        if (gain >= 0 || u < exp(gain)) {
            exchange(ensemble, a);
            ensemble->accepted_swaps[a]++;
        }
    }
}

static void follow_trips(jsp_tempering *ensemble) {
    const int hottest = ensemble->plan->n_temperatures - 1;
    if (hottest == 0) return;
    ensemble->heading[hottest] = -1;
    if (ensemble->heading[0] == -1) ensemble->round_trips++;
    ensemble->heading[0] = 1;
}

void jsp_tempering_step(jsp_tempering *ensemble) {
    const jsp_tempering_plan *plan = ensemble->plan;
    const jsp_scores *scores = ensemble->scores;
    for (int k = 0; k < plan->n_temperatures; k++) {
        jsp_chain_state *state = &ensemble->state[k];
        jsp_rng rng;
        begin_stream(ensemble, ensemble->round + 1, k, &rng);
        ensemble->accepted_moves[k] +=
            jsp_chain_step(scores, ensemble->moves, plan->beta[k], plan->moves[k], &rng,
                           state);
        ensemble->log_reward[k] = jsp_scores_log_reward(scores, state->local);
    }
    swap_neighbours(ensemble);
    follow_trips(ensemble);
    ensemble->round++;
}
