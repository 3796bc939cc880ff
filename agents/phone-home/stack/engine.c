// SPDX-License-Identifier: Apache-2.0
/* Neighbours, flooding, and what the members become. */
#include "phone-home/stack/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "phone-home/stack/engine_int.h"

enum { STATE_VERSION = 1 };

void stack_settings_default(struct stack_settings *s) {
    memset(s, 0, sizeof *s);
    s->priority = 128;
    s->hello_ms = 250;
    s->dead_ms = 1000;
    s->settle_ms = 2000;
    s->lost_ms = 15000;
}

const char *stack_role_name(enum stack_role r) {
    static const char *const names[] = {"none", "primary", "backup", "linecard"};
    return names[r];
}

void stack_log(struct stack_engine *g, const char *fmt, ...) {
    char line[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    g->host.log(g->host.arg, line);
}

static bool same(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static void set_text(char *out, size_t size, const char *s) {
    size_t n = strnlen(s, size - 1);
    memmove(out, s, n);
    memset(out + n, 0, size - n); /* whole structs are compared */
}

static void set_serial(stack_serial out, const char *s) {
    set_text(out, STACK_SERIAL_MAX + 1, s);
}

struct node *stack_node(struct stack_engine *g, const char *serial) {
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (g->nodes[i].used && same(g->nodes[i].lsa.serial, serial)) {
            return &g->nodes[i];
        }
    }
    return NULL;
}

int stack_engine_id(const struct stack_engine *g, const char *serial) {
    for (size_t i = 0; i < g->chassis.n; i++) {
        if (same(g->chassis.ids[i].serial, serial)) {
            return g->chassis.ids[i].id;
        }
    }
    return -1;
}

/* ---------------------------------------------------------------- state */

static void save(struct stack_engine *g) {
    struct buf b = BUF_INIT;
    buf_u8(&b, STATE_VERSION);
    buf_u64(&b, g->incarnation);
    stack_chassis_write(&g->chassis, &b);
    g->host.save(g->host.arg, b.data, b.len);
    buf_free(&b);
}

static enum err_code load(struct stack_engine *g, const void *p, size_t n, struct err *e) {
    struct cur in = cur_of(p, n);
    if (n == 0) {
        return ERR_OK;
    }
    if (cur_u8(&in) != STATE_VERSION) {
        return err_set(e, ERR_MALFORMED, "state", "is of no version that is known");
    }
    g->incarnation = cur_u64(&in);
    if (!stack_chassis_read(&in, &g->chassis) || cur_left(&in) != 0) {
        return err_set(e, ERR_MALFORMED, "state", "is damaged");
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- sending */

static void send_frame(struct stack_engine *g, unsigned link, const struct stack_frame *f) {
    struct buf b = BUF_INIT;
    stack_frame_write(f, &b);
    g->host.send(g->host.arg, link, b.data, b.len);
    buf_free(&b);
}

static void flood(struct stack_engine *g, const struct stack_lsa *l, int except) {
    struct stack_frame f = {.type = STACK_LSA};
    f.u.lsa = *l;
    for (unsigned i = 0; i < g->s.n_links; i++) {
        if (g->links[i].up && (int)i != except) {
            send_frame(g, i, &f);
        }
    }
}

static void send_lsa(struct stack_engine *g, unsigned link, const struct stack_lsa *l) {
    struct stack_frame f = {.type = STACK_LSA};
    f.u.lsa = *l;
    send_frame(g, link, &f);
}

static uint64_t mix(uint64_t h, const void *p, size_t n) {
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ b[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

/* Each bit of the result depends on all of `h`: sums of what `mix` gives for numbers that are near
 * each other would be the same too often. */
static uint64_t scatter(uint64_t h) {
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return h ^ (h >> 31);
}

/* What is known of those that are reached, in no order. */
static uint64_t digest(const struct stack_engine *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach) {
            uint64_t h = mix(UINT64_C(0xcbf29ce484222325), d->lsa.serial, strlen(d->lsa.serial));
            h = mix(h, &d->lsa.incarnation, sizeof d->lsa.incarnation);
            sum += scatter(mix(h, &d->lsa.seq, sizeof d->lsa.seq));
        }
    }
    return sum;
}

static void send_all(struct stack_engine *g, int64_t now, unsigned link) {
    g->links[link].refreshed = now;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (g->nodes[i].used && g->nodes[i].reach) {
            send_lsa(g, link, &g->nodes[i].lsa);
        }
    }
}

static void hello(struct stack_engine *g, int64_t now, unsigned i) {
    struct link *l = &g->links[i];
    struct stack_frame f = {.type = STACK_HELLO};
    struct stack_hello *h = &f.u.hello;
    set_serial(h->serial, g->s.serial);
    snprintf(h->port, sizeof h->port, "%s", g->s.ports[i]);
    h->incarnation = g->incarnation;
    if (l->heard) {
        set_serial(h->heard, l->peer);
        h->heard_incarnation = l->peer_incarnation;
    }
    h->digest = digest(g);
    l->said = now;
    l->next = now + g->s.hello_ms;
    send_frame(g, i, &f);
}

/* Says anew what this member is. */
static void originate(struct stack_engine *g) {
    struct stack_lsa *l = &g->nodes[0].lsa;
    int id = stack_engine_id(g, g->s.serial);
    l->incarnation = g->incarnation;
    l->seq++;
    l->flags = (uint8_t)((g->claim ? STACK_CLAIM : 0) | (g->ready ? STACK_READY : 0) |
                         (g->factory ? STACK_FACTORY : 0));
    l->id = id < 0 ? STACK_ID_NONE : (uint8_t)id;
    l->since = g->since;
    l->seen_term = g->chassis.term;
    l->seen_version = g->chassis.version;
    set_serial(l->seen_owner, g->chassis.owner);
    l->n_neighbours = 0;
    for (unsigned i = 0; i < g->s.n_links; i++) {
        if (g->links[i].up) {
            set_serial(l->neighbours[l->n_neighbours].serial, g->links[i].peer);
            l->neighbours[l->n_neighbours].incarnation = g->links[i].peer_incarnation;
            set_text(l->neighbours[l->n_neighbours].port, sizeof(stack_port), g->s.ports[i]);
            l->n_neighbours++;
        }
    }
    if (g->claim) {
        l->chassis = g->chassis;
    } else {
        memset(&l->chassis, 0, sizeof l->chassis);
    }
    flood(g, l, -1);
}

/* ---------------------------------------------------------------- who is reached */

/* A box of another model is a neighbour and no member: there is no chassis of mixed mode (PH-005).
 * What it floods counts all the same, so that all agree on what lies behind it. */
static bool hears(const struct stack_lsa *a, const struct stack_lsa *b) {
    if (!same(a->model, b->model)) {
        return false;
    }
    for (size_t i = 0; i < a->n_neighbours; i++) {
        if (same(a->neighbours[i].serial, b->serial) &&
            a->neighbours[i].incarnation == b->incarnation) {
            return true;
        }
    }
    return false;
}

static void reach_from(struct stack_engine *g, size_t *queue, size_t *tail, size_t at) {
    struct node *from = &g->nodes[at];
    for (size_t i = 1; i < NODES_MAX; i++) {
        struct node *d = &g->nodes[i];
        if (!d->used || d->reach || !hears(&from->lsa, &d->lsa) || !hears(&d->lsa, &from->lsa)) {
            continue;
        }
        if (at == 0) {
            unsigned j = 0;
            while (j < g->s.n_links && !(g->links[j].up && same(g->links[j].peer, d->lsa.serial) &&
                                         g->links[j].peer_incarnation == d->lsa.incarnation)) {
                j++;
            }
            if (j == g->s.n_links) {
                continue;
            }
            d->link = j;
        } else {
            d->link = from->link;
        }
        d->reach = true;
        queue[(*tail)++] = i;
    }
}

static uint64_t reachability(struct stack_engine *g) {
    size_t queue[NODES_MAX], head = 0, tail = 0;
    uint64_t h = 0;
    for (size_t i = 1; i < NODES_MAX; i++) {
        g->nodes[i].reach = false;
    }
    queue[tail++] = 0;
    while (head < tail) {
        reach_from(g, queue, &tail, queue[head++]);
    }
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach) {
            uint8_t ready = d->lsa.flags & STACK_READY;
            uint64_t one = mix(UINT64_C(0xcbf29ce484222325), d->lsa.serial, strlen(d->lsa.serial));
            one = mix(one, &d->lsa.incarnation, sizeof d->lsa.incarnation);
            h += scatter(mix(one, &ready, 1));
        }
    }
    return h;
}

