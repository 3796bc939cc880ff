// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration of the member: one document, put in force by a program (the image's `hook`, or
 * the one of the settings) and taken back unless it is confirmed. hook apply merge|replace NEW
 * FORMER     hook rollback FORMER     (FORMER: a file, or /dev/null) On disk: `config` in force;
 * while one waits to be confirmed, `pending` says whether there was a former one, which is
 * `config.before`. So a loss of power at any moment leads back to the former one. Confirmed,
 * `pending` becomes `kept`: it can be taken back by order. When the others have it, or it came from
 * the primary, that becomes `given`, and there is no way back. `key` is the private key that goes
 * with it: `key.new` before its configuration comes, then as above.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "phone-home/stack/daemon.h"

LOGGER_MODULE(stack)

enum { HOOK_MS = 120000, AGAIN_MS = 1000 };

struct config_job {
    struct stackd *d;
    enum config_op op;
    char handling[8];
    int64_t confirm_ms; /* 0: in force for good */
    struct buf text;
    size_t n_key; /* bytes before the configuration in `text`: another member's key */
    struct script *hook;
    bool rolled; /* APPLY: what was pending before was taken back */
    struct err failed;
    config_done *done;
    void *arg;
};

struct paths {
    char now[SETTINGS_PATH_MAX + 64], fresh[SETTINGS_PATH_MAX + 64], before[SETTINGS_PATH_MAX + 64],
        pending[SETTINGS_PATH_MAX + 64], kept[SETTINGS_PATH_MAX + 64],
        given[SETTINGS_PATH_MAX + 64];
    char key[SETTINGS_PATH_MAX + 64], key_fresh[SETTINGS_PATH_MAX + 64],
        key_before[SETTINGS_PATH_MAX + 64];
};

static void get_paths(const struct stackd *d, struct paths *p) {
    stackd_path(d, "config", p->now);
    stackd_path(d, "config.new", p->fresh);
    stackd_path(d, "config.before", p->before);
    stackd_path(d, "pending", p->pending);
    stackd_path(d, "kept", p->kept);
    stackd_path(d, "given", p->given);
    stackd_path(d, "key", p->key);
    stackd_path(d, "key.new", p->key_fresh);
    stackd_path(d, "key.before", p->key_before);
}

/* ---------------------------------------------------------------- the key */

void stackd_key_environment(const struct stackd *d, char out[SETTINGS_PATH_MAX + 80]) {
    snprintf(out, SETTINGS_PATH_MAX + 80, "WEFT_KEY=%s/key", d->settings->directory);
}

static void wipe(struct buf *b) {
    if (b->len > 0) {
        mem_wipe(b->data, b->len);
    }
    buf_free(b);
}

enum err_code stackd_key(struct stackd *d, int fd, struct err *e) {
    char path[64];
    struct paths p;
    struct buf b = BUF_INIT;
    get_paths(d, &p);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum err_code rc = file_read(path, STACKD_KEY_MAX, &b, e);
    rc = rc == ERR_OK ? file_write(p.key_fresh, b.data, b.len, 0600, e) : rc;
    wipe(&b);
    return rc;
}

/* The new one is in force, when there is one; the former one is kept. */
static enum err_code key_take(const struct paths *p, struct err *e) {
    if (access(p->key_fresh, F_OK) != 0) {
        return ERR_OK;
    }
    if ((rename(p->key, p->key_before) != 0 && errno != ENOENT) ||
        rename(p->key_fresh, p->key) != 0) {
        return err_errno(e, errno, p->key, "can't be replaced");
    }
    return file_sync_folder_of(p->key, e);
}

/* Back to the former one; without a former configuration there is none. */
static enum err_code key_restore(const struct paths *p, bool had, struct err *e) {
    bool kept = rename(p->key_before, p->key) == 0;
    if (!kept && errno != ENOENT) {
        return err_errno(e, errno, p->key, "can't be put back");
    }
    if (!kept && !had && unlink(p->key) != 0 && errno != ENOENT) {
        return err_errno(e, errno, p->key, "can't be removed");
    }
    return ERR_OK;
}

bool stackd_configured(const struct stackd *d) {
    struct paths p;
    get_paths(d, &p);
    return access(p.now, F_OK) == 0 && !d->pending;
}

/* What was said of the configuration is known by another name from now on. */
static enum err_code become(const char *from, const char *to, struct err *e) {
    if (rename(from, to) != 0) {
        return err_errno(e, errno, to, "can't be replaced");
    }
    return file_sync_folder_of(to, e);
}

