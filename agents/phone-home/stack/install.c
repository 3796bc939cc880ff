// SPDX-License-Identifier: Apache-2.0
/* Unpacking takes as long as an image is big, and the neighbours want to hear us meanwhile: it is
 * done in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "phone-home/stack/daemon.h"

LOGGER_MODULE(stack)

struct install {
    struct stackd *d;
    pid_t pid;
    int pipe;
    struct loop_watch *watch;
    struct err result;
    size_t got;
    char version[161];
    install_done *done;
    void *arg;
    struct err failed; /* before it began */
};

static void end(struct install *i, enum err_code rc, struct err *e) {
    struct stackd *d = i->d;
    d->install = d->install == i ? NULL : d->install;
    if (rc == ERR_OK) {
        rc = slots_take(&d->slots, d->slot, d->settings->boot_tries, e);
    }
    if (rc == ERR_OK) {
        L_INFO("the image %s is installed; it runs from the next boot on", i->version);
    } else {
        L_WARN("the image %s is not installed: %s: %s", i->version, e->path, e->text);
    }
    i->done(d, i->arg, rc != ERR_OK ? e : NULL);
    mem_free(i);
}

static void on_result(int fd, unsigned events, void *arg) {
    struct install *i = arg;
    ssize_t n = read(fd, (char *)&i->result + i->got, sizeof i->result - i->got);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n > 0 && (i->got += (size_t)n) < sizeof i->result) {
        return;
    }
    loop_watch_free(i->watch);
    close(i->pipe);
    kill(i->pid, SIGKILL); /* it has said all, or will not */
    waitpid(i->pid, NULL, 0);
    if (i->got < sizeof i->result) {
        err_set(&i->result, ERR_INTERNAL, "image", "unpacking ended without a word");
    }
    struct err e = i->result;
    end(i, e.code, &e);
}

static void not_begun(void *arg) {
    struct install *i = arg;
    struct err e = i->failed;
    end(i, e.code, &e);
}

static _Noreturn void unpack(const struct install *i, int fd, int to, const char *version,
                             const uint8_t *digest) {
    struct err e = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    lseek(fd, 0, SEEK_SET);
    e.code = slots_unpack(i->d->slots.directory, fd, version, digest, &e);
    for (size_t at = 0; at < sizeof e;) {
        ssize_t n = write(to, (const char *)&e + at, sizeof e - at);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
    }
    _exit(0);
}

void stackd_install(struct stackd *d, int fd, const char *version, const uint8_t *digest,
                    install_done *done, void *arg) {
    struct install *i = MEM_NEW(struct install);
    int ends[2] = {-1, -1};
    i->d = d;
    i->done = done;
    i->arg = arg;
    snprintf(i->version, sizeof i->version, "%s", version);
    if (d->install != NULL) {
        err_set(&i->failed, ERR_UNAVAILABLE, "image", "another image is being installed");
    } else if (fd < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        err_errno(&i->failed, errno, "image", "can't be unpacked");
    } else if ((i->pid = fork()) == 0) {
        unpack(i, fd, ends[1], version, digest);
    } else if (i->pid < 0) {
        err_errno(&i->failed, errno, "image", "can't be unpacked");
        close(ends[0]);
    } else {
        d->install = i;
        i->pipe = ends[0];
        fcntl(i->pipe, F_SETFL, O_NONBLOCK);
        i->watch = loop_watch_new(d->loop, i->pipe, LOOP_READ, on_result, i);
    }
    if (ends[1] >= 0) {
        close(ends[1]);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (i->failed.code != ERR_OK) {
        loop_post(d->loop, not_begun, i);
    }
}
