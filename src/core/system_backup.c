// SPDX-License-Identifier: Apache-2.0
/*
 * `request system backup`: at once, in the thread of the request, or as a job that outlasts the
 * session and the controller. The job copies into a file that bears its own number, then gives it
 * its name; so whatever is repeated or undone touches no file but its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/system_int.h"
#include "model/kinds.h"

enum { PATH_SIZE = 2100 };

static char backup_folder[1024] = ".";

void system_set_backup_folder(const char *path) {
    snprintf(backup_folder, sizeof backup_folder, "%s", path);
}

static enum err_code find_path(const struct call *cl, char path[PATH_SIZE], struct err *e) {
    const struct system_backup_input *in = cl->in.data;
    bool elsewhere = strchr(in->file, '/') != NULL;
    if (elsewhere && !cl->who.superuser) {
        return err_set(e, ERR_DENIED, in->file,
                       "backups go into %s: give a name without a slash; only an administrator of "
                       "the machine itself may write elsewhere",
                       backup_folder);
    }
    if (elsewhere && in->file[0] != '/') { /* the daemon's own folder is nobody's business */
        return err_set(e, ERR_INVALID, in->file,
                       "a name without a slash goes into %s, a path begins with /", backup_folder);
    }
    if (in->file[0] == '.' && !elsewhere) {
        return err_set(e, ERR_INVALID, in->file, "the name of a backup does not begin with a dot");
    }
    snprintf(path, PATH_SIZE, "%s%s%s", elsewhere ? "" : backup_folder, elsewhere ? "" : "/",
             in->file);
    return ERR_OK;
}

/* A job's work is the leader's, and so would be the folder that the backup is in. */
static enum err_code leads_here(struct core *c, struct err *e) {
    struct core_turn t;
    core_turn(c, &t);
    if (t.role == CORE_LEADS) {
        return ERR_OK;
    }
    return err_set(e, ERR_UNAVAILABLE, NULL,
                   "in the background a backup is made by the node that leads, in its own folder: "
                   "ask %s, or leave out background to have it here",
                   t.leader[0] != '\0' ? t.leader : "it");
}

/* ---- at once -----------------------------------------------------------------------------------
 */

enum err_code system_backup(struct system *sys, struct call *cl, struct err *e) {
    const struct system_backup_input *in = cl->in.data;
    char path[PATH_SIZE];
    uint64_t at = 0;
    struct stat st = {0};
    ERR_TRY(find_path(cl, path, e));
    if (in->background) {
        cl->outside = false; /* it goes into the store, as a job */
        ERR_TRY(leads_here(sys->core, e));
        return access(path, F_OK) == 0 ? err_set(e, ERR_EXISTS, path, "the file exists already")
                                       : ERR_OK;
    }
    ERR_TRY(log_backup(sys->core->log, path, &at, e));
    stat(path, &st);
    buf_printf(&cl->text, "Backup %s: %lld bytes, up to log entry %" PRIu64 ".\n", path,
               (long long)st.st_size, at);
    json_t *o = json_object();
    json_object_set_new(o, "file", json_string(path));
    json_object_set_new(o, "size", json_sprintf("%lld", (long long)st.st_size));
    json_object_set_new(o, "log-index", json_sprintf("%" PRIu64, at));
    call_answer_json(&cl->json, o);
    return ERR_OK;
}

/* ---- as a job ----------------------------------------------------------------------------------
 */

/* Where the job copies to, before the file gets its name. */
static void own_path(const struct job_effect *x, char out[PATH_SIZE]) {
    snprintf(out, PATH_SIZE, "%s.job-%" PRIu64, job_input(x), job_token(x)->id);
}

