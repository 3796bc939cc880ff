// SPDX-License-Identifier: Apache-2.0
#include "base/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum err_code lock_file(const char *path, int *fd, char holder[LOCK_HOLDER_MAX], struct err *e) {
    *fd = -1;
    snprintf(holder, LOCK_HOLDER_MAX, "unknown");
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f < 0) {
        return err_errno(e, errno, path, "can't open the lock file");
    }
    if (flock(f, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        char text[LOCK_HOLDER_MAX];
        ssize_t n = pread(f, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (text[0] != '\0') {
            snprintf(holder, LOCK_HOLDER_MAX, "%s", text);
        }
        close(f);
        return why == EWOULDBLOCK ? err_set(e, ERR_LOCKED, path, "process %s has locked it", holder)
                                  : err_errno(e, why, path, "can't lock the file");
    }
    /* Only for people: a full disk must not stand in the way. */
    int n = snprintf(holder, LOCK_HOLDER_MAX, "%ld\n", (long)getpid());
    if (ftruncate(f, 0) == 0) {
        ssize_t written = pwrite(f, holder, (size_t)n, 0);
        (void)written;
    }
    holder[n - 1] = '\0';
    *fd = f;
    return ERR_OK;
}