static void forget_before(const struct paths *p) {
    unlink(p->before);
    unlink(p->key_before);
}

bool stackd_config_final(struct stackd *d) {
    struct paths p;
    struct err e;
    get_paths(d, &p);
    if (become(p.kept, p.given, &e) != ERR_OK) {
        L_ERR("%s: %s", e.path, e.text);
        return false;
    }
    d->kept = false;
    forget_before(&p);
    return true;
}

static bool find_hook(const struct stackd *d, char *out, size_t size) {
    char folder[SETTINGS_PATH_MAX + 64];
    slots_folder(&d->slots, d->slot, folder, sizeof folder);
    snprintf(out, size, "%s/hook", folder);
    if (folder[0] != '\0' && access(out, X_OK) == 0) {
        return true;
    }
    snprintf(out, size, "%s", d->settings->hook);
    return out[0] != '\0';
}

/* ---------------------------------------------------------------- the end of a job */

static void end(struct config_job *j, const struct err *e) {
    struct stackd *d = j->d;
    d->config_job = NULL;
    stack_engine_factory(d->engine, stackd_now(d), !stackd_configured(d));
    stackd_poke(d);
    loop_defer(d->loop, &d->spread);
    if (e != NULL) {
        L_WARN("the configuration: %s: %s", e->path, e->text);
    }
    j->done(d, j->arg, e);
    wipe(&j->text);
    mem_free(j);
}

static void end_later(void *arg) {
    struct config_job *j = arg;
    struct err e = j->failed;
    end(j, e.code != ERR_OK ? &e : NULL);
}

/* ---------------------------------------------------------------- hooks */

static void run_hook(struct config_job *j, const char *verb, const char *a, const char *b,
                     const char *c, script_fn *fn) {
    char hook[SETTINGS_PATH_MAX + 80], slot[SETTINGS_PATH_MAX + 80], in[SETTINGS_PATH_MAX + 80];
    char serial[sizeof(stack_serial) + 16], key[SETTINGS_PATH_MAX + 80];
    slots_folder(&j->d->slots, j->d->slot, in, sizeof in);
    snprintf(slot, sizeof slot, "WEFT_SLOT=%s", in);
    snprintf(in, sizeof in, "WEFT_DIRECTORY=%s", j->d->settings->directory);
    snprintf(serial, sizeof serial, "WEFT_SERIAL=%s", j->d->settings->stack.serial);
    stackd_key_environment(j->d, key);
    if (!find_hook(j->d, hook, sizeof hook)) {
        struct script_result r = {0};
        fn(j, &r, NULL); /* the document is kept, and that is all */
        return;
    }
    struct script_config s = {.file = hook,
                              .args = {verb, a, b, c},
                              .environment = {slot, in, serial, key},
                              .deadline_ms = HOOK_MS,
                              .keep_group = true};
    j->hook = script_start(j->d->loop, &s, fn, j);
}

/* The hook's own last words are the reason. */
static void hook_failed(struct err *out, const struct script_result *r, const struct err *e) {
    struct buf b = BUF_INIT;
    char last[200] = "";
    buf_add(&b, r->output.data, r->output.len);
    while (b.len > 0 && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == ' ')) {
        b.len--;
    }
    const char *text = buf_cstr(&b), *line = strrchr(text, '\n');
    snprintf(last, sizeof last, "%s", line != NULL ? line + 1 : text);
    for (char *c = last; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            *c = ' ';
        }
    }
    err_set(out, ERR_REFUSED, "hook", "%s%s%s", e->text, last[0] != '\0' ? ": " : "", last);
    buf_free(&b);
}

/* ---------------------------------------------------------------- rollback */

static void start_apply(struct config_job *j);

static void rollback_ended(struct config_job *j) {
    loop_timer_stop(j->d->confirm_by);
    if (j->op == CONFIG_APPLY && !j->rolled && j->failed.code == ERR_OK) {
        j->rolled = true;
        start_apply(j);
    } else {
        end_later(j);
    }
}

/* Files first, then the program: a loss of power in between runs the program again. */
static enum err_code restore_files(struct stackd *d, struct err *e) {
    struct paths p;
    struct buf b = BUF_INIT;
    get_paths(d, &p);
    ERR_TRY(file_read(p.pending, 100, &b, e));
    bool had = b.len > 0 && b.data[0] == 'b';
    buf_free(&b);
    if (had) {
        if (rename(p.before, p.now) != 0 && errno != ENOENT) {
            return err_errno(e, errno, p.now, "can't be put back");
        }
    } else if (unlink(p.now) != 0 && errno != ENOENT) {
        return err_errno(e, errno, p.now, "can't be removed");
    }
    ERR_TRY(key_restore(&p, had, e));
    return file_sync_folder_of(p.now, e);
}

