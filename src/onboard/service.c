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
