// SPDX-License-Identifier: Apache-2.0
#include "model/print_sink.h"

#include <string.h>

#include "base/text.h"

enum { FLUSH_AT = 16384 };

void sink_init(struct sink *s, const struct print_options *o, model_write write, void *arg,
               struct err *e) {
    memset(s, 0, sizeof *s);
    s->o = o;
    s->write = write;
    s->arg = arg;
    s->e = e;
    if (o->format == FORMAT_JSON) {
        buf_char(&s->out, '{');
        s->indent = 1;
    }
}

static void flush(struct sink *s, size_t above) {
    if (s->rc == ERR_OK && s->out.len > above) {
        s->rc = s->write(s->arg, (const char *)s->out.data, s->out.len, s->e);
    }
    if (s->out.len > above) {
        buf_clear(&s->out);
    }
}

static void line(struct sink *s) {
    if (s->o->pretty || s->o->format == FORMAT_TEXT) {
        if (s->o->format != FORMAT_TEXT && (s->out.len > 0 || s->indent > 0)) {
            buf_char(&s->out, '\n');
        }
        for (unsigned i = 0; i < s->indent; i++) {
            buf_str(&s->out, s->o->format == FORMAT_TEXT ? "    " : "  ");
        }
    }
}

enum err_code sink_end(struct sink *s) {
    if (s->o->format == FORMAT_JSON) {
        s->indent = 0;
        if (s->frames[0].filled) {
            line(s);
        }
        buf_char(&s->out, '}');
    }
    if (s->o->pretty && (s->o->format == FORMAT_JSON || s->o->format == FORMAT_XML)) {
        buf_char(&s->out, '\n');
    }
    flush(s, 0);
    buf_free(&s->out);
    buf_free(&s->words);
    return s->rc;
}

/* ---- words ------------------------------------------------------------------------------------
 */

