// SPDX-License-Identifier: Apache-2.0
#include "bng/engine.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "bng/engine_int.h"

LOGGER_MODULE(engine)

#define IDLE_NS      (3600 * NS_PER_S)
#define RETRY_MAX_NS (25 * 3600 * NS_PER_S)
#define RATE_TAU_S   60.0
#define STATS_MIN_NS (NS_PER_S)

static const char *phase_status[BNG_PHASES] = {"Adding",   "Adding",   "Active",
                                               "Draining", "Draining", "Draining",
                                               "Drained",  "Removing", "Removing"};

const char *bng_pool_status(const struct bng_pool *p) {
    return phase_status[p->phase];
}

const char *bng_alarm_kind_name(enum bng_alarm_kind k) {
    static const char *name[BNG_ALARM_KINDS] = {"apportion", "reclaim", "pool-drained"};
    return name[k];
}

/* ---------------------------------------------------------------- tables */

struct bng_engine *bng_engine_new(const struct clock *clock, const struct bng_settings *settings,
                                  const struct bng_host *host) {
    struct bng_engine *e = MEM_NEW(struct bng_engine);
    e->clock = clock;
    e->settings = *settings;
    e->host = *host;
    e->generation = 1;
    e->next_subnet_id = settings->first_subnet_id;
    e->stats_interval_s = 30;
    e->lost_mono = clock_mono(clock);
    return e;
}

static void free_domain(struct bng_domain *d) {
    for (size_t i = 0; i < d->n_pools; i++) {
        mem_free(d->pools[i]);
    }
    mem_free(d->pools);
    mem_free(d);
}

void bng_engine_free(struct bng_engine *e) {
    if (e == NULL) {
        return;
    }
    for (size_t i = 0; i < e->n_domains; i++) {
        free_domain(e->domains[i]);
    }
    for (size_t i = 0; i < e->n_queue; i++) {
        mem_free(e->queue[i].data);
    }
    map_free(&e->subnets, NULL);
    mem_free(e->queue);
    mem_free(e->domains);
    mem_free(e);
}

struct bng_domain *bng_find(struct bng_engine *e, const char *name) {
    for (size_t i = 0; i < e->n_domains; i++) {
        if (strcmp(e->domains[i]->name, name) == 0) {
            return e->domains[i];
        }
    }
    return NULL;
}

const struct bng_domain *bng_engine_find(const struct bng_engine *e, const char *name) {
    return bng_find((struct bng_engine *)(uintptr_t)e, name);
}

struct bng_pool *bng_find_pool(struct bng_domain *d, const char *name) {
    for (size_t i = 0; i < d->n_pools; i++) {
        if (strcmp(d->pools[i]->name, name) == 0) {
            return d->pools[i];
        }
    }
    return NULL;
}

struct bng_pool *bng_find_subnet(struct bng_engine *e, uint32_t subnet_id) {
    return map_get_n(&e->subnets, &subnet_id, sizeof subnet_id);
}

const struct bng_pool *bng_engine_subnet(const struct bng_engine *e, uint32_t subnet_id) {
    return bng_find_subnet((struct bng_engine *)(uintptr_t)e, subnet_id);
}

size_t bng_count_pools(const struct bng_engine *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->n_domains; i++) {
        n += e->domains[i]->n_pools;
    }
    return n;
}

struct bng_domain *bng_add_domain(struct bng_engine *e, const struct bng_profile *p) {
    struct bng_domain *d = MEM_NEW(struct bng_domain);
    d->engine = e;
    d->profile = p;
    bng_domain_name(p, d->name);
    d->surplus_since = -1;
    e->domains = mem_array(e->domains, e->n_domains + 1, sizeof(struct bng_domain *));
    e->domains[e->n_domains++] = d;
    return d;
}

static struct bng_pool *overlapping(struct bng_engine *e, const struct ip_prefix *prefix) {
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        for (size_t j = 0; j < d->n_pools; j++) {
            if (ip_prefix_overlaps(&d->pools[j]->prefix, prefix)) {
                return d->pools[j];
            }
        }
    }
    return NULL;
}

