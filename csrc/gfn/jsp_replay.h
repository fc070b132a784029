/* jsp_replay.h - the latest transitions G -> G + (i -> j) of training, packed to a bit per
 * cell. */
#ifndef JSP_REPLAY_H
#define JSP_REPLAY_H

#include "jsp_rng.h"
#include "jsp_status.h"

typedef struct jsp_replay {
    int D;
    size_t n_words;   /* of 32 bits per graph */
    int capacity, n;  /* transitions: room, held */
    int next;         /* where the next one goes; over the oldest when all is full */
    uint32_t *graph;  /* [capacity, n_words] owned */
    uint16_t *action; /* [capacity] i * D + j; owned */
} jsp_replay;

jsp_status jsp_replay_create(jsp_replay *replay, int capacity, int D, jsp_error *error);
void jsp_replay_destroy(jsp_replay *replay); /* all-zero allowed */

/* adjacency [D, D] of G, without the edge `action` */
void jsp_replay_push(jsp_replay *replay, const uint8_t *adjacency, int action);

/* B different transitions, every set equally likely; index [B]. B <= replay->n. */
void jsp_replay_sample(const jsp_replay *replay, jsp_rng *rng, int B, int *index);

/* Unpacks a transition: adjacency [D, D] overwritten; returns the action. */
int jsp_replay_read(const jsp_replay *replay, int index, uint8_t *adjacency);

#endif
