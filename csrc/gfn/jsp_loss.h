/* jsp_loss.h - losses on whole trajectories, as weights on the gradients of log q.
 *
 * Losses have gradients of the form sum_t weight[t] * grad log q(t), so a loss is fully
 * described by its weights; a second weight per trajectory is that of full conditionals.
 * All numbers are double. */
#ifndef JSP_LOSS_H
#define JSP_LOSS_H

/* loss = - mean log q: weight = -1 / T. Returns the loss. */
double jsp_loss_likelihood(int T, const double *log_q, double *weight);

/* Trajectory balance with the optimal constant (VarGrad; Richter et al., NeurIPS 2020):
 *   loss = 1/2 mean Huber-like (delta - m)^2,  delta = log q - log R,
 * m the robust centre of delta (an estimate of - log Z): the mean, then three means of
 * residuals clipped to +-10. The backward probability is 1, so no other term appears. */
double jsp_loss_centre(int T, const double *log_q, const double *log_reward);

/* weight[t] = clip(delta[t] - m, low, high) / total. Returns 1/2 of the sum of squares
 * of the clipped residuals over total. */
double jsp_loss_balance(int T, const double *log_q, const double *log_reward,
                        double centre, double low, double high, int total,
                        double *weight);

/* Share that the likelihood of full conditionals (jsp_edges_conditionals.h) gets of a
 * gradient whose other part is balance, as if both were independent estimates of one
 * thing, weighed by their variances: squares[1] against squares[0] times the mean square
 * of delta - m, here that of a normal variable of mean size `residual`. At most `most`. */
double jsp_loss_share(double residual, const double squares[2], double most);

/* Weights of the two parts: weight[t] *= 1 - share, and
 *     conditional[t] = - share / total * 2 / (1 + exp(delta[t] - m)),
 * by which own draws and draws of the posterior, as many of each, together weigh as the
 * posterior does (balance heuristic; Veach and Guibas, SIGGRAPH 1995). */
void jsp_loss_mix(int T, const double *log_q, const double *log_reward, double centre,
                  double share, int total, double *weight, double *conditional);

#endif
