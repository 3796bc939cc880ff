// SPDX-License-Identifier: Apache-2.0
/*
 * A virtual chassis is one device that has several serial numbers: its primary asks, and whoever is
 * the primary by then reports that all of it is done (PH-050 to PH-053). The records of the other
 * members, and with them their targets, follow from what the one says.
 *
 *     M is given a bundle with a topology: each other member is told of in its own record (chassis,
 *     asked-for-by, revision), so that it counts as having been given the same.
 *     M reports: it goes on with the run of whoever asked. Complete: so are the members; failed: so
 *     is who asked.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "onboard/internal.h"

typedef void member_fn(void *arg, const char *serial);

static const struct onboard_topology *topology_of(const struct snap *s, const char *name) {
    const struct object *o = name[0] != '\0' ? object_of(s, &onboard_topology_kind, name) : NULL;
    return o != NULL ? o->doc->data : NULL;
}

/* The configured devices of a chassis: those it lists, or else those that name it. */
static void each_member(const struct snap *s, const struct onboard_topology *t, member_fn *fn,
                        void *arg) {
    for (size_t i = 0; i < t->n_member; i++) {
        if (object_of(s, &onboard_device_kind, t->member[i].serial_number) != NULL) {
            fn(arg, t->member[i].serial_number);
        }
    }
    if (t->n_member > 0) {
        return;
    }
    for (const struct object *o = snap_first_of(s, &onboard_device_kind);
         o != NULL && o->doc->kind == &onboard_device_kind; o = snap_next(s, o)) {
        const struct onboard_device *d = o->doc->data;
        if (d->topology != NULL && strcmp(d->topology, t->name) == 0) {
            fn(arg, d->serial_number);
        }
    }
}

/* ---- given ----------------------------------------------------------------------------------- */

struct given_to {
    struct onboard *ob;
    struct txn *t;
    const struct plan *plan;
};

static void tell_of(void *arg, const char *serial) {
    const struct given_to *g = arg;
    const struct known *k = known_get(g->ob, serial);
    if (strcmp(serial, g->plan->serial) == 0 ||
        (k != NULL && k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE)) {
        return;
    }
    json_t *o = known_load(k);
    json_int_t revision = (json_int_t)snap_index(txn_snap(g->t));
    bool news = strcmp(known_text(o, "chassis"), g->plan->topology) != 0 ||
                strcmp(known_text(o, "asked-for-by"), g->plan->serial) != 0 ||
                json_integer_value(json_object_get(o, "revision")) != revision;
    if (!news) {
        json_decref(o);
        return;
    }
    if (json_object_get(o, "status") == NULL) {
        json_object_set_new(o, "status",
                            json_string(status_name(ONBOARD_ONBOARDING_STATUS_EXPECTED)));
    }
    json_object_set_new(o, "chassis", json_string(g->plan->topology));
    json_object_set_new(o, "asked-for-by", json_string(g->plan->serial));
    json_object_set_new(o, "revision", json_integer(revision));
    known_put(g->t, serial, o);
    char line[256];
    snprintf(line, sizeof line, "member of chassis %s, which %s is given a bundle for",
             g->plan->topology, g->plan->serial);
    known_log(g->ob, g->t, serial, "chassis", line);
}

void chassis_given(struct onboard *ob, struct txn *t, const struct plan *p, json_t *record) {
    const struct onboard_topology *topology = topology_of(txn_snap(t), p->topology);
    if (topology == NULL || p->bundle[0] == '\0' || p->to_self) {
        return;
    }
    json_object_set_new(record, "chassis", json_string(p->topology));
    json_object_del(record, "asked-for-by");
    struct given_to g = {.ob = ob, .t = t, .plan = p};
    each_member(txn_snap(t), topology, tell_of, &g);
}

/* ---- reported -------------------------------------------------------------------------------- */

