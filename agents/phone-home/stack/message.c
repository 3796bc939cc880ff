// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/message.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum err_code message_connect(const char *path, int *fd, struct err *e) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    *fd = -1;
    if (strlen(path) >= sizeof at.sun_path) {
        return err_set(e, ERR_INVALID, path, "is too long for a socket's path");
    }
    memcpy(at.sun_path, path, strlen(path));
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0) {
        return err_errno(e, errno, path, "no socket can be made");
    }
    if (connect(s, (struct sockaddr *)&at, sizeof at) != 0) {
        int why = errno;
        close(s);
        return err_set(e, ERR_UNAVAILABLE, path, "weft-stackd does not answer: %s", strerror(why));
    }
    *fd = s;
    return ERR_OK;
}

enum err_code message_send(int fd, const json_t *o, int with, struct err *e) {
    char *text = json_dumps(o, JSON_COMPACT);
    struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (with >= 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.space;
        m.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &with, sizeof with);
    }
    enum err_code rc = ERR_OK;
    if (iov.iov_len > MESSAGE_MAX) {
        rc = err_set(e, ERR_TOO_BIG, NULL, "the message has more than %d bytes", MESSAGE_MAX);
    } else if (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        rc = errno == EAGAIN ? err_set(e, ERR_UNAVAILABLE, NULL, "the other side does not read")
                             : err_errno(e, errno, NULL, "the other side has gone");
    }
    free(text);
    return rc;
}

static int descriptor_of(struct msghdr *m) {
    int with = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            memcpy(&with, CMSG_DATA(c), sizeof with);
        }
    }
    return with;
}

enum err_code message_receive(int fd, json_t **o, int *with, struct err *e) {
    static char text[MESSAGE_MAX];
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    json_error_t je;
    *o = NULL;
    *with = -1;
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return ERR_OK;
    }
    if (n <= 0) {
        return n < 0 ? err_errno(e, errno, NULL, "the other side has gone")
                     : err_set(e, ERR_IO, NULL, "the other side has gone");
    }
    *with = descriptor_of(&m);
    *o = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? NULL : json_loadb(text, (size_t)n, 0, &je);
    if (!json_is_object(*o)) {
        json_decref(*o);
        *o = NULL;
        if (*with >= 0) {
            close(*with);
            *with = -1;
        }
        return err_set(e, ERR_MALFORMED, NULL, "a message is no JSON object");
    }
    return ERR_OK;
}

json_t *message_error_of(const struct err *e) {
    return json_pack("{s:s, s:s, s:s}", "code", err_code_name(e->code), "path", e->path, "text",
                     e->text);
}

enum err_code message_error(const json_t *answer, struct err *e) {
    const json_t *o = json_object_get(answer, "error");
    const char *name = json_string_value(json_object_get(o, "code"));
    const char *path = json_string_value(json_object_get(o, "path"));
    const char *text = json_string_value(json_object_get(o, "text"));
    enum err_code code;
    if (o == NULL) {
        return ERR_OK;
    }
    if (name == NULL || !err_code_parse(name, &code) || code == ERR_OK) {
        code = ERR_INTERNAL;
    }
    return err_set(e, code, path, "%s", text != NULL ? text : "failed");
}

static enum err_code wait_for(int fd, uint64_t id, int64_t until, json_t **answer, int *with,
                              struct err *e) {
    for (;;) {
        int64_t left = (until - clock_mono(&clock_real)) / NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&p, 1, (int)(left < 60000 ? left : 60000)) < 0) {
            return err_set(e, ERR_TIMEOUT, NULL, "weft-stackd does not answer");
        }
        ERR_TRY(message_receive(fd, answer, with, e));
        if (*answer != NULL && (uint64_t)json_integer_value(json_object_get(*answer, "id")) == id) {
            return message_error(*answer, e);
        }
        json_decref(*answer);
        *answer = NULL;
        if (*with >= 0) {
            close(*with);
            *with = -1;
        }
    }
}

enum err_code message_ask(const char *path, json_t *o, int with, int64_t timeout_ms,
                          json_t **answer, int *back, struct err *e) {
    int fd, got = -1;
    json_t *a = NULL;
    json_object_set_new(o, "id", json_integer(1));
    enum err_code rc = message_connect(path, &fd, e);
    if (rc == ERR_OK) {
        rc = message_send(fd, o, with, e);
    }
    if (rc == ERR_OK) {
        rc = wait_for(fd, 1, clock_mono(&clock_real) + timeout_ms * NS_PER_MS, &a, &got, e);
    }
    if (fd >= 0) {
        close(fd);
    }
    json_decref(o);
    if (got >= 0 && (rc != ERR_OK || back == NULL)) {
        close(got);
        got = -1;
    }
    if (back != NULL) {
        *back = got;
    }
    if (rc != ERR_OK || answer == NULL) {
        json_decref(a);
        a = NULL;
    }
    if (answer != NULL) {
        *answer = a;
    }
    return rc;
}

int message_bytes(const void *p, size_t n, struct err *e) {
    int fd = memfd_create("weft-stackd", MFD_CLOEXEC);
    if (fd < 0) {
        err_errno(e, errno, NULL, "no memory for a file");
        return -1;
    }
    for (size_t at = 0; at < n;) {
        ssize_t w = write(fd, (const char *)p + at, n - at);
        if (w < 0 && errno != EINTR) {
            err_errno(e, errno, NULL, "no memory for a file");
            close(fd);
            return -1;
        }
        at += w > 0 ? (size_t)w : 0;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}
