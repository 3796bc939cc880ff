// SPDX-License-Identifier: Apache-2.0
#include "net/dom.h"

#include <expat.h>
#include <string.h>

#include "base/text.h"

enum { SEPARATOR = '|' }; /* no character of a name; of a URI only the last one counts */

struct parser {
    XML_Parser xml;
    struct arena *a;
    struct dom *root, *at;
    struct dom_ns *declared; /* for the element that begins next */
    struct buf text;
    unsigned depth;
    size_t elements;
    enum err_code rc;
    struct err *e;
};

static void stop(struct parser *p, enum err_code code, const char *why) {
    if (p->rc == ERR_OK) {
        p->rc = err_set(p->e, code, NULL, "line %lu: %s",
                        (unsigned long)XML_GetCurrentLineNumber(p->xml), why);
        XML_StopParser(p->xml, XML_FALSE);
    }
}

static void split(struct arena *a, const char *full, const char **ns, const char **name) {
    const char *bar = strrchr(full, SEPARATOR);
    *ns = bar != NULL ? arena_strndup(a, full, (size_t)(bar - full)) : "";
    *name = arena_strdup(a, bar != NULL ? bar + 1 : full);
}

static void on_namespace(void *arg, const char *prefix, const char *uri) {
    struct parser *p = arg;
    struct dom_ns *n = arena_alloc(p->a, sizeof *n);
    n->prefix = arena_strdup(p->a, prefix != NULL ? prefix : "");
    n->uri = arena_strdup(p->a, uri != NULL ? uri : "");
    n->next = p->declared;
    p->declared = n;
}

static bool blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\0' || strchr(" \t\r\n", s[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void on_start(void *arg, const char *full, const char **attrs) {
    struct parser *p = arg;
    if (++p->depth > DOM_DEPTH_MAX) {
        stop(p, ERR_TOO_BIG, "elements are nested too deep");
        return;
    }
    if (++p->elements > DOM_ELEMENTS_MAX) {
        stop(p, ERR_TOO_BIG, "too many elements in one message");
        return;
    }
    if (!blank((const char *)p->text.data, p->text.len)) {
        stop(p, ERR_MALFORMED, "text between elements");
        return;
    }
    struct dom *d = arena_alloc(p->a, sizeof *d);
    split(p->a, full, &d->ns, &d->name);
    d->text = "";
    d->line = (unsigned)XML_GetCurrentLineNumber(p->xml);
    d->declared = p->declared;
    p->declared = NULL;
    d->parent = p->at;
    for (; *attrs != NULL; attrs += 2) {
        struct dom_attr *at = arena_alloc(p->a, sizeof *at);
        split(p->a, attrs[0], &at->ns, &at->name);
        at->value = arena_strdup(p->a, attrs[1]);
        at->next = d->attrs;
        d->attrs = at;
    }
    if (p->at == NULL) {
        p->root = d;
    } else if (p->at->last_child == NULL) {
        p->at->child = p->at->last_child = d;
    } else {
        p->at->last_child->next = d;
        p->at->last_child = d;
    }
    p->at = d;
    buf_clear(&p->text);
}

static void on_end(void *arg, const char *name) {
    struct parser *p = arg;
    (void)name;
    if (p->at == NULL) {
        return;
    }
    if (p->at->child == NULL && p->text.len > 0) {
        p->at->text = arena_strndup(p->a, (const char *)p->text.data, p->text.len);
    }
    buf_clear(&p->text);
    p->at = p->at->parent;
    p->depth--;
}

static void on_text(void *arg, const char *s, int n) {
    struct parser *p = arg;
    if (p->at != NULL && p->at->child == NULL) {
        buf_add(&p->text, s, (size_t)n);
        return;
    }
    if (!blank(s, (size_t)n)) {
        stop(p, ERR_MALFORMED, "text between elements");
    }
}

static void on_doctype(void *arg, const char *name, const char *sysid, const char *pubid, int sub) {
    (void)name;
    (void)sysid;
    (void)pubid;
    (void)sub;
    stop(arg, ERR_MALFORMED, "document types are not taken");
}

enum err_code dom_parse(const void *s, size_t n, struct arena *a, struct dom **out, struct err *e) {
    struct parser p = {.a = a, .e = e};
    p.xml = XML_ParserCreateNS("UTF-8", SEPARATOR);
    XML_SetUserData(p.xml, &p);
    XML_SetElementHandler(p.xml, on_start, on_end);
    XML_SetCharacterDataHandler(p.xml, on_text);
    XML_SetNamespaceDeclHandler(p.xml, on_namespace, NULL);
    XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
    if (XML_Parse(p.xml, s, (int)n, XML_TRUE) != XML_STATUS_OK && p.rc == ERR_OK) {
        p.rc = err_set(e, ERR_MALFORMED, NULL, "line %lu: %s",
                       (unsigned long)XML_GetCurrentLineNumber(p.xml),
                       XML_ErrorString(XML_GetErrorCode(p.xml)));
    }
    XML_ParserFree(p.xml);
    buf_free(&p.text);
    *out = p.root;
    return p.rc;
}

