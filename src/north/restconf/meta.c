// SPDX-License-Identifier: Apache-2.0
/* What describes the API itself: where it is, operations, modules, abilities. RFC 8040 3, 9; 8525.
 */
#include <stdio.h>
#include <string.h>

#include "north/restconf/internal.h"

#define LIBRARY_VERSION "2019-01-04" /* of ietf-yang-library, RFC 8525 */

static void answer_text(struct request *q, struct buf *out) {
    struct fields fs = {.n = 0};
    field_add(&fs, "vary", "accept");
    answer(q, 200, &fs, rc_media_name(q->accept), out->data, out->len);
    buf_free(out);
}

void get_host_meta(struct request *q) {
    static const char xrd[] = "<XRD xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\">\n"
                              "  <Link rel=\"restconf\" href=\"/restconf\"/>\n"
                              "</XRD>\n";
    const char *accept = http_header(q->http, "accept");
    if (!rc_media_accepts(accept, "application/xrd+xml")) {
        answer_status(q, 406, "invalid-value", "only application/xrd+xml can be had here");
        return;
    }
    answer(q, 200, NULL, "application/xrd+xml", xrd, sizeof xrd - 1);
}

static void add_operations(struct request *q, bool xml, struct buf *out) {
    size_t n;
    const struct node *const *rpcs = model_rpcs(&n);
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        const struct module_info *m = model_module(rpcs[i]->module);
        if (m == NULL || !m->implemented) {
            continue;
        }
        if (xml) {
            buf_printf(out, "<%s xmlns=\"%s\"/>", rpcs[i]->name, m->ns);
        } else {
            buf_printf(out, "%s\"%s:%s\":[null]", first ? "" : ",", rpcs[i]->module, rpcs[i]->name);
        }
        first = false;
    }
}

/* Which of the three members a fields expression names; their insides are resources of their own
 * (RFC 8040 3.3). False: it names something else. */
static bool api_fields(const char *fields, bool shown[3]) {
    static const char *const names[] = {"data", "operations", "yang-library-version"};
    for (const char *p = fields; *p != '\0' || p == fields;) {
        size_t n = strcspn(p, ";"), skip = strncmp(p, "ietf-restconf:", 14) == 0 ? 14 : 0;
        int found = -1;
        for (int i = 0; i < 3 && n > skip; i++) {
            if (strlen(names[i]) == n - skip && memcmp(names[i], p + skip, n - skip) == 0) {
                found = i;
            }
        }
        if (found < 0) {
            return false;
        }
        shown[found] = true;
        p += n;
        if (*p == ';' && *++p == '\0') {
            return false;
        }
    }
    return true;
}

void get_api(struct request *q) {
    const struct rc_query *u = &q->uri.query;
    struct buf out = BUF_INIT;
    bool xml = rc_media_is_xml(q->accept), all = u->fields == NULL && u->depth != 1;
    bool shown[3] = {all, all, all};
    if (u->fields != NULL && !api_fields(u->fields, shown)) {
        answer_status(q, 400, "invalid-value",
                      "\"fields\" names data, operations or yang-library-version here");
        return;
    }
    static const char *const members[2][3] = {
        {"\"data\":{}", "\"operations\":{}", "\"yang-library-version\":\"" LIBRARY_VERSION "\""},
        {"<data/>", "<operations/>",
         "<yang-library-version>" LIBRARY_VERSION "</yang-library-version>"}};
    buf_str(&out, xml ? "<restconf xmlns=\"" NS_RESTCONF "\">" : "{\"ietf-restconf:restconf\":{");
    const char *comma = "";
    for (int i = 0; i < 3; i++) {
        if (shown[i]) {
            buf_printf(&out, "%s%s", comma, members[xml][i]);
            comma = xml ? "" : ",";
        }
    }
    buf_str(&out, xml ? "</restconf>\n" : "}}\n");
    answer_text(q, &out);
}

void get_operations(struct request *q) {
    struct buf out = BUF_INIT;
    bool xml = rc_media_is_xml(q->accept);
    buf_str(&out,
            xml ? "<operations xmlns=\"" NS_RESTCONF "\">" : "{\"ietf-restconf:operations\":{");
    add_operations(q, xml, &out);
    buf_str(&out, xml ? "</operations>\n" : "}}\n");
    answer_text(q, &out);
}

void get_library_version(struct request *q) {
    struct buf out = BUF_INIT;
    if (rc_media_is_xml(q->accept)) {
        buf_str(&out, "<yang-library-version xmlns=\"" NS_RESTCONF "\">" LIBRARY_VERSION
                      "</yang-library-version>\n");
    } else {
        buf_str(&out, "{\"ietf-restconf:yang-library-version\":\"" LIBRARY_VERSION "\"}\n");
    }
    answer_text(q, &out);
}

