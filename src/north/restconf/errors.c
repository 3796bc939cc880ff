// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/errors.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "net/http.h"

#define NS_RESTCONF "urn:ietf:params:xml:ns:yang:ietf-restconf"
#define NS_YANG     "urn:ietf:params:xml:ns:yang:1" /* RFC 7950 section 15 */

/* ---- instance identifiers -------------------------------------------------------------------- */

struct identifier {
    enum model_format format;
    struct buf *out, *ns;
};

/* What stands before a name of `module`: its prefix in XML, declared the first time. Should another
 * module have taken the prefix, the module's own name, which is unique, is the prefix. */
static const char *prefix_of(struct identifier *id, const char *module) {
    const struct module_info *m = model_module(module);
    if (m == NULL) {
        return "";
    }
    char *head = mem_printf(" xmlns:%s=", m->prefix);
    char *declared = mem_printf("%s\"%s\"", head, m->ns);
    bool known = strstr(buf_cstr(id->ns), declared) != NULL;
    bool taken = !known && strstr(buf_cstr(id->ns), head) != NULL;
    if (taken) {
        mem_free(declared);
        declared = mem_printf(" xmlns:%s=\"%s\"", m->name, m->ns);
        known = strstr(buf_cstr(id->ns), declared) != NULL;
    }
    buf_str(id->ns, known ? "" : declared);
    mem_free(head);
    mem_free(declared);
    return taken ? m->name : m->prefix;
}

/* [name='value']; false: it can't be said. */
static bool add_predicate(struct identifier *id, const struct node *leaf, const char *raw,
                          size_t n) {
    char *text = mem_alloc(n + 1);
    bool xml = id->format == FORMAT_XML, entry = leaf->type == NODE_LEAF_LIST;
    bool ok = http_pct_decode(raw, n, text);
    char quote = strchr(text, '\'') == NULL ? '\'' : '"';
    ok = ok && strchr(text, quote) == NULL;
    const char *prefix = xml && !entry ? prefix_of(id, leaf->module) : "";
    char *colon = xml && leaf->base == BASE_IDENTITY ? strchr(text, ':') : NULL;
    if (ok) {
        buf_printf(id->out, "[%s%s%s=%c", prefix, prefix[0] ? ":" : "", entry ? "." : leaf->name,
                   quote);
        if (colon != NULL) { /* identities are named by prefixes too */
            *colon = '\0';
            buf_printf(id->out, "%s:", prefix_of(id, text));
        }
        buf_printf(id->out, "%s%c]", colon != NULL ? colon + 1 : text, quote);
    }
    mem_free(text);
    return ok;
}

static bool add_predicates(struct identifier *id, const struct node *n, const char *keys,
                           size_t len) {
    const char *end = keys + len;
    if (n->type == NODE_LEAF_LIST) {
        return add_predicate(id, n, keys, len);
    }
    for (size_t i = 0; i < n->n_keys; i++) {
        const char *comma = memchr(keys, ',', (size_t)(end - keys));
        const char *stop = i + 1 < n->n_keys ? comma : end;
        if (stop == NULL || !add_predicate(id, n->keys[i], keys, (size_t)(stop - keys))) {
            return false;
        }
        keys = stop + (stop < end);
    }
    return n->type == NODE_LIST;
}

/* One step; false: it names no single instance. */
static bool add_step(struct identifier *id, const struct node *n, const char *module,
                     const char *keys, size_t len) {
    bool many = n->type == NODE_LIST || n->type == NODE_LEAF_LIST;
    if (id->format == FORMAT_XML) {
        buf_printf(id->out, "/%s:%s", prefix_of(id, n->module), n->name);
    } else {
        bool changed = strcmp(module, n->module) != 0;
        buf_printf(id->out, "/%s%s%s", changed ? n->module : "", changed ? ":" : "", n->name);
    }
    return many == (keys != NULL) && (!many || add_predicates(id, n, keys, len));
}

static const struct node *input_of(const struct node *rpc) {
    for (size_t i = 0; i < rpc->n_children; i++) {
        if (rpc->children[i]->type == NODE_INPUT) {
            return rpc->children[i];
        }
    }
    return rpc;
}

bool rc_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns,
                    bool *exact) {
    const struct node *at = model_root();
    struct identifier id = {format, out, ns};
    const char *module = "";
    size_t start = out->len, whole = start;
    while (*path == '/' && path[1] != '\0') {
        size_t step = strcspn(++path, "/"), name = strcspn(path, "/=");
        const struct node *n = node_child(at, path, name);
        if (n == NULL && at->type == NODE_ROOT) {
            char *rpc = mem_strndup(path, name);
            n = model_rpc(rpc);
            mem_free(rpc);
        }
        if (n == NULL ||
            !add_step(&id, n, module, name < step ? path + name + 1 : NULL, step - name - 1)) {
            break;
        }
        whole = out->len;
        module = n->module;
        at = n->type == NODE_RPC ? input_of(n) : n;
        path += step;
    }
    out->len = whole;
    *exact = whole > start && *path == '\0';
    return whole > start;
}

/* ---- errors ---------------------------------------------------------------------------------- */

void rc_error_of(const struct err *e, struct rc_error *out) {
    out->err = *e;
    out->status = err_code_http(e->code);
    out->tag = err_code_tag(e->code);
    if (e->code == ERR_LOCKED) {
        out->tag = "in-use"; /* RFC 8040 1.4; lock-denied is of those who want to lock */
    }
    switch (e->code) {
    case ERR_MALFORMED:
        out->type = "rpc"; /* as RFC 6241 has it */
        break;
    case ERR_AUTH:
    case ERR_DENIED:
    case ERR_METHOD:
    case ERR_UNSUPPORTED:
    case ERR_CONFLICT:
    case ERR_LOCKED:
    case ERR_NAMESPACE:
    case ERR_ATTRIBUTE:
    case ERR_BAD_ATTRIBUTE:
        out->type = "protocol";
        break;
    default:
        out->type = "application";
    }
}

