// SPDX-License-Identifier: Apache-2.0
/* Orders: files from member to member, roles frozen everywhere, reboots. */
#include <stdio.h>
#include <string.h>

#include "phone-home/stack/engine_int.h"

static void answer(struct stack_engine *g, const struct stack_message *to, enum stack_kind kind,
                   struct stack_message *m) {
    m->ttl = STACK_TTL;
    m->kind = kind;
    m->id = to->id;
    snprintf(m->from, sizeof m->from, "%s", g->s.serial);
    snprintf(m->to, sizeof m->to, "%s", to->from);
    stack_message_out(g, m);
}

static void ask(struct stack_engine *g, const struct order *o, const char *to, enum stack_kind kind,
                struct stack_message *m) {
    m->ttl = STACK_TTL;
    m->kind = kind;
    m->id = o->id;
    snprintf(m->from, sizeof m->from, "%s", g->s.serial);
    snprintf(m->to, sizeof m->to, "%s", to);
    stack_message_out(g, m);
}

struct order *stack_order_new(struct stack_engine *g, int64_t now, uint64_t order,
                              enum order_kind kind) {
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        struct order *o = &g->orders[i];
        if (o->kind == ORDER_NONE) {
            *o = (struct order){.kind = kind, .order = order, .id = ++g->next_id};
            o->next = o->progress = now;
            return o;
        }
    }
    struct err e;
    err_set(&e, ERR_LIMIT, "order", "%d orders are under way already", STACK_ORDERS_MAX);
    g->host.done(g->host.arg, order, &e);
    return NULL;
}

void stack_order_end(struct stack_engine *g, struct order *o, const struct err *e) {
    uint64_t order = o->order;
    struct err kept;
    if (e != NULL) {
        kept = *e; /* may lie in the order */
    }
    memset(o, 0, sizeof *o);
    g->host.done(g->host.arg, order, e != NULL ? &kept : NULL);
}

static void fail(struct stack_engine *g, struct order *o, enum err_code code, const char *path,
                 const char *text) {
    struct err e;
    err_set(&e, code, path, "%s", text);
    stack_order_end(g, o, &e);
}

/* ---------------------------------------------------------------- freezing */

void stack_engine_freeze(struct stack_engine *g, int64_t now, uint64_t order, bool frozen) {
    struct order *o = stack_order_new(g, now, order, ORDER_SYNC);
    if (o == NULL) {
        return;
    }
    if (!g->claim) {
        fail(g, o, ERR_REFUSED, g->s.serial, "is not the primary");
        return;
    }
    stack_chassis_freeze(g, frozen);
    o->term = g->chassis.term;
    o->version = g->chassis.version;
}

static void sync_tick(struct stack_engine *g, int64_t now, struct order *o) {
    if (!g->claim) {
        fail(g, o, ERR_UNAVAILABLE, g->s.serial, "is not the primary any more");
        return;
    }
    const char *waits = NULL;
    for (size_t i = 1; i < NODES_MAX; i++) {
        const struct node *d = &g->nodes[i];
        if (d->used && d->reach &&
            (strcmp(d->lsa.seen_owner, g->s.serial) != 0 || d->lsa.seen_term < o->term ||
             (d->lsa.seen_term == o->term && d->lsa.seen_version < o->version))) {
            waits = d->lsa.serial;
        }
    }
    if (waits == NULL) {
        stack_order_end(g, o, NULL);
    } else if (now - o->progress >= SYNC_MS) {
        fail(g, o, ERR_TIMEOUT, waits, "has not heard of it");
    } else {
        o->next = now + RETRY_MS;
    }
}

/* ---------------------------------------------------------------- sending files */

void stack_engine_send(struct stack_engine *g, int64_t now, uint64_t order, enum stack_file file,
                       int member, uint64_t size, const uint8_t digest[STACK_DIGEST],
                       const char *text) {
    struct order *o = stack_order_new(g, now, order, ORDER_SEND);
    if (o == NULL) {
        return;
    }
    char path[40];
    snprintf(path, sizeof path, "member %d", member);
    const char *to = NULL;
    if (file == STACK_FILE_RECORD) {
        to = g->chassis.backup[0] != '\0' ? g->chassis.backup : NULL;
        snprintf(path, sizeof path, "backup");
    }
    for (size_t i = 0; i < g->chassis.n && file != STACK_FILE_RECORD; i++) {
        if (g->chassis.ids[i].id == member) {
            to = g->chassis.ids[i].serial;
        }
    }
    uint64_t max = file == STACK_FILE_IMAGE    ? STACK_FILE_MAX_IMAGE
                   : file == STACK_FILE_CONFIG ? STACK_FILE_MAX_CONFIG
                                               : STACK_FILE_MAX_RECORD;
    if (!g->claim) {
        fail(g, o, ERR_REFUSED, g->s.serial, "is not the primary");
    } else if (to == NULL) {
        fail(g, o, ERR_ABSENT, path, "there is no such member");
    } else if (strcmp(to, g->s.serial) == 0) {
        fail(g, o, ERR_INVALID, path, "is this member itself");
    } else if (size > max) {
        fail(g, o, ERR_TOO_BIG, path, "the file is bigger than members take");
    } else {
        snprintf(o->to, sizeof o->to, "%s", to);
        o->file = file;
        o->size = size;
        memcpy(o->digest, digest, STACK_DIGEST);
        snprintf(o->text, sizeof o->text, "%s", text != NULL ? text : "");
    }
}

