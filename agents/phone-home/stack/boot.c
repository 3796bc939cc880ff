// SPDX-License-Identifier: Apache-2.0
/* A member comes up: its image's `init start`, the trial of a new image, the programs that run
 * beside. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "phone-home/stack/daemon.h"

LOGGER_MODULE(stack)

enum { AGAIN_MS = 5000, SERVICE_AGAIN_MS = 1000, GIVE_UP_MS = 200 };

/* ---------------------------------------------------------------- programs beside */

static _Noreturn void exec_service(struct stackd *d, char *const *argv) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    setenv("WEFT_STACK_SOCKET", d->settings->socket, 1);
    execv(argv[0], argv);
    fprintf(stderr, "weft-stackd: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void start_services(void *arg) {
    struct stackd *d = arg;
    int64_t next = -1;
    for (size_t i = 0; i < d->settings->n_services && d->up; i++) {
        if (d->services[i] == 0 && stackd_now(d) >= d->service_due[i]) {
            pid_t pid = fork();
            if (pid == 0) {
                exec_service(d, d->settings->services[i]);
            }
            d->services[i] = pid > 0 ? pid : 0;
            d->service_due[i] = stackd_now(d) + SERVICE_AGAIN_MS;
        }
        if (d->services[i] == 0 && (next < 0 || d->service_due[i] < next)) {
            next = d->service_due[i];
        }
    }
    if (next >= 0) {
        int64_t after = next - stackd_now(d);
        loop_timer_start(d->service_timer, after > 1 ? after : 1);
    }
}

void stackd_on_child(void *arg) {
    struct stackd *d = arg;
    for (size_t i = 0; i < d->settings->n_services; i++) {
        int status;
        if (d->services[i] > 0 && waitpid(d->services[i], &status, WNOHANG) == d->services[i]) {
            d->services[i] = 0;
            if (WIFSIGNALED(status)) {
                L_WARN("%s was ended by signal %d", d->settings->services[i][0], WTERMSIG(status));
            } else if (WEXITSTATUS(status) == 0) {
                L_INFO("%s has ended", d->settings->services[i][0]);
            } else {
                L_WARN("%s ended with status %d", d->settings->services[i][0], WEXITSTATUS(status));
            }
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                d->services[i] = -1; /* did what it was for */
            } else {
                d->service_due[i] = stackd_now(d) + SERVICE_AGAIN_MS;
            }
        }
    }
    start_services(d);
}

void stackd_services_stop(struct stackd *d) {
    d->up = false;
    for (size_t i = 0; i < d->settings->n_services; i++) {
        if (d->services[i] > 0) {
            kill(-d->services[i], SIGTERM);
        }
    }
}

/* ---------------------------------------------------------------- init */

static void come_up(void *arg) {
    struct stackd *d = arg;
    struct err e;
    if (d->trial && slots_came_up(&d->slots, d->slot, &e) != ERR_OK) {
        L_ERR("%s: %s", e.path, e.text); /* tried again at the next boot */
    }
    d->trial = false;
    d->up = true;
    L_INFO("is up: %s %s%s%s", d->settings->stack.os_name, d->settings->stack.os_version,
           d->slot[0] != '\0' ? " in slot " : "", d->slot);
    stack_engine_ready(d->engine, stackd_now(d), true);
    stackd_poke(d);
    start_services(d);
}

static void init_again(void *arg) {
    stackd_boot(arg);
}

static _Noreturn void give_up(void) {
    exit(MEMBER_REBOOT);
}

static void init_ended(void *arg, struct script_result *r, const struct err *e) {
    struct stackd *d = arg;
    d->init = NULL;
    if (e == NULL) {
        if (d->trial) {
            loop_timer_start(d->trial_over, d->settings->trial_ms);
        } else {
            come_up(d);
        }
        return;
    }
    L_ERR("the image's init %s%s%s", e->text, r->output.len > 0 ? ": " : "",
          r->output.len > 0 ? buf_cstr(&r->output) : "");
    if (d->trial) {
        L_ERR("version %s does not come up: boots again", d->settings->stack.os_version);
        give_up();
    }
    loop_timer_start(d->again, AGAIN_MS);
}

void stackd_boot(struct stackd *d) {
    char folder[SETTINGS_PATH_MAX + 64], init[SETTINGS_PATH_MAX + 80];
    char slot[SETTINGS_PATH_MAX + 80], directory[SETTINGS_PATH_MAX + 80], serial[80], sock[160];
    char config[SETTINGS_PATH_MAX + 80], key[SETTINGS_PATH_MAX + 80];
    if (d->trial_over == NULL) {
        d->trial_over = loop_timer_new(d->loop, come_up, d);
        d->again = loop_timer_new(d->loop, init_again, d);
        d->service_timer = loop_timer_new(d->loop, start_services, d);
    }
    slots_folder(&d->slots, d->slot, folder, sizeof folder);
    snprintf(init, sizeof init, "%s/init", folder);
    if (folder[0] == '\0' || access(init, F_OK) != 0) {
        struct script_result none = {0};
        init_ended(d, &none, NULL);
        return;
    }
    snprintf(slot, sizeof slot, "WEFT_SLOT=%s", folder);
    snprintf(directory, sizeof directory, "WEFT_DIRECTORY=%s", d->settings->directory);
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", d->settings->stack.serial);
    snprintf(sock, sizeof sock, "WEFT_STACK_SOCKET=%s", d->settings->socket);
    snprintf(config, sizeof config, "WEFT_CONFIG=%s/config", d->settings->directory);
    stackd_key_environment(d, key);
    struct script_config s = {.file = init,
                              .args = {"start"},
                              .environment = {slot, directory, serial, sock, config, key},
                              .deadline_ms = d->settings->init_ms,
                              .keep_group = true};
    d->init = script_start(d->loop, &s, init_ended, d);
}
