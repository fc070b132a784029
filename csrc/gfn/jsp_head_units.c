#include "jsp_head_units.h"

#include <math.h>

#include "jsp_memory.h"

void jsp_head_units_measure(const jsp_gnn_target *target, double *unit) {
    const jsp_model_setup *setup = &target->setup;
    for (int a = 0; a < target->D; a++) {
        double sum = 0;
        int n = 0;
        for (int j = 0; j < target->D; j++) {
            const double theta = 0, direction = 1;
            double curvature;
            if (!jsp_bits_has(target->allowed[j], a)) continue;
            setup->model->pull_slope(setup, j, 1, &a, 1, &theta, &direction,
                                     &curvature);
            sum -= curvature;
            n++;
        }
        unit[a] = n > 0 && sum > 0 ? sqrt(sum / n) : 1;
    }
}

/* Size of output o: loc of parent o, scale or diagonal of U of parent o - D, then the pairs
 * a < c row by row. */
static double output_size(const jsp_head *head, const double *unit, double spread,
                          int o) {
    const int D = head->D;
    if (o < D) return spread / unit[o];
    if (o < 2 * D)
        return head->spec.kind == JSP_HEAD_DIAG ? 1 / unit[o - D] : unit[o - D];
    for (int a = 0, first = 2 * D; a < D; first += D - 1 - a++) {
        if (o < first + D - 1 - a) return unit[o - first + a + 1];
    }
    return 1;
}

/* The number whose softplus is y */
static double softplus_inverse(double y) {
    return y > 30 ? y : log(expm1(y));
}

void jsp_head_units_start(const jsp_head *head, const double *unit, double spread,
                          double init_scale, jsp_real *params) {
    const int n_in = head->output.n_in, n_out = head->output.n_out, D = head->D;
    for (int o = 0; o < n_out; o++) {
        const double size = output_size(head, unit, spread, o);
        for (int k = 0; k < n_in; k++) {
            params[head->output.weight + (size_t)(k * n_out + o)] *=
                (jsp_real)(init_scale * size);
        }
        if (o >= D && o < 2 * D) {
            params[head->output.bias + (size_t)o] = (jsp_real)softplus_inverse(size);
        }
    }
}

jsp_status jsp_head_units_rates(const jsp_head *head, const double *unit, double spread,
                                jsp_adam *adam, jsp_error *error) {
    const int n_in = head->output.n_in, n_out = head->output.n_out;
    const size_t first = head->output.weight;
    const size_t n = head->output.bias + (size_t)n_out - first;
    jsp_real *rate = jsp_memory_alloc(n, sizeof *rate);
    if (!rate) return jsp_status_no_memory(error, n * sizeof *rate, "learning rates");
    for (size_t k = 0; k < n; k++) rate[k] = 1; /* padding between the two */
    for (int o = 0; o < n_out; o++) {
        const jsp_real size = (jsp_real)output_size(head, unit, spread, o);
        for (int k = 0; k < n_in; k++) rate[k * n_out + o] = size;
        rate[head->output.bias - first + (size_t)o] = size;
    }
    jsp_status status = jsp_adam_set_rates(adam, first, n, rate, error);
    jsp_memory_free(rate);
    return status;
}
