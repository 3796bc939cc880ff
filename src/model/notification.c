// SPDX-License-Identifier: Apache-2.0
/* Notifications: as they go out, and which of them an XPath filter lets through. */
#include <string.h>

#include "base/clock.h"
#include "model/internal.h"
#include "model/xpath.h"

enum err_code notification_print(const struct model *m, const struct node *notification,
                                 const char *json, size_t len, int64_t unix_ns,
                                 const struct print_options *o, struct buf *out, struct err *e) {
    json_t *tree = NULL;
    ERR_TRY(trusted_tree(m, notification, json, len, &tree, e));
    struct buf name = BUF_INIT, inside = BUF_INIT, path = BUF_INIT;
    struct print_options inner = *o;
    char when[TIME_TEXT_MAX];
    const struct module_info *mod = model_module(notification->module);
    buf_printf(&name, "%s:%s", notification->module, notification->name);
    node_path(notification, &path);
    inner.wrap = buf_cstr(&name);
    inner.wrap_ns = mod != NULL ? mod->ns : "";
    inner.pretty = false;
    inner.content = CONTENT_ALL;
    enum err_code rc = print_tree(m, notification, tree, buf_cstr(&path), &inner, &inside, e);
    time_format(unix_ns / NS_PER_S, 0, when);
    if (rc == ERR_OK && o->format == FORMAT_XML) {
        buf_printf(out,
                   "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">"
                   "<eventTime>%s</eventTime>%s</notification>",
                   when, buf_cstr(&inside));
    } else if (rc == ERR_OK) {
        /* `inside` is {"module:name":{...}}: the time goes before its only member */
        buf_printf(out, "{\"ietf-restconf:notification\":{\"eventTime\":\"%s\",%s}", when,
                   buf_cstr(&inside) + 1);
    }
    json_decref(tree);
    buf_free(&name);
    buf_free(&inside);
    buf_free(&path);
    return rc;
}

/* ---- filters (RFC 8040 4.8.4, RFC 5277 3.6) ----------------------------------------------------
 */

struct model_filter {
    struct arena *a;
    const struct xpath *x;
};

enum err_code model_filter_new(const char *xpath, struct model_filter **out, struct err *e) {
    if (strlen(xpath) > MODEL_FILTER_MAX) {
        return err_set(e, ERR_INVALID, NULL, "A filter has at most %d bytes.", MODEL_FILTER_MAX);
    }
    struct model_filter *f = MEM_NEW(struct model_filter);
    f->a = arena_new();
    enum err_code rc = xpath_compile(xpath, f->a, &f->x, e);
    if (rc != ERR_OK) {
        model_filter_free(f);
        return rc;
    }
    *out = f;
    return ERR_OK;
}

void model_filter_free(struct model_filter *f) {
    if (f != NULL) {
        arena_free(f->a);
        mem_free(f);
    }
}

bool model_filter_matches(const struct model *m, const struct model_filter *f,
                          const struct node *notification, const char *json, size_t len) {
    json_t *tree = NULL;
    if (trusted_tree(m, notification, json, len, &tree, NULL) != ERR_OK) {
        return false;
    }
    bool yes = xpath_true(f->x, notification, tree, NULL);
    json_decref(tree);
    return yes;
}
