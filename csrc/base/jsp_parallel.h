/* jsp_parallel.h - the only parallel construct of the core.
 *
 * Results must not depend on the number of threads, so work is cut into a fixed number
 * of tasks, each with memory of its own; which thread runs a task is open. `worker` only
 * picks scratch memory and caches whose content never changes a result. */
#ifndef JSP_PARALLEL_H
#define JSP_PARALLEL_H

#include "jspgfn.h"

typedef void (*jsp_parallel_task)(void *context, int task, int worker);

/* Runs task(context, t, worker) for t = 0 .. n_tasks-1, 0 <= worker < max(1, n_threads).
 * With n_threads <= 1, without OpenMP, or with one task it is a plain loop in which no
 * OpenMP function is called (so it is safe after fork). Tasks are handed out dynamically. */
void jsp_parallel_for(int n_threads, int n_tasks, jsp_parallel_task task, void *context);

/* 1 when built with OpenMP. */
int jsp_parallel_has_openmp(void);

/* Threads OpenMP would use by itself (OMP_NUM_THREADS and limits included); 1 without. */
int jsp_parallel_max_threads(void);

#endif
