// SPDX-License-Identifier: Apache-2.0
/*
 * The content of <config> as edits on instance paths (RFC 6241 7.2, RFC 7950 7.8.6): operation
 * attributes, default-operation, insertion in user-ordered lists. Pure; fuzzed.
 */
#ifndef NORTH_NETCONF_EDIT_H
#define NORTH_NETCONF_EDIT_H

#include "model/model.h"
#include "net/dom.h"

enum nc_operation { NC_MERGE, NC_REPLACE, NC_CREATE, NC_DELETE, NC_REMOVE, NC_NONE };
enum { NC_EDITS_MAX = 1000000 };

struct nc_edits {
    struct model_edit *v;
    size_t n, cap;
    bool *expect; /* of each: nothing is changed, but the target must be there (operation none) */
    struct arena *a;
};

/* Fills `out` (all in `a`) with what the children of `config` ask for, in document order. Errors
 * name the path: ERR_UNKNOWN with app tag "unknown-namespace", "bad-attribute" ... */
enum err_code nc_edits_of(const struct dom *config, enum nc_operation by_default, struct arena *a,
                          struct nc_edits *out, struct err *e);
/* "merge" ... "none"; false: not one of them. */
bool nc_operation_of(const char *word, enum nc_operation *out);
/* The node that an element below `parent` is; an element without a namespace fits any (filters). */
const struct node *nc_node(const struct node *parent, const struct dom *d);

#endif
