/* jsp_special.c - log Gamma without the global variable.
 *
 * lgamma() of the C library writes the sign into `signgam`, a data race when tables are
 * built on several threads, and lgamma_r() is not C11. Arguments here are positive, so
 * Stirling's series after shifting x above 12 is enough.
 */
#include "jsp_special.h"

#include <math.h>

#define HALF_LOG_2PI 0.91893853320467274178

/* Correction of Stirling's formula, x >= 12. */
static double stirling(double x) {
    double r = 1 / x, r2 = r * r;
    double series = 1.0 / 1188;
    series = series * r2 - 1.0 / 1680;
    series = series * r2 + 1.0 / 1260;
    series = series * r2 - 1.0 / 360;
    series = series * r2 + 1.0 / 12;
    return series * r;
}

double jsp_special_softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

double jsp_special_log_gamma(double x) {
    double shift = 1;
    while (x < 12) {
        shift *= x;
        x += 1;
    }
    return (x - 0.5) * log(x) - x + HALF_LOG_2PI + stirling(x) - log(shift);
}

/* Both arguments are shifted above 12 by the same number of steps; the ratio of the two
 * shifts is a product of at most 12 factors, the first of them taken apart because it may
 * overflow. Then Stirling's formula for both, with the large terms taken together. */
double jsp_special_log_rising(double x, double n) {
    double ratio = 1, first = 0;
    if (x < 1) {
        first = x < 1e-3 ? log(x + n) - log(x) : log1p(n / x);
        x += 1;
    }
    while (x < 12) {
        ratio *= (x + n) / x;
        x += 1;
    }
    double y = x + n;
    return n * log(y) + (x - 0.5) * log1p(n / x) - n + (stirling(y) - stirling(x)) -
           log(ratio) - first;
}
