// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_hooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "phone-home/chassis.h"
#include "phone-home/script.h"

LOGGER_MODULE(hooks)

enum {
    PATH_SIZE = 2 * CONFIG_PATH_MAX + 2,
    WORD_MAX = 1 << 16,
    INSTALL_MS = 1800 * 1000,
    HOOK_MS = 300 * 1000,
    CLOCK_BEGINS_S = 1735689600, /* 2025-01-01: a clock before it was never set */
};

struct hooks {
    const struct platform_ops *ops;
    struct loop *loop;
    const struct phone_home_config *c;
    struct platform_events events;
    struct list jobs;
    struct loop_timer *confirm; /* runs while a configuration is not confirmed */
    struct platform_script_result result;
};

/* An order; one at a time is under way, the first of the list. */
struct job {
    struct list link;
    struct hooks *h;
    uint64_t order;
    const char *name;             /* of the hook, and for people */
    void (*begin)(struct job *j); /* runs something, or calls nothing() */
    struct buf data;              /* a script's text, a configuration */
    char *a, *b;                  /* arguments of the hook; NULL: none */
    enum sztp_handling handling;
    int64_t ms;
    bool ours;      /* the engine did not ask for it: nobody is told */
    bool delivered; /* a script that was delivered: its result is kept */
    bool begun;
    struct script *script; /* NULL: there is nothing to run */
    struct err err;
    void (*then)(struct hooks *h, const struct err *e); /* may be NULL; before `done` */
};

static struct hooks *of(struct platform *p) {
    return (struct hooks *)p;
}

static const char *in_state(const struct hooks *h, const char *name, char out[PATH_SIZE]) {
    snprintf(out, PATH_SIZE, "%s/%s", h->c->state, name);
    return out;
}

/* ---- orders ---- */

static void job_free(struct job *j) {
    list_remove(&j->link);
    if (j->data.len > 0) {
        mem_wipe(j->data.data, j->data.len); /* it may be a key */
    }
    buf_free(&j->data);
    mem_free(j->a);
    mem_free(j->b);
    mem_free(j);
}

static void begin_first(struct hooks *h) {
    if (!list_empty(&h->jobs)) {
        struct job *j = CONTAINER_OF(h->jobs.next, struct job, link);
        if (!j->begun) {
            j->begun = true;
            j->begin(j);
        }
    }
}

static void submit(struct job *j) {
    list_append(&j->h->jobs, &j->link);
    begin_first(j->h);
}

static void end(struct job *j, const struct err *e) {
    struct hooks *h = j->h;
    struct platform_events ev = h->events;
    uint64_t order = j->order;
    bool ours = j->ours;
    if (j->then != NULL) {
        j->then(h, e);
    }
    job_free(j);
    begin_first(h);
    if (!ours) {
        ev.done(ev.arg, order, e);
    }
}

static void on_script(void *arg, struct script_result *r, const struct err *e) {
    struct job *j = arg;
    struct err named;
    j->script = NULL;
    if (j->delivered) {
        buf_free(&j->h->result.output);
        j->h->result.status = r->status;
        j->h->result.output = r->output;
        r->output = (struct buf)BUF_INIT;
    }
    if (e != NULL) {
        char tail[256];
        const char *text = buf_cstr(j->delivered ? &j->h->result.output : &r->output);
        size_t n = strlen(text);
        text_line(tail, sizeof tail, text + (n > 200 ? n - 200 : 0));
        named = *e;
        err_set(&named, e->code, e->path, "%s: %s%s%s", j->name, e->text,
                tail[0] != '\0' ? ": " : "", tail);
        L_WARN("%s", named.text);
    }
    end(j, e != NULL ? &named : NULL);
}

static void on_nothing(void *arg) {
    struct job *j = arg;
    if (j->h == NULL) { /* the platform is gone */
        job_free(j);
        return;
    }
    struct err e = j->err; /* `end` frees the job */
    end(j, e.code != ERR_OK ? &e : NULL);
}

/* Ends without anything being run, with j->err or well. */
static void nothing(struct job *j) {
    loop_post(j->h->loop, on_nothing, j);
}

