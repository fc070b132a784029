/* jsp_parallel.c - a team of OpenMP threads that take tasks from one ticket.
 *
 * OpenMP rather than threads of our own: its pool is shared with the host's other
 * libraries, and threadpoolctl can limit it. The thread count goes into the num_threads
 * clause and never into omp_set_num_threads, which would change the host's setting.
 *
 * Why not one `omp for` per loop: its barrier waits until every thread of the team has
 * arrived, even one that found no task left. Training runs hundreds of short loops a second,
 * and on a busy machine each barrier then waits for the scheduler: measured with one other
 * process on two cores, two threads did a third of the updates of one. Here the team is
 * formed once for many loops, and a loop is over when its tasks are done, whoever did them;
 * a thread that the scheduler holds back costs nothing unless it holds a task.
 *
 * The ticket packs (loop number, tasks left) into 64 bits. A thread claims a task by
 * lowering the count with compare-and-swap, so a latecomer from an earlier loop cannot
 * claim: its loop number no longer fits. The fields of a loop are read only after a claim,
 * and the driver does not change them before every claimed task is done.
 *
 * OpenMP's threads do not survive a fork, and a child that asks for a team all the same waits
 * for them for ever. So only the process that formed the first team forms teams; its forked
 * children, which know this from the number they inherit, run every loop on one thread. */
#include "jsp_parallel.h"

#include <stdatomic.h>

#include "jsp_cpu.h"

#ifdef _OPENMP
#include <omp.h>
#endif

struct jsp_parallel_team {
    int n_threads;
    int is_crowded;          /* more threads than processors */
    _Atomic uint64_t ticket; /* loop number << 32 | tasks left */
    atomic_int n_done;
    atomic_int stop;
    int n_tasks;
    jsp_parallel_task task;
    void *context;
};

/* How a thread waits: it polls for about as long as the serial part between two loops of
 * a training step takes (waking from sleep takes longer: a thread that slept came 180
 * microseconds late to a loop of two milliseconds); then it offers its core to others; then
 * it sleeps in short naps, so that a long serial part costs nothing. With more threads than
 * processors it naps at once: a thread that polls would keep another from its task. */
enum { POLLS = 4000, YIELDS = 500, NAP_MICROSECONDS = 50 };

static void wait_a_little(const jsp_parallel_team *team, int *n_waits) {
    if (team->is_crowded || *n_waits >= POLLS + YIELDS) {
        jsp_cpu_nap(NAP_MICROSECONDS);
        return;
    }
    if (++*n_waits <= POLLS) {
        jsp_cpu_pause();
    } else {
        jsp_cpu_yield();
    }
}

/* Claims and runs one task. Returns 0 when none is left. */
static int run_task(jsp_parallel_team *team, int worker) {
    uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    do {
        if ((uint32_t)ticket == 0) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&team->ticket, &ticket, ticket - 1,
                                                    memory_order_acq_rel,
                                                    memory_order_acquire));
    team->task(team->context, team->n_tasks - (int)(uint32_t)ticket, worker);
    atomic_fetch_add_explicit(&team->n_done, 1, memory_order_release);
    return 1;
}

void jsp_parallel_team_for(jsp_parallel_team *team, int n_tasks, jsp_parallel_task task,
                           void *context) {
    if (!team || team->n_threads <= 1 || n_tasks <= 1) {
        for (int t = 0; t < n_tasks; t++) task(context, t, 0);
        return;
    }
    uint64_t loop =
        (atomic_load_explicit(&team->ticket, memory_order_relaxed) >> 32) + 1;
    team->n_tasks = n_tasks;
    team->task = task;
    team->context = context;
    atomic_store_explicit(&team->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&team->ticket, loop << 32 | (uint32_t)n_tasks,
                          memory_order_release);
    while (run_task(team, 0)) continue;
    for (int n_waits = 0;
         atomic_load_explicit(&team->n_done, memory_order_acquire) < n_tasks;) {
        wait_a_little(team, &n_waits);
    }
}

#ifdef _OPENMP

/* What every thread but the driver's does: tasks while there are any, until told to stop. */
static void help(jsp_parallel_team *team, int worker) {
    int n_waits = 0;
    while (!atomic_load_explicit(&team->stop, memory_order_acquire)) {
        if (run_task(team, worker)) {
            n_waits = 0;
        } else {
            wait_a_little(team, &n_waits);
        }
    }
}

static int may_form_teams(void) {
    static atomic_long first_process; /* 0 = no team has been formed yet */
    long first = 0, here = jsp_cpu_process();
    return atomic_compare_exchange_strong(&first_process, &first, here) ||
           first == here;
}

static void run_team(jsp_parallel_team *team, jsp_parallel_driver driver,
                     void *context) {
#pragma omp parallel num_threads(team->n_threads)
    {
        int worker = omp_get_thread_num();
        if (worker == 0) {
            driver(context, team);
            atomic_store_explicit(&team->stop, 1, memory_order_release);
        } else {
            help(team, worker);
        }
    }
}

#endif

void jsp_parallel_run(int n_threads, jsp_parallel_driver driver, void *context) {
    jsp_parallel_team team = {.n_threads = 1};
#ifdef _OPENMP
    if (n_threads > 1 && may_form_teams()) {
        team.n_threads = n_threads;
        team.is_crowded = n_threads > omp_get_num_procs();
        run_team(&team, driver, context);
        return;
    }
#endif
    (void)n_threads;
    driver(context, &team);
}

typedef struct single_loop {
    int n_tasks;
    jsp_parallel_task task;
    void *context;
} single_loop;

static void run_single(void *context, jsp_parallel_team *team) {
    const single_loop *loop = context;
    jsp_parallel_team_for(team, loop->n_tasks, loop->task, loop->context);
}

void jsp_parallel_for(int n_threads, int n_tasks, jsp_parallel_task task,
                      void *context) {
    single_loop loop = {n_tasks, task, context};
    jsp_parallel_run(n_threads < n_tasks ? n_threads : n_tasks, run_single, &loop);
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
