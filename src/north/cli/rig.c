// SPDX-License-Identifier: Apache-2.0
#include "north/cli/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/service.h"
#include "core/system.h"
#include "core/target.h"
#include "core/txn.h"

struct rig rig;

/* ---- a service for the toys: answers their rpc, has one target, which may refuse
 * ----------------- */

struct shop {
    struct core *core;
    struct target_session *target;
};

static void shop_send(struct target_session *t, void *arg, uint64_t from, uint64_t to) {
    (void)arg;
    (void)from;
    if (rig.shelf == SHELF_REFUSES) {
        target_refused(t, to, "there is no room on the shelf");
    } else if (rig.shelf == SHELF_APPLIES) {
        target_applied(t, to);
    }
}

static const struct target_codec shop_codec = {"shop", shop_send};

static void *shop_create(struct core *c) {
    struct shop *shop = MEM_NEW(struct shop);
    shop->core = c;
    return shop;
}

static void shop_destroy(void *self) {
    mem_free(self);
}

static enum err_code shop_start(void *self, struct err *e) {
    struct shop *shop = self;
    (void)e;
    shop->target = target_new(shop->core, &shop_codec, "shelf", shop);
    target_connected(shop->target);
    target_synced(shop->target);
    return ERR_OK;
}

static void shop_stop(void *self) {
    target_free(((struct shop *)self)->target);
}

static void shop_config(void *self, const struct object *old, const struct object *new_) {
    (void)self;
    (void)old;
    (void)new_;
}

static void shop_changed(void *self, struct txn *t) {
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        if (strcmp((op.new_ ? op.new_ : op.old)->doc->kind->module, "weft-toy") == 0) {
            target_touch(((struct shop *)self)->target, t, "toys change");
            break;
        }
    }
}

static bool shop_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)out;
    return false;
}

static enum err_code shop_fold(void *self, const char *key, size_t key_len, const void *value,
                               size_t len, struct err *e) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)value;
    (void)len;
    (void)e;
    return ERR_OK;
}

/* Two parts, so that paging is seen to work. */
static enum err_code shop_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    (void)self;
    (void)t;
    const char *limit = rpc_input_value(&cl->in, "limit", cl->arena);
    const char *box = rpc_input_value(&cl->in, "box", cl->arena);
    if (strcmp(cl->in.rpc->name, "smash") == 0) {
        buf_printf(&cl->text, "box %s is in pieces", box);
        return ERR_OK;
    }
    if (limit != NULL && strcmp(limit, "13") == 0) {
        return err_set(e, ERR_REFUSED, NULL, "thirteen is unlucky");
    }
    bool second = cl->cursor != NULL;
    if (limit == NULL || strcmp(limit, "1") != 0) {
        buf_printf(&cl->text, "toy %d of box %s\n", second ? 2 : 1, box ? box : "any");
    }
    buf_printf(&cl->json, "{\"toy\":[{\"maker\":\"acme\",\"number\":%d}]}", second ? 2 : 1);
    mem_free(cl->cursor);
    cl->cursor = second ? NULL : mem_strdup("2");
    return ERR_OK;
}

static void shop_values(void *self, struct txn *t, struct values *v) {
    (void)self;
    (void)t;
    if (strcmp(v->leaf->name, "limit") == 0) {
        buf_printf(&v->out, "7\tas many as are in box %s\n", v->n_given > 0 ? v->values[0] : "?");
    }
}

static const struct service shop_service = {.name = "shop",
                                            .state_prefix = "shop/",
                                            .module = "weft-toy",
                                            .create = shop_create,
                                            .destroy = shop_destroy,
                                            .start = shop_start,
                                            .stop = shop_stop,
                                            .config = shop_config,
                                            .changed = shop_changed,
                                            .state_encode = shop_encode,
                                            .state_fold = shop_fold,
                                            .call = shop_call,
                                            .values = shop_values};

static void pump(void *arg) {
    (void)arg;
    if (core_step(rig.core) == 0) {
        int64_t next = core_next_timer(rig.core);
        clock_fake_advance(&rig.clock, next > 0 ? next : NS_PER_MS);
    }
}

static void on_write(void *arg, const char *p, size_t n) {
    (void)arg;
    buf_add(&rig.text, p, n);
}
static void on_note(void *arg, const char *text) {
    (void)arg;
    buf_printf(&rig.notes, "%s\n", text);
}
static void on_fault(void *arg, const struct err *e, const char *shown, bool has_place,
                     size_t start, size_t end) {
    (void)arg;
    rig.fault = *e;
    snprintf(rig.shown, sizeof rig.shown, "%s", shown);
    rig.has_place = has_place;
    rig.start = start;
    rig.end = end;
}
static void on_save(void *arg, const char *file) {
    (void)arg;
    snprintf(rig.saved, sizeof rig.saved, "%s", file);
}
static void on_paging(void *arg, bool on) {
    (void)arg;
    (void)on;
}
static enum err_code on_ask(void *arg, const struct cli_ask *ask, struct buf *answer,
                            struct err *e) {
    (void)arg;
    rig.asked++;
    snprintf(rig.prompt, sizeof rig.prompt, "%s", ask->prompt ? ask->prompt : "");
    if (rig.answer == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "end of input");
    }
    buf_str(answer, rig.answer);
    return ERR_OK;
}
static bool on_stopped(void *arg) {
    (void)arg;
    rig.stop_after -= rig.stop_after > 0;
    return rig.stop_after == 0;
}
static const struct cli_sink sink = {on_write,  on_note, on_fault,   on_save,
                                     on_paging, on_ask,  on_stopped, NULL};

