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
 *     M reports about L, a member that says nothing itself (PH-081): L is under way, or has failed.
 *
 * Records: "chassis", "asked-for-by", "told-by" (who reported about it last; none: itself),
 * "member-id" and "role" (as reported).
 */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "onboard/internal.h"

LOGGER_MODULE(onboard_chassis);

static const struct onboard_topology *topology_of(const struct snap *s, const char *name) {
    const struct object *o = name[0] != '\0' ? object_of(s, &onboard_topology_kind, name) : NULL;
    return o != NULL ? o->doc->data : NULL;
}

static bool lists(const struct onboard_topology *t, const char *serial) {
    for (size_t i = 0; i < t->n_member; i++) {
        if (strcmp(t->member[i].serial_number, serial) == 0) {
            return true;
        }
    }
    return false;
}

/* In default mode members that are not listed belong to it as well (PH-035). */
static bool lists_all(const struct onboard_topology *t) {
    return t->strict && t->n_member > 0;
}

static bool names(const struct onboard_device *d, const struct onboard_topology *t) {
    return d->topology != NULL && strcmp(d->topology, t->name) == 0;
}

static bool is_member(const struct snap *s, const struct onboard_topology *t, const char *serial) {
    const struct object *o = object_of(s, &onboard_device_kind, serial);
    return o != NULL && (lists(t, serial) || (!lists_all(t) && names(o->doc->data, t)));
}