bool dom_is(const struct dom *d, const char *ns, const char *name) {
    return d != NULL && strcmp(d->name, name) == 0 && strcmp(d->ns, ns) == 0;
}

struct dom *dom_child(const struct dom *d, const char *ns, const char *name) {
    for (struct dom *c = d->child; c != NULL; c = c->next) {
        if (dom_is(c, ns, name)) {
            return c;
        }
    }
    return NULL;
}

const char *dom_child_text(const struct dom *d, const char *ns, const char *name) {
    const struct dom *c = dom_child(d, ns, name);
    return c != NULL ? c->text : NULL;
}

const char *dom_attr(const struct dom *d, const char *ns, const char *name) {
    for (const struct dom_attr *a = d->attrs; a != NULL; a = a->next) {
        if (strcmp(a->name, name) == 0 && strcmp(a->ns, ns) == 0) {
            return a->value;
        }
    }
    return NULL;
}

const char *dom_prefix(const struct dom *d, const char *prefix, size_t n) {
    for (; d != NULL; d = d->parent) {
        for (const struct dom_ns *s = d->declared; s != NULL; s = s->next) {
            if (strlen(s->prefix) == n && memcmp(s->prefix, prefix, n) == 0) {
                return s->uri;
            }
        }
    }
    return NULL;
}

/* ---- printing ---------------------------------------------------------------------------------
 */

static void declare(const struct dom_ns *n, struct buf *out) {
    if (n->prefix[0] != '\0') {
        buf_printf(out, " xmlns:%s=\"", n->prefix);
        text_xml(out, n->uri, XML_ATTRIBUTE);
        buf_char(out, '"');
    }
}

/* Prefixes from further up may be used in values. Nearer declarations win. */
static void declare_outer(const struct dom *d, struct buf *out) {
    for (const struct dom *up = d->parent; up != NULL; up = up->parent) {
        for (const struct dom_ns *n = up->declared; n != NULL; n = n->next) {
            bool hidden = false;
            for (const struct dom *in = d; in != up && !hidden; in = in->parent) {
                for (const struct dom_ns *m = in->declared; m != NULL && !hidden; m = m->next) {
                    hidden = strcmp(m->prefix, n->prefix) == 0;
                }
            }
            if (!hidden) {
                declare(n, out);
            }
        }
    }
}

/* A prefix for the attribute's module, declared here or by this. */
static void data_attr(const struct dom *d, const struct dom_attr *a, struct buf *out) {
    const char *prefix = strcmp(a->ns, NS_DEFAULT) == 0  ? "wd"
                         : strcmp(a->ns, NS_ORIGIN) == 0 ? "or"
                                                         : NULL;
    bool declared = false;
    if (prefix == NULL) {
        return;
    }
    for (const struct dom_ns *n = d->declared; n != NULL && !declared; n = n->next) {
        declared = strcmp(n->prefix, prefix) == 0;
    }
    if (!declared) {
        buf_printf(out, " xmlns:%s=\"%s\"", prefix, a->ns);
    }
    buf_printf(out, " %s:%s=\"", prefix, a->name);
    text_xml(out, a->value, XML_ATTRIBUTE);
    buf_char(out, '"');
}

struct printing {
    bool (*keep)(const struct dom *child, void *arg);
    void *arg;
    bool data;
};

static void print(const struct dom *d, const char *outer_ns, const struct printing *p,
                  struct buf *out) {
    buf_printf(out, "<%s", d->name);
    if (outer_ns == NULL || strcmp(outer_ns, d->ns) != 0) {
        buf_str(out, " xmlns=\"");
        text_xml(out, d->ns, XML_ATTRIBUTE);
        buf_char(out, '"');
    }
    for (const struct dom_ns *n = d->declared; n != NULL; n = n->next) {
        declare(n, out);
    }
    if (outer_ns == NULL) {
        declare_outer(d, out);
    }
    for (const struct dom_attr *a = d->attrs; a != NULL; a = a->next) {
        if (a->ns[0] == '\0') { /* NETCONF's and YANG's say what to do, and are not data */
            buf_printf(out, " %s=\"", a->name);
            text_xml(out, a->value, XML_ATTRIBUTE);
            buf_char(out, '"');
        } else if (p->data) {
            data_attr(d, a, out);
        }
    }
    buf_char(out, '>');
    text_xml(out, d->text, XML_CONTENT);
    for (const struct dom *c = d->child; c != NULL; c = c->next) {
        if (p->keep == NULL || p->keep(c, p->arg)) {
            print(c, d->ns, p, out);
        }
    }
    buf_printf(out, "</%s>", d->name);
}

void dom_print(const struct dom *d, bool (*keep)(const struct dom *child, void *arg), void *arg,
               struct buf *out) {
    print(d, NULL, &(struct printing){keep, arg, false}, out);
}

void dom_print_data(const struct dom *d, bool (*keep)(const struct dom *child, void *arg),
                    void *arg, struct buf *out) {
    print(d, NULL, &(struct printing){keep, arg, true}, out);
}
