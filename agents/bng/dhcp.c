// SPDX-License-Identifier: Apache-2.0
#include "bng/dhcp.h"

#include <string.h>

#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"

LOGGER_MODULE(dhcp)

#define TAKE_OVER "ha-maintenance-start"
#define GIVE_BACK "ha-maintenance-cancel"

/* How often a subnet's addresses were given, over both servers and their restarts. */
struct given {
    uint64_t sum;
    struct {
        bool known;
        uint64_t last;
    } at[PAIR_MAX];
};

struct dhcp {
    struct loop *loop;
    unsigned family;
    struct bng_engine *e;
    loop_fn *poke;
    void *arg;
    struct kea *server[PAIR_MAX];
    size_t n;
    struct pair_member view[PAIR_MAX];
    uint64_t added, taken;           /* as last told to the engine */
    struct map given;                /* subnet id (4 bytes) -> struct given */
    int64_t waits[PAIR_MAX];         /* mono: since when it waits for its turn; 0: it does not */
    int64_t missing[PAIR_MAX];       /* UTC seconds */
    enum pair_state state[PAIR_MAX]; /* as last logged */
    /* A server, `keeper`, that serves for its partner because we asked it to. */
    enum { OVER_NO, OVER_ASKED, OVER_SENT, OVER_HELD, OVER_ENDS } over;
    size_t keeper;
    int64_t over_since;
    bool alone[PAIR_MAX]; /* it said that its partner is down, and has not restarted since */
    uint64_t restarts[PAIR_MAX];
    bool inherited; /* what an earlier run of the agent, or Kea after us, may have left: looked for
                     * until all is well */
};

static size_t index_of(const struct dhcp *d, const struct kea *k) {
    return d->n > 1 && d->server[1] == k;
}

static bool past(const struct dhcp *d, int64_t since, int64_t seconds) {
    return loop_now(d->loop) - since > seconds * NS_PER_S;
}

/* ---------------------------------------------------------------- who serves for whom */

static void set_over(struct dhcp *d, int over) {
    d->over = over;
    d->over_since = loop_now(d->loop);
}

static void inherit(struct dhcp *d) {
    bool well = true;
    for (size_t y = 0; y < d->n; y++) {
        const struct pair_member *m = &d->view[y];
        well =
            well && m->answers && (m->state == PAIR_HOT_STANDBY || m->state == PAIR_LOAD_BALANCING);
        if (m->answers && m->state == PAIR_PARTNER_IN_MAINTENANCE) {
            d->keeper = y;
            set_over(d, OVER_HELD);
        }
    }
    d->inherited = !well && d->over == OVER_NO;
}

/* The partner gives back what it took over when the other is in line again. */
static void mind(struct dhcp *d) {
    if (d->n < 2) {
        return;
    }
    if (d->over == OVER_NO && d->inherited && past(d, d->over_since, 1)) {
        inherit(d);
    }
    const struct pair_member *y = &d->view[d->keeper], *x = &d->view[1 - d->keeper];
    bool holds = y->state == PAIR_PARTNER_IN_MAINTENANCE;
    if (d->over == OVER_SENT && y->answers && holds) {
        set_over(d, OVER_HELD);
    } else if ((d->over == OVER_SENT && past(d, d->over_since, DHCP_PATIENCE_S)) ||
               (d->over == OVER_HELD && y->answers && !holds)) {
        set_over(d, OVER_NO); /* the pair has gone its own way: a failure, an operator */
    }
    if (d->over == OVER_HELD && y->answers && x->answers && x->state == PAIR_IN_MAINTENANCE &&
        (x->in_line || past(d, d->over_since, DHCP_PATIENCE_S)) &&
        kea_errand(d->server[d->keeper], GIVE_BACK)) {
        d->over = OVER_ENDS;
    }
    bool hurry = d->over != OVER_NO || d->waits[0] != 0 || d->waits[1] != 0;
    for (size_t i = 0; i < d->n; i++) {
        kea_hurry(d->server[i], hurry);
    }
}

