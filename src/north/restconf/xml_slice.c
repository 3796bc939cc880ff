// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/xml_slice.h"

#include <expat.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* expat runs without its own namespace handling: the raw attributes are what must be written again.
 * So prefixes are resolved here. */
struct binding {
    char *prefix; /* "" for the default namespace */
    char *uri;
    unsigned depth;
};

struct slicer {
    XML_Parser parser;
    const struct xml_slice_ops *ops;
    void *arg;
    const char *doc;
    size_t len;
    unsigned depth, depth_max;
    struct binding *bindings;
    size_t n_bindings, cap_bindings;
    bool cutting;
    unsigned cut_depth;
    size_t cut_from;
    struct buf cut; /* start tag with its declarations; the rest follows from the document */
    struct buf text;
    struct err *e;
    enum err_code rc;
};

static void fail(struct slicer *s, enum err_code code, const char *why) {
    if (s->rc == ERR_OK) {
        s->rc = err_set(s->e, code, NULL, "line %lu: %s",
                        (unsigned long)XML_GetCurrentLineNumber(s->parser), why);
        XML_StopParser(s->parser, XML_FALSE);
    }
}

static const char *uri_of(const struct slicer *s, const char *prefix, size_t n) {
    for (size_t i = s->n_bindings; i-- > 0;) {
        if (strlen(s->bindings[i].prefix) == n && memcmp(s->bindings[i].prefix, prefix, n) == 0) {
            return s->bindings[i].uri;
        }
    }
    return n == 0 ? "" : NULL;
}

static void bind(struct slicer *s, const char *prefix, const char *uri) {
    if (s->n_bindings == s->cap_bindings) {
        s->cap_bindings = s->cap_bindings ? s->cap_bindings * 2 : 16;
        s->bindings = mem_array(s->bindings, s->cap_bindings, sizeof *s->bindings);
    }
    s->bindings[s->n_bindings++] = (struct binding){mem_strdup(prefix), mem_strdup(uri), s->depth};
}

static void unbind(struct slicer *s, unsigned depth) {
    while (s->n_bindings > 0 && s->bindings[s->n_bindings - 1].depth >= depth) {
        s->n_bindings--;
        mem_free(s->bindings[s->n_bindings].prefix);
        mem_free(s->bindings[s->n_bindings].uri);
    }
}

static bool is_declaration(const char *name) {
    return strcmp(name, "xmlns") == 0 || strncmp(name, "xmlns:", 6) == 0;
}

/* The start tag again, with every namespace that is in scope. */
static void write_start(struct slicer *s, const char *name, const char **atts) {
    buf_clear(&s->cut);
    buf_printf(&s->cut, "<%s", name);
    for (size_t i = 0; i < s->n_bindings; i++) {
        const struct binding *b = &s->bindings[i];
        if (uri_of(s, b->prefix, strlen(b->prefix)) != b->uri) {
            continue; /* declared again further in */
        }
        buf_printf(&s->cut, " xmlns%s%s=\"", b->prefix[0] ? ":" : "", b->prefix);
        text_xml(&s->cut, b->uri, XML_ATTRIBUTE);
        buf_char(&s->cut, '"');
    }
    for (size_t i = 0; atts[i] != NULL; i += 2) {
        if (!is_declaration(atts[i])) {
            buf_printf(&s->cut, " %s=\"", atts[i]);
            text_xml(&s->cut, atts[i + 1], XML_ATTRIBUTE);
            buf_char(&s->cut, '"');
        }
    }
}

static bool split_name(struct slicer *s, const char *name, const char **ns, const char **local) {
    const char *colon = strchr(name, ':');
    *local = colon != NULL ? colon + 1 : name;
    *ns = uri_of(s, name, colon != NULL ? (size_t)(colon - name) : 0);
    return *ns != NULL;
}

