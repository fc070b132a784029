/* jsp_edges.h - the `edges` generator: how a DAG is built, decision by decision.
 *
 * Our extension; the published method orders edges freely and so cannot give log q of a
 * graph in closed form. Here the unordered candidate pairs stand in one fixed order,
 * the slots, strongest first. A walk visits them once and decides each pair {a, b}
 * three ways: no edge, a -> b, or b -> a, with weights
 *
 *     1 + f_0,   (e^D_ab + f_ab) e^c_ab,   (e^D_ba + f_ba) e^c_ba,
 *     f_k = e^-8 s min(1, e^25 w_k / s)^(1/4),
 *
 * where w_k are 1, e^D_ab and e^D_ba and s is their sum, leaving out directions that are
 * not open. D are marginal log-odds from restricted sums of the score tables given
 * everything decided so far, c corrections of a small network shared by all pairs. D knows
 * nothing of what the choices of other nodes will ask for: after a rare choice, one with
 * D = -30 may be the only good one, and f brings it within reach of what c can learn from a
 * few encounters. What is hundreds of nats worse is not brought back: own draws would meet
 * it too seldom for c to learn that it is bad. Every DAG has exactly one walk, so log q(G)
 * is the sum of the log-probabilities of its decisions, exactly, and the backward
 * probability of the GFlowNet is 1. Whatever the base odds are, they only define q; log R
 * always comes from the tables of doubles. Required edges are in every graph: they are
 * there before the walk begins and their pairs have no slot.
 *
 * The order of the slots matters more than anything else: on a problem of 8 variables
 * the untrained policy is 1.2 nats from the posterior with the strongest pair first and
 * 200 with the weakest first. Orders that lost: child by child, index order, re-sorting
 * after every edge. Look-ahead sums as part of the base logit over-count and lost as
 * well; as an input with a learned weight they help. */
#ifndef JSP_EDGES_H
#define JSP_EDGES_H

#include "jsp_edges_state.h"
#include "jsp_mlp.h"

#define JSP_EDGES_FEATURES 24
#define JSP_EDGES_MAX_HIDDEN 64

typedef struct jsp_edges_slot {
    int16_t a, b;  /* variables, a < b */
    int8_t bit_ab; /* local index of a at child b, -1 when not a candidate */
    int8_t bit_ba; /* local index of b at child a, -1 when not a candidate */
} jsp_edges_slot;

/* Offsets of the tensors in the parameter block, H = `hidden`. Direction d of slot p has row 2 p + d,
 * d = 0 for a -> b and 1 for b -> a. */
typedef struct jsp_edges_tensors {
    size_t parent_embedding; /* [D, H] added before the first ReLU */
    size_t child_embedding;  /* [D, H] */
    size_t edge_embedding;   /* [2 slots, H] summed over the edges so far, times
                                 pool_scale */
    size_t pair_embedding;   /* [2 slots, H] added before the first ReLU, */
    size_t above, below;     /* [D, 2 H] and these, see jsp_edges_ends.h; all three only
                                 when is_large */
    size_t output;           /* [H] */
    size_t pair_output;      /* [2 slots, H] added to `output` for one direction */
    size_t pair_bias;        /* [2 slots] */
    size_t odds_weight;      /* [1] weight of D clipped to +-8 in the correction */
    size_t look_ahead_weight; /* [1] weight of the look-ahead sum clipped to +-8 */
} jsp_edges_tensors;

typedef struct jsp_edges {
    const jsp_scores *scores; /* borrowed; must outlive the generator */
    int n_slots;
    int n_directed;       /* directed candidate pairs: bound on options of one walk */
    jsp_edges_slot *slot; /* [n_slots] owned */
    int policy; /* version of what parameters mean; states with another one are refused */
    int is_large; /* many variables: a wider network that sees more */
    int hidden;   /* width of the network, at most JSP_EDGES_MAX_HIDDEN */
    jsp_params layout;
    jsp_mlp mlp;
    jsp_edges_tensors tensor;
    jsp_real pool_scale; /* of the sum over all edges that an option sees */
    float half_log[JSP_MAX_VARIABLES + 1]; /* log(n) / 2, a feature of set sizes */
    jsp_edges_state initial; /* the required edges, copied at the start of every walk */
    char *initial_memory;    /* owned */
} jsp_edges;

/* order : 0 for the strongest pair first; others are the same but for pairs of like
 *         strength, which each order ranks in its own way */
jsp_status jsp_edges_create(const jsp_scores *scores, int order, jsp_edges **out,
                            jsp_error *error);
void jsp_edges_destroy(jsp_edges *edges); /* NULL allowed */

#endif
