// SPDX-License-Identifier: Apache-2.0
/* The local socket: who asks, what is asked, what it is answered. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "phone-home/stack/daemon.h"
#include "phone-home/stack/message.h"

LOGGER_MODULE(stack)

enum { CLIENTS_MAX = 32 };

struct asker {
    struct local *local;
    struct list link;
    int fd;
    struct loop_watch *watch;
    struct list asks;
    bool watches;
};

struct local_ask {
    struct list link;
    struct asker *from; /* NULL: has gone */
    json_int_t id;
};

struct local {
    struct stackd *d;
    int fd;
    struct loop_watch *watch;
    struct list askers;
    size_t n;
};

static void asker_gone(struct asker *a) {
    while (!list_empty(&a->asks)) {
        struct local_ask *ask = CONTAINER_OF(a->asks.next, struct local_ask, link);
        list_remove(&ask->link);
        ask->from = NULL; /* it is done all the same */
    }
    list_remove(&a->link);
    a->local->n--;
    loop_watch_free(a->watch);
    close(a->fd);
    mem_free(a);
}

static void send_to(struct asker *a, json_t *o, int with) {
    struct err e;
    if (message_send(a->fd, o, with, &e) == ERR_UNAVAILABLE) {
        shutdown(a->fd, SHUT_RDWR); /* does not read: the loop sees it go */
    }
    json_decref(o);
}

static void answer_with(struct local_ask *ask, json_t *o, int with) {
    if (ask->from != NULL) {
        json_object_set_new(o, "id", json_integer(ask->id));
        send_to(ask->from, o, with);
        list_remove(&ask->link);
    } else {
        json_decref(o);
    }
    mem_free(ask);
}

void local_answer(struct local_ask *ask, const struct err *e) {
    if (ask == NULL) {
        return;
    }
    json_t *o = json_object();
    if (e != NULL) {
        json_object_set_new(o, "error", message_error_of(e));
    }
    answer_with(ask, o, -1);
}

/* ---------------------------------------------------------------- what is asked */

static bool clock_ok(const struct stackd *d) {
    struct timex t = {0};
    return d->settings->clock_trusted || (adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC));
}

static json_t *member_json(const struct stack_member *m) {
    json_t *ports = json_array();
    for (size_t i = 0; i < m->n_neighbours; i++) {
        json_array_append_new(ports, json_pack("{s:s, s:s}", "port", m->neighbours[i].port,
                                               "neighbour", m->neighbours[i].serial));
    }
    json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:i, s:s, s:s, s:s, s:o}", "serial", m->serial,
                          "role", stack_role_name(m->role), "up", m->up, "reachable", m->reachable,
                          "priority", m->priority, "model", m->model, "os-name", m->os_name,
                          "os-version", m->os_version, "ports", ports);
    if (m->id >= 0) {
        json_object_set_new(o, "id", json_integer(m->id));
    }
    return o;
}

static json_t *state_json(const struct stackd *d) {
    struct stack_member m[2 * STACK_MEMBERS_MAX];
    size_t n = stack_engine_members(d->engine, m, 2 * STACK_MEMBERS_MAX);
    const struct stack_chassis *c = stack_engine_chassis(d->engine);
    const struct stack_settings *s = &d->settings->stack;
    json_t *members = json_array();
    int id = stack_engine_id(d->engine, s->serial);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(members, member_json(&m[i]));
    }
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:s, s:s, s:o}", "serial",
        s->serial, "model", s->model, "os-name", s->os_name, "os-version", s->os_version, "up",
        d->up, "links", s->n_links > 0, "formed", stack_engine_formed(d->engine), "primary",
        stack_engine_primary(d->engine), "frozen", c->frozen, "factory-default",
        !stackd_configured(d), "clock-ok", clock_ok(d), "term", (json_int_t)c->term, "slot",
        d->slot, "failed-version", d->slots.failed, "members", members);
    if (id >= 0) {
        json_object_set_new(o, "member-id", json_integer(id));
    }
    return o;
}

static void do_state(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    json_t *a = json_object();
    json_object_set_new(a, "state", state_json(d));
    answer_with(ask, a, -1);
}

static void do_watch(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    ask->from->watches = true;
    local_answer(ask, NULL);
}

