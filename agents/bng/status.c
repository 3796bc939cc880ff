// SPDX-License-Identifier: Apache-2.0
#include "bng/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *session_word(const struct status_view *v) {
    switch (bng_engine_session(v->e)) {
    case BNG_READY:
        return "connected";
    case BNG_DOWN:
        return session_stats(v->session)->dials > 0 ? "disconnected" : "connecting";
    default:
        return "synchronising";
    }
}

static const char *kea_word(const struct kea_stats *k) {
    return !k->up ? "down" : k->in_line ? "in line" : "behind";
}

static void dhcp_text(const struct dhcp *d, const char *title, struct buf *out) {
    if (dhcp_servers(d) == 1) {
        const struct kea_stats *k = kea_stats(dhcp_server(d, 0));
        buf_printf(out, "%s: %s%s%s\n", title, kea_word(k), k->error[0] != '\0' ? ", " : "",
                   k->error);
        return;
    }
    buf_printf(out, "%s: %s, %s\n", title,
               !dhcp_up(d)       ? "down"
               : dhcp_in_line(d) ? "in line"
                                 : "behind",
               dhcp_word(d));
    for (size_t i = 0; i < dhcp_servers(d); i++) {
        const struct kea *s = dhcp_server(d, i);
        const struct kea_stats *k = kea_stats(s);
        const struct pair_member *m = kea_member(s);
        buf_printf(out, "    %s: %s, %s%s%s%s%s%s\n", kea_server(s)->name,
                   k->up || m->down ? kea_word(k) : "out of reach", m->primary ? "primary, " : "",
                   pair_state_name(m->state), m->answers && m->serves ? ", serves" : "",
                   m->fenced ? "" : ", not fenced", k->error[0] != '\0' ? ", " : "", k->error);
    }
}

void status_text(const struct status_view *v, struct buf *out) {
    const struct session_stats *s = session_stats(v->session);
    const struct frr_stats *f = frr_stats(v->frr);
    buf_printf(out,
               "APM:\n    State: %s\n    SystemId: %s\n    Security: %s\n    Manager: %s%s%s%s\n",
               session_word(v), bng_engine_system_id(v->e), v->c->clear_text ? "clear-text" : "TLS",
               s->peer, s->node[0] != '\0' ? " (" : "", s->node, s->node[0] != '\0' ? ")" : "");
    if (s->error[0] != '\0') {
        buf_printf(out, "    Last error: %s\n", s->error);
    }
    buf_printf(out, "Apportionment: %s\n", bng_engine_local_mode(v->e) ? "Local" : "Remote");
    for (int six = 0; six < 2; six++) {
        const struct dhcp *d = six ? v->dhcp6 : v->dhcp;
        if (d != NULL) {
            dhcp_text(d, six ? "DHCPv6" : "DHCP", out);
        }
    }
    const char *routing = !f->up ? "down" : f->in_line ? "in line" : "behind";
    buf_printf(out, "Routing: %s%s%s\n", v->c->frr.enabled ? routing : "gateway addresses only",
               f->error[0] != '\0' ? ", " : "", f->error);
}

bool status_domain(const struct status_view *v, const char *name, struct buf *out) {
    const struct bng_domain *d = bng_engine_find(v->e, name);
    if (d == NULL || d->state == BNG_DOMAIN_ABSENT) {
        buf_str(out, "No such pool domain.\n");
        return false;
    }
    int width = 9, wide = 18;
    for (size_t i = 0; i < d->n_pools; i++) {
        char text[IP_TEXT_MAX];
        int n = (int)strlen(d->pools[i]->name);
        int m = (int)strlen(ip_prefix_format(&d->pools[i]->prefix, text)) + 2;
        width = n > width ? n : width;
        wide = m > wide ? m : wide;
    }
    buf_printf(out, "%-*s  %-*s%-11s%-6s%-10s%s\n", width, "Pool Name", wide, "Prefix",
               d->profile->delegated_length != 0 ? "Prefixes" : "Addresses", "Used", "Status",
               "Type");
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct bng_pool *p = d->pools[i];
        char text[IP_TEXT_MAX];
        buf_printf(out, "%-*s  %-*s%-11" PRIu64 "%-6" PRIu64 "%-10s%s\n", width, p->name, wide,
                   ip_prefix_format(&p->prefix, text), p->total, p->used, bng_pool_status(p),
                   p->local       ? "Local"
                   : p->unmanaged ? "Unmanaged"
                                  : "Remote");
    }
    return true;
}

