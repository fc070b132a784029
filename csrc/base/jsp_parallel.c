/* jsp_parallel.c - a parallel loop over tasks, or a plain one.
 *
 * OpenMP rather than threads of our own: its pool is shared with the host's other
 * libraries, and threadpoolctl can limit it. The thread count goes into the num_threads
 * clause and never into omp_set_num_threads, which would change the host's setting. Tasks
 * are few and unequal, hence dynamic chunks of one. */
#include "jsp_parallel.h"

#ifdef _OPENMP
#include <omp.h>
#endif

void jsp_parallel_for(int n_threads, int n_tasks, jsp_parallel_task task, void *context) {
    if (n_threads > n_tasks) n_threads = n_tasks;
#ifdef _OPENMP
    if (n_threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
        for (int t = 0; t < n_tasks; t++) task(context, t, omp_get_thread_num());
        return;
    }
#endif
    for (int t = 0; t < n_tasks; t++) task(context, t, 0);
}

int jsp_parallel_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int jsp_parallel_max_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}
