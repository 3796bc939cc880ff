// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration of the chassis is the same on all members. The primary hands out what was
 * confirmed, but not while roles are held: until then it may be taken back, and a backup that takes
 * over begins where nothing was. A member in factory default that comes later, or that was away at
 * that moment, is given it when it comes: one that nobody configured would bootstrap the chassis
 * anew on the day it leads.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "phone-home/stack/daemon.h"

LOGGER_MODULE(stack)

enum { TRY_AGAIN_MS = 60000 /* a member that did not take it */ };

/* It is on its way to the member. Whoever is configured has it: one that was, and is in factory
 * default, went back to it since. */
static bool on_its_way(struct stackd *d, const struct stack_member *m) {
    for (size_t i = 0; i < d->n_given; i++) {
        if (strcmp(d->given[i].serial, m->serial) != 0) {
            continue;
        }
        if (m->factory && d->given[i].incarnation == m->incarnation) {
            return true;
        }
        d->given[i] = d->given[--d->n_given];
        return false;
    }
    return false;
}

static void note(struct stackd *d, const struct stack_member *m) {
    bool noted = on_its_way(d, m);
    if (m->factory && !noted && d->n_given < STACK_MEMBERS_MAX) {
        memcpy(d->given[d->n_given].serial, m->serial, sizeof m->serial);
        d->given[d->n_given++].incarnation = m->incarnation;
    }
}

static void give(struct stackd *d, const struct stack_member *m) {
    char path[SETTINGS_PATH_MAX + 64], how[40];
    struct buf b = BUF_INIT;
    struct err e;
    stackd_path(d, "given", path);
    bool merge = file_read(path, 100, &b, &e) == ERR_OK && strstr(buf_cstr(&b), " merge") != NULL;
    buf_free(&b);
    stackd_path(d, "key", path);
    file_read(path, STACKD_KEY_MAX, &b, &e);
    snprintf(how, sizeof how, "%s", merge ? "merge" : "replace");
    if (b.len > 0) {
        snprintf(how, sizeof how, "%s %zu", merge ? "merge" : "replace", b.len);
    }
    stackd_path(d, "config", path);
    if (file_read(path, STACKD_CONFIG_MAX, &b, &e) == ERR_OK) {
        FILE *f = tmpfile(); /* of its own: the next configuration may come meanwhile */
        if (f != NULL && fwrite(b.data, 1, b.len, f) == b.len && fflush(f) == 0) {
            L_INFO("member %d (%s) is given the configuration", m->id, m->serial);
            note(d, m);
            stackd_send_file(d, NULL, STACK_FILE_CONFIG, m->id, dup(fileno(f)), how);
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    if (b.len > 0) {
        mem_wipe(b.data, b.len);
    }
    buf_free(&b);
}

void stackd_spread(struct stackd *d) {
    struct stack_member m[2 * STACK_MEMBERS_MAX];
    if (d->config_job != NULL || d->settings->stack.n_links == 0 ||
        !stack_engine_primary(d->engine) || stack_engine_chassis(d->engine)->frozen ||
        stack_engine_leaves(d->engine) || !stackd_configured(d)) {
        return;
    }
    bool all = d->kept;
    if (all && !stackd_config_final(d)) {
        return;
    }
    size_t n = stack_engine_members(d->engine, m, 2 * STACK_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (m[i].up && m[i].id >= 0 && strcmp(m[i].serial, d->settings->stack.serial) != 0) {
            bool waits = on_its_way(d, &m[i]);
            if (all || (m[i].factory && !waits)) {
                give(d, &m[i]);
            }
        }
    }
}

static void try_again(void *arg) {
    struct stackd *d = arg;
    d->n_given = 0;
    stackd_spread(d);
}

void stackd_spread_failed(struct stackd *d) {
    if (d->spread_again == NULL) {
        d->spread_again = loop_timer_new(d->loop, try_again, d);
    }
    loop_timer_start(d->spread_again, TRY_AGAIN_MS);
}
