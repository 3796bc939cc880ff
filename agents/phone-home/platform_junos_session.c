// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_junos_session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/nc_framing.h"
#include "net/stream.h"
#include "phone-home/script.h"

LOGGER_MODULE(junos)

enum { RPC_NAME_MAX = 63 };

static const char HELLO[] = "<hello xmlns=\"" NS_NETCONF "\"><capabilities><capability>"
                            "urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>";

struct junos_session {
    struct loop *loop;
    const struct junos_config *c;
    struct stream *stream;
    pid_t pid; /* of the program; 0: none */
    struct nc_framer framer;
    bool hello; /* the device's has come */
    struct err dead;
    /* the RPC under way; fn NULL: none */
    junos_answer_fn *fn;
    void *arg;
    char rpc[RPC_NAME_MAX + 1];
    uint64_t id;
    bool secret;
    struct buf request; /* until the device's hello is there */
    struct loop_timer *deadline;
    struct loop_deferred failed; /* tells that it is dead, at the end of the turn */
    int64_t timeout_ms;
};

bool junos_session_dead(const struct junos_session *s) {
    return s->dead.code != ERR_OK;
}

/* ---------------------------------------------------------------- the program */

static enum err_code spawn(struct junos_session *s, int fd, struct err *e) {
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", home[] = "HOME=/";
    char *env[] = {path, home, NULL}, *argv[JUNOS_ARGS_MAX + 1] = {NULL};
    for (size_t i = 0; i < s->c->n_program; i++) {
        argv[i] = (char *)(uintptr_t)s->c->program[i];
    }
    const int fds[3] = {fd, fd, -1};
    return script_spawn(argv, env, fds, &s->pid, e);
}

/* It has no state of its own that a signal could harm: changes that it did not commit go with the
 * session, and it ends at once. */
