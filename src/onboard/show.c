// SPDX-License-Identifier: Apache-2.0
/* Shows, and the requests of operators. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "net/http.h"
#include "onboard/internal.h"

enum { LOOK_DEVICES_MAX = 100000 };

/* ---- one device as JSON ---------------------------------------------------------------------- */

static void set_time(json_t *o, const char *name, const json_t *s) {
    char text[TIME_TEXT_MAX];
    if (json_is_integer(s)) {
        json_object_set_new(o, name, json_string(time_format(json_integer_value(s), 0, text)));
    }
}

static void set_count(json_t *o, const char *name, const json_t *n) {
    if (json_is_integer(n)) {
        json_object_set_new(o, name, json_sprintf("%" PRIu64, (uint64_t)json_integer_value(n)));
    }
}

static enum onboard_onboarding_status status_of(const struct known *k,
                                                const struct onboard_device *d) {
    if (d != NULL && d->authorisation == ONBOARD_DEVICE_AUTHORISATION_BLOCKED) {
        return ONBOARD_ONBOARDING_STATUS_BLOCKED;
    }
    if (d != NULL && (k == NULL || k->json == NULL)) {
        return d->authorisation == ONBOARD_DEVICE_AUTHORISATION_PENDING
                   ? ONBOARD_ONBOARDING_STATUS_PENDING
                   : ONBOARD_ONBOARDING_STATUS_EXPECTED;
    }
    if (k != NULL &&
        (k->status == ONBOARD_ONBOARDING_STATUS_PENDING ||
         k->status == ONBOARD_ONBOARDING_STATUS_BLOCKED) &&
        d != NULL && d->authorisation == ONBOARD_DEVICE_AUTHORISATION_AUTHORISED) {
        return ONBOARD_ONBOARDING_STATUS_EXPECTED; /* authorised since it came */
    }
    return k != NULL ? k->status : ONBOARD_ONBOARDING_STATUS_EXPECTED;
}

/* Why it is where it is, for one that was not here since that changed; the record says it of the
 * others. */
static void explain(json_t *o, const struct snap *s, const struct known *k,
                    const struct onboard_device *d) {
    char text[ONBOARD_BECAUSE_MAX], because[ONBOARD_BECAUSE_MAX + 80];
    enum onboard_onboarding_status status = status_of(k, d);
    if (d == NULL || (k != NULL && k->json != NULL && k->status == status)) {
        return;
    }
    if (status == ONBOARD_ONBOARDING_STATUS_BLOCKED) {
        snprintf(because, sizeof because, "is blocked in the configuration: it gets nothing");
    } else if (status == ONBOARD_ONBOARDING_STATUS_PENDING) {
        snprintf(because, sizeof because, "was not here yet, and gets nothing until authorised");
    } else {
        struct sztp_get g = {.signed_preferred = false};
        known_as_get(k, &g);
        const struct onboard_device_type *type = type_of(s, d, g.hw_model);
        struct plan *p =
            plan_make((struct snap *)(uintptr_t)s, d, type, &g, PLAN_BUNDLE | PLAN_REDIRECT);
        explain_plan(d, type, &g, PLAN_BUNDLE | PLAN_REDIRECT, p, text);
        snprintf(because, sizeof because, "%s; when it comes: %s",
                 k != NULL && k->json != NULL ? "was authorised since it was here"
                                              : "was not here yet",
                 text);
        plan_free(p);
    }
    json_object_set_new(o, "because", json_string(because));
}

/* `s`: of which `d` is. */
static json_t *device_json(const char *serial, const struct snap *s, const struct known *k,
                           const struct onboard_device *d) {
    static const char *const texts[] = {"source",        "dialect",
                                        "hw-model",      "os-name",
                                        "os-version",    "signed-data-preferred",
                                        "nonce",         "authenticated-by",
                                        "certificate",   "rule",
                                        "answer",        "progress",
                                        "message",       "ssh-host-keys",
                                        "trust-anchors", "ldevid-certificate",
                                        "type",          "chassis",
                                        "asked-for-by",  "told-by",
                                        "member-id",     "role",
                                        "because"};
    json_t *r = known_load(k), *o = json_object();
    json_object_set_new(o, "serial-number", json_string(serial));
    json_object_set_new(o, "status", json_string(status_name(status_of(k, d))));
    json_object_set_new(o, "configured", json_boolean(d != NULL));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *v = json_object_get(r, texts[i]);
        if (v != NULL) {
            json_object_set(o, texts[i], v);
        }
    }
    if (d != NULL && d->type != NULL) {
        json_object_set_new(o, "type", json_string(d->type));
    }
    set_time(o, "since", json_object_get(r, "since"));
    set_time(o, "first-seen", json_object_get(r, "first"));
    set_time(o, "last-seen", json_object_get(r, "last"));
    set_count(o, "revision", json_object_get(r, "revision"));
    set_count(o, "requests", json_object_get(r, "requests"));
    explain(o, s, k, d);
    set_count(o, "job", json_object_get(r, "job"));
    json_decref(r);
    return o;
}

