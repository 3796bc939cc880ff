// SPDX-License-Identifier: Apache-2.0
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool notify_manager(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof to.sun_path) {
        return false;
    }
    memcpy(to.sun_path, path, strlen(path));
    if (to.sun_path[0] == '@') { /* an abstract name */
        to.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
    return n == (ssize_t)strlen(state);
}

/* A positive decimal number and nothing else, 0 for anything else. */
static int64_t number(const char *text) {
    char *end;
    errno = 0;
    long long v = text != NULL && text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : 0;
    return v > 0 && errno == 0 && *end == '\0' ? v : 0;
}

int64_t notify_watchdog_ms(void) {
    const char *pid = getenv("WATCHDOG_PID");
    if (pid != NULL && number(pid) != (int64_t)getpid()) {
        return 0; /* a parent of ours is meant */
    }
    int64_t us = number(getenv("WATCHDOG_USEC"));
    return us == 0 ? 0 : us < 4000 ? 1 : us / 2000;
}