struct bng_pool *bng_add_pool(struct bng_domain *d, const char *name,
                              const struct ip_prefix *prefix, uint32_t subnet_id, bool local,
                              char why[BNG_TEXT_MAX], uint32_t *code) {
    struct bng_engine *e = d->engine;
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    ip_prefix_format(prefix, text);
    struct bng_pool *o = overlapping(e, prefix);
    *code = 3; /* INVALID_ARGUMENT */
    if (name[0] == '\0' || strlen(name) > BNG_POOL_NAME_MAX) {
        snprintf(why, BNG_TEXT_MAX, "pool names have 1 to %d characters", (int)BNG_POOL_NAME_MAX);
        return NULL;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            snprintf(why, BNG_TEXT_MAX, "pool names are made of printable ASCII characters");
            return NULL;
        }
    }
    if (bng_find_pool(d, name) != NULL) {
        snprintf(why, BNG_TEXT_MAX, "domain %s has a pool %s already, with another prefix", d->name,
                 name);
        return NULL;
    }
    if (o != NULL) {
        snprintf(why, BNG_TEXT_MAX, "%s overlaps pool %s (%s) of domain %s", text, o->name,
                 ip_prefix_format(&o->prefix, other), o->domain->name);
        return NULL;
    }
    if (prefix->addr.family != d->profile->family) {
        snprintf(why, BNG_TEXT_MAX, "%s: the domain is of IPv%u", text, d->profile->family);
        return NULL;
    }
    if (prefix->len < BNG_POOL_LENGTH_MIN || prefix->len > bng_profile_longest(d->profile)) {
        snprintf(why, BNG_TEXT_MAX, "%s: pools here have lengths %d to %u", text,
                 (int)BNG_POOL_LENGTH_MIN, bng_profile_longest(d->profile));
        return NULL;
    }
    if (bng_count_pools(e) >= e->settings.max_pools) {
        *code = 8; /* RESOURCE_EXHAUSTED */
        snprintf(why, BNG_TEXT_MAX, "the gateway's pool table is full: %u pools",
                 e->settings.max_pools);
        return NULL;
    }
    struct bng_pool *p = MEM_NEW(struct bng_pool);
    p->domain = d;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->prefix = *prefix;
    p->subnet_id = subnet_id != 0 ? subnet_id : e->next_subnet_id++;
    e->meta_dirty = true;
    p->local = local;
    p->total = bng_profile_total(d->profile, prefix);
    d->pools = mem_array(d->pools, d->n_pools + 1, sizeof(struct bng_pool *));
    d->pools[d->n_pools++] = p;
    map_put_n(&e->subnets, &p->subnet_id, sizeof p->subnet_id, p);
    bng_set_phase(p, e->settings.routes ? BNG_ADD_ROUTE : BNG_ADD_DHCP, true);
    *code = 0;
    return p;
}

void bng_drop_pool(struct bng_pool *p) {
    struct bng_domain *d = p->domain;
    for (size_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i] == p) {
            memmove(&d->pools[i], &d->pools[i + 1],
                    (d->n_pools - i - 1) * sizeof(struct bng_pool *));
            d->n_pools--;
            break;
        }
    }
    d->dirty = true;
    map_del_n(&d->engine->subnets, &p->subnet_id, sizeof p->subnet_id);
    mem_free(p);
}

void bng_set_phase(struct bng_pool *p, enum bng_phase phase, bool urgent) {
    struct bng_engine *e = p->domain->engine;
    bool route = bng_pool_wants_route(p), dhcp = bng_pool_wants_dhcp(p);
    bool drain = bng_pool_wants_drain(p), fresh = p->gen == 0;
    p->phase = phase;
    p->counted = false;
    p->gen = ++e->generation;
    p->domain->dirty = true;
    p->domain->stats_due = true;
    /* Many steps only record what the back ends did. */
    if (fresh || route != bng_pool_wants_route(p) || dhcp != bng_pool_wants_dhcp(p) ||
        drain != bng_pool_wants_drain(p)) {
        e->host.changed(e->host.arg, urgent);
    }
}

uint64_t bng_engine_generation(const struct bng_engine *e) {
    return e->generation;
}
size_t bng_engine_domains(const struct bng_engine *e) {
    return e->n_domains;
}
const struct bng_domain *bng_engine_domain(const struct bng_engine *e, size_t i) {
    return e->domains[i];
}
enum bng_session bng_engine_session(const struct bng_engine *e) {
    return e->session;
}
uint64_t bng_engine_boot_epoch(const struct bng_engine *e) {
    return e->boot_epoch;
}
const char *bng_engine_system_id(const struct bng_engine *e) {
    return e->settings.system_id;
}

/* ---------------------------------------------------------------- counting */

uint64_t bng_per_pool(const struct bng_profile *p) {
    struct ip_prefix any = {.addr.family = (uint8_t)p->family, .len = (uint8_t)p->preferred_length};
    return bng_profile_total(p, &any);
}

bool bng_speaks(const struct bng_domain *d) {
    return d->profile->family == 4 || d->engine->version >= 2;
}

