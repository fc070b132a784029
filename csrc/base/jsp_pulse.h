/* jsp_pulse.h - how long work asks its caller, now and then, whether to go on. Header only.
 */
#ifndef JSP_PULSE_H
#define JSP_PULSE_H

#include <stdatomic.h>

typedef struct jsp_pulse {
    /* Called by any thread with the share of the work that is done; anything but 0 = stop.
     * It is not called again after that. */
    int (*ask)(void *context, double share);
    void *context;
    atomic_int is_stopped;
} jsp_pulse;

/* Whether the work has been told to stop, without asking; NULL never stops. */
static inline int jsp_pulse_stopped(jsp_pulse *pulse) {
    return pulse && atomic_load_explicit(&pulse->is_stopped, memory_order_relaxed);
}

/* To be called before a piece of work: asks, and says whether to leave the piece out. */
static inline int jsp_pulse_stops(jsp_pulse *pulse, double share) {
    if (!pulse) return 0;
    if (!jsp_pulse_stopped(pulse) && pulse->ask(pulse->context, share)) {
        atomic_store_explicit(&pulse->is_stopped, 1, memory_order_relaxed);
    }
    return jsp_pulse_stopped(pulse);
}

#endif
