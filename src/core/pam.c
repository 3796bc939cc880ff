// SPDX-License-Identifier: Apache-2.0
#include "core/pam.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"

LOGGER_MODULE(pam);

enum { ANSWER_MAX = 128 << 10 };

static char program[1024];
static _Atomic unsigned running;

void pam_find(void) {
    char self[900];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    snprintf(program, sizeof program, "%.*s/weft-pam", slash != NULL ? (int)(slash - self) : 0,
             self);
    if (access(program, X_OK) != 0) {
        snprintf(program, sizeof program, "%s", WEFT_LIBEXECDIR "/weft-pam");
    }
}

/* Of our environment only what it needs. */
static void environment(char folder[1100], const char *out[5]) {
    const char *from = getenv("WEFT_PAM_CONFDIR"), *asan = getenv("ASAN_OPTIONS");
    size_t n = 0;
    out[n++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    out[n++] = "LANG=C.UTF-8";
    if (from != NULL) {
        snprintf(folder, 1100, "WEFT_PAM_CONFDIR=%s", from);
        out[n++] = folder;
    }
    if (asan != NULL) { /* modules leave memory behind */
        out[n++] = "ASAN_OPTIONS=detect_leaks=0";
    }
    out[n] = NULL;
}

/* Its standard input and output; errors go where ours do. It leads a process group, so that what it
 * starts ends with it. */
static int spawn(const char *service, int in, int out, pid_t *pid) {
    const char *const argv[] = {program, service, NULL};
    const char *env[5];
    char folder[1100];
    environment(folder, env);
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, in, 0);
    posix_spawn_file_actions_adddup2(&fa, out, 1);
    posix_spawnattr_init(&at);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                      POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setsigdefault(&at, &usual);
    int rc = posix_spawn(pid, program, &fa, &at, (char *const *)(uintptr_t)argv,
                         (char *const *)(uintptr_t)env);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

/* Small enough for the pipe: it does not block. */
static void tell(int fd, const char *user, const char *password, const char *from) {
    struct buf b = BUF_INIT;
    buf_add(&b, user, strlen(user) + 1);
    buf_add(&b, password, strlen(password) + 1);
    buf_add(&b, from, strlen(from) + 1);
    if (write(fd, b.data, b.len) != (ssize_t)b.len) {
        L_WARN("weft-pam does not listen: %s", strerror(errno));
    }
    mem_wipe(b.data, b.len);
    buf_free(&b);
}

/* Until it has closed its output. False: not in time, or too much. */
static bool listen_to(int fd, int64_t until, struct buf *out) {
    for (;;) {
        int64_t left = until - clock_mono(&clock_real);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || out->len > ANSWER_MAX) {
            return false;
        }
        int n = poll(&p, 1, (int)(left / NS_PER_MS) + 1);
        if (n <= 0) {
            continue; /* interrupted, or too late */
        }
        uint8_t *at = buf_extend(out, 4096);
        ssize_t got = read(fd, at, 4096);
        out->len -= 4096 - (got > 0 ? (size_t)got : 0);
        if (got == 0) {
            return true;
        }
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
}

static enum err_code understand(struct buf *out, int status, struct buf *groups, struct err *e) {
    const char *text = buf_cstr(out);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "weft-pam ended with status %d", status);
    }
    if (strncmp(text, "ok\n", 3) == 0) {
        buf_str(groups, text + 3);
        return ERR_OK;
    }
    if (strncmp(text, "no\n", 3) == 0) {
        return err_set(e, ERR_AUTH, NULL, "PAM: %.*s", (int)strcspn(text + 3, "\n"), text + 3);
    }
    return err_set(e, ERR_UNAVAILABLE, NULL, "weft-pam said nothing");
}

/* What has closed its output ends at once, unless a module holds it. */
static int reap(pid_t pid, int64_t until) {
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        if (clock_mono(&clock_real) >= until) {
            kill(-pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
            }
            break;
        }
        poll(NULL, 0, 2);
    }
    return status;
}

static enum err_code run(const char *service, unsigned timeout_s, const char *user,
                         const char *password, const char *from, struct buf *groups,
                         struct err *e) {
    int in[2], out[2];
    pid_t pid;
    if (pipe2(in, O_CLOEXEC) != 0) {
        return err_errno(e, errno, NULL, "no pipe could be made");
    }
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return err_errno(e, errno, NULL, "no pipe could be made");
    }
    int rc = spawn(service, in[0], out[1], &pid);
    close(in[0]);
    close(out[1]);
    if (rc == 0) {
        tell(in[1], user, password, from);
    }
    close(in[1]);
    if (rc != 0) {
        close(out[0]);
        return err_set(e, ERR_UNAVAILABLE, NULL, "%s can't be started: %s", program, strerror(rc));
    }
    struct buf text = BUF_INIT;
    int64_t until = clock_mono(&clock_real) + (int64_t)timeout_s * NS_PER_S;
    bool heard = listen_to(out[0], until, &text);
    close(out[0]);
    int status = reap(pid, heard ? until : 0);
    enum err_code code =
        heard ? understand(&text, status, groups, e)
              : err_set(e, ERR_UNAVAILABLE, NULL, "PAM gave no answer within %u s", timeout_s);
    buf_free(&text);
    return code;
}

enum err_code pam_ask(const char *service, unsigned timeout_s, const char *user,
                      const char *password, const char *from, struct buf *groups, struct err *e) {
    if (program[0] == '\0' || access(program, X_OK) != 0) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "weft-pam is not installed");
    }
    enum err_code rc = ERR_UNAVAILABLE;
    if (atomic_fetch_add(&running, 1) < PAM_RUNNING_MAX) {
        rc = run(service, timeout_s, user, password, from, groups, e);
    } else {
        err_set(e, ERR_UNAVAILABLE, NULL, "PAM is asked about %d logins already", PAM_RUNNING_MAX);
    }
    atomic_fetch_sub(&running, 1);
    return rc;
}
