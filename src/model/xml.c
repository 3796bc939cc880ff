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
    const struct node *parent;
    bool wrapped;
    struct level at[MODEL_DEPTH_MAX + 2];
    unsigned depth;  /* levels in use */
    unsigned covers; /* 1 while inside the root element that only covers */
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

/* Expat gives "uri|local". */
static const struct node *find(const struct node *parent, const char *name, const char **local) {
    const char *bar = strrchr(name, '|');
    *local = bar != NULL ? bar + 1 : name;
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *c = parent->children[i];
        if (strcmp(c->name, *local) != 0) {
            continue;
        }
        const struct module_info *m = model_module(c->module);
        if (bar == NULL || (m != NULL && strlen(m->ns) == (size_t)(bar - name) &&
                            strncmp(m->ns, name, (size_t)(bar - name)) == 0)) {
            return c;
        }
    }
    return NULL;
}

static void XMLCALL start(void *arg, const XML_Char *name, const XML_Char **attributes) {
    struct xml *x = arg;
    if (x->rc != ERR_OK) {
        return;
    }
    if (x->wrapped && x->covers == 0) {
        x->covers = 1;
        return;
    }
    if (x->depth > MODEL_DEPTH_MAX) {
        stop(x, err_set(x->e, ERR_TOO_BIG, where(x), "The body is nested more than %d deep.",
                        MODEL_DEPTH_MAX));
        return;
    }
    const struct node *parent = x->depth > 0 ? x->at[x->depth - 1].node : x->parent;
    const char *local;
    if (node_is_leaf(parent)) {
        stop(x,
             err_set(x->e, ERR_INVALID, where(x), "%s holds a value, not elements.", parent->name));
        return;
    }
    const struct node *n = find(parent, name, &local);
    if (n == NULL) {
        struct buf known = BUF_INIT;
        node_known_text(parent, local, strlen(local), &known);
        stop(x,
             err_set(x->e, ERR_UNKNOWN, where(x), "<%.60s> is unknown%s", local, buf_cstr(&known)));
        buf_free(&known);
        return;
    }
    for (size_t i = 0; attributes[i] != NULL; i += 2) {
        if (strstr(attributes[i], "|operation") != NULL ||
            strstr(attributes[i], "|insert") != NULL) {
            stop(x, err_set(x->e, ERR_UNSUPPORTED, where(x),
                            "Operations inside the body are not supported here."));
            return;
        }
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
            stop(x, err_set(x->e, ERR_INVALID, where(x), "%s is given twice.", n->name));
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
            stop(x, err_set(x->e, ERR_INVALID, where(x), "%s is given twice.", n->name));
            return;
        } else {
            tree_set_new(into, above, n, v);
        }
        buf_clear(&x->text);
    }
    x->path.len = x->path_len[x->depth];
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
            stop(x, err_set(x->e, ERR_INVALID, where(x), "Text between elements."));
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

enum err_code xml_parse(const struct node *parent, bool wrapped, const char *body, size_t len,
                        json_t **out, struct err *e) {
    if (len > MODEL_BODY_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu bytes are too many; %d are the limit.", len,
                       MODEL_BODY_MAX);
    }
    struct xml *x = MEM_NEW(struct xml);
    x->parent = parent;
    x->wrapped = wrapped;
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
