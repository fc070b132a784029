/* jsp_edges_features.h - what the shared network sees of one option i -> j. */
#ifndef JSP_EDGES_FEATURES_H
#define JSP_EDGES_FEATURES_H

#include "jsp_edges.h"

/* Two features also enter the correction linearly, so the rollout reads them back: the
 * features hold D / 4 and look-ahead / 4, both clipped to +-8 before scaling. */
enum { JSP_EDGES_FEATURES_ODDS = 0, JSP_EDGES_FEATURES_LOOK_AHEAD = 5 };
#define JSP_EDGES_FEATURES_SCALE 4

/* One direction of a slot. */
typedef struct jsp_edges_features_option {
    int slot;                 /* position of the pair in the order */
    int parent, child;        /* i, j */
    int bit;                  /* local index of i at j */
    int reverse_bit;          /* local index of j at i when j -> i is open, else -1 */
    float look_ahead;         /* of i -> j */
    float reverse_look_ahead; /* of j -> i, 0 when not open */
    float detour;             /* of i -> j; used by large networks only */
    float reverse_detour;     /* of j -> i */
} jsp_edges_features_option;

/* x [JSP_EDGES_FEATURES] overwritten. */
void jsp_edges_features_fill(const jsp_edges *edges, const jsp_edges_state *state,
                             const jsp_edges_features_option *option, jsp_real *x);

#endif