static void freeze(struct stackd *d, struct local_ask *ask, bool frozen) {
    struct order_ref *r = stackd_order(d, ask);
    if (r != NULL) {
        stack_engine_freeze(d->engine, stackd_now(d), r->order, frozen);
    }
}
static void do_freeze(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    freeze(d, ask, true);
}
static void do_thaw(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    freeze(d, ask, false);
}

static void on_installed(struct stackd *d, void *arg, const struct err *e) {
    local_answer(arg, e);
}

static void wrong(struct local_ask *ask, const char *path, const char *text) {
    struct err e;
    err_set(&e, ERR_INVALID, path, "%s", text);
    local_answer(ask, &e);
}

static void do_install(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    const json_t *member = json_object_get(o, "member");
    const char *version = json_string_value(json_object_get(o, "os-version"));
    int id = json_is_integer(member) ? (int)json_integer_value(member) : -1;
    /* Servers of the older dialect name no version: "" is whatever the image says. */
    if (fd < 0 || id < 0 || version == NULL ||
        (version[0] != '\0' && !stack_text_ok(version, STACK_TEXT_MAX))) {
        wrong(ask, "install", "needs a member, an os-version of at most 40 characters and a file");
    } else if (id == stack_engine_id(d->engine, d->settings->stack.serial)) {
        stackd_install(d, dup(fd), version, NULL, on_installed, ask);
    } else {
        stackd_send_file(d, ask, STACK_FILE_IMAGE, id, dup(fd), version);
    }
}

static void do_replicate(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    if (fd < 0) {
        wrong(ask, "replicate", "needs a file");
    } else {
        stackd_send_file(d, ask, STACK_FILE_RECORD, -1, dup(fd), "");
    }
}

static void do_reboot(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    const json_t *members = json_object_get(o, "members");
    bool zeroize = json_is_true(json_object_get(o, "zeroize"));
    int ids[STACK_MEMBERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(members) && n < STACK_MEMBERS_MAX; i++) {
        ids[n++] = (int)json_integer_value(json_array_get(members, i));
    }
    if (n == 0) {
        wrong(ask, "members", "must be an array of numbers of members");
        return;
    }
    struct order_ref *r = stackd_order(d, ask);
    if (r != NULL) {
        stack_engine_reboot(d->engine, stackd_now(d), r->order, ids, n, zeroize);
    }
}

static void do_inherited(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    char path[SETTINGS_PATH_MAX + 64];
    struct buf b = BUF_INIT;
    struct err e;
    stackd_path(d, "record", path);
    int with = -1;
    enum err_code rc = file_read(path, STACK_FILE_MAX_RECORD, &b, &e);
    if (rc == ERR_ABSENT) {
        err_set(&e, rc, "inherited", "no primary has left a record here");
    } else if (rc == ERR_OK) {
        with = message_bytes(b.data, b.len, &e);
    }
    buf_free(&b);
    if (with < 0) {
        local_answer(ask, &e);
        return;
    }
    answer_with(ask, json_object(), with);
    close(with);
}

static void do_inherited_clear(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    char path[SETTINGS_PATH_MAX + 64];
    struct err e;
    stackd_path(d, "record", path);
    bool gone = unlink(path) == 0 || errno == ENOENT;
    if (!gone) {
        err_errno(&e, errno, path, "can't be removed");
    } else {
        gone = file_sync_folder_of(path, &e) == ERR_OK;
    }
    local_answer(ask, gone ? NULL : &e);
}

static void do_key(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    struct err e;
    enum err_code rc = err_set(&e, ERR_INVALID, "key", "needs a file");
    if (fd >= 0) {
        rc = stackd_key(d, fd, &e);
    }
    local_answer(ask, rc == ERR_OK ? NULL : &e);
}

static void on_config(struct stackd *d, void *arg, const struct err *e) {
    local_answer(arg, e);
}

