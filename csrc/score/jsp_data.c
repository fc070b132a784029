/* jsp_data.c - moments of the table, one set per distinct intervention pattern.
 *
 * Nodes whose columns of the mask agree share one set of moments, so without a mask
 * there is a single set. The corrected two-pass algorithm is used: means first, then
 * products of centred values, then the small remainder of the mean is taken out of
 * both. Sums of raw squares would lose all digits when a column sits far from 0.
 *
 * Rows are cut into a number of chunks that depends on N and the mask alone; chunks are
 * added in order, so the bits do not depend on threads. Inside a chunk four rows at a
 * time are packed and added as one product [D, 4] x [4, D]: a row-by-row update would
 * spend its time loading and storing the matrix.
 *
 * Rows themselves are kept, column by column, only on request: models that are linear in
 * the columns never look at them again.
 */
#include "jsp_data.h"

#include <math.h>
#include <string.h>

#include "jsp_memory.h"
#include "jsp_parallel.h"

#define PACK 4          /* rows added at once */
#define TASKS 16        /* chunks over all sets, when the table is long enough */
#define CHUNK_ROWS 1024 /* shorter chunks are not worth a task */

struct jsp_data {
    int n_variables;
    int n_sets;
    int *set_of;     /* [D] set of each node, owned */
    double *n_rows;  /* [n_sets] owned */
    double *mean;    /* [n_sets, D] owned */
    double *scatter; /* [n_sets, D, D] owned */
    /* kept rows */
    int n_rows_in_all;
    double *value;       /* [D, N] owned; numbers only */
    uint8_t *intervened; /* [D, N] owned, NULL = nothing was set */
    /* discrete data */
    int *n_states;  /* [D] owned; NULL for numbers */
    uint16_t *code; /* [D, N] owned */
};

/* One pass over the table: sums of x - centre and, when asked for, of the products. */
typedef struct pass {
    const double *x;
    const uint8_t *mask; /* NULL = every row counts */
    int n_rows, D, n_chunks;
    const int *node_of;   /* [n_sets] a node whose column of the mask defines the set */
    const double *centre; /* [n_sets, D] */
    double *count;        /* [n_sets, n_chunks] */
    double *sum;          /* [n_sets, n_chunks, D] */
    double *product;      /* [n_sets, n_chunks, D, D] lower triangles, or NULL */
} pass;

static void add_products(int D, const double *rows, double *product) {
    const double *r0 = rows, *r1 = rows + D, *r2 = rows + 2 * D, *r3 = rows + 3 * D;
    for (int i = 0; i < D; i++) {
        double a0 = r0[i], a1 = r1[i], a2 = r2[i], a3 = r3[i];
        double *restrict out = product + (size_t)i * D;
        for (int k = 0; k <= i; k++) {
            out[k] += (a0 * r0[k] + a1 * r1[k]) + (a2 * r2[k] + a3 * r3[k]);
        }
    }
}

static void run_chunk(void *context, int task, int worker) {
    (void)worker;
    const pass *p = context;
    int D = p->D, set = task / p->n_chunks, chunk = task % p->n_chunks;
    int begin = (int)((int64_t)p->n_rows * chunk / p->n_chunks);
    int end = (int)((int64_t)p->n_rows * (chunk + 1) / p->n_chunks);
    const double *centre = p->centre + (size_t)set * D;
    double *sum = p->sum + (size_t)task * D;
    double *product = p->product ? p->product + (size_t)task * D * D : NULL;
    double rows[PACK * JSP_MAX_VARIABLES];
    int packed = 0;
    double count = 0;
    for (int r = begin; r < end; r++) {
        if (p->mask && p->mask[(size_t)r * D + p->node_of[set]]) continue;
        const double *x = p->x + (size_t)r * D;
        double *row = rows + packed * D;
        for (int k = 0; k < D; k++) row[k] = x[k] - centre[k];
        for (int k = 0; k < D; k++) sum[k] += row[k];
        count += 1;
        packed = (packed + 1) % PACK;
        if (product && packed == 0) add_products(D, rows, product);
    }
    if (product && packed) {
        for (int k = packed * D; k < PACK * D; k++) rows[k] = 0;
        add_products(D, rows, product);
    }
    p->count[task] = count;
}

/* 1 when two columns of the mask are the same. */
static int same_column(const uint8_t *mask, int n_rows, int D, int a, int b) {
    for (int r = 0; r < n_rows; r++) {
        const uint8_t *row = mask + (size_t)r * D;
        if (!row[a] != !row[b]) return 0;
    }
    return 1;
}