static void offer(struct stack_engine *g, struct order *o) {
    struct stack_message m = {.file = o->file, .size = o->size};
    memcpy(m.digest, o->digest, STACK_DIGEST);
    snprintf(m.text, sizeof m.text, "%s", o->text);
    ask(g, o, o->to, STACK_OFFER, &m);
}

static void send_data(struct stack_engine *g, struct order *o) {
    uint8_t bytes[STACK_CHUNK];
    while (o->begun && o->sent < o->size && o->sent < o->acked + WINDOW) {
        struct stack_message m = {.offset = o->sent, .bytes = bytes};
        m.n = o->size - o->sent < STACK_CHUNK ? (size_t)(o->size - o->sent) : STACK_CHUNK;
        if (!g->host.read(g->host.arg, o->order, o->sent, bytes, m.n)) {
            fail(g, o, ERR_IO, "file", "can't be read any more");
            return;
        }
        ask(g, o, o->to, STACK_DATA, &m);
        o->sent += m.n;
    }
}

static void send_tick(struct stack_engine *g, int64_t now, struct order *o) {
    if (now - o->progress >= g->s.lost_ms) {
        fail(g, o, ERR_UNAVAILABLE, o->to, "does not answer");
        return;
    }
    o->sent = o->acked; /* what was sent behind it is lost, or will be said twice */
    o->next = now + RETRY_MS;
    offer(g, o); /* also asks how far it is */
}

static void on_ack(struct stack_engine *g, int64_t now, struct order *o,
                   const struct stack_message *m) {
    if (m->offset > o->size) {
        return;
    }
    o->progress = now; /* also while it only says that it is still there */
    if (!o->begun || m->offset > o->acked || (m->kind == STACK_HAVE && m->offset < o->acked)) {
        if (!o->begun || m->offset < o->acked) {
            o->sent = m->offset; /* where a former try ended, or it has lost what it had */
        }
        o->begun = true;
        o->acked = m->offset;
        o->sent = o->sent < o->acked ? o->acked : o->sent;
        o->next = now + RETRY_MS;
        o->duplicates = 0;
        o->again = false;
    } else if (m->kind == STACK_ACK && m->offset == o->acked && ++o->duplicates >= 3 && !o->again) {
        o->sent = o->acked; /* something was lost: what came behind it was thrown away */
        o->again = true;
    }
    send_data(g, o);
}

/* ---------------------------------------------------------------- files that come */

static void tell_offset(struct stack_engine *g, const struct stack_message *m,
                        const struct incoming *in) {
    struct stack_message a = {.offset = in->offset};
    answer(g, m, m->kind == STACK_OFFER ? STACK_HAVE : STACK_ACK, &a);
}

static void tell_done(struct stack_engine *g, const struct stack_message *m,
                      const struct incoming *in) {
    struct stack_message a = {.code = in->code};
    snprintf(a.text, sizeof a.text, "%s", in->reason);
    answer(g, m, STACK_DONE, &a);
}

static struct incoming *incoming_of(struct stack_engine *g, const struct stack_message *m) {
    for (size_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &g->incoming[i];
        if (in->state != IN_FREE && in->id == m->id && strcmp(in->from, m->from) == 0) {
            return in;
        }
    }
    return NULL;
}

/* A place for a file that comes: one of each kind at a time. NULL: wait, the other side asks
 * again. */
static struct incoming *incoming_new(struct stack_engine *g, int64_t now,
                                     const struct stack_message *m) {
    struct incoming *place = NULL;
    for (size_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &g->incoming[i];
        if (in->file == m->file && in->state == IN_FINISH) {
            return NULL;
        }
        if (in->file == m->file && in->state == IN_DATA) {
            if (strcmp(in->from, m->from) != 0 && now - in->last < g->s.lost_ms) {
                return NULL;
            }
            in->state = IN_FREE; /* given up over there */
        }
    }
    for (size_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &g->incoming[i];
        if (in->state == IN_FREE) {
            return in;
        }
        if (in->state == IN_DONE && (place == NULL || in->last < place->last)) {
            place = in;
        }
    }
    return place;
}

