// SPDX-License-Identifier: Apache-2.0
/*
 * <get-data>, <edit-data> and the names of datastores (RFC 8526, RFC 8342). There are three:
 * running, candidate, and operational, which is what is in use: the running configuration, since
 * all of it is or the services would not have taken it, with its defaults, and all state.
 */
#include "base/text.h"
#include "north/netconf/get.h"
#include "north/netconf/internal.h"

#include <stdlib.h>
#include <string.h>

/* The identity that an element names, without its prefix; NULL: one of another module. */
static const char *identity(const struct dom *d, const char *ns) {
    const char *colon = strchr(d->text, ':');
    size_t n = colon != NULL ? (size_t)(colon - d->text) : 0;
    const char *of = dom_prefix(d, d->text, n);
    return of != NULL && strcmp(of, ns) == 0 ? d->text + n + (colon != NULL) : NULL;
}

static enum err_code bad(struct nc_rpc *r, const struct dom *d, struct err *e, const char *want) {
    return nc_fail(r, ERR_INVALID, NULL,
                   arena_printf(r->a, "<bad-element>%s</bad-element>", d->name), NULL, e,
                   "%s is %s, not \"%.64s\"", d->name, want, d->text);
}

enum err_code nc_datastore(struct nc_rpc *r, const struct dom *d, enum nc_store *out,
                           struct err *e) {
    static const struct {
        const char *name;
        enum nc_store store;
    } all[] = {
        {"running", NC_RUNNING}, {"candidate", NC_CANDIDATE}, {"operational", NC_OPERATIONAL}};
    const char *name = identity(d, NS_DATASTORES);
    for (size_t i = 0; name != NULL && i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i].store;
            return ERR_OK;
        }
    }
    return bad(r, d, e, "ietf-datastores' running, candidate or operational");
}

static enum err_code datastore_of(struct nc_rpc *r, enum nc_store *out, struct err *e) {
    const struct dom *d = dom_child(r->op, NS_NMDA, "datastore");
    return d != NULL ? nc_datastore(r, d, out, e) : nc_missing(r, "datastore", e);
}

/* ---- get-data ---------------------------------------------------------------------------------
 */

static enum err_code filter_of(struct nc_rpc *r, struct nc_get *g, struct err *e) {
    const struct dom *subtree = dom_child(r->op, NS_NMDA, "subtree-filter");
    const struct dom *xpath = dom_child(r->op, NS_NMDA, "xpath-filter");
    if (subtree != NULL && xpath != NULL) {
        return nc_fail(r, ERR_INVALID, NULL, NULL, NULL, e,
                       "a filter is a subtree-filter or an xpath-filter, not both");
    }
    g->filter = subtree;
    return xpath != NULL ? nc_xpath(r->n->model, xpath, xpath->text, r->a, &g->filter, &g->xpath, e)
                         : ERR_OK;
}

static enum err_code config_filter_of(struct nc_rpc *r, struct nc_get *g, struct err *e) {
    const struct dom *d = dom_child(r->op, NS_NMDA, "config-filter");
    if (d == NULL) {
        return ERR_OK;
    }
    bool yes = strcmp(d->text, "true") == 0;
    if (!yes && strcmp(d->text, "false") != 0) {
        return bad(r, d, e, "true or false");
    }
    g->only = yes ? NC_ONLY_CONFIG : NC_ONLY_STATE;
    return ERR_OK;
}

static enum err_code depth_of(struct nc_rpc *r, struct nc_shape *s, struct err *e) {
    const struct dom *d = dom_child(r->op, NS_NMDA, "max-depth");
    if (d == NULL || strcmp(d->text, "unbounded") == 0) {
        return ERR_OK;
    }
    size_t n = strspn(d->text, "0123456789");
    unsigned long v = n > 0 && n < 6 && d->text[n] == '\0' ? strtoul(d->text, NULL, 10) : 0;
    s->depth = (unsigned)v;
    return v > 0 && v <= 65535 ? ERR_OK : bad(r, d, e, "\"unbounded\" or a number from 1 to 65535");
}