/* Takes away what an earlier attempt has left: the file, and what it was made from. */
static enum err_code clear(const char *own, struct err *e) {
    char folder[PATH_SIZE], path[PATH_SIZE + 256];
    snprintf(folder, sizeof folder, "%s", own);
    char *slash = strrchr(folder, '/');
    const char *name = slash != NULL ? own + (slash - folder) + 1 : own;
    size_t n = strlen(name);
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    DIR *d = opendir(slash != NULL ? folder : ".");
    for (struct dirent *f = d ? readdir(d) : NULL; f != NULL; f = readdir(d)) {
        if (strncmp(f->d_name, name, n) == 0 && strncmp(f->d_name + n, ".partial-", 9) == 0) {
            snprintf(path, sizeof path, "%s/%s", slash != NULL ? folder : ".", f->d_name);
            unlink(path);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return unlink(own) == 0 || errno == ENOENT ? ERR_OK
                                               : err_errno(e, errno, own, "can't be removed");
}

/* Leaves the log entry, and the number by which the file is known under any name. */
static enum err_code copy(struct job_effect *x, struct err *e) {
    char own[PATH_SIZE], result[64];
    uint64_t at = 0;
    struct stat st;
    own_path(x, own);
    ERR_TRY(clear(own, e));
    job_progress(x, 0, "copying");
    ERR_TRY(log_backup(job_core(x)->log, own, &at, e));
    if (stat(own, &st) != 0) {
        return err_errno(e, errno, own, "the copy is gone");
    }
    snprintf(result, sizeof result, "%" PRIu64 " %ju", at, (uintmax_t)st.st_ino);
    job_set_result(x, result);
    return ERR_OK;
}

static enum err_code uncopy(struct job_effect *x, struct err *e) {
    char own[PATH_SIZE];
    own_path(x, own);
    return clear(own, e);
}

/* Is the file of that name the one that this job made? */
static bool is_ours(const struct job_effect *x, uint64_t *at, struct stat *st) {
    const char *copied = job_result(x, "copy");
    uintmax_t inode = 0;
    return copied != NULL && sscanf(copied, "%" SCNu64 " %ju", at, &inode) == 2 &&
           lstat(job_input(x), st) == 0 && S_ISREG(st->st_mode) && st->st_ino == inode;
}

static enum err_code give_name(struct job_effect *x, struct err *e) {
    char own[PATH_SIZE], result[128];
    uint64_t at = 0;
    struct stat st;
    own_path(x, own);
    if (!is_ours(x, &at, &st)) { /* else a former attempt came so far */
        if (renameat2(AT_FDCWD, own, AT_FDCWD, job_input(x), RENAME_NOREPLACE) != 0) {
            return errno == EEXIST
                       ? err_set(e, ERR_REFUSED, job_input(x),
                                 "%s exists already, it was made meanwhile", job_input(x))
                       : err_errno(e, errno, job_input(x), "can't give %s its name", job_input(x));
        }
        if (!is_ours(x, &at, &st)) {
            return err_set(e, ERR_REFUSED, job_input(x), "the file was changed meanwhile");
        }
    }
    ERR_TRY(file_sync_folder_of(job_input(x), e));
    snprintf(result, sizeof result, "%lld bytes, up to log entry %" PRIu64, (long long)st.st_size,
             at);
    job_set_result(x, result);
    job_progress(x, 100, result);
    return ERR_OK;
}

static enum err_code take_name(struct job_effect *x, struct err *e) {
    uint64_t at;
    struct stat st;
    return !is_ours(x, &at, &st) || unlink(job_input(x)) == 0
               ? ERR_OK
               : err_errno(e, errno, job_input(x), "can't be removed");
}

static const struct job_step steps[] = {
    {.name = "copy",
     .run = copy,
     .undo = uncopy,
     .deadline_s = 6 * 3600,
     .attempts = 3,
     .backoff_s = 10,
     .backoff_max_s = 300},
    {.name = "name",
     .run = give_name,
     .undo = take_name,
     .deadline_s = 60,
     .attempts = 3,
     .backoff_s = 1,
     .backoff_max_s = 10},
};
static const struct job_definition definition = {
    .name = "system-backup", .title = "A copy of the store", .steps = steps, .n_steps = 2};

void system_backup_register(struct system *sys) {
    job_register(sys->core, &definition, NULL);
}

enum err_code system_backup_job(struct txn *t, struct call *cl, struct err *e) {
    char path[PATH_SIZE];
    uint64_t id = 0;
    ERR_TRY(find_path(cl, path, e));
    const struct job_order o = {
        .definition = &definition, .input = path, .lock = "system-backup"}; /* one reads the disk */
    ERR_TRY(job_start(t, &o, &id, e));
    buf_printf(&cl->text, "Backup %s is job %" PRIu64 ": show job id %" PRIu64 "\n", path, id, id);
    json_t *out = json_object();
    json_object_set_new(out, "file", json_string(path));
    json_object_set_new(out, "job", json_sprintf("%" PRIu64, id));
    call_answer_json(&cl->json, out);
    return ERR_OK;
}
