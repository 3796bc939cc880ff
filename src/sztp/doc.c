// SPDX-License-Identifier: Apache-2.0
#include "sztp/doc.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "sztp/prerfc.h"

static const struct {
    const char *name, *ns;
} modules[DOC_MODULES] = {
#define IETF(name)                                                                                 \
    { name, "urn:ietf:params:xml:ns:yang:" name }
    [DOC_SERVER] = IETF("ietf-sztp-bootstrap-server"),
    [DOC_CONVEYED] = IETF("ietf-sztp-conveyed-info"),
    [DOC_CSR] = IETF("ietf-sztp-csr"),
    [DOC_TYPES] = IETF("ietf-ztp-types"),
    [DOC_RESTCONF] = IETF("ietf-restconf"),
    [DOC_VOUCHER] = IETF("ietf-voucher"),
    [DOC_WEFT] = {"weft-onboard", "urn:weft:onboard"},
    [DOC_PRERFC] = {"", PRERFC_NS},
    [DOC_CHASSIS] = {"", PRERFC_NS_VC},
#undef IETF
};

/* ---- reading ------------------------------------------------------------------------------------
 */

/* What a tree made from JSON remembers of a value's kind in `mark`; XML has 0 there. */
enum { MARK_IN_ARRAY = 128 };

static void path_of(const struct dom *n, struct buf *out) {
    if (n->parent != NULL) {
        path_of(n->parent, out);
    }
    buf_char(out, '/');
    if (n->parent == NULL || strcmp(n->parent->ns, n->ns) != 0) {
        const char *name = n->ns;
        for (size_t i = 0; i < DOC_MODULES; i++) {
            name = strcmp(modules[i].ns, n->ns) == 0 ? modules[i].name : name;
        }
        if (name[0] != '\0') {
            buf_printf(out, "%s:", name);
        }
    }
    buf_str(out, n->name);
}

enum err_code doc_fail(const struct dom *n, enum err_code code, struct err *e, const char *fmt,
                       ...) {
    struct buf path = BUF_INIT;
    va_list ap;
    path_of(n, &path);
    va_start(ap, fmt);
    err_setv(e, code, buf_cstr(&path), fmt, ap);
    va_end(ap);
    buf_free(&path);
    return code;
}

/* "module:name" of JSON: the namespace; without a module the parent's. A module that we don't know
 * is its own namespace, and so in no table. */
static void json_name(struct doc *d, struct dom *n, const char *key) {
    const char *colon = strchr(key, ':');
    n->name = colon != NULL ? colon + 1 : key;
    n->ns = n->parent != NULL ? n->parent->ns : "";
    if (colon == NULL) {
        return;
    }
    size_t len = (size_t)(colon - key);
    for (size_t i = 0; i < DOC_MODULES; i++) {
        if (strlen(modules[i].name) == len &&
            (d->lenient ? strncasecmp(modules[i].name, key, len)
                        : strncmp(modules[i].name, key, len)) == 0) {
            n->ns = modules[i].ns;
            return;
        }
    }
    n->ns = arena_strndup(d->a, key, len);
}

static struct dom *json_node(struct doc *d, struct dom *parent, const char *key) {
    struct dom *n = arena_alloc(d->a, sizeof *n);
    n->parent = parent;
    n->text = "";
    json_name(d, n, key);
    if (parent == NULL) {
        d->root = n;
    } else if (parent->last_child == NULL) {
        parent->child = parent->last_child = n;
    } else {
        parent->last_child->next = n;
        parent->last_child = n;
    }
    return n;
}

static enum err_code json_tree(struct doc *d, struct dom *parent, json_t *object, unsigned depth,
                               struct err *e);

