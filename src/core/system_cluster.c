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

static void find_leader(const struct log_node *n, void *arg) {
    struct core_leader *out = arg;
    if (n->leads) {
        json_t *about = json_loadb((const char *)n->about, n->about_len, 0, NULL);
        const char *relay = json_string_value(json_object_get(about, "relay"));
        snprintf(out->node, sizeof out->node, "%s", n->name);
        snprintf(out->relay, sizeof out->relay, "%s", relay != NULL ? relay : "");
        json_decref(about);
    }
}

enum err_code core_find_leader(struct core *c, struct core_leader *out, struct err *e) {
    *out = (struct core_leader){.node = ""};
    return log_nodes(c->log, find_leader, out, e);
}

struct listing {
    struct call *cl;
    json_t *list;
};

static const char *said(const json_t *about, const char *name) {
    const char *text = json_string_value(json_object_get(about, name));
    return text != NULL ? text : "";
}

static void add_node(const struct log_node *n, void *arg) {
    struct listing *l = arg;
    json_t *about = json_loadb((const char *)n->about, n->about_len, 0, NULL), *o = json_object();
    char name[LOG_NODE_MAX + 16];
    json_object_set_new(o, "name", json_string(n->name));
    json_object_set_new(o, "role", json_string(n->leads ? "leads" : "follows"));
    json_object_set_new(o, "this-node", json_boolean(n->self));
    if (said(about, "version")[0] != '\0') {
        json_object_set_new(o, "version", json_string(said(about, "version")));
    }
    if (said(about, "started")[0] != '\0') {
        json_object_set_new(o, "started", json_string(said(about, "started")));
    }
    json_array_append_new(l->list, o);
    snprintf(name, sizeof name, "%s%s", n->name, n->self ? " (this)" : "");
    const char *cells[] = {name, n->leads ? "leads" : "follows", said(about, "version"),
                           said(about, "started")};
    call_table(&l->cl->text, cells, 4, widths);
    json_decref(about);
}

static const char *role_name(enum core_role role) {
    return role == CORE_LEADS ? "leads" : role == CORE_FOLLOWS ? "follows" : "starting-over";
}

static void show_cluster(struct core *c, struct call *cl) {
    static const char *const head[] = {"Node", "Role", "Version", "Started"};
    struct core_turn t;
    struct listing l = {.cl = cl, .list = json_array()};
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
        if (log_nodes(c->log, add_node, &l, &why) != ERR_OK) {
            buf_printf(&cl->text, "The store that the nodes share does not answer: %s\n", why.text);
            json_object_set_new(o, "reason", json_string(why.text));
        } else if (t.leader[0] == '\0') {
            buf_str(&cl->text, "Nobody leads at the moment.\n");
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
    }
    call_answer_json(&cl->json, o);
}

/* ---- request system cluster switch -------------------------------------------------------------
 */

static void count_others(const struct log_node *n, void *arg) {
    *(size_t *)arg += !n->self;
}

/* In the request's thread: is there anybody to lead? */
static enum err_code check_switch(struct core *c, struct err *e) {
    struct core_turn t;
    size_t others = 0;
    core_turn(c, &t);
    if (!t.shared) {
        return err_set(e, ERR_REFUSED, NULL, "the store belongs to this controller alone");
    }
    ERR_TRY(log_nodes(c->log, count_others, &others, e));
    return others > 0 ? ERR_OK
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
static void do_switch(struct txn *t, struct call *cl) {
    txn_after(t, give_away, t->core);
    buf_str(&cl->text, "Another node takes the lead; this one follows.\n");
}

/* ---- doors -------------------------------------------------------------------------------------
 */

bool system_cluster_slow(const struct node *rpc) {
    return rpc == system_show_system_cluster_rpc || rpc == system_cluster_switch_rpc;
}

enum err_code system_cluster_prepare(struct system *sys, struct call *cl, struct err *e) {
    bool shows = cl->in.rpc == system_show_system_cluster_rpc;
    cl->outside = shows;
    if (!shows) {
        return check_switch(sys->core, e);
    }
    show_cluster(sys->core, cl);
    return ERR_OK;
}

void system_cluster_call(struct txn *t, struct call *cl) {
    if (cl->in.rpc == system_cluster_switch_rpc) {
        do_switch(t, cl);
    }
}