/* ---------------------------------------------------------------- roles */

/* Which of two primaries stays. */
static bool stays_before(const struct stack_lsa *a, const struct stack_lsa *b) {
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    if (a->since != b->since) {
        return a->since < b->since;
    }
    return strcmp(a->serial, b->serial) < 0;
}

static const struct node *claimant(const struct stack_engine *g) {
    const struct node *best = NULL;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach && d->lsa.flags & STACK_CLAIM &&
            (best == NULL || stays_before(&d->lsa, &best->lsa))) {
            best = d;
        }
    }
    return best;
}

const char *stack_primary_serial(const struct stack_engine *g) {
    const struct node *d = claimant(g);
    return d != NULL ? d->lsa.serial : NULL;
}

static bool may_lead(const struct node *d) {
    return d->used && d->reach && d->lsa.flags & STACK_READY && d->lsa.priority > 0;
}

/* Who is to be primary when nobody is, or backup: `except` is not asked, `first` goes before
 * others of its priority. */
static const struct node *candidate(const struct stack_engine *g, const char *except,
                                    const char *first) {
    const struct node *best = NULL;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (!may_lead(d) || same(d->lsa.serial, except)) {
            continue;
        }
        if (best != NULL) {
            bool d_first = same(d->lsa.serial, first), best_first = same(best->lsa.serial, first);
            if (d->lsa.priority != best->lsa.priority) {
                if (d->lsa.priority < best->lsa.priority) {
                    continue;
                }
            } else if (best_first || (!d_first && strcmp(d->lsa.serial, best->lsa.serial) > 0)) {
                continue;
            }
        }
        best = d;
    }
    return best;
}