int rig_run_in(struct cli_session *s, const char *line) {
    buf_clear(&rig.text);
    buf_clear(&rig.notes);
    memset(&rig.fault, 0, sizeof rig.fault);
    rig.saved[0] = rig.shown[0] = rig.prompt[0] = '\0';
    rig.asked = 0;
    return cli_execute(s, line, strlen(line), &sink);
}

int rig_run(const char *line) {
    return rig_run_in(rig.s, line);
}

void rig_ok(const char *line) {
    int status = rig_run(line);
    if (status != CLI_OK) {
        fail_msg("%s: status %d: %s %s", line, status, rig.fault.path, rig.fault.text);
    }
}

void rig_says(const char *line, const char *want) {
    rig_ok(line);
    assert_string_equal(buf_cstr(&rig.text), want);
}

void rig_mentions(const char *want) {
    if (strstr(buf_cstr(&rig.text), want) == NULL && strstr(buf_cstr(&rig.notes), want) == NULL &&
        strstr(rig.shown, want) == NULL) {
        fail_msg("\"%s\" is not in\n%s\n%s\n%s", want, buf_cstr(&rig.text), buf_cstr(&rig.notes),
                 rig.shown);
    }
}

void rig_wrong(const char *line, const char *at, const char *why) {
    assert_int_equal(rig_run(line), CLI_SYNTAX);
    rig_mentions(why);
    assert_true(rig.has_place);
    size_t place = at[0] == '\0' ? strlen(line) : (size_t)(strstr(line, at) - line);
    if (rig.start != place) {
        fail_msg("%s: about byte %zu instead of %zu", line, rig.start, place);
    }
}

struct cli_session *rig_session(const char *user, bool interactive) {
    struct actor who = {.source = "cli test", .superuser = true};
    struct cli_session *s;
    struct err e;
    struct cli_terminal t = {.interactive = interactive, .rows = 24, .columns = 80};
    snprintf(who.user, sizeof who.user, "%s", user);
    assert_int_equal(cli_session_new(rig.cli, &who, &t, &s, &e), ERR_OK);
    return s;
}

void rig_later(int64_t seconds) {
    clock_fake_advance(&rig.clock, seconds * NS_PER_S);
    while (core_step(rig.core) > 0) {
    }
}

int rig_setup(void **state) {
    (void)state;
    struct err e;
    memset(&rig, 0, sizeof rig);
    rig.stop_after = -1;
    snprintf(rig.folder, sizeof rig.folder, "/tmp/cli_test.XXXXXX");
    assert_non_null(mkdtemp(rig.folder));
    clock_fake_init(&rig.clock, INT64_C(1700000000) * NS_PER_S);
    assert_int_equal(model_load(&rig.model, &e), ERR_OK);
    char store[128];
    snprintf(store, sizeof store, "sqlite:%s/log.db", rig.folder);
    static const struct service *const services[] = {&system_service, &shop_service, NULL};
    struct core_options o = {
        .store = store, .clock = &rig.clock, .model = rig.model, .services = services};
    if (core_open(&o, &rig.core, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    rig.candidates = candidates_new(rig.core);
    struct cli_options co = {.core = rig.core, .candidates = rig.candidates, .pump = pump};
    rig.cli = cli_new(&co);
    rig.s = rig_session("admin", false);
    return 0;
}

int rig_teardown(void **state) {
    (void)state;
    cli_session_free(rig.s);
    cli_free(rig.cli);
    candidates_free(rig.candidates);
    core_close(rig.core);
    model_free(rig.model);
    buf_free(&rig.text);
    buf_free(&rig.notes);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "%s/log.db", rig.folder);
    unlink(cmd);
    snprintf(cmd, sizeof cmd, "%s/log.db-wal", rig.folder);
    unlink(cmd);
    snprintf(cmd, sizeof cmd, "%s/log.db-shm", rig.folder);
    unlink(cmd);
    rmdir(rig.folder);
    return 0;
}

const char *rig_offers(const char *line) {
    static char out[8192];
    struct cli_completion c;
    cli_complete(rig.s, line, strlen(line), strlen(line), &c);
    size_t n = 0;
    out[0] = '\0';
    if (c.err.code != ERR_OK) {
        n += (size_t)snprintf(out, sizeof out, "! %s", c.err.text);
    }
    for (size_t i = 0; i < c.n && n < sizeof out; i++) {
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i > 0 ? " " : "", c.items[i].word);
    }
    arena_free(c.arena);
    return out;
}

void rig_completes(const char *line, const char *want) {
    struct cli_completion c;
    cli_complete(rig.s, line, strlen(line), strlen(line), &c);
    if (want == NULL) {
        assert_null(c.insert);
    } else {
        assert_non_null(c.insert);
        assert_string_equal(c.insert, want);
    }
    arena_free(c.arena);
}