uint64_t bng_domain_free(const struct bng_domain *d) {
    bool with_local = d->engine->session != BNG_READY;
    uint64_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct bng_pool *p = d->pools[i];
        if (p->phase == BNG_ACTIVE && (!p->local || with_local) && p->total > p->used) {
            n = ip_count_add(n, p->total - p->used);
        }
    }
    return n;
}

uint64_t bng_domain_total(const struct bng_domain *d) {
    uint64_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        n = ip_count_add(n, d->pools[i]->total);
    }
    return n;
}

uint64_t bng_incoming(const struct bng_domain *d) {
    bool with_local = d->engine->session != BNG_READY;
    uint64_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct bng_pool *p = d->pools[i];
        if ((p->phase == BNG_ADD_ROUTE || p->phase == BNG_ADD_DHCP || p->phase == BNG_UNDRAIN) &&
            (!p->local || with_local)) {
            n = ip_count_add(n, p->total > p->used ? p->total - p->used : 0);
        }
    }
    return n;
}

size_t bng_managed(const struct bng_domain *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        n += !d->pools[i]->local;
    }
    return n;
}

void bng_engine_count(struct bng_engine *e, uint32_t subnet_id, uint64_t used,
                      uint64_t cumulative) {
    struct bng_pool *p = bng_find_subnet(e, subnet_id);
    if (p == NULL) {
        return;
    }
    if (p->used != used) {
        p->domain->stats_due = true;
    }
    p->used = used;
    p->counted = true;
    /* Kea's counter starts anew with Kea; then nothing is learnt about the rate. */
    if (p->has_cumulative && cumulative > p->cumulative) {
        p->domain->rate += (double)(cumulative - p->cumulative) / RATE_TAU_S;
    }
    p->cumulative = cumulative;
    p->has_cumulative = true;
}

void bng_engine_counted(struct bng_engine *e) {
    int64_t now = clock_mono(e->clock);
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        if (d->rated_mono != 0) {
            d->rate *= exp(-(double)(now - d->rated_mono) / (double)NS_PER_S / RATE_TAU_S);
        }
        d->rated_mono = now;
    }
}

/* ---------------------------------------------------------------- back ends */

static void finish_removal(struct bng_pool *p) {
    struct bng_domain *d = p->domain;
    struct bng_engine *e = d->engine;
    char id[BNG_ID_MAX];
    bool local = p->local;
    char name[BNG_POOL_NAME_MAX + 1], prefix[IP_TEXT_MAX];
    snprintf(name, sizeof name, "%s", p->name);
    snprintf(id, sizeof id, "%s", p->order_id);
    L_INFO("domain %s: pool %s (%s) is gone", d->name, name, ip_prefix_format(&p->prefix, prefix));
    struct bng_pool was = *p;
    bng_drop_pool(p);
    d->stats_due = true;
    if (!local && was.refused[0] == '\0') {
        d->count.reclamations++;
        d->emptied = d->n_pools == 0;
    }
    /* Durable before the manager may give it to somebody else. */
    if (bng_persist(e) && id[0] != '\0') {
        bng_wire_result(e, id, was.refused[0] != '\0' ? 3 : 0, was.refused, &was, 0);
    } else if (!local && e->session >= BNG_DOMAINS) {
        /* The session that ordered it is over, and this one's synchronisation may have listed it.
         */
        d->unsaid = true;
    }
}

void bng_engine_routes_applied(struct bng_engine *e, uint64_t generation) {
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        for (size_t j = d->n_pools; j-- > 0;) {
            struct bng_pool *p = d->pools[j];
            if (p->gen > generation) {
                continue;
            }
            if (p->phase == BNG_ADD_ROUTE) {
                bng_set_phase(p, BNG_ADD_DHCP, true);
            } else if (p->phase == BNG_REMOVE_ROUTE) {
                finish_removal(p);
            }
        }
    }
    bng_persist(e);
}

void bng_engine_routes_late(struct bng_engine *e, uint64_t generation) {
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        for (size_t j = 0; j < d->n_pools; j++) {
            if (d->pools[j]->phase == BNG_ADD_ROUTE && d->pools[j]->gen <= generation) {
                bng_set_phase(d->pools[j], BNG_ADD_DHCP, true);
            }
        }
    }
    bng_persist(e);
}