/* The newest chassis that a member which is reached keeps: its owner was primary last. */
static const char *last_owner(const struct stack_engine *g) {
    const struct stack_lsa *newest = &g->nodes[0].lsa;
    for (size_t i = 1; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach &&
            (d->lsa.seen_term > newest->seen_term ||
             (d->lsa.seen_term == newest->seen_term &&
              strcmp(d->lsa.seen_owner, newest->seen_owner) < 0))) {
            newest = &d->lsa;
        }
    }
    return newest->seen_owner;
}

static uint64_t newest_term(const struct stack_engine *g) {
    uint64_t term = g->chassis.term;
    for (size_t i = 1; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->lsa.seen_term > term) {
            term = d->lsa.seen_term;
        }
    }
    return term;
}

/* ---- the primary's decisions */

/* Somebody keeps a chassis that is newer than ours or as new and another's. */
static bool outdated(const struct stack_engine *g) {
    for (size_t i = 1; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach &&
            (d->lsa.seen_term > g->chassis.term ||
             (d->lsa.seen_term == g->chassis.term && (!same(d->lsa.seen_owner, g->s.serial) ||
                                                      d->lsa.seen_version > g->chassis.version)))) {
            return true;
        }
    }
    return false;
}

static bool number_members(struct stack_engine *g) {
    struct stack_chassis *c = &g->chassis;
    bool changed = false;
    /* Who has a number already is asked first, and then by serial number, so that the same members
     * always get the same. */
    for (unsigned round = 0; round < 2; round++) {
        for (;;) {
            const struct node *next = NULL;
            unsigned taken = 0;
            for (size_t i = 0; i < c->n; i++) {
                taken |= 1U << c->ids[i].id;
            }
            for (size_t i = 0; i < NODES_MAX && c->n < STACK_MEMBERS_MAX; i++) {
                const struct node *d = &g->nodes[i];
                if (d->used && d->reach && stack_engine_id(g, d->lsa.serial) < 0 &&
                    (round == 1 ||
                     (d->lsa.id != STACK_ID_NONE && (taken & 1U << d->lsa.id) == 0)) &&
                    (next == NULL || strcmp(d->lsa.serial, next->lsa.serial) < 0)) {
                    next = d;
                }
            }
            if (next == NULL) {
                break;
            }
            uint8_t id = next->lsa.id;
            if (round == 1) {
                for (id = 0; (taken & 1U << id) != 0; id++) {
                }
            }
            set_serial(c->ids[c->n].serial, next->lsa.serial);
            c->ids[c->n].id = id;
            c->n++;
            changed = true;
        }
    }
    return changed;
}