/* Fills set_of[D] and node_of[n_sets]; returns the number of sets. */
static int find_sets(const uint8_t *mask, int n_rows, int D, int *set_of,
                     int *node_of) {
    int n_sets = 0;
    for (int j = 0; j < D; j++) {
        int s = 0;
        while (s < n_sets && mask && !same_column(mask, n_rows, D, node_of[s], j)) s++;
        if (s == n_sets) node_of[n_sets++] = j;
        set_of[j] = s;
    }
    return n_sets;
}

/* Chunk sums of one set, added in order: mean += sum / n, and for the products
 * scatter = total - n delta delta^T with delta the correction of the mean. */
static void reduce_set(const pass *p, int set, jsp_data *data) {
    int D = p->D;
    double *mean = data->mean + (size_t)set * D, total[JSP_MAX_VARIABLES] = {0}, n = 0;
    for (int c = 0; c < p->n_chunks; c++) {
        size_t task = (size_t)set * p->n_chunks + c;
        n += p->count[task];
        for (int k = 0; k < D; k++) total[k] += p->sum[task * D + k];
    }
    data->n_rows[set] = n;
    if (n == 0) return;
    for (int k = 0; k < D; k++) mean[k] += total[k] / n;
    if (!p->product) return;
    double *scatter = data->scatter + (size_t)set * D * D;
    for (int i = 0; i < D; i++) {
        for (int k = 0; k <= i; k++) {
            double value = 0;
            for (int c = 0; c < p->n_chunks; c++) {
                size_t task = (size_t)set * p->n_chunks + c;
                value += p->product[(task * D + i) * D + k];
            }
            value -= total[i] * (total[k] / n);
            scatter[(size_t)i * D + k] = value;
            scatter[(size_t)k * D + i] = value;
        }
    }
}

static void run_pass(pass *p, int n_threads, jsp_data *data) {
    int n_tasks = data->n_sets * p->n_chunks;
    for (size_t k = 0; k < (size_t)n_tasks * p->D; k++) p->sum[k] = 0;
    jsp_parallel_for(n_threads, n_tasks, run_chunk, p);
    for (int s = 0; s < data->n_sets; s++) reduce_set(p, s, data);
}

static jsp_status run_both_passes(pass *p, int n_threads, jsp_data *data,
                                  jsp_error *error) {
    size_t D = (size_t)p->D, tasks = (size_t)data->n_sets * p->n_chunks;
    size_t length = tasks * (1 + D + D * D) + data->n_sets * D;
    double *block = jsp_memory_alloc(length, sizeof(double));
    if (!block) return jsp_status_no_memory(error, length * sizeof(double), "moments");
    double *product = block, *centre = block + tasks * (1 + D + D * D);
    p->sum = block + tasks * D * D;
    p->count = p->sum + tasks * D;
    p->centre = centre;
    run_pass(p, n_threads, data);
    for (size_t k = 0; k < data->n_sets * D; k++) centre[k] = data->mean[k];
    p->product = product;
    run_pass(p, n_threads, data);
    jsp_memory_free(block);
    return JSP_OK;
}

static jsp_status allocate(jsp_data *data, int n_sets, jsp_error *error) {
    size_t D = (size_t)data->n_variables;
    data->n_sets = n_sets;
    data->n_rows = jsp_memory_alloc((size_t)n_sets, sizeof(double));
    data->mean = jsp_memory_alloc(n_sets * D, sizeof(double));
    data->scatter = jsp_memory_alloc(n_sets * D * D, sizeof(double));
    if (data->n_rows && data->mean && data->scatter) return JSP_OK;
    return jsp_status_no_memory(error, n_sets * D * (D + 1) * sizeof(double),
                                "moments");
}

static jsp_status check_shape(int n_rows, int n_variables, jsp_error *error) {
    if (n_variables < 1 || n_variables > JSP_MAX_VARIABLES) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the data must have between 1 and %d variables, got %d",
                              JSP_MAX_VARIABLES, n_variables);
    }
    if (n_rows < 0) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the number of rows must not be negative, got %d",
                              n_rows);
    }
    return JSP_OK;
}

