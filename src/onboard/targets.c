// SPDX-License-Identifier: Apache-2.0
/*
 * Devices as targets of commits: what a change would give to a device that has yet to phone home is
 * applied when that device reports that it is done, and refused when it reports an error. One that
 * is done takes nothing new until it is reset, so changes do not wait for it.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "onboard/internal.h"

static void never(struct target_session *t, void *arg, uint64_t from, uint64_t to) {
    (void)arg;
    (void)from;
    target_failed(t, to, "devices come by themselves");
}

static const struct target_codec codec = {.type = "device", .send = never};

void device_target_start(struct onboard *ob, struct known *k) {
    char name[CMS_SERIAL_MAX + 16];
    if (k->target != NULL) {
        return;
    }
    snprintf(name, sizeof name, "device:%s", k->serial);
    k->target = target_new(ob->core, &codec, name, k);
    if (k->status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        target_connected(k->target);
        target_synced(k->target);
    }
}

/* ---- what devices do ------------------------------------------------------------------------- */

struct later {
    struct onboard *ob;
    char serial[CMS_SERIAL_MAX + 1], why[256];
    enum onboard_onboarding_status status;
    uint64_t given;
    bool report;
};

static void after(void *arg, bool committed) {
    struct later *l = arg;
    const struct known *k = committed ? known_get(l->ob, l->serial) : NULL;
    struct target_session *t = k != NULL ? k->target : NULL;
    if (t != NULL && !l->report) {
        target_connected(t);
    } else if (t != NULL && l->status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
        target_synced(t);
        target_applied(t, l->given);
    } else if (t != NULL && l->status == ONBOARD_ONBOARDING_STATUS_FAILED) {
        target_refused(t, l->given, l->why);
    }
    mem_free(l);
}

void target_given(struct onboard *ob, struct txn *t, const char *serial) {
    struct later *l = MEM_NEW(struct later);
    l->ob = ob;
    snprintf(l->serial, sizeof l->serial, "%s", serial);
    txn_after(t, after, l);
}

void target_reported(struct onboard *ob, struct txn *t, const char *serial,
                     enum onboard_onboarding_status status, uint64_t given, const char *why) {
    struct later *l = MEM_NEW(struct later);
    *l = (struct later){.ob = ob, .status = status, .given = given, .report = true};
    snprintf(l->serial, sizeof l->serial, "%s", serial);
    snprintf(l->why, sizeof l->why, "%s", why);
    txn_after(t, after, l);
}

/* ---- what changes ---------------------------------------------------------------------------- */

static bool is(const char *a, const char *b) {
    return a != NULL && b[0] != '\0' && strcmp(a, b) == 0;
}

/* Is the object among what the plan gives? */
static bool gives(const struct plan *p, const struct object *o) {
    const struct kind *k = o->doc->kind;
    const char *key = o->doc->keys[0];
    if (k == &onboard_device_type_kind) {
        return is(key, p->type);
    }
    if (k == &onboard_bundle_kind) {
        return is(key, p->bundle);
    }
    if (k == &onboard_redirect_list_kind) {
        return is(key, p->redirect_list);
    }
    if (k == &onboard_signer_kind) {
        return p->sign && is(key, p->signer);
    }
    if (k == &onboard_topology_kind) {
        return is(key, p->topology);
    }
    const struct object *bo =
        p->bundle[0] != '\0' ? object_of(p->snap, &onboard_bundle_kind, p->bundle) : NULL;
    const struct onboard_bundle *b = bo != NULL ? bo->doc->data : NULL;
    return b != NULL &&
           ((k == &onboard_boot_image_kind && is(b->boot_image, key)) ||
            (k == &onboard_configuration_kind && is(b->configuration, key)) ||
            (k == &onboard_script_kind && (is(b->pre_script, key) || is(b->post_script, key))));
}

void known_as_get(const struct known *k, struct sztp_get *g) {
    json_t *o = known_load(k);
    snprintf(g->hw_model, sizeof g->hw_model, "%s", known_text(o, "hw-model"));
    snprintf(g->os_name, sizeof g->os_name, "%s", known_text(o, "os-name"));
    snprintf(g->os_version, sizeof g->os_version, "%s", known_text(o, "os-version"));
    g->signed_preferred = json_is_true(json_object_get(o, "signed-data-preferred"));
    json_decref(o);
}

/* It gets nothing: no change waits for it. */
static bool is_blocked(const struct object *o) {
    const struct onboard_device *d = o->doc->data;
    return d->authorisation == ONBOARD_DEVICE_AUTHORISATION_BLOCKED;
}

/* Devices that are not done and would be given the object, as far as is known what they will say.
 */
static void touch_those_given(struct onboard *ob, struct txn *t, const struct object *changed) {
    struct snap *s = (struct snap *)(uintptr_t)txn_snap(t);
    char what[200];
    snprintf(what, sizeof what, "%s %s", changed->doc->kind->short_name, changed->doc->keys[0]);
    MAP_FOREACH (m, &ob->devices) {
        struct known *k = m->value;
        const struct object *o =
            k->target != NULL && k->status != ONBOARD_ONBOARDING_STATUS_COMPLETE
                ? object_of(s, &onboard_device_kind, k->serial)
                : NULL;
        if (o == NULL || is_blocked(o)) {
            continue;
        }
        struct sztp_get g = {.signed_preferred = false};
        known_as_get(k, &g);
        const struct onboard_device *d = o->doc->data;
        struct plan *p =
            plan_make(s, d, type_of(s, d, g.hw_model), &g, PLAN_BUNDLE | PLAN_REDIRECT);
        if (p != NULL && gives(p, changed)) {
            target_touch(k->target, t, what);
        }
        plan_free(p);
    }
}

void onboard_changed(void *self, struct txn *t) {
    struct onboard *ob = self;
    for (size_t i = 0; ob->started && i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct object *o = op.new_ != NULL ? op.new_ : op.old;
        const struct kind *k = o->doc->kind;
        if (strcmp(k->module, "weft-onboard") != 0 || k == &onboard_listener_kind ||
            k == &onboard_device_authority_kind || op.new_ == NULL) {
            continue;
        }
        if (k != &onboard_device_kind) {
            touch_those_given(ob, t, o);
            continue;
        }
        struct known *kn = known_get(ob, o->doc->keys[0]);
        if (kn == NULL || kn->target == NULL || kn->status == ONBOARD_ONBOARDING_STATUS_COMPLETE) {
            continue;
        }
        if (is_blocked(o)) { /* nor do those before it */
            target_reported(ob, t, kn->serial, ONBOARD_ONBOARDING_STATUS_FAILED,
                            snap_index(txn_snap(t)), "is blocked");
        } else {
            target_touch(kn->target, t, op.old == NULL ? "is expected" : "changed");
        }
    }
}
