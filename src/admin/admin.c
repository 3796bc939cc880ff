// SPDX-License-Identifier: Apache-2.0
/* The service: hands what comes to the part that it concerns. */
#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "admin/internal.h"

#define ARCHIVE_KEY "admin/archival"

static void *create(struct core *c) {
    struct admin *ad = MEM_NEW(struct admin);
    ad->core = c;
    archive_init(&ad->archive, c);
    return ad;
}

static void destroy(void *self) {
    struct admin *ad = self;
    archive_free(&ad->archive);
    mem_free(ad);
}

static enum err_code start(void *self, struct err *e) {
    struct admin *ad = self;
    (void)e;
    log_files_start();
    archive_start(&ad->archive);
    return ERR_OK;
}

static void stop(void *self) {
    struct admin *ad = self;
    archive_stop(&ad->archive);
}

static enum err_code check(void *self, struct txn *t, struct err *e) {
    struct admin *ad = self;
    return archive_check(&ad->archive, t, e);
}

static void config(void *self, const struct object *old, const struct object *new_) {
    struct admin *ad = self;
    if ((new_ ? new_ : old)->doc->kind == &admin_archival_kind) {
        archive_config(&ad->archive, new_);
    }
}

static void changed(void *self, struct txn *t) {
    struct admin *ad = self;
    archive_changed(&ad->archive, t);
}

static bool is_key(const char *key, size_t len, const char *name) {
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

static bool state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    struct admin *ad = self;
    return is_key(key, key_len, ARCHIVE_KEY) && archive_encode(&ad->archive, out);
}

static enum err_code state_fold(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e) {
    struct admin *ad = self;
    if (is_key(key, key_len, ARCHIVE_KEY)) {
        return archive_fold(&ad->archive, value, len, e);
    }
    return err_set(e, ERR_UNSUPPORTED, NULL, "is not a record of this version");
}

void admin_json(struct buf *out, json_t *o) {
    char *s = json_dumps(o, JSON_COMPACT);
    buf_str(out, s != NULL ? s : "{}");
    free(s);
    json_decref(o);
}

static bool slow(const struct node *rpc) {
    return rpc == admin_save_config_rpc || rpc == admin_support_bundle_rpc ||
           certificates_mine(rpc);
}

static enum err_code prepare(void *self, struct call *cl, struct err *e) {
    struct admin *ad = self;
    cl->outside = cl->in.rpc != admin_show_certificates_rpc;
    if (certificates_mine(cl->in.rpc)) {
        return certificates_call(cl, e);
    }
    return cl->in.rpc == admin_save_config_rpc ? save_config(ad->core, cl, e)
                                               : support_bundle(ad->core, cl, e);
}

static enum err_code call(void *self, struct txn *t, struct call *cl, struct err *e) {
    struct admin *ad = self;
    const struct node *rpc = cl->in.rpc;
    if (rpc == admin_archive_rpc || rpc == admin_show_archival_rpc) {
        return archive_call(&ad->archive, t, cl, e);
    }
    if (slow(rpc)) {
        return ERR_OK; /* done in prepare */
    }
    return maintenance_call(ad->core, t, cl, e);
}

static void metrics(void *self, struct buf *out) {
    struct admin *ad = self;
    archive_metrics(&ad->archive, out);
}

const struct service admin_service = {
    .name = "admin",
    .state_prefix = "admin/",
    .module = "weft-admin",
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .check = check,
    .config = config,
    .changed = changed,
    .state_encode = state_encode,
    .state_fold = state_fold,
    .slow = slow,
    .prepare = prepare,
    .call = call,
    .metrics = metrics,
};