jsp_status jsp_data_create(const double *x, const uint8_t *mask, int n_rows,
                           int n_variables, int n_threads, jsp_data **out,
                           jsp_error *error) {
    *out = NULL;
    jsp_status status = check_shape(n_rows, n_variables, error);
    if (status != JSP_OK) return status;
    jsp_data *data = jsp_memory_alloc(1, sizeof *data);
    if (!data) return jsp_status_no_memory(error, sizeof *data, "the data");
    data->n_variables = n_variables;
    data->set_of = jsp_memory_alloc((size_t)n_variables, sizeof(int));
    if (!data->set_of) {
        status = jsp_status_no_memory(error, n_variables * sizeof(int), "the data");
        goto done;
    }
    int node_of[JSP_MAX_VARIABLES];
    int n_sets = find_sets(mask, n_rows, n_variables, data->set_of, node_of);
    status = allocate(data, n_sets, error);
    if (status != JSP_OK) goto done;
    int n_chunks = (TASKS + n_sets - 1) / n_sets, most = 1 + n_rows / CHUNK_ROWS;
    pass p = {.x = x,
              .mask = mask,
              .n_rows = n_rows,
              .D = n_variables,
              .n_chunks = n_chunks < most ? n_chunks : most,
              .node_of = node_of};
    status = run_both_passes(&p, n_threads, data, error);
done:
    if (status != JSP_OK) {
        jsp_data_destroy(data);
        return status;
    }
    *out = data;
    return JSP_OK;
}

static int all_finite(size_t n, const double *values) {
    for (size_t k = 0; k < n; k++) {
        if (!isfinite(values[k])) return 0;
    }
    return 1;
}

static jsp_status check_moments(int D, int n_sets, const int32_t *set_of,
                                const double *n_rows, const double *mean,
                                const double *scatter, jsp_error *error) {
    const size_t S = (size_t)n_sets, length = S * (size_t)D;
    int fits = n_sets >= 1 && all_finite(S, n_rows) && all_finite(length, mean) &&
               all_finite(length * (size_t)D, scatter);
    for (int j = 0; j < D; j++) fits = fits && set_of[j] >= 0 && set_of[j] < n_sets;
    for (int s = 0; fits && s < n_sets; s++) fits = n_rows[s] >= 0;
    if (fits) return JSP_OK;
    return jsp_status_set(error, JSP_ERROR_VALUE, "these are no moments of a table");
}

jsp_status jsp_data_create_moments(int n_variables, int n_sets, const int32_t *set_of,
                                   const double *n_rows, const double *mean,
                                   const double *scatter, jsp_data **out,
                                   jsp_error *error) {
    *out = NULL;
    jsp_status status = check_shape(0, n_variables, error);
    if (status == JSP_OK) {
        status =
            check_moments(n_variables, n_sets, set_of, n_rows, mean, scatter, error);
    }
    if (status != JSP_OK) return status;
    const size_t D = (size_t)n_variables, S = (size_t)n_sets;
    jsp_data *data = jsp_memory_alloc(1, sizeof *data);
    if (!data) return jsp_status_no_memory(error, sizeof *data, "the data");
    data->n_variables = n_variables;
    data->set_of = jsp_memory_alloc(D, sizeof(int));
    status = allocate(data, n_sets, error);
    if (status == JSP_OK && !data->set_of) {
        status = jsp_status_no_memory(error, D * sizeof(int), "the data");
    }
    if (status != JSP_OK) {
        jsp_data_destroy(data);
        return status;
    }
    for (size_t j = 0; j < D; j++) data->set_of[j] = set_of[j];
    memcpy(data->n_rows, n_rows, S * sizeof(double));
    memcpy(data->mean, mean, S * D * sizeof(double));
    memcpy(data->scatter, scatter, S * D * D * sizeof(double));
    *out = data;
    return JSP_OK;
}

jsp_status jsp_data_keep_rows(jsp_data *data, const double *x, const uint8_t *mask,
                              int n_rows, jsp_error *error) {
    size_t D = (size_t)data->n_variables, N = (size_t)n_rows;
    data->value = jsp_memory_alloc(D * N, sizeof *data->value);
    if (mask) data->intervened = jsp_memory_alloc(D * N, 1);
    if (!data->value || (mask && !data->intervened)) {
        return jsp_status_no_memory(error, D * N * sizeof *data->value, "the rows");
    }
    for (size_t r = 0; r < N; r++) {
        for (size_t j = 0; j < D; j++) {
            data->value[j * N + r] = x[r * D + j];
            if (mask) data->intervened[j * N + r] = mask[r * D + j] != 0;
        }
    }
    data->n_rows_in_all = n_rows;
    return JSP_OK;
}

