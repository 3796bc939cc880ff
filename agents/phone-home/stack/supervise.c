// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/supervise.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock_file.h"
#include "base/logger.h"
#include "base/notify.h"
#include "phone-home/stack/daemon.h"
#include "phone-home/stack/image.h"

LOGGER_MODULE(supervisor)

enum { CRASHED_MS = 500, KILL_ROUNDS = 500, FAMILY_MAX = 4096 };

static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---------------------------------------------------------------- the end of a member's life */

struct family {
    size_t n;
    struct {
        pid_t pid, parent;
        bool ours;
    } p[FAMILY_MAX];
};

static pid_t parent_of(const char *pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return -1;
    }
    char *got = fgets(line, sizeof line, f);
    fclose(f);
    const char *end =
        got != NULL ? strrchr(line, ')') : NULL; /* the name may have anything in it */
    int parent;
    char state;
    return end != NULL && sscanf(end + 1, " %c %d", &state, &parent) == 2 ? parent : -1;
}

static void look_at_all(struct family *f) {
    DIR *d = opendir("/proc");
    f->n = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && f->n < FAMILY_MAX) {
            f->p[f->n].pid = (pid_t)strtol(e->d_name, NULL, 10);
            f->p[f->n].parent = parent_of(e->d_name);
            f->p[f->n++].ours = false;
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}

/* Kills all that descend from this process; orphans among them have become its children. */
static void kill_family(void) {
    static struct family f;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        size_t ours = 0;
        bool more = true;
        look_at_all(&f);
        while (more) {
            more = false;
            for (size_t i = 0; i < f.n; i++) {
                bool child = f.p[i].parent == getpid();
                for (size_t j = 0; j < f.n && !child; j++) {
                    child = f.p[j].ours && f.p[j].pid == f.p[i].parent;
                }
                if (child && !f.p[i].ours) {
                    f.p[i].ours = more = true;
                    ours++;
                    kill(f.p[i].pid, SIGKILL);
                }
            }
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        if (ours == 0) {
            return;
        }
        pause_ms(10);
    }
    L_WARN("some processes of the former boot don't end");
}

static void zeroize(const struct stackd_settings *s) {
    static const char *const keep[] = {"slots", "boot.json", "lock", NULL};
    struct err e;
    if (image_empty(s->directory, keep, &e) != ERR_OK) {
        L_ERR("%s: %s", e.path, e.text);
    }
    for (size_t i = 0; i < s->n_zeroize; i++) {
        if (image_empty(s->zeroize[i], NULL, &e) != ERR_OK) {
            L_ERR("%s: %s", e.path, e.text);
        }
    }
}

/* ---------------------------------------------------------------- a life */

static void find_program(const struct slots *slots, const char *slot, char *out, size_t size) {
    char folder[SETTINGS_PATH_MAX + 64];
    slots_folder(slots, slot, folder, sizeof folder);
    snprintf(out, size, "%s/weft-stackd", folder);
    if (folder[0] == '\0' || access(out, X_OK) != 0) {
        snprintf(out, size, "/proc/self/exe");
    }
}

static pid_t start(const struct slots *slots, const char *slot, bool trial, const char *file) {
    char program[SETTINGS_PATH_MAX + 80];
    find_program(slots, slot, program, sizeof program);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, "weft-stackd", "--member", slot, trial ? "--trial" : "--no-trial", "-c",
              file, (char *)NULL);
        fprintf(stderr, "weft-stackd: %s: %s\n", program, strerror(errno));
        _exit(1);
    }
    return pid;
}

/* Waits for the member's end, and for what else is told meanwhile. *stopping: end for good. */
static int wait_for(pid_t member, const sigset_t *signals, bool *stopping) {
    for (;;) {
        siginfo_t info;
        int status;
        int signo = sigwaitinfo(signals, &info);
        if (signo == SIGTERM || signo == SIGINT) {
            *stopping = true;
            kill(member, SIGTERM);
        }
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (pid == member) {
                return status;
            }
        }
    }
}

static void after(const struct stackd_settings *s, int status, const sigset_t *signals,
                  bool *stopping) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == MEMBER_REBOOT) {
        L_INFO("boots again");
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == MEMBER_ZEROIZE) {
        zeroize(s);
        L_INFO("boots again, in factory default");
    } else if (!*stopping) {
        struct timespec t = {0, CRASHED_MS * 1000000L};
        if (WIFSIGNALED(status)) {
            L_ERR("the member process was ended by signal %d", WTERMSIG(status));
        } else {
            L_ERR("the member process ended with status %d", WEXITSTATUS(status));
        }
        sigset_t ends = *signals;
        sigdelset(&ends, SIGCHLD);
        if (sigtimedwait(&ends, NULL, &t) > 0) {
            *stopping = true;
        }
    }
}

static enum err_code prepare(const struct stackd_settings *s, int *lock, struct err *e) {
    char path[SETTINGS_PATH_MAX + 64], holder[LOCK_HOLDER_MAX];
    ERR_TRY(file_make_folder(s->directory, 0700, e));
    snprintf(path, sizeof path, "%s/lock", s->directory);
    enum err_code rc = lock_file(path, lock, holder, e);
    return rc == ERR_LOCKED
               ? err_set(e, rc, s->directory, "process %s is this member already", holder)
               : rc;
}

int supervise(const struct stackd_settings *s, const char *file) {
    struct err e;
    int lock;
    bool stopping = false;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (prepare(s, &lock, &e) != ERR_OK) {
        fprintf(stderr, "weft-stackd: %s: %s\n", e.path, e.text);
        return 1;
    }
    notify_manager("READY=1");
    while (!stopping) {
        struct slots slots;
        char slot[2] = "";
        bool trial = false;
        if (slots_load(s->directory, &slots, &e) != ERR_OK ||
            slots_boot(&slots, slot, &trial, &e) != ERR_OK) {
            fprintf(stderr, "weft-stackd: %s: %s\n", e.path, e.text);
            return 1;
        }
        L_INFO("boots %s%s%s", slot[0] != '\0' ? "slot " : "what it came with", slot,
               trial ? ", which has not come up before" : "");
        pid_t member = start(&slots, slot, trial, file);
        if (member < 0) {
            fprintf(stderr, "weft-stackd: %s\n", strerror(errno));
            return 1;
        }
        int status = wait_for(member, &signals, &stopping);
        kill_family();
        after(s, status, &signals, &stopping);
    }
    notify_manager("STOPPING=1");
    close(lock);
    return 0;
}