struct report {
    struct onboard *ob;
    struct txn *t;
    const char *by; /* who says so */
    const struct onboard_topology *topology;
    const char *progress, *message;
    enum onboard_onboarding_status status; /* COMPLETE or FAILED */
};

static bool under_way(const struct known *k) {
    return k != NULL && (k->status == ONBOARD_ONBOARDING_STATUS_ANSWERED ||
                         k->status == ONBOARD_ONBOARDING_STATUS_UNDER_WAY ||
                         k->status == ONBOARD_ONBOARDING_STATUS_REBOOTING);
}

static void member_ended(void *arg, const char *serial) {
    const struct report *r = arg;
    const struct known *k = known_get(r->ob, serial);
    bool complete = r->status == ONBOARD_ONBOARDING_STATUS_COMPLETE;
    if (strcmp(serial, r->by) == 0 ||
        (k != NULL && k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE)) {
        return;
    }
    char line[SZTP_MESSAGE_MAX + 512];
    /* A strict chassis is complete only with all it lists; otherwise only with those heard of. */
    if (!under_way(k) && !(complete && r->topology->strict)) {
        if (complete) {
            snprintf(line, sizeof line,
                     "chassis %s is complete, and nothing was heard of this member",
                     r->topology->name);
            known_log(r->ob, r->t, serial, "chassis", line);
        }
        return;
    }
    snprintf(line, sizeof line, "%s reports for chassis %s: %s", r->by, r->topology->name,
             r->message);
    json_t *o = known_load(k);
    uint64_t given = k != NULL ? k->given : 0;
    json_object_set_new(o, "status", json_string(status_name(r->status)));
    json_object_set_new(o, "progress", json_string(r->progress));
    json_object_set_new(o, "message", json_string(line));
    if (!complete) {
        run_failed(o, line);
    }
    known_put(r->t, serial, o);
    known_log(r->ob, r->t, serial, r->progress, line);
    run_moved(r->ob, r->t, serial, r->progress, line);
    if (complete) {
        r->ob->completed++;
    } else {
        r->ob->failed++;
    }
    device_event(r->t, complete ? "weft-onboard:device-complete" : "weft-onboard:device-failed",
                 serial,
                 complete ? (const char *const[]){"message", line, NULL}
                          : (const char *const[]){"progress", r->progress, "message", line, NULL});
    target_reported(r->ob, r->t, serial, r->status, given, line);
}

/* The first word of a member that did not ask itself: it is the primary now. */
static void goes_on(struct onboard *ob, struct txn *t, const char *serial, const json_t *record) {
    const char *asker = known_text(record, "asked-for-by");
    char line[256];
    snprintf(line, sizeof line, "goes on with what %s was given for chassis %s", asker,
             known_text(record, "chassis"));
    known_log(ob, t, serial, "chassis", line);
    if (known_get(ob, asker) != NULL) {
        snprintf(line, sizeof line, "%s goes on for chassis %s", serial,
                 known_text(record, "chassis"));
        known_log(ob, t, asker, "chassis", line);
    }
}

void chassis_reported(struct onboard *ob, struct txn *t, const char *serial, const json_t *record,
                      enum onboard_onboarding_status status, const char *progress,
                      const char *message) {
    const struct known *k = known_get(ob, serial);
    const struct onboard_topology *topology =
        topology_of(txn_snap(t), known_text(record, "chassis"));
    if (topology == NULL) {
        return;
    }
    if (known_text(record, "asked-for-by")[0] != '\0' && !under_way(k)) {
        goes_on(ob, t, serial, record);
    }
    if (status == ONBOARD_ONBOARDING_STATUS_COMPLETE ||
        status == ONBOARD_ONBOARDING_STATUS_FAILED) {
        struct report r = {.ob = ob,
                           .t = t,
                           .by = serial,
                           .topology = topology,
                           .progress = progress,
                           .message = message,
                           .status = status};
        each_member(txn_snap(t), topology, member_ended, &r);
    }
}