/* Codes and mask, column by column. */
static jsp_status copy_codes(jsp_data *data, const int32_t *codes, const uint8_t *mask,
                             jsp_error *error) {
    size_t D = (size_t)data->n_variables, N = (size_t)data->n_rows_in_all;
    for (size_t j = 0; j < D; j++) {
        for (size_t r = 0; r < N; r++) {
            int32_t code = codes[r * D + j];
            if (code < 0 || code >= data->n_states[j]) {
                return jsp_status_set(
                    error, JSP_ERROR_VALUE,
                    "column %d has code %d in row %d; expected 0 to %d", (int)j,
                    (int)code, (int)r, data->n_states[j] - 1);
            }
            data->code[j * N + r] = (uint16_t)code;
            if (mask) data->intervened[j * N + r] = mask[r * D + j] != 0;
        }
    }
    return JSP_OK;
}

jsp_status jsp_data_create_discrete(const int32_t *codes, const uint8_t *mask,
                                    int n_rows, int n_variables, const int *n_states,
                                    jsp_data **out, jsp_error *error) {
    *out = NULL;
    jsp_status status = check_shape(n_rows, n_variables, error);
    if (status != JSP_OK) return status;
    size_t D = (size_t)n_variables, cells = D * (size_t)n_rows;
    jsp_data *data = jsp_memory_alloc(1, sizeof *data);
    if (!data) return jsp_status_no_memory(error, sizeof *data, "the data");
    data->n_variables = n_variables;
    data->n_rows_in_all = n_rows;
    data->n_states = jsp_memory_alloc(D, sizeof *data->n_states);
    data->code = jsp_memory_alloc(cells, sizeof *data->code);
    if (mask) data->intervened = jsp_memory_alloc(cells, 1);
    if (!data->n_states || !data->code || (mask && !data->intervened)) {
        status = jsp_status_no_memory(error, 3 * cells, "the data");
    }
    for (int j = 0; j < n_variables && status == JSP_OK; j++) {
        data->n_states[j] = n_states[j];
        if (n_states[j] >= 1 && n_states[j] <= JSP_MAX_STATES) continue;
        status =
            jsp_status_set(error, JSP_ERROR_VALUE,
                           "column %d has %d states; between 1 and %d are possible", j,
                           n_states[j], JSP_MAX_STATES);
    }
    if (status == JSP_OK) status = copy_codes(data, codes, mask, error);
    if (status != JSP_OK) {
        jsp_data_destroy(data);
        return status;
    }
    *out = data;
    return JSP_OK;
}

void jsp_data_destroy(jsp_data *data) {
    if (!data) return;
    jsp_memory_free(data->set_of);
    jsp_memory_free(data->n_rows);
    jsp_memory_free(data->mean);
    jsp_memory_free(data->scatter);
    jsp_memory_free(data->value);
    jsp_memory_free(data->n_states);
    jsp_memory_free(data->code);
    jsp_memory_free(data->intervened);
    jsp_memory_free(data);
}

int jsp_data_n_variables(const jsp_data *data) {
    return data->n_variables;
}

int jsp_data_n_sets(const jsp_data *data) {
    return data->n_sets;
}

int jsp_data_set_of(const jsp_data *data, int node) {
    return data->set_of[node];
}

jsp_data_moments jsp_data_node(const jsp_data *data, int node) {
    size_t set = (size_t)data->set_of[node], D = (size_t)data->n_variables;
    jsp_data_moments moments = {data->n_rows[set], data->mean + set * D,
                                data->scatter + set * D * D};
    return moments;
}

int jsp_data_is_discrete(const jsp_data *data) {
    return data->n_states != NULL;
}

int jsp_data_n_rows(const jsp_data *data) {
    return data->n_rows_in_all;
}

int jsp_data_n_states(const jsp_data *data, int column) {
    return data->n_states[column];
}

const double *jsp_data_values(const jsp_data *data, int column) {
    return data->value + (size_t)column * (size_t)data->n_rows_in_all;
}

const uint16_t *jsp_data_codes(const jsp_data *data, int column) {
    return data->code + (size_t)column * (size_t)data->n_rows_in_all;
}

const uint8_t *jsp_data_mask(const jsp_data *data, int node) {
    if (!data->intervened) return NULL;
    return data->intervened + (size_t)node * (size_t)data->n_rows_in_all;
}

size_t jsp_data_table_size(const jsp_data *data, int node, int n_parents,
                           const int *parents) {
    size_t size = (size_t)data->n_states[node];
    for (int k = 0; k < n_parents; k++) {
        size_t states = (size_t)data->n_states[parents[k]];
        size = size > SIZE_MAX / states ? SIZE_MAX : size * states;
    }
    return size;
}
