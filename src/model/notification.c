// SPDX-License-Identifier: Apache-2.0
/* Notifications: as they go out, and which of them an XPath filter lets through. */
#include <libyang/libyang.h>
#include <string.h>

#include "base/clock.h"
#include "model/internal.h"

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

/* The context node of a filter is the root, which libyang offers for node sets only: the expression
 * goes into a predicate of the root. */
static bool evaluate(const struct lyd_node *notification, const char *xpath, bool *result) {
    char *rooted = mem_printf("boolean(/self::node()[boolean(%s)])", xpath);
    ly_bool yes = 0;
    LY_ERR rc = lyd_eval_xpath3(notification, NULL, rooted, LY_VALUE_JSON, NULL, NULL, &yes);
    mem_free(rooted);
    *result = rc == LY_SUCCESS && yes;
    return rc == LY_SUCCESS;
}

/* A predicate is evaluated for each node that is left of it: how deep they nest is the exponent of
 * what an event costs. */
static bool nested_too_deep(const char *xpath) {
    unsigned depth = 0;
    char quote = '\0';
    for (const char *p = xpath; *p != '\0'; p++) {
        if (quote != '\0') {
            quote = *p == quote ? '\0' : quote;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (*p == '[') {
            if (++depth > MODEL_FILTER_DEPTH_MAX) {
                return true;
            }
        } else if (*p == ']' && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum err_code model_filter_check(const struct model *m, const char *xpath, struct err *e) {
    if (strlen(xpath) > MODEL_FILTER_MAX || nested_too_deep(xpath)) {
        return err_set(e, ERR_INVALID, NULL,
                       "A filter has at most %d bytes and predicates inside predicates %d deep.",
                       MODEL_FILTER_MAX, MODEL_FILTER_DEPTH_MAX);
    }
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < model_tables.n_notifications && rc == ERR_OK; i++) {
        const struct node *n = model_tables.notifications[i];
        const struct lysc_node *s = m->schema[n->id];
        struct lyd_node *empty = NULL;
        ly_bool yes;
        bool ignored;
        if (s == NULL || lyd_new_inner(NULL, s->module, s->name, 0, &empty) != LY_SUCCESS) {
            continue;
        }
        /* by itself first: nothing may close the predicate that it is put into */
        if (lyd_eval_xpath3(empty, NULL, xpath, LY_VALUE_JSON, NULL, NULL, &yes) != LY_SUCCESS ||
            !evaluate(empty, xpath, &ignored)) {
            rc = err_set(e, ERR_INVALID, NULL, "This is no XPath expression to filter with: %s",
                         ly_errmsg(m->ctx));
        }
        lyd_free_all(empty);
    }
    return rc;
}

bool model_filter_matches(const struct model *m, const char *xpath, const struct node *notification,
                          const char *json, size_t len) {
    json_t *tree = NULL;
    struct buf text = BUF_INIT;
    struct ly_in *in = NULL;
    struct lyd_node *all = NULL, *op = NULL;
    bool yes = false;
    if (trusted_tree(m, notification, json, len, &tree, NULL) != ERR_OK) {
        return false;
    }
    buf_printf(&text, "{\"%s:%s\":", notification->module, notification->name);
    tree_dump(tree, &text);
    buf_char(&text, '}');
    if (ly_in_new_memory(buf_cstr(&text), &in) == LY_SUCCESS) {
        if (lyd_parse_op(m->ctx, NULL, in, LYD_JSON, LYD_TYPE_NOTIF_YANG, &all, &op) ==
            LY_SUCCESS) {
            evaluate(all, xpath, &yes);
        }
        lyd_free_all(all);
        ly_in_free(in, 0);
    }
    json_decref(tree);
    buf_free(&text);
    return yes;
}
