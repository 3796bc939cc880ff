// SPDX-License-Identifier: Apache-2.0
#include "north/restconf/errors.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "net/http.h"

#define NS_RESTCONF "urn:ietf:params:xml:ns:yang:ietf-restconf"

/* ---- instance identifiers -------------------------------------------------------------------- */

static bool add_predicate(struct buf *out, const char *prefix, const char *name, const char *raw,
                          size_t n) {
    char *value = mem_alloc(n + 1);
    bool ok = http_pct_decode(raw, n, value);
    char quote = strchr(value, '\'') == NULL ? '\'' : '"';
    ok = ok && strchr(value, quote) == NULL;
    if (ok) {
        buf_printf(out, "[%s%s%s=%c%s%c]", prefix, prefix[0] ? ":" : "", name, quote, value, quote);
    }
    mem_free(value);
    return ok;
}

static bool add_keys(struct buf *out, const char *prefix, const struct node *n, const char *keys,
                     size_t len) {
    if (n->type == NODE_LEAF_LIST) {
        return add_predicate(out, "", ".", keys, len);
    }
    const char *end = keys + len;
    for (size_t i = 0; i < n->n_keys; i++) {
        const char *comma = memchr(keys, ',', (size_t)(end - keys));
        const char *stop = i + 1 < n->n_keys ? comma : end;
        if (stop == NULL ||
            !add_predicate(out, prefix, n->keys[i]->name, keys, (size_t)(stop - keys))) {
            return false;
        }
        keys = stop + (stop < end);
    }
    return n->type == NODE_LIST;
}

bool rc_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns) {
    const struct node *n = model_root();
    const char *module = "";
    bool xml = format == FORMAT_XML;
    if (path[0] != '/' || path[1] == '\0') {
        return false;
    }
    while (*path == '/') {
        path++;
        size_t step = strcspn(path, "/"), name = strcspn(path, "/=");
        n = node_child(n, path, name);
        if (n == NULL) {
            return false;
        }
        const struct module_info *m = model_module(n->module);
        const char *prefix = xml && m != NULL ? m->prefix : "";
        bool changed = strcmp(module, n->module) != 0;
        module = n->module;
        if (xml) {
            char declared[128];
            snprintf(declared, sizeof declared, " xmlns:%s=", prefix);
            if (strstr(buf_cstr(ns), declared) == NULL) {
                buf_printf(ns, "%s\"%s\"", declared, m != NULL ? m->ns : "");
            }
            buf_printf(out, "/%s:%s", prefix, n->name);
        } else {
            buf_printf(out, "/%s%s%s", changed ? n->module : "", changed ? ":" : "", n->name);
        }
        if (name < step && !add_keys(out, prefix, n, path + name + 1, step - name - 1)) {
            return false;
        }
        path += step;
    }
    return *path == '\0';
}

/* ---- errors ---------------------------------------------------------------------------------- */

void rc_error_of(const struct err *e, struct rc_error *out) {
    out->err = *e;
    out->status = err_code_http(e->code);
    out->tag = err_code_tag(e->code);
    switch (e->code) {
    case ERR_AUTH:
    case ERR_DENIED:
    case ERR_METHOD:
    case ERR_UNSUPPORTED:
    case ERR_CONFLICT:
        out->type = "protocol";
        break;
    default:
        out->type = "application";
    }
}

/* What goes out as error-message: a path that is no instance-identifier goes before the text. */
static void message_of(const struct rc_error *er, bool path_shown, struct buf *out) {
    if (!path_shown && er->err.path[0] != '\0') {
        buf_printf(out, "%s: ", er->err.path);
    }
    buf_str(out, er->err.text[0] != '\0' ? er->err.text : err_code_text(er->err.code));
}

void rc_error_json(const struct rc_error *er, struct buf *out) {
    struct buf path = BUF_INIT, message = BUF_INIT;
    bool shown = rc_instance_id(er->err.path, FORMAT_JSON, &path, NULL);
    buf_printf(out, "{\"error-type\":\"%s\",\"error-tag\":\"%s\"", er->type, er->tag);
    if (shown) {
        buf_str(out, ",\"error-path\":");
        text_json(out, buf_cstr(&path));
    }
    message_of(er, shown, &message);
    buf_str(out, ",\"error-message\":");
    text_json(out, buf_cstr(&message));
    buf_char(out, '}');
    buf_free(&path);
    buf_free(&message);
}

void rc_error_xml(const struct rc_error *er, struct buf *out) {
    struct buf path = BUF_INIT, ns = BUF_INIT, message = BUF_INIT;
    bool shown = rc_instance_id(er->err.path, FORMAT_XML, &path, &ns);
    buf_printf(out, "<error><error-type>%s</error-type><error-tag>%s</error-tag>", er->type,
               er->tag);
    if (shown) {
        buf_printf(out, "<error-path%s>", buf_cstr(&ns));
        text_xml(out, buf_cstr(&path), XML_CONTENT);
        buf_str(out, "</error-path>");
    }
    message_of(er, shown, &message);
    buf_str(out, "<error-message>");
    text_xml(out, buf_cstr(&message), XML_CONTENT);
    buf_str(out, "</error-message></error>");
    buf_free(&path);
    buf_free(&ns);
    buf_free(&message);
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
