// SPDX-License-Identifier: Apache-2.0
#include "sztp/progress.h"

#include <string.h>

static const struct {
    const char *name;
    bool terminal;
} progress[] = {
#define X(name, text, terminal) [SZTP_##name] = {text, terminal},
    SZTP_PROGRESS(X)
#undef X
};

static const struct {
    const char *name;
    bool member;
    enum sztp_progress goes_on, ends;
} notifications[] = {
#define X(name, text, member, goes_on, ends)                                                       \
    [SZTP_N_##name] = {text, member, SZTP_##goes_on, SZTP_##ends},
    SZTP_NOTIFICATIONS(X)
#undef X
};

const char *sztp_progress_name(enum sztp_progress t) {
    return progress[t].name;
}

bool sztp_progress_terminal(enum sztp_progress t) {
    return progress[t].terminal;
}

bool sztp_progress_parse(const char *name, enum sztp_progress *out) {
    for (int i = 0; i < SZTP_PROGRESS_COUNT; i++) {
        if (strcmp(name, progress[i].name) == 0) {
            *out = (enum sztp_progress)i;
            return true;
        }
    }
    return false;
}

const char *sztp_notification_name(enum sztp_notification t) {
    return notifications[t].name;
}

bool sztp_notification_member(enum sztp_notification t) {
    return notifications[t].member;
}

bool sztp_notification_parse(const char *name, enum sztp_notification *out) {
    for (int i = 0; i < SZTP_NOTIFICATION_COUNT; i++) {
        if (strcmp(name, notifications[i].name) == 0) {
            *out = (enum sztp_notification)i;
            return true;
        }
    }
    return false;
}

enum sztp_progress sztp_notification_progress(enum sztp_notification t, bool ends) {
    return ends ? notifications[t].ends : notifications[t].goes_on;
}
