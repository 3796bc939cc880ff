// SPDX-License-Identifier: Apache-2.0
#include "phone-home/storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static const char DATA[] = "bootstrapping-data";
static const char *const ci_names[] = {"conveyed-information.cms", "conveyed-information.der",
                                       NULL};
static const char *const owner_names[] = {"owner-certificate.cms", "owner-certificate.der", NULL};
static const char *const voucher_names[] = {"ownership-voucher.vcj", "ownership-voucher.cms",
                                            "ownership-voucher.der", NULL};

void storage_set_free(struct storage_set *s) {
    buf_free(&s->ci);
    buf_free(&s->owner);
    buf_free(&s->voucher);
    s->path[0] = '\0';
}

/* A folder or file below `dir`, one component at a time, without following links. */
static int open_below(int dir, const char *path, bool folder) {
    int at = dup(dir);
    while (at >= 0 && *path != '\0') {
        char name[NAME_MAX + 1];
        size_t n = strcspn(path, "/");
        const char *rest = path + n + strspn(path + n, "/");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), path);
        bool last = *rest == '\0';
        if (n == 0 || n >= sizeof name || strcmp(name, "..") == 0 || strcmp(name, ".") == 0) {
            close(at);
            errno = EINVAL;
            return -1;
        }
        /* O_NONBLOCK: a fifo must not hold us */
        int next = openat(at, name,
                          O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
                              (last && !folder ? 0 : O_DIRECTORY));
        int why = errno;
        close(at);
        errno = why;
        at = next;
        path = rest;
    }
    return at;
}

static enum err_code regular(int fd, const char *path, struct stat *st, struct err *e) {
    if (fstat(fd, st) != 0) {
        return err_errno(e, errno, path, "can't be read");
    }
    return S_ISREG(st->st_mode) ? ERR_OK : err_set(e, ERR_INVALID, path, "is no regular file");
}

static enum err_code read_all(int fd, const char *path, struct buf *out, struct err *e) {
    struct stat st;
    ERR_TRY(regular(fd, path, &st, e));
    if (st.st_size > CMS_DER_MAX) {
        return err_set(e, ERR_TOO_BIG, path, "has more than %d bytes", (int)CMS_DER_MAX);
    }
    for (;;) {
        uint8_t *at = buf_extend(out, 65536);
        ssize_t n = read(fd, at, 65536);
        int why = errno;
        out->len -= 65536 - (n > 0 ? (size_t)n : 0);
        if (n == 0) {
            break;
        }
        if (n < 0 && why != EINTR) {
            return err_errno(e, why, path, "can't be read");
        }
        if (out->len > CMS_DER_MAX) {
            return err_set(e, ERR_TOO_BIG, path, "has more than %d bytes", (int)CMS_DER_MAX);
        }
    }
    return out->len > 0 ? ERR_OK : err_set(e, ERR_INVALID, path, "is empty");
}

/* The first of `names` in the folder; with `prefix` (not NULL) as "prefix-name" as well. */
static enum err_code read_one(int dir, const char *folder, const char *prefix,
                              const char *const *names, struct buf *out, struct err *e) {
    for (size_t i = 0; names[i] != NULL; i++) {
        for (int with = prefix != NULL ? 1 : 0; with >= 0; with--) {
            char name[NAME_MAX + 1], path[ERR_PATH_MAX];
            snprintf(name, sizeof name, "%s%s%s", with ? prefix : "", with ? "-" : "", names[i]);
            snprintf(path, sizeof path, "%.250s/%.250s", folder, name);
            int fd = open_below(dir, name, false);
            if (fd < 0 && errno == ENOENT) {
                continue;
            }
            if (fd < 0) {
                return err_errno(e, errno, path, "can't be opened");
            }
            enum err_code rc = read_all(fd, path, out, e);
            close(fd);
            return rc;
        }
    }
    return err_set(e, ERR_ABSENT, folder, "there is no %s", names[0]);
}

static enum err_code read_set(int top, const char *mount, const char *folder, const char *prefix,
                              struct storage_set *out, struct err *e) {
    int dir = open_below(top, folder, true);
    if (dir < 0) {
        return err_set(e, ERR_ABSENT, folder, "there is no such folder");
    }
    snprintf(out->path, sizeof out->path, "%s%s%s", mount, folder[0] != '\0' ? "/" : "", folder);
    enum err_code rc = read_one(dir, out->path, prefix, ci_names, &out->ci, e);
    if (rc == ERR_OK) {
        rc = read_one(dir, out->path, prefix, owner_names, &out->owner, e);
        rc = rc == ERR_ABSENT ? ERR_OK : rc;
    }
    if (rc == ERR_OK) {
        rc = read_one(dir, out->path, prefix, voucher_names, &out->voucher, e);
        rc = rc == ERR_ABSENT ? ERR_OK : rc;
    }
    close(dir);
    if (rc != ERR_OK) {
        storage_set_free(out);
    }
    return rc;
}