static enum err_code json_value(struct doc *d, struct dom *n, json_t *v, unsigned depth,
                                struct err *e) {
    switch (json_typeof(v)) {
    case JSON_STRING:
        n->text = json_string_value(v);
        n->mark |= DOC_STRING;
        return ERR_OK;
    case JSON_INTEGER:
        n->text = arena_printf(d->a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        n->mark |= DOC_NUMBER;
        return ERR_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        n->text = json_is_true(v) ? "true" : "false";
        n->mark |= DOC_BOOL;
        return ERR_OK;
    case JSON_OBJECT:
        n->mark |= DOC_TREE;
        return json_tree(d, n, v, depth + 1, e);
    default:
        return doc_fail(n, ERR_INVALID, e, "a value of this kind stands for nothing here");
    }
}

static enum err_code json_tree(struct doc *d, struct dom *parent, json_t *object, unsigned depth,
                               struct err *e) {
    const char *key;
    json_t *v;
    if (depth > DOC_DEPTH_MAX) {
        return doc_fail(parent, ERR_TOO_BIG, e, "more than %d values inside one another",
                        DOC_DEPTH_MAX);
    }
    json_object_foreach(object, key, v) {
        if (d->lenient && json_is_null(v)) {
            continue; /* some write all members, and null for those that they don't have */
        }
        if (!json_is_array(v)) {
            ERR_TRY(json_value(d, json_node(d, parent, key), v, depth, e));
        } else if (json_array_size(v) == 1 && json_is_null(json_array_get(v, 0))) {
            json_node(d, parent, key)->mark = DOC_EMPTY; /* RFC 7951 section 6.9 */
        } else {
            for (size_t i = 0; i < json_array_size(v); i++) {
                struct dom *n = json_node(d, parent, key);
                n->mark = MARK_IN_ARRAY;
                ERR_TRY(json_value(d, n, json_array_get(v, i), depth, e));
            }
        }
    }
    return ERR_OK;
}

/* jansson goes 2,048 deep by itself; ours is looked at in json_tree. */
static enum err_code json_parse(struct doc *d, const void *p, size_t n, struct err *e) {
    json_error_t why;
    d->json = json_loadb(p, n, JSON_REJECT_DUPLICATES, &why);
    if (d->json == NULL) {
        return err_set(e, ERR_MALFORMED, NULL, "line %d, column %d: no valid JSON (%s)", why.line,
                       why.column, why.text);
    }
    if (!json_is_object(d->json) || json_object_size(d->json) != 1) {
        return err_set(e, ERR_MALFORMED, NULL, "one object with one member is expected");
    }
    void *only = json_object_iter(d->json);
    json_t *v = json_object_iter_value(only);
    struct dom *root = json_node(d, NULL, json_object_iter_key(only));
    if (!json_is_object(v)) {
        return doc_fail(root, ERR_INVALID, e, "an object is expected");
    }
    return json_value(d, root, v, 1, e);
}

enum err_code doc_read(struct doc *d, enum sztp_form form, const void *p, size_t n, size_t max,
                       bool lenient, struct err *e) {
    *d = (struct doc){.form = form, .lenient = lenient, .a = arena_new()};
    if (n > max) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu bytes are too many; %zu are the limit", n, max);
    }
    if (n == 0) {
        return err_set(e, ERR_MALFORMED, NULL, "there is nothing in it");
    }
    return form == SZTP_JSON ? json_parse(d, p, n, e) : dom_parse(p, n, d->a, &d->root, e);
}

void doc_free(struct doc *d) {
    json_decref(d->json);
    arena_free(d->a);
    *d = (struct doc){.form = d->form};
}

bool doc_is(const struct doc *d, const struct dom *n, enum doc_module m, const char *name) {
    return strcmp(n->name, name) == 0 &&
           (d->lenient ? strcasecmp(n->ns, modules[m].ns) : strcmp(n->ns, modules[m].ns)) == 0;
}

static bool same_list(const struct dom *a, const struct dom *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->ns, b->ns) == 0;
}

const struct dom *doc_next(const struct dom *n) {
    const struct dom *after = n->next;
    while (after != NULL && !same_list(after, n)) {
        after = after->next;
    }
    return after;
}

static enum err_code check_kind(const struct doc *d, const struct dom *n, const struct doc_field *f,
                                struct err *e) {
    unsigned kind = f->kind & (DOC_STRING | DOC_NUMBER | DOC_BOOL | DOC_EMPTY | DOC_TREE);
    bool many = (f->kind & DOC_MANY) != 0;
    if (d->form == SZTP_XML) {
        return n->child != NULL && (kind & DOC_TREE) == 0
                   ? doc_fail(n, ERR_INVALID, e, "has elements inside, and is to hold a value")
                   : ERR_OK;
    }
    if (((n->mark & MARK_IN_ARRAY) != 0) != many) {
        return doc_fail(n, ERR_INVALID, e, many ? "an array is expected" : "is no list");
    }
    if (d->lenient && (kind & (DOC_NUMBER | DOC_BOOL)) != 0) {
        kind |= DOC_STRING;
    }
    return (n->mark & kind) == 0 ? doc_fail(n, ERR_INVALID, e, "%s is expected",
                                            (kind & DOC_TREE) != 0     ? "an object"
                                            : (kind & DOC_EMPTY) != 0  ? "[null]"
                                            : (kind & DOC_NUMBER) != 0 ? "a number"
                                            : (kind & DOC_BOOL) != 0   ? "true or false"
                                                                       : "a string")
                                 : ERR_OK;
}

