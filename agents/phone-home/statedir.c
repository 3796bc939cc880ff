// SPDX-License-Identifier: Apache-2.0
#include "phone-home/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock_file.h"

enum { FLAG_MAX = 16, FILE_NAME_MAX = STATEDIR_PATH_MAX + 64 };

static const char *in(const struct statedir *s, const char *name, char out[FILE_NAME_MAX]) {
    snprintf(out, FILE_NAME_MAX, "%s/%s", s->path, name);
    return out;
}

enum err_code statedir_open(const char *path, struct statedir *out, struct err *e) {
    char file[FILE_NAME_MAX], holder[LOCK_HOLDER_MAX];
    out->lock = -1;
    snprintf(out->path, sizeof out->path, "%s", path);
    ERR_TRY(file_make_folder(path, 0700, e));
    enum err_code rc = lock_file(in(out, "lock", file), &out->lock, holder, e);
    if (rc == ERR_LOCKED) {
        return err_set(e, rc, path, "another weft-phone-home has it (process %s)", holder);
    }
    return rc;
}

void statedir_close(struct statedir *s) {
    if (s->lock >= 0) {
        close(s->lock);
        s->lock = -1;
    }
}

enum err_code statedir_save(const struct statedir *s, const void *record, size_t n, struct err *e) {
    char file[FILE_NAME_MAX];
    return file_write(in(s, "record", file), record, n, 0600, e);
}

enum err_code statedir_load(const struct statedir *s, struct buf *record, struct err *e) {
    char file[FILE_NAME_MAX];
    enum err_code rc = file_read(in(s, "record", file), STATEDIR_RECORD_MAX, record, e);
    return rc == ERR_ABSENT ? ERR_OK : rc;
}

enum err_code statedir_enabled(const struct statedir *s, bool *on, struct err *e) {
    char file[FILE_NAME_MAX];
    struct buf b = BUF_INIT;
    enum err_code rc = file_read(in(s, "enabled", file), FLAG_MAX, &b, e);
    const char *text = buf_cstr(&b);
    *on = true;
    if (rc == ERR_ABSENT) {
        rc = ERR_OK;
    } else if (rc == ERR_OK && strcmp(text, "false\n") == 0) {
        *on = false;
    } else if (rc == ERR_OK && strcmp(text, "true\n") != 0) {
        rc = err_set(e, ERR_MALFORMED, file, "must be true or false");
    }
    buf_free(&b);
    return rc;
}

enum err_code statedir_enable(const struct statedir *s, bool on, struct err *e) {
    char file[FILE_NAME_MAX];
    const char *text = on ? "true\n" : "false\n";
    return file_write(in(s, "enabled", file), text, strlen(text), 0644, e);
}

enum err_code statedir_clear(const struct statedir *s, struct err *e) {
    char file[FILE_NAME_MAX];
    DIR *d = opendir(s->path);
    if (d == NULL) {
        return errno == ENOENT ? ERR_OK : err_errno(e, errno, s->path, "can't be read");
    }
    const struct dirent *f;
    enum err_code rc = ERR_OK;
    while (rc == ERR_OK && (f = readdir(d)) != NULL) {
        if (f->d_type == DT_DIR || strcmp(f->d_name, "lock") == 0) {
            continue;
        }
        if (unlink(in(s, f->d_name, file)) != 0 && errno != ENOENT) {
            rc = err_errno(e, errno, file, "can't be removed");
        }
    }
    closedir(d);
    return rc == ERR_OK ? file_sync_folder_of(in(s, "record", file), e) : rc;
}
