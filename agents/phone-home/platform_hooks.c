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
#include "base/text.h"
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

/* An order under way. */
struct job {
    struct list link;
    struct hooks *h;
    uint64_t order;
    struct script *script; /* NULL: there is nothing to run */
    struct err err;
    void (*then)(struct hooks *h, const struct err *e); /* may be NULL; before `done` */
    bool ours;      /* the engine did not ask for it: nobody is told */
    bool delivered; /* a script that was delivered: its result is kept */
    const char *name;
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
    mem_free(j);
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
        mem_free(j);
        return;
    }
    end(j, j->err.code != ERR_OK ? &j->err : NULL);
}

static struct job *job_new(struct hooks *h, uint64_t order, const char *name) {
    struct job *j = MEM_NEW(struct job);
    j->h = h;
    j->order = order;
    j->name = name;
    list_append(&h->jobs, &j->link);
    return j;
}

/* Ends without anything being run, with j->err or well. */
static void nothing(struct job *j) {
    loop_post(j->h->loop, on_nothing, j);
}

static void run_hook(struct job *j, const char *a, const char *b, int64_t ms) {
    char file[PATH_SIZE], serial[CMS_SERIAL_MAX + 32];
    struct platform_identity id;
    snprintf(file, sizeof file, "%s/%s", j->h->c->platform.folder, j->name);
    if (access(file, X_OK) != 0) {
        err_errno(&j->err, errno, file, "this device can't %s", j->name);
        nothing(j);
        return;
    }
    bool known = j->h->ops->identity((struct platform *)j->h, &id, NULL) == ERR_OK;
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", known ? id.serial : "");
    struct script_config c = {.file = file,
                              .args = {a, b},
                              .environment = {serial},
                              .deadline_ms = ms,
                              .keep_group = true};
    j->script = script_start(j->h->loop, &c, on_script, j);
}

static void order_nothing(struct platform *p, uint64_t order) {
    nothing(job_new(of(p), order, "nothing"));
}

static void order_replicate(struct platform *p, uint64_t order, const void *record, size_t n) {
    order_nothing(p, order);
}

static void order_install(struct platform *p, uint64_t order, int member, const char *image,
                          const char *os_version) {
    run_hook(job_new(of(p), order, "install"), image, os_version, INSTALL_MS);
}

static void order_reboot(struct platform *p, uint64_t order, const int *members, size_t n) {
    run_hook(job_new(of(p), order, "reboot"), NULL, NULL, HOOK_MS);
}

static void order_zeroize(struct platform *p, uint64_t order) {
    run_hook(job_new(of(p), order, "zeroize"), NULL, NULL, HOOK_MS);
}

static void order_script(struct platform *p, uint64_t order, enum platform_script which,
                         const void *text, size_t n, int64_t deadline_ms) {
    struct hooks *h = of(p);
    bool pre = which == PLATFORM_PRE;
    char file[PATH_SIZE], output[PATH_SIZE], serial[CMS_SERIAL_MAX + 32];
    struct platform_identity id;
    struct job *j =
        job_new(h, order, pre ? "pre-configuration script" : "post-configuration script");
    bool known = h->ops->identity(p, &id, NULL) == ERR_OK;
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", known ? id.serial : "");
    struct script_config c = {.file = in_state(h, pre ? "pre-script" : "post-script", file),
                              .text = text != NULL ? text : "",
                              .n = n,
                              .environment = {serial},
                              .output_file =
                                  in_state(h, pre ? "pre-script.log" : "post-script.log", output),
                              .deadline_ms = deadline_ms};
    j->delivered = true;
    j->script = script_start(h->loop, &c, on_script, j);
}

/* ---- configuration ---- */

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

static void order_apply(struct platform *p, uint64_t order, const void *config, size_t n,
                        enum sztp_handling handling, int64_t confirm_ms) {
    struct hooks *h = of(p);
    char file[PATH_SIZE], mark[PATH_SIZE], ms[32];
    struct job *j = job_new(h, order, "apply");
    snprintf(ms, sizeof ms, "%lld\n", (long long)confirm_ms);
    if (file_write(in_state(h, "configuration", file), config, n, 0600, &j->err) != ERR_OK ||
        file_write(in_state(h, APPLIED, mark), ms, strlen(ms), 0600, &j->err) != ERR_OK ||
        file_write(in_state(h, UNCONFIRMED, mark), ms, strlen(ms), 0600, &j->err) != ERR_OK) {
        nothing(j);
        return;
    }
    loop_timer_start(h->confirm, confirm_ms);
    run_hook(j, file, handling == SZTP_REPLACE ? "replace" : "merge", HOOK_MS);
}

static void order_confirm(struct platform *p, uint64_t order) {
    struct hooks *h = of(p);
    char hook[PATH_SIZE];
    struct job *j = job_new(h, order, "confirm");
    loop_timer_stop(h->confirm);
    j->then = on_confirmed;
    snprintf(hook, sizeof hook, "%s/confirm", h->c->platform.folder);
    if (access(hook, F_OK) != 0) { /* it has nothing to do then */
        nothing(j);
        return;
    }
    run_hook(j, NULL, NULL, HOOK_MS);
}

static void roll_back(struct job *j) {
    int64_t ms;
    loop_timer_stop(j->h->confirm);
    if (!marked(j->h, APPLIED, &ms)) {
        nothing(j);
        return;
    }
    j->then = on_rolled_back;
    run_hook(j, NULL, NULL, HOOK_MS);
}

static void order_rollback(struct platform *p, uint64_t order) {
    roll_back(job_new(of(p), order, "rollback"));
}

static void on_unconfirmed(void *arg) {
    struct job *j = job_new(arg, 0, "rollback");
    L_WARN("the new configuration was not confirmed in time and is taken back");
    j->ours = true;
    roll_back(j);
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
        memset(out, 0, sizeof *out);
        out->role = SZTP_MASTER;
        out->up = true;
        memcpy(out->serial, id.serial, sizeof out->serial);
        memcpy(out->os_version, id.os_version, sizeof out->os_version);
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
        if (j->script != NULL) {
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
