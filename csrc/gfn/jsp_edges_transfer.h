/* jsp_edges_transfer.h - what one generator has learned, for another with as many
 * variables: other data, prior, order of the slots or candidates. */
#ifndef JSP_EDGES_TRANSFER_H
#define JSP_EDGES_TRANSFER_H

#include "jsp_edges.h"

/* Parameters that belong to a pair of variables follow the pair to its slot in `to`;
 * those of slots that `from` lacks stay as they are. All others are copied.
 *   source [from->layout.size] in    target [to->layout.size] in/out; no overlap */
void jsp_edges_transfer(const jsp_edges *from, const jsp_real *source,
                        const jsp_edges *to, jsp_real *target);

#endif