/* Serial numbers of all that are configured or known, sorted; each with mem_free. */
static char **all_serials(const struct onboard *ob, const struct snap *s, size_t *n) {
    size_t cap = ob->devices.count + 16;
    char **all = mem_array(NULL, cap, sizeof *all);
    *n = 0;
    for (const struct object *o = snap_first_of(s, &onboard_device_kind);
         o != NULL && o->doc->kind == &onboard_device_kind; o = snap_next(s, o)) {
        if (*n == cap) {
            cap *= 2;
            all = mem_array(all, cap, sizeof *all);
        }
        all[(*n)++] = mem_strdup(o->doc->keys[0]);
    }
    MAP_FOREACH (m, &ob->devices) {
        const struct known *k = m->value;
        if (k->json != NULL && object_of(s, &onboard_device_kind, k->serial) == NULL) {
            if (*n == cap) {
                cap *= 2;
                all = mem_array(all, cap, sizeof *all);
            }
            all[(*n)++] = mem_strdup(k->serial);
        }
    }
    return all;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const struct onboard_device *configured(const struct snap *s, const char *serial) {
    const struct object *o = object_of(s, &onboard_device_kind, serial);
    return o != NULL ? o->doc->data : NULL;
}

static const char *text_at(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "-";
}

/* `status` < 0: all. */
static json_t *devices_json(const struct onboard *ob, const struct snap *s, int status,
                            struct buf *text) {
    size_t n;
    char **all = all_serials(ob, s, &n);
    json_t *list = json_array();
    qsort(all, n, sizeof *all, by_text);
    for (size_t i = 0; i < n; i++) {
        const struct known *k = known_get(ob, all[i]);
        const struct onboard_device *d = configured(s, all[i]);
        if (status < 0 || (int)status_of(k, d) == status) {
            json_t *o = device_json(all[i], s, k, d);
            if (text != NULL && json_array_size(list) == 0) {
                buf_printf(text, "%-20s  %-10s  %-10s  %-16s  %-20s  %-20s  %s\n", "Serial number",
                           "Status", "Configured", "Model", "Last seen", "Answer", "Progress");
            }
            if (text != NULL) {
                buf_printf(text, "%-20s  %-10s  %-10s  %-16s  %-20s  %-20s  %s\n", all[i],
                           text_at(o, "status"), d != NULL ? "yes" : "no", text_at(o, "hw-model"),
                           text_at(o, "last-seen"), text_at(o, "answer"), text_at(o, "progress"));
            }
            json_array_append_new(list, o);
        }
        mem_free(all[i]);
    }
    mem_free(all);
    return list;
}

/* ---- the log of a device --------------------------------------------------------------------- */

static int by_number(const void *a, const void *b) {
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "n")),
               y = json_integer_value(json_object_get(*(json_t *const *)b, "n"));
    return x < y ? -1 : x > y;
}

/* Parses what is there and sorts it by number; returns how many. */
static size_t sorted(char *const *records, size_t n, json_t **out) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        json_t *o = records[i] != NULL ? json_loads(records[i], 0, NULL) : NULL;
        if (o != NULL) {
            out[count++] = o;
        }
    }
    qsort(out, count, sizeof *out, by_number);
    return count;
}

