// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <libyang/libyang.h>
#include <libyang/plugins_types.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "model/internal.h"

enum { SHOWN_MAX = 60 }; /* characters of a bad value that an error repeats */

/* "weft-ip..." of a type that is completed here; NULL for other types. */
static const char *ip_tag(const struct lysc_type *t) {
    if (t->basetype != LY_TYPE_STRING) {
        return NULL;
    }
    const struct lysc_type_str *s = (const struct lysc_type_str *)t;
    LY_ARRAY_COUNT_TYPE u;
    LY_ARRAY_FOR(s->patterns, u) {
        if (s->patterns[u]->eapptag != NULL &&
            strncmp(s->patterns[u]->eapptag, "weft-ip", 7) == 0) {
            return s->patterns[u]->eapptag;
        }
    }
    return NULL;
}

/* Completes the shape that the patterns of weft-types describe: octets, host bits, family. */
static enum err_code check_ip(const char *tag, const char *value, struct buf *canonical,
                              const char *path, struct err *e) {
    char text[IP_TEXT_MAX];
    struct err inner;
    enum err_code rc;
    const char *v = strstr(tag, "-ipv");
    unsigned family, want = v != NULL ? (unsigned)(v[4] - '0') : 0;
    if (strstr(tag, "prefix") != NULL) {
        struct ip_prefix p = {.len = 0};
        rc = ip_prefix_parse(value, &p, &inner);
        family = p.addr.family;
        ip_prefix_format(&p, text);
    } else {
        struct ip_addr a = {.family = 0};
        rc = ip_addr_parse(value, &a, &inner);
        family = a.family;
        ip_addr_format(&a, text);
    }
    if (rc != ERR_OK) {
        return err_tag(e, err_set(e, ERR_INVALID, path, "%s", inner.text), tag, NULL);
    }
    if (want != 0 && family != want) {
        return err_tag(e,
                       err_set(e, ERR_INVALID, path, "\"%s\" is IPv%u; IPv%u is wanted here.", text,
                               family, want),
                       tag, NULL);
    }
    buf_clear(canonical);
    buf_str(canonical, text);
    return ERR_OK;
}

static const struct lysc_range *range_of(const struct lysc_type *t) {
    switch (t->basetype) {
    case LY_TYPE_STRING:
        return ((const struct lysc_type_str *)t)->length;
    case LY_TYPE_BINARY:
        return ((const struct lysc_type_bin *)t)->length;
    case LY_TYPE_DEC64:
        return ((const struct lysc_type_dec *)t)->range;
    case LY_TYPE_UINT8:
    case LY_TYPE_UINT16:
    case LY_TYPE_UINT32:
    case LY_TYPE_UINT64:
    case LY_TYPE_INT8:
    case LY_TYPE_INT16:
    case LY_TYPE_INT32:
    case LY_TYPE_INT64:
        return ((const struct lysc_type_num *)t)->range;
    default:
        return NULL;
    }
}

