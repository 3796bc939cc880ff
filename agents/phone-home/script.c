// SPDX-License-Identifier: Apache-2.0
#include "phone-home/script.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { READ_SIZE = 64 << 10, DRAIN_MS = 500, FIXED_ENVIRONMENT = 3 };

struct script {
    struct loop *loop;
    char *file;
    bool ours; /* the file is removed in the end */
    bool keep_group;
    pid_t pid;
    int pidfd, out, in, log;
    struct loop_watch *exit_watch, *out_watch, *in_watch;
    struct loop_timer *deadline, *drain;
    struct buf input;
    size_t input_at, logged;
    bool exited, term_sent, late;
    int64_t deadline_ms;
    struct script_result result;
    struct err err;
    script_fn *fn;
    void *arg;
};

/* ---- the first line ---- */

static bool known_interpreter(const char *path) {
    static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh"};
    const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(base, shells[i]) == 0) {
            return true;
        }
    }
    return strncmp(base, "python", 6) == 0 && base[6 + strspn(base + 6, "0123456789.")] == '\0';
}

static enum err_code find_in_path(const char *name, char out[256], struct err *e) {
    static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(out, 256, "%s/%s", folders[i], name);
        if (access(out, X_OK) == 0) {
            return ERR_OK;
        }
    }
    return err_set(e, ERR_UNSUPPORTED, NULL, "the device has no %s", name);
}

enum err_code script_interpreter(const void *text, size_t n, struct script_interpreter *out,
                                 struct err *e) {
    char line[256] = "";
    const char *nl = n > 0 ? memchr(text, '\n', n) : NULL;
    size_t len = nl != NULL ? (size_t)(nl - (const char *)text) : n;
    if (n < 2 || memcmp(text, "#!", 2) != 0) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "the script's first line does not begin with #!");
    }
    if (len >= sizeof line || memchr(text, '\0', len) != NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "the script's first line names no interpreter");
    }
    memcpy(line, (const char *)text + 2, len - 2);
    line[len - 2] = '\0';
    char *path = line + strspn(line, " \t"), *end = path + strcspn(path, " \t\r");
    char *arg = end + strspn(end, " \t\r");
    size_t arg_n = strlen(arg);
    while (arg_n > 0 && strchr(" \t\r", arg[arg_n - 1]) != NULL) {
        arg[--arg_n] = '\0';
    }
    *end = '\0';
    memset(out, 0, sizeof *out);
    if (strcmp(path, "/usr/bin/env") == 0 || strcmp(path, "/bin/env") == 0) {
        if (!known_interpreter(arg) || strchr(arg, '/') != NULL) {
            return err_set(e, ERR_UNSUPPORTED, NULL, "\"%s\" is neither a shell nor Python", arg);
        }
        return find_in_path(arg, out->path, e);
    }
    if (path[0] != '/' || !known_interpreter(path)) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "\"%s\" is neither a shell nor Python", path);
    }
    if (access(path, X_OK) != 0) {
        return err_errno(e, errno, path, "the script's interpreter can't be run");
    }
    snprintf(out->path, sizeof out->path, "%s", path);
    snprintf(out->arg, sizeof out->arg, "%s", arg);
    return ERR_OK;
}

/* ---- the end ---- */

