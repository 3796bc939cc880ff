// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "phone-home/platform_lint.h"
#include "phone-home/script.h"
#include "phone-home/stack/message.h"

LOGGER_MODULE(platform)

enum {
    ASK_MS = 3000,    /* what is known at once */
    CONNECT_MS = 200, /* between two tries to reach weft-stackd */
    RECORD_MAX = 20 << 20,
    PATH_SIZE = 600,
};

struct lnx {
    const struct platform_ops *ops;
    struct loop *loop;
    struct platform_linux_config c;
    struct platform_events events;
    int fd; /* -1: not connected */
    struct loop_watch *watch;
    struct loop_timer *connect;
    struct list jobs;
    uint64_t next_id;
    bool was_primary, told; /* what was said last, and whether anything was */
    struct platform_script_result result;
};

/* An order under way. */
struct job {
    struct list link;
    struct lnx *l; /* NULL: the platform has gone */
    uint64_t order, id;
    bool reboots_us;
    struct script *script;
    struct err err;
};

static struct lnx *of(struct platform *p) {
    return (struct lnx *)p;
}

/* ---------------------------------------------------------------- the ends of orders */

static void end(struct job *j, const struct err *e) {
    struct platform_events ev = j->l->events;
    uint64_t order = j->order;
    struct err kept;
    if (e != NULL) {
        kept = *e;
    }
    list_remove(&j->link);
    mem_free(j);
    ev.done(ev.arg, order, e != NULL ? &kept : NULL);
}

static void end_later(void *arg) {
    struct job *j = arg;
    if (j->l == NULL) {
        mem_free(j);
        return;
    }
    end(j, j->err.code != ERR_OK ? &j->err : NULL);
}

static struct job *job_new(struct lnx *l, uint64_t order) {
    struct job *j = MEM_NEW(struct job);
    j->l = l;
    j->order = order;
    list_append(&l->jobs, &j->link);
    return j;
}

/* ---------------------------------------------------------------- the connection */

static enum err_code state(const struct lnx *l, json_t **answer, struct err *e) {
    return message_ask(l->c.socket, json_pack("{s:s}", "do", "state"), -1, ASK_MS, answer, NULL, e);
}

static bool flag(const json_t *o, const char *name) {
    return json_is_true(json_object_get(o, name));
}

/* A standalone device is its own primary. */
static bool leads(const json_t *s) {
    return !flag(s, "links") || flag(s, "primary");
}

static void tell(struct lnx *l) {
    json_t *a;
    if (state(l, &a, NULL) != ERR_OK) {
        return; /* has just gone: the connection tells */
    }
    bool primary = leads(json_object_get(a, "state"));
    bool changed = !l->told || primary != l->was_primary;
    json_decref(a);
    l->told = true;
    l->was_primary = primary;
    struct platform_events ev = l->events;
    ev.members_changed(ev.arg);
    if (changed) {
        ev.primary_changed(ev.arg);
    }
}

static void disconnected(struct lnx *l) {
    loop_watch_free(l->watch);
    l->watch = NULL;
    close(l->fd);
    l->fd = -1;
    LIST_FOREACH (at, &l->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        if (j->id != 0) {
            /* One that reboots us has had what it wanted. */
            if (!j->reboots_us) {
                err_set(&j->err, ERR_UNAVAILABLE, l->c.socket,
                        "weft-stackd ended before the order did");
            }
            j->id = 0;
            loop_post(l->loop, end_later, j);
        }
    }
    loop_timer_start(l->connect, CONNECT_MS);
}

static void on_answer(struct lnx *l, const json_t *o) {
    uint64_t id = (uint64_t)json_integer_value(json_object_get(o, "id"));
    struct err e;
    if (json_object_get(o, "event") != NULL) {
        tell(l);
        return;
    }
    LIST_FOREACH (at, &l->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        if (id != 0 && j->id == id) {
            end(j, message_error(o, &e) != ERR_OK ? &e : NULL);
            return;
        }
    }
}

static void on_readable(int fd, unsigned events, void *arg) {
    struct lnx *l = arg;
    struct err e;
    json_t *o;
    int with;
    enum err_code rc = message_receive(l->fd, &o, &with, &e);
    if (with >= 0) {
        close(with);
    }
    if (rc != ERR_OK) {
        disconnected(l);
    } else if (o != NULL) {
        on_answer(l, o);
        json_decref(o);
    }
}

