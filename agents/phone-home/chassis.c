// SPDX-License-Identifier: Apache-2.0
#include "phone-home/chassis.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- who */

enum chassis_way chassis_way(const struct sztp_topology *t) {
    if (t->strict && t->n_members == 0) {
        return CHASSIS_MALFORMED;
    }
    if (!t->present && t->n_members == 0) {
        return CHASSIS_STANDALONE;
    }
    return t->strict ? CHASSIS_LISTED : CHASSIS_FOUND;
}

const struct platform_member *chassis_live(const struct platform_member *live, size_t n,
                                           const char *serial) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(live[i].serial, serial) == 0) {
            return &live[i];
        }
    }
    return NULL;
}

void chassis_alone(const struct platform_identity *own, struct platform_member *out) {
    memset(out, 0, sizeof *out);
    out->id = own->member_id;
    out->role = SZTP_MASTER;
    out->up = true;
    memcpy(out->serial, own->serial, sizeof out->serial);
    memcpy(out->os_version, own->os_version, sizeof out->os_version);
}

const struct platform_member *chassis_heir(const struct platform_member *live, size_t n,
                                           const char *own_serial) {
    for (size_t i = 0; i < n; i++) {
        if (live[i].up && live[i].role == SZTP_BACKUP && strcmp(live[i].serial, own_serial) != 0) {
            return &live[i];
        }
    }
    return NULL;
}

static bool listed(const struct sztp_topology *t, const char *serial) {
    for (size_t i = 0; i < t->n_members; i++) {
        if (strcmp(t->members[i].serial, serial) == 0) {
            return true;
        }
    }
    return false;
}

void chassis_compare(const struct sztp_topology *t, const struct platform_member *live, size_t n,
                     struct chassis_difference *out) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < t->n_members; i++) {
        const struct platform_member *m = chassis_live(live, n, t->members[i].serial);
        if (m == NULL || !m->up) {
            out->missing[out->n_missing++] = &t->members[i];
        }
    }
    for (size_t i = 0; t->n_members > 0 && i < n && i < SZTP_MEMBERS_MAX; i++) {
        if (!listed(t, live[i].serial)) {
            out->unexpected[out->n_unexpected++] = &live[i];
        }
    }
}

static void add(struct record *r, int id, const char *serial, enum sztp_role role,
                const char *version) {
    if (r->n_members == SZTP_MEMBERS_MAX) {
        return;
    }
    struct record_member *m = &r->members[r->n_members++];
    memset(m, 0, sizeof *m);
    m->id = id;
    m->role = role;
    m->stage = role == SZTP_MASTER   ? STAGE_PRIMARY
               : role == SZTP_BACKUP ? STAGE_BACKUP
                                     : STAGE_LINECARD;
    snprintf(m->serial, sizeof m->serial, "%s", serial);
    snprintf(m->before, sizeof m->before, "%s", version);
}

void chassis_plan(enum chassis_way way, const struct sztp_topology *t,
                  const struct platform_identity *own, const struct platform_member *live, size_t n,
                  struct record *r) {
    r->n_members = 0;
    r->chassis = way != CHASSIS_STANDALONE;
    r->strict = way == CHASSIS_LISTED;
    /* In the order of their numbers (PH-042). */
    for (int id = 0; id < SZTP_MEMBERS_MAX && way != CHASSIS_STANDALONE; id++) {
        for (size_t i = 0; i < n; i++) {
            const struct platform_member *m = &live[i];
            if (m->id == id && m->up && strcmp(m->serial, own->serial) != 0 &&
                record_member_of(r, m->serial) == NULL &&
                (way == CHASSIS_FOUND || listed(t, m->serial)) &&
                r->n_members < SZTP_MEMBERS_MAX - 1) {
                add(r, m->id, m->serial, m->role == SZTP_BACKUP ? SZTP_BACKUP : SZTP_LINECARD,
                    m->os_version);
            }
        }
    }
    int id = own->member_id >= 0 && own->member_id < SZTP_MEMBERS_MAX ? own->member_id : 0;
    add(r, id, own->serial, SZTP_MASTER, own->os_version);
}

/* ---------------------------------------------------------------- which image */

