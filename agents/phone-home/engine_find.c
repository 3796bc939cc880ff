// SPDX-License-Identifier: Apache-2.0
/*
 * Where data are looked for: sources in the standard's order, their findings, the servers of a
 * finding and those that they redirect to, depth first. An error leaves the innermost list only
 * (PH-151); when nothing is left, a pause (PH-153).
 */
#include "phone-home/engine_int.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void level_free(struct phc_level *l) {
    for (size_t i = 0; i < l->n; i++) {
        buf_free(&l->servers[i].anchor);
    }
    mem_free(l->servers);
    memset(l, 0, sizeof *l);
}

static void levels_clear(struct phc_engine *g) {
    while (g->n_levels > 0) {
        level_free(&g->levels[--g->n_levels]);
    }
}

void phc_finding_free(struct phc_finding *f) {
    buf_free(&f->ci);
    buf_free(&f->owner);
    buf_free(&f->voucher);
    for (size_t i = 0; i < f->n_servers; i++) {
        buf_free(&f->servers[i].anchor);
    }
    mem_free(f->servers);
    memset(f, 0, sizeof *f);
}

static void findings_clear(struct phc_engine *g) {
    for (size_t i = 0; i < g->n_findings; i++) {
        phc_finding_free(&g->findings[i]);
    }
    mem_free(g->findings);
    g->findings = NULL;
    g->n_findings = g->next_finding = 0;
}

void phc_find_clear(struct phc_engine *g) {
    levels_clear(g);
    findings_clear(g);
}

static struct sztp_server *servers_copy(const struct sztp_server *from, size_t n) {
    struct sztp_server *to = mem_array(NULL, n > 0 ? n : 1, sizeof *to);
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].anchor = (struct buf)BUF_INIT;
        buf_add(&to[i].anchor, from[i].anchor.data, from[i].anchor.len);
    }
    return to;
}

/* ---------------------------------------------------------------- rounds */

static void next_source(struct phc_engine *g);

static void again(struct phc_engine *g) {
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, again);
        return;
    }
    phc_discover(g);
}

/* No source had what we may use. */
static void round_over(struct phc_engine *g) {
    phc_find_clear(g);
    if (g->legacy && g->c.precedence == PHC_FIRST_SUCCESS) {
        phc_log(g, LOG_NOTICE, "nothing was found: the device's own DHCP provisioning goes on");
        phc_enter(g, PHC_ST_IDLE);
        phc_push(g, PHC_LEGACY);
        return;
    }
    if (g->r.n_avoid > 0) { /* servers that failed may be asked again */
        g->r.n_avoid = 0;
        phc_enter(g, PHC_ST_IDLE);
        phc_save(g);
    }
    if (g->woken) { /* perhaps too late for the source that has more now */
        g->rounds = 0;
    }
    int64_t ms = phc_backoff(g, g->rounds++);
    if (g->retry_after_ms > ms && !g->woken) {
        ms = g->retry_after_ms < g->c.backoff_max_ms ? g->retry_after_ms : g->c.backoff_max_ms;
    }
    phc_enter(g, PHC_ST_FAIL);
    if (g->c.once) {
        phc_log(g, LOG_NOTICE, "no source had data that may be used");
    } else {
        phc_log(g, LOG_NOTICE, "no source had data that may be used; looks again in %lld s",
                (long long)(ms + 999) / 1000);
    }
    g->woken = false;
    phc_timer(g, ms, again);
}

void phc_wake(struct phc_engine *g) {
    if (g->timer.due >= 0 && g->timer.then == again) {
        phc_log(g, LOG_INFO, "is woken: looks again now");
        g->timer.due = -1;
        g->rounds = 0;
        again(g);
    } else if (g->state >= PHC_ST_DISCOVER && g->state <= PHC_ST_VALIDATE) {
        g->woken = true; /* this round may be past that source: the next one comes soon */
    }
}

static void source_done(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_log(g, LOG_INFO, "%s: %s", phc_source_name(g->source), ev->error->text);
    }
    phc_next(g);
}

static void lookup(struct phc_engine *g) {
    phc_enter(g, PHC_ST_DISCOVER);
    phc_order(g, PHC_LOOKUP, PHC_LOOKUP_MS, source_done)->a.u.lookup = g->source;
}