static json_t *log_json(const struct known *k, struct buf *text) {
    json_t *all[ONBOARD_LOG_KEPT], *list = json_array();
    size_t n = k != NULL ? sorted(k->log, ONBOARD_LOG_KEPT, all) : 0;
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        set_count(o, "number", json_object_get(all[i], "n"));
        set_time(o, "time", json_object_get(all[i], "time"));
        json_object_set(o, "event", json_object_get(all[i], "event"));
        json_object_set(o, "text", json_object_get(all[i], "text"));
        buf_printf(text, "%s  %-20s  %s\n", text_at(o, "time"), text_at(o, "event"),
                   text_at(o, "text"));
        json_array_append_new(list, o);
        json_decref(all[i]);
    }
    return list;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void finish(struct call *cl, json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT);
    buf_str(&cl->json, text);
    free(text); /* jansson's */
    json_decref(o);
}

static void show_devices(struct onboard *ob, struct txn *t, struct call *cl) {
    const struct onboard_show_onboard_devices_input *in = cl->in.data;
    int status = in->pending      ? (int)ONBOARD_ONBOARDING_STATUS_PENDING
                 : in->has_status ? (int)in->status
                                  : -1;
    json_t *o = json_object();
    json_object_set_new(o, "device", devices_json(ob, txn_snap(t), status, &cl->text));
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No devices.\n");
    }
    finish(cl, o);
}

static enum err_code unknown(struct err *e, const char *serial) {
    return err_set(e, ERR_ABSENT, "serial-number", "no device %s is configured or has been here",
                   serial);
}

static enum err_code show_device(struct onboard *ob, struct txn *t, struct call *cl,
                                 struct err *e) {
    const struct onboard_show_onboard_device_input *in = cl->in.data;
    const struct known *k = known_get(ob, in->serial_number);
    const struct onboard_device *d = configured(txn_snap(t), in->serial_number);
    if (d == NULL && (k == NULL || k->json == NULL)) {
        return unknown(e, in->serial_number);
    }
    json_t *o = json_object(), *device = device_json(in->serial_number, txn_snap(t), k, d), *v;
    const char *name;
    json_object_foreach(device, name, v) {
        if (json_is_string(v) && strchr(json_string_value(v), '\n') == NULL) {
            buf_printf(&cl->text, "%-22s %s\n", name, json_string_value(v));
        } else if (json_is_boolean(v)) {
            buf_printf(&cl->text, "%-22s %s\n", name, json_is_true(v) ? "yes" : "no");
        }
    }
    buf_char(&cl->text, '\n');
    json_object_set_new(o, "device", json_pack("[o]", device));
    json_object_set_new(o, "log", log_json(k, &cl->text));
    finish(cl, o);
    return ERR_OK;
}

struct chassis_view { /* one that is being shown */
    const struct onboard *ob;
    const struct snap *snap;
    const struct onboard_topology *topology;
    json_t *members;
    struct buf *text;
};

static const char *listed_role(const struct onboard_topology *t, const char *serial, int *id) {
    static const char *const roles[] = {[ONBOARD_TOPOLOGY_MEMBER_ROLE_PRIMARY] = "master",
                                        [ONBOARD_TOPOLOGY_MEMBER_ROLE_BACKUP] = "backup",
                                        [ONBOARD_TOPOLOGY_MEMBER_ROLE_LINECARD] = "linecard"};
    for (size_t i = 0; i < t->n_member; i++) {
        if (strcmp(t->member[i].serial_number, serial) == 0) {
            *id = t->member[i].has_id ? t->member[i].id : -1;
            return t->member[i].has_role ? roles[t->member[i].role] : NULL;
        }
    }
    return NULL;
}

