// SPDX-License-Identifier: Apache-2.0
/* What operators see of the nodes of a shared store, and the order to give the lead away. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"
#include "core/system_int.h"
#include "model/kinds.h"

static const int widths[] = {20, 12, 10, 0};

/* ---- what a node says of itself ----------------------------------------------------------------
 */

void system_cluster_announce(struct core *c) {
    char started[TIME_TEXT_MAX];
    struct err e;
    json_t *o = json_object();
    struct buf about = BUF_INIT;
    time_format(clock_wall_s(c->clock), 0, started);
    json_object_set_new(o, "version", json_string(WEFT_VERSION));
    json_object_set_new(o, "started", json_string(started));
    if (c->options.relay != NULL) {
        json_object_set_new(o, "relay", json_string(c->options.relay));
    }
    call_answer_json(&about, o);
    /* The engine keeps it and says it when it can. */
    log_announce(c->log, about.data, about.len, &e);
    buf_free(&about);
}

/* ---- show system cluster -----------------------------------------------------------------------
 */

static const char *said(const json_t *about, const char *name) {
    const char *text = json_string_value(json_object_get(about, name));
    return text != NULL ? text : "";
}

struct visit {
    void (*each)(const struct core_node *n, void *arg);
    void *arg;
};

static void visit_node(const struct log_node *n, void *arg) {
    struct visit *v = arg;
    json_t *about = json_loadb((const char *)n->about, n->about_len, 0, NULL);
    struct core_node node = {.name = n->name,
                             .version = said(about, "version"),
                             .started = said(about, "started"),
                             .relay = said(about, "relay"),
                             .leads = n->leads,
                             .self = n->self};
    v->each(&node, v->arg);
    json_decref(about);
}

enum err_code core_nodes(struct core *c, void (*each)(const struct core_node *n, void *arg),
                         void *arg, struct err *e) {
    struct visit v = {each, arg};
    return log_nodes(c->log, visit_node, &v, e);
}

static void find_leader(const struct core_node *n, void *arg) {
    struct core_leader *out = arg;
    if (n->leads) {
        snprintf(out->node, sizeof out->node, "%s", n->name);
        snprintf(out->relay, sizeof out->relay, "%s", n->relay);
    }
}

enum err_code core_find_leader(struct core *c, struct core_leader *out, struct err *e) {
    *out = (struct core_leader){.node = ""};
    return core_nodes(c, find_leader, out, e);
}

struct listing {
    struct core *core;
    struct call *cl;
    json_t *list;
};

static void row(struct listing *l, const char *name, const char *role, const char *version,
                const char *since) {
    const char *cells[] = {name, role, version, since};
    call_table(&l->cl->text, cells, 4, widths);
}

static void add_node(const struct core_node *n, void *arg) {
    struct listing *l = arg;
    const char *role = n->leads ? "leads" : "follows";
    char name[LOG_NODE_MAX + 16];
    json_t *o =
        json_pack("{s:s,s:s,s:b}", "name", n->name, "role", role, "this-node", (int)n->self);
    if (n->version[0] != '\0') {
        json_object_set_new(o, "version", json_string(n->version));
    }
    if (n->started[0] != '\0') {
        json_object_set_new(o, "started", json_string(n->started));
    }
    json_array_append_new(l->list, o);
    snprintf(name, sizeof name, "%s%s", n->name, n->self ? " (this)" : "");
    row(l, name, role, n->version, n->started);
}

static void add_lost(const char *name, int64_t since_s, void *arg) {
    struct listing *l = arg;
    char since[TIME_TEXT_MAX], text[TIME_TEXT_MAX + 16];
    size_t i;
    json_t *o;
    json_array_foreach(l->list, i, o) { /* it has just come back: the leader has not looked yet */
        if (strcmp(json_string_value(json_object_get(o, "name")), name) == 0) {
            return;
        }
    }
    time_format(since_s, 0, since);
    snprintf(text, sizeof text, "lost since %s", since);
    json_array_append_new(l->list, json_pack("{s:s,s:s,s:b,s:s}", "name", name, "role", "lost",
                                             "this-node", 0, "lost-since", since));
    row(l, name, "lost", "-", text);
}

