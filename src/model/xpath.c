// SPDX-License-Identifier: Apache-2.0
/* XPath filters, by libyang, on one object with its ancestors at a time. */
#include <libyang/libyang.h>
#include <string.h>

#include "model/internal.h"

enum err_code model_xpath_check(const struct model *m, const char *expr, struct err *e) {
    struct ly_set *set = NULL;
    LY_ERR rc = lys_find_xpath(m->ctx, NULL, expr, 0, &set);
    ly_set_free(set, NULL);
    if (rc == LY_SUCCESS) {
        return ERR_OK;
    }
    const char *why = ly_errmsg(m->ctx);
    return err_set(e, ERR_INVALID, NULL, "the XPath expression is not valid: %s",
                   why != NULL ? why : expr);
}

/* What is selected, what is below it, and the way to it with the keys of its lists. */
static bool wanted(const struct lyd_node *n, const struct ly_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        const struct lyd_node *s = set->dnodes[i];
        for (const struct lyd_node *up = n; up != NULL; up = lyd_parent(up)) {
            if (up == s) {
                return true;
            }
        }
        for (const struct lyd_node *up = s; up != NULL; up = lyd_parent(up)) {
            if (up == n) {
                return true;
            }
        }
        bool key = n->schema != NULL && lysc_is_key(n->schema);
        for (const struct lyd_node *up = s; key && up != NULL; up = lyd_parent(up)) {
            if (up == lyd_parent(n)) {
                return true;
            }
        }
    }
    return false;
}

static void prune(struct lyd_node *n, const struct ly_set *set) {
    struct lyd_node *c = lyd_child(n), *next;
    for (; c != NULL; c = next) {
        next = c->next;
        if (!wanted(c, set)) {
            lyd_free_tree(c);
        } else {
            prune(c, set);
        }
    }
}

enum err_code model_xpath(const struct model *m, const char *expr, const char *xml, size_t len,
                          unsigned depth, struct buf *out, struct err *e) {
    struct lyd_node *tree = NULL;
    struct ly_set *set = NULL;
    (void)len;
    if (lyd_parse_data_mem(m->ctx, xml, LYD_XML, LYD_PARSE_ONLY, 0, &tree) != LY_SUCCESS) {
        return err_set(e, ERR_INTERNAL, NULL, "what is filtered can't be read: %s",
                       ly_errmsg(m->ctx));
    }
    LY_ERR rc = tree != NULL ? lyd_find_xpath3(NULL, tree, expr, NULL, &set) : LY_SUCCESS;
    struct lyd_node *top = tree;
    for (unsigned i = 0; i < depth && top != NULL; i++) {
        top = lyd_child(top);
    }
    if (rc == LY_SUCCESS && set != NULL && set->count > 0 && top != NULL && wanted(top, set)) {
        char *text = NULL;
        prune(top, set);
        if (lyd_print_mem(&text, top, LYD_XML, LYD_PRINT_SHRINK | LYD_PRINT_WD_EXPLICIT) ==
                LY_SUCCESS &&
            text != NULL) {
            buf_str(out, text);
        }
        free(text);
    }
    ly_set_free(set, NULL);
    lyd_free_all(tree);
    return rc == LY_SUCCESS
               ? ERR_OK
               : err_set(e, ERR_INVALID, NULL, "the XPath expression fails: %s", ly_errmsg(m->ctx));
}
