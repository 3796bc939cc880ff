// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/logger.h"
#include "phone-home/stack/image.h"

LOGGER_MODULE(stack)

enum { STATE_MAX = 65536 };

int64_t stackd_now(const struct stackd *d) {
    return loop_now(d->loop) / 1000000;
}

void stackd_path(const struct stackd *d, const char *name, char out[SETTINGS_PATH_MAX + 64]) {
    snprintf(out, SETTINGS_PATH_MAX + 64, "%s/%s", d->settings->directory, name);
}

/* ---------------------------------------------------------------- the engine's host */

static void tick(void *arg) {
    struct stackd *d = arg;
    int64_t now = stackd_now(d), next = stack_engine_tick(d->engine, now);
    loop_timer_start(d->tick, next > now ? next - now : 1);
}

void stackd_poke(struct stackd *d) {
    loop_defer(d->loop, &d->poked);
}

static void on_frame(void *arg, unsigned port, const void *frame, size_t n) {
    struct stackd *d = arg;
    stack_engine_frame(d->engine, stackd_now(d), port, frame, n);
    stackd_poke(d);
}

static void host_send(void *arg, unsigned link, const void *frame, size_t n) {
    struct stackd *d = arg;
    if (d->ports != NULL) { /* not while the engine is being made */
        ports_send(d->ports, link, frame, n);
    }
}

static void host_save(void *arg, const void *state, size_t n) {
    struct stackd *d = arg;
    char path[SETTINGS_PATH_MAX + 64];
    struct err e;
    stackd_path(d, "state", path);
    if (file_write(path, state, n, 0600, &e) != ERR_OK) {
        L_ERR("%s: %s", e.path, e.text);
        exit(1); /* what was not kept must not be said; the next start tries again */
    }
}

static void tell_changed(void *arg) {
    local_changed(arg);
}

static void spread(void *arg) {
    stackd_spread(arg);
}

static void host_changed(void *arg) {
    struct stackd *d = arg;
    loop_defer(d->loop, &d->changed);
    loop_defer(d->loop, &d->spread);
}

static void host_reboot(void *arg, bool zeroize) {
    L_INFO(zeroize ? "goes back to factory default" : "reboots");
    local_close(arg);
    exit(zeroize ? MEMBER_ZEROIZE : MEMBER_REBOOT);
}

static void host_log(void *arg, const char *line) {
    L_INFO("%s", line);
}

/* ---------------------------------------------------------------- start and end */

static enum err_code make_engine(struct stackd *d, struct err *e) {
    char path[SETTINGS_PATH_MAX + 64];
    struct buf b = BUF_INIT;
    struct stack_host host = {.send = host_send,
                              .save = host_save,
                              .changed = host_changed,
                              .reboot = host_reboot,
                              .log = host_log,
                              .arg = d};
    stackd_files_host(&host);
    stackd_path(d, "state", path);
    enum err_code rc = file_read(path, STATE_MAX, &b, e);
    if (rc == ERR_OK || rc == ERR_ABSENT) {
        rc = stack_engine_new(&d->settings->stack, &host, b.data, b.len, stackd_now(d), &d->engine,
                              e);
    }
    if (rc == ERR_MALFORMED) { /* a member without a number is better than none */
        L_ERR("%s %s: begins anew", path, e->text);
        rc = stack_engine_new(&d->settings->stack, &host, NULL, 0, stackd_now(d), &d->engine, e);
    }
    buf_free(&b);
    return rc;
}

/* What runs says itself what it is. */
static enum err_code know_image(struct stackd *d, struct err *e) {
    char folder[SETTINGS_PATH_MAX + 64];
    struct image_manifest m;
    slots_folder(&d->slots, d->slot, folder, sizeof folder);
    if (folder[0] == '\0') {
        return ERR_OK;
    }
    ERR_TRY(image_manifest_load(folder, &m, e));
    memcpy(d->settings->stack.os_name, m.os_name, sizeof m.os_name);
    memcpy(d->settings->stack.os_version, m.os_version, sizeof m.os_version);
    return ERR_OK;
}

static void stop(void *arg) {
    struct stackd *d = arg;
    stackd_services_stop(d);
    local_close(d);
    exit(0);
}

static enum err_code start(struct stackd *d, struct err *e) {
    ERR_TRY(slots_load(d->settings->directory, &d->slots, e));
    ERR_TRY(know_image(d, e));
    stackd_files_start(d);
    char config[SETTINGS_PATH_MAX + 64];
    struct buf b = BUF_INIT;
    struct err ignored;
    stackd_path(d, "config", config);
    d->settings->stack.factory = file_read(config, 32 << 20, &b, &ignored) != ERR_OK;
    buf_free(&b);
    ERR_TRY(make_engine(d, e));
    d->ports = ports_new(d->loop, (const stack_port *)d->settings->stack.ports,
                         d->settings->stack.n_links, on_frame, d);
    d->tick = loop_timer_new(d->loop, tick, d);
    d->term = loop_signal_new(d->loop, SIGTERM, stop, d);
    d->interrupt = loop_signal_new(d->loop, SIGINT, stop, d);
    d->child = loop_signal_new(d->loop, SIGCHLD, stackd_on_child, d);
    ERR_TRY(local_open(d, e));
    stackd_poke(d);
    stackd_config_start(d, stackd_boot);
    return ERR_OK;
}

_Noreturn void stackd_run(struct stackd_settings *s, const char *slot, bool trial) {
    static struct stackd d; /* callbacks point into it until the process is gone */
    struct err e;
    signal(SIGPIPE, SIG_IGN);
    d.settings = s;
    d.trial = trial;
    d.loop = loop_new("stack");
    d.poked = (struct loop_deferred){.fn = tick, .arg = &d};
    d.changed = (struct loop_deferred){.fn = tell_changed, .arg = &d};
    d.spread = (struct loop_deferred){.fn = spread, .arg = &d};
    d.next_order = 0;
    snprintf(d.slot, sizeof d.slot, "%s", slot);
    if (start(&d, &e) != ERR_OK) {
        L_ERR("%s%s%s", e.path, e.path[0] != '\0' ? ": " : "", e.text);
        exit(trial ? MEMBER_REBOOT : 1);
    }
    loop_run(d.loop);
    exit(0);
}
