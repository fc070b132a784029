#include "jsp_guard.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"

/* A stretch is lost when its mean loss (in squared nats) is beyond both. */
#define LOST_RATIO 20.0
#define LOST_LOSS 1.0

jsp_status jsp_guard_create(jsp_guard *guard, size_t size, jsp_error *error) {
    *guard = (jsp_guard){.size = size, .rate_factor = 1};
    guard->good = jsp_memory_alloc(size, sizeof *guard->good);
    if (guard->good) return JSP_OK;
    return jsp_status_no_memory(error, size * sizeof *guard->good, "the guard");
}

void jsp_guard_destroy(jsp_guard *guard) {
    jsp_memory_free(guard->good);
    *guard = (jsp_guard){0};
}

int jsp_guard_watch(jsp_guard *guard, double loss, const jsp_real *average) {
    guard->sum += loss;
    guard->n++;
    if (guard->n < JSP_GUARD_STRETCH) return 0;
    const double mean = guard->sum / guard->n;
    guard->sum = guard->n = 0;
    if (guard->best_loss > 0 && mean > LOST_LOSS &&
        mean > LOST_RATIO * guard->best_loss) {
        guard->rate_factor /= 2;
        guard->n_roll_backs++;
        return 1;
    }
    if (guard->best_loss == 0 || mean < 2 * guard->best_loss) {
        memcpy(guard->good, average, guard->size * sizeof *average);
    }
    if (guard->best_loss == 0 || mean < guard->best_loss) {
        guard->best_loss = fmax(mean, 1e-12);
    }
    return 0;
}