static bool reached(struct stack_engine *g, const char *serial) {
    const struct node *d = serial[0] != '\0' ? stack_node(g, serial) : NULL;
    return d != NULL && may_lead(d);
}

static bool choose_backup(struct stack_engine *g) {
    struct stack_chassis *c = &g->chassis;
    const struct node *d;
    const char *want = "";
    bool switched = c->frozen && !same(c->frozen_primary, g->s.serial);
    if (c->frozen && !switched && c->backup[0] != '\0' && !same(c->backup, g->s.serial)) {
        want = c->backup; /* also while it reboots */
    } else if (switched && reached(g, c->frozen_primary)) {
        want = c->frozen_primary; /* roles were exchanged (PH-052) */
    } else if (!same(c->backup, g->s.serial) && reached(g, c->backup)) {
        want = c->backup;
    } else if ((d = candidate(g, g->s.serial, "")) != NULL) {
        want = d->lsa.serial;
    }
    if (same(want, c->backup)) {
        return false;
    }
    stack_serial chosen;
    set_serial(chosen, want);
    set_serial(c->backup, chosen);
    return true;
}

/* As primary: the chassis as it is to be. True: it changed, was kept and is told. */
static bool decide(struct stack_engine *g) {
    bool changed = false;
    if (outdated(g)) {
        g->chassis.term = newest_term(g) + 1;
        g->chassis.version = 0;
        changed = true;
    }
    if (!same(g->chassis.owner, g->s.serial)) {
        set_serial(g->chassis.owner, g->s.serial);
        changed = true;
    }
    changed |= number_members(g);
    changed |= choose_backup(g);
    if (changed) {
        g->chassis.version++;
        save(g);
        originate(g);
    }
    return changed;
}

void stack_chassis_freeze(struct stack_engine *g, bool frozen) {
    struct stack_chassis *c = &g->chassis;
    if (c->frozen == frozen) {
        return;
    }
    c->frozen = frozen;
    set_serial(c->frozen_primary, frozen ? g->s.serial : "");
    c->version++;
    save(g);
    originate(g);
    decide(g);
}

static void become_primary(struct stack_engine *g, const char *why) {
    g->claim = true;
    g->chassis.term = newest_term(g) + 1;
    g->chassis.version = 0;
    g->since = g->chassis.term;
    g->followed = g->chassis.term;
    set_serial(g->chassis.owner, "");
    stack_log(g, "is primary of term %llu: %s", (unsigned long long)g->chassis.term, why);
    decide(g);
}

/* Takes over what the primary decided. */
static bool follow(struct stack_engine *g, const struct stack_lsa *l) {
    const struct stack_chassis *c = &l->chassis;
    bool newer = c->term > g->chassis.term ||
                 (c->term == g->chassis.term && same(c->owner, g->chassis.owner) &&
                  c->version > g->chassis.version);
    if (newer) {
        g->chassis = *c;
        save(g);
        originate(g);
    }
    if (g->chassis.term == c->term) {
        g->followed = c->term;
    }
    return newer;
}

