// SPDX-License-Identifier: Apache-2.0
/* What NMDA wants of single nodes: how deep, of which origin, and that this is said (RFC 8526).
 * Pure. */
#ifndef NORTH_NETCONF_SHAPE_H
#define NORTH_NETCONF_SHAPE_H

#include "model/model.h"
#include "net/dom.h"

/* Configuration is intended, or in use by default; no other origin is known here. State has none.
 */
struct nc_shape {
    unsigned depth;   /* RFC 8526 max-depth, counted from the top; 0: unbounded */
    bool origins;     /* put the attribute on what is configuration */
    bool no_intended; /* leave out what was configured, but for keys and the way to the rest ... */
    bool no_default;  /* ... and what is in use by default */
    bool tags;        /* leave RFC 6243's attribute on defaults */
};

/* Is anything wanted at all that takes looking at each node? */
static inline bool nc_shape_nodes(const struct nc_shape *s) {
    return s->depth > 0 || s->origins || s->no_intended || s->no_default;
}

/* Shapes an element, printed with defaults and their tags, at `depth` (1: the top). New attributes
 * are in `a`. False: nothing is left of it. */
bool nc_shape(const struct nc_shape *s, struct dom *d, const struct node *n, unsigned depth,
              struct arena *a);

#endif
