// SPDX-License-Identifier: Apache-2.0
/* Subtree filters (RFC 6241 6) on one element at a time. Pure; fuzzed. */
#ifndef NORTH_NETCONF_FILTER_H
#define NORTH_NETCONF_FILTER_H

#include "model/model.h"
#include "net/dom.h"

/* Filter nodes for one data node; siblings in the filter add up. `all`: no filter, all of it. */
struct nc_filters {
    const struct dom **v;
    size_t n;
    bool all;
};

/* Those of the children of `from`'s nodes that are about `child` of `parent`. Taken from `a`. */
struct nc_filters nc_filters_below(const struct nc_filters *from, const struct node *parent,
                                   const struct node *child, struct arena *a);
/* Marks what of `d` (an element that is `node`, NULL: unknown) the filters select; false: nothing.
 * The keys of list entries of which something is selected come along. */
bool nc_filter_mark(struct dom *d, const struct node *node, const struct nc_filters *f);
/* For dom_print: what was marked. */
bool nc_filter_keep(const struct dom *child, void *arg);
/* The value that a filter node wants for key `k` of its list, trimmed, in `a`; NULL: any. */
const char *nc_filter_key(const struct dom *f, const struct node *list, size_t k, struct arena *a);

#endif
