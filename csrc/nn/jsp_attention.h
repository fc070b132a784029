/* jsp_attention.h - multi-head attention among the D nodes of each graph.
 *
 *   weights[b, h, i, :] = softmax over j of <query[b, i, h], key[b, j, h]> / sqrt(H / heads)
 *   out[b, i, h] = sum_j weights[b, h, i, j] value[b, j, h]
 *
 * where [b, i, h] means the H / heads columns of head h. No parameters: the maps that
 * make queries, keys and values belong to the caller, who may have multiplied them with
 * others. */
#ifndef JSP_ATTENTION_H
#define JSP_ATTENTION_H

#include "jsp_real.h"
#include "jspgfn.h"

/* Numbers of scratch that both passes need. */
size_t jsp_attention_scratch_size(int D, int H, int n_heads);

/* query, key, value, out [B, D, H], out overwritten; weights [B, n_heads, D, D]
 * overwritten; n_heads divides H. */
void jsp_attention_forward(int B, int D, int H, int n_heads, const jsp_real *query,
                           const jsp_real *key, const jsp_real *value,
                           jsp_real *weights, jsp_real *out, jsp_real *scratch);

/* Given d_out [B, D, H]: d_query, d_key, d_value [B, D, H] overwritten. */
void jsp_attention_backward(int B, int D, int H, int n_heads, const jsp_real *query,
                            const jsp_real *key, const jsp_real *value,
                            const jsp_real *weights, const jsp_real *d_out,
                            jsp_real *d_query, jsp_real *d_key, jsp_real *d_value,
                            jsp_real *scratch);

#endif
