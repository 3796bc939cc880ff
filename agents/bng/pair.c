// SPDX-License-Identifier: Apache-2.0
#include "bng/pair.h"

#include <string.h>

static const char *const names[PAIR_STATES] = {"no high availability",
                                               "waiting",
                                               "syncing",
                                               "ready",
                                               "hot-standby",
                                               "load-balancing",
                                               "communication-recovery",
                                               "partner-down",
                                               "in-maintenance",
                                               "partner-in-maintenance",
                                               "terminated",
                                               "unknown"};

const char *pair_state_name(enum pair_state s) {
    return names[s];
}

enum pair_state pair_state_of(const char *name) {
    if (name == NULL) {
        return PAIR_NONE;
    }
    for (enum pair_state s = PAIR_WAITING; s < PAIR_OTHER; s++) {
        if (strcmp(name, names[s]) == 0) {
            return s;
        }
    }
    return PAIR_OTHER;
}

bool pair_aside(const struct pair_member *m, size_t n, size_t i) {
    if (n < 2 || m[i].answers || !m[i].fenced) {
        return false;
    }
    const struct pair_member *o = &m[1 - i];
    return m[i].down || (m[i].trusts && o->answers && o->state == PAIR_PARTNER_DOWN);
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t pair_added(const struct pair_member *m, size_t n) {
    uint64_t g = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        g = m[i].answers ? least(g, m[i].has) : g;
    }
    return g == UINT64_MAX ? 0 : g;
}

uint64_t pair_taken(const struct pair_member *m, size_t n) {
    uint64_t g = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        g = pair_aside(m, n, i) ? g : least(g, m[i].has);
    }
    return g == UINT64_MAX ? 0 : g;
}

int64_t pair_used(const struct pair_member *m, size_t n, const int64_t *used) {
    int64_t serving = -1, any = -1;
    for (size_t i = 0; i < n; i++) {
        if (!m[i].answers) {
            continue;
        }
        if (m[i].serves && used[i] < 0) {
            return -1;
        }
        serving = m[i].serves && used[i] > serving ? used[i] : serving;
        any = used[i] > any ? used[i] : any;
    }
    return serving > 0 ? serving : any;
}

static bool normal(enum pair_state s) {
    return s == PAIR_HOT_STANDBY || s == PAIR_LOAD_BALANCING;
}

enum pair_turn pair_turn(const struct pair_member *m, size_t n, size_t i, bool patient) {
    const struct pair_member *o = &m[n < 2 ? 0 : 1 - i];
    /* Alone and on its way to serve what it was compared with: it would begin to wait anew. */
    bool begins = n > 1 && !o->answers && m[i].state == PAIR_WAITING && m[i].has > 0;
    if (n < 2 || (!m[i].serves && !(begins && patient))) {
        return PAIR_GO; /* nobody is served by it, or there is no other */
    }
    if (!o->answers) {
        /* Before it has found its partner down it would, started anew, wait for that all over. */
        return m[i].state == PAIR_PARTNER_DOWN || !patient ? PAIR_GO : PAIR_WAIT;
    }
    /* A lease in a subnet that the partner does not know can't be told it, and is not given. */
    if (m[i].primary && !o->in_line) {
        return PAIR_WAIT;
    }
    if (!patient) {
        return PAIR_GO;
    }
    return normal(m[i].state) && o->state == m[i].state ? PAIR_TAKE_OVER : PAIR_WAIT;
}

const char *pair_word(const struct pair_member *m, size_t n) {
    size_t serve = 0, answer = 0;
    for (size_t i = 0; i < n; i++) {
        serve += m[i].answers && m[i].serves;
        answer += m[i].answers;
    }
    if (answer < n) {
        return serve > 0 ? "one server is away" : "nobody is known to serve";
    }
    return serve == 0 ? "nobody serves"
           : serve == n || (normal(m[0].state) && n > 1 && normal(m[1].state))
               ? "complete"
               : "one server serves";
}
