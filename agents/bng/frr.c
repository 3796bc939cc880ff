// SPDX-License-Identifier: Apache-2.0
#include "bng/frr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "bng/gateway.h"
#include "bng/proc.h"

LOGGER_MODULE(frr)

enum {
    COMMANDS_MAX = 256, /* in one run of vtysh */
    RUN_TIMEOUT_MS = 15000,
    BACKOFF_MAX_MS = 10000,
};

struct frr {
    struct loop *loop;
    const struct bng_config *c;
    struct bng_engine *e;
    loop_fn *poke;
    void *arg;
    struct loop_timer *timer;
    struct proc *proc;
    struct frr_stats stats;
    bool changed;
    int64_t changed_at, check_due, backoff;
    uint64_t generation, waived;
    char kernel_error[512]; /* of the gateway's addresses and routes */
    unsigned rounds;        /* of changing and reading back without getting in line */
};

static int by_prefix(const void *a, const void *b) {
    return ip_prefix_cmp(&((const struct bng_route *)a)->prefix,
                         &((const struct bng_route *)b)->prefix);
}

size_t frr_parse(const char *text, struct bng_route *out, size_t cap, bool *complete) {
    size_t n = 0;
    const char *end = text + strlen(text);
    *complete = strstr(text, "Current configuration:") != NULL && strstr(text, "\nend") != NULL;
    for (const char *line = text; line < end;) {
        const char *nl = strchr(line, '\n');
        size_t len = nl != NULL ? (size_t)(nl - line) : (size_t)(end - line);
        char one[256], prefix[IP_TEXT_MAX];
        unsigned tag;
        int used = 0;
        snprintf(one, sizeof one, "%.*s", (int)(len < 255 ? len : 255), line);
        one[strcspn(one, "\r")] = '\0';
        struct bng_route r;
        bool six = strncmp(one, "ipv6 ", 5) == 0;
        if (sscanf(one,
                   six ? "ipv6 route %63s blackhole tag %u%n" : "ip route %63s blackhole tag %u%n",
                   prefix, &tag, &used) == 2 &&
            one[used] == '\0' && ip_prefix_parse(prefix, &r.prefix, NULL) == ERR_OK &&
            (r.prefix.addr.family == 6) == six) {
            r.tag = tag;
            if (n < cap) {
                out[n] = r;
            }
            n++;
        }
        line += len + 1;
    }
    return n;
}

static bool our_tag(const struct frr *f, uint32_t tag) {
    for (size_t i = 0; i < f->c->n_profiles; i++) {
        const struct bng_profile *p = &f->c->profiles[i];
        if (p->discard && (p->tag == tag || p->backup_tag == tag)) {
            return true;
        }
    }
    return false;
}

static struct bng_route *wanted(struct frr *f, size_t *n) {
    size_t cap = 1;
    for (size_t i = 0; i < bng_engine_domains(f->e); i++) {
        cap += bng_engine_domain(f->e, i)->n_pools;
    }
    struct bng_route *r = mem_array(NULL, cap, sizeof *r);
    *n = 0;
    for (size_t i = 0; i < bng_engine_domains(f->e); i++) {
        const struct bng_domain *d = bng_engine_domain(f->e, i);
        for (size_t j = 0; j < d->n_pools && d->profile->discard; j++) {
            const struct bng_pool *p = d->pools[j];
            if (bng_pool_wants_route(p)) {
                r[*n].prefix = p->prefix;
                r[*n].tag = bng_pool_wants_drain(p) ? d->profile->backup_tag : d->profile->tag;
                ++*n;
            }
        }
    }
    if (*n > 0) {
        qsort(r, *n, sizeof *r, by_prefix);
    }
    return r;
}

/* ---------------------------------------------------------------- vtysh */

static void think(void *arg);
static void got_config(int status, const char *output, size_t n, void *arg);

static void in_line(struct frr *f) {
    f->stats.in_line = true;
    snprintf(f->stats.error, sizeof f->stats.error, "%s", f->kernel_error);
    f->backoff = 0;
    f->rounds = 0;
    bng_engine_routes_applied(f->e, f->generation);
    f->poke(f->arg);
}

/* Until the next look, or at once when confirming has changed what is wanted. */
static void rest(struct frr *f) {
    int64_t ms = (f->check_due - loop_now(f->loop)) / NS_PER_MS + 1;
    loop_timer_start(f->timer, f->changed ? 0 : ms);
}

static void failed(struct frr *f, const char *what, const char *why) {
    text_linef(f->stats.error, sizeof f->stats.error, "%s: %s", what, why);
    L_WARN_RL(30, "FRR: %s", f->stats.error);
    f->stats.failures++;
    f->stats.in_line = false;
    f->backoff = f->backoff == 0 ? 250 : f->backoff * 2;
    f->backoff = f->backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : f->backoff;
    f->changed = true;
    /* Subscribers that wait for addresses don't wait for routing: the route follows. */
    int64_t late = loop_now(f->loop) - f->changed_at - (int64_t)f->c->frr.late_s * NS_PER_S;
    if (late >= 0 && f->waived != bng_engine_generation(f->e)) {
        f->waived = bng_engine_generation(f->e);
        L_WARN("FRR is late: new pools are taken into use without their route");
        bng_engine_routes_late(f->e, f->waived);
        f->poke(f->arg);
    }
    loop_timer_start(f->timer, f->backoff);
}

static size_t start_of(const struct frr *f, const char **argv) {
    size_t n = 0;
    argv[n++] = f->c->frr.vtysh;
    if (f->c->frr.pathspace[0] != '\0') {
        argv[n++] = "-N";
        argv[n++] = f->c->frr.pathspace;
    }
    return n;
}

