// SPDX-License-Identifier: Apache-2.0
/*
 * XML bodies, led by the schema: elements become members of JSON objects, lists become arrays, and
 * all values stay text. Document types are refused, so there are no entities to expand.
 */
#include <expat.h>
#include <string.h>

#include "model/internal.h"

enum { PREFIXES_MAX = 256 };

struct level {
    const struct node *node;
    json_t *value; /* object the children go into; NULL for a leaf */
};

struct xml {
    XML_Parser p;
    const struct model *m;
    const struct node *parent;
    const struct xml_cover *covers; /* NULL: the root element is a child of `parent` */
    struct level at[MODEL_DEPTH_MAX + 2];
    unsigned depth; /* levels in use */
    bool covered;   /* inside the root element that only covers */
    struct buf text, path;
    size_t path_len[MODEL_DEPTH_MAX + 2];
    struct {
        char *prefix, *uri;
    } ns[PREFIXES_MAX];
    size_t n_ns;
    json_t *out;
    enum err_code rc;
    struct err *e;
};

static void stop(struct xml *x, enum err_code rc) {
    x->rc = rc;
    XML_StopParser(x->p, XML_FALSE);
}

static const char *where(struct xml *x) {
    return x->path.len > 0 ? buf_cstr(&x->path) : NULL;
}

static bool same(const char *s, const char *text, size_t n) {
    return strlen(s) == n && memcmp(s, text, n) == 0;
}

/* Expat gives "uri|local"; without a namespace "local" alone. */
static const char *split(const char *name, size_t *uri_len) {
    const char *bar = strrchr(name, '|');
    *uri_len = bar != NULL ? (size_t)(bar - name) : 0;
    return bar != NULL ? bar + 1 : name;
}

static const char *ns_of(const struct node *n) {
    const struct module_info *m = model_module(n->module);
    return m != NULL ? m->ns : "";
}

static const struct node *find(const struct node *parent, const char *name) {
    size_t uri;
    const char *local = split(name, &uri);
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *c = parent->children[i];
        if (strcmp(c->name, local) == 0 && same(ns_of(c), name, uri)) {
            return c;
        }
    }
    return NULL;
}

static bool ns_known(const char *uri, size_t n) {
    for (size_t i = 0; i < model_tables.n_modules; i++) {
        if (same(model_tables.modules[i].ns, uri, n)) {
            return true;
        }
    }
    return false;
}

static enum err_code unknown(struct xml *x, const struct node *parent, const char *name) {
    size_t uri;
    const char *local = split(name, &uri), *wanted = "";
    struct buf known = BUF_INIT;
    for (size_t i = 0; i < parent->n_children && wanted[0] == '\0'; i++) {
        wanted = strcmp(parent->children[i]->name, local) == 0 ? ns_of(parent->children[i]) : "";
    }
    if (wanted[0] != '\0') {
        buf_printf(&known, "; %s is the one that is wanted", wanted);
    } else {
        node_known_text(parent, local, strlen(local), &known);
    }
    enum err_code rc;
    if (uri == 0) {
        rc = err_set(x->e, ERR_NAMESPACE, where(x), "<%.60s> has no namespace%s.", local,
                     buf_cstr(&known));
    } else if (wanted[0] != '\0' || !ns_known(name, uri)) {
        rc = err_set(x->e, ERR_NAMESPACE, where(x), "<%.60s> is in the wrong namespace, %.*s%s.",
                     local, (int)(uri > 100 ? 100 : uri), name, buf_cstr(&known));
    } else {
        rc = err_set(x->e, ERR_UNKNOWN, where(x), "<%.60s> is unknown%s", local, buf_cstr(&known));
    }
    buf_free(&known);
    return rc;
}

/* The root element that only covers what is meant. */
static void cover(struct xml *x, const char *name) {
    size_t uri;
    const char *local = split(name, &uri);
    bool named = false;
    for (const struct xml_cover *c = x->covers; c->name != NULL; c++) {
        bool same_name = strcmp(c->name, local) == 0;
        if (same_name && same(c->ns, name, uri)) {
            x->covered = true;
            return;
        }
        named = named || same_name;
    }
    stop(x, err_set(x->e, named ? ERR_NAMESPACE : ERR_UNKNOWN, where(x),
                    "<%.60s>%s%.*s: the body's element is <%s xmlns=\"%s\">.", local,
                    uri > 0 ? " of " : " without a namespace", (int)(uri > 100 ? 100 : uri), name,
                    x->covers->name, x->covers->ns));
}