static void dhcp_reached(struct bng_pool *p) {
    struct bng_domain *d = p->domain;
    struct bng_engine *e = d->engine;
    switch (p->phase) {
    case BNG_ADD_DHCP:
        d->count.allocations += !p->local;
        d->count.local_allocations += p->local;
        d->setbacks = p->local ? d->setbacks : 0;
        bng_set_phase(p, BNG_ACTIVE, false);
        bng_wire_reached(p);
        break;
    case BNG_UNDRAIN:
        bng_set_phase(p, BNG_ACTIVE, false);
        bng_wire_reached(p);
        break;
    case BNG_DRAIN_SET:
        bng_set_phase(p, BNG_DRAINING, false);
        bng_wire_reached(p);
        break;
    case BNG_REMOVE_DHCP:
        bng_set_phase(p, BNG_REMOVE_ROUTE, false);
        if (!e->settings.routes) {
            finish_removal(p);
        }
        break;
    default:
        break;
    }
}

void bng_engine_dhcp_reached(struct bng_engine *e, unsigned family, uint64_t added,
                             uint64_t taken) {
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        for (size_t j = d->profile->family == family ? d->n_pools : 0; j-- > 0;) {
            struct bng_pool *p = d->pools[j];
            bool adds = p->phase == BNG_ADD_DHCP || p->phase == BNG_UNDRAIN;
            if (p->gen <= (adds ? added : taken)) {
                dhcp_reached(p);
            }
        }
    }
    bng_persist(e);
}

void bng_engine_dhcp_applied(struct bng_engine *e, unsigned family, uint64_t generation) {
    bng_engine_dhcp_reached(e, family, generation, generation);
}

void bng_engine_pool_refused(struct bng_engine *e, uint32_t subnet_id, const char *why) {
    struct bng_pool *p = bng_find_subnet(e, subnet_id);
    if (p == NULL || p->phase > BNG_ADD_DHCP) {
        return; /* what DHCP has served once it keeps */
    }
    struct bng_domain *d = p->domain;
    L_ERR("domain %s: pool %s is refused: %s", d->name, p->name, why);
    text_line(p->refused, sizeof p->refused, why);
    text_linef(d->refused, sizeof d->refused, "pool %s: %s", p->name, why);
    snprintf(p->order_id, sizeof p->order_id, "%s", p->add_id);
    p->add_id[0] = '\0';
    bng_setback(d);
    bng_set_phase(p, BNG_REMOVE_DHCP, false); /* the way back, so that its route goes first */
    bng_persist(e);
}

void bng_engine_demand(struct bng_engine *e, unsigned family, const char *interface) {
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        if (d->state == BNG_DOMAIN_ABSENT && d->profile->family == family &&
            strcmp(d->profile->interface, interface) == 0) {
            d->state = BNG_DOMAIN_NEW;
            d->emptied = false;
            d->retry_mono = 0;
        }
    }
}

enum err_code bng_engine_adopt(struct bng_engine *e, const char *domain, uint32_t subnet_id,
                               const struct ip_prefix *prefix, struct err *err) {
    struct bng_domain *d = bng_find(e, domain);
    char name[BNG_POOL_NAME_MAX + 1], why[BNG_TEXT_MAX];
    uint32_t code;
    if (d == NULL) {
        return err_set(err, ERR_ABSENT, domain, "no such domain");
    }
    if (bng_find_subnet(e, subnet_id) != NULL) {
        return ERR_OK;
    }
    if (d->n_pools == 0) {
        snprintf(name, sizeof name, "%s", d->name); /* APM-033 */
    } else {
        snprintf(name, sizeof name, "%s-kea-%" PRIu32, d->name, subnet_id);
    }
    struct bng_pool *p = bng_add_pool(d, name, prefix, subnet_id, false, why, &code);
    if (p == NULL) {
        return err_set(err, ERR_CONFLICT, name, "%s", why);
    }
    if (subnet_id >= e->next_subnet_id) {
        e->next_subnet_id = subnet_id + 1;
    }
    return bng_persist(e) ? ERR_OK
                          : err_set(err, ERR_IO, name, "the adoption could not be made durable");
}

/* ---------------------------------------------------------------- thresholds */

