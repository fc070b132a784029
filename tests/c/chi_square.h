/* chi_square.h - the test that counts of states fit their probabilities. */
#ifndef CHI_SQUARE_H
#define CHI_SQUARE_H

#include <math.h>

/* Pearson's statistic of n visits to n_states states; states of less than 5 expected
 * visits are pooled. Infinite when an impossible state was visited. Sets *cells to the
 * number of cells. */
static inline double chi_square_statistic(int n_states, const double *probability,
                                          const double *visits, double n, int *cells) {
    double sum = 0, rare = 0, rare_visits = 0;
    *cells = 0;
    for (int s = 0; s < n_states; s++) {
        double expected = n * probability[s];
        if (expected == 0) {
            if (visits[s] > 0) return INFINITY;
        } else if (expected < 5) {
            rare += expected;
            rare_visits += visits[s];
        } else {
            sum += pow(visits[s] - expected, 2) / expected;
            ++*cells;
        }
    }
    if (rare > 0) {
        sum += pow(rare_visits - rare, 2) / rare;
        ++*cells;
    }
    return sum;
}

/* Upper 1e-4 quantile of chi-square by Wilson and Hilferty (normal: 3.719). */
static inline double chi_square_limit(int cells) {
    double k = cells - 1, a = 2 / (9 * k);
    return k * pow(1 - a + 3.719 * sqrt(a), 3);
}

#endif
