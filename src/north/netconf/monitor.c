// SPDX-License-Identifier: Apache-2.0
/* What this server can do, and what goes on in it: capabilities and RFC 6022. */
#include "base/clock.h"
#include "base/text.h"
#include "north/netconf/internal.h"

#include <stdio.h>
#include <string.h>

static const char *const capabilities[] = {
    "urn:ietf:params:netconf:base:1.0",
    "urn:ietf:params:netconf:base:1.1",
    "urn:ietf:params:netconf:capability:writable-running:1.0",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:validate:1.1",
    "urn:ietf:params:netconf:capability:xpath:1.0",
    "urn:ietf:params:netconf:capability:notification:1.0",
    "urn:ietf:params:netconf:capability:interleave:1.0",
    ("urn:ietf:params:netconf:capability:with-defaults:1.0?basic-mode=explicit&also-supported="
     "report-all,report-all-tagged,trim"),
    ("urn:ietf:params:netconf:capability:with-operational-defaults:1.0?basic-mode=report-all"
     "&also-supported=report-all-tagged,explicit,trim"),
};

static void add(bool json, bool *first, const char *text, struct buf *out) {
    if (json) {
        buf_str(out, *first ? "" : ",");
        text_json(out, text);
    } else {
        buf_str(out, "<capability>");
        text_xml(out, text, XML_CONTENT);
        buf_str(out, "</capability>");
    }
    *first = false;
}

void nc_capabilities(bool json, struct buf *out) {
    bool first = true;
    char uri[512];
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
        add(json, &first, capabilities[i], out);
    }
    snprintf(
        uri, sizeof uri,
        "urn:ietf:params:netconf:capability:yang-library:1.1?revision=2019-01-04&content-id=%s",
        model_content_id());
    add(json, &first, uri, out);
    /* RFC 6020 5.6.4.1: clients older than yang-library look here */
    size_t n;
    const struct module_info *m = model_modules(&n);
    for (size_t i = 0; i < n; i++) {
        if (m[i].implemented) {
            struct buf b = BUF_INIT;
            buf_printf(&b, "%s?module=%s", m[i].ns, m[i].name);
            if (m[i].revision[0] != '\0') {
                buf_printf(&b, "&revision=%s", m[i].revision);
            }
            for (size_t f = 0; f < m[i].n_features; f++) {
                buf_printf(&b, "%s%s", f == 0 ? "&features=" : ",", m[i].features[f]);
            }
            for (size_t d = 0; d < m[i].n_deviations; d++) {
                buf_printf(&b, "%s%s", d == 0 ? "&deviations=" : ",", m[i].deviations[d]);
            }
            add(json, &first, buf_cstr(&b), out);
            buf_free(&b);
        }
    }
}

/* ---- netconf-state ----------------------------------------------------------------------------
 */

static void locks(struct netconf *n, struct buf *json) {
    buf_str(json, "\"datastores\":{\"datastore\":[");
    static const char *const names[] = {"running", "candidate"};
    for (int i = 0; i < 2; i++) {
        buf_printf(json, "%s{\"name\":\"%s\"", i > 0 ? "," : "", names[i]);
        LIST_FOREACH (pos, &n->sessions) {
            const struct nc_session *s = CONTAINER_OF(pos, struct nc_session, link);
            if (i == 0 ? s->lock_running : s->lock_candidate) {
                char since[TIME_TEXT_MAX];
                time_format(s->locked_s, 0, since);
                buf_printf(json,
                           ",\"locks\":{\"global-lock\":{\"locked-by-session\":%llu,"
                           "\"locked-time\":\"%s\"}}",
                           (unsigned long long)s->id, since);
                break;
            }
        }
        buf_char(json, '}');
    }
    buf_str(json, "]}");
}

static void schemas(struct buf *json) {
    size_t n;
    const struct module_info *m = model_modules(&n);
    bool first = true;
    buf_str(json, ",\"schemas\":{\"schema\":[");
    for (size_t i = 0; i < n; i++) {
        if (m[i].text != NULL) {
            buf_printf(json,
                       "%s{\"identifier\":\"%s\",\"version\":\"%s\",\"format\":\"ietf-netconf-"
                       "monitoring:yang\",\"namespace\":\"%s\",\"location\":[\"NETCONF\"]}",
                       first ? "" : ",", m[i].name, m[i].revision, m[i].ns);
            first = false;
        }
    }
    buf_str(json, "]}");
}

static void counters(const struct nc_counters *c, struct buf *json) {
    buf_printf(json,
               "\"in-rpcs\":%u,\"in-bad-rpcs\":%u,\"out-rpc-errors\":%u,\"out-notifications\":%u",
               (unsigned)c->in_rpcs, (unsigned)c->in_bad_rpcs, (unsigned)c->out_rpc_errors,
               (unsigned)c->out_notifications);
}

/* "192.0.2.1:4711" or "[2001:db8::1]:4711" without its port. */
static void add_host(const char *from, struct buf *json) {
    const char *colon = strrchr(from, ':');
    bool bracket = from[0] == '[';
    size_t n = colon != NULL ? (size_t)(colon - from) - (bracket ? 2 : 0) : strlen(from);
    char *host = mem_strndup(from + bracket, n);
    text_json(json, host);
    mem_free(host);
}

static void sessions(struct netconf *n, struct buf *json) {
    bool first = true;
    buf_str(json, ",\"sessions\":{\"session\":[");
    LIST_FOREACH (pos, &n->sessions) {
        const struct nc_session *s = CONTAINER_OF(pos, struct nc_session, link);
        char since[TIME_TEXT_MAX];
        if (s->left) {
            continue;
        }
        time_format(s->since_s, 0, since);
        buf_printf(json, "%s{\"session-id\":%u,\"transport\":\"ietf-netconf-monitoring:%s\",",
                   first ? "" : ",", (unsigned)s->id, s->transport->name);
        buf_str(json, "\"username\":");
        text_json(json, s->who.user);
        buf_str(json, ",\"source-host\":");
        add_host(s->from, json);
        buf_printf(json, ",\"login-time\":\"%s\",", since);
        counters(&s->count, json);
        buf_char(json, '}');
        first = false;
    }
    buf_str(json, "]}");
}

void nc_monitor_state(struct netconf *n, struct buf *json) {
    char started[TIME_TEXT_MAX];
    buf_str(json, "{\"capabilities\":{\"capability\":[");
    nc_capabilities(true, json);
    buf_str(json, "]},");
    pthread_mutex_lock(&n->lock);
    locks(n, json);
    schemas(json);
    if (n->n_sessions > 0) {
        sessions(n, json);
    }
    pthread_mutex_unlock(&n->lock);
    time_format(n->started_s, 0, started);
    buf_printf(json,
               ",\"statistics\":{\"netconf-start-time\":\"%s\",\"in-bad-hellos\":%u,"
               "\"in-sessions\":%u,\"dropped-sessions\":%u,",
               started, (unsigned)n->in_bad_hellos, (unsigned)n->in_sessions,
               (unsigned)n->dropped_sessions);
    counters(&n->total, json);
    buf_str(json, "}}");
}

void nc_event_streams(const struct netconf *n, struct buf *json) {
    char started[TIME_TEXT_MAX];
    time_format(n->started_s, 0, started);
    buf_printf(json,
               "{\"streams\":{\"stream\":[{\"name\":\"NETCONF\",\"description\":\"All events.\","
               "\"replaySupport\":true,\"replayLogCreationTime\":\"%s\"}]}}",
               started);
}
