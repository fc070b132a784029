/* jsp_head_units.h - the start of a head in the units of the data.
 *
 * The weight of parent a has a posterior standard deviation of about 1 / u_a, where
 *
 *   u_a^2 = mean over nodes j of - d^2/dtheta^2 log P(x_j, theta | parent a alone)
 *
 * (for linear models the a-th diagonal entry of X'X / s^2 + I / w^2). Means must be right to
 * a fraction of 1 / u_a and factors U to a fraction of u_a; but a step of Adam moves all
 * outputs alike. With strong data its noise alone then keeps means many standard deviations
 * away. Here loc starts at 0 and U at diag(u), and the learning rates of the outputs are
 * multiplied by spread / u_a for loc (and for scales of `diag`), u_c for U_ac. The network is
 * the same. */
#ifndef JSP_HEAD_UNITS_H
#define JSP_HEAD_UNITS_H

#include "jsp_adam.h"
#include "jsp_gnn_target.h"
#include "jsp_head.h"

/* unit [D] overwritten: u_a; 1 where no node may have the parent a. The model of the target
 * has pull_slope. */
void jsp_head_units_measure(const jsp_gnn_target *target, double *unit);

/* Initial values of the output layer in params: biases of U as above, weights times
 * init_scale in those units. */
void jsp_head_units_start(const jsp_head *head, const double *unit, double spread,
                          double init_scale, jsp_real *params);

/* Learning rates of the output layer. */
jsp_status jsp_head_units_rates(const jsp_head *head, const double *unit, double spread,
                                jsp_adam *adam, jsp_error *error);

#endif