static void show_member(void *arg, const char *serial) {
    const struct chassis_view *v = arg;
    const struct known *k = known_get(v->ob, serial);
    const struct onboard_device *d = configured(v->snap, serial);
    json_t *r = known_load(k), *o = json_object();
    static const char *const as_they_are[] = {"asked-for-by", "told-by", "message"};
    char number[12] = "-";
    int id = -1;
    const char *role = listed_role(v->topology, serial, &id);
    /* What is recorded of another chassis is not shown with this one. */
    bool of_this = strcmp(known_text(r, "chassis"), v->topology->name) == 0;
    json_object_set_new(o, "serial-number", json_string(serial));
    if (of_this && json_is_integer(json_object_get(r, "member-id"))) {
        id = (int)json_integer_value(json_object_get(r, "member-id"));
    }
    if (of_this && known_text(r, "role")[0] != '\0') {
        role = known_text(r, "role");
    }
    if (id >= 0) {
        json_object_set_new(o, "member-id", json_integer(id));
        snprintf(number, sizeof number, "%d", id);
    }
    if (role != NULL) {
        json_object_set_new(o, "role", json_string(role));
    }
    json_object_set_new(o, "configured", json_boolean(d != NULL));
    json_object_set_new(o, "status", json_string(status_name(status_of(k, d))));
    set_time(o, "since", json_object_get(r, "since"));
    if (of_this) {
        json_object_set_new(o, "asked-for-by", json_string(serial)); /* unless another did */
    }
    for (size_t i = 0; of_this && i < sizeof as_they_are / sizeof as_they_are[0]; i++) {
        json_t *x = json_object_get(r, as_they_are[i]);
        if (x != NULL) {
            json_object_set(o, as_they_are[i], x);
        }
    }
    buf_printf(v->text, "  %-6s  %-20s  %-8s  %-10s  %-20s  %-20s  %s\n", number, serial,
               text_at(o, "role"), d != NULL ? text_at(o, "status") : "unknown",
               text_at(o, "since"), text_at(o, "asked-for-by"), text_at(o, "message"));
    json_array_append_new(v->members, o);
    json_decref(r);
}

static json_t *chassis_json(const struct onboard *ob, const struct snap *s,
                            const struct onboard_topology *t, struct buf *text) {
    struct chassis_view v = {
        .ob = ob, .snap = s, .topology = t, .members = json_array(), .text = text};
    buf_printf(text, "Chassis %s%s\n  %-6s  %-20s  %-8s  %-10s  %-20s  %-20s  %s\n", t->name,
               t->strict ? ", strict" : "", "Member", "Serial number", "Role", "Status", "Since",
               "Asked for by", "Last message");
    chassis_members(s, t, true, show_member, &v);
    return json_pack("{s:s, s:b, s:o}", "name", t->name, "strict", t->strict, "member", v.members);
}

static enum err_code show_chassis(struct onboard *ob, struct txn *t, struct call *cl,
                                  struct err *e) {
    const struct onboard_show_onboard_chassis_input *in = cl->in.data;
    const struct snap *s = txn_snap(t);
    json_t *list = json_array();
    for (const struct object *o = snap_first_of(s, &onboard_topology_kind);
         o != NULL && o->doc->kind == &onboard_topology_kind; o = snap_next(s, o)) {
        const struct onboard_topology *topology = o->doc->data;
        if (in->name == NULL || strcmp(in->name, topology->name) == 0) {
            json_array_append_new(list, chassis_json(ob, s, topology, &cl->text));
        }
    }
    if (json_array_size(list) == 0 && in->name != NULL) {
        json_decref(list);
        return err_set(e, ERR_ABSENT, "name", "there is no topology %s", in->name);
    }
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No chassis.\n");
    }
    finish(cl, json_pack("{s:o}", "chassis", list));
    return ERR_OK;
}

static void show_listeners(struct call *cl) {
    json_t *o = json_object(), *list = json_array(), *l;
    size_t i;
    onboard_listeners_json(list);
    json_array_foreach(list, i, l) {
        if (i == 0) {
            buf_printf(&cl->text, "%-16s  %-8s  %-24s  %5s  %11s  %10s  %s\n", "Listener", "State",
                       "Address", "Port", "Connections", "Requests", "Reason");
        }
        buf_printf(&cl->text, "%-16s  %-8s  %-24s  %5" JSON_INTEGER_FORMAT "  %11s  %10s  %s\n",
                   text_at(l, "name"), text_at(l, "state"), text_at(l, "address"),
                   json_integer_value(json_object_get(l, "port")), text_at(l, "connections"),
                   text_at(l, "requests"),
                   json_object_get(l, "reason") != NULL ? text_at(l, "reason") : "");
    }
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No listeners.\n");
    }
    json_object_set_new(o, "listener", list);
    finish(cl, o);
}

