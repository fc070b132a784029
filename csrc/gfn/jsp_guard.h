/* jsp_guard.h - notices a training that has fallen apart, and brings it back.
 *
 * A loss can stay finite and yet be lost: after tens of thousands of updates at a high
 * rate some policies that had been exact left their place for good. The guard follows
 * the mean loss over stretches of updates of the balance phase. After a stretch that is
 * no worse than twice the best one it keeps a copy of the averaged parameters; after one
 * that is far worse than the best, the owner starts again from that copy at half the
 * rate. Everything is a function of the losses, so nothing depends on time. */
#ifndef JSP_GUARD_H
#define JSP_GUARD_H

#include "jsp_params.h"

#define JSP_GUARD_STRETCH 200 /* updates */

typedef struct jsp_guard {
    size_t size;
    jsp_real *good;      /* [size] averaged parameters to go back to; owned */
    double best_loss;    /* least mean over a stretch, 0 = none yet */
    double sum;          /* of the losses of the present stretch */
    double n;            /* updates in it */
    double rate_factor;  /* what the learning rate is multiplied with */
    double n_roll_backs; /* so far */
} jsp_guard;

jsp_status jsp_guard_create(jsp_guard *guard, size_t size, jsp_error *error);
void jsp_guard_destroy(jsp_guard *guard); /* all-zero allowed */

/* Takes the loss of an update with the averaged parameters after it. Returns 1 when the
 * owner must go back to `good`; the rate has been halved then. */
int jsp_guard_watch(jsp_guard *guard, double loss, const jsp_real *average);

#endif