static void end_program(struct junos_session *s) {
    if (s->pid > 0) {
        kill(-s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
}

/* ---------------------------------------------------------------- the end of RPCs */

static void close_all(struct junos_session *s) {
    stream_free(s->stream);
    s->stream = NULL;
    end_program(s);
}

static void answer(struct junos_session *s, const struct dom *reply, const struct err *e) {
    junos_answer_fn *fn = s->fn;
    s->fn = NULL;
    loop_timer_stop(s->deadline);
    if (fn != NULL) {
        fn(s->arg, reply, e); /* may free the session */
    }
}

/* What is under way ends with it, and whatever comes. */
static void die(struct junos_session *s, const struct err *e) {
    if (s->dead.code == ERR_OK) {
        s->dead = *e;
    }
    close_all(s);
    struct err kept = s->dead;
    answer(s, NULL, &kept);
}

static void on_failed(void *arg) {
    struct junos_session *s = arg;
    struct err e = s->dead;
    answer(s, NULL, &e);
}

static void on_deadline(void *arg) {
    struct junos_session *s = arg;
    struct err e;
    err_set(&e, ERR_TIMEOUT, NULL, "%s: the device did not answer within %lld s%s", s->rpc,
            (long long)(s->timeout_ms / 1000),
            s->framer.msg.len > 0 ? " (it began to, and did not end)" : "");
    die(s, &e);
}

/* ---------------------------------------------------------------- messages */

static void send_message(struct junos_session *s, const void *p, size_t n) {
    struct buf b = BUF_INIT;
    nc_frame_piece(false, p, n, &b);
    nc_frame_end(false, &b);
    stream_write(s->stream, b.data, b.len);
    buf_free(&b);
}

static void send_request(struct junos_session *s) {
    if (s->hello && s->stream != NULL && s->request.len > 0) {
        send_message(s, s->request.data, s->request.len);
        buf_free(&s->request);
    }
}

/* False: the session is dead, or gone. */
static bool on_message(struct junos_session *s) {
    struct err e = {0};
    struct buf msg = s->framer.msg, warnings = BUF_INIT;
    s->framer.msg = (struct buf)BUF_INIT;
    if (!s->hello) {
        enum err_code rc = junos_hello_parse(msg.data, msg.len, &e);
        buf_free(&msg);
        if (rc != ERR_OK) {
            die(s, &e);
            return false;
        }
        s->hello = true;
        send_request(s);
        return true;
    }
    if (s->fn == NULL) {
        buf_free(&msg);
        err_set(&e, ERR_MALFORMED, NULL, "the device sent a message that nobody asked for");
        die(s, &e);
        return false;
    }
    struct arena *a = arena_new();
    const struct dom *reply = NULL;
    enum err_code rc =
        junos_reply_parse(msg.data, msg.len, s->rpc, s->id, s->secret, a, &reply, &warnings, &e);
    buf_free(&msg);
    if (warnings.len > 0) {
        char line[512];
        text_line(line, sizeof line, buf_cstr(&warnings));
        L_WARN("the device warns: %s", line);
    }
    buf_free(&warnings);
    bool on = rc != ERR_MALFORMED;
    if (!on) {
        die(s, &e);
    } else {
        answer(s, reply, rc != ERR_OK ? &e : NULL);
    }
    arena_free(a);
    return false; /* `answer` may have freed it; one message comes for each RPC */
}

static void on_data(struct stream *stream, const uint8_t *p, size_t n, void *arg) {
    struct junos_session *s = arg;
    struct cur in = cur_of(p, n);
    struct err e;
    while (cur_left(&in) > 0) {
        if (s->framer.msg.len == 0 && (*in.p == '\n' || *in.p == '\r' || *in.p == ' ')) {
            cur_u8(&in); /* blanks between two messages are none */
            continue;
        }
        bool whole = nc_framer_take(&s->framer, &in, &e);
        if (e.code == ERR_OK && s->framer.msg.len > JUNOS_ANSWER_MAX) {
            err_set(&e, ERR_TOO_BIG, NULL, "%s: the answer has more than %d MiB",
                    s->fn != NULL ? s->rpc : "the session", JUNOS_ANSWER_MAX >> 20);
        }
        if (e.code != ERR_OK) {
            die(s, &e);
            return;
        }
        if (whole && !on_message(s)) {
            return; /* of what follows one answer nothing was asked for */
        }
    }
}

static void on_closed(struct stream *stream, const char *why, void *arg) {
    struct junos_session *s = arg;
    struct err e;
    char reason[200];
    text_line(reason, sizeof reason, why);
    if (s->fn != NULL && s->hello) {
        err_set(&e, ERR_UNAVAILABLE, NULL, "%s: the session ended %s the answer: %s", s->rpc,
                s->framer.msg.len > 0 ? "in the middle of" : "before", reason);
    } else {
        err_set(&e, ERR_UNAVAILABLE, NULL, "the session with the device ended%s: %s",
                s->hello ? "" : " before its hello", reason);
    }
    die(s, &e);
}

static void on_ready(struct stream *stream, void *arg) {
    struct junos_session *s = arg;
    send_message(s, HELLO, sizeof HELLO - 1);
    send_request(s);
}

/* ---------------------------------------------------------------- life */

static const struct stream_ops stream_callbacks = {
    .ready = on_ready, .data = on_data, .closed = on_closed};

static void connect_program(struct junos_session *s) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        err_errno(&s->dead, errno, NULL, "no socket could be made");
        return;
    }
    if (spawn(s, fds[1], &s->dead) != ERR_OK) {
        close(fds[0]);
    } else {
        s->stream = stream_accepted(s->loop, fds[0], NULL, &stream_callbacks, s);
    }
    close(fds[1]);
}

struct junos_session *junos_session_new(struct loop *l, const struct junos_config *c) {
    struct junos_session *s = MEM_NEW(struct junos_session);
    s->loop = l;
    s->c = c;
    s->failed = (struct loop_deferred){.fn = on_failed, .arg = s};
    s->deadline = loop_timer_new(l, on_deadline, s);
    if (c->socket[0] != '\0') {
        s->stream = stream_connect(l, &(struct stream_target){.unix_path = c->socket},
                                   &stream_callbacks, s);
    } else {
        connect_program(s);
    }
    return s;
}

void junos_session_ask(struct junos_session *s, const char *rpc, const void *body, size_t n,
                       bool secret, int64_t timeout_ms, junos_answer_fn *fn, void *arg) {
    s->fn = fn;
    s->arg = arg;
    s->secret = secret;
    s->timeout_ms = timeout_ms;
    snprintf(s->rpc, sizeof s->rpc, "%s", rpc);
    if (s->dead.code != ERR_OK) {
        loop_defer(s->loop, &s->failed);
        return;
    }
    buf_clear(&s->request);
    buf_printf(&s->request, "<rpc xmlns=\"" NS_NETCONF "\" message-id=\"%llu\">",
               (unsigned long long)++s->id);
    buf_add(&s->request, body, n);
    buf_str(&s->request, "</rpc>");
    loop_timer_start(s->deadline, timeout_ms);
    send_request(s);
}

void junos_session_free(struct junos_session *s) {
    if (s == NULL) {
        return;
    }
    loop_defer_cancel(&s->failed);
    loop_timer_free(s->deadline);
    close_all(s);
    nc_framer_free(&s->framer);
    buf_free(&s->request);
    mem_free(s);
}