struct members {
    struct call *cl;
    json_t *list;
};

static void add_member(const struct log_member *m, void *arg) {
    static const char *const head[] = {"Store", "Role", "Version", "Size"};
    struct members *l = arg;
    const char *role = !m->answers     ? "away"
                       : m->leads      ? "leads"
                       : m->has_leader ? "follows"
                                       : "alone";
    char size[32];
    json_t *o = json_pack("{s:s,s:s}", "address", m->address, "role", role);
    if (json_array_size(l->list) == 0) {
        buf_char(&l->cl->text, '\n');
        call_table(&l->cl->text, head, 4, widths);
    }
    json_array_append_new(l->list, o);
    if (m->answers) {
        json_object_set_new(o, "version", json_string(m->version));
        json_object_set_new(o, "bytes", json_sprintf("%" PRIu64, m->bytes));
        snprintf(size, sizeof size, "%.1f MB", (double)m->bytes / 1e6);
    } else {
        json_object_set_new(o, "reason", json_string(m->why));
    }
    const char *cells[] = {m->address, role, m->answers ? m->version : "-",
                           m->answers ? size : m->why};
    call_table(&l->cl->text, cells, 4, widths);
}

/* The servers of the store: one that is away is to be seen before the next one is. */
static void show_members(struct core *c, struct call *cl, json_t *o) {
    struct members l = {cl, json_array()};
    struct err why;
    log_members(c->log, add_member, &l, &why);
    json_object_set_new(o, "store-member", l.list);
}

static const char *role_name(enum core_role role) {
    return role == CORE_LEADS ? "leads" : role == CORE_FOLLOWS ? "follows" : "starting-over";
}

static void show_cluster(struct core *c, struct call *cl) {
    static const char *const head[] = {"Node", "Role", "Version", "Started"};
    struct core_turn t;
    struct listing l = {.core = c, .cl = cl, .list = json_array()};
    json_t *o = json_object();
    core_turn(c, &t);
    json_object_set_new(o, "role", json_string(role_name(t.role)));
    json_object_set_new(o, "shared", json_boolean(t.shared));
    json_object_set_new(o, "node", l.list);
    if (!t.shared) {
        buf_str(&cl->text, "The store belongs to this controller alone.\n");
    } else {
        call_table(&cl->text, head, 4, widths);
        struct err why;
        if (core_nodes(c, add_node, &l, &why) != ERR_OK) {
            buf_printf(&cl->text, "The store that the nodes share does not answer: %s\n", why.text);
            json_object_set_new(o, "reason", json_string(why.text));
        } else {
            nodes_each_lost(c->nodes, add_lost, &l);
            buf_str(&cl->text, t.leader[0] == '\0' ? "Nobody leads at the moment.\n" : "");
        }
        if (t.leader[0] != '\0') {
            json_object_set_new(o, "leader", json_string(t.leader));
        }
        json_object_set_new(o, "fence", json_sprintf("%" PRIu64, t.fence));
        json_object_set_new(o, "stale-seconds", json_integer(t.stale_ns / NS_PER_S));
        if (t.stale_ns >= CORE_STALE_S * NS_PER_S) {
            buf_printf(&cl->text, "What this node shows is as of %" PRId64 " s ago.\n",
                       t.stale_ns / NS_PER_S);
        }
        show_members(c, cl, o);
    }
    call_answer_json(&cl->json, o);
}

/* ---- request system cluster switch, leave ------------------------------------------------------
 */

struct others {
    const char *wanted; /* NULL: any */
    size_t n;           /* that live, and are not this one */
    bool found, self, leads;
};