/* What goes out as error-message: a path that error-path can't say, or not all of, goes before the
 * text. Control characters, which no string of YANG has (RFC 7950 14), may come from what a client
 * sent. */
static void message_of(const struct rc_error *er, bool path_said, struct buf *out) {
    if (!path_said && er->err.path[0] != '\0' && strcmp(er->err.path, "/") != 0) {
        buf_printf(out, "%s: ", er->err.path);
    }
    buf_str(out, er->err.text[0] != '\0' ? er->err.text : err_code_text(er->err.code));
    for (size_t i = 0; i < out->len; i++) {
        if (out->data[i] < 0x20 && out->data[i] != '\t' && out->data[i] != '\n') {
            out->data[i] = '?';
        }
    }
}

/* error-info of RFC 7950 section 15: calls `add` with each leaf that is not unique, or with the
 * choice that is missing. */
static void each_info(const struct rc_error *er, enum model_format format, struct buf *out,
                      void (*add)(struct buf *out, const char *name, const char *ns,
                                  const char *value)) {
    const struct err *e = &er->err;
    if (strcmp(e->app_tag, "missing-choice") == 0 && e->info[0] != '\0') {
        add(out, "missing-choice", "", e->info);
    }
    if (strcmp(e->app_tag, "data-not-unique") != 0) {
        return;
    }
    for (const char *p = e->info; *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        struct buf id = BUF_INIT, ns = BUF_INIT;
        bool exact;
        char *path = mem_printf("%s/%.*s", e->path, (int)n, p);
        if (rc_instance_id(path, format, &id, &ns, &exact) && exact) {
            add(out, "non-unique", buf_cstr(&ns), buf_cstr(&id));
        }
        mem_free(path);
        buf_free(&id);
        buf_free(&ns);
        p += n;
    }
}

static void add_info_json(struct buf *out, const char *name, const char *ns, const char *value) {
    bool list = strcmp(name, "non-unique") == 0; /* as often as there are leaves */
    (void)ns;
    if (out->len == 0) {
        buf_printf(out, "\"yang:%s\":%s", name, list ? "[" : "");
    } else {
        buf_char(out, ',');
    }
    text_json(out, value);
}

void rc_error_json(const struct rc_error *er, struct buf *out) {
    struct buf path = BUF_INIT, message = BUF_INIT, info = BUF_INIT;
    bool exact, shown = rc_instance_id(er->err.path, FORMAT_JSON, &path, NULL, &exact);
    buf_printf(out, "{\"error-type\":\"%s\",\"error-tag\":\"%s\"", er->type, er->tag);
    if (er->err.app_tag[0] != '\0') {
        buf_str(out, ",\"error-app-tag\":");
        text_json(out, er->err.app_tag);
    }
    if (shown) {
        buf_str(out, ",\"error-path\":");
        text_json(out, buf_cstr(&path));
    }
    message_of(er, exact, &message);
    buf_str(out, ",\"error-message\":");
    text_json(out, buf_cstr(&message));
    each_info(er, FORMAT_JSON, &info, add_info_json);
    if (info.len > 0) {
        bool list = memcmp(info.data, "\"yang:non-unique", 16) == 0;
        buf_printf(out, ",\"error-info\":{%s%s}", buf_cstr(&info), list ? "]" : "");
    }
    buf_char(out, '}');
    buf_free(&path);
    buf_free(&message);
    buf_free(&info);
}

static void add_info_xml(struct buf *out, const char *name, const char *ns, const char *value) {
    buf_printf(out, "<%s xmlns=\"" NS_YANG "\"%s>", name, ns);
    text_xml(out, value, XML_CONTENT);
    buf_printf(out, "</%s>", name);
}

void rc_error_xml(const struct rc_error *er, struct buf *out) {
    struct buf path = BUF_INIT, ns = BUF_INIT, message = BUF_INIT, info = BUF_INIT;
    bool exact, shown = rc_instance_id(er->err.path, FORMAT_XML, &path, &ns, &exact);
    buf_printf(out, "<error><error-type>%s</error-type><error-tag>%s</error-tag>", er->type,
               er->tag);
    if (er->err.app_tag[0] != '\0') {
        buf_str(out, "<error-app-tag>");
        text_xml(out, er->err.app_tag, XML_CONTENT);
        buf_str(out, "</error-app-tag>");
    }
    if (shown) {
        buf_printf(out, "<error-path%s>", buf_cstr(&ns));
        text_xml(out, buf_cstr(&path), XML_CONTENT);
        buf_str(out, "</error-path>");
    }
    message_of(er, exact, &message);
    buf_str(out, "<error-message>");
    text_xml(out, buf_cstr(&message), XML_CONTENT);
    buf_str(out, "</error-message>");
    each_info(er, FORMAT_XML, &info, add_info_xml);
    if (info.len > 0) {
        buf_printf(out, "<error-info>%s</error-info>", buf_cstr(&info));
    }
    buf_str(out, "</error>");
    buf_free(&path);
    buf_free(&ns);
    buf_free(&message);
    buf_free(&info);
}

void rc_errors_body(const struct rc_error *er, enum model_format format, struct buf *out) {
    if (format == FORMAT_XML) {
        buf_str(out, "<errors xmlns=\"" NS_RESTCONF "\">");
        rc_error_xml(er, out);
        buf_str(out, "</errors>\n");
    } else {
        buf_str(out, "{\"ietf-restconf:errors\":{\"error\":[");
        rc_error_json(er, out);
        buf_str(out, "]}}\n");
    }
}