static void try_connect(void *arg) {
    struct lnx *l = arg;
    struct err e;
    if (message_connect(l->c.socket, &l->fd, &e) != ERR_OK) {
        L_WARN_RL(60, "%s: %s", e.path, e.text);
        loop_timer_start(l->connect, CONNECT_MS);
        return;
    }
    l->watch = loop_watch_new(l->loop, l->fd, LOOP_READ, on_readable, l);
    json_t *o = json_pack("{s:s}", "do", "watch");
    if (message_send(l->fd, o, -1, &e) != ERR_OK) {
        disconnected(l);
    }
    json_decref(o);
    if (l->fd >= 0) {
        tell(l);
    }
}

/* `o` is consumed, and so is `with` (-1: none). */
static struct job *give(struct lnx *l, uint64_t order, json_t *o, int with) {
    struct job *j = job_new(l, order);
    struct err e = {0};
    uint64_t id = ++l->next_id;
    json_object_set_new(o, "id", json_integer((json_int_t)id));
    if (l->fd < 0) { /* it may have come up this moment */
        loop_timer_stop(l->connect);
        if (message_connect(l->c.socket, &l->fd, &e) == ERR_OK) {
            json_t *w = json_pack("{s:s}", "do", "watch");
            l->watch = loop_watch_new(l->loop, l->fd, LOOP_READ, on_readable, l);
            message_send(l->fd, w, -1, &e);
            json_decref(w);
        } else {
            loop_timer_start(l->connect, CONNECT_MS);
        }
    }
    if (l->fd < 0 || message_send(l->fd, o, with, &e) != ERR_OK) {
        j->err = e;
        loop_post(l->loop, end_later, j);
    } else {
        j->id = id;
    }
    json_decref(o);
    if (with >= 0) {
        close(with);
    }
    return j;
}

static void give_bytes(struct lnx *l, uint64_t order, json_t *o, const void *p, size_t n) {
    struct err e;
    int fd = message_bytes(p, n, &e);
    if (fd < 0) {
        struct job *j = job_new(l, order);
        j->err = e;
        loop_post(l->loop, end_later, j);
        json_decref(o);
        return;
    }
    give(l, order, o, fd);
}

/* ---------------------------------------------------------------- what it knows */

static void copy(const json_t *o, const char *name, char *out, size_t size) {
    const char *s = json_string_value(json_object_get(o, name));
    snprintf(out, size, "%s", s != NULL ? s : "");
}

static enum err_code identity(struct platform *p, struct platform_identity *out, struct err *e) {
    json_t *a;
    ERR_TRY(state(of(p), &a, e));
    const json_t *s = json_object_get(a, "state");
    memset(out, 0, sizeof *out);
    copy(s, "serial", out->serial, sizeof out->serial);
    copy(s, "model", out->model, sizeof out->model);
    copy(s, "os-name", out->os_name, sizeof out->os_name);
    copy(s, "os-version", out->os_version, sizeof out->os_version);
    out->chassis = flag(s, "links") && flag(s, "formed");
    out->primary = leads(s);
    out->factory_default = flag(s, "factory-default");
    out->clock_ok = flag(s, "clock-ok");
    out->frozen = flag(s, "frozen");
    out->member_id = (int)json_integer_value(json_object_get(s, "member-id"));
    json_decref(a);
    return ERR_OK;
}

static enum sztp_role role_of(const json_t *m) {
    const char *name = json_string_value(json_object_get(m, "role"));
    return name == NULL                    ? SZTP_ROLE_NONE
           : strcmp(name, "primary") == 0  ? SZTP_MASTER
           : strcmp(name, "backup") == 0   ? SZTP_BACKUP
           : strcmp(name, "linecard") == 0 ? SZTP_LINECARD
                                           : SZTP_ROLE_NONE;
}