/* One step of the election; true: something changed, look again. */
static bool elect(struct stack_engine *g, int64_t now) {
    const struct node *best = claimant(g);
    if (g->claim) {
        if (best != NULL && best != &g->nodes[0]) {
            stack_log(g, "gives way to primary %s", best->lsa.serial);
            g->claim = false;
            g->since = 0;
            originate(g);
            return true;
        }
        return decide(g);
    }
    if (best != NULL) {
        return follow(g, &best->lsa);
    }
    if (!may_lead(&g->nodes[0])) {
        return false;
    }
    if (g->s.n_links == 0) {
        become_primary(g, "a standalone device");
        return true;
    }
    if (same(g->chassis.backup, g->s.serial) && g->followed == g->chassis.term) {
        char why[80];
        snprintf(why, sizeof why, "was the backup, %s is away", g->chassis.owner);
        become_primary(g, why);
        return true;
    }
    if (now < g->settle_at) {
        return false;
    }
    const char *first = last_owner(g);
    if (g->chassis.frozen && reached(g, g->chassis.owner)) {
        first = g->chassis.owner;
    }
    if (candidate(g, "", first) == &g->nodes[0]) {
        become_primary(g, "elected");
        return true;
    }
    return false;
}

/* After whatever may have changed who is there or what they say. */
static void look(struct stack_engine *g, int64_t now) {
    uint64_t known = reachability(g);
    if (known != g->known) {
        g->known = known;
        g->settle_at = now + g->s.settle_ms;
    }
    for (unsigned i = 0; i < 8 && elect(g, now); i++) {
    }
    g->host.changed(g->host.arg);
}

/* ---------------------------------------------------------------- frames */

static void link_down(struct stack_engine *g, unsigned i, const char *why) {
    struct link *l = &g->links[i];
    if (l->up) {
        stack_log(g, "port %s: neighbour %s %s", g->s.ports[i], l->peer, why);
    }
    l->up = false;
}

static void on_hello(struct stack_engine *g, int64_t now, unsigned i, const struct stack_hello *h) {
    struct link *l = &g->links[i];
    bool was = l->up;
    if (same(h->serial, g->s.serial)) {
        if (h->incarnation != g->incarnation) {
            stack_log(g, "port %s: another member has our serial number %s", g->s.ports[i],
                      h->serial);
        }
        return;
    }
    bool fresh = !l->heard || !same(l->peer, h->serial) || l->peer_incarnation != h->incarnation;
    if (fresh) {
        link_down(g, i, "was exchanged or started again");
        set_serial(l->peer, h->serial);
        l->peer_incarnation = h->incarnation;
        l->heard = true;
    }
    l->last = now;
    l->up = same(h->heard, g->s.serial) && h->heard_incarnation == g->incarnation;
    if ((fresh || l->up != was) && now - l->said >= MIN_HELLO_GAP_MS) {
        l->next = now; /* it learns at once that it is heard */
    }
    if (l->up != was || (fresh && was)) {
        if (l->up) {
            stack_log(g, "port %s: neighbour %s", g->s.ports[i], l->peer);
        } else if (was && !fresh) {
            stack_log(g, "port %s: neighbour %s does not hear us", g->s.ports[i], l->peer);
        }
        originate(g);
        look(g, now);
        if (l->up) {
            send_all(g, now, i);
        }
    } else if (l->up && h->digest != digest(g) && now - l->refreshed >= g->s.hello_ms) {
        send_all(g, now, i);
    }
}

static struct node *node_for(struct stack_engine *g, const char *serial) {
    struct node *d = stack_node(g, serial);
    for (size_t pass = 0; pass < 2 && d == NULL; pass++) {
        for (size_t i = 1; i < NODES_MAX && d == NULL; i++) {
            /* first a free place, then one of somebody who went and never had a number */
            if (pass == 0 ? !g->nodes[i].used
                          : !g->nodes[i].reach && stack_engine_id(g, g->nodes[i].lsa.serial) < 0) {
                d = &g->nodes[i];
                memset(d, 0, sizeof *d);
            }
        }
    }
    return d;
}

static int newer(const struct stack_lsa *a, const struct stack_lsa *b) {
    if (a->incarnation != b->incarnation) {
        return a->incarnation > b->incarnation ? 1 : -1;
    }
    return a->seq == b->seq ? 0 : a->seq > b->seq ? 1 : -1;
}