/* <vendor>/<serial>: any folder of the top, as many as are reasonable. */
static enum err_code read_vendors(int top, const char *mount, const char *serial,
                                  struct storage_set *out, struct err *e) {
    int fd = open_below(top, "", true);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    enum err_code rc = err_set(e, ERR_ABSENT, mount, "there is no folder of this device");
    if (d == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    rewinddir(d);
    const struct dirent *f;
    for (size_t n = 0; rc == ERR_ABSENT && n < STORAGE_VENDORS_MAX && (f = readdir(d)) != NULL;) {
        char folder[2 * NAME_MAX + 64];
        if (f->d_name[0] == '.' || (f->d_type != DT_DIR && f->d_type != DT_UNKNOWN)) {
            continue;
        }
        n++;
        snprintf(folder, sizeof folder, "%s/%s/%s", f->d_name, serial, DATA);
        rc = read_set(top, mount, folder, NULL, out, e);
        if (rc == ERR_ABSENT) {
            folder[strlen(folder) - strlen(DATA) - 1] = '\0';
            rc = read_set(top, mount, folder, NULL, out, e);
        }
    }
    closedir(d);
    return rc;
}

static bool fits_into_names(const char *serial) {
    return serial[0] != '\0' && serial[0] != '.' && strchr(serial, '/') == NULL &&
           strlen(serial) <= CMS_SERIAL_MAX;
}

static enum err_code read_mount(int top, const char *mount, const char *serial,
                                struct storage_set *out, struct err *e) {
    char folder[2 * NAME_MAX];
    enum err_code rc = ERR_ABSENT;
    if (fits_into_names(serial)) {
        snprintf(folder, sizeof folder, "%s/%s", serial, DATA);
        rc = read_set(top, mount, folder, NULL, out, e);
        if (rc == ERR_ABSENT) {
            rc = read_set(top, mount, serial, NULL, out, e);
        }
        if (rc == ERR_ABSENT) {
            rc = read_vendors(top, mount, serial, out, e);
        }
    }
    static const char *const common[] = {DATA, "sztp", ""};
    for (size_t i = 0; i < 3 && rc == ERR_ABSENT; i++) {
        rc = read_set(top, mount, common[i], fits_into_names(serial) ? serial : NULL, out, e);
    }
    return rc;
}

enum err_code storage_read(const struct storage *s, size_t mount, const char *serial,
                           struct storage_set *out, struct err *e) {
    memset(out, 0, sizeof *out);
    int top = open(s->mounts[mount], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) {
        return err_set(e, ERR_ABSENT, s->mounts[mount], "nothing is mounted there");
    }
    enum err_code rc = read_mount(top, s->mounts[mount], serial, out, e);
    close(top);
    return rc == ERR_ABSENT
               ? err_set(e, ERR_ABSENT, s->mounts[mount], "there is nothing for this device")
               : rc;
}

static enum err_code open_at(const char *mount, const char *below, int *fd, struct err *e) {
    struct stat st;
    int top = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *fd = top >= 0 ? open_below(top, below, false) : -1;
    if (top >= 0) {
        close(top);
    }
    if (*fd < 0) {
        return ERR_ABSENT;
    }
    enum err_code rc = regular(*fd, below, &st, e);
    if (rc != ERR_OK) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

enum err_code storage_open_uri(const struct storage *s, const char *uri, int *fd, struct err *e) {
    *fd = -1;
    if (strncmp(uri, "file:///", 8) != 0) {
        return err_set(e, ERR_INVALID, uri, "is no file on a medium: file:///PATH is");
    }
    const char *path = uri + 7, *below = path + strspn(path, "/");
    for (size_t i = 0; i < s->n_mounts; i++) {
        size_t n = strlen(s->mounts[i]);
        if (strncmp(path, s->mounts[i], n) == 0 && path[n] == '/' &&
            open_at(s->mounts[i], path + n + strspn(path + n, "/"), fd, e) == ERR_OK) {
            return ERR_OK;
        }
    }
    size_t first = strcspn(below, "/");
    if (first > 1 && below[first - 1] == ':') {
        below += first + strspn(below + first, "/");
    }
    for (size_t i = 0; i < s->n_mounts && *below != '\0'; i++) {
        if (open_at(s->mounts[i], below, fd, e) == ERR_OK) {
            return ERR_OK;
        }
    }
    return err_set(e, ERR_ABSENT, uri, "there is no such file on a medium");
}