void status_domains(const struct status_view *v, struct buf *out) {
    for (size_t i = 0; i < bng_engine_domains(v->e); i++) {
        const struct bng_domain *d = bng_engine_domain(v->e, i);
        if (d->state == BNG_DOMAIN_ABSENT) {
            continue;
        }
        const char *what = d->profile->delegated_length != 0 ? "prefixes" : "addresses";
        buf_printf(out,
                   "Domain: %s\n    Active tag: %u\n    Backup tag: %u\n    Pools: %zu\n"
                   "    Total %s: %" PRIu64 "\n    Free %s: %" PRIu64 "\n",
                   d->name, d->profile->tag, d->profile->backup_tag, d->n_pools, what,
                   bng_domain_total(d), what, bng_domain_free(d));
        if (d->has_thresholds) {
            buf_printf(out, "    Thresholds: apportion %" PRIu64 ", reclaim %" PRIu64 "\n",
                       d->apportion, d->reclaim);
        } else {
            buf_str(out, "    Thresholds: none yet\n");
        }
        if (d->refused[0] != '\0') {
            buf_printf(out, "    Refused: %s\n", d->refused);
        }
        buf_printf(out,
                   "    Apportionments: %" PRIu64 "\n    Reclaims: %" PRIu64
                   "\n    Abatements: %" PRIu64 "\n    Pool drained: %" PRIu64 "\n",
                   d->count.allocations, d->count.reclamations, d->count.abatements,
                   d->count.drained_alarms);
    }
}

void status_alarms(const struct status_view *v, int64_t now_s, struct buf *out) {
    for (size_t i = 0; i < bng_engine_domains(v->e); i++) {
        const struct bng_domain *d = bng_engine_domain(v->e, i);
        for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
            const struct bng_alarm *a = &d->alarm[k];
            if (a->raised) {
                buf_printf(out, "%s  %s  age %" PRId64 " s  attempt %u", d->name,
                           bng_alarm_kind_name((enum bng_alarm_kind)k), now_s - a->raised_at,
                           a->attempt);
                if (a->pool[0] != '\0') {
                    buf_printf(out, "  pool %s", a->pool);
                }
                if (a->retry_at > now_s) {
                    buf_printf(out, "  retry in %" PRId64 " s", a->retry_at - now_s);
                }
                buf_printf(out, "%s%s%s\n", a->pending ? "  waits for the operator" : "",
                           a->text[0] != '\0' ? "  " : "", a->text);
            }
        }
    }
    for (int six = 0; six < 2; six++) {
        const struct dhcp *p = six ? v->dhcp6 : v->dhcp;
        for (size_t i = 0; p != NULL && dhcp_servers(p) > 1 && i < dhcp_servers(p); i++) {
            const struct kea *s = dhcp_server(p, i);
            int64_t since = dhcp_missing_since(p, i);
            if (since != 0) {
                buf_printf(out, "%s server %s is %s  age %" PRId64 " s  %s\n",
                           six ? "DHCPv6" : "DHCP", kea_server(s)->name,
                           kea_stats(s)->up ? "behind" : "away", now_s - since,
                           kea_stats(s)->error);
            }
        }
    }
    if (out->len == 0) {
        buf_str(out, "No alarm is outstanding.\n");
    }
}

void status_adoption(const struct status_view *v, struct buf *out) {
    size_t n;
    if (v->dhcp == NULL) {
        buf_str(out, "There is no DHCPv4 server; of IPv6 nothing is adopted.\n");
        return;
    }
    const struct kea *kea = dhcp_server(v->dhcp, 0);
    const struct bng_foreign *f = kea_foreign(kea, &n);
    const char *mode = v->c->kea.adopt == BNG_ADOPT_YES ? "adopted by" : "can be adopted by";
    if (n == 0) {
        buf_str(out,
                kea_stats(kea)->up ? "Kea has no subnet but Weft's.\n" : "Kea doesn't answer.\n");
    }
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "subnet %" PRIu32 "  %s  %s %s\n", f[i].id, f[i].text,
                   f[i].domain[0] != '\0' ? mode : "stays:",
                   f[i].domain[0] != '\0' ? f[i].domain : f[i].why);
    }
}

/* ---------------------------------------------------------------- JSON */