/* The entity's own say: what its table can never satisfy would raise alarms for ever. */
bool bng_check_thresholds(const struct bng_domain *d, uint64_t apportion, uint64_t reclaim,
                          char why[BNG_TEXT_MAX]) {
    const struct bng_profile *p = d->profile;
    uint64_t per = bng_per_pool(p);
    uint64_t most = d->engine->settings.max_pools;
    uint64_t table = per > UINT64_MAX / most ? UINT64_MAX : per * most;
    if (reclaim != 0 && reclaim <= apportion) {
        snprintf(why, BNG_TEXT_MAX,
                 "reclaim threshold %" PRIu64 " must be above the apportion threshold %" PRIu64,
                 reclaim, apportion);
        return false;
    }
    if (p->max_apportion != 0 && apportion > p->max_apportion) {
        snprintf(why, BNG_TEXT_MAX,
                 "apportion threshold %" PRIu64 " is above max-apportion-threshold %" PRIu64
                 " of domain profile %s on this gateway",
                 apportion, p->max_apportion, p->name);
        return false;
    }
    if (apportion >= table) {
        snprintf(why, BNG_TEXT_MAX,
                 "apportion threshold %" PRIu64
                 " is more than this gateway's pool table can hold: %u pools of %" PRIu64
                 " addresses",
                 apportion, d->engine->settings.max_pools, per);
        return false;
    }
    return true;
}

static uint32_t hold_down(const struct bng_domain *d) {
    return d->hold_down_s != 0 ? d->hold_down_s : d->profile->hold_down_s;
}

/* ---------------------------------------------------------------- alarms */

void bng_clear_alarm(struct bng_domain *d, enum bng_alarm_kind k) {
    if (d->alarm[k].raised) {
        d->alarm[k] = (struct bng_alarm){0};
        d->dirty = true;
    }
}

void bng_setback(struct bng_domain *d) {
    int64_t s = d->setbacks < 6 ? INT64_C(1) << d->setbacks : BNG_SETBACK_MAX_S;
    d->setbacks++;
    d->quiet_mono = clock_mono(d->engine->clock) + s * NS_PER_S;
}

static void raise_alarm(struct bng_domain *d, enum bng_alarm_kind k) {
    struct bng_engine *e = d->engine;
    struct bng_alarm *a = &d->alarm[k];
    if (!a->raised && clock_mono(e->clock) >= d->quiet_mono) {
        *a = (struct bng_alarm){.raised = true};
        a->raised_at = clock_wall_s(e->clock);
        /* Unique for ever: the boot epoch is never used twice. */
        snprintf(a->id, sizeof a->id, "%s/%" PRIu64 "/%" PRIu64, e->settings.system_id,
                 e->boot_epoch, ++e->alarm_seq);
        d->dirty = true;
        d->count.apportion_alarms += k == BNG_APPORTION;
        d->count.reclaim_alarms += k == BNG_RECLAIM;
        d->count.drained_alarms += k == BNG_POOL_DRAINED;
    }
}

/* Sends what is raised when its time has come (P-06); returns ns until then, or IDLE_NS. */
static int64_t pursue(struct bng_domain *d, enum bng_alarm_kind k) {
    struct bng_engine *e = d->engine;
    struct bng_alarm *a = &d->alarm[k];
    int64_t now = clock_mono(e->clock), wall = clock_wall(e->clock);
    if (!a->raised && now < d->quiet_mono) {
        return d->quiet_mono - now;
    }
    if (!a->raised || a->pending || e->session != BNG_READY || d->state != BNG_DOMAIN_READY ||
        !bng_speaks(d)) {
        return IDLE_NS;
    }
    if (a->in_flight) {
        int64_t left = a->sent_mono + BNG_RESPONSE_TIMEOUT_S * NS_PER_S - now;
        if (left > 0) {
            return left;
        }
        L_WARN("domain %s: no answer to %s alarm %s in %d s", d->name, bng_alarm_kind_name(k),
               a->id, (int)BNG_RESPONSE_TIMEOUT_S);
        a->attempt--; /* the same attempt again: the stored answer, if there is one (P-05) */
    } else {
        bool worse =
            k == BNG_APPORTION && a->free_sent > 0 && bng_domain_free(d) * 2 <= a->free_sent;
        int64_t left = a->retry_at * NS_PER_S - wall;
        /* No manager asks for more than the time to the next window: the clock was set. */
        bool set = left > RETRY_MAX_NS;
        if (a->attempt > 0 && left > 0 && !worse && !set) {
            return left;
        }
    }
    a->attempt++;
    a->in_flight = true;
    a->sent_mono = now;
    a->free_sent = bng_domain_free(d);
    d->dirty = true;
    d->count.attempts++;
    if (!bng_persist(e)) { /* an attempt number must never be used twice with different content */
        a->in_flight = false;
        a->attempt--;
        a->retry_at = wall / NS_PER_S + 1;
        return NS_PER_S;
    }
    bng_wire_alarm(d, k, false);
    return BNG_RESPONSE_TIMEOUT_S * NS_PER_S;
}