void get_schema(struct request *q) {
    char name[129];
    if (!rc_media_accepts(http_header(q->http, "accept"), "application/yang")) {
        answer_status(q, 406, "invalid-value", "only application/yang can be had here");
        return;
    }
    size_t n = strcspn(q->uri.path, "@");
    snprintf(name, sizeof name, "%.*s", (int)n, q->uri.path);
    const struct module_info *m = model_module(name);
    const char *revision = q->uri.path[n] == '@' ? q->uri.path + n + 1 : NULL;
    if (m == NULL || m->text == NULL ||
        (revision != NULL && (m->revision == NULL || strcmp(revision, m->revision) != 0))) {
        answer_status(q, 404, "invalid-value", "there is no text of module %.128s", q->uri.path);
        return;
    }
    answer(q, 200, NULL, "application/yang", m->text, strlen(m->text));
}

/* ---- state ----------------------------------------------------------------------------------- */

/* `old`: as RFC 7895 has it, one `schema` instead of a list of locations. */
static void add_locations(const char *base, json_t *modules, bool old) {
    size_t i;
    json_t *m;
    json_array_foreach(modules, i, m) {
        const char *name = json_string_value(json_object_get(m, "name"));
        const struct module_info *info = name != NULL ? model_module(name) : NULL;
        if (info != NULL && info->text != NULL) {
            char uri[512];
            snprintf(uri, sizeof uri, "%s/restconf/schema/%s%s%s", base, name,
                     info->revision ? "@" : "", info->revision ? info->revision : "");
            json_object_set_new(m, old ? "schema" : "location",
                                old ? json_string(uri) : json_pack("[s]", uri));
        }
    }
}

static void library(struct request *q, bool old, struct buf *json) {
    struct buf plain = BUF_INIT;
    model_yang_library(old, &plain);
    json_t *root = json_loadb((char *)plain.data, plain.len, 0, NULL);
    size_t i;
    json_t *set;
    json_array_foreach(json_object_get(root, "module-set"), i, set) {
        add_locations(q->base, json_object_get(set, "module"), false);
        add_locations(q->base, json_object_get(set, "import-only-module"), false);
    }
    add_locations(q->base, json_object_get(root, "module"), true);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    buf_str(json, text != NULL ? text : "{}");
    free(text);
    json_decref(root);
    buf_free(&plain);
}

static void monitoring(struct request *q, struct buf *json) {
    static const char *const capabilities[] = {
        "urn:ietf:params:restconf:capability:depth:1.0",
        "urn:ietf:params:restconf:capability:fields:1.0",
        "urn:ietf:params:restconf:capability:filter:1.0",
        "urn:ietf:params:restconf:capability:with-defaults:1.0",
        "urn:ietf:params:restconf:capability:defaults:1.0?basic-mode=explicit",
        "urn:ietf:params:restconf:capability:with-operational-defaults:1.0?basic-mode=report-all",
        "urn:ietf:params:restconf:capability:replay:1.0",
        "urn:ietf:params:restconf:capability:yang-patch:1.0"};
    char started[TIME_TEXT_MAX];
    time_format(q->rc->started_s, 0, started);
    buf_str(json, "{\"capabilities\":{\"capability\":[");
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
        buf_printf(json, "%s\"%s\"", i > 0 ? "," : "", capabilities[i]);
    }
    buf_printf(json,
               "]},\"streams\":{\"stream\":[{\"name\":\"NETCONF\","
               "\"description\":\"All notifications\",\"replay-support\":true,"
               "\"replay-log-creation-time\":\"%s\",\"access\":["
               "{\"encoding\":\"xml\",\"location\":\"%s/streams/NETCONF/xml\"},"
               "{\"encoding\":\"json\",\"location\":\"%s/streams/NETCONF/json\"}]}]}}",
               started, q->base, q->base);
}

static const struct node *top(const struct node *n) {
    while (n->parent != NULL && n->parent->type != NODE_ROOT) {
        n = n->parent;
    }
    return n;
}

bool meta_state(struct request *q, const struct node *node, struct buf *json) {
    if (node != top(node)) {
        return false;
    }
    if (strcmp(node->module, "ietf-restconf-monitoring") == 0) {
        monitoring(q, json);
        return true;
    }
    if (strcmp(node->module, "ietf-yang-library") == 0) {
        library(q, strcmp(node->name, "modules-state") == 0, json);
        return true;
    }
    return false;
}