enum err_code doc_fields(const struct doc *d, const struct dom *n, const struct doc_field *fields,
                         size_t n_fields, const struct dom **got, struct err *e) {
    memset(got, 0, n_fields * sizeof *got);
    for (const struct dom *c = n->child; c != NULL; c = c->next) {
        size_t i = 0;
        while (i < n_fields && !doc_is(d, c, fields[i].module, fields[i].name)) {
            i++;
        }
        if (i == n_fields) {
            if (d->lenient) {
                continue;
            }
            return doc_fail(c, ERR_UNKNOWN, e, "is not known here");
        }
        ERR_TRY(check_kind(d, c, &fields[i], e));
        if (got[i] != NULL && (fields[i].kind & DOC_MANY) == 0) {
            return doc_fail(c, ERR_ELEMENT, e, "stands there twice");
        }
        got[i] = got[i] != NULL ? got[i] : c;
    }
    if (n->child == NULL && d->form == SZTP_XML && n->text[strspn(n->text, " \t\r\n")] != '\0') {
        return doc_fail(n, ERR_INVALID, e, "holds text, and is to hold elements");
    }
    for (size_t i = 0; i < n_fields; i++) {
        if (got[i] == NULL && (fields[i].kind & DOC_MANDATORY) != 0) {
            return doc_fail(n, ERR_MISSING, e, "%s is missing", fields[i].name);
        }
    }
    return ERR_OK;
}

enum err_code doc_text(const struct dom *n, char *out, size_t size, struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    size_t len = strlen(n->text);
    if (len >= size) {
        return doc_fail(n, ERR_INVALID, e, "has %zu bytes; %zu are the limit", len, size - 1);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)n->text[i] < 0x20 || n->text[i] == 0x7f) {
            return doc_fail(n, ERR_INVALID, e, "has control characters in it");
        }
    }
    memcpy(out, n->text, len + 1);
    return ERR_OK;
}

enum err_code doc_uint(const struct dom *n, unsigned min, unsigned max, unsigned *out,
                       struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    unsigned long v = 0;
    size_t i = 0;
    for (; n->text[i] >= '0' && n->text[i] <= '9' && v <= max; i++) {
        v = v * 10 + (unsigned long)(n->text[i] - '0');
    }
    if (i == 0 || n->text[i] != '\0' || v < min || v > max) {
        return doc_fail(n, ERR_INVALID, e, "is a number from %u to %u", min, max);
    }
    *out = (unsigned)v;
    return ERR_OK;
}

enum err_code doc_bool(const struct dom *n, bool *out, struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    if (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0) {
        return doc_fail(n, ERR_INVALID, e, "is true or false");
    }
    *out = n->text[0] == 't';
    return ERR_OK;
}

enum err_code doc_binary(const struct dom *n, size_t max, struct buf *out, struct err *e) {
    if (n == NULL) {
        return ERR_OK;
    }
    size_t before = out->len;
    if (cms_unbase64(n->text, strlen(n->text), out, NULL) != ERR_OK) {
        return doc_fail(n, ERR_INVALID, e, "is no Base64");
    }
    if (out->len - before > max) {
        size_t len = out->len - before;
        out->len = before;
        return doc_fail(n, ERR_TOO_BIG, e, "has %zu octets; %zu are the limit", len, max);
    }
    return ERR_OK;
}

const char *doc_identity(const struct dom *n) {
    const char *colon = n != NULL ? strrchr(n->text, ':') : NULL;
    return colon != NULL ? colon + 1 : n != NULL ? n->text : "";
}

/* ---- writing ------------------------------------------------------------------------------------
 */