/* The condition is over before the alarm was satisfied (APM-060). */
static void abate(struct bng_domain *d, enum bng_alarm_kind k) {
    struct bng_alarm *a = &d->alarm[k];
    if (!a->raised || a->in_flight) {
        return; /* an answer under way is taken as it comes */
    }
    if (d->engine->session != BNG_READY || !bng_speaks(d)) {
        if (a->attempt == 0) {
            bng_clear_alarm(d, k); /* nobody has heard of it */
            return;
        }
        return; /* withdrawn when there is somebody to tell */
    }
    d->count.abatements++;
    if (a->attempt > 0) {
        a->attempt++;
        bng_wire_alarm(d, k, true);
    }
    bng_clear_alarm(d, k);
}

static bool draining(const struct bng_domain *d) {
    for (size_t i = 0; i < d->n_pools; i++) {
        if (!d->pools[i]->local && d->pools[i]->phase > BNG_ACTIVE) {
            return true;
        }
    }
    return false;
}

static bool adding(const struct bng_domain *d) {
    for (size_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i]->phase < BNG_ACTIVE) {
            return true;
        }
    }
    return false;
}

static size_t active_managed(const struct bng_domain *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        n += d->pools[i]->phase == BNG_ACTIVE && !d->pools[i]->local && !d->pools[i]->unmanaged;
    }
    return n;
}

/* The last pool goes and nobody is on it: the domain is about to be removed (APM-037), asking for a
 * new pool now would keep it for ever. */
static bool closing(const struct bng_domain *d) {
    if (d->profile->keep_last_pool || (d->n_pools == 0 && !d->emptied)) {
        return false;
    }
    for (size_t i = 0; i < d->n_pools; i++) {
        if (d->pools[i]->phase <= BNG_ACTIVE || d->pools[i]->used > 0) {
            return false;
        }
    }
    return true;
}

static int64_t watch_apportion(struct bng_domain *d) {
    uint64_t have = bng_domain_free(d) + bng_incoming(d);
    bool hungry = d->has_thresholds && have <= d->apportion && !closing(d);
    if (hungry && bng_count_pools(d->engine) >= d->engine->settings.max_pools) {
        if (!d->full_logged) {
            L_WARN("domain %s is short of addresses (%" PRIu64 " free), but the pool table is full",
                   d->name, have);
            d->full_logged = true;
        }
        hungry = false;
    } else {
        d->full_logged = false;
    }
    if (!hungry) {
        abate(d, BNG_APPORTION);
        return IDLE_NS;
    }
    raise_alarm(d, BNG_APPORTION);
    return pursue(d, BNG_APPORTION);
}

static int64_t watch_reclaim(struct bng_domain *d) {
    int64_t now = clock_mono(d->engine->clock);
    size_t candidates = active_managed(d);
    bool last = candidates == 1 && bng_managed(d) == 1;
    bool surplus = d->has_thresholds && d->reclaim > 0 && candidates > 0 &&
                   bng_domain_free(d) >= d->reclaim && !draining(d) && !adding(d) &&
                   !(last && d->profile->keep_last_pool);
    if (!surplus) {
        d->surplus_since = -1;
        abate(d, BNG_RECLAIM);
        return IDLE_NS;
    }
    if (d->surplus_since < 0) {
        d->surplus_since = now;
    }
    /* APM-086: the last pool waits one more hold-down. */
    int64_t left = d->surplus_since + (int64_t)hold_down(d) * (last ? 2 : 1) * NS_PER_S - now;
    if (left > 0 && !d->alarm[BNG_RECLAIM].raised) {
        return left;
    }
    raise_alarm(d, BNG_RECLAIM);
    return pursue(d, BNG_RECLAIM);
}

static void remove_local(struct bng_pool *p) {
    L_INFO("domain %s: local pool %s is drained and goes", p->domain->name, p->name);
    bng_set_phase(p, BNG_REMOVE_DHCP, false);
}

static int64_t watch_drained(struct bng_domain *d) {
    struct bng_pool *first = NULL;
    struct bng_alarm *a = &d->alarm[BNG_POOL_DRAINED];
    for (size_t i = 0; i < d->n_pools; i++) {
        struct bng_pool *p = d->pools[i];
        if (p->phase == BNG_DRAINING && p->counted && p->used == 0) {
            bng_set_phase(p, BNG_DRAINED, false);
            p->counted = true;
        } else if (p->phase == BNG_DRAINED && p->used > 0) {
            bng_set_phase(p, BNG_DRAINING, false); /* leases came back from a file */
        }
        if (p->phase != BNG_DRAINED) {
            continue;
        }
        if (p->local) {
            remove_local(p);
        } else if (first == NULL || strcmp(p->name, a->pool) == 0) {
            first = p; /* one alarm at a time (APM-059), and the same one until it is answered */
        }
    }
    if (first == NULL || (a->raised && !a->in_flight && strcmp(first->name, a->pool) != 0)) {
        abate(d, BNG_POOL_DRAINED);
    }
    if (first == NULL) {
        return IDLE_NS;
    }
    raise_alarm(d, BNG_POOL_DRAINED);
    if (!a->in_flight) {
        snprintf(a->pool, sizeof a->pool, "%s", first->name);
    }
    return pursue(d, BNG_POOL_DRAINED);
}