static void on_start(void *arg, const char *name, const char **atts) {
    struct slicer *s = arg;
    if (s->rc != ERR_OK) {
        return;
    }
    if (s->depth >= s->depth_max) {
        fail(s, ERR_TOO_BIG, "the document is nested too deeply");
        return;
    }
    if (!s->cutting) {
        const char *ns, *local;
        for (size_t i = 0; atts[i] != NULL; i += 2) {
            if (is_declaration(atts[i])) {
                bind(s, atts[i][5] == ':' ? atts[i] + 6 : "", atts[i + 1]);
            }
        }
        if (!split_name(s, name, &ns, &local)) {
            fail(s, ERR_MALFORMED, "a namespace prefix is not declared");
            return;
        }
        buf_clear(&s->text);
        if (s->ops->start(s->arg, s->depth, ns, local)) {
            s->cutting = true;
            s->cut_depth = s->depth;
            s->cut_from = (size_t)XML_GetCurrentByteIndex(s->parser) +
                          (size_t)XML_GetCurrentByteCount(s->parser);
            write_start(s, name, atts);
        }
    }
    s->depth++;
}

static void finish_cut(struct slicer *s, const char *name) {
    size_t at = (size_t)XML_GetCurrentByteIndex(s->parser);
    if (XML_GetCurrentByteCount(s->parser) == 0) { /* <name/>: there was no end tag */
        buf_str(&s->cut, "/>");
    } else {
        buf_char(&s->cut, '>');
        if (at > s->cut_from && at <= s->len) {
            buf_add(&s->cut, s->doc + s->cut_from, at - s->cut_from);
        }
        buf_printf(&s->cut, "</%s>", name);
    }
    s->cutting = false;
    s->ops->slice(s->arg, buf_cstr(&s->cut), s->cut.len);
}

static void on_end(void *arg, const char *name) {
    struct slicer *s = arg;
    if (s->rc != ERR_OK) {
        return;
    }
    s->depth--;
    if (s->cutting) {
        if (s->depth == s->cut_depth) {
            finish_cut(s, name);
        }
    } else {
        const char *ns, *local;
        if (split_name(s, name, &ns, &local)) {
            s->ops->end(s->arg, s->depth, ns, local, buf_cstr(&s->text));
        }
        buf_clear(&s->text);
    }
    if (!s->cutting) {
        unbind(s, s->depth);
    }
}

static void on_text(void *arg, const char *p, int n) {
    struct slicer *s = arg;
    if (s->rc == ERR_OK && !s->cutting) {
        buf_add(&s->text, p, (size_t)n);
    }
}

static void on_doctype(void *arg, const char *name, const char *sysid, const char *pubid,
                       int internal) {
    (void)name;
    (void)sysid;
    (void)pubid;
    (void)internal;
    fail(arg, ERR_MALFORMED, "document type declarations are not taken");
}

enum err_code xml_slice(const char *doc, size_t len, unsigned depth_max,
                        const struct xml_slice_ops *ops, void *arg, struct err *e) {
    struct slicer s = {.ops = ops,
                       .arg = arg,
                       .doc = doc,
                       .len = len,
                       .depth_max = depth_max,
                       .e = e,
                       .parser = XML_ParserCreate("UTF-8")};
    if (len > INT32_MAX) {
        XML_ParserFree(s.parser);
        return err_set(e, ERR_TOO_BIG, NULL, "the document is too big");
    }
    XML_SetUserData(s.parser, &s);
    XML_SetElementHandler(s.parser, on_start, on_end);
    XML_SetCharacterDataHandler(s.parser, on_text);
    XML_SetStartDoctypeDeclHandler(s.parser, on_doctype);
    if (XML_Parse(s.parser, doc, (int)len, XML_TRUE) != XML_STATUS_OK) {
        fail(&s, ERR_MALFORMED, XML_ErrorString(XML_GetErrorCode(s.parser)));
    }
    unbind(&s, 0);
    mem_free(s.bindings);
    buf_free(&s.cut);
    buf_free(&s.text);
    XML_ParserFree(s.parser);
    return s.rc;
}