static void show_requests(struct onboard *ob, struct call *cl) {
    const struct onboard_show_onboard_requests_input *in = cl->in.data;
    json_t *list = json_array(), *o = json_object();
    uint64_t from = ob->next_request > in->last ? ob->next_request - in->last : 0;
    for (uint64_t i = from; i < ob->next_request; i++) {
        const char *text = ob->requests[i % ONBOARD_REQUESTS_KEPT];
        json_t *r = text != NULL ? json_loads(text, 0, NULL) : NULL;
        if (r == NULL || (uint64_t)json_integer_value(json_object_get(r, "n")) != i) {
            json_decref(r);
            continue;
        }
        json_t *q = json_object();
        set_count(q, "number", json_object_get(r, "n"));
        set_time(q, "time", json_object_get(r, "time"));
        json_object_set(q, "source", json_object_get(r, "source"));
        json_object_set(q, "method", json_object_get(r, "method"));
        json_object_set(q, "path", json_object_get(r, "path"));
        char status[8] = "-"; /* TLS has none */
        if (json_integer_value(json_object_get(r, "status")) != 0) {
            json_object_set(q, "status", json_object_get(r, "status"));
            snprintf(status, sizeof status, "%d",
                     (int)json_integer_value(json_object_get(r, "status")));
        }
        json_object_set(q, "serial-number", json_object_get(r, "serial"));
        json_object_set(q, "outcome", json_object_get(r, "outcome"));
        buf_printf(&cl->text, "%s  %-22s  %-4s  %3s  %-20s  %s\n", text_at(q, "time"),
                   text_at(q, "source"), text_at(q, "method"), status, text_at(q, "serial-number"),
                   text_at(q, "outcome"));
        json_array_append_new(list, q);
        json_decref(r);
    }
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No requests.\n");
    }
    json_object_set_new(o, "request", list);
    finish(cl, o);
}

/* ---- requests of operators ------------------------------------------------------------------- */

static enum err_code put_device(struct txn *t, const char *serial, const char *authorisation,
                                const char *type, struct err *e) {
    const struct object *old = object_of(txn_snap(t), &onboard_device_kind, serial);
    json_t *o = old != NULL ? json_loadb(old->doc->json, old->doc->json_len, 0, NULL)
                            : json_pack("{s:s}", "serial-number", serial);
    json_object_set_new(o, "authorisation", json_string(authorisation));
    if (type != NULL) {
        json_object_set_new(o, "type", json_string(type));
    }
    char *json = json_dumps(o, JSON_COMPACT);
    struct doc *doc;
    enum err_code rc =
        doc_parse(core_model(txn_core(t)), &onboard_device_kind, json, strlen(json), &doc, e);
    free(json); /* jansson's */
    json_decref(o);
    if (rc == ERR_OK) {
        rc = txn_put_object(t, doc, old != NULL ? old->owner : NULL, e);
    }
    doc_drop(doc);
    return rc;
}

static enum err_code authorise(struct onboard *ob, struct txn *t, struct call *cl, struct err *e) {
    const struct onboard_onboard_authorise_input *in = cl->in.data;
    const char *serial = in->serial_number;
    const struct known *k = known_get(ob, serial);
    if (configured(txn_snap(t), serial) == NULL && (k == NULL || k->json == NULL)) {
        return unknown(e, serial);
    }
    ERR_TRY(put_device(t, serial, "authorised", in->type, e));
    known_log(ob, t, serial, "authorised", txn_actor(t)->user);
    buf_printf(&cl->text, "%s is authorised.\n", serial);
    return ERR_OK;
}

static enum err_code block(struct onboard *ob, struct txn *t, struct call *cl, struct err *e) {
    const struct onboard_onboard_block_input *in = cl->in.data;
    ERR_TRY(put_device(t, in->serial_number, "blocked", NULL, e));
    known_log(ob, t, in->serial_number, "blocked", txn_actor(t)->user);
    buf_printf(&cl->text, "%s is blocked.\n", in->serial_number);
    return ERR_OK;
}

static enum err_code forget(struct onboard *ob, struct txn *t, struct call *cl, struct err *e) {
    const struct onboard_onboard_forget_input *in = cl->in.data;
    const struct known *k = known_get(ob, in->serial_number);
    if (k == NULL || k->json == NULL) {
        return err_set(e, ERR_ABSENT, "serial-number", "device %s has not been here",
                       in->serial_number);
    }
    known_delete(ob, t, in->serial_number);
    buf_printf(&cl->text, "What %s did is forgotten.\n", in->serial_number);
    return ERR_OK;
}

/* ---- preview: the plan on the writer, the document in prepare() -------------------------------
 */

bool onboard_slow(const struct node *rpc) {
    return rpc == onboard_onboard_preview_rpc;
}