static void come_to_end(struct stack_engine *g, struct incoming *in) {
    if (in->state == IN_DATA && in->offset == in->size) {
        in->state = IN_FINISH;
        in->ticket = ++g->next_id;
        g->host.finish(g->host.arg, in->ticket, in->file, in->digest, in->size, in->text);
    }
}

static void on_offer(struct stack_engine *g, int64_t now, const struct stack_message *m) {
    const char *primary = stack_primary_serial(g);
    if (primary == NULL || strcmp(primary, m->from) != 0) {
        return; /* asks again; by then we know whom to believe */
    }
    struct incoming *in = incoming_of(g, m);
    if (in == NULL) {
        in = incoming_new(g, now, m);
        if (in == NULL) {
            return;
        }
        *in = (struct incoming){.state = IN_DATA, .id = m->id, .file = m->file, .size = m->size};
        snprintf(in->from, sizeof in->from, "%s", m->from);
        memcpy(in->digest, m->digest, STACK_DIGEST);
        snprintf(in->text, sizeof in->text, "%s", m->text);
        in->offset = g->host.part(g->host.arg, in->file, in->digest);
        if (in->offset > in->size) {
            in->offset = 0;
        }
    }
    in->last = now;
    come_to_end(g, in);
    if (in->state == IN_DONE) {
        tell_done(g, m, in);
    } else {
        tell_offset(g, m, in);
    }
}

static void on_data(struct stack_engine *g, int64_t now, const struct stack_message *m) {
    struct incoming *in = incoming_of(g, m);
    if (in == NULL) {
        return;
    }
    in->last = now;
    if (in->state == IN_DATA && m->offset == in->offset && m->n <= in->size - in->offset &&
        m->n > 0) {
        if (!g->host.write(g->host.arg, in->file, in->offset, m->bytes, m->n)) {
            in->state = IN_DONE;
            in->code = ERR_LIMIT;
            snprintf(in->reason, sizeof in->reason, "can't be stored");
        } else {
            in->offset += m->n;
            come_to_end(g, in);
        }
    }
    if (in->state == IN_DONE) {
        tell_done(g, m, in);
    } else {
        tell_offset(g, m, in);
    }
}

void stack_engine_finished(struct stack_engine *g, int64_t now, uint64_t ticket,
                           const struct err *e) {
    for (size_t i = 0; i < INCOMING_MAX; i++) {
        struct incoming *in = &g->incoming[i];
        if (in->state == IN_FINISH && in->ticket == ticket) {
            in->state = IN_DONE;
            in->last = now;
            in->code = e != NULL ? e->code : ERR_OK;
            snprintf(in->reason, sizeof in->reason, "%s%s%s", e != NULL ? e->path : "",
                     e != NULL && e->path[0] != '\0' ? ": " : "", e != NULL ? e->text : "");
            for (char *c = in->reason; *c != '\0'; c++) {
                if (*c < ' ' || *c > '~') {
                    *c = '?';
                }
            }
            struct stack_message m = {.id = in->id};
            snprintf(m.from, sizeof m.from, "%s", in->from);
            tell_done(g, &m, in);
        }
    }
}

/* ---------------------------------------------------------------- reboots */

static void reboot_self(struct stack_engine *g, int64_t now, bool zeroize) {
    if (g->reboot_at < 0) {
        g->reboot_at = now + GOODBYE_MS;
        g->reboot_zeroize = zeroize;
    } else {
        g->reboot_zeroize = g->reboot_zeroize || zeroize;
    }
}

void stack_engine_reboot(struct stack_engine *g, int64_t now, uint64_t order, const int *ids,
                         size_t n, bool zeroize) {
    struct order *o = stack_order_new(g, now, order, ORDER_REBOOT);
    if (o == NULL) {
        return;
    }
    o->zeroize = zeroize;
    for (size_t i = 0; i < n; i++) {
        const char *serial = NULL;
        for (size_t j = 0; j < g->chassis.n; j++) {
            if (g->chassis.ids[j].id == ids[i]) {
                serial = g->chassis.ids[j].serial;
            }
        }
        struct node *d = serial != NULL ? stack_node(g, serial) : NULL;
        if (serial != NULL && strcmp(serial, g->s.serial) == 0) {
            o->self = true;
        } else if (!g->claim) {
            err_set(&o->failed, ERR_REFUSED, g->s.serial,
                    "is not the primary, which alone reboots others");
        } else if (d == NULL || !d->reach || o->n == STACK_MEMBERS_MAX) {
            err_set(&o->failed, ERR_UNAVAILABLE, serial, "member %d can't be reached", ids[i]);
        } else {
            snprintf(o->targets[o->n].serial, sizeof(stack_serial), "%s", serial);
            o->targets[o->n].incarnation = d->lsa.incarnation;
            o->n++;
        }
    }
}