/* Is `text` the error-message that the model gives one of the type's restrictions? */
static bool of_model(const struct lysc_type *t, const char *text) {
    const struct lysc_range *r = range_of(t);
    if (r != NULL && r->emsg != NULL && strcmp(r->emsg, text) == 0) {
        return true;
    }
    if (t->basetype == LY_TYPE_STRING) {
        const struct lysc_type_str *s = (const struct lysc_type_str *)t;
        LY_ARRAY_COUNT_TYPE u;
        LY_ARRAY_FOR(s->patterns, u) {
            if (s->patterns[u]->emsg != NULL && strcmp(s->patterns[u]->emsg, text) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Of a union whose types are all texts with a sentence about their form: these sentences. False:
 * it is none. */
static bool of_union(const struct lysc_type *t, struct buf *out) {
    size_t before = out->len;
    if (t->basetype != LY_TYPE_UNION) {
        return false;
    }
    const struct lysc_type_union *u = (const struct lysc_type_union *)t;
    LY_ARRAY_COUNT_TYPE i;
    LY_ARRAY_FOR(u->types, i) {
        const struct lysc_type_str *s = (const struct lysc_type_str *)u->types[i];
        if (s->basetype != LY_TYPE_STRING || LY_ARRAY_COUNT(s->patterns) == 0 ||
            s->patterns[0]->emsg == NULL) {
            out->len = before;
            return false;
        }
        buf_printf(out, "%s%s", i > 0 ? " " : "", s->patterns[0]->emsg);
    }
    return true;
}

/* A sentence that is broken in the YANG text goes out in one line. */
static void one_line(struct err *e) {
    if (e != NULL) {
        for (char *p = e->text; (p = strchr(p, '\n')) != NULL;) {
            *p = ' ';
        }
    }
}

/* What the model itself says of the restriction that a value breaks, its error-message and
 * error-app-tag, goes out (RFC 7950 8.3.1): the type is asked again, as only it hands out both. */
static enum err_code refuse(const struct model *m, const struct node *leaf,
                            const struct lysc_type *t, const char *value, size_t n,
                            const char *path, struct err *e) {
    struct ly_err_item *why = NULL;
    struct lyd_value ignored = {0};
    struct buf b = BUF_INIT;
    if (t->plugin->store(m->ctx, t, n > 0 ? value : "", n, 0, LY_VALUE_JSON, NULL, LYD_HINT_DATA,
                         NULL, &ignored, NULL, &why) == LY_SUCCESS) {
        t->plugin->free(m->ctx, &ignored);
    }
    if (leaf->secret) {
        buf_printf(&b, "That is no valid %s: ", leaf->name);
    } else {
        buf_printf(&b, "\"%.*s%s\" is no valid %s: ", (int)(n > SHOWN_MAX ? SHOWN_MAX : n), value,
                   n > SHOWN_MAX ? "..." : "", leaf->name);
    }
    if (why != NULL && why->msg != NULL && of_model(t, why->msg)) {
        buf_str(&b, why->msg);
    } else if (!of_union(t, &b)) {
        node_type_text(leaf, &b);
        buf_str(&b, " is wanted.");
    }
    enum err_code rc = err_set(e, ERR_INVALID, path, "%s", buf_cstr(&b));
    one_line(e);
    err_tag(e, rc, why != NULL ? why->apptag : NULL, NULL);
    ly_err_free(why);
    buf_free(&b);
    return rc;
}

static enum base_type base_of(const struct lysc_type *t) {
    switch (t->basetype) {
    case LY_TYPE_INT8:
    case LY_TYPE_INT16:
    case LY_TYPE_INT32:
    case LY_TYPE_UINT8:
    case LY_TYPE_UINT16:
    case LY_TYPE_UINT32:
        return BASE_INT32;
    case LY_TYPE_BOOL:
        return BASE_BOOL;
    case LY_TYPE_EMPTY:
        return BASE_EMPTY;
    default:
        return BASE_STRING;
    }
}

static const struct lysc_type *real_type(const struct lysc_type *t) {
    return t->basetype == LY_TYPE_LEAFREF ? ((const struct lysc_type_leafref *)t)->realtype : t;
}

/* Where the first character stands that no YANG string has (RFC 7950 14, yang-char): it could not
 * be said in XML again. n when there is none. libyang looks for them in its own parsers only. */
static size_t control_at(const char *value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        bool none = c == 0xEF && i + 2 < n && (unsigned char)value[i + 1] == 0xBF &&
                    (unsigned char)value[i + 2] >= 0xBE; /* U+FFFE, U+FFFF */
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || none) {
            return i;
        }
    }
    return n;
}

enum err_code value_check_at(const struct model *m, const struct node *leaf, const char *value,
                             size_t n, struct buf *canonical, enum base_type *actual,
                             const char *path, struct err *e) {
    const struct lysc_type *t = m->types[leaf->id], *real = NULL;
    *actual = leaf->base;
    if (memchr(value, '\0', n) != NULL) {
        return err_set(e, ERR_INVALID, path, "A NUL character has no place in a value.");
    }
    size_t control = control_at(value, n);
    if (control < n) {
        return err_set(e, ERR_INVALID, path,
                       "The control character 0x%02x has no place in a value.",
                       (unsigned)(unsigned char)value[control]);
    }
    if (leaf->secret && n == strlen(MODEL_SECRET_MASK) &&
        memcmp(value, MODEL_SECRET_MASK, n) == 0) {
        return err_set(e, ERR_INVALID, path,
                       "%s is only shown as " MODEL_SECRET_MASK "; that is not its value.",
                       leaf->name);
    }
    buf_clear(canonical);
    const char *tag = ip_tag(t);
    if (tag != NULL) {
        char *copy = mem_strndup(value, n);
        enum err_code rc = check_ip(tag, copy, canonical, path, e);
        mem_free(copy);
        if (rc != ERR_OK || LY_ARRAY_COUNT(((const struct lysc_type_str *)t)->patterns) == 1) {
            return rc;
        }
        value = buf_cstr(canonical);
        n = canonical->len;
    }
    const char *text = NULL;
    LY_ERR lyrc =
        lyd_value_validate(NULL, m->schema[leaf->id], n > 0 ? value : "", n, NULL, &real, &text);
    if (lyrc != LY_SUCCESS && lyrc != LY_EINCOMPLETE) {
        return refuse(m, leaf, t, value, n, path, e);
    }
    if (tag == NULL && text != NULL) {
        buf_str(canonical, text);
    }
    if (text != NULL) {
        lydict_remove(m->ctx, text);
    }
    if (leaf->base == BASE_UNION && real != NULL) {
        real = real_type(real);
        *actual = base_of(real);
        tag = ip_tag(real);
        if (tag != NULL) {
            char *copy = mem_strdup(buf_cstr(canonical));
            enum err_code rc = check_ip(tag, copy, canonical, path, e);
            mem_free(copy);
            return rc;
        }
    }
    return ERR_OK;
}

enum err_code value_check(const struct model *m, const struct node *leaf, const char *value,
                          size_t n, struct buf *canonical, struct err *e) {
    enum base_type actual;
    if (!node_is_leaf(leaf)) {
        return err_set(e, ERR_INVALID, NULL, "%s takes no value.", leaf->name);
    }
    return value_check_at(m, leaf, value, n, canonical, &actual, NULL, e);
}

json_t *value_to_json(enum base_type base, const char *canonical, size_t n) {
    switch (base) {
    case BASE_INT8:
    case BASE_INT16:
    case BASE_INT32:
    case BASE_UINT8:
    case BASE_UINT16:
    case BASE_UINT32:
        return json_integer(strtoll(canonical, NULL, 10));
    case BASE_BOOL:
        return json_boolean(canonical[0] == 't');
    case BASE_EMPTY: {
        json_t *v = json_array();
        json_array_append_new(v, json_null());
        return v;
    }
    default:
        return json_stringn(canonical, n);
    }
}

const char *value_text(const json_t *v, struct buf *tmp) {
    switch (json_typeof(v)) {
    case JSON_STRING:
        return json_string_value(v);
    case JSON_INTEGER:
        buf_clear(tmp);
        buf_printf(tmp, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return buf_cstr(tmp);
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "";
    }
}

bool value_ordered_as_text(const struct node *leaf) {
    switch (leaf->base) {
    case BASE_INT8:
    case BASE_INT16:
    case BASE_INT32:
    case BASE_INT64:
    case BASE_UINT8:
    case BASE_UINT16:
    case BASE_UINT32:
    case BASE_UINT64:
    case BASE_IP_ADDR:
    case BASE_IP_PREFIX:
        return false;
    default:
        return true;
    }
}

int value_cmp(const struct node *leaf, const char *a, const char *b) {
    switch (leaf->base) {
    case BASE_INT8:
    case BASE_INT16:
    case BASE_INT32:
    case BASE_INT64: {
        int64_t x = strtoll(a, NULL, 10), y = strtoll(b, NULL, 10);
        return (x > y) - (x < y);
    }
    case BASE_UINT8:
    case BASE_UINT16:
    case BASE_UINT32:
    case BASE_UINT64: {
        uint64_t x = strtoull(a, NULL, 10), y = strtoull(b, NULL, 10);
        return (x > y) - (x < y);
    }
    case BASE_IP_ADDR: {
        struct ip_addr x, y;
        if (ip_addr_parse(a, &x, NULL) == ERR_OK && ip_addr_parse(b, &y, NULL) == ERR_OK) {
            return ip_addr_cmp(&x, &y);
        }
        return strcmp(a, b);
    }
    case BASE_IP_PREFIX: {
        struct ip_prefix x, y;
        if (ip_prefix_parse(a, &x, NULL) == ERR_OK && ip_prefix_parse(b, &y, NULL) == ERR_OK) {
            return ip_prefix_cmp(&x, &y);
        }
        return strcmp(a, b);
    }
    default:
        return strcmp(a, b);
    }
}

/* ---- must, when -------------------------------------------------------------------------------
 */

static void error_path(const struct lyd_node *object, const struct lyd_node *at, const char *path,
                       struct buf *out) {
    if (at == object || at == NULL) {
        buf_str(out, path);
        return;
    }
    error_path(object, lyd_parent(at), path, out);
    buf_printf(out, "/%s", at->schema->name);
    const char *sep = "=";
    if (at->schema->nodetype == LYS_LIST) {
        for (const struct lyd_node *k = lyd_child(at); k != NULL && lysc_is_key(k->schema);
             k = k->next) {
            path_add_key(out, sep[0] == '=', lyd_get_value(k));
            sep = ",";
        }
    }
}

static bool holds(const struct lyd_node *at, const struct lyxp_expr *cond,
                  const struct lysc_prefix *prefixes) {
    ly_bool result = 0;
    LY_ERR rc =
        lyd_eval_xpath3(at, at->schema->module, lyxp_get_expr(cond), LY_VALUE_SCHEMA_RESOLVED,
                        (void *)(uintptr_t)prefixes, NULL, &result);
    return rc == LY_SUCCESS && result;
}

static enum err_code check_conditions(const struct model *m, const struct lyd_node *object,
                                      const struct lyd_node *at, const char *path, struct err *e) {
    LY_ARRAY_COUNT_TYPE u;
    struct buf where = BUF_INIT;
    enum err_code rc = ERR_OK;
    struct lysc_when **whens = lysc_node_when(at->schema);
    LY_ARRAY_FOR(whens, u) {
        const struct lyd_node *context = at;
        while (context != NULL && context->schema != whens[u]->context) {
            context = lyd_parent(context);
        }
        if (context != NULL && !(at->flags & LYD_DEFAULT) &&
            !holds(context, whens[u]->cond, whens[u]->prefixes)) {
            error_path(object, at, path, &where);
            rc = err_set(e, ERR_UNKNOWN, buf_cstr(&where), "%s has no place here: it needs %s.",
                         at->schema->name, lyxp_get_expr(whens[u]->cond));
            goto out;
        }
    }
    struct lysc_must *musts = lysc_node_musts(at->schema);
    LY_ARRAY_FOR(musts, u) {
        if (!holds(at, musts[u].cond, musts[u].prefixes)) {
            error_path(object, at, path, &where);
            rc = err_set(e, ERR_CONSTRAINT, buf_cstr(&where), "%s",
                         musts[u].emsg != NULL ? musts[u].emsg : lyxp_get_expr(musts[u].cond));
            one_line(e);
            err_tag(e, rc, musts[u].eapptag != NULL ? musts[u].eapptag : "must-violation", NULL);
            goto out;
        }
    }
    if (at->schema->nodetype & (LYS_LEAF | LYS_LEAFLIST)) {
        const struct lysc_type *t = at->schema->nodetype == LYS_LEAF
                                        ? ((const struct lysc_node_leaf *)at->schema)->type
                                        : ((const struct lysc_node_leaflist *)at->schema)->type;
        if (t->basetype == LY_TYPE_LEAFREF &&
            ((const struct lysc_type_leafref *)t)->require_instance) {
            const char *v = lyd_get_value(at);
            if (lyd_value_validate(NULL, at->schema, v, strlen(v), at, NULL, NULL) != LY_SUCCESS) {
                error_path(object, at, path, &where);
                rc = err_set(e, ERR_REFERENCE, buf_cstr(&where),
                             "There is no \"%s\" that %s refers to.", v, at->schema->name);
                err_tag(e, rc, "instance-required", NULL);
                goto out;
            }
        }
    }
    for (const struct lyd_node *c = lyd_child(at); c != NULL && rc == ERR_OK; c = c->next) {
        rc = check_conditions(m, object, c, path, e);
    }
out:
    buf_free(&where);
    return rc;
}

enum err_code xpath_check(const struct model *m, const struct kind *k, const char *path,
                          const char *json, size_t len, struct err *e) {
    /* Only this object and the plain containers above it become a libyang tree, and defaults are
     * added inside the object alone: siblings cost nothing. */
    struct buf text = BUF_INIT;
    const struct node *up[32];
    size_t n = 0;
    for (const struct node *x = k->node->parent; x->type != NODE_ROOT && n < 32; x = x->parent) {
        up[n++] = x;
    }
    for (size_t i = n; i-- > 0;) {
        buf_printf(&text, "{\"%s:%s\":", up[i]->module, up[i]->name);
    }
    buf_printf(&text, k->n_keys > 0 ? "{\"%s:%s\":[" : "{\"%s:%s\":", k->node->module,
               k->node->name);
    buf_add(&text, json, len);
    buf_str(&text, k->n_keys > 0 ? "]}" : "}");
    for (size_t i = 0; i < n; i++) {
        buf_char(&text, '}');
    }
    struct lyd_node *tree = NULL, *object;
    enum err_code rc;
    if (lyd_parse_data_mem(m->ctx, buf_cstr(&text), LYD_JSON, LYD_PARSE_ONLY | LYD_PARSE_STRICT, 0,
                           &tree) != LY_SUCCESS) {
        rc = err_set(e, ERR_INVALID, path, "Not accepted: %s.", ly_errmsg(m->ctx));
        goto out;
    }
    object = tree;
    for (size_t i = 0; i < n && object != NULL; i++) {
        object = lyd_child(object);
    }
    if (object == NULL ||
        lyd_new_implicit_tree(object, LYD_IMPLICIT_NO_STATE, NULL) != LY_SUCCESS) {
        rc = err_set(e, ERR_INTERNAL, path, "Defaults can't be filled in.");
        goto out;
    }
    rc = check_conditions(m, object, object, path, e);
out:
    lyd_free_all(tree);
    buf_free(&text);
    return rc;
}