static bool word_char(char c) {
    return isalnum((unsigned char)c) != 0;
}

/* `word` stands in `text` with nothing beside it that would make it another one: "17.3R2.1" is in
 * "os-17.3R2.1-signed.tgz", and not in "os-17.3R2.10.tgz" or "os-117.3R2.1.tgz". */
static bool has_word(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *p = text; n > 0 && (p = strstr(p, word)) != NULL; p++) {
        bool before = p == text || (!word_char(p[-1]) && p[-1] != '.');
        bool after = !word_char(p[n]) && !(p[n] == '.' && isdigit((unsigned char)p[n + 1]));
        if (before && after) {
            return true;
        }
    }
    return false;
}

bool chassis_same_image(const struct conveyed *info, const char *name, const char *os_name,
                        const char *version) {
    if (info->image.os_name[0] != '\0' && os_name[0] != '\0' &&
        strcmp(info->image.os_name, os_name) != 0) {
        return false;
    }
    if (info->image.os_version[0] != '\0') {
        return strcmp(info->image.os_version, version) == 0;
    }
    return has_word(name, version);
}

/* ---------------------------------------------------------------- what next */

static bool to_install(const struct record_member *m) {
    return m->step == STEP_NEW || m->step == STEP_INSTALL;
}

/* What is to be done with those of one stage, the own member set aside (`own` NULL), or with it
 * alone. */
static bool stage_next(struct record *r, enum record_stage stage, const char *own_serial, bool own,
                       struct chassis_next *out) {
    struct record_member *in[STEP_COUNT][SZTP_MEMBERS_MAX];
    size_t n[STEP_COUNT] = {0}, installs = 0;
    struct record_member *first = NULL;
    for (size_t i = 0; i < r->n_members; i++) {
        struct record_member *m = &r->members[i];
        if ((strcmp(m->serial, own_serial) == 0) != own || (!own && m->stage != stage)) {
            continue;
        }
        in[m->step][n[m->step]++] = m;
        if (to_install(m)) {
            installs++;
            if (first == NULL) {
                first = m;
            }
        }
    }
    *out = (struct chassis_next){.stage = stage, .own = own};
    enum record_step of;
    if (first != NULL) {
        out->todo = TODO_INSTALL;
        out->more = installs > 1;
        out->members[0] = first;
        out->n = 1;
        return true;
    }
    if (n[STEP_INSTALLED] > 0) {
        out->todo = TODO_REBOOT;
        of = STEP_INSTALLED;
    } else if (n[STEP_REBOOT] > 0) {
        out->todo = TODO_WAIT;
        of = STEP_REBOOT;
    } else {
        return false;
    }
    out->n = n[of];
    memcpy(out->members, in[of], n[of] * sizeof out->members[0]);
    return true;
}

void chassis_next(struct record *r, const char *own_serial, struct chassis_next *out) {
    for (int s = STAGE_LINECARD; s < STAGE_COUNT; s++) {
        if (stage_next(r, (enum record_stage)s, own_serial, false, out)) {
            return;
        }
    }
    if (!stage_next(r, STAGE_PRIMARY, own_serial, true, out)) {
        *out = (struct chassis_next){.todo = TODO_NOTHING};
    }
}

enum chassis_seen chassis_seen(struct record_member *m, const struct platform_member *live,
                               size_t n, const struct conveyed *info, const char *image_name,
                               const char *os_name) {
    const struct platform_member *l = chassis_live(live, n, m->serial);
    if (l == NULL || !l->up) {
        m->seen_down = true;
        return SEEN_AWAY;
    }
    m->id = l->id;
    m->role = l->role;
    if (chassis_same_image(info, image_name, os_name, l->os_version) ||
        (info->image.os_version[0] == '\0' && strcmp(l->os_version, m->before) != 0)) {
        return SEEN_UPGRADED;
    }
    return m->seen_down ? SEEN_OLD : SEEN_BEFORE;
}

bool chassis_all_failed(const struct record *r, enum record_result result) {
    for (size_t i = 0; i < r->n_members; i++) {
        if (r->members[i].step != STEP_FAILED || r->members[i].result != result) {
            return false;
        }
    }
    return r->n_members > 0;
}