struct preview {
    struct onboard *ob;
    const struct onboard_onboard_preview_input *in;
    struct plan *plan;
    char because[ONBOARD_BECAUSE_MAX];
    char listener[64], address[SZTP_NAME_MAX + 1]; /* where it would ask; "" none */
    uint16_t port;
    unsigned listeners; /* where it could */
    bool ldevid;        /* its type has a certificate for it */
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
    struct err err;
    enum err_code rc;
};

static bool serves(const struct onboard_listener *l, enum onboard_listener_role role) {
    for (size_t i = 0; i < l->n_role; i++) {
        if (l->role[i] == role) {
            return true;
        }
    }
    return false;
}

/* Where it would ask for that: best at a listener that says how it is reached, and has the images.
 */
static void preview_listener(struct preview *pv, const struct snap *s) {
    bool redirect = pv->plan != NULL && pv->plan->redirect_list[0] != '\0';
    int best = -1;
    snprintf(pv->address, sizeof pv->address, "localhost");
    pv->port = 443;
    for (const struct object *o = snap_first_of(s, &onboard_listener_kind);
         o != NULL && o->doc->kind == &onboard_listener_kind; o = snap_next(s, o)) {
        const struct onboard_listener *l = o->doc->data;
        char text[IP_TEXT_MAX];
        if (l->disabled || !serves(l, redirect ? ONBOARD_LISTENER_ROLE_REDIRECT
                                               : ONBOARD_LISTENER_ROLE_BOOTSTRAP)) {
            continue;
        }
        static const struct ip_addr any4 = {.family = 4}, any6 = {.family = 6};
        bool one = ip_addr_cmp(&l->address, &any4) != 0 && ip_addr_cmp(&l->address, &any6) != 0;
        int good =
            4 * (l->public_address != NULL) + 2 * one + serves(l, ONBOARD_LISTENER_ROLE_IMAGES);
        pv->listeners++;
        if (good > best) {
            best = good;
            snprintf(pv->listener, sizeof pv->listener, "%s", l->name);
            snprintf(pv->address, sizeof pv->address, "%s",
                     l->public_address != NULL ? l->public_address
                     : one                     ? ip_addr_format(&l->address, text)
                                               : "localhost");
            pv->port = l->port;
        }
    }
}

static enum err_code preview_plan(struct txn *t, void *arg, struct err *e) {
    struct preview *pv = arg;
    const struct onboard_onboard_preview_input *in = pv->in;
    struct sztp_get g = {.signed_preferred = false};
    const struct known *k = known_get(pv->ob, in->serial_number);
    const struct onboard_device *d = configured(txn_snap(t), in->serial_number);
    if (d == NULL) {
        return err_set(e, ERR_ABSENT, "serial-number", "device %s is not configured",
                       in->serial_number);
    }
    known_as_get(k, &g);
    g.signed_preferred = in->signed_data_preferred;
    if (in->hw_model != NULL) {
        snprintf(g.hw_model, sizeof g.hw_model, "%s", in->hw_model);
    }
    if (in->os_name != NULL) {
        snprintf(g.os_name, sizeof g.os_name, "%s", in->os_name);
    }
    if (in->os_version != NULL) {
        snprintf(g.os_version, sizeof g.os_version, "%s", in->os_version);
    }
    const struct onboard_device_type *type = type_of(txn_snap(t), d, g.hw_model);
    const unsigned gives = PLAN_BUNDLE | PLAN_REDIRECT;
    pv->plan = plan_make((struct snap *)(uintptr_t)txn_snap(t), d, type, &g, gives);
    explain_plan(d, type, &g, gives, pv->plan, pv->because);
    preview_listener(pv, txn_snap(t));
    pv->ldevid = type != NULL && type->certificate_request;
    return ERR_OK;
}

static void preview_done(void *arg, uint64_t index, const struct err *e) {
    struct preview *pv = arg;
    (void)index;
    pthread_mutex_lock(&pv->lock);
    pv->rc = e != NULL ? e->code : ERR_OK;
    if (e != NULL) {
        pv->err = *e;
    }
    pv->done = true;
    pthread_cond_signal(&pv->done_cond);
    pthread_mutex_unlock(&pv->lock);
}