/* WEFT_KEY: where the key of the device's certificate is; only when it has one. */
static const char KEY[] = "ldevid.key";
struct environment {
    char serial[CMS_SERIAL_MAX + 32], key[PATH_SIZE + 16];
};

static void environment(const struct hooks *h, struct environment *out) {
    struct platform_identity id;
    char file[PATH_SIZE];
    const char *key = in_state(h, KEY, file);
    bool known = h->ops->identity((struct platform *)(uintptr_t)h, &id, NULL) == ERR_OK;
    snprintf(out->serial, sizeof out->serial, "WEFT_SERIAL=%s", known ? id.serial : "");
    out->key[0] = '\0';
    if (access(key, F_OK) == 0) {
        snprintf(out->key, sizeof out->key, "WEFT_KEY=%s", key);
    }
}

static void run_hook(struct job *j) {
    char file[PATH_SIZE];
    struct environment env;
    snprintf(file, sizeof file, "%s/%s", j->h->c->platform.folder, j->name);
    if (access(file, X_OK) != 0) {
        err_errno(&j->err, errno, file, "this device can't %s", j->name);
        nothing(j);
        return;
    }
    environment(j->h, &env);
    struct script_config c = {.file = file,
                              .args = {j->a, j->b},
                              .environment = {env.serial, env.key[0] != '\0' ? env.key : NULL},
                              .deadline_ms = j->ms,
                              .keep_group = true};
    j->script = script_start(j->h->loop, &c, on_script, j);
}

static void run_script(struct job *j) {
    struct hooks *h = j->h;
    char file[PATH_SIZE], output[PATH_SIZE];
    struct environment env;
    bool pre = strncmp(j->name, "pre", 3) == 0;
    environment(h, &env);
    struct script_config c = {.file = in_state(h, pre ? "pre-script" : "post-script", file),
                              .text = buf_cstr(&j->data),
                              .n = j->data.len,
                              .environment = {env.serial, env.key[0] != '\0' ? env.key : NULL},
                              .output_file =
                                  in_state(h, pre ? "pre-script.log" : "post-script.log", output),
                              .deadline_ms = j->ms};
    j->script = script_start(h->loop, &c, on_script, j);
}

static struct job *job_new(struct hooks *h, uint64_t order, const char *name,
                           void (*begin)(struct job *j)) {
    struct job *j = MEM_NEW(struct job);
    j->h = h;
    j->order = order;
    j->name = name;
    j->begin = begin;
    j->ms = HOOK_MS;
    return j;
}

static void order_nothing(struct platform *p, uint64_t order) {
    submit(job_new(of(p), order, "nothing", nothing));
}

static void order_replicate(struct platform *p, uint64_t order, const void *record, size_t n) {
    order_nothing(p, order);
}

static void order_install(struct platform *p, uint64_t order, int member, const char *image,
                          const char *os_version) {
    struct job *j = job_new(of(p), order, "install", run_hook);
    j->a = mem_strdup(image);
    j->b = mem_strdup(os_version);
    j->ms = INSTALL_MS;
    submit(j);
}

static void order_reboot(struct platform *p, uint64_t order, const int *list, size_t n) {
    submit(job_new(of(p), order, "reboot", run_hook));
}

static void order_zeroize(struct platform *p, uint64_t order) {
    submit(job_new(of(p), order, "zeroize", run_hook));
}

static void order_script(struct platform *p, uint64_t order, enum platform_script which,
                         const void *text, size_t n, int64_t deadline_ms) {
    struct job *j =
        job_new(of(p), order,
                which == PLATFORM_PRE ? "pre-configuration script" : "post-configuration script",
                run_script);
    buf_add(&j->data, text, n);
    j->ms = deadline_ms;
    j->delivered = true;
    submit(j);
}

/* ---- configuration ---- */

static void keep_key(struct job *j) {
    char file[PATH_SIZE];
    file_write(in_state(j->h, KEY, file), j->data.data, j->data.len, 0600, &j->err);
    nothing(j);
}