bool stack_engine_leaves(const struct stack_engine *g) {
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        if (g->orders[i].kind == ORDER_REBOOT && g->orders[i].self) {
            return true;
        }
    }
    return g->reboot_at >= 0;
}

static void reboot_tick(struct stack_engine *g, int64_t now, struct order *o) {
    bool waits = false;
    const char *silent = NULL;
    for (size_t i = 0; i < o->n; i++) {
        if (o->targets[i].told) {
            continue;
        }
        const struct node *d = stack_node(g, o->targets[i].serial);
        if (d != NULL && d->reach && d->lsa.incarnation != o->targets[i].incarnation) {
            o->targets[i].told = true; /* has started again: what was wanted */
            continue;
        }
        struct stack_message m = {.incarnation = o->targets[i].incarnation, .zeroize = o->zeroize};
        ask(g, o, o->targets[i].serial, STACK_REBOOT, &m);
        waits = true;
        silent = o->targets[i].serial;
    }
    o->next = now + RETRY_MS;
    if (waits && now - o->progress < g->s.lost_ms) {
        return;
    }
    if (waits) {
        err_set(&o->failed, ERR_UNAVAILABLE, silent, "does not answer");
    }
    bool self = o->self, zeroize = o->zeroize;
    stack_order_end(g, o, o->failed.code != ERR_OK ? &o->failed : NULL);
    if (self) {
        reboot_self(g, now, zeroize);
    }
}

static void on_reboot(struct stack_engine *g, int64_t now, const struct stack_message *m) {
    const char *primary = stack_primary_serial(g);
    if (m->incarnation == g->incarnation && g->reboot_at < 0) {
        if (primary == NULL || strcmp(primary, m->from) != 0) {
            return;
        }
        stack_log(g, "reboots as primary %s says", m->from);
        reboot_self(g, now, m->zeroize);
    }
    struct stack_message a = {0};
    answer(g, m, STACK_REBOOTED, &a);
}

/* ---------------------------------------------------------------- what comes */

static struct order *order_of(struct stack_engine *g, const struct stack_message *m,
                              enum order_kind kind) {
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        struct order *o = &g->orders[i];
        if (o->kind == kind && o->id == m->id &&
            (kind != ORDER_SEND || strcmp(o->to, m->from) == 0)) {
            return o;
        }
    }
    return NULL;
}

static void on_done(struct stack_engine *g, struct order *o, const struct stack_message *m) {
    if (m->code == ERR_OK) {
        stack_order_end(g, o, NULL);
    } else {
        fail(g, o, m->code, o->to, m->text[0] != '\0' ? m->text : "refused it");
    }
}

void stack_message_in(struct stack_engine *g, int64_t now, const struct stack_message *m) {
    struct order *o;
    switch (m->kind) {
    case STACK_OFFER:
        on_offer(g, now, m);
        break;
    case STACK_DATA:
        on_data(g, now, m);
        break;
    case STACK_HAVE:
    case STACK_ACK:
        if ((o = order_of(g, m, ORDER_SEND)) != NULL) {
            on_ack(g, now, o, m);
        }
        break;
    case STACK_DONE:
        if ((o = order_of(g, m, ORDER_SEND)) != NULL) {
            on_done(g, o, m);
        }
        break;
    case STACK_REBOOT:
        on_reboot(g, now, m);
        break;
    case STACK_REBOOTED:
        if ((o = order_of(g, m, ORDER_REBOOT)) != NULL) {
            for (size_t i = 0; i < o->n; i++) {
                if (strcmp(o->targets[i].serial, m->from) == 0) {
                    o->targets[i].told = true;
                    o->next = now;
                }
            }
        }
        break;
    }
}

int64_t stack_orders_tick(struct stack_engine *g, int64_t now) {
    int64_t next = now + 60000;
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        struct order *o = &g->orders[i];
        if (o->kind != ORDER_NONE && now >= o->next) {
            if (o->kind == ORDER_SYNC) {
                sync_tick(g, now, o);
            } else if (o->kind == ORDER_SEND) {
                send_tick(g, now, o);
            } else {
                reboot_tick(g, now, o);
            }
        }
        if (o->kind != ORDER_NONE && o->next < next) {
            next = o->next;
        }
    }
    return next;
}