static void entry_words(struct buf *out, const struct node *n, const json_t *entry) {
    struct buf tmp = BUF_INIT;
    for (size_t i = 0; entry != NULL && i < n->n_keys; i++) {
        const json_t *v = tree_get(entry, n, n->keys[i]);
        buf_char(out, ' ');
        text_word(out, v != NULL ? value_text(v, &tmp) : "");
    }
    buf_free(&tmp);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

/* The frame that names are relative to. A list's is the one around it. */
static const struct sink_frame *around(const struct sink *s, size_t i) {
    while (i > 0 && s->frames[i].what == FRAME_LIST) {
        i--;
    }
    return i > 0 ? &s->frames[i] : NULL;
}

static bool foreign(const struct sink_frame *parent, const struct node *n) {
    return parent == NULL || parent->node == NULL || strcmp(parent->node->module, n->module) != 0;
}

static void json_name(struct sink *s, struct sink_frame *parent, const char *prefix,
                      const struct node *n) {
    if (parent->filled) {
        buf_char(&s->out, ',');
    }
    parent->filled = true;
    line(s);
    const struct sink_frame *context = around(s, (size_t)(parent - s->frames));
    buf_printf(&s->out, "\"%s%s%s%s\":%s", prefix, foreign(context, n) ? n->module : "",
               foreign(context, n) ? ":" : "", n->name, s->o->pretty ? " " : "");
}

static void xml_open(struct sink *s, size_t parent, const struct node *n) {
    const struct sink_frame *context = around(s, parent);
    line(s);
    buf_printf(&s->out, "<%s", n->name);
    if (foreign(context, n)) {
        const struct module_info *m = model_module(n->module);
        buf_printf(&s->out, " xmlns=\"%s\"", m != NULL ? m->ns : "");
    }
}

static void open_json(struct sink *s, size_t i) {
    struct sink_frame *f = &s->frames[i], *parent = &s->frames[i - 1];
    const char *brace = f->what == FRAME_LIST ? "[" : "{";
    if (f->what == FRAME_COVER) {
        if (parent->filled) {
            buf_char(&s->out, ',');
        }
        parent->filled = true;
        line(s);
        buf_printf(&s->out, "\"%s\":%s", f->name, s->o->pretty ? " " : "");
    } else if (f->what == FRAME_ENTRY && parent->what == FRAME_LIST) {
        if (parent->filled) {
            buf_char(&s->out, ',');
        }
        parent->filled = true;
        line(s);
    } else {
        json_name(s, parent, "", f->node);
    }
    buf_str(&s->out, brace);
    s->indent++;
}

static void open_xml(struct sink *s, size_t i) {
    struct sink_frame *f = &s->frames[i];
    s->frames[i - 1].filled = true;
    if (f->what == FRAME_LIST) {
        return;
    }
    if (f->what == FRAME_COVER) {
        const char *colon = strchr(f->name, ':');
        line(s);
        buf_printf(&s->out, "<%s", colon != NULL ? colon + 1 : f->name);
        if (f->ns != NULL) {
            buf_printf(&s->out, " xmlns=\"%s\"", f->ns);
        }
    } else {
        xml_open(s, i - 1, f->node);
    }
    buf_char(&s->out, '>');
    s->indent++;
}

/* Curly text: the brace waits until something is inside, an entry without is "name key;". */
static void open_text(struct sink *s, size_t i) {
    struct sink_frame *f = &s->frames[i];
    struct sink_frame *parent = &s->frames[i - 1];
    if (f->what == FRAME_LIST || f->what == FRAME_COVER) {
        return;
    }
    while (parent > s->frames && parent->what == FRAME_LIST) {
        parent--;
    }
    if (!parent->filled && parent->open &&
        (parent->what == FRAME_CONTAINER || parent->what == FRAME_ENTRY)) {
        buf_str(&s->out, " {\n");
    }
    parent->filled = true;
    line(s);
    buf_str(&s->out, f->node->name);
    entry_words(&s->out, f->node, f->entry);
    s->indent++;
}

static void open_pending(struct sink *s) {
    for (size_t i = 1; i <= s->n; i++) {
        struct sink_frame *f = &s->frames[i];
        if (f->open) {
            continue;
        }
        f->open = true;
        if (f->what == FRAME_SILENT) {
            continue;
        }
        switch (s->o->format) {
        case FORMAT_JSON:
            open_json(s, i);
            break;
        case FORMAT_XML:
            open_xml(s, i);
            break;
        case FORMAT_TEXT:
            open_text(s, i);
            break;
        default:
            break;
        }
    }
}

static struct sink_frame *push(struct sink *s, int what, const struct node *n) {
    if (s->n + 1 >= SINK_FRAMES) {
        /* The schema is not that deep, and trees are checked against it. */
        s->rc = err_set(s->e, ERR_INTERNAL, NULL, "Printing went too deep.");
        return &s->frames[s->n];
    }
    struct sink_frame *f = &s->frames[++s->n];
    memset(f, 0, sizeof *f);
    f->what = what;
    f->node = n;
    f->words = s->words.len;
    return f;
}

void sink_container(struct sink *s, const struct node *n, bool now) {
    push(s, FRAME_CONTAINER, n);
    buf_printf(&s->words, " %s", n->name);
    if (now) {
        open_pending(s);
    }
}

void sink_list(struct sink *s, const struct node *n) {
    push(s, FRAME_LIST, n);
}

void sink_entry(struct sink *s, const struct node *n, const json_t *entry) {
    push(s, FRAME_ENTRY, n)->entry = entry;
    buf_printf(&s->words, " %s", n->name);
    entry_words(&s->words, n, entry);
    open_pending(s);
}

void sink_cover(struct sink *s, const char *name, const char *ns, const struct node *context) {
    struct sink_frame *f = push(s, FRAME_COVER, context);
    f->name = name;
    f->ns = ns;
    open_pending(s);
}

void sink_silent(struct sink *s, const struct node *n, const json_t *entry) {
    push(s, FRAME_SILENT, n)->open = true;
    if (n != NULL && n->type != NODE_ROOT) {
        buf_printf(&s->words, " %s", n->name);
        entry_words(&s->words, n, entry);
    }
}

static void set_line(struct sink *s) {
    buf_str(&s->out, "set");
    buf_add(&s->out, s->words.data, s->words.len);
    for (size_t i = 0; i <= s->n; i++) {
        s->frames[i].filled = true;
    }
}

void sink_close(struct sink *s) {
    struct sink_frame *f = &s->frames[s->n];
    if (f->open && f->what != FRAME_SILENT) {
        switch (s->o->format) {
        case FORMAT_JSON:
            s->indent--;
            if (f->filled) {
                line(s);
            }
            buf_char(&s->out, f->what == FRAME_LIST ? ']' : '}');
            break;
        case FORMAT_XML:
            if (f->what == FRAME_LIST) {
                break;
            }
            s->indent--;
            if (f->filled) {
                line(s);
                const char *colon = f->name != NULL ? strchr(f->name, ':') : NULL;
                buf_printf(&s->out, "</%s>",
                           f->what != FRAME_COVER ? f->node->name
                           : colon != NULL        ? colon + 1
                                                  : f->name);
            } else {
                /* "<a>" becomes "<a/>" */
                s->out.len--;
                buf_str(&s->out, "/>");
            }
            break;
        case FORMAT_TEXT:
            if (f->what == FRAME_LIST || f->what == FRAME_COVER) {
                break;
            }
            s->indent--;
            if (f->filled) {
                line(s);
                buf_str(&s->out, "}\n");
            } else {
                buf_str(&s->out, ";\n");
            }
            break;
        case FORMAT_SET:
            if (!f->filled &&
                (f->what == FRAME_ENTRY || (f->what == FRAME_CONTAINER && f->node->presence))) {
                set_line(s);
                buf_char(&s->out, '\n');
            }
            break;
        default:
            break;
        }
    }
    s->words.len = f->words;
    s->n--;
    flush(s, FLUSH_AT);
}

/* ---- leaves -----------------------------------------------------------------------------------
 */

/* A path of JSON names the module of a step only when it changes (RFC 7951 6.11); XPath knows
 * nothing of the step before. */
static void xpath_steps(const char *p, struct buf *out) {
    const char *module = NULL;
    size_t n_module = 0;
    char quote = '\0';
    for (; *p != '\0'; p++) {
        buf_char(out, *p);
        if (quote != '\0' || *p == '\'' || *p == '"') {
            quote = quote == '\0' ? *p : quote == *p ? '\0' : quote;
            continue;
        }
        if ((*p != '/' && *p != '[') || p[1] == '.') {
            continue;
        }
        size_t n = strcspn(p + 1, ":/[]=");
        if (p[1 + n] == ':') {
            module = p + 1;
            n_module = n;
        } else if (module != NULL) {
            buf_add(out, module, n_module);
            buf_char(out, ':');
        }
    }
}

/* Declares the modules that an XPath expression names as its prefixes. */
static void xml_prefixes(struct sink *s, const char *text) {
    struct buf known = BUF_INIT;
    char quote = '\0';
    for (const char *p = text; *p != '\0'; p++) {
        if (quote != '\0' || *p == '\'' || *p == '"') {
            quote = quote == '\0' ? *p : quote == *p ? '\0' : quote;
            continue;
        }
        size_t n = strcspn(p, ":/[]='\" ");
        if (n == 0 || p[n] != ':') {
            p += n > 0 ? n - 1 : 0;
            continue;
        }
        char *name = mem_strndup(p, n), *word = mem_printf(" %s ", name);
        const struct module_info *m = model_module(name);
        if (m != NULL && strstr(buf_cstr(&known), word) == NULL) {
            buf_printf(&s->out, " xmlns:%s=\"%s\"", name, m->ns);
            buf_str(&known, word);
        }
        mem_free(name);
        mem_free(word);
        p += n;
    }
    buf_free(&known);
}

static void xml_leaf(struct sink *s, const struct node *n, const json_t *v, bool is_default) {
    struct buf tmp = BUF_INIT;
    const char *text = value_text(v, &tmp);
    s->frames[s->n].filled = true;
    xml_open(s, s->n, n);
    if (is_default && s->o->defaults == WD_REPORT_ALL_TAGGED) {
        buf_str(&s->out,
                " xmlns:wd=\"urn:ietf:params:xml:ns:netconf:default:1.0\" wd:default=\"true\"");
    }
    const char *colon = n->base == BASE_IDENTITY ? strchr(text, ':') : NULL;
    struct buf steps = BUF_INIT;
    if (n->xpath) {
        xpath_steps(text, &steps);
        text = buf_cstr(&steps);
        xml_prefixes(s, text);
    }
    if (colon != NULL) {
        char *module = mem_strndup(text, (size_t)(colon - text));
        const struct module_info *m = model_module(module);
        if (m != NULL) {
            buf_printf(&s->out, " xmlns:%s=\"%s\">%s:", m->prefix, m->ns, m->prefix);
            text_xml(&s->out, colon + 1, XML_CONTENT);
        } else {
            buf_char(&s->out, '>');
            text_xml(&s->out, text, XML_CONTENT);
        }
        mem_free(module);
    } else if (text[0] == '\0') {
        buf_str(&s->out, "/>");
        buf_free(&tmp);
        buf_free(&steps);
        return;
    } else {
        buf_char(&s->out, '>');
        text_xml(&s->out, text, XML_CONTENT);
    }
    buf_printf(&s->out, "</%s>", n->name);
    buf_free(&tmp);
    buf_free(&steps);
}

static const char *shown(const struct sink *s, const struct node *n, const json_t *v,
                         struct buf *tmp) {
    return n->secret && !s->o->secrets ? MODEL_SECRET_MASK : value_text(v, tmp);
}

static void text_open_brace(struct sink *s) {
    struct sink_frame *f = &s->frames[s->n];
    while (f > s->frames && f->what == FRAME_LIST) {
        f--;
    }
    if (!f->filled && f->open && (f->what == FRAME_CONTAINER || f->what == FRAME_ENTRY)) {
        buf_str(&s->out, " {\n");
    }
    f->filled = true;
}

static void text_leaf(struct sink *s, const struct node *n, const json_t *v) {
    struct buf tmp = BUF_INIT;
    text_open_brace(s);
    line(s);
    buf_str(&s->out, n->name);
    if (n->base != BASE_EMPTY) {
        buf_char(&s->out, ' ');
        text_word(&s->out, shown(s, n, v, &tmp));
    }
    buf_str(&s->out, n->secret ? "; ## SECRET-DATA\n" : ";\n");
    buf_free(&tmp);
}

static void set_leaf(struct sink *s, const struct node *n, const json_t *v) {
    struct buf tmp = BUF_INIT;
    set_line(s);
    buf_printf(&s->out, " %s", n->name);
    if (n->base != BASE_EMPTY) {
        buf_char(&s->out, ' ');
        text_word(&s->out, shown(s, n, v, &tmp));
    }
    buf_char(&s->out, '\n');
    buf_free(&tmp);
}

static bool key_in_header(const struct sink *s, const struct node *n) {
    return n->is_key && (s->o->format == FORMAT_SET || s->o->format == FORMAT_TEXT);
}

void sink_leaf(struct sink *s, const struct node *n, const json_t *v, bool is_default) {
    if (key_in_header(s, n)) {
        return;
    }
    open_pending(s);
    bool mask = n->secret && !s->o->secrets;
    switch (s->o->format) {
    case FORMAT_JSON:
        json_name(s, &s->frames[s->n], "", n);
        if (mask) {
            buf_str(&s->out, "\"" MODEL_SECRET_MASK "\"");
        } else {
            tree_dump(v, &s->out);
        }
        if (is_default && s->o->defaults == WD_REPORT_ALL_TAGGED) {
            json_name(s, &s->frames[s->n], "@", n);
            buf_str(&s->out, "{\"ietf-netconf-with-defaults:default\":true}");
        }
        break;
    case FORMAT_XML:
        if (mask) {
            json_t *m = json_string(MODEL_SECRET_MASK);
            xml_leaf(s, n, m, is_default);
            json_decref(m);
        } else {
            xml_leaf(s, n, v, is_default);
        }
        break;
    case FORMAT_TEXT:
        text_leaf(s, n, v);
        break;
    case FORMAT_SET:
        set_leaf(s, n, v);
        break;
    default:
        break;
    }
    flush(s, FLUSH_AT);
}

void sink_leaf_list(struct sink *s, const struct node *n, const json_t *values, bool is_default) {
    size_t count = json_array_size(values);
    if (count == 0) {
        return;
    }
    open_pending(s);
    switch (s->o->format) {
    case FORMAT_JSON:
        json_name(s, &s->frames[s->n], "", n);
        tree_dump(values, &s->out);
        break;
    case FORMAT_XML:
        for (size_t i = 0; i < count; i++) {
            xml_leaf(s, n, json_array_get(values, i), is_default);
        }
        break;
    case FORMAT_SET:
        for (size_t i = 0; i < count; i++) {
            set_leaf(s, n, json_array_get(values, i));
        }
        break;
    case FORMAT_TEXT: {
        struct buf tmp = BUF_INIT;
        text_open_brace(s);
        line(s);
        buf_printf(&s->out, "%s [", n->name);
        for (size_t i = 0; i < count; i++) {
            buf_char(&s->out, ' ');
            text_word(&s->out, value_text(json_array_get(values, i), &tmp));
        }
        buf_str(&s->out, " ];\n");
        buf_free(&tmp);
        break;
    }
    default:
        break;
    }
    flush(s, FLUSH_AT);
}
