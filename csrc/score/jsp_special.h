/* jsp_special.h - special functions that C11 lacks in a thread-safe form. */
#ifndef JSP_SPECIAL_H
#define JSP_SPECIAL_H

#define JSP_SPECIAL_LOG_2PI 1.83787706640934548356

/* log(1 + e^x) */
double jsp_special_softplus(double x);

/* log Gamma(x) for x > 0, relative error about 1e-15 (absolute near the zeros at 1 and
 * 2). */
double jsp_special_log_gamma(double x);

/* log Gamma(x + n) - log Gamma(x) for x > 0, n >= 0 (not only whole numbers), without
 * subtracting two large numbers where n is small beside x. */
double jsp_special_log_rising(double x, double n);

#endif