static void rolled_back(void *arg, struct script_result *r, const struct err *e) {
    struct config_job *j = arg;
    struct paths p;
    j->hook = NULL;
    get_paths(j->d, &p);
    if (e != NULL && j->failed.code == ERR_OK) {
        hook_failed(&j->failed, r, e);
    }
    unlink(p.fresh);
    unlink(p.pending);
    struct err s;
    if (file_sync_folder_of(p.pending, &s) != ERR_OK && j->failed.code == ERR_OK) {
        j->failed = s;
    }
    j->d->pending = false;
    L_INFO("the former configuration is in force again");
    rollback_ended(j);
}

static void start_rollback(struct config_job *j) {
    struct paths p;
    struct err e;
    get_paths(j->d, &p);
    if (j->op == CONFIG_ROLLBACK && j->d->kept) { /* pending again: a loss of power goes on here */
        if (become(p.kept, p.pending, &e) != ERR_OK) {
            j->failed = e;
            end_later(j);
            return;
        }
        j->d->kept = false;
        j->d->pending = true;
    }
    if (access(p.pending, F_OK) != 0) {
        j->d->pending = false;
        rollback_ended(j);
        return;
    }
    if (restore_files(j->d, &e) != ERR_OK) {
        j->failed = e;
        end_later(j);
        return;
    }
    run_hook(j, "rollback", access(p.now, F_OK) == 0 ? p.now : "/dev/null", NULL, NULL,
             rolled_back);
}

/* ---------------------------------------------------------------- apply */

static void unconfirmed(void *arg);

static void applied(void *arg, struct script_result *r, const struct err *e) {
    struct config_job *j = arg;
    struct stackd *d = j->d;
    struct paths p;
    struct err s;
    j->hook = NULL;
    get_paths(d, &p);
    if (e != NULL) {
        hook_failed(&j->failed, r, e);
        j->rolled = true;
        start_rollback(j);
        return;
    }
    if (rename(p.fresh, p.now) != 0) {
        err_errno(&j->failed, errno, p.now, "can't be replaced");
        j->rolled = true;
        start_rollback(j);
        return;
    }
    if (j->confirm_ms > 0) {
        loop_timer_start(d->confirm_by, j->confirm_ms);
    } else {
        if (become(p.pending, p.given, &s) != ERR_OK) {
            j->failed = s;
        }
        forget_before(&p);
        d->pending = false;
    }
    if (file_sync_folder_of(p.now, &s) != ERR_OK) {
        j->failed = s;
    }
    end_later(j);
}

static enum err_code prepare(struct config_job *j, const struct paths *p, struct err *e) {
    struct buf old = BUF_INIT;
    char text[40];
    if (unlink(p->kept) == 0) { /* the newest that can be taken back is the one that comes */
        ERR_TRY(file_sync_folder_of(p->kept, e));
    }
    j->d->kept = false;
    forget_before(p);
    if (j->n_key > 0) {
        ERR_TRY(file_write(p->key_fresh, j->text.data, j->n_key, 0600, e));
    }
    ERR_TRY(file_write(p->fresh, j->text.data + j->n_key, j->text.len - j->n_key, 0600, e));
    enum err_code rc = file_read(p->now, STACKD_CONFIG_MAX, &old, e);
    bool had = rc == ERR_OK;
    rc = had ? file_write(p->before, old.data, old.len, 0600, e) : rc == ERR_ABSENT ? ERR_OK : rc;
    buf_free(&old);
    ERR_TRY(rc);
    snprintf(text, sizeof text, "%s %s\n", had ? "before" : "none", j->handling);
    ERR_TRY(file_write(p->pending, text, strlen(text), 0600, e));
    return key_take(p, e);
}

static bool same_file(const char *path, const uint8_t *p, size_t n) {
    struct buf b = BUF_INIT;
    struct err e;
    enum err_code rc = file_read(path, STACKD_CONFIG_MAX, &b, &e);
    bool same = rc == ERR_OK ? b.len == n && (n == 0 || memcmp(b.data, p, n) == 0)
                             : rc == ERR_ABSENT && n == 0;
    wipe(&b);
    return same;
}

/* What the primary hands out is in force here already. */
static bool had_it(struct config_job *j, const struct paths *p) {
    return j->confirm_ms == 0 && stackd_configured(j->d) &&
           same_file(p->now, j->text.data + j->n_key, j->text.len - j->n_key) &&
           (j->n_key == 0 || same_file(p->key, j->text.data, j->n_key));
}