static bool source_on(const struct phc_engine *g, enum phc_source s) {
    return g->c.sources == 0 || (g->c.sources & 1U << s) != 0;
}

static void next_source(struct phc_engine *g) {
    findings_clear(g);
    do {
        g->source++;
    } while (g->source < PHC_SOURCES && !source_on(g, g->source));
    if (g->source >= PHC_SOURCES) {
        round_over(g);
    } else {
        lookup(g);
    }
}

void phc_discover(struct phc_engine *g) {
    phc_find_clear(g);
    g->legacy = false;
    g->retry_after_ms = 0;
    g->trust = false;
    g->source = PHC_STORAGE;
    while (g->source < PHC_SOURCES && !source_on(g, g->source)) {
        g->source++;
    }
    if (g->source >= PHC_SOURCES) {
        round_over(g);
    } else {
        lookup(g);
    }
}

/* PH-092, PH-093. True: the device's own provisioning goes on, and we don't. */
static bool yields(struct phc_engine *g) {
    enum phc_precedence p = g->c.precedence;
    if (p == PHC_PRECEDENCE_AUTO) { /* the device's own knows nothing of a virtual chassis */
        p = g->own.chassis ? PHC_PHONE_HOME : PHC_ZTP;
    }
    if (p != PHC_ZTP) {
        phc_log(g, LOG_NOTICE, "DHCP offers the device's own provisioning as well; %s",
                p == PHC_PHONE_HOME ? "it is not followed"
                                    : "it is followed if nothing else is found");
        g->legacy = true;
        return false;
    }
    phc_log(g, LOG_NOTICE, "DHCP offers the device's own provisioning, which has precedence");
    phc_quiet(g);
    phc_find_clear(g);
    phc_enter(g, PHC_ST_IDLE);
    phc_push(g, PHC_LEGACY);
    return true;
}

void phc_found(struct phc_engine *g, const struct phc_finding *f) {
    if (f->legacy_ztp && yields(g)) {
        return;
    }
    if (g->n_findings == PHC_FINDINGS_MAX || (f->ci.len == 0 && f->n_servers == 0)) {
        return;
    }
    g->findings = mem_array(g->findings, g->n_findings + 1, sizeof *g->findings);
    struct phc_finding *to = &g->findings[g->n_findings++];
    *to = *f;
    to->ci = to->owner = to->voucher = (struct buf)BUF_INIT;
    buf_add(&to->ci, f->ci.data, f->ci.len);
    buf_add(&to->owner, f->owner.data, f->owner.len);
    buf_add(&to->voucher, f->voucher.data, f->voucher.len);
    to->n_servers = f->n_servers < SZTP_SERVERS_MAX ? f->n_servers : SZTP_SERVERS_MAX;
    to->servers = servers_copy(f->servers, to->n_servers);
}

/* ---------------------------------------------------------------- findings and servers */

static void next_finding(struct phc_engine *g) {
    if (g->next_finding >= g->n_findings) {
        next_source(g);
        return;
    }
    struct phc_finding *f = &g->findings[g->next_finding++];
    g->trust = false; /* PH-140: initially */
    g->asked = 0;
    buf_free(&g->ask.anchor);
    memset(&g->ask, 0, sizeof g->ask);
    if (f->ci.len == 0) {
        struct phc_level *l = &g->levels[g->n_levels++];
        *l = (struct phc_level){.n = f->n_servers,
                                .trusted = f->anchored,
                                .built_in = f->anchored,
                                .dialect = f->dialect};
        l->servers = servers_copy(f->servers, f->n_servers);
        phc_next(g);
        return;
    }
    text_line(g->ask.place, sizeof g->ask.place, f->origin);
    if (record_avoids(&g->r, g->ask.place)) {
        phc_log(g, LOG_INFO, "%s failed in this round already", g->ask.place);
        phc_next(g);
        return;
    }
    phc_log(g, LOG_INFO, "%s: data at %s", phc_source_name(g->source), g->ask.place);
    phc_take_artifacts(g, &f->ci, &f->owner, &f->voucher);
}