/* JSON's numbers are signed here: more than that is cut off. */
static json_int_t count(uint64_t n) {
    return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

static json_t *kea_json(const struct kea_stats *k) {
    return json_pack("{s:b, s:b, s:I, s:I, s:f, s:f, s:I, s:s}", "up", k->up, "in-line", k->in_line,
                     "pid", (json_int_t)k->pid, "reloads", (json_int_t)k->reloads,
                     "last-blackout-s", k->last_seconds, "longest-blackout-s", k->longest_seconds,
                     "leases", (json_int_t)k->leases, "error", k->error);
}

static json_t *dhcp_json(const struct dhcp *d) {
    static const struct kea_stats none;
    if (d == NULL || dhcp_servers(d) == 1) {
        return kea_json(d != NULL ? kea_stats(dhcp_server(d, 0)) : &none);
    }
    json_t *servers = json_array();
    for (size_t i = 0; i < dhcp_servers(d); i++) {
        const struct kea *s = dhcp_server(d, i);
        const struct pair_member *m = kea_member(s);
        json_t *o = kea_json(kea_stats(s));
        json_object_set_new(o, "name", json_string(kea_server(s)->name));
        json_object_set_new(o, "state", json_string(pair_state_name(m->state)));
        json_object_set_new(o, "primary", json_boolean(m->primary));
        json_object_set_new(o, "serves", json_boolean(m->answers && m->serves));
        json_object_set_new(o, "fenced", json_boolean(m->fenced));
        json_array_append_new(servers, o);
    }
    return json_pack("{s:b, s:b, s:s, s:o}", "up", dhcp_up(d), "in-line", dhcp_in_line(d), "pair",
                     dhcp_word(d), "servers", servers);
}

static json_t *pool_json(const struct bng_pool *p) {
    char text[IP_TEXT_MAX];
    return json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:I, s:I}", "name", p->name, "prefix",
                     ip_prefix_format(&p->prefix, text), "subnet-id", (json_int_t)p->subnet_id,
                     "status", bng_pool_status(p), "local", p->local, "unmanaged", p->unmanaged,
                     "total", count(p->total), "used", count(p->used));
}

void status_json(const struct status_view *v, struct buf *out) {
    const struct frr_stats *f = frr_stats(v->frr);
    json_t *domains = json_array();
    for (size_t i = 0; i < bng_engine_domains(v->e); i++) {
        const struct bng_domain *d = bng_engine_domain(v->e, i);
        json_t *pools = json_array();
        for (size_t j = 0; j < d->n_pools; j++) {
            json_array_append_new(pools, pool_json(d->pools[j]));
        }
        json_array_append_new(
            domains,
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:o}", "name", d->name, "present",
                      d->state != BNG_DOMAIN_ABSENT, "apportion", (json_int_t)d->apportion,
                      "reclaim", (json_int_t)d->reclaim, "revision", (json_int_t)d->revision,
                      "free", count(bng_domain_free(d)), "total", count(bng_domain_total(d)),
                      "refused", d->refused, "pools", pools));
    }
    json_t *doc = json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:I, s:s, s:o, s:o*, s:{s:b, s:b, s:I, s:s}, s:o}", "system-id",
        bng_engine_system_id(v->e), "state", session_word(v), "manager", "address",
        session_stats(v->session)->peer, "node", session_stats(v->session)->node, "boot-epoch",
        (json_int_t)bng_engine_boot_epoch(v->e), "apportionment",
        bng_engine_local_mode(v->e) ? "Local" : "Remote", "kea", dhcp_json(v->dhcp), "kea6",
        v->dhcp6 != NULL ? dhcp_json(v->dhcp6) : NULL, "frr", "up", f->up, "in-line", f->in_line,
        "routes", (json_int_t)f->routes, "error", f->error, "domains", domains);
    char *text = json_dumps(doc, JSON_INDENT(2));
    buf_str(out, text);
    buf_char(out, '\n');
    free(text);
    json_decref(doc);
}

/* ---------------------------------------------------------------- metrics */

static void metric(struct buf *out, const char *name, const char *type, const char *help,
                   double value) {
    buf_printf(out, "# HELP weft_bng_%s %s\n# TYPE weft_bng_%s %s\nweft_bng_%s %.15g\n", name, help,
               name, type, name, value);
}

static void label(struct buf *out, const char *s) {
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            buf_char(out, '\\');
        }
        buf_char(out, *s);
    }
}

/* One server's part; `server`: its label, or "". */
static void histogram(struct buf *out, const char *name, const char *server, const double *bounds,
                      const uint64_t *counts, double sum) {
    uint64_t total = 0;
    const char *comma = server[0] != '\0' ? "," : "";
    char labels[96] = "";
    for (size_t i = 0; i < KEA_BUCKETS; i++) {
        total += counts[i];
        buf_printf(out, "weft_bng_%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, server, comma,
                   bounds[i], total);
    }
    total += counts[KEA_BUCKETS];
    if (server[0] != '\0') {
        snprintf(labels, sizeof labels, "{%s}", server);
    }
    buf_printf(out,
               "weft_bng_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\nweft_bng_%s_sum%s %.15g\n"
               "weft_bng_%s_count%s %" PRIu64 "\n",
               name, server, comma, total, name, labels, sum, name, labels, total);
}

