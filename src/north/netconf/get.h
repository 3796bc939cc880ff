// SPDX-License-Identifier: Apache-2.0
/*
 * <get>, <get-config> and <get-data>: a merge-iteration over kinds and objects, one object in
 * memory at a time, each filtered by itself. So the cost of an answer is that of its largest
 * object.
 */
#ifndef NORTH_NETCONF_GET_H
#define NORTH_NETCONF_GET_H

#include "core/core.h"
#include "model/model.h"
#include "net/dom.h"
#include "north/netconf/shape.h"

enum nc_only { NC_ALL, NC_ONLY_CONFIG, NC_ONLY_STATE };

struct nc_get {
    const struct model *model;
    const struct snap *snap;         /* what is shown */
    const struct actor *who;         /* what may not be read is left out */
    const struct snap *rights;       /* roles are looked up here: the running configuration */
    const struct model_state *state; /* NULL: configuration only */
    enum with_defaults defaults;
    const struct dom *filter; /* the element <filter> of type subtree; NULL: none */
    const char *xpath;        /* with module names as prefixes; NULL: none */
    enum nc_only only;
    struct nc_shape shape;
};

/* Writes the children of <data>. */
enum err_code nc_get_print(const struct nc_get *g, model_write write, void *arg, struct err *e);

/* The expression with module names in the place of prefixes. ERR_INVALID: an unknown prefix. */
enum err_code nc_xpath_modules(const struct dom *at, const char *text, struct buf *out,
                               struct err *e);
/* An XPath filter. One that is nothing but names and keys becomes a subtree filter (*subtree, in
 * `a`), which finds what it wants without looking at everything; any other comes back with module
 * names in the place of prefixes (*expr). ERR_INVALID: an unknown prefix, or not an expression.
 * `at`: the element that carries it, whose namespaces count. */
enum err_code nc_xpath(const struct model *m, const struct dom *at, const char *text,
                       struct arena *a, const struct dom **subtree, const char **expr,
                       struct err *e);

#endif