/* Attributes say nothing that we could do (RFC 8040 knows none in a body). */
static bool attributes_ok(struct xml *x, const XML_Char **attributes) {
    size_t uri;
    if (attributes[0] != NULL) {
        const char *local = split(attributes[0], &uri);
        stop(x, err_set(x->e, ERR_ATTRIBUTE, where(x), "The attribute \"%.60s\" is unknown here.",
                        local));
    }
    return attributes[0] == NULL;
}

static void XMLCALL start(void *arg, const XML_Char *name, const XML_Char **attributes) {
    struct xml *x = arg;
    if (x->rc != ERR_OK) {
        return;
    }
    if (x->covers != NULL && !x->covered) {
        if (attributes_ok(x, attributes)) {
            cover(x, name);
        }
        return;
    }
    if (x->depth > MODEL_DEPTH_MAX) {
        stop(x, err_set(x->e, ERR_TOO_BIG, where(x), "The body is nested more than %d deep.",
                        MODEL_DEPTH_MAX));
        return;
    }
    const struct node *parent = x->depth > 0 ? x->at[x->depth - 1].node : x->parent;
    if (node_is_leaf(parent)) {
        stop(x,
             err_set(x->e, ERR_ELEMENT, where(x), "%s holds a value, not elements.", parent->name));
        return;
    }
    const struct node *n = find(parent, name);
    if (n == NULL) {
        stop(x, unknown(x, parent, name));
        return;
    }
    if (!attributes_ok(x, attributes)) {
        return;
    }
    json_t *into = x->depth > 0 ? x->at[x->depth - 1].value : x->out;
    const struct node *above = x->depth > 0 ? parent : model_root();
    json_t *v = node_is_leaf(n) ? NULL : json_object();
    x->path_len[x->depth] = x->path.len;
    path_add_node(&x->path, n);
    if (n->type == NODE_LIST) {
        json_t *array = tree_get(into, above, n);
        if (array == NULL) {
            array = json_array();
            tree_set_new(into, above, n, array);
        }
        json_array_append_new(array, v);
    } else if (v != NULL) {
        if (tree_get(into, above, n) != NULL) {
            json_decref(v);
            stop(x, err_set(x->e, ERR_ELEMENT, where(x), "%s is given twice.", n->name));
            return;
        }
        tree_set_new(into, above, n, v);
    }
    x->at[x->depth++] = (struct level){n, v};
    buf_clear(&x->text);
}

/* XML names identities by the prefixes in scope, JSON by modules (RFC 7951 section 6.8). */
static void fix_identity(struct xml *x) {
    const char *text = buf_cstr(&x->text), *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    for (size_t i = x->n_ns; i-- > 0;) {
        if (strlen(x->ns[i].prefix) != n || strncmp(x->ns[i].prefix, text, n) != 0) {
            continue;
        }
        for (size_t m = 0; m < model_tables.n_modules; m++) {
            if (strcmp(model_tables.modules[m].ns, x->ns[i].uri) == 0) {
                char *local = mem_strdup(colon != NULL ? colon + 1 : text);
                buf_clear(&x->text);
                buf_printf(&x->text, "%s:%s", model_tables.modules[m].name, local);
                mem_free(local);
                return;
            }
        }
        return;
    }
}

/* When all keys of an entry are there, the places inside it can be named. */
static void name_entry(struct xml *x, const struct level *l) {
    struct buf keys = BUF_INIT, canonical = BUF_INIT;
    enum base_type actual;
    bool all = true;
    for (size_t i = 0; i < l->node->n_keys && all; i++) {
        const json_t *v = tree_get(l->value, l->node, l->node->keys[i]);
        all = v != NULL &&
              value_check_at(x->m, l->node->keys[i], json_string_value(v), json_string_length(v),
                             &canonical, &actual, NULL, NULL) == ERR_OK;
        if (all) {
            path_add_key(&keys, i == 0, buf_cstr(&canonical));
        }
    }
    if (all) {
        buf_add(&x->path, keys.data, keys.len);
    }
    buf_free(&keys);
    buf_free(&canonical);
}