static enum err_code members(struct platform *p, struct platform_member *out, size_t max, size_t *n,
                             struct err *e) {
    json_t *a;
    *n = 0;
    ERR_TRY(state(of(p), &a, e));
    const json_t *list = json_object_get(json_object_get(a, "state"), "members");
    for (size_t i = 0; i < json_array_size(list) && *n < max; i++) {
        const json_t *m = json_array_get(list, i), *id = json_object_get(m, "id");
        if (!json_is_integer(id)) {
            continue; /* the primary has not numbered it yet */
        }
        struct platform_member *one = &out[(*n)++];
        memset(one, 0, sizeof *one);
        one->id = (int)json_integer_value(id);
        one->role = role_of(m);
        one->up = flag(m, "up");
        copy(m, "serial", one->serial, sizeof one->serial);
        copy(m, "os-version", one->os_version, sizeof one->os_version);
    }
    json_decref(a);
    return ERR_OK;
}

static enum err_code inherited(struct platform *p, struct buf *out, struct err *e) {
    char path[64];
    int fd;
    ERR_TRY(message_ask(of(p)->c.socket, json_pack("{s:s}", "do", "inherited"), -1, ASK_MS, NULL,
                        &fd, e));
    if (fd < 0) {
        return err_set(e, ERR_INTERNAL, "inherited", "weft-stackd gave no file");
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum err_code rc = file_read(path, RECORD_MAX, out, e);
    close(fd);
    return rc;
}

static void inherited_clear(struct platform *p) {
    struct err e;
    if (message_ask(of(p)->c.socket, json_pack("{s:s}", "do", "inherited-clear"), -1, ASK_MS, NULL,
                    NULL, &e) != ERR_OK) {
        L_WARN("the inherited record stays: %s", e.text);
    }
}

/* ---------------------------------------------------------------- orders */

static void freeze(struct platform *p, uint64_t order) {
    give(of(p), order, json_pack("{s:s}", "do", "freeze"), -1);
}

static void thaw(struct platform *p, uint64_t order) {
    give(of(p), order, json_pack("{s:s}", "do", "thaw"), -1);
}

static void install(struct platform *p, uint64_t order, int member, const char *image,
                    const char *os_version) {
    int fd = open(image, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        struct job *j = job_new(of(p), order);
        err_errno(&j->err, errno, image, "the image can't be opened");
        loop_post(of(p)->loop, end_later, j);
        return;
    }
    give(of(p), order,
         json_pack("{s:s, s:i, s:s}", "do", "install", "member", member, "os-version", os_version),
         fd);
}

static void restart(struct platform *p, uint64_t order, const int *ids, size_t n, bool zeroize) {
    struct platform_identity id;
    json_t *list = json_array();
    bool us = identity(p, &id, NULL) != ERR_OK;
    for (size_t i = 0; i < n; i++) {
        us = us || ids[i] == id.member_id;
        json_array_append_new(list, json_integer(ids[i]));
    }
    struct job *j =
        give(of(p), order,
             json_pack("{s:s, s:b, s:o}", "do", "reboot", "zeroize", zeroize, "members", list), -1);
    j->reboots_us = us;
}

static void reboot(struct platform *p, uint64_t order, const int *ids, size_t n) {
    restart(p, order, ids, n, false);
}

/* The chassis as one device: all members that are up, the own one last. */
static void zeroize(struct platform *p, uint64_t order) {
    struct platform_member m[SZTP_MEMBERS_MAX];
    int ids[SZTP_MEMBERS_MAX];
    size_t n, up = 0;
    struct err e;
    if (members(p, m, SZTP_MEMBERS_MAX, &n, &e) != ERR_OK) {
        struct job *j = job_new(of(p), order);
        j->err = e;
        loop_post(of(p)->loop, end_later, j);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (m[i].up) {
            ids[up++] = m[i].id;
        }
    }
    restart(p, order, ids, up, true);
}

static void key(struct platform *p, uint64_t order, const void *pem, size_t n) {
    give_bytes(of(p), order, json_pack("{s:s}", "do", "key"), pem, n);
}

static void apply(struct platform *p, uint64_t order, const void *config, size_t n,
                  enum sztp_handling handling, int64_t confirm_ms) {
    give_bytes(of(p), order,
               json_pack("{s:s, s:s, s:I}", "do", "apply", "handling",
                         handling == SZTP_REPLACE ? "replace" : "merge", "confirm-ms",
                         (json_int_t)confirm_ms),
               config, n);
}

static void confirm(struct platform *p, uint64_t order) {
    give(of(p), order, json_pack("{s:s}", "do", "confirm"), -1);
}

static void rollback(struct platform *p, uint64_t order) {
    give(of(p), order, json_pack("{s:s}", "do", "rollback"), -1);
}

static void replicate(struct platform *p, uint64_t order, const void *record, size_t n) {
    give_bytes(of(p), order, json_pack("{s:s}", "do", "replicate"), record, n);
}

/* ---------------------------------------------------------------- scripts */

static void on_script(void *arg, struct script_result *r, const struct err *e) {
    struct job *j = arg;
    struct platform_script_result *out = &j->l->result;
    j->script = NULL;
    buf_free(&out->output);
    out->status = r->status;
    out->output = r->output;
    r->output = (struct buf)BUF_INIT;
    end(j, e);
}

static void run_script(struct platform *p, uint64_t order, enum platform_script which,
                       const void *text, size_t n, int64_t deadline_ms) {
    struct lnx *l = of(p);
    const char *name = which == PLATFORM_PRE ? "pre-script" : "post-script";
    char file[PATH_SIZE], output[PATH_SIZE], sock[PATH_SIZE], serial[CMS_SERIAL_MAX + 20];
    struct platform_identity id = {.serial = ""};
    struct job *j = job_new(l, order);
    identity(p, &id, NULL);
    snprintf(file, sizeof file, "%s/%s", l->c.state, name);
    snprintf(output, sizeof output, "%s/%s.log", l->c.state, name);
    snprintf(sock, sizeof sock, "WEFT_STACK_SOCKET=%s", l->c.socket);
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", id.serial);
    struct script_config s = {.file = file,
                              .text = text != NULL ? text : "",
                              .n = n,
                              .environment = {serial, sock},
                              .output_file = output,
                              .deadline_ms = deadline_ms};
    j->script = script_start(l->loop, &s, on_script, j);
}

static const struct platform_script_result *script_result(struct platform *p) {
    return &of(p)->result;
}

/* ---------------------------------------------------------------- lint (PH-055) */

/* What gives members other roles in configurations that we know: words of a line. */
static const char *const suspicious[] = {"virtual-chassis", "mastership",   "member-id",
                                         "preprovisioned",  "\"priority\"", "zeroize"};

static void lint(struct platform *p, const void *config, size_t n, struct buf *out) {
    platform_lint(suspicious, sizeof suspicious / sizeof *suspicious, config, n, out);
}

/* ---------------------------------------------------------------- life */

static void free_linux(struct platform *p) {
    struct lnx *l = of(p);
    LIST_FOREACH_SAFE (at, &l->jobs) {
        struct job *j = CONTAINER_OF(at, struct job, link);
        list_remove(&j->link);
        if (j->script != NULL || j->id != 0) {
            script_cancel(j->script);
            mem_free(j);
        } else {
            j->l = NULL; /* its end is on its way */
        }
    }
    if (l->fd >= 0) {
        loop_watch_free(l->watch);
        close(l->fd);
    }
    loop_timer_free(l->connect);
    buf_free(&l->result.output);
    mem_free(l);
}

struct platform *platform_linux_new(struct loop *loop, const struct platform_linux_config *c,
                                    const struct platform_events *events) {
    static const struct platform_ops ops = {.name = "linux-stack",
                                            .free = free_linux,
                                            .identity = identity,
                                            .members = members,
                                            .inherited = inherited,
                                            .inherited_clear = inherited_clear,
                                            .freeze = freeze,
                                            .thaw = thaw,
                                            .install = install,
                                            .reboot = reboot,
                                            .script = run_script,
                                            .key = key,
                                            .apply = apply,
                                            .confirm = confirm,
                                            .rollback = rollback,
                                            .replicate = replicate,
                                            .zeroize = zeroize,
                                            .script_result = script_result,
                                            .lint = lint};
    struct lnx *l = MEM_NEW(struct lnx);
    l->ops = &ops;
    l->loop = loop;
    l->c = *c;
    l->events = *events;
    l->fd = -1;
    list_init(&l->jobs);
    l->connect = loop_timer_new(loop, try_connect, l);
    loop_timer_start(l->connect, 1);
    return (struct platform *)l;
}