static bool same_bytes(const struct buf *a, const struct buf *b) {
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* How a server of that list is believed (PH-143). */
static enum phc_verify verify_of(const struct phc_level *l, const struct sztp_server *s) {
    if (!l->trusted) {
        return PHC_PROVISIONAL; /* its anchor is no better than the list */
    }
    if (s->anchor.len > 0) {
        return PHC_ANCHOR;
    }
    /* Nothing in the older dialect is ever signed: without a way to check the server it would have
     * no use. */
    return l->built_in || l->dialect == PHC_PRERFC ? PHC_BUILT_IN : PHC_PROVISIONAL;
}

/* The same server in the same way is being asked further out: what it says leads back to itself. */
static bool loops(const struct phc_engine *g, const struct sztp_server *s, enum phc_verify v) {
    for (size_t i = 0; i + 1 < g->n_levels; i++) {
        const struct phc_level *l = &g->levels[i];
        const struct sztp_server *o = &l->servers[l->next - 1];
        if (l->next > 0 && strcasecmp(o->address, s->address) == 0 && o->port == s->port &&
            verify_of(l, o) == v && (v != PHC_ANCHOR || same_bytes(&o->anchor, &s->anchor))) {
            return true;
        }
    }
    return false;
}

/* Makes the next server of the innermost list the one that is asked; false: it is not to be. */
static bool choose(struct phc_engine *g) {
    struct phc_level *l = &g->levels[g->n_levels - 1];
    const struct sztp_server *s = &l->servers[l->next++];
    enum phc_verify v = verify_of(l, s);
    char place[sizeof g->ask.place], raw[SZTP_NAME_MAX + 8];
    snprintf(raw, sizeof raw, strchr(s->address, ':') != NULL ? "[%s]:%u" : "%s:%u", s->address,
             s->port);
    text_line(place, sizeof place, raw);
    if (record_avoids(&g->r, place)) {
        phc_log(g, LOG_INFO, "%s failed in this round already", place);
        return false;
    }
    if (loops(g, s, v)) {
        phc_trouble(g, LOG_WARNING, "%s redirects back to itself", place);
        return false;
    }
    struct cms_certs *anchor = NULL;
    struct err e = {0};
    if (v == PHC_ANCHOR && l->dialect == PHC_RFC8572) { /* PH-144 */
        enum err_code rc = cms_certs_parse(s->anchor.data, s->anchor.len, g->w.device, &anchor, &e);
        if (rc == ERR_OK) {
            rc = cms_certs_one_chain(anchor, &e);
        }
        cms_certs_free(anchor);
        if (rc != ERR_OK) {
            phc_trouble(g, LOG_WARNING, "the trust anchor given for %s: %s", place, e.text);
            return false;
        }
    }
    buf_free(&g->ask.anchor);
    memset(&g->ask, 0, sizeof g->ask);
    memcpy(g->ask.host, s->address, sizeof g->ask.host);
    memcpy(g->ask.place, place, sizeof place);
    g->ask.port = s->port;
    g->ask.verify = v;
    g->ask.dialect = l->dialect;
    g->ask.redirects = l->redirects;
    if (v == PHC_ANCHOR) {
        buf_add(&g->ask.anchor, s->anchor.data, s->anchor.len);
    }
    return true;
}

void phc_next(struct phc_engine *g) {
    while (g->n_levels > 0) {
        struct phc_level *l = &g->levels[g->n_levels - 1];
        if (l->next >= l->n) {
            level_free(l);
            g->n_levels--;
            continue;
        }
        if (g->asked >= PHC_SERVERS_MAX) {
            phc_trouble(g, LOG_WARNING,
                        "%u servers were asked because of one source: that is enough", g->asked);
            levels_clear(g);
            break;
        }
        if (choose(g)) {
            g->asked++;
            phc_enter(g, PHC_ST_CONNECT);
            phc_ask(g);
            return;
        }
    }
    next_finding(g);
}

void phc_leave_recursion(struct phc_engine *g) {
    levels_clear(g);
    phc_next(g);
}

enum err_code phc_redirect(struct phc_engine *g, struct sztp_server *servers, size_t n,
                           struct err *e) {
    struct phc_level l = {.servers = servers,
                          .n = n,
                          .trusted = g->trust,
                          .dialect = g->ask.dialect,
                          .redirects = g->ask.redirects + 1};
    if (l.redirects > g->c.redirects_max || g->n_levels == PHC_LEVELS_MAX) {
        level_free(&l);
        return err_set(e, ERR_LIMIT, NULL, "more than %u redirects one behind the other",
                       g->c.redirects_max);
    }
    g->levels[g->n_levels++] = l;
    return ERR_OK;
}
