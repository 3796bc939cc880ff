// SPDX-License-Identifier: Apache-2.0
/* <get>, <get-config>, <get-schema>. */
#include "base/text.h"
#include "north/netconf/get.h"
#include "north/netconf/internal.h"

#include <string.h>

/* ---- state ------------------------------------------------------------------------------------
 */

static const struct node *top(const struct node *n) {
    while (n->parent != NULL && n->parent->type != NODE_ROOT) {
        n = n->parent;
    }
    return n;
}

/* What this dialect itself knows; false: a service has to be asked. */
static bool own_state(struct nc_rpc *r, const struct node *node, struct buf *json) {
    const struct node *t = top(node);
    if (t != node) {
        return false;
    }
    if (strcmp(t->module, "ietf-netconf-monitoring") == 0) {
        nc_monitor_state(r->n, json);
        return true;
    }
    if (strcmp(t->module, "nc-notifications") == 0) {
        nc_event_streams(r->n, json);
        return true;
    }
    if (strcmp(t->module, "ietf-yang-library") == 0) {
        model_yang_library(strcmp(t->name, "modules-state") == 0, json);
        return true;
    }
    return false;
}

enum err_code nc_state_get(void *arg, const struct node *node, const char *path, const char *wanted,
                           struct buf *json, struct err *e) {
    struct nc_rpc *r = arg;
    (void)wanted;
    if (!rights_allow(r->snap, &r->s->who, RIGHT_READ, path)) {
        return err_set(e, ERR_ABSENT, path, "is not for %s to read", r->s->who.user);
    }
    if (own_state(r, node, json)) {
        return ERR_OK;
    }
    struct look *l = look_new(&r->s->who, path);
    blocking_look(&r->n->core, l);
    enum err_code rc = l->err.code;
    if (rc == ERR_OK) {
        buf_add(json, l->json.data, l->json.len);
    } else if (rc == ERR_UNSUPPORTED) {
        rc = err_set(e, ERR_ABSENT, path, "%s", l->err.text); /* no service here keeps it */
    } else {
        *e = l->err;
    }
    look_free(l);
    return rc;
}

/* ---- parameters -------------------------------------------------------------------------------
 */

enum err_code nc_with_defaults(struct nc_rpc *r, enum with_defaults *out, struct err *e) {
    static const char *const names[] = {"explicit", "trim", "report-all", "report-all-tagged"};
    const char *word = dom_child_text(r->op, NS_WITH_DEFAULTS, "with-defaults");
    if (word == NULL) {
        return ERR_OK;
    }
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(word, names[i]) == 0) {
            *out = (enum with_defaults)i;
            return ERR_OK;
        }
    }
    return nc_fail(r, ERR_INVALID, NULL, "<bad-element>with-defaults</bad-element>", NULL, e,
                   "with-defaults is explicit, trim, report-all or report-all-tagged, not %.64s",
                   word);
}

void nc_filter_attributes(const struct dom *f, const char **type, const char **select) {
    /* the attributes have no namespace, though some clients qualify them */
    *type = dom_attr(f, "", "type");
    *select = dom_attr(f, "", "select");
    *type = *type != NULL ? *type : dom_attr(f, f->ns, "type");
    *select = *select != NULL ? *select : dom_attr(f, f->ns, "select");
    *type = *type != NULL ? *type : dom_attr(f, NS_NETCONF, "type");
    *select = *select != NULL ? *select : dom_attr(f, NS_NETCONF, "select");
}

enum err_code nc_xpath_select(struct nc_rpc *r, const char *type, const char *select,
                              struct err *e) {
    if (strcmp(type, "xpath") != 0) {
        return nc_fail(r, ERR_INVALID, "bad-attribute",
                       "<bad-attribute>type</bad-attribute><bad-element>filter</bad-element>", NULL,
                       e, "a filter's type is subtree or xpath, not %.64s", type);
    }
    if (select == NULL) {
        return nc_fail(r, ERR_MISSING, "missing-attribute",
                       "<bad-attribute>select</bad-attribute><bad-element>filter</bad-element>",
                       NULL, e, "an XPath filter has the attribute select");
    }
    return ERR_OK;
}

static enum err_code filter_of(struct nc_rpc *r, struct nc_get *g, struct err *e) {
    const struct dom *f = dom_child(r->op, NS_NETCONF, "filter");
    const char *type, *select;
    if (f == NULL) {
        return ERR_OK;
    }
    nc_filter_attributes(f, &type, &select);
    if (type == NULL || strcmp(type, "subtree") == 0) {
        g->filter = f;
        return ERR_OK;
    }
    ERR_TRY(nc_xpath_select(r, type, select, e));
    return nc_xpath(r->n->model, f, select, r->a, &g->filter, &g->xpath, e);
}

static enum err_code print(struct nc_rpc *r, struct nc_get *g, struct err *e) {
    g->model = r->n->model;
    g->who = &r->s->who;
    g->rights = r->snap;
    ERR_TRY(nc_with_defaults(r, &g->defaults, e));
    ERR_TRY(filter_of(r, g, e));
    ERR_TRY(nc_write_str(r, "<data>", e));
    ERR_TRY(nc_get_print(g, nc_write, r, e));
    return nc_write_str(r, "</data>", e);
}

enum err_code nc_op_get(struct nc_rpc *r, struct err *e) {
    struct model_state state = {nc_state_get, r};
    struct nc_get g = {.snap = r->snap, .state = &state};
    return print(r, &g, e);
}

enum err_code nc_op_get_config(struct nc_rpc *r, struct err *e) {
    enum nc_store store;
    ERR_TRY(nc_store_of(r, "source", &store, NULL, e));
    struct snap *s =
        store == NC_CANDIDATE ? candidate_snapshot(r->s->candidate) : snap_hold(r->snap);
    struct nc_get g = {.snap = s};
    enum err_code rc = print(r, &g, e);
    snap_release(s);
    return rc;
}

/* ---- schemas (RFC 6022 3.1) -------------------------------------------------------------------
 */

enum err_code nc_op_get_schema(struct nc_rpc *r, struct err *e) {
    const char *name = dom_child_text(r->op, NS_MONITORING, "identifier");
    const char *version = dom_child_text(r->op, NS_MONITORING, "version");
    const char *format = dom_child_text(r->op, NS_MONITORING, "format");
    if (name == NULL) {
        return nc_missing(r, "identifier", e);
    }
    const struct module_info *m = model_module(name);
    const char *colon = format != NULL ? strrchr(format, ':') : NULL;
    bool yang = format == NULL || strcmp(colon != NULL ? colon + 1 : format, "yang") == 0;
    if (m == NULL || m->text == NULL || !yang ||
        (version != NULL && version[0] != '\0' && strcmp(version, m->revision) != 0)) {
        return nc_fail(r, ERR_INVALID, NULL, NULL, NULL, e, "there is no schema %.128s%s%.32s%s",
                       name, version != NULL ? " of version " : "", version != NULL ? version : "",
                       yang ? "" : " in that format");
    }
    struct buf out = BUF_INIT;
    buf_str(&out, "<data xmlns=\"" NS_MONITORING "\">");
    text_xml(&out, m->text, XML_CONTENT);
    buf_str(&out, "</data>");
    enum err_code rc = nc_write(r, buf_cstr(&out), out.len, e);
    buf_free(&out);
    return rc;
}