static void start_apply(struct config_job *j) {
    struct paths p;
    struct err e;
    get_paths(j->d, &p);
    if (had_it(j, &p)) {
        if (j->d->kept) {
            stackd_config_final(j->d);
        }
        end_later(j);
        return;
    }
    if (prepare(j, &p, &e) != ERR_OK) {
        j->failed = e;
        end_later(j);
        return;
    }
    j->d->pending = true;
    run_hook(j, "apply", j->handling, p.fresh, access(p.before, F_OK) == 0 ? p.before : "/dev/null",
             applied);
}

/* ---------------------------------------------------------------- confirm */

static void start_confirm(struct config_job *j) {
    struct stackd *d = j->d;
    struct paths p;
    get_paths(d, &p);
    if (!d->pending) {
        if (access(p.now, F_OK) != 0) {
            err_set(&j->failed, ERR_ABSENT, "confirm", "no configuration is in force");
        }
        loop_post(d->loop, end_later, j);
        return;
    }
    if (become(p.pending, p.kept, &j->failed) == ERR_OK) {
        d->pending = false;
        d->kept = true;
        loop_timer_stop(d->confirm_by);
        L_INFO("the configuration is confirmed");
    }
    loop_post(d->loop, end_later, j);
}

/* ---------------------------------------------------------------- orders */

static void begin(void *arg) {
    struct config_job *j = arg;
    if (j->failed.code != ERR_OK) {
        end_later(j);
    } else if (j->op == CONFIG_CONFIRM) {
        start_confirm(j);
    } else {
        start_rollback(j); /* APPLY too: one that nobody confirmed does not become the former one */
    }
}

static void busy(void *arg) {
    struct config_job *j = arg;
    struct err e;
    err_set(&e, ERR_UNAVAILABLE, "configuration", "another change is under way");
    j->done(j->d, j->arg, &e);
    wipe(&j->text);
    mem_free(j);
}

void stackd_config(struct stackd *d, enum config_op op, int fd, const char *handling,
                   int64_t confirm_ms, config_done *done, void *arg) {
    struct config_job *j = MEM_NEW(struct config_job);
    char path[64];
    j->d = d;
    j->op = op;
    j->confirm_ms = confirm_ms;
    j->done = done;
    j->arg = arg;
    j->rolled = op != CONFIG_APPLY;
    snprintf(j->handling, sizeof j->handling, "%s", handling != NULL ? handling : "");
    j->handling[strcspn(j->handling, " ")] = '\0';
    if (op == CONFIG_APPLY) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        file_read(path, STACKD_CONFIG_MAX + STACKD_KEY_MAX, &j->text, &j->failed);
        if (fd >= 0) {
            close(fd);
        }
        const char *blank = handling != NULL ? strchr(handling, ' ') : NULL;
        j->n_key = blank != NULL ? strtoul(blank + 1, NULL, 10) : 0;
        if (j->n_key > j->text.len && j->failed.code == ERR_OK) {
            err_set(&j->failed, ERR_INVALID, "key", "is longer than what came");
        }
    }
    if (d->config_job != NULL) {
        loop_post(d->loop, busy, j);
        return;
    }
    d->config_job = j;
    loop_post(d->loop, begin, j);
}

static void over(struct stackd *d, void *arg, const struct err *e) {
}

static void unconfirmed(void *arg) {
    struct stackd *d = arg;
    if (d->config_job != NULL) {
        loop_timer_start(d->confirm_by, AGAIN_MS);
        return;
    }
    L_WARN("the configuration was not confirmed in time");
    stackd_config(d, CONFIG_ROLLBACK, -1, NULL, 0, over, NULL);
}

static void started(struct stackd *d, void *arg, const struct err *e) {
    void (*fn)(struct stackd *) = *(void (**)(struct stackd *))arg;
    mem_free(arg);
    fn(d);
}

void stackd_config_start(struct stackd *d, void (*fn)(struct stackd *d)) {
    struct paths p;
    get_paths(d, &p);
    d->confirm_by = loop_timer_new(d->loop, unconfirmed, d);
    d->pending = access(p.pending, F_OK) == 0;
    d->kept = access(p.kept, F_OK) == 0;
    if (!d->pending) {
        fn(d);
        return;
    }
    L_WARN("a configuration was not confirmed before the restart");
    stackd_config(d, CONFIG_ROLLBACK, -1, NULL, 0, started, mem_dup(&fn, sizeof fn));
}