/* ---------------------------------------------------------------- local reserve, APM-152 */

static bool reserve_delay_over(const struct bng_engine *e, int64_t *left) {
    *left = IDLE_NS;
    if (e->settings.reserve == NULL || e->settings.reserve->n_prefixes == 0 ||
        e->session == BNG_READY) {
        return false;
    }
    *left = e->lost_mono + (int64_t)e->settings.reserve->apportion_delay_s * NS_PER_S -
            clock_mono(e->clock);
    return *left <= 0;
}

bool bng_engine_local_mode(const struct bng_engine *e) {
    int64_t left;
    return reserve_delay_over(e, &left);
}

/* The address behind the prefix; false: there is none. */
static bool behind(const struct ip_prefix *p, struct ip_addr *out) {
    *out = ip_prefix_last(p);
    for (size_t i = ip_bits(out->family) / 8; i-- > 0;) {
        if (++out->bytes[i] != 0) {
            return true;
        }
    }
    return false;
}

/* The first free prefix of the length and family in the reserve. */
static bool carve(struct bng_engine *e, unsigned family, unsigned len, struct ip_prefix *out) {
    for (size_t i = 0; i < e->settings.reserve->n_prefixes; i++) {
        const struct ip_prefix *r = &e->settings.reserve->prefixes[i];
        struct ip_addr at = r->addr;
        bool more = r->addr.family == family && len >= r->len;
        while (more) {
            *out = ip_prefix_of(&at, len);
            struct bng_pool *o = overlapping(e, out);
            if (o == NULL) {
                return true;
            }
            /* One of the two contains the other: behind the wider one goes on what is aligned. */
            more =
                behind(o->prefix.len < len ? &o->prefix : out, &at) && ip_prefix_has_addr(r, &at);
        }
    }
    return false;
}

static struct bng_pool *local_pool(struct bng_domain *d, bool in_drain) {
    for (size_t i = 0; i < d->n_pools; i++) {
        struct bng_pool *p = d->pools[i];
        bool drains = bng_pool_wants_drain(p);
        if (p->local && (in_drain ? drains : p->phase == BNG_ACTIVE)) {
            return p;
        }
    }
    return NULL;
}

static int64_t watch_reserve(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    int64_t left;
    if (!reserve_delay_over(e, &left)) {
        return left;
    }
    uint64_t apportion = d->has_thresholds ? d->apportion : 0;
    if (bng_domain_free(d) + bng_incoming(d) > apportion) {
        return IDLE_NS;
    }
    struct bng_pool *p = local_pool(d, true);
    if (p != NULL) { /* the manager went again while we were giving it back */
        bng_set_phase(p, BNG_UNDRAIN, true);
        return 0;
    }
    char name[BNG_POOL_NAME_MAX + 1], why[BNG_TEXT_MAX], text[IP_TEXT_MAX];
    struct ip_prefix prefix;
    uint32_t code;
    if (!carve(e, d->profile->family, d->profile->preferred_length, &prefix)) {
        L_WARN_RL(60,
                  "domain %s is short of addresses, the manager is away and the local reserve "
                  "has no free /%u",
                  d->name, d->profile->preferred_length);
        return 10 * NS_PER_S;
    }
    do {
        snprintf(name, sizeof name, "%s-local-%04" PRIu32, d->name, d->local_seq++);
    } while (bng_find_pool(d, name) != NULL);
    p = bng_add_pool(d, name, &prefix, 0, true, why, &code);
    if (p == NULL) {
        L_WARN_RL(60, "domain %s: no local pool: %s", d->name, why);
        return 10 * NS_PER_S;
    }
    L_WARN("domain %s: the manager is away, local pool %s (%s) is taken into use", d->name, name,
           ip_prefix_format(&prefix, text));
    return 0;
}