#define DOMAIN_METRICS(X)                                                                          \
    X(pools, gauge, "pools of the domain", d->n_pools)                                             \
    X(addresses, gauge, "addresses of its pools", bng_domain_total(d))                             \
    X(addresses_free, gauge, "usable and not assigned", bng_domain_free(d))                        \
    X(threshold_apportion, gauge, "threshold in force", d->apportion)                              \
    X(threshold_reclaim, gauge, "threshold in force", d->reclaim)                                  \
    X(setup_rate, gauge, "addresses assigned per second, smoothed", d->rate)                       \
    X(allocations_total, counter, "pools taken into use", d->count.allocations)                    \
    X(local_allocations_total, counter, "of the local reserve", d->count.local_allocations)        \
    X(reclamations_total, counter, "pools given back", d->count.reclamations)                      \
    X(alarms_apportion_total, counter, "alarms raised", d->count.apportion_alarms)                 \
    X(alarms_reclaim_total, counter, "alarms raised", d->count.reclaim_alarms)                     \
    X(alarms_drained_total, counter, "alarms raised", d->count.drained_alarms)                     \
    X(alarm_attempts_total, counter, "alarms sent, repetitions included", d->count.attempts)       \
    X(alarm_nacks_total, counter, "alarms refused by the manager", d->count.nacks)                 \
    X(abatements_total, counter, "alarms withdrawn", d->count.abatements)

#define KEA_METRICS(X)                                                                             \
    X(up, gauge, "1: Kea answers", k->up)                                                          \
    X(in_line, gauge, "1: Kea has the wanted subnets", k->in_line)                                 \
    X(leases, gauge, "leases in subnets of ours", k->leases)                                       \
    X(restarts_total, counter, "restarts of Kea seen", k->restarts)                                \
    X(refused_total, counter, "configurations Kea refused", k->refused)                            \
    X(serves, gauge, "1: it answers subscribers", m->answers && m->serves)

static const char *server_label(const struct dhcp *d, size_t i, char text[80]) {
    struct buf b = BUF_INIT;
    text[0] = '\0';
    if (dhcp_servers(d) > 1) {
        buf_str(&b, "server=\"");
        label(&b, kea_server(dhcp_server(d, i))->name);
        buf_char(&b, '"');
        snprintf(text, 80, "%s", buf_cstr(&b));
        buf_free(&b);
    }
    return text;
}

/* `name`: "kea" or "kea6", the beginning of its metrics' names. Of a pair each server is labelled.
 */
static void kea_metrics(const struct dhcp *d, const char *name, struct buf *out) {
    char text[80];
    if (d == NULL) {
        return;
    }
#define X(metric, kind, help, expr)                                                                \
    buf_printf(out,                                                                                \
               "# HELP weft_bng_%s_" #metric " %s\n# TYPE weft_bng_%s_" #metric " " #kind "\n",    \
               name, help, name);                                                                  \
    for (size_t i = 0; i < dhcp_servers(d); i++) {                                                 \
        const struct kea_stats *k = kea_stats(dhcp_server(d, i));                                  \
        const struct pair_member *m = kea_member(dhcp_server(d, i));                               \
        const char *l = server_label(d, i, text);                                                  \
        (void)k, (void)m;                                                                          \
        buf_printf(out, "weft_bng_%s_" #metric "%s%s%s %.15g\n", name, l[0] != '\0' ? "{" : "", l, \
                   l[0] != '\0' ? "}" : "", (double)(expr));                                       \
    }
    KEA_METRICS(X)
#undef X
    buf_printf(out,
               "# HELP weft_bng_%s_reload_seconds time Kea served nobody during a config-set\n"
               "# TYPE weft_bng_%s_reload_seconds histogram\n",
               name, name);
    char full[64];
    snprintf(full, sizeof full, "%s_reload_seconds", name);
    for (size_t i = 0; i < dhcp_servers(d); i++) {
        const struct kea_stats *k = kea_stats(dhcp_server(d, i));
        histogram(out, full, server_label(d, i, text), kea_seconds_buckets, k->seconds_bucket,
                  k->total_seconds);
    }
    buf_printf(out,
               "# HELP weft_bng_%s_reload_leases leases at the time of a config-set\n"
               "# TYPE weft_bng_%s_reload_leases histogram\n",
               name, name);
    snprintf(full, sizeof full, "%s_reload_leases", name);
    for (size_t i = 0; i < dhcp_servers(d); i++) {
        const struct kea_stats *k = kea_stats(dhcp_server(d, i));
        histogram(out, full, server_label(d, i, text), kea_leases_buckets, k->leases_bucket,
                  k->leases_sum);
    }
}

