/* jsp_real.h - the number type of networks.
 *
 * float in every release; double when built with JSPGFN_REAL=double (the macro
 * JSP_REAL_DOUBLE), so that gradients can be checked against central differences.
 * Scores, evidences, log-probability sums and losses are double in both builds. */
#ifndef JSP_REAL_H
#define JSP_REAL_H

#ifdef JSP_REAL_DOUBLE
typedef double jsp_real;
#else
typedef float jsp_real;
#endif

#endif