/* Gives the reserve back, one pool at a time, when others have room for its subscribers. */
static int64_t return_reserve(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    if (e->session != BNG_READY || e->settings.reserve == NULL) {
        return IDLE_NS;
    }
    struct bng_pool *p = local_pool(d, false);
    if (p == NULL || local_pool(d, true) != NULL) {
        return IDLE_NS;
    }
    int64_t left = e->ready_mono + (int64_t)e->settings.reserve->drain_delay_s * NS_PER_S -
                   clock_mono(e->clock);
    if (left > 0) {
        return left;
    }
    if (bng_domain_free(d) > p->used && active_managed(d) > 0) {
        L_INFO("domain %s: the manager is back, local pool %s is drained", d->name, p->name);
        bng_set_phase(p, BNG_DRAIN_SET, false);
    }
    return IDLE_NS;
}

/* ---------------------------------------------------------------- domains */

static int64_t watch_domain(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    int64_t now = clock_mono(e->clock);
    if (e->session != BNG_READY || !bng_speaks(d)) {
        return IDLE_NS;
    }
    bng_wire_unsaid(d);
    if (d->state == BNG_DOMAIN_NEW) {
        if (now < d->retry_mono) {
            return d->retry_mono - now;
        }
        bng_wire_create(d);
    } else if (d->state == BNG_DOMAIN_READY && d->n_pools == 0 && closing(d)) {
        /* APM-037: an empty domain goes; bng_engine_demand brings it back. */
        L_INFO("domain %s has no pool left and is removed", d->name);
        bng_wire_delete(d);
        for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
            d->alarm[k] = (struct bng_alarm){0};
        }
        d->state = BNG_DOMAIN_ABSENT;
        d->has_thresholds = false;
        d->dirty = true;
    }
    return IDLE_NS;
}

static int64_t watch_stats(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    if (e->session != BNG_READY || d->state != BNG_DOMAIN_READY || !bng_speaks(d)) {
        return IDLE_NS;
    }
    int64_t now = clock_mono(e->clock);
    int64_t due =
        d->stats_mono + (d->stats_due ? STATS_MIN_NS : (int64_t)e->stats_interval_s * NS_PER_S);
    if (now < due) {
        return due - now;
    }
    d->stats_due = false;
    d->stats_mono = now;
    bng_wire_stats(d);
    return STATS_MIN_NS;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t bng_engine_tick(struct bng_engine *e) {
    int64_t next = IDLE_NS;
    if (e->uncommitted && !bng_persist(e)) {
        next = NS_PER_S;
    }
    bng_wire_tick(e);
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        if (d->state == BNG_DOMAIN_ABSENT) {
            continue;
        }
        next = earlier(next, watch_domain(d));
        next = earlier(next, watch_reserve(d));
        next = earlier(next, watch_drained(d));
        next = earlier(next, watch_apportion(d));
        next = earlier(next, watch_reclaim(d));
        next = earlier(next, return_reserve(d));
        next = earlier(next, watch_stats(d));
    }
    bng_persist(e);
    if (e->session != BNG_DOWN) {
        next = earlier(next, 5 * NS_PER_S); /* pings */
    }
    return next < 0 ? 0 : next;
}

/* ---------------------------------------------------------------- durability */

bool bng_persist(struct bng_engine *e) {
    bool any = e->uncommitted;
    if (e->meta_dirty) {
        e->host.save(e->host.arg, "meta", bng_store_meta(e));
        e->meta_dirty = false;
        any = true;
    }
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        if (d->dirty) {
            char key[BNG_DOMAIN_NAME_MAX + 16];
            snprintf(key, sizeof key, "domain/%s", d->name);
            e->host.save(e->host.arg, key, bng_store_domain(d));
            d->dirty = false;
            any = true;
        }
    }
    if (any) {
        e->uncommitted = !e->host.commit(e->host.arg);
    }
    return !e->uncommitted;
}

enum err_code bng_engine_start(struct bng_engine *e, struct err *err) {
    /* Above every earlier one, even when the state was lost: alarm ids are made from it. */
    uint64_t now = (uint64_t)clock_wall_s(e->clock);
    e->boot_epoch = e->boot_epoch + 1 > now ? e->boot_epoch + 1 : now;
    e->meta_dirty = true;
    for (size_t i = 0; i < e->settings.n_profiles; i++) {
        char name[BNG_DOMAIN_NAME_MAX + 1];
        bng_domain_name(&e->settings.profiles[i], name);
        if (bng_find(e, name) == NULL) {
            bng_add_domain(e, &e->settings.profiles[i]);
        }
    }
    if (!bng_persist(e)) {
        return err_set(err, ERR_IO, NULL, "the boot epoch could not be made durable");
    }
    return ERR_OK;
}