void chassis_members(const struct snap *s, const struct onboard_topology *t, bool all,
                     chassis_member *fn, void *arg) {
    for (size_t i = 0; i < t->n_member; i++) {
        if (all || object_of(s, &onboard_device_kind, t->member[i].serial_number) != NULL) {
            fn(arg, t->member[i].serial_number);
        }
    }
    if (lists_all(t)) {
        return;
    }
    for (const struct object *o = snap_first_of(s, &onboard_device_kind);
         o != NULL && o->doc->kind == &onboard_device_kind; o = snap_next(s, o)) {
        const struct onboard_device *d = o->doc->data;
        if (names(d, t) && !lists(t, d->serial_number)) {
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
    if (json_object_get(o, "status") == NULL || !k->open) { /* what was heard was of another run */
        known_set_status(g->t, o, ONBOARD_ONBOARDING_STATUS_EXPECTED);
        json_object_del(o, "progress");
        json_object_del(o, "message");
        json_object_del(o, "told-by");
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
    if (p->bundle[0] == '\0' || p->to_self) {
        return;
    }
    json_object_del(record, "told-by");
    if (topology == NULL) { /* it is not, or no longer, to be one */
        json_object_del(record, "chassis");
        json_object_del(record, "asked-for-by");
        return;
    }
    json_object_set_new(record, "chassis", json_string(p->topology));
    json_object_del(record, "asked-for-by");
    struct given_to g = {.ob = ob, .t = t, .plan = p};
    chassis_members(txn_snap(t), topology, false, tell_of, &g);
}

/* ---- reported ------------------------------------------------------------------------------- */

struct report {
    struct onboard *ob;
    struct txn *t;
    const char *by; /* who says so, or whose run is over */
    const struct onboard_topology *topology;
    const char *progress, *line;           /* what the other members' logs say */
    enum onboard_onboarding_status status; /* COMPLETE or FAILED */
    bool given_up;                         /* nobody reported that: here it was not waited for */
};

static bool under_way(const struct known *k) {
    return k != NULL && (k->status == ONBOARD_ONBOARDING_STATUS_ANSWERED ||
                         k->status == ONBOARD_ONBOARDING_STATUS_UNDER_WAY ||
                         k->status == ONBOARD_ONBOARDING_STATUS_REBOOTING);
}

/* It failed here, not there: what is heard of it after all is true. */
static bool given_up(const struct known *k) {
    json_t *o = known_load(k);
    bool is = json_is_true(json_object_get(o, "given-up"));
    json_decref(o);
    return is;
}

/* What a report makes of a member that did not send it: recorded, and its run and target told. */
static void member_is(struct onboard *ob, struct txn *t, const char *serial, json_t *record,
                      enum onboard_onboarding_status status, bool by_us, const char *progress,
                      const char *line) {
    const struct known *k = known_get(ob, serial);
    uint64_t given = (uint64_t)json_integer_value(json_object_get(record, "revision"));
    bool fails = status == ONBOARD_ONBOARDING_STATUS_FAILED;
    bool complete = status == ONBOARD_ONBOARDING_STATUS_COMPLETE;
    ob->completed += complete;
    ob->failed += fails && (k == NULL || k->status != status);
    known_set_status(t, record, status);
    if (by_us) {
        json_object_set_new(record, "given-up", json_true());
    }
    json_object_set_new(record, "progress", json_string(progress));
    json_object_set_new(record, "message", json_string(line));
    known_put(t, serial, record);
    known_log(ob, t, serial, progress, line);
    run_moved(ob, t, serial, progress, line);
    device_event(t,
                 complete ? "weft-onboard:device-complete"
                 : fails  ? "weft-onboard:device-failed"
                          : "weft-onboard:device-progress",
                 serial,
                 complete ? (const char *const[]){"message", line, NULL}
                          : (const char *const[]){"progress", progress, "message", line, NULL});
    target_reported(ob, t, serial, status, given, line);
}

/* It is not under way, and the chassis has ended. */
static void left_behind(const struct report *r, const char *serial, const struct known *k) {
    bool failed = k != NULL && k->status == ONBOARD_ONBOARDING_STATUS_FAILED;
    char line[SZTP_MESSAGE_MAX + 512];
    if (failed && k->open) { /* its run was that of the chassis */
        json_t *o = known_load(k);
        run_failed(o, known_text(o, "message"));
        known_put(r->t, serial, o);
        run_moved(r->ob, r->t, serial, r->progress, r->line);
    }
    if (r->status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        snprintf(line, sizeof line, "chassis %s is complete, and %s", r->topology->name,
                 failed ? "this member has failed" : "nothing was heard of this member");
        known_log(r->ob, r->t, serial, "chassis", line);
    }
}

static void member_ended(void *arg, const char *serial) {
    const struct report *r = arg;
    const struct known *k = known_get(r->ob, serial);
    bool complete = r->status == ONBOARD_ONBOARDING_STATUS_COMPLETE;
    if (strcmp(serial, r->by) == 0 ||
        (k != NULL && k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE)) {
        return;
    }
    /* A strict chassis is complete only with all it lists; otherwise only with those heard of. */
    if (!under_way(k) && !(complete && (r->topology->strict || given_up(k)))) {
        left_behind(r, serial, k);
        return;
    }
    json_t *o = known_load(k);
    if (!complete) {
        run_failed(o, r->line);
    }
    member_is(r->ob, r->t, serial, o, r->status, r->given_up, r->progress, r->line);
}

static void all_ended(const struct report *r, const char *how, const char *message) {
    char raw[SZTP_MESSAGE_MAX + 512], line[SZTP_MESSAGE_MAX + 512];
    struct report with = *r;
    snprintf(raw, sizeof raw, "%s %s chassis %s: %s", r->by, how, r->topology->name, message);
    text_line(line, sizeof line, raw);
    with.line = line;
    chassis_members(txn_snap(r->t), r->topology, false, member_ended, &with);
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

bool chassis_run_over(struct onboard *ob, struct txn *t, const char *serial, const char *event,
                      const char *why) {
    json_t *record = known_load(known_get(ob, serial));
    const struct onboard_topology *topology =
        topology_of(txn_snap(t), known_text(record, "chassis"));
    bool asked = topology != NULL && known_text(record, "asked-for-by")[0] == '\0';
    if (asked) {
        struct report r = {.ob = ob,
                           .t = t,
                           .by = serial,
                           .topology = topology,
                           .progress = event,
                           .status = ONBOARD_ONBOARDING_STATUS_FAILED,
                           .given_up = true};
        all_ended(&r, "was given the bundle for", why);
    }
    json_decref(record);
    return asked;
}

/* ---- reported about a member ---------------------------------------------------------------- */

/* What the reports that are about a member say of it; warnings of its image are its failures
 * (spec 5.3). */
static enum onboard_onboarding_status member_after(enum sztp_progress p) {
    return p == SZTP_BOOT_IMAGE_WARNING ? ONBOARD_ONBOARDING_STATUS_FAILED : status_after(p);
}

/* As it was said last. */
static void set_place(json_t *record, const struct sztp_member *m) {
    if (m->id >= 0) {
        json_object_set_new(record, "member-id", json_integer(m->id));
    }
    if (m->role != SZTP_ROLE_NONE) {
        json_object_set_new(record, "role", json_string(sztp_role_name(m->role)));
    }
}

/* Why nothing follows for the member `serial`, whose record is `record`; NULL: something does. */
static const char *no_member(const struct snap *s, const struct onboard_topology *topology,
                             const char *serial, const json_t *record) {
    if (topology == NULL) {
        return "who reports was not given the topology of a chassis";
    }
    const char *chassis = known_text(record, "chassis");
    return !is_member(s, topology, serial)
               ? "no device of that serial number is a member of this chassis"
           : chassis[0] != '\0' && strcmp(chassis, topology->name) != 0
               ? "that device is a member of another chassis now"
               : NULL;
}

static void about_member(struct onboard *ob, struct txn *t, const struct ask *a, json_t *by,
                         const struct onboard_topology *topology) {
    const char *serial = a->member.serial, *name = sztp_progress_name(a->progress);
    if (strcmp(serial, a->serial) == 0) {
        set_place(by, &a->member);
        return;
    }
    const struct known *k = known_get(ob, serial);
    json_t *o = known_load(k);
    const char *why = no_member(txn_snap(t), topology, serial, o);
    char raw[SZTP_MESSAGE_MAX + 512], line[SZTP_MESSAGE_MAX + 512];
    if (why != NULL || (k != NULL && k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE)) {
        if (why != NULL) {
            snprintf(raw, sizeof raw, "nothing follows for member %s: %s", serial, why);
            known_log(ob, t, a->serial, "chassis", raw);
            L_WARN_RL(5, "device %s reports about %s: %s", a->serial, serial, why);
        }
        json_decref(o);
        return;
    }
    const char *asker = known_text(by, "asked-for-by");
    asker = asker[0] != '\0' ? asker : a->serial;
    bool carries = strcmp(asker, serial) == 0; /* its run is that of the chassis, which goes on */
    if (!carries) {
        json_object_set_new(o, "asked-for-by", json_string(asker));
    }
    if (known_text(o, "chassis")[0] == '\0') { /* it was entered after that */
        json_object_set_new(o, "chassis", json_string(topology->name));
        json_object_set(o, "revision", json_object_get(by, "revision"));
    }
    set_place(o, &a->member);
    json_object_set_new(o, "told-by", json_string(a->serial));
    snprintf(raw, sizeof raw, "%s reports: %s", a->serial, a->message);
    text_line(line, sizeof line, raw);
    enum onboard_onboarding_status status = member_after(a->progress);
    if (status == ONBOARD_ONBOARDING_STATUS_FAILED && !carries) {
        run_failed(o, line);
    }
    member_is(ob, t, serial, o, status, false, name, line);
}

void chassis_reported(struct onboard *ob, struct txn *t, const struct ask *a, json_t *record,
                      enum onboard_onboarding_status status) {
    const char *serial = a->serial;
    const struct known *k = known_get(ob, serial);
    const struct onboard_topology *topology =
        topology_of(txn_snap(t), known_text(record, "chassis"));
    bool silent = !under_way(k) || known_text(record, "told-by")[0] != '\0'; /* so far */
    json_object_del(record, "told-by");
    if (topology != NULL && silent && known_text(record, "asked-for-by")[0] != '\0') {
        goes_on(ob, t, serial, record);
    }
    if (a->has_member && status != ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        about_member(ob, t, a, record, topology);
    }
    if (topology != NULL && (status == ONBOARD_ONBOARDING_STATUS_COMPLETE ||
                             status == ONBOARD_ONBOARDING_STATUS_FAILED)) {
        struct report r = {.ob = ob,
                           .t = t,
                           .by = serial,
                           .topology = topology,
                           .progress = sztp_progress_name(a->progress),
                           .status = status};
        all_ended(&r, "reports for", a->message);
    }
}