static bool host_turn(void *arg, const struct kea *k) {
    struct dhcp *d = arg;
    size_t i = index_of(d, k), o = 1 - i;
    if (d->n < 2) {
        return true;
    }
    if (d->waits[i] == 0) {
        d->waits[i] = loop_now(d->loop);
    }
    for (size_t j = 0; j < d->n; j++) {
        d->view[j] = *kea_member(d->server[j]);
    }
    /* Roles that an operator has switched stay: then it is changed as it is, after the other. */
    bool switched = d->over == OVER_NO && d->view[i].state == PAIR_PARTNER_IN_MAINTENANCE &&
                    d->view[o].state == PAIR_IN_MAINTENANCE && d->view[o].in_line;
    bool patient = !switched && !past(d, d->waits[i], DHCP_PATIENCE_S);
    switch (pair_turn(d->view, d->n, i, patient)) {
    case PAIR_GO:
        if (!patient && !switched) {
            L_WARN("%s is changed without its partner: that can't take over, it is %s",
                   kea_server(k)->name, pair_state_name(d->view[o].state));
        }
        return true;
    case PAIR_TAKE_OVER:
        /* One that was refused is not asked for again at once. */
        if (d->over == OVER_NO && past(d, d->over_since, 1) &&
            kea_errand(d->server[o], TAKE_OVER)) {
            d->keeper = o;
            set_over(d, OVER_ASKED);
        }
        return false;
    case PAIR_WAIT:
        break;
    }
    return false;
}

static bool host_alone(void *arg, const struct kea *k) {
    struct dhcp *d = arg;
    size_t i = index_of(d, k);
    bool alone = d->alone[i] && !d->view[1 - i].answers;
    d->inherited |= alone; /* should the partner answer it, it is up to us to end that */
    return alone;
}

static void host_errand_done(void *arg, const struct kea *k, const char *command, bool good) {
    struct dhcp *d = arg;
    if (strcmp(command, TAKE_OVER) == 0) {
        set_over(d, good ? OVER_SENT : OVER_NO);
    } else {
        set_over(d, good ? OVER_NO : OVER_HELD);
        /* With an answer to its heartbeat that was on its way it takes over once more, by itself
         * (seen with Kea 2.2): that is ours to end as well. */
        d->inherited |= good;
    }
    L_DBG("%s: %s %s", kea_server(k)->name, command, good ? "done" : "failed");
}

/* ---------------------------------------------------------------- what the engine is told */

static void note(struct dhcp *d, size_t i) {
    const struct pair_member *m = &d->view[i];
    const char *name = kea_server(d->server[i])->name;
    bool missing = !m->answers || kea_stats(d->server[i])->error[0] != '\0';
    d->missing[i] = !missing ? 0 : d->missing[i] != 0 ? d->missing[i] : clock_wall_s(&clock_real);
    if (m->in_line || !m->answers) {
        d->waits[i] = 0;
    }
    uint64_t restarts = kea_stats(d->server[i])->restarts;
    if (m->answers && m->state == PAIR_PARTNER_DOWN) {
        d->alone[i] = true;
    } else if (m->serves || restarts != d->restarts[i]) {
        d->alone[i] = false;
    }
    d->restarts[i] = restarts;
    if (d->n > 1 && m->answers && m->state != d->state[i]) {
        L_INFO("%s (IPv%u) is %s%s", name, d->family, pair_state_name(m->state),
               m->serves ? " and serves" : "");
        d->state[i] = m->state;
    }
}

static void host_looked(void *arg) {
    struct dhcp *d = arg;
    for (size_t i = 0; i < d->n; i++) {
        d->view[i] = *kea_member(d->server[i]);
        note(d, i);
    }
    mind(d);
    uint64_t added = pair_added(d->view, d->n), taken = pair_taken(d->view, d->n);
    if (added != d->added || taken != d->taken) {
        d->added = added;
        d->taken = taken;
        bng_engine_dhcp_reached(d->e, d->family, added, taken);
        d->poke(d->arg);
    }
}

/* Rates are taken from a counter that only grows: each server's own, added up. */
static uint64_t given_of(struct dhcp *d, uint32_t id, const int64_t *used, const uint64_t *total) {
    if (d->n == 1) {
        return total[0];
    }
    struct given *g = map_get_n(&d->given, &id, sizeof id);
    if (g == NULL) {
        g = MEM_NEW(struct given);
        map_put_n(&d->given, &id, sizeof id, g);
    }
    for (size_t i = 0; i < d->n; i++) {
        if (used[i] >= 0) {
            g->sum += g->at[i].known && total[i] > g->at[i].last ? total[i] - g->at[i].last : 0;
            g->at[i].known = true;
            g->at[i].last = total[i];
        }
    }
    return g->sum;
}