static void read_config(struct frr *f) {
    const char *argv[8];
    size_t n = start_of(f, argv);
    argv[n++] = "-c";
    argv[n++] = "show running-config staticd";
    argv[n] = NULL;
    f->stats.runs++;
    proc_run(f->proc, argv, RUN_TIMEOUT_MS, got_config, f);
}

static void got_change(int status, const char *output, size_t n, void *arg) {
    struct frr *f = arg;
    if (status != 0) {
        failed(f, "vtysh", output);
        return;
    }
    if (n > 0) {
        L_DBG("vtysh says: %s", output);
    }
    read_config(f);
}

struct batch {
    char text[COMMANDS_MAX][128];
    const char *argv[8 + 2 * COMMANDS_MAX];
    size_t n, at;
};

static void add_command(struct batch *b, bool remove, const struct ip_prefix *p, uint32_t tag) {
    char text[IP_TEXT_MAX];
    if (b->n == COMMANDS_MAX) {
        return; /* the rest in the next round */
    }
    snprintf(b->text[b->n], sizeof b->text[0], "%s%s route %s blackhole tag %" PRIu32,
             remove ? "no " : "", p->addr.family == 6 ? "ipv6" : "ip", ip_prefix_format(p, text),
             tag);
    b->argv[b->at++] = "-c";
    b->argv[b->at++] = b->text[b->n++];
}

/* Together with the generation that is confirmed later: the pools may have changed since vtysh was
 * started. */
static void sync_kernel(struct frr *f) {
    struct err err;
    if (gateway_sync(f->e, NULL, &err) != ERR_OK) {
        text_linef(f->kernel_error, sizeof f->kernel_error, "%s: %s", err.path, err.text);
        L_WARN_RL(30, "gateway addresses: %s", f->kernel_error);
    } else {
        f->kernel_error[0] = '\0';
    }
    f->generation = bng_engine_generation(f->e);
}

static void got_config(int status, const char *output, size_t n, void *arg) {
    struct frr *f = arg;
    sync_kernel(f);
    bool complete;
    size_t n_have = frr_parse(output, NULL, 0, &complete), n_want = 0;
    f->check_due = loop_now(f->loop) + (int64_t)f->c->frr.check_s * NS_PER_S;
    if (status != 0 || !complete) {
        f->stats.up = false;
        failed(f, "staticd's configuration can't be read", output);
        return;
    }
    f->stats.up = true;
    struct bng_route *have = mem_array(NULL, n_have + 1, sizeof *have);
    frr_parse(output, have, n_have, &complete);
    struct bng_route *want = wanted(f, &n_want);
    struct batch *b = MEM_NEW(struct batch);
    b->at = start_of(f, b->argv);
    b->argv[b->at++] = "-c";
    b->argv[b->at++] = "configure terminal";
    f->stats.routes = 0;
    for (size_t i = 0; i < n_have; i++) {
        if (!our_tag(f, have[i].tag)) {
            continue;
        }
        const struct bng_route *w =
            n_want > 0 ? bsearch(&have[i], want, n_want, sizeof *want, by_prefix) : NULL;
        if (w == NULL) {
            add_command(b, true, &have[i].prefix, have[i].tag);
        } else {
            f->stats.routes++;
        }
    }
    if (n_have > 0) {
        qsort(have, n_have, sizeof *have, by_prefix);
    }
    for (size_t i = 0; i < n_want; i++) {
        const struct bng_route *h =
            n_have > 0 ? bsearch(&want[i], have, n_have, sizeof *have, by_prefix) : NULL;
        if (h == NULL || h->tag != want[i].tag) {
            add_command(b, false, &want[i].prefix, want[i].tag);
        }
    }
    if (b->n == 0) {
        f->changed = false;
        in_line(f);
        rest(f);
    } else if (f->rounds++ > 2 && b->n < COMMANDS_MAX) {
        f->rounds = 0;
        failed(f, "routes were set, but are not there when read back", b->text[0]);
    } else {
        f->stats.in_line = false;
        f->stats.changes += b->n;
        f->stats.runs++;
        b->argv[b->at] = NULL;
        proc_run(f->proc, b->argv, RUN_TIMEOUT_MS, got_change, f);
    }
    mem_free(b);
    mem_free(have);
    mem_free(want);
}

static void think(void *arg) {
    struct frr *f = arg;
    int64_t now = loop_now(f->loop);
    if (proc_busy(f->proc)) {
        return;
    }
    if (!f->changed && now < f->check_due) {
        loop_timer_start(f->timer, (f->check_due - now) / NS_PER_MS + 1);
        return;
    }
    if (!f->c->frr.enabled) {
        sync_kernel(f);
        f->changed = false;
        f->check_due = now + 5 * NS_PER_S;
        in_line(f);
        rest(f);
        return;
    }
    read_config(f);
}

void frr_changed(struct frr *f) {
    if (!f->changed || f->stats.in_line) {
        f->changed_at = loop_now(f->loop);
    }
    f->changed = true;
    if (f->backoff == 0) {
        loop_timer_start(f->timer, 0);
    }
}

struct frr *frr_new(struct loop *l, const struct bng_config *c, struct bng_engine *e, loop_fn *poke,
                    void *arg) {
    struct frr *f = MEM_NEW(struct frr);
    f->loop = l;
    f->c = c;
    f->e = e;
    f->poke = poke;
    f->arg = arg;
    f->timer = loop_timer_new(l, think, f);
    f->proc = proc_new(l);
    frr_changed(f);
    return f;
}

void frr_free(struct frr *f) {
    if (f == NULL) {
        return;
    }
    proc_free(f->proc);
    loop_timer_free(f->timer);
    mem_free(f);
}

const struct frr_stats *frr_stats(const struct frr *f) {
    return &f->stats;
}