static void look_for(const struct core_node *n, void *arg) {
    struct others *o = arg;
    bool is = o->wanted != NULL && strcmp(n->name, o->wanted) == 0;
    o->n += !n->self;
    o->found |= is;
    o->self |= is && n->self;
    o->leads |= is && n->leads;
}

/* In the request's thread: is there anybody to lead? */
static enum err_code check_switch(struct core *c, const char *node, struct err *e) {
    struct core_turn t;
    struct others o = {.wanted = node};
    core_turn(c, &t);
    if (!t.shared) {
        return err_set(e, ERR_REFUSED, NULL, "the store belongs to this controller alone");
    }
    ERR_TRY(core_nodes(c, look_for, &o, e));
    if (node != NULL && !o.found) {
        return err_set(e, ERR_ABSENT, NULL, "there is no node %s (show system cluster)", node);
    }
    if (node != NULL && o.leads) {
        return err_set(e, ERR_REFUSED, NULL, "%s leads already", node);
    }
    return o.n > 0 ? ERR_OK
                   : err_set(e, ERR_REFUSED, NULL,
                             "no other node is there that could lead (show system cluster)");
}

static void give_away(void *arg, bool committed) {
    struct core *c = arg;
    struct err e;
    if (committed && role_of(c) == CORE_LEADS) {
        role_lost(c, "it gives the lead to another node, as it was told");
        log_lease_release(c->log, &c->lease, &e); /* else it ends by itself a little later */
    }
}

/* On the writer, which only comes here where this node leads. */
static enum err_code do_switch(struct txn *t, struct call *cl) {
    const struct system_cluster_switch_input *in = cl->in.data;
    if (in->node != NULL) {
        nodes_put_heir(t, in->node); /* the others read it before this one lets go */
    }
    struct core_turn turn;
    core_turn(t->core, &turn);
    txn_after(t, give_away, t->core);
    buf_printf(&cl->text, "%s takes the lead; %s follows.\n", /* who asks may sit at a third one */
               in->node != NULL ? in->node : "Another node",
               turn.leader[0] != '\0' ? turn.leader : "this one");
    return ERR_OK;
}

static enum err_code check_leave(struct core *c, const char *node, struct err *e) {
    struct others o = {.wanted = node};
    ERR_TRY(core_nodes(c, look_for, &o, e));
    return !o.found
               ? ERR_OK
               : err_set(e, ERR_IN_USE, NULL,
                         "%s is there; stop weftd on it, after you have moved gateways away from "
                         "it (request system cluster rebalance without %s)",
                         node, node);
}

/* ---- doors -------------------------------------------------------------------------------------
 */

bool system_cluster_slow_write(const struct node *rpc) {
    return rpc == system_cluster_switch_rpc || rpc == system_cluster_leave_rpc;
}

bool system_cluster_slow(const struct node *rpc) {
    return rpc == system_show_system_cluster_rpc || system_cluster_slow_write(rpc);
}

enum err_code system_cluster_prepare(struct system *sys, struct call *cl, struct err *e) {
    if (cl->in.rpc == system_cluster_switch_rpc) {
        return check_switch(sys->core, ((struct system_cluster_switch_input *)cl->in.data)->node,
                            e);
    }
    if (cl->in.rpc == system_cluster_leave_rpc) {
        return check_leave(sys->core, ((struct system_cluster_leave_input *)cl->in.data)->node, e);
    }
    cl->outside = true;
    show_cluster(sys->core, cl);
    return ERR_OK;
}

enum err_code system_cluster_call(struct system *sys, struct txn *t, struct call *cl,
                                  struct err *e) {
    if (cl->in.rpc == system_cluster_leave_rpc) {
        const struct system_cluster_leave_input *in = cl->in.data;
        ERR_TRY(nodes_forget(&sys->nodes, t, in->node, e));
        buf_printf(&cl->text, "%s is not looked for any more.\n", in->node);
        return ERR_OK;
    }
    return cl->in.rpc == system_cluster_switch_rpc ? do_switch(t, cl) : ERR_OK;
}