static void preview_where(const struct preview *pv, struct buf *text) {
    if (pv->listener[0] == '\0') {
        buf_str(text, "No listener serves it; addresses are shown as localhost.\n");
        return;
    }
    buf_printf(text, "Asked at listener %s: %s port %u", pv->listener, pv->address, pv->port);
    if (pv->listeners > 1) {
        buf_printf(text, "; at the other %u with that role addresses are theirs",
                   pv->listeners - 1);
    }
    buf_char(text, '\n');
}

static enum err_code preview_print(const struct preview *pv, struct call *cl, struct err *e) {
    const struct plan *p = pv->plan;
    static const struct buf none = BUF_INIT;
    struct given g = {.signer = NULL};
    json_t *o = json_object();
    char what[ONBOARD_WHAT_MAX];
    json_object_set_new(o, "because", json_string(pv->because));
    if (p == NULL || (p->bundle[0] == '\0' && p->redirect_list[0] == '\0')) {
        buf_printf(&cl->text, "Rule %s: nothing yet.\nBecause: %s\n", p != NULL ? p->rule : "none",
                   pv->because);
        json_object_set_new(o, "rule", json_string(p != NULL ? p->rule : ""));
        json_object_set_new(o, "answer", json_string("nothing yet"));
        finish(cl, o);
        return ERR_OK;
    }
    struct plan copy = *p;
    copy.certificate_days = 0; /* nothing is signed for a look */
    copy.previews_ldevid = pv->ldevid;
    enum err_code rc = answer_make(&copy, pv->address, pv->port, &none, &g, e);
    if (rc == ERR_OK) {
        struct buf doc = BUF_INIT;
        plan_what(p, p->sign, what);
        conveyed_print(&g.info, SZTP_JSON, &sztp_profile_default, &doc);
        json_object_set_new(o, "rule", json_string(p->rule));
        json_object_set_new(o, "answer", json_string(what));
        json_object_set_new(o, "conveyed-information", json_string(buf_cstr(&doc)));
        json_object_set_new(o, "listener", json_string(pv->listener));
        buf_printf(&cl->text, "Rule %s: %s\nBecause: %s\n", p->rule, what, pv->because);
        preview_where(pv, &cl->text);
        buf_printf(&cl->text, "\n%s\n", buf_cstr(&doc));
        if (g.info.has_config) {
            buf_str(&cl->text, "\nConfiguration:\n");
            buf_add(&cl->text, g.info.config.data, g.info.config.len);
            buf_char(&cl->text, '\n');
        }
        buf_free(&doc);
        finish(cl, o);
    } else {
        struct err why = *e; /* its path names no place of this request */
        rc = err_set(e, rc, NULL, "what rule %.100s gives can't be made: %.300s%s%.400s", p->rule,
                     why.path, why.path[0] != '\0' ? ": " : "", why.text);
        json_decref(o);
    }
    given_free(&g);
    return rc;
}

enum err_code onboard_prepare(void *self, struct call *cl, struct err *e) {
    struct preview pv = {.ob = self, .in = cl->in.data};
    pthread_mutex_init(&pv.lock, NULL);
    pthread_cond_init(&pv.done_cond, NULL);
    core_run_look(pv.ob->core, &cl->who, preview_plan, preview_done, &pv);
    pthread_mutex_lock(&pv.lock);
    while (!pv.done) {
        pthread_cond_wait(&pv.done_cond, &pv.lock);
    }
    pthread_mutex_unlock(&pv.lock);
    pthread_cond_destroy(&pv.done_cond);
    pthread_mutex_destroy(&pv.lock);
    if (pv.rc != ERR_OK) {
        *e = pv.err;
        return pv.rc;
    }
    enum err_code rc = preview_print(&pv, cl, e);
    plan_free(pv.plan);
    return rc;
}

/* ---- the doors ------------------------------------------------------------------------------- */

enum err_code onboard_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    struct onboard *ob = self;
    const struct node *rpc = cl->in.rpc;
    if (rpc == onboard_show_onboard_devices_rpc) {
        show_devices(ob, t, cl);
    } else if (rpc == onboard_show_onboard_device_rpc) {
        return show_device(ob, t, cl, e);
    } else if (rpc == onboard_show_onboard_chassis_rpc) {
        return show_chassis(ob, t, cl, e);
    } else if (rpc == onboard_show_onboard_listeners_rpc) {
        show_listeners(cl);
    } else if (rpc == onboard_show_onboard_requests_rpc) {
        show_requests(ob, cl);
    } else if (rpc == onboard_onboard_authorise_rpc) {
        return authorise(ob, t, cl, e);
    } else if (rpc == onboard_onboard_block_rpc) {
        return block(ob, t, cl, e);
    } else if (rpc == onboard_onboard_forget_rpc) {
        return forget(ob, t, cl, e);
    }
    return ERR_OK; /* the preview was made in prepare() */
}