static void on_lsa(struct stack_engine *g, int64_t now, unsigned i, const struct stack_lsa *l) {
    if (!g->links[i].up) {
        return; /* the digest of the next hello brings it again */
    }
    struct node *d = node_for(g, l->serial);
    if (d == NULL) {
        return; /* more members than a chassis can have */
    }
    int order = d->used ? newer(l, &d->lsa) : 1;
    if (d == &g->nodes[0]) {
        if (order > 0) { /* from a former life, of which nothing was kept */
            if (l->incarnation > g->incarnation) {
                g->incarnation = l->incarnation + 1;
                save(g);
                g->nodes[0].lsa.seq = 0;
                for (unsigned j = 0; j < g->s.n_links; j++) {
                    g->links[j].up = false; /* they hear somebody else than we are now */
                    g->links[j].next = now;
                }
            } else {
                g->nodes[0].lsa.seq = l->seq;
            }
            originate(g);
            look(g, now);
        } else if (order < 0) {
            send_lsa(g, i, &d->lsa);
        }
        return;
    }
    if (order > 0) {
        d->used = true;
        d->lsa = *l;
        flood(g, l, (int)i);
        look(g, now);
    } else if (order < 0) {
        send_lsa(g, i, &d->lsa);
    }
}

void stack_message_out(struct stack_engine *g, struct stack_message *m) {
    struct node *d = stack_node(g, m->to);
    struct stack_frame f = {.type = STACK_MESSAGE};
    if (d == NULL || !d->reach || d == &g->nodes[0] || m->ttl == 0) {
        return; /* whoever waits says it again */
    }
    f.u.message = *m;
    send_frame(g, d->link, &f);
}

void stack_engine_frame(struct stack_engine *g, int64_t now, unsigned link, const void *p,
                        size_t n) {
    struct stack_frame f;
    if (link >= g->s.n_links || stack_frame_read(p, n, &f, NULL) != ERR_OK) {
        return;
    }
    switch (f.type) {
    case STACK_HELLO:
        on_hello(g, now, link, &f.u.hello);
        break;
    case STACK_LSA:
        on_lsa(g, now, link, &f.u.lsa);
        break;
    case STACK_MESSAGE:
        if (!g->links[link].up || same(f.u.message.from, g->s.serial)) {
            break;
        }
        if (same(f.u.message.to, g->s.serial)) {
            stack_message_in(g, now, &f.u.message);
        } else if (f.u.message.ttl > 0) {
            f.u.message.ttl--;
            stack_message_out(g, &f.u.message);
        }
        break;
    }
}

/* ---------------------------------------------------------------- life */

int64_t stack_engine_tick(struct stack_engine *g, int64_t now) {
    int64_t next = now + 60000;
    for (unsigned i = 0; i < g->s.n_links; i++) {
        struct link *l = &g->links[i];
        if (l->heard && now - l->last >= g->s.dead_ms) {
            bool was = l->up;
            link_down(g, i, "is not heard any more");
            l->heard = false;
            if (was) {
                originate(g);
                look(g, now);
            }
        }
        if (now >= l->next) {
            hello(g, now, i);
        }
        next = l->next < next ? l->next : next;
        if (l->heard && l->last + g->s.dead_ms < next) {
            next = l->last + g->s.dead_ms;
        }
    }
    if (!g->claim && claimant(g) == NULL) {
        if (now >= g->settle_at) {
            look(g, now);
        } else if (g->settle_at < next) {
            next = g->settle_at;
        }
    }
    int64_t orders = stack_orders_tick(g, now); /* one of them may be to reboot */
    next = orders < next ? orders : next;
    if (g->reboot_at >= 0) {
        if (now >= g->reboot_at) {
            g->reboot_at = -1;
            g->host.reboot(g->host.arg, g->reboot_zeroize);
        } else if (g->reboot_at < next) {
            next = g->reboot_at;
        }
    }
    return next;
}

void stack_engine_ready(struct stack_engine *g, int64_t now, bool ready) {
    if (g->ready != ready) {
        g->ready = ready;
        if (!ready) {
            g->claim = false;
        }
        originate(g);
        look(g, now);
    }
}

void stack_engine_factory(struct stack_engine *g, int64_t now, bool factory) {
    if (g->factory != factory) {
        g->factory = factory;
        originate(g);
        g->host.changed(g->host.arg);
    }
}