static void order_key(struct platform *p, uint64_t order, const void *pem, size_t n) {
    struct job *j = job_new(of(p), order, "key", keep_key);
    buf_add(&j->data, pem, n);
    submit(j);
}

/* Two marks: that a configuration was applied, as long as it may be taken back; and that it is not
 * confirmed. Each has how long that may last. */
static const char APPLIED[] = "applied", UNCONFIRMED[] = "unconfirmed";

static void forget(struct hooks *h, const char *mark) {
    char file[PATH_SIZE];
    unlink(in_state(h, mark, file));
    file_sync_folder_of(file, NULL);
}

static void on_confirmed(struct hooks *h, const struct err *e) {
    if (e == NULL) {
        forget(h, UNCONFIRMED);
    }
}

static void on_rolled_back(struct hooks *h, const struct err *e) {
    if (e == NULL) {
        forget(h, UNCONFIRMED);
        forget(h, APPLIED);
        forget(h, KEY);
    }
}

static bool marked(const struct hooks *h, const char *mark, int64_t *ms) {
    char file[PATH_SIZE];
    struct buf b = BUF_INIT;
    bool there = file_read(in_state(h, mark, file), WORD_MAX, &b, NULL) == ERR_OK;
    *ms = there ? strtoll(buf_cstr(&b), NULL, 10) : 0;
    buf_free(&b);
    return there;
}

static void on_applied(struct hooks *h, const struct err *e) {
    int64_t ms;
    if (e == NULL && marked(h, UNCONFIRMED, &ms)) {
        loop_timer_start(h->confirm, ms > 0 ? ms : 1);
    }
}

static void apply(struct job *j) {
    struct hooks *h = j->h;
    char file[PATH_SIZE], mark[PATH_SIZE];
    if (file_write(in_state(h, "configuration", file), j->data.data, j->data.len, 0600, &j->err) !=
            ERR_OK ||
        file_write(in_state(h, APPLIED, mark), j->b, strlen(j->b), 0600, &j->err) != ERR_OK ||
        file_write(in_state(h, UNCONFIRMED, mark), j->b, strlen(j->b), 0600, &j->err) != ERR_OK) {
        nothing(j);
        return;
    }
    mem_free(j->b);
    j->a = mem_strdup(file);
    j->b = mem_strdup(j->handling == SZTP_REPLACE ? "replace" : "merge");
    run_hook(j);
}

static void order_apply(struct platform *p, uint64_t order, const void *text, size_t n,
                        enum sztp_handling handling, int64_t confirm_ms) {
    struct job *j = job_new(of(p), order, "apply", apply);
    buf_add(&j->data, text, n);
    j->handling = handling;
    j->b = mem_printf("%lld\n", (long long)confirm_ms);
    j->then = on_applied;
    submit(j);
}

static void confirm(struct job *j) {
    char file[PATH_SIZE];
    int64_t ms;
    loop_timer_stop(j->h->confirm);
    if (!marked(j->h, APPLIED, &ms)) {
        err_set(&j->err, ERR_CONFLICT, NULL, "the configuration was taken back already");
        nothing(j);
        return;
    }
    j->then = on_confirmed;
    snprintf(file, sizeof file, "%s/confirm", j->h->c->platform.folder);
    if (access(file, F_OK) != 0) { /* it has nothing to do then */
        nothing(j);
        return;
    }
    run_hook(j);
}

static void order_confirm(struct platform *p, uint64_t order) {
    submit(job_new(of(p), order, "confirm", confirm));
}

static void roll_back(struct job *j) {
    int64_t ms;
    loop_timer_stop(j->h->confirm);
    if (!marked(j->h, j->ours ? UNCONFIRMED : APPLIED, &ms)) {
        nothing(j);
        return;
    }
    j->then = on_rolled_back;
    run_hook(j);
}

static void order_rollback(struct platform *p, uint64_t order) {
    submit(job_new(of(p), order, "rollback", roll_back));
}

static void on_unconfirmed(void *arg) {
    struct job *j = job_new(arg, 0, "rollback", roll_back);
    L_WARN("the new configuration was not confirmed in time and is taken back");
    j->ours = true;
    submit(j);
}