/* Origins that no node here has are good names all the same. */
static bool origin_of(const struct dom *d, bool *intended, bool *by_default) {
    static const char *const others[] = {"dynamic", "system", "learned", "unknown"};
    const char *name = identity(d, NS_ORIGIN);
    bool all = name != NULL && strcmp(name, "origin") == 0, known = all;
    for (size_t i = 0; name != NULL && i < sizeof others / sizeof *others; i++) {
        known |= strcmp(name, others[i]) == 0;
    }
    bool is = name != NULL && strcmp(name, "intended") == 0;
    bool def = name != NULL && strcmp(name, "default") == 0;
    *intended |= all || is;
    *by_default |= all || def;
    return known || is || def;
}

static enum err_code origins_of(struct nc_rpc *r, bool operational, struct nc_shape *s,
                                struct err *e) {
    bool intended = false, by_default = false, wanted = false, negated = false;
    const struct dom *first = NULL;
    s->origins = dom_child(r->op, NS_NMDA, "with-origin") != NULL;
    for (const struct dom *c = r->op->child; c != NULL; c = c->next) {
        bool yes = dom_is(c, NS_NMDA, "origin-filter");
        bool no = dom_is(c, NS_NMDA, "negated-origin-filter");
        if (yes || no) {
            first = c;
            wanted |= yes;
            negated |= no;
            if (!origin_of(c, &intended, &by_default)) {
                return bad(r, c, e, "an origin of ietf-origin");
            }
        }
    }
    if ((s->origins || first != NULL) && !operational) {
        return nc_fail(r, ERR_INVALID, NULL, NULL, NULL, e,
                       "origins are known of the operational datastore only");
    }
    if (wanted && negated) {
        return nc_fail(r, ERR_INVALID, NULL, NULL, NULL, e,
                       "origin-filter and negated-origin-filter exclude each other");
    }
    s->no_intended = first != NULL && (wanted ? !intended : intended);
    s->no_default = first != NULL && (wanted ? !by_default : by_default);
    return ERR_OK;
}

enum err_code nc_op_get_data(struct nc_rpc *r, struct err *e) {
    struct model_state state = {nc_state_get, r};
    struct nc_get g = {.model = r->n->model, .who = &r->s->who, .rights = r->snap};
    enum nc_store store;
    ERR_TRY(datastore_of(r, &store, e));
    bool operational = store == NC_OPERATIONAL;
    g.defaults = operational ? WD_REPORT_ALL : WD_EXPLICIT;
    ERR_TRY(nc_with_defaults(r, &g.defaults, e));
    ERR_TRY(filter_of(r, &g, e));
    ERR_TRY(config_filter_of(r, &g, e));
    ERR_TRY(depth_of(r, &g.shape, e));
    ERR_TRY(origins_of(r, operational, &g.shape, e));
    g.state = operational ? &state : NULL;
    struct snap *s =
        store == NC_CANDIDATE ? candidate_snapshot(r->s->candidate) : snap_hold(r->snap);
    g.snap = s;
    enum err_code rc = nc_write_str(r, "<data xmlns=\"" NS_NMDA "\">", e);
    if (rc == ERR_OK) {
        rc = nc_get_print(&g, nc_write, r, e);
    }
    snap_release(s);
    return rc == ERR_OK ? nc_write_str(r, "</data>", e) : rc;
}

/* ---- edit-data --------------------------------------------------------------------------------
 */

enum err_code nc_op_edit_data(struct nc_rpc *r, struct err *e) {
    struct nc_parameters p = {.by_default = NC_MERGE, .test = true};
    const char *by_default = dom_child_text(r->op, NS_NMDA, "default-operation");
    ERR_TRY(datastore_of(r, &p.target, e));
    if (p.target == NC_OPERATIONAL) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>datastore</bad-element>", NULL, e,
                       "the operational datastore is what is, and can't be edited");
    }
    if (dom_child(r->op, NS_NMDA, "url") != NULL) {
        return nc_fail(r, ERR_UNSUPPORTED, NULL, NULL, NULL, e, "the capability :url is not there");
    }
    p.config = dom_child(r->op, NS_NMDA, "config");
    if (p.config == NULL) {
        return nc_missing(r, "config", e);
    }
    return nc_edit(r, &p, by_default, e);
}