void status_metrics(const struct status_view *v, struct buf *out) {
    const struct frr_stats *f = frr_stats(v->frr);
    const struct session_stats *s = session_stats(v->session);
    const struct loop_counters *l = loop_counters(v->loop);
    metric(out, "loop_callbacks_total", "counter", "callbacks served by the loop",
           (double)atomic_load(&l->callbacks));
    metric(out, "loop_slow_total", "counter", "callbacks that held the loop for too long",
           (double)atomic_load(&l->slow));
    metric(out, "loop_slowest_seconds", "gauge", "the longest callback so far",
           (double)atomic_load(&l->slowest_ns) / 1e9);
    metric(out, "session_up", "gauge", "1: in step with the manager",
           bng_engine_session(v->e) == BNG_READY);
    metric(out, "session_dials_total", "counter", "attempts to reach a manager", (double)s->dials);
    metric(out, "session_breaks_total", "counter", "sessions lost", (double)s->breaks);
    metric(out, "local_mode", "gauge", "1: apportioning from the local reserve",
           bng_engine_local_mode(v->e));
    kea_metrics(v->dhcp, "kea", out);
    kea_metrics(v->dhcp6, "kea6", out);
    metric(out, "frr_up", "gauge", "1: FRR answers", f->up);
    metric(out, "frr_in_line", "gauge", "1: FRR has the wanted routes", f->in_line);
    metric(out, "frr_routes", "gauge", "discard routes of ours as read back", (double)f->routes);
    metric(out, "frr_changes_total", "counter", "routes set or removed", (double)f->changes);
#define X(m, kind, text, expr)                                                                     \
    buf_printf(out, "# HELP weft_bng_domain_" #m " %s\n# TYPE weft_bng_domain_" #m " " #kind "\n", \
               text);                                                                              \
    for (size_t i = 0; i < bng_engine_domains(v->e); i++) {                                        \
        const struct bng_domain *d = bng_engine_domain(v->e, i);                                   \
        buf_str(out, "weft_bng_domain_" #m "{domain=\"");                                          \
        label(out, d->name);                                                                       \
        buf_printf(out, "\"} %.15g\n", (double)(expr));                                            \
    }
    DOMAIN_METRICS(X)
#undef X
}

/* ---------------------------------------------------------------- HTTP */

void status_http(struct http_req *r, void *arg) {
    const struct status_view *v = arg;
    const char *path = http_path(r), *type = "text/plain; charset=utf-8";
    struct buf out = BUF_INIT;
    int code = 200;
    if (strcmp(http_method(r), "GET") != 0 && strcmp(http_method(r), "HEAD") != 0) {
        code = 405;
        buf_str(&out, "This endpoint only shows.\n");
    } else if (strcmp(path, "/status") == 0) {
        status_text(v, &out);
    } else if (strcmp(path, "/domains") == 0) {
        status_domains(v, &out);
    } else if (strcmp(path, "/domain") == 0) {
        char *name = http_query_get(r, "name");
        code = status_domain(v, name != NULL ? name : "", &out) ? 200 : 404;
        mem_free(name);
    } else if (strcmp(path, "/alarms") == 0) {
        status_alarms(v, clock_wall_s(&clock_real), &out);
    } else if (strcmp(path, "/adoption") == 0) {
        status_adoption(v, &out);
    } else if (strcmp(path, "/state.json") == 0) {
        type = "application/json";
        status_json(v, &out);
    } else if (strcmp(path, "/metrics") == 0) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        status_metrics(v, &out);
    } else if (strcmp(path, "/healthz") == 0) {
        /* Alive and able to serve subscribers; the manager may be away. */
        bool up = (v->dhcp == NULL || dhcp_up(v->dhcp)) && (v->dhcp6 == NULL || dhcp_up(v->dhcp6));
        code = up ? 200 : 503;
        buf_str(&out, code == 200 ? "ok\n" : "Kea doesn't answer\n");
    } else {
        code = 404;
        buf_str(&out, "There is /status /domains /domain?name=N /alarms /adoption /state.json "
                      "/metrics /healthz\n");
    }
    http_respond(r, code, type, buf_cstr(&out), out.len);
    buf_free(&out);
}