static void look_answer(struct look *l, json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
    buf_str(&l->json, text);
    free(text); /* jansson's */
    json_decref(o);
}

enum err_code onboard_look(void *self, struct txn *t, struct look *l, struct err *e) {
    static const char base[] = "/weft-onboard:onboard/state";
    struct onboard *ob = self;
    if (strncmp(l->path, base, strlen(base)) != 0) {
        return err_set(e, ERR_ABSENT, l->path, "There is no such state.");
    }
    const char *rest = l->path + strlen(base), *equals = strchr(rest, '=');
    char serial[CMS_SERIAL_MAX * 3 + 1];
    if (equals != NULL && strncmp(rest, "/device=", 8) == 0 && strlen(equals) <= sizeof serial &&
        http_pct_decode(equals + 1, strlen(equals + 1), serial)) {
        const struct known *k = known_get(ob, serial);
        const struct onboard_device *d = configured(txn_snap(t), serial);
        if (d == NULL && (k == NULL || k->json == NULL)) {
            return err_set(e, ERR_ABSENT, l->path, "There is no such device.");
        }
        look_answer(l, device_json(serial, txn_snap(t), k, d));
        return ERR_OK;
    }
    json_t *listeners = json_array();
    onboard_listeners_json(listeners);
    if (strcmp(rest, "/device") == 0) {
        look_answer(l, devices_json(ob, txn_snap(t), -1, NULL));
    } else if (strcmp(rest, "/listener") == 0) {
        look_answer(l, json_incref(listeners));
    } else if (rest[0] == '\0') {
        look_answer(l, json_pack("{s:o, s:O}", "device", devices_json(ob, txn_snap(t), -1, NULL),
                                 "listener", listeners));
    } else {
        json_decref(listeners);
        return err_set(e, ERR_ABSENT, l->path, "There is no such state.");
    }
    json_decref(listeners);
    return ERR_OK;
}

/* Serial numbers for completion. */
void onboard_values(void *self, struct txn *t, struct values *v) {
    struct onboard *ob = self;
    size_t n;
    if (strcmp(v->leaf->name, "serial-number") != 0) {
        return;
    }
    char **all = all_serials(ob, txn_snap(t), &n);
    qsort(all, n, sizeof *all, by_text);
    for (size_t i = 0; i < n; i++) {
        const struct known *k = known_get(ob, all[i]);
        const struct onboard_device *d = configured(txn_snap(t), all[i]);
        if (i < 1000) {
            buf_printf(&v->out, "%s\t%s\n", all[i], status_name(status_of(k, d)));
        }
        mem_free(all[i]);
    }
    mem_free(all);
}

void onboard_metrics(void *self, struct buf *out) {
    const struct onboard *ob = self;
    const struct {
        const char *name, *help;
        uint64_t value;
    } counters[] = {{"answered", "Bundles given.", ob->answered},
                    {"redirected", "Devices sent to other servers.", ob->redirected},
                    {"waited", "Devices for which there was nothing.", ob->waited},
                    {"refused", "Requests of strangers.", ob->refused},
                    {"reports", "Progress reports.", ob->reports},
                    {"completed", "Devices that reported that all is done.", ob->completed},
                    {"failed", "Devices that reported an error.", ob->failed}};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        buf_printf(out,
                   "# HELP weft_onboard_%s_total %s\n# TYPE weft_onboard_%s_total counter\n"
                   "weft_onboard_%s_total %" PRIu64 "\n",
                   counters[i].name, counters[i].help, counters[i].name, counters[i].name,
                   counters[i].value);
    }
    buf_printf(out,
               "# HELP weft_onboard_strangers Devices that wait and are not configured.\n"
               "# TYPE weft_onboard_strangers gauge\nweft_onboard_strangers %zu\n",
               ob->n_strangers);
}
