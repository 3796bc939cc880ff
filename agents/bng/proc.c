// SPDX-License-Identifier: Apache-2.0
#include "bng/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

extern char **environ;

struct proc {
    struct loop *loop;
    struct loop_watch *watch;
    struct loop_timer *timeout, *reap;
    pid_t pid;
    int fd;
    struct buf out;
    const char *failure;
    proc_fn *fn;
    void *arg;
};

static void ended(struct proc *p, int status) {
    proc_fn *fn = p->fn;
    struct buf out = p->out;
    p->out = (struct buf)BUF_INIT;
    p->fn = NULL;
    p->pid = 0;
    loop_timer_stop(p->timeout);
    if (p->failure != NULL) {
        fn(-1, p->failure, strlen(p->failure), p->arg);
    } else {
        fn(status, buf_cstr(&out), out.len, p->arg);
    }
    buf_free(&out);
}

static void close_output(struct proc *p) {
    if (p->fd >= 0) {
        loop_watch_free(p->watch);
        p->watch = NULL;
        close(p->fd);
        p->fd = -1;
    }
}

static void reap(void *arg) {
    struct proc *p = arg;
    int status = 0;
    pid_t r = p->pid > 0 ? waitpid(p->pid, &status, WNOHANG) : -1;
    if (r == 0) { /* has closed its output, but has not ended yet */
        loop_timer_start(p->reap, 2);
        return;
    }
    ended(p, r > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 255);
}

static void on_timeout(void *arg) {
    struct proc *p = arg;
    p->failure = "took too long";
    kill(p->pid, SIGKILL);
    close_output(p);
    reap(p);
}

static void on_output(int fd, unsigned events, void *arg) {
    struct proc *p = arg;
    uint8_t *at = buf_extend(&p->out, 65536);
    ssize_t n = read(fd, at, 65536);
    p->out.len -= 65536 - (n > 0 ? (size_t)n : 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (p->out.len > PROC_OUTPUT_MAX) {
        p->failure = "wrote more than 64 MiB";
        kill(p->pid, SIGKILL);
        n = 0;
    }
    if (n <= 0) {
        close_output(p);
        reap(p);
    }
}

static void not_started(void *arg) {
    ended(arg, -1);
}

void proc_run(struct proc *p, const char *const *argv, int64_t timeout_ms, proc_fn *fn, void *arg) {
    int fds[2];
    posix_spawn_file_actions_t fa;
    p->fn = fn;
    p->arg = arg;
    p->failure = NULL;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        p->failure = "no pipe could be made";
        loop_post(p->loop, not_started, p);
        return;
    }
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, fds[1], 1);
    posix_spawn_file_actions_adddup2(&fa, fds[1], 2);
    int rc = posix_spawn(&p->pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    close(fds[1]);
    if (rc != 0) {
        close(fds[0]);
        p->pid = 0;
        p->failure = "could not be started";
        loop_post(p->loop, not_started, p);
        return;
    }
    p->fd = fds[0];
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    p->watch = loop_watch_new(p->loop, p->fd, LOOP_READ, on_output, p);
    loop_timer_start(p->timeout, timeout_ms);
}

bool proc_busy(const struct proc *p) {
    return p->fn != NULL;
}

struct proc *proc_new(struct loop *l) {
    struct proc *p = MEM_NEW(struct proc);
    p->loop = l;
    p->fd = -1;
    p->timeout = loop_timer_new(l, on_timeout, p);
    p->reap = loop_timer_new(l, reap, p);
    return p;
}

void proc_free(struct proc *p) {
    if (p == NULL) {
        return;
    }
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    close_output(p);
    loop_timer_free(p->timeout);
    loop_timer_free(p->reap);
    buf_free(&p->out);
    mem_free(p);
}