static void close_fd(struct loop_watch **w, int *fd) {
    loop_watch_free(*w);
    *w = NULL;
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void free_script(struct script *s) {
    close_fd(&s->exit_watch, &s->pidfd);
    close_fd(&s->out_watch, &s->out);
    close_fd(&s->in_watch, &s->in);
    if (s->log >= 0) {
        close(s->log);
    }
    loop_timer_free(s->deadline);
    loop_timer_free(s->drain);
    if (s->ours) {
        unlink(s->file);
    }
    mem_free(s->file);
    buf_free(&s->input);
    buf_free(&s->result.output);
    mem_free(s);
}

static void finish(void *arg) {
    struct script *s = arg;
    if (s->fn == NULL) { /* was cancelled before it began */
        free_script(s);
        return;
    }
    if (s->exited && !s->keep_group && s->pid > 0) {
        kill(-s->pid, SIGKILL); /* what it left behind */
    }
    close_fd(&s->out_watch, &s->out);
    size_t n = s->result.output.len;
    if (n > SCRIPT_OUTPUT_TAIL) {
        buf_consume(&s->result.output, n - SCRIPT_OUTPUT_TAIL);
    }
    s->fn(s->arg, &s->result, s->err.code != ERR_OK ? &s->err : NULL);
    free_script(s);
}

static void on_exit_of_it(int fd, unsigned events, void *arg) {
    struct script *s = arg;
    int status = 0;
    if (waitpid(s->pid, &status, WNOHANG) != s->pid) {
        return;
    }
    s->exited = true;
    close_fd(&s->exit_watch, &s->pidfd);
    close_fd(&s->in_watch, &s->in);
    loop_timer_stop(s->deadline);
    s->result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (s->late) {
        s->result.status = -1;
        err_set(&s->err, ERR_TIMEOUT, NULL, "took longer than %lld s",
                (long long)(s->deadline_ms / 1000));
    } else if (WIFSIGNALED(status)) {
        err_set(&s->err, ERR_REFUSED, NULL, "was ended by signal %d", WTERMSIG(status));
    } else if (s->result.status != 0) {
        err_set(&s->err, ERR_REFUSED, NULL, "ended with status %d", s->result.status);
    }
    if (s->out < 0) {
        finish(s);
    } else { /* what is in the pipe still comes; who else holds it open is not waited for */
        loop_timer_start(s->drain, DRAIN_MS);
    }
}

static void on_deadline(void *arg) {
    struct script *s = arg;
    s->late = true;
    kill(-s->pid, s->term_sent ? SIGKILL : SIGTERM);
    if (!s->term_sent) {
        s->term_sent = true;
        loop_timer_start(s->deadline, SCRIPT_TERM_MS);
    }
}

/* ---- output and input ---- */

static void log_output(struct script *s, const uint8_t *p, size_t n) {
    if (s->log < 0 || s->logged == SCRIPT_FILE_MAX) {
        return;
    }
    size_t room = SCRIPT_FILE_MAX - s->logged;
    ssize_t w = write(s->log, p, n < room ? n : room);
    s->logged = w > 0 ? s->logged + (size_t)w : SCRIPT_FILE_MAX;
}

static void on_output(int fd, unsigned events, void *arg) {
    struct script *s = arg;
    struct buf *b = &s->result.output;
    uint8_t *at = buf_extend(b, READ_SIZE);
    ssize_t n = read(fd, at, READ_SIZE);
    int why = errno;
    b->len -= READ_SIZE - (n > 0 ? (size_t)n : 0);
    if (n > 0) {
        log_output(s, b->data + b->len - n, (size_t)n);
        if (b->len > 4 * SCRIPT_OUTPUT_TAIL) {
            buf_consume(b, b->len - SCRIPT_OUTPUT_TAIL);
        }
        return;
    }
    if (n < 0 && (why == EAGAIN || why == EINTR)) {
        return;
    }
    close_fd(&s->out_watch, &s->out);
    if (s->exited) {
        finish(s);
    }
}

static void on_input(int fd, unsigned events, void *arg) {
    struct script *s = arg;
    ssize_t n = write(fd, s->input.data + s->input_at, s->input.len - s->input_at);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    s->input_at += n > 0 ? (size_t)n : 0;
    if (n < 0 || s->input_at == s->input.len) { /* it need not read all */
        close_fd(&s->in_watch, &s->in);
    }
}

/* ---- the start ---- */

/* -1: nothing is there, or nobody listens. */
static void put(posix_spawn_file_actions_t *fa, int to, int fd) {
    if (fd >= 0) {
        posix_spawn_file_actions_adddup2(fa, fd, to);
    } else {
        posix_spawn_file_actions_addopen(fa, to, "/dev/null", to == 0 ? O_RDONLY : O_WRONLY, 0);
    }
}

enum err_code script_spawn(char **argv, char **env, const int fds[3], pid_t *pid, struct err *e) {
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    for (int i = 0; i < 3; i++) {
        put(&fa, i, fds[i]);
    }
    posix_spawn_file_actions_addclosefrom_np(&fa, 3);
    posix_spawn_file_actions_addchdir_np(&fa, "/");
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(pid, argv[0], &fa, &attr, argv, env);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    if (rc != 0) {
        *pid = 0;
        return err_errno(e, rc, argv[0], "can't be run");
    }
    return ERR_OK;
}

static enum err_code watch(struct script *s, const struct script_config *c, int *out, int *in) {
    s->out = out[0];
    s->in = in[1];
    out[0] = in[1] = -1;
    fcntl(s->out, F_SETFL, O_NONBLOCK);
    s->out_watch = loop_watch_new(s->loop, s->out, LOOP_READ, on_output, s);
    if (s->in >= 0) {
        fcntl(s->in, F_SETFL, O_NONBLOCK);
        s->in_watch = loop_watch_new(s->loop, s->in, LOOP_WRITE, on_input, s);
    }
    s->pidfd = pidfd_open(s->pid, 0);
    if (s->pidfd < 0) {
        enum err_code rc = err_errno(&s->err, errno, NULL, "the process can't be watched");
        kill(-s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        return rc;
    }
    fcntl(s->pidfd, F_SETFD, FD_CLOEXEC);
    s->exit_watch = loop_watch_new(s->loop, s->pidfd, LOOP_READ, on_exit_of_it, s);
    s->deadline_ms = c->deadline_ms;
    loop_timer_start(s->deadline, c->deadline_ms);
    return ERR_OK;
}

static void close_pair(int fds[2]) {
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static enum err_code run(struct script *s, const struct script_config *c, char **argv) {
    int out[2] = {-1, -1}, in[2] = {-1, -1};
    char *env[FIXED_ENVIRONMENT + SCRIPT_ARGS_MAX + 1] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
        "LANG=C.UTF-8"};
    for (size_t i = 0; i < SCRIPT_ARGS_MAX && c->environment[i] != NULL; i++) {
        env[FIXED_ENVIRONMENT + i] = (char *)(uintptr_t)c->environment[i];
    }
    if (c->output_file != NULL) {
        s->log = open(c->output_file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (c->input != NULL) {
        buf_add(&s->input, c->input, c->input_n);
    }
    enum err_code rc = ERR_OK;
    if (pipe2(out, O_CLOEXEC) != 0 || (c->input_n > 0 && pipe2(in, O_CLOEXEC) != 0)) {
        rc = err_errno(&s->err, errno, NULL, "no pipe could be made");
    }
    if (rc == ERR_OK) {
        const int fds[3] = {in[0], out[1], out[1]};
        rc = script_spawn(argv, env, fds, &s->pid, &s->err);
    }
    if (rc == ERR_OK) {
        rc = watch(s, c, out, in);
    }
    close_pair(out);
    close_pair(in);
    return rc;
}

static enum err_code prepare(struct script *s, const struct script_config *c) {
    struct script_interpreter in;
    char *argv[SCRIPT_ARGS_MAX + 4] = {NULL};
    size_t n = 0;
    if (c->text != NULL) {
        if (c->n > SCRIPT_MAX) {
            return err_set(&s->err, ERR_TOO_BIG, NULL, "the script has more than %d bytes",
                           (int)SCRIPT_MAX);
        }
        ERR_TRY(script_interpreter(c->text, c->n, &in, &s->err));
        ERR_TRY(file_write(c->file, c->text, c->n, 0700, &s->err));
        s->ours = true;
        argv[n++] = in.path;
        if (in.arg[0] != '\0') {
            argv[n++] = in.arg;
        }
    }
    argv[n++] = s->file;
    for (size_t i = 0; i < SCRIPT_ARGS_MAX && c->args[i] != NULL; i++) {
        argv[n++] = (char *)(uintptr_t)c->args[i];
    }
    return run(s, c, argv);
}

struct script *script_start(struct loop *l, const struct script_config *c, script_fn *fn,
                            void *arg) {
    struct script *s = MEM_NEW(struct script);
    s->loop = l;
    s->file = mem_strdup(c->file);
    s->keep_group = c->keep_group;
    s->pidfd = s->out = s->in = s->log = -1;
    s->deadline = loop_timer_new(l, on_deadline, s);
    s->drain = loop_timer_new(l, finish, s);
    s->fn = fn;
    s->arg = arg;
    s->result.status = -1;
    if (prepare(s, c) != ERR_OK) {
        loop_post(l, finish, s);
    }
    return s;
}

void script_cancel(struct script *s) {
    if (s == NULL) {
        return;
    }
    if (s->exit_watch == NULL && !s->exited) { /* `finish` is on its way */
        s->fn = NULL;
        return;
    }
    if (!s->exited) {
        kill(-s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    free_script(s);
}