/* The level that is written into; the outermost of JSON is the document itself. */
static struct doc_level *top(struct doc_out *o) {
    return &o->at[o->depth];
}

void doc_begin(struct doc_out *o, enum sztp_form form, struct buf *b) {
    *o = (struct doc_out){.form = form, .b = b};
    o->at[0] = (struct doc_level){.module = DOC_MODULES, .name = ""};
    if (form == SZTP_JSON) {
        buf_char(b, '{');
    }
}

void doc_end(struct doc_out *o) {
    if (o->form == SZTP_JSON) {
        buf_char(o->b, '}');
    }
}

/* What stands before a value: a comma and the name, or the opening tag. */
static void head(struct doc_out *o, enum doc_module m, const char *name, bool open_tag) {
    struct doc_level *in = top(o);
    if (o->form == SZTP_XML) {
        if (open_tag) {
            enum doc_module outer = in->module;
            buf_printf(o->b, "<%s", name);
            if (outer != m) {
                buf_printf(o->b, " xmlns=\"%s\"", modules[m].ns);
            }
        }
        return;
    }
    if (in->some) {
        buf_char(o->b, ',');
    }
    in->some = true;
    if (!in->list) {
        buf_printf(o->b, "\"%s%s%s\":", in->module != m ? modules[m].name : "",
                   in->module != m ? ":" : "", name);
    }
}

static void push(struct doc_out *o, enum doc_module m, const char *name, bool list) {
    o->depth++;
    *top(o) = (struct doc_level){.module = m, .name = name, .list = list};
}

void doc_open(struct doc_out *o, enum doc_module m, const char *name) {
    head(o, m, name, true);
    buf_char(o->b, o->form == SZTP_JSON ? '{' : '>');
    push(o, m, name, false);
}

void doc_list(struct doc_out *o, enum doc_module m, const char *name) {
    enum doc_module outer = top(o)->module;
    head(o, m, name, false);
    if (o->form == SZTP_JSON) {
        buf_char(o->b, '[');
    }
    /* In XML each entry says its namespace where the parent's is another. */
    push(o, o->form == SZTP_XML ? outer : m, name, true);
}

void doc_close(struct doc_out *o) {
    struct doc_level was = *top(o);
    o->depth--;
    if (o->form == SZTP_JSON) {
        buf_char(o->b, was.list ? ']' : '}');
    } else if (!was.list) {
        buf_printf(o->b, "</%s>", was.name);
    }
}

void doc_put(struct doc_out *o, enum doc_module m, const char *name, const char *text) {
    head(o, m, name, true);
    if (o->form == SZTP_JSON) {
        text_json(o->b, text);
        return;
    }
    buf_char(o->b, '>');
    text_xml(o->b, text, XML_CONTENT);
    buf_printf(o->b, "</%s>", name);
}

void doc_put_raw(struct doc_out *o, enum doc_module m, const char *name, const char *text) {
    head(o, m, name, true);
    if (o->form == SZTP_JSON) {
        buf_str(o->b, text);
    } else {
        buf_printf(o->b, ">%s</%s>", text, name);
    }
}

void doc_put_empty(struct doc_out *o, enum doc_module m, const char *name) {
    head(o, m, name, true);
    buf_str(o->b, o->form == SZTP_JSON ? "[null]" : "/>");
}

void doc_put_binary(struct doc_out *o, enum doc_module m, const char *name, const void *p,
                    size_t n) {
    bool json = o->form == SZTP_JSON;
    head(o, m, name, true);
    buf_char(o->b, json ? '"' : '>');
    cms_base64(p, n, o->b);
    if (json) {
        buf_char(o->b, '"');
    } else {
        buf_printf(o->b, "</%s>", name);
    }
}

void doc_put_identity(struct doc_out *o, enum doc_module m, const char *name, enum doc_module of,
                      const char *identity) {
    head(o, m, name, true);
    if (o->form == SZTP_JSON) {
        buf_printf(o->b, "\"%s:%s\"", modules[of].name, identity);
    } else if (of == m) { /* the default namespace (RFC 7950 section 9.10.3) */
        buf_printf(o->b, ">%s</%s>", identity, name);
    } else {
        buf_printf(o->b, " xmlns:id=\"%s\">id:%s</%s>", modules[of].ns, identity, name);
    }
}