/* ---- what it knows ---- */

/* A file's first line. */
static enum err_code read_word(const char *file, char *out, size_t size, struct err *e) {
    struct buf b = BUF_INIT;
    ERR_TRY(file_read(file, WORD_MAX, &b, e));
    char *text = buf_take(&b);
    text[strcspn(text, "\r\n")] = '\0';
    text_line(out, size, text);
    mem_free(text);
    return out[0] != '\0' ? ERR_OK : err_set(e, ERR_INVALID, file, "has nothing in its first line");
}

static enum err_code identity(struct platform *p, struct platform_identity *out, struct err *e) {
    const struct phone_home_config *c = of(p)->c;
    memset(out, 0, sizeof *out);
    snprintf(out->serial, sizeof out->serial, "%s", c->platform.serial);
    snprintf(out->model, sizeof out->model, "%s", c->platform.model);
    snprintf(out->os_name, sizeof out->os_name, "%s", c->platform.os_name);
    snprintf(out->os_version, sizeof out->os_version, "%s", c->platform.os_version);
    if (c->platform.serial_file[0] != '\0') {
        ERR_TRY(read_word(c->platform.serial_file, out->serial, sizeof out->serial, e));
    }
    if (c->platform.os_version_file[0] != '\0') {
        ERR_TRY(read_word(c->platform.os_version_file, out->os_version, sizeof out->os_version, e));
    }
    out->primary = true;
    out->factory_default = true;
    out->clock_ok = clock_wall_s(&clock_real) >= CLOCK_BEGINS_S;
    return ERR_OK;
}

static enum err_code members(struct platform *p, struct platform_member *out, size_t max, size_t *n,
                             struct err *e) {
    struct platform_identity id;
    *n = 0;
    ERR_TRY(identity(p, &id, e));
    if (max > 0) {
        *n = 1;
        chassis_alone(&id, out);
    }
    return ERR_OK;
}

static enum err_code inherited(struct platform *p, struct buf *out, struct err *e) {
    return err_set(e, ERR_ABSENT, NULL, "there is no other member");
}

static void inherited_clear(struct platform *p) {
}

static const struct platform_script_result *script_result(struct platform *p) {
    return &of(p)->result;
}

static void lint(struct platform *p, const void *config, size_t n, struct buf *out) {
}

static void free_hooks(struct platform *p) {
    struct hooks *h = of(p);
    LIST_FOREACH_SAFE (at, &h->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        if (j->script != NULL || !j->begun) {
            script_cancel(j->script);
            job_free(j);
        } else { /* on_nothing is on its way */
            list_remove(&j->link);
            j->h = NULL;
        }
    }
    loop_timer_free(h->confirm);
    buf_free(&h->result.output);
    mem_free(h);
}

struct platform *platform_hooks_new(struct loop *l, const struct phone_home_config *c,
                                    const struct platform_events *events) {
    static const struct platform_ops ops = {.name = "hooks",
                                            .free = free_hooks,
                                            .identity = identity,
                                            .members = members,
                                            .inherited = inherited,
                                            .inherited_clear = inherited_clear,
                                            .freeze = order_nothing,
                                            .thaw = order_nothing,
                                            .install = order_install,
                                            .reboot = order_reboot,
                                            .script = order_script,
                                            .key = order_key,
                                            .apply = order_apply,
                                            .confirm = order_confirm,
                                            .rollback = order_rollback,
                                            .replicate = order_replicate,
                                            .zeroize = order_zeroize,
                                            .script_result = script_result,
                                            .lint = lint};
    struct hooks *h = MEM_NEW(struct hooks);
    int64_t ms;
    h->ops = &ops;
    h->loop = l;
    h->c = c;
    h->events = *events;
    list_init(&h->jobs);
    h->confirm = loop_timer_new(l, on_unconfirmed, h);
    if (marked(h, UNCONFIRMED, &ms)) { /* of a life that ended before it was confirmed */
        loop_timer_start(h->confirm, ms > 0 ? ms : 1);
    }
    return (struct platform *)h;
}