static void XMLCALL end(void *arg, const XML_Char *name) {
    struct xml *x = arg;
    if (x->rc != ERR_OK || x->depth == 0) {
        return;
    }
    struct level *l = &x->at[--x->depth];
    const struct node *n = l->node;
    if (node_is_leaf(n)) {
        const struct node *above = x->depth > 0 ? x->at[x->depth - 1].node : model_root();
        json_t *into = x->depth > 0 ? x->at[x->depth - 1].value : x->out;
        if (n->base == BASE_IDENTITY) {
            fix_identity(x);
        }
        json_t *v = json_stringn(x->text.len > 0 ? (const char *)x->text.data : "", x->text.len);
        json_t *old = tree_get(into, above, n);
        if (n->type == NODE_LEAF_LIST) {
            if (old == NULL) {
                old = json_array();
                tree_set_new(into, above, n, old);
            }
            json_array_append_new(old, v);
        } else if (old != NULL) {
            json_decref(v);
            stop(x, err_set(x->e, ERR_ELEMENT, where(x), "%s is given twice.", n->name));
            return;
        } else {
            tree_set_new(into, above, n, v);
        }
        buf_clear(&x->text);
    }
    x->path.len = x->path_len[x->depth];
    if (n->is_key && x->depth > 0) {
        name_entry(x, &x->at[x->depth - 1]);
    }
}

static void XMLCALL text(void *arg, const XML_Char *s, int len) {
    struct xml *x = arg;
    if (x->rc != ERR_OK) {
        return;
    }
    if (x->depth > 0 && node_is_leaf(x->at[x->depth - 1].node)) {
        buf_add(&x->text, s, (size_t)len);
        return;
    }
    for (int i = 0; i < len; i++) {
        if (strchr(" \t\r\n", s[i]) == NULL) {
            stop(x, err_set(x->e, ERR_ELEMENT, where(x), "There is text between elements."));
            return;
        }
    }
}

static void XMLCALL ns_start(void *arg, const XML_Char *prefix, const XML_Char *uri) {
    struct xml *x = arg;
    if (x->n_ns == PREFIXES_MAX) {
        stop(x, err_set(x->e, ERR_TOO_BIG, where(x), "More than %d namespace prefixes.",
                        PREFIXES_MAX));
        return;
    }
    x->ns[x->n_ns].prefix = mem_strdup(prefix != NULL ? prefix : "");
    x->ns[x->n_ns++].uri = mem_strdup(uri != NULL ? uri : "");
}

static void XMLCALL ns_end(void *arg, const XML_Char *prefix) {
    struct xml *x = arg;
    if (x->n_ns > 0) {
        x->n_ns--;
        mem_free(x->ns[x->n_ns].prefix);
        mem_free(x->ns[x->n_ns].uri);
    }
}

static void XMLCALL doctype(void *arg, const XML_Char *name, const XML_Char *sysid,
                            const XML_Char *pubid, int internal) {
    struct xml *x = arg;
    stop(x, err_set(x->e, ERR_MALFORMED, NULL, "A document type has no place here."));
}

enum err_code xml_parse(const struct model *m, const struct node *parent,
                        const struct xml_cover *covers, const char *base, const char *body,
                        size_t len, json_t **out, struct err *e) {
    if (len > MODEL_BODY_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu bytes are too many; %d are the limit.", len,
                       MODEL_BODY_MAX);
    }
    struct xml *x = MEM_NEW(struct xml);
    x->parent = parent;
    x->m = m;
    x->covers = covers;
    buf_str(&x->path, base);
    x->e = e;
    x->out = json_object();
    x->p = XML_ParserCreateNS("UTF-8", '|');
    XML_SetUserData(x->p, x);
    XML_SetElementHandler(x->p, start, end);
    XML_SetCharacterDataHandler(x->p, text);
    XML_SetNamespaceDeclHandler(x->p, ns_start, ns_end);
    XML_SetStartDoctypeDeclHandler(x->p, doctype);
    if (XML_Parse(x->p, body, (int)len, 1) != XML_STATUS_OK && x->rc == ERR_OK) {
        x->rc = err_set(e, ERR_MALFORMED, NULL, "Line %lu, column %lu: no valid XML (%s).",
                        (unsigned long)XML_GetCurrentLineNumber(x->p),
                        (unsigned long)XML_GetCurrentColumnNumber(x->p) + 1,
                        XML_ErrorString(XML_GetErrorCode(x->p)));
    }
    enum err_code rc = x->rc;
    if (rc == ERR_OK) {
        *out = json_incref(x->out);
    }
    json_decref(x->out);
    XML_ParserFree(x->p);
    while (x->n_ns > 0) {
        ns_end(x, NULL);
    }
    buf_free(&x->text);
    buf_free(&x->path);
    mem_free(x);
    return rc;
}
