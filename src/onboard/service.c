// SPDX-License-Identifier: Apache-2.0
/* The service as core sees it. */
#include <inttypes.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "onboard/internal.h"

LOGGER_MODULE(onboard);

struct onboard_paths onboard_paths;

void onboard_set_paths(const struct onboard_paths *p) {
    onboard_paths = *p;
}

static void *create(struct core *c) {
    struct onboard *ob = MEM_NEW(struct onboard);
    ob->core = c;
    list_init(&ob->open_runs);
    return ob;
}

static enum err_code start(void *self, struct err *e) {
    struct onboard *ob = self;
    (void)e;
    struct snap *s = core_snapshot(ob->core);
    size_t n = 0;
    for (const struct object *o = snap_first_of(s, &onboard_device_kind);
         o != NULL && o->doc->kind == &onboard_device_kind; o = snap_next(s, o)) {
        device_target_start(ob, known_make(ob, o->doc->keys[0]));
        n++;
    }
    snap_release(s);
    ob->started = true;
    runs_start(ob);
    if (n > 0 || ob->n_strangers > 0) {
        L_INFO("%zu devices are configured, %zu others wait", n, ob->n_strangers);
    }
    return ERR_OK;
}

static void stop(void *self) {
    runs_stop(self);
}

static void destroy(void *self) {
    struct onboard *ob = self;
    map_free(&ob->devices, known_free);
    for (unsigned i = 0; i < ONBOARD_REQUESTS_KEPT; i++) {
        mem_free(ob->requests[i]);
    }
    files_forget();
    mem_free(ob);
}

static void config(void *self, const struct object *old, const struct object *new_) {
    struct onboard *ob = self;
    const struct object *o = new_ != NULL ? new_ : old;
    if (!ob->started || o->doc->kind != &onboard_device_kind || (old != NULL && new_ != NULL)) {
        return;
    }
    struct known *k = known_make(ob, o->doc->keys[0]);
    if (new_ != NULL) {
        device_target_start(ob, k);
    } else {
        target_free(k->target);
        k->target = NULL;
        known_drop_if_empty(ob, k);
    }
}

/* ---- a device in another's place (rename) ---------------------------------------------------- */

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* All that was said of one is said of the other; a voucher is for one serial number. */
static bool same_place(const struct onboard_device *a, const struct onboard_device *b) {
    bool same = same_text(a->type, b->type) && same_text(a->description, b->description) &&
                same_text(a->password, b->password) &&
                same_text(a->activation_code, b->activation_code) &&
                same_text(a->topology, b->topology) && same_text(a->signer, b->signer) &&
                same_text(a->certificate_name, b->certificate_name) &&
                a->n_variable == b->n_variable && a->n_rule == b->n_rule;
    for (size_t i = 0; same && i < a->n_variable; i++) {
        same = same_text(a->variable[i].name, b->variable[i].name) &&
               same_text(a->variable[i].value, b->variable[i].value);
    }
    for (size_t i = 0; same && i < a->n_rule; i++) {
        same = same_text(a->rule[i].name, b->rule[i].name) &&
               same_text(a->rule[i].bundle, b->rule[i].bundle) &&
               same_text(a->rule[i].redirect_list, b->rule[i].redirect_list);
    }
    return same;
}

/* The former's log goes with it, so it is the new one's that says so. A change that is a hundred
 * renames or more is none of those that people look at. */
static void tell_replaced(struct onboard *ob, struct txn *t, const struct object *fresh) {
    const struct object *former = NULL;
    char text[CMS_SERIAL_MAX + 128];
    for (size_t i = 0; i < txn_n_ops(t) && i < 200 && former == NULL; i++) {
        struct txn_op op = txn_op(t, i);
        if (op.new_ == NULL && op.old->doc->kind == &onboard_device_kind &&
            same_place(op.old->doc->data, fresh->doc->data)) {
            former = op.old;
        }
    }
    if (former == NULL) {
        return;
    }
    const char *serial = fresh->doc->keys[0], *by = txn_actor(t)->user;
    snprintf(text, sizeof text, "takes the place of %s (%s)", former->doc->keys[0], by);
    known_log(ob, t, serial, "replaces", text);
    device_event(t, "weft-onboard:device-replaced", serial,
                 (const char *const[]){"former", former->doc->keys[0], "by", by, NULL});
}

/* What a device did goes with it; one that was a stranger is none when it is entered. */
static enum err_code complete(void *self, struct txn *t, struct err *e) {
    struct onboard *ob = self;
    (void)e;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        const struct object *o = op.new_ != NULL ? op.new_ : op.old;
        if (o->doc->kind != &onboard_device_kind) {
            continue;
        }
        const char *serial = o->doc->keys[0];
        const struct known *k = known_get(ob, serial);
        if (op.new_ == NULL) {
            known_delete(ob, t, serial);
        } else if (k != NULL && k->stranger) {
            json_t *r = known_load(k);
            json_object_set_new(r, "stranger", json_false());
            known_put(t, serial, r);
            known_log(ob, t, serial, "configured", "was put into the configuration");
        }
        if (op.old == NULL) {
            tell_replaced(ob, t, o);
        }
    }
    return ERR_OK;
}

const struct service onboard_service = {
    .name = "onboard",
    .state_prefix = "onboard/",
    .module = "weft-onboard",
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .complete = complete,
    .check = onboard_check,
    .config = config,
    .changed = onboard_changed,
    .state_encode = onboard_state_encode,
    .state_fold = onboard_state_fold,
    .slow = onboard_slow,
    .prepare = onboard_prepare,
    .call = onboard_call,
    .provides = "/weft-onboard:onboard/state",
    .look = onboard_look,
    .values = onboard_values,
    .metrics = onboard_metrics,
};
