// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { READ_BLOCK = 65536 };

enum err_code file_read(const char *path, size_t max, struct buf *out, struct err *e) {
    size_t before = out->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err_code rc = ERR_OK;
    ssize_t n = 1;
    if (fd < 0) {
        return errno == ENOENT
                   ? err_set(e, ERR_ABSENT, path, "can't be opened: %s", strerror(errno))
                   : err_errno(e, errno, path, "can't be opened");
    }
    while (rc == ERR_OK && n != 0) {
        uint8_t *at = buf_extend(out, READ_BLOCK);
        n = read(fd, at, READ_BLOCK);
        int why = errno;
        out->len -= READ_BLOCK - (n > 0 ? (size_t)n : 0);
        if (n < 0 && why != EINTR) {
            rc = err_errno(e, why, path, "can't be read");
        } else if (out->len - before > max) {
            rc = err_set(e, ERR_TOO_BIG, path, "has more than %zu bytes", max);
        }
    }
    close(fd);
    if (rc != ERR_OK) {
        out->len = before;
    }
    return rc;
}

enum err_code file_sync_folder_of(const char *path, struct err *e) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') { /* "a/b/" lies in "a" */
        n--;
    }
    while (n > 0 && path[n - 1] != '/') {
        n--;
    }
    char *folder = n > 0 ? mem_strndup(path, n) : mem_strdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err_code rc = ERR_OK;
    if (fd < 0 || fsync(fd) != 0) {
        rc = err_errno(e, errno, folder, "the folder can't be synced");
    }
    if (fd >= 0) {
        close(fd);
    }
    mem_free(folder);
    return rc;
}

static enum err_code fill(int fd, const char *path, const void *p, size_t n, mode_t mode,
                          struct err *e) {
    for (size_t at = 0; at < n;) {
        ssize_t w = write(fd, (const char *)p + at, n - at);
        if (w < 0 && errno != EINTR) {
            return err_errno(e, errno, path, "can't be written");
        }
        at += w > 0 ? (size_t)w : 0;
    }
    if (fchmod(fd, mode) != 0 || fsync(fd) != 0) {
        return err_errno(e, errno, path, "can't be synced");
    }
    return ERR_OK;
}

enum err_code file_write(const char *path, const void *p, size_t n, mode_t mode, struct err *e) {
    char *fresh = mem_printf("%s.new", path);
    unlink(fresh); /* of an attempt that was cut short */
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum err_code rc =
        fd < 0 ? err_errno(e, errno, path, "can't be made") : fill(fd, path, p, n, mode, e);
    if (fd >= 0) {
        close(fd);
    }
    if (rc == ERR_OK && rename(fresh, path) != 0) {
        rc = err_errno(e, errno, path, "can't be replaced");
    }
    if (rc != ERR_OK && fd >= 0) {
        unlink(fresh);
    }
    mem_free(fresh);
    return rc == ERR_OK ? file_sync_folder_of(path, e) : rc;
}

enum err_code file_make_folder(const char *path, mode_t mode, struct err *e) {
    if (mkdir(path, mode) != 0) {
        return errno == EEXIST ? ERR_OK : err_errno(e, errno, path, "the folder can't be made");
    }
    return file_sync_folder_of(path, e);
}
