// SPDX-License-Identifier: Apache-2.0
/*
 * `request system support-bundle`: what somebody needs to understand this controller, in one file:
 * the configuration with its secrets masked, what every show command that needs no argument says to
 * the one who asks, the newest log lines, figures, the machine. A new service's commands are in it
 * without a line here.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "admin/archive_file.h"
#include "admin/internal.h"
#include "base/file.h"
#include "core/rights.h"

enum { TAR_BLOCK = 512, PART_MAX = 64 << 20, PATH_SIZE = 1200, LOG_LINES = 10000 };

static char folder[1024] = ".";

void admin_set_support_folder(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
}

/* ---- tar (POSIX.1-2017 pax, ustar) -------------------------------------------------------------
 */

struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
        version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};

static void tar_add(struct buf *tar, const char *name, const struct buf *content, int64_t now_s) {
    struct ustar h = {.type = '0'};
    size_t n = content->len < PART_MAX ? content->len : PART_MAX;
    snprintf(h.name, sizeof h.name, "weft-support/%s", name);
    snprintf(h.mode, sizeof h.mode, "%07o", 0600);
    snprintf(h.uid, sizeof h.uid, "%07o", 0);
    snprintf(h.gid, sizeof h.gid, "%07o", 0);
    snprintf(h.size, sizeof h.size, "%011zo", n);
    snprintf(h.mtime, sizeof h.mtime, "%011" PRIo64, (uint64_t)now_s);
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    memset(h.sum, ' ', sizeof h.sum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof h; i++) {
        sum += ((const unsigned char *)&h)[i];
    }
    snprintf(h.sum, sizeof h.sum, "%06o", sum); /* and a NUL before the blank */
    buf_add(tar, &h, sizeof h);
    buf_add(tar, content->data, n);
    static const char zeros[TAR_BLOCK];
    buf_add(tar, zeros, (TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK);
}

/* ---- what goes in ------------------------------------------------------------------------------
 */

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
};

static void answered(struct call *cl, void *arg) {
    struct waiting *w = arg;
    (void)cl;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ready);
    pthread_mutex_unlock(&w->lock);
}

static void run(struct core *c, struct call *cl) {
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER};
    core_call(c, cl, answered, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.ready, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.ready);
}

/* "show ..." that can be given as it is. */
static bool is_show(const struct command *cmd) {
    bool ok = cmd->n_words > 1 && strcmp(cmd->words[0], "show") == 0 && cmd->confirm == NULL;
    for (size_t i = 0; i < cmd->n_args && ok; i++) {
        ok = cmd->args[i].optional;
    }
    return ok;
}

static void add_command(struct core *c, const struct actor *who, const struct command *cmd,
                        struct buf *tar, int64_t now_s) {
    struct buf name = BUF_INIT, text = BUF_INIT;
    struct call *cl = call_new(who);
    const bool log = strcmp(cmd->rpc->name, "show-log") == 0;
    char lines[64];
    snprintf(lines, sizeof lines, "{\"weft-system:input\":{\"lines\":%d}}", LOG_LINES);
    struct err e = {.code = ERR_OK};
    if (rpc_input_parse(core_model(c), cmd->rpc, log ? lines : NULL, log ? strlen(lines) : 0,
                        FORMAT_JSON, cl->arena, &cl->in, &e) == ERR_OK) {
        run(c, cl);
        e = cl->err;
    }
    for (size_t i = 0; i < cmd->n_words; i++) {
        buf_printf(&name, "%s%s", i > 0 ? "-" : "", cmd->words[i]);
    }
    buf_str(&name, ".txt");
    if (e.code != ERR_OK) {
        buf_printf(&text, "error: %s\n", e.text);
    } else {
        buf_add(&text, cl->text.data, cl->text.len);
    }
    tar_add(tar, buf_cstr(&name), &text, now_s);
    call_free(cl);
    buf_free(&name);
    buf_free(&text);
}

static void add_file(const char *path, struct buf *out) {
    char line[512];
    FILE *f = fopen(path, "re");
    buf_printf(out, "-- %s\n", path);
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        buf_str(out, line);
    }
    if (f != NULL) {
        fclose(f);
    }
}

static void machine(struct buf *out) {
    struct utsname u;
    struct statvfs v;
    if (uname(&u) == 0) {
        buf_printf(out, "%s %s %s %s\n", u.sysname, u.release, u.version, u.machine);
    }
    if (statvfs(folder, &v) == 0) {
        buf_printf(out, "storage: %llu of %llu MiB free, %llu of %llu inodes\n",
                   (unsigned long long)v.f_bavail * v.f_frsize >> 20,
                   (unsigned long long)v.f_blocks * v.f_frsize >> 20,
                   (unsigned long long)v.f_favail, (unsigned long long)v.f_files);
    }
    add_file("/proc/self/status", out);
    add_file("/proc/self/limits", out);
    add_file("/proc/meminfo", out);
    add_file("/proc/loadavg", out);
    add_file("/proc/uptime", out);
    add_file("/etc/os-release", out);
}

static enum err_code collect(struct core *c, const struct actor *who, struct buf *tar,
                             struct err *e) {
    struct buf part = BUF_INIT;
    struct commit_info ci = {.index = 0};
    int64_t now_s = clock_wall_s(core_clock(c));
    struct snap *s = core_snapshot(c);
    core_history(c, &ci, 1);
    enum err_code rc = rights_check(s, who, RIGHT_READ, "/", e);
    if (rc == ERR_OK) {
        rc = archive_text(core_model(c), s, &ci, false, &part, e);
    }
    snap_release(s);
    if (rc != ERR_OK) {
        buf_free(&part);
        return rc;
    }
    tar_add(tar, "configuration.txt", &part, now_s);
    buf_clear(&part);
    core_metrics(c, &part);
    tar_add(tar, "metrics.txt", &part, now_s);
    buf_clear(&part);
    machine(&part);
    tar_add(tar, "machine.txt", &part, now_s);
    buf_free(&part);
    size_t n;
    const struct command *const *all = model_commands(&n);
    for (size_t i = 0; i < n; i++) {
        if (is_show(all[i])) {
            add_command(c, who, all[i], tar, now_s);
        }
    }
    static const char end[2 * TAR_BLOCK];
    buf_add(tar, end, sizeof end);
    return ERR_OK;
}

enum err_code support_bundle(struct core *c, struct call *cl, struct err *e) {
    const struct admin_support_bundle_input *in = cl->in.data;
    struct buf tar = BUF_INIT, gz = BUF_INIT;
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s.tar.gz", folder, in->file);
    enum err_code rc = file_make_folder(folder, 0700, e);
    if (rc == ERR_OK) {
        rc = collect(c, &cl->who, &tar, e);
    }
    if (rc == ERR_OK) {
        rc = archive_gzip(tar.data, tar.len, &gz, e);
    }
    if (rc == ERR_OK) {
        rc = file_write(path, gz.data, gz.len, 0600, e);
    }
    if (rc == ERR_OK) {
        buf_printf(&cl->text,
                   "Support bundle %s: %zu bytes. Secrets are not in it; names and "
                   "addresses are.\n",
                   path, gz.len);
        json_t *o = json_object();
        json_object_set_new(o, "file", json_string(path));
        json_object_set_new(o, "size", json_sprintf("%zu", gz.len));
        admin_json(&cl->json, o);
    }
    buf_free(&tar);
    buf_free(&gz);
    return rc;
}