static void do_apply(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    const char *handling = json_string_value(json_object_get(o, "handling"));
    json_int_t confirm = json_integer_value(json_object_get(o, "confirm-ms"));
    if (fd < 0 || handling == NULL ||
        (strcmp(handling, "merge") != 0 && strcmp(handling, "replace") != 0) || confirm < 1 ||
        confirm > 86400000) {
        wrong(ask, "apply", "needs a file, handling merge or replace, confirm-ms up to a day");
    } else {
        stackd_config(d, CONFIG_APPLY, dup(fd), handling, confirm, on_config, ask);
    }
}
static void do_confirm(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    stackd_config(d, CONFIG_CONFIRM, -1, NULL, 0, on_config, ask);
}
static void do_rollback(struct stackd *d, struct local_ask *ask, const json_t *o, int fd) {
    stackd_config(d, CONFIG_ROLLBACK, -1, NULL, 0, on_config, ask);
}

static const struct {
    const char *name;
    void (*fn)(struct stackd *d, struct local_ask *ask, const json_t *o, int fd);
} verbs[] = {
    {"state", do_state},
    {"watch", do_watch},
    {"freeze", do_freeze},
    {"thaw", do_thaw},
    {"install", do_install},
    {"reboot", do_reboot},
    {"replicate", do_replicate},
    {"inherited", do_inherited},
    {"inherited-clear", do_inherited_clear},
    {"key", do_key},
    {"apply", do_apply},
    {"confirm", do_confirm},
    {"rollback", do_rollback},
};

static void on_request(struct asker *a, const json_t *o, int fd) {
    struct stackd *d = a->local->d;
    struct local_ask *ask = MEM_NEW(struct local_ask);
    const char *verb = json_string_value(json_object_get(o, "do"));
    ask->from = a;
    ask->id = json_integer_value(json_object_get(o, "id"));
    list_append(&a->asks, &ask->link);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && verb != NULL; i++) {
        if (strcmp(verbs[i].name, verb) == 0) {
            verbs[i].fn(d, ask, o, fd);
            stackd_poke(d);
            return;
        }
    }
    wrong(ask, "do", "is nothing that weft-stackd does");
}

/* ---------------------------------------------------------------- sockets */

static void on_readable(int s, unsigned events, void *arg) {
    struct asker *a = arg;
    struct err e;
    json_t *o;
    int fd;
    enum err_code rc = message_receive(a->fd, &o, &fd, &e);
    if (rc == ERR_IO || rc == ERR_MALFORMED || rc == ERR_LIMIT) {
        asker_gone(a);
        return;
    }
    if (o != NULL) {
        on_request(a, o, fd);
        json_decref(o);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void on_connect(int s, unsigned events, void *arg) {
    struct local *l = arg;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (l->n >= CLIENTS_MAX) {
        L_WARN_RL(60, "more than %d programs are at the local socket: one was turned away",
                  CLIENTS_MAX);
        close(fd);
        return;
    }
    struct asker *a = MEM_NEW(struct asker);
    a->local = l;
    a->fd = fd;
    list_init(&a->asks);
    list_append(&l->askers, &a->link);
    l->n++;
    a->watch = loop_watch_new(l->d->loop, fd, LOOP_READ, on_readable, a);
}

void local_changed(struct stackd *d) {
    if (d->local == NULL) {
        return;
    }
    LIST_FOREACH_SAFE (p, &d->local->askers) {
        struct asker *a = CONTAINER_OF(p, struct asker, link);
        if (a->watches) {
            send_to(a, json_pack("{s:s}", "event", "changed"), -1);
        }
    }
}

enum err_code local_open(struct stackd *d, struct err *e) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *path = d->settings->socket;
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The supervisor holds the folder's lock: what lies there is of a member process that has
     * ended. */
    unlink(path);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    int why = errno;
    umask(before);
    if (!bound || listen(fd, CLIENTS_MAX) != 0) {
        why = bound ? errno : why;
        if (fd >= 0) {
            close(fd);
        }
        return err_errno(e, why, path, "can't be listened on");
    }
    struct local *l = MEM_NEW(struct local);
    l->d = d;
    l->fd = fd;
    list_init(&l->askers);
    l->watch = loop_watch_new(d->loop, fd, LOOP_READ, on_connect, l);
    d->local = l;
    return ERR_OK;
}

void local_close(struct stackd *d) {
    struct local *l = d->local;
    if (l == NULL) {
        return;
    }
    while (!list_empty(&l->askers)) {
        asker_gone(CONTAINER_OF(l->askers.next, struct asker, link));
    }
    loop_watch_free(l->watch);
    close(l->fd);
    unlink(d->settings->socket);
    mem_free(l);
    d->local = NULL;
}
