/* jspgfn.h - what the whole core shares: limits, status codes and the letters for sizes.
 *
 * The core samples directed acyclic graphs (DAGs) together with the parameters of a
 * Bayesian network. It is plain C11: it never prints, never exits, and does not know
 * Python. Folders are layers; a file may include its own folder, folders further left
 * and this header:
 *
 *     base <- kernels <- nn, score, dag <- gfn <- py
 *
 * Letters that stand for one size everywhere:
 *
 *     B  rows of a batch          D  variables (nodes)        E  edges
 *     H  width of a hidden layer  K  candidate parents        N  rows of data
 *     P  numbers in a parameter block                         T  trajectories
 *
 * Graphs: A[i, j] = 1 means i -> j, i is a parent of j. All logarithms are natural.
 *
 * Parent sets come in two forms. A jsp_bits (base/jsp_bits.h) has one bit per variable.
 * A local mask (uint32_t) has one bit per candidate parent of one node, in the order of
 * that node's candidate list; tables of scores are indexed by local masks.
 */
#ifndef JSPGFN_H
#define JSPGFN_H

#include <stddef.h>
#include <stdint.h>

/* Largest number of variables (eight 64-bit words per set of nodes). */
#define JSP_MAX_VARIABLES 512

/* Largest number of variables of the published method, whose networks work on all D^2
 * pairs at once and whose actions are 16-bit numbers. */
#define JSP_MAX_NETWORK_VARIABLES 128

/* Largest number of parents of one node, in any graph whose parameters are drawn. */
#define JSP_MAX_PARENTS 127

/* Largest number of candidate parents of one node (a table has 2^K entries). */
#define JSP_MAX_CANDIDATES 24

/* Largest number of states of one discrete variable (codes are 16 bits). */
#define JSP_MAX_STATES 65535

typedef enum jsp_status {
    JSP_OK = 0,
    JSP_ERROR_MEMORY,    /* an allocation failed */
    JSP_ERROR_VALUE,     /* an argument is not acceptable; the message names it */
    JSP_ERROR_NUMERICAL, /* NaN, or a matrix that should be positive definite is not */
    JSP_INTERRUPTED,     /* the caller asked to stop */
} jsp_status;

#endif