static void forget_gone(struct dhcp *d, size_t pools) {
    if (d->given.count <= pools) {
        return;
    }
    MAP_FOREACH (m, &d->given) {
        uint32_t id;
        memcpy(&id, m->key, sizeof id);
        if (bng_engine_subnet(d->e, id) == NULL) {
            mem_free(map_del_n(&d->given, &id, sizeof id));
        }
    }
}

static void host_counted(void *arg) {
    struct dhcp *d = arg;
    size_t pools = 0;
    for (size_t i = 0; i < bng_engine_domains(d->e); i++) {
        const struct bng_domain *o = bng_engine_domain(d->e, i);
        for (size_t j = 0; o->profile->family == d->family && j < o->n_pools; j++) {
            uint32_t id = o->pools[j]->subnet_id;
            int64_t used[PAIR_MAX];
            uint64_t total[PAIR_MAX];
            for (size_t s = 0; s < d->n; s++) {
                uint64_t n;
                used[s] = kea_used(d->server[s], id, &n, &total[s]) ? (int64_t)n : -1;
            }
            int64_t all = pair_used(d->view, d->n, used);
            uint64_t given = given_of(d, id, used, total);
            if (all >= 0) {
                bng_engine_count(d->e, id, (uint64_t)all, given);
            }
            pools++;
        }
    }
    forget_gone(d, pools);
    bng_engine_counted(d->e);
    d->poke(d->arg);
}

static void host_poke(void *arg) {
    struct dhcp *d = arg;
    d->poke(d->arg);
}

/* ---------------------------------------------------------------- life */

enum err_code dhcp_new(struct loop *l, const struct bng_config *c, unsigned family,
                       struct bng_engine *e, loop_fn *poke, void *arg, struct dhcp **out,
                       struct err *err) {
    struct dhcp *d = MEM_NEW(struct dhcp);
    const struct kea_host host = {.looked = host_looked,
                                  .counted = host_counted,
                                  .poke = host_poke,
                                  .turn = host_turn,
                                  .alone = host_alone,
                                  .errand_done = host_errand_done,
                                  .arg = d};
    size_t n = (family == 6 ? &c->kea6 : &c->kea)->n_servers;
    d->loop = l;
    d->family = family;
    d->e = e;
    d->poke = poke;
    d->arg = arg;
    d->inherited = true;
    for (; d->n < n; d->n++) {
        enum err_code rc = kea_new(l, c, family, d->n, e, &host, &d->server[d->n], err);
        if (rc != ERR_OK) {
            dhcp_free(d);
            return rc;
        }
    }
    *out = d;
    return ERR_OK;
}

void dhcp_report(struct dhcp *d) {
    kea_report(d->server[0]);
}

void dhcp_free(struct dhcp *d) {
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->n; i++) {
        kea_free(d->server[i]);
    }
    map_free(&d->given, mem_free);
    mem_free(d);
}

void dhcp_changed(struct dhcp *d, bool urgent) {
    for (size_t i = 0; i < d->n; i++) {
        kea_changed(d->server[i], urgent);
    }
}

void dhcp_reload(struct dhcp *d) {
    for (size_t i = 0; d != NULL && i < d->n; i++) {
        kea_reload(d->server[i]);
    }
}

size_t dhcp_servers(const struct dhcp *d) {
    return d->n;
}

const struct kea *dhcp_server(const struct dhcp *d, size_t i) {
    return d->server[i];
}

bool dhcp_up(const struct dhcp *d) {
    bool up = false;
    for (size_t i = 0; i < d->n; i++) {
        up |= kea_stats(d->server[i])->up;
    }
    return up;
}

bool dhcp_in_line(const struct dhcp *d) {
    bool in_line = true;
    for (size_t i = 0; i < d->n; i++) {
        in_line &= kea_stats(d->server[i])->in_line;
    }
    return in_line;
}

const char *dhcp_word(const struct dhcp *d) {
    return pair_word(d->view, d->n);
}

int64_t dhcp_missing_since(const struct dhcp *d, size_t i) {
    return d->missing[i];
}