enum err_code stack_engine_new(const struct stack_settings *s, const struct stack_host *host,
                               const void *state, size_t n, int64_t now, struct stack_engine **out,
                               struct err *e) {
    struct stack_engine *g = MEM_NEW(struct stack_engine);
    g->s = *s;
    g->host = *host;
    enum err_code rc = load(g, state, n, e);
    if (rc != ERR_OK) {
        mem_free(g);
        return rc;
    }
    g->incarnation++;
    g->factory = s->factory;
    g->settle_at = now + s->settle_ms;
    g->reboot_at = -1;
    for (unsigned i = 0; i < STACK_LINKS_MAX; i++) {
        g->links[i].said = g->links[i].refreshed = now - s->hello_ms;
        g->links[i].next = now;
    }
    struct stack_lsa *l = &g->nodes[0].lsa;
    g->nodes[0].used = g->nodes[0].reach = true;
    set_serial(l->serial, s->serial);
    l->priority = s->priority;
    snprintf(l->model, sizeof l->model, "%s", s->model);
    snprintf(l->os_name, sizeof l->os_name, "%s", s->os_name);
    snprintf(l->os_version, sizeof l->os_version, "%s", s->os_version);
    g->next_id = g->incarnation << 24;
    save(g);
    originate(g);
    *out = g;
    return ERR_OK;
}

void stack_engine_free(struct stack_engine *g) {
    mem_free(g);
}

/* ---------------------------------------------------------------- what is known */

bool stack_engine_primary(const struct stack_engine *g) {
    return g->claim;
}

bool stack_engine_formed(const struct stack_engine *g) {
    return claimant(g) != NULL;
}

const struct stack_chassis *stack_engine_chassis(const struct stack_engine *g) {
    return &g->chassis;
}

const char *stack_engine_serial(const struct stack_engine *g) {
    return g->s.serial;
}

static void fill(const struct stack_engine *g, const char *serial, const struct node *d,
                 struct stack_member *m) {
    const struct node *primary = claimant(g);
    memset(m, 0, sizeof *m);
    set_serial(m->serial, serial);
    m->id = stack_engine_id(g, serial);
    m->role = primary == NULL                             ? STACK_ROLE_NONE
              : same(serial, primary->lsa.serial)         ? STACK_PRIMARY
              : same(serial, primary->lsa.chassis.backup) ? STACK_BACKUP
                                                          : STACK_LINECARD;
    if (d == NULL) {
        return;
    }
    m->reachable = d->reach;
    m->up = d->reach && d->lsa.flags & STACK_READY;
    m->factory = d->lsa.flags & STACK_FACTORY;
    m->incarnation = d->lsa.incarnation;
    m->priority = d->lsa.priority;
    snprintf(m->model, sizeof m->model, "%s", d->lsa.model);
    snprintf(m->os_name, sizeof m->os_name, "%s", d->lsa.os_name);
    snprintf(m->os_version, sizeof m->os_version, "%s", d->lsa.os_version);
    for (size_t i = 0; d->reach && i < d->lsa.n_neighbours; i++, m->n_neighbours++) {
        set_serial(m->neighbours[i].serial, d->lsa.neighbours[i].serial);
        snprintf(m->neighbours[i].port, sizeof(stack_port), "%s", d->lsa.neighbours[i].port);
    }
}

size_t stack_engine_members(const struct stack_engine *g, struct stack_member *out, size_t max) {
    size_t n = 0;
    for (int id = 0; id < STACK_MEMBERS_MAX; id++) {
        for (size_t i = 0; i < g->chassis.n && n < max; i++) {
            if (g->chassis.ids[i].id == id) {
                const char *serial = g->chassis.ids[i].serial;
                fill(g, serial, stack_node((struct stack_engine *)(uintptr_t)g, serial), &out[n++]);
            }
        }
    }
    for (size_t i = 0; i < NODES_MAX && n < max; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach && stack_engine_id(g, d->lsa.serial) < 0) {
            fill(g, d->lsa.serial, d, &out[n++]);
        }
    }
    return n;
}
