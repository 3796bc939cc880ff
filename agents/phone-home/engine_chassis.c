// SPDX-License-Identifier: Apache-2.0
/*
 * Members: which of them a run is for, the temporary configuration that holds their roles, the
 * upgrade in its order, and who goes on when the primary reboots. What comes next follows from the
 * member table alone (chassis_next), so a life after a restart goes on like one that never ended.
 */
#include "phone-home/engine_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- topology */

/* Roles that are held before a backup was elected would leave the chassis without one. */
static bool backup_due(const struct phc_engine *g) {
    for (size_t i = 0; i < g->n_live; i++) {
        if (g->live[i].up && strcmp(g->live[i].serial, g->own.serial) != 0) {
            return chassis_heir(g->live, g->n_live, g->own.serial) == NULL;
        }
    }
    return false;
}

static void elected(struct phc_engine *g) {
    phc_quiet(g);
    g->elected(g);
}

static void backup_look(struct phc_engine *g) {
    if (phc_look(g) && !backup_due(g)) {
        elected(g);
    }
}

/* Goes on when there is a backup, which is soon where others are up. */
static void await_backup(struct phc_engine *g, phc_step *then) {
    if (!g->own.chassis || !backup_due(g)) {
        then(g);
        return;
    }
    g->elected = then;
    g->on_members = backup_look;
    phc_timer(g, PHC_ELECTION_MS, elected);
}

static void stages_and_freeze(struct phc_engine *g) {
    for (size_t i = 0; i < g->r.n_members; i++) { /* elected meanwhile */
        struct record_member *m = &g->r.members[i];
        const struct platform_member *l = chassis_live(g->live, g->n_live, m->serial);
        if (l != NULL && m->stage == STAGE_LINECARD && l->role == SZTP_BACKUP) {
            m->stage = STAGE_BACKUP;
            m->role = SZTP_BACKUP;
        }
    }
    phc_freeze(g);
}

static void planned(struct phc_engine *g, enum chassis_way way) {
    const struct sztp_topology *t = &g->info.topology;
    struct chassis_difference d;
    phc_quiet(g);
    chassis_compare(t, g->live, g->n_live, &d);
    for (size_t i = 0; i < d.n_missing; i++) {
        phc_tell(g, SZTP_INFORMATIONAL, "The member %s is listed and not there.",
                 d.missing[i]->serial);
    }
    for (size_t i = 0; i < d.n_unexpected; i++) {
        phc_tell(g, SZTP_INFORMATIONAL, "The member %d (%s) is not listed: %s.",
                 d.unexpected[i]->id, d.unexpected[i]->serial,
                 way == CHASSIS_LISTED ? "it is left as it is"
                                       : "it is provisioned with the others");
    }
    chassis_plan(way, t, &g->own, g->live, g->n_live, &g->r);
    phc_log(g, LOG_NOTICE, "provisions %s with %zu members%s",
            g->r.chassis ? "the virtual chassis" : "this device", g->r.n_members,
            g->r.strict ? ", all of the list" : "");
    if (g->own.chassis) {
        await_backup(g, stages_and_freeze);
    } else {
        phc_image(g);
    }
}

static void found_settled(struct phc_engine *g) {
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, found_settled);
        return;
    }
    planned(g, CHASSIS_FOUND);
}

static void listed_missing(struct phc_engine *g) {
    struct chassis_difference d;
    chassis_compare(&g->info.topology, g->live, g->n_live, &d);
    for (size_t i = 0; i < d.n_missing; i++) {
        phc_trouble(g, LOG_ERR, "the listed member %s was not detected", d.missing[i]->serial);
    }
    phc_tell_chassis(g, VC_STRICT_DETECTION);
    phc_leave(g, AFTER_NEXT);
}

/* PH-033: every listed member is there before anything is begun. `last`: the time is over. */
static void listed_look(struct phc_engine *g, bool last) {
    struct chassis_difference d;
    if (!phc_look(g)) {
        if (last) {
            listed_missing(g);
        }
        return;
    }
    chassis_compare(&g->info.topology, g->live, g->n_live, &d);
    if (d.n_missing > 0) {
        if (last) {
            listed_missing(g);
        }
        return;
    }
    if (g->info.topology.exact && d.n_unexpected > 0) { /* PH-035 */
        phc_fail(g, SZTP_BOOTSTRAP_ERROR, "unexpected-member: %d (%s) is not listed.",
                 d.unexpected[0]->id, d.unexpected[0]->serial);
        return;
    }
    planned(g, CHASSIS_LISTED);
}

static void listed_members(struct phc_engine *g) {
    listed_look(g, false);
}

static void listed_expired(struct phc_engine *g) {
    listed_look(g, true);
}

static void listed_settled(struct phc_engine *g) {
    int64_t left = g->c.detection_ms - g->c.settle_ms;
    g->on_members = listed_members;
    phc_timer(g, left > 0 ? left : 0, listed_expired);
    listed_look(g, false);
}

void phc_topology(struct phc_engine *g) {
    enum chassis_way way = chassis_way(&g->info.topology);
    phc_tell(g, SZTP_PARSING_COMPLETE, "The onboarding information was read.");
    phc_enter(g, PHC_ST_TOPOLOGY);
    switch (way) {
    case CHASSIS_MALFORMED: /* PH-025 */
        phc_fail(g, SZTP_PARSING_ERROR,
                 "Strict provisioning is demanded without the serial numbers of the members.");
        break;
    case CHASSIS_STANDALONE:
        if (!phc_look(g)) {
            phc_timer(g, PHC_PAUSE_MS, phc_topology);
            return;
        }
        planned(g, way);
        break;
    case CHASSIS_FOUND:
        phc_timer(g, g->c.settle_ms, found_settled);
        break;
    case CHASSIS_LISTED:
        phc_timer(g, g->c.settle_ms, listed_settled);
        break;
    }
}

static void frozen(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_fail(g, SZTP_BOOTSTRAP_ERROR, "The roles of the members could not be held: %s",
                 ev->error->text);
        return;
    }
    phc_resume_upgrade(g); /* at its beginning there is nothing to resume */
}

void phc_freeze(struct phc_engine *g) { /* PH-036 */
    phc_enter(g, PHC_ST_TEMPCFG);
    g->r.frozen = true;
    phc_save(g);
    phc_platform(g, PHC_FREEZE, frozen);
}

/* ---------------------------------------------------------------- who needs the image */

static struct record_member *own_member(struct phc_engine *g) {
    return record_member_of(&g->r, g->own.serial);
}

/* What names the image, to know it again after a reboot. */
static void image_key(const struct phc_engine *g, char out[SZTP_NAME_MAX + 1]) {
    struct buf b = BUF_INIT;
    if (g->info.image.n_hashes > 0) {
        sztp_hash_print(&g->info.image.hashes[0], &b);
    } else if (g->info.image.n_uris > 0) {
        buf_str(&b, g->info.image.uris[0]);
    }
    snprintf(out, SZTP_NAME_MAX + 1, "%.120s %.120s", g->info.image.os_version,
             b.len > 0 ? buf_cstr(&b) : "");
    buf_free(&b);
}

static bool tried_in_vain(struct phc_engine *g) {
    char key[SZTP_NAME_MAX + 1];
    image_key(g, key);
    if (strcmp(key, g->r.tried) != 0) {
        return false;
    }
    return g->r.tries >= PHC_TRIES_UPGRADE;
}

static void runs_the_image(struct phc_engine *g, struct record_member *m) { /* PH-040 */
    m->step = STEP_SAME;
    m->result = RESULT_OK;
    if (g->r.chassis) {
        phc_tell_member(g, m, SZTP_N_VC_UPGRADED, false, VC_SAME);
    } else {
        phc_tell(g, SZTP_BOOT_IMAGE_COMPLETE, "%s", VC_SAME);
    }
}

void phc_image(struct phc_engine *g) {
    phc_enter(g, PHC_ST_IMAGE);
    g->singly = false;
    if (!g->info.image.present) {
        /* Servers learn of linecards by what is said about them alone. */
        for (size_t i = 0; g->r.chassis && i < g->r.n_members; i++) {
            if (g->r.members[i].step == STEP_NEW) {
                runs_the_image(g, &g->r.members[i]);
            }
        }
        phc_upgrade(g);
        return;
    }
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, phc_image);
        return;
    }
    for (size_t i = 0; i < g->r.n_members; i++) {
        struct record_member *m = &g->r.members[i];
        const struct platform_member *l = chassis_live(g->live, g->n_live, m->serial);
        const char *version = l != NULL ? l->os_version : m->before;
        if (m->step != STEP_NEW) {
            continue;
        }
        snprintf(m->before, sizeof m->before, "%s", version);
        if (chassis_same_image(&g->info, g->image_name, g->own.os_name, version)) {
            runs_the_image(g, m);
        } else if (!g->r.chassis) {
            phc_tell(g, SZTP_BOOT_IMAGE_MISMATCH, "Runs %s, and is to run %s.", version,
                     g->info.image.os_version[0] ? g->info.image.os_version : g->image_name);
            if (tried_in_vain(g)) {
                phc_fail(g, SZTP_BOOT_IMAGE_ERROR,
                         "The image was installed and did not come to run: %s runs.", version);
                return;
            }
        }
    }
    phc_upgrade(g);
}

/* ---------------------------------------------------------------- the end of the upgrade */

/* Members that were given up and came all the same. */
static void late_arrivals(struct phc_engine *g) {
    for (size_t i = 0; i < g->r.n_members; i++) {
        struct record_member *m = &g->r.members[i];
        if (m->step == STEP_FAILED && m->result == RESULT_ABSENT &&
            chassis_seen(m, g->live, g->n_live, &g->info, g->image_name, g->own.os_name) ==
                SEEN_UPGRADED) {
            m->step = STEP_UP;
            m->result = RESULT_OK;
            phc_tell_member(g, m, SZTP_N_VC_UPGRADED, false, VC_DETECTED);
        }
    }
}

static void strict_detection(struct phc_engine *g) {
    phc_tell_chassis(g, VC_STRICT_DETECTION);
    phc_leave(g, AFTER_NEXT);
}

static bool strict_complete(const struct phc_engine *g) {
    struct chassis_difference d;
    chassis_compare(&g->info.topology, g->live, g->n_live, &d);
    for (size_t i = 0; i < g->r.n_members; i++) {
        if (g->r.members[i].step == STEP_FAILED) {
            return false;
        }
    }
    return d.n_missing == 0;
}

static void upgraded_all(struct phc_engine *g) {
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, upgraded_all);
        return;
    }
    if (g->info.image.present) {
        late_arrivals(g);
    }
    if (g->r.strict && !strict_complete(g)) { /* one more look, as members may be on their way */
        if (!g->rechecked) {
            g->rechecked = true;
            phc_timer(g, g->c.settle_ms, upgraded_all);
            return;
        }
        strict_detection(g);
        return;
    }
    if (g->info.image.present && g->r.chassis) {
        phc_log(g, LOG_INFO, "the members are upgraded as far as they can be");
    }
    /* PH-052: the old primary becomes the backup, and is told then how far we are. */
    await_backup(g, phc_pre);
}

/* ---------------------------------------------------------------- one member after another */

static void give_up_member(struct phc_engine *g, struct record_member *m, enum record_result why) {
    m->step = STEP_FAILED;
    m->result = why;
}

static void install_failed(struct phc_engine *g, struct record_member *m, const struct err *e) {
    phc_trouble(g, LOG_ERR, "member %d (%s): the image could not be installed: %s", m->id,
                m->serial, e->text);
    give_up_member(g, m, RESULT_INSTALL);
    if (!g->r.chassis) {
        phc_fail(g, SZTP_BOOT_IMAGE_ERROR, "The image could not be installed: %s", e->text);
        return;
    }
    bool ends = g->r.strict || chassis_all_failed(&g->r, RESULT_INSTALL); /* PH-084 */
    phc_tell_member(g, m, SZTP_N_VC_INSTALL_FAILED, ends, VC_INSTALL_FAILED);
    if (ends) {
        phc_leave(g, AFTER_NEXT);
    } else {
        phc_upgrade(g);
    }
}

static void installed(struct phc_engine *g, const struct phc_event *ev) {
    struct record_member *m = &g->r.members[g->current];
    if (ev->error != NULL) {
        install_failed(g, m, ev->error);
        return;
    }
    bool own = strcmp(m->serial, g->own.serial) == 0;
    m->step = STEP_INSTALLED;
    if (g->r.chassis) {
        phc_tell_member(g, m, SZTP_N_VC_IMAGE_INSTALLED, own,
                        g->more ? VC_INSTALLED_NEXT : VC_INSTALLED_REBOOT);
    } else {
        phc_tell(g, SZTP_BOOT_IMAGE_INSTALLED_REBOOTING, "The image is installed.");
    }
    phc_upgrade(g);
}

static void install(struct phc_engine *g, const struct chassis_next *next) {
    struct record_member *m = next->members[0];
    phc_enter(g, next->own                       ? PHC_ST_UPGRADE_PR
                 : next->stage == STAGE_LINECARD ? PHC_ST_UPGRADE_LC
                                                 : PHC_ST_UPGRADE_BK);
    g->current = (size_t)(m - g->r.members);
    g->more = next->more;
    m->step = STEP_INSTALL;
    phc_save(g);
    phc_log(g, LOG_NOTICE, "member %d (%s): the image is installed", m->id, m->serial);
    struct phc_item *it = phc_order(g, PHC_PLATFORM, PHC_INSTALL_MS, installed);
    it->a.u.platform.op = PHC_INSTALL;
    it->a.u.platform.members[0] = m->id;
    it->a.u.platform.n_members = 1;
    it->a.u.platform.image = arena_strdup(it->mem, g->image.path);
    it->a.u.platform.os_version = arena_strdup(it->mem, g->info.image.os_version);
}

/* ---------------------------------------------------------------- members that reboot */

static enum phc_state wait_state(enum record_stage s) {
    return s == STAGE_LINECARD ? PHC_ST_WAIT_LC
           : s == STAGE_BACKUP ? PHC_ST_WAIT_BK
                               : PHC_ST_WAIT_OLD_PR;
}

static void wait_for(struct phc_engine *g, const struct chassis_next *next);

static void strict_failed(struct phc_engine *g, enum record_stage stage) {
    phc_tell_chassis(g, stage == STAGE_LINECARD ? VC_STRICT_BOOTSTRAP : VC_STRICT_DETECTION);
    phc_leave(g, AFTER_NEXT);
}

/* A member came back with the former version, or is taken for one that did. True: the run ends. */
static bool old_version(struct phc_engine *g, struct record_member *m, const char *text) {
    if (g->r.strict && m->tries < PHC_TRIES_UPGRADE) { /* PH-034: once more for those that failed */
        phc_log(g, LOG_WARNING, "member %d (%s) runs the former version: it is upgraded once more",
                m->id, m->serial);
        m->step = STEP_NEW;
        return false;
    }
    give_up_member(g, m, RESULT_VERSION);
    phc_tell_member(g, m, SZTP_N_VC_UPGRADE_FAILED, g->r.strict, text);
    if (!g->r.strict) {
        return false;
    }
    phc_tell_chassis(g, VC_STRICT_BOOTSTRAP);
    phc_leave(g, AFTER_NEXT);
    return true;
}

/* What became of those that are awaited. True: the run ended. */
static bool look_at(struct phc_engine *g, const struct chassis_next *next, bool *changed) {
    for (size_t i = 0; i < next->n; i++) {
        struct record_member *m = next->members[i];
        bool down = m->seen_down;
        switch (chassis_seen(m, g->live, g->n_live, &g->info, g->image_name, g->own.os_name)) {
        case SEEN_UPGRADED:
            m->step = STEP_UP;
            m->result = RESULT_OK;
            *changed = true;
            phc_tell_member(g, m, SZTP_N_VC_UPGRADED, false, VC_DETECTED);
            break;
        case SEEN_OLD:
            *changed = true;
            if (old_version(g, m, VC_DETECTED_FAILED)) {
                return true;
            }
            break;
        case SEEN_AWAY:
            *changed |= !down; /* worth remembering */
            break;
        case SEEN_BEFORE:
            break;
        }
    }
    return false;
}

static void waiting(struct phc_engine *g) {
    struct chassis_next next;
    bool changed = false;
    if (!phc_look(g)) {
        return;
    }
    chassis_next(&g->r, g->own.serial, &next);
    if (next.todo != TODO_WAIT || next.own) {
        phc_upgrade(g);
        return;
    }
    if (look_at(g, &next, &changed)) {
        return;
    }
    chassis_next(&g->r, g->own.serial, &next);
    if (next.todo == TODO_WAIT && !next.own && wait_state(next.stage) == g->state) {
        if (changed) {
            phc_save(g);
        }
        return;
    }
    phc_upgrade(g);
}

/* PH-043: the time for detection is over. */
static void wait_expired(struct phc_engine *g) {
    struct chassis_next next;
    bool changed = false;
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, wait_expired);
        return;
    }
    chassis_next(&g->r, g->own.serial, &next);
    if (next.todo != TODO_WAIT || next.own) {
        phc_upgrade(g);
        return;
    }
    if (look_at(g, &next, &changed)) {
        return;
    }
    enum record_stage stage = next.stage;
    chassis_next(&g->r, g->own.serial, &next);
    if (next.todo != TODO_WAIT || next.own || next.stage != stage) {
        phc_upgrade(g);
        return;
    }
    if (g->r.strict && stage != STAGE_LINECARD && !g->rechecked) { /* PH-082: a re-check */
        g->rechecked = true;
        phc_timer(g, g->c.settle_ms, wait_expired);
        return;
    }
    for (size_t i = 0; i < next.n; i++) {
        struct record_member *m = next.members[i];
        if (chassis_seen(m, g->live, g->n_live, &g->info, g->image_name, g->own.os_name) ==
            SEEN_AWAY) {
            give_up_member(g, m, RESULT_ABSENT);
            phc_tell_member(g, m, SZTP_N_VC_DETECTION_FAILED, g->r.strict, VC_NOT_DETECTED);
        } else {
            give_up_member(g, m, RESULT_VERSION);
            phc_tell_member(g, m, SZTP_N_VC_UPGRADE_FAILED, g->r.strict, VC_DETECTED_FAILED);
        }
    }
    if (g->r.strict) {
        strict_failed(g, stage);
        return;
    }
    phc_upgrade(g);
}

static void wait_for(struct phc_engine *g, const struct chassis_next *next) {
    int64_t ms = g->c.detection_ms;
    if (g->inherited_wait >= 0 && g->inherited_wait < ms) {
        ms = g->inherited_wait;
    }
    g->inherited_wait = -1;
    g->singly = false;
    phc_enter(g, wait_state(next->stage));
    g->rechecked = false;
    g->on_members = waiting;
    g->wait_due = phc_now(g) + ms;
    phc_timer(g, ms, wait_expired);
    phc_save(g);
    waiting(g);
}

/* Not away, and of the former version: it did not hear. */
static bool stayed(struct phc_engine *g, struct record_member *m) {
    return chassis_seen(m, g->live, g->n_live, &g->info, g->image_name, g->own.os_name) ==
           SEEN_BEFORE;
}

static void tell_rebooting(struct phc_engine *g) {
    for (size_t i = 0; i < g->r.n_members; i++) {
        const struct record_member *m = &g->r.members[i];
        if ((g->rebooting & UINT32_C(1) << i) != 0 && m->step == STEP_REBOOT &&
            m->stage == STAGE_LINECARD) {
            phc_tell_member(g, m, SZTP_N_VC_REBOOT, false, VC_REBOOTING);
        }
    }
}

/* A moment after an order that failed for some: whoever heard has gone, or is back already. Whoever
 * has not is told once more, each by itself. */
static void reboot_singly(struct phc_engine *g) {
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, reboot_singly);
        return;
    }
    for (size_t i = 0; i < g->r.n_members; i++) {
        struct record_member *m = &g->r.members[i];
        if ((g->rebooting & UINT32_C(1) << i) != 0 && m->step == STEP_REBOOT && stayed(g, m)) {
            m->step = STEP_INSTALLED;
            m->tries--;
        }
    }
    g->singly = true;
    tell_rebooting(g);
    phc_upgrade(g);
}

/* The order failed. It says nothing of those that are away: they boot what was installed when they
 * are back, or time shows that they aren't. True: goes on another way. */
static bool reboot_failed(struct phc_engine *g, const struct err *e) {
    bool several = (g->rebooting & (g->rebooting - 1)) != 0;
    phc_trouble(g, LOG_ERR, "members could not be rebooted: %s", e->text);
    if (several) {
        phc_timer(g, PHC_PAUSE_MS, reboot_singly);
        return true;
    }
    if (g->singly || !phc_look(g)) {
        return false;
    }
    for (size_t i = 0; i < g->r.n_members; i++) {
        struct record_member *m = &g->r.members[i];
        if ((g->rebooting & UINT32_C(1) << i) != 0 && m->step == STEP_REBOOT && stayed(g, m)) {
            give_up_member(g, m, RESULT_VERSION);
            phc_tell_member(g, m, SZTP_N_VC_UPGRADE_FAILED, g->r.strict, VC_FAILED);
            if (g->r.strict) {
                strict_failed(g, m->stage);
                return true;
            }
        }
    }
    return false;
}

static void rebooted(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL && reboot_failed(g, ev->error)) {
        return;
    }
    tell_rebooting(g);
    phc_upgrade(g);
}

static void reboot(struct phc_engine *g, const struct chassis_next *next) {
    size_t n = g->singly ? 1 : next->n;
    phc_enter(g, next->stage == STAGE_LINECARD ? PHC_ST_UPGRADE_LC : PHC_ST_UPGRADE_BK);
    g->rebooting = 0;
    for (size_t i = 0; i < n; i++) {
        next->members[i]->step = STEP_REBOOT;
        next->members[i]->tries++;
        next->members[i]->seen_down = false;
        g->rebooting |= UINT32_C(1) << (next->members[i] - g->r.members);
    }
    phc_save(g);
    struct phc_action *a = phc_platform(g, PHC_REBOOT, rebooted);
    for (size_t i = 0; i < n; i++) {
        a->u.platform.members[i] = next->members[i]->id;
    }
    a->u.platform.n_members = n;
}

/* ---------------------------------------------------------------- the own reboot */

/* The own member stays as it is: nobody could take over, or the reboot did not come. */
static void own_failed(struct phc_engine *g, enum record_result why, const char *text) {
    struct record_member *m = own_member(g);
    phc_trouble(g, LOG_ERR, "%s", text);
    phc_quiet(g);
    give_up_member(g, m, why);
    if (!g->r.chassis && !g->own.chassis) {
        phc_fail(g, SZTP_BOOT_IMAGE_ERROR, "%s", text);
        return;
    }
    phc_tell_member(g, m, SZTP_N_VC_UPGRADE_FAILED, g->r.strict, VC_FAILED);
    if (g->r.strict) {
        strict_failed(g, why == RESULT_UNSAFE ? STAGE_BACKUP : STAGE_LINECARD);
        return;
    }
    phc_upgrade(g);
}

static void own_not_felt(struct phc_engine *g) {
    own_failed(g, RESULT_VERSION, "the own reboot was ordered and did not come");
}

static void own_rebooted(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error != NULL) {
        phc_trouble(g, LOG_WARNING, "the own reboot: %s", ev->error->text);
        own_failed(g, RESULT_VERSION, "the own member could not be rebooted");
        return;
    }
    phc_timer(g, PHC_LONG_MS, own_not_felt); /* it ends us first */
}

static void own_reboot(struct phc_engine *g);

static bool alone(const struct phc_engine *g) {
    return !g->own.chassis || g->n_live <= 1;
}

/* PH-044: with others there, the backup is up at the moment of the order. */
static void own_go(struct phc_engine *g) {
    struct record_member *m = own_member(g);
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, own_go);
        return;
    }
    if (!alone(g) && chassis_heir(g->live, g->n_live, g->own.serial) == NULL) {
        m->step = STEP_INSTALLED;
        m->tries--;
        phc_upgrade(g);
        return;
    }
    phc_enter(g, PHC_ST_UPGRADE_PR);
    if (!g->r.chassis) {
        char key[SZTP_NAME_MAX + 1];
        image_key(g, key);
        g->r.tries = strcmp(key, g->r.tried) == 0 ? g->r.tries + 1 : 1;
        memcpy(g->r.tried, key, sizeof key);
    }
    phc_save(g);
    struct phc_action *a = phc_platform(g, PHC_REBOOT, own_rebooted);
    a->u.platform.members[0] = g->own.member_id;
    a->u.platform.n_members = 1;
}

static void own_replicate(struct phc_engine *g);

static void own_replicated(struct phc_engine *g, const struct phc_event *ev) {
    if (ev->error == NULL) {
        own_go(g);
        return;
    }
    phc_trouble(g, LOG_WARNING, "the backup did not take the record: %s", ev->error->text);
    if (++g->tries < PHC_TRIES_SYNC) {
        phc_timer(g, PHC_PAUSE_MS, own_replicate);
        return;
    }
    own_failed(g, RESULT_UNSAFE, "the backup could not be told how to go on");
}

static void own_replicate(struct phc_engine *g) {
    struct phc_item *it = phc_order(g, PHC_PLATFORM, PHC_SHORT_MS, own_replicated);
    it->a.u.platform.op = PHC_REPLICATE;
    g->r.state = PHC_ST_SYNC_STATE;
    record_print(&g->r, &it->bytes);
    it->a.u.platform.p = it->bytes.data;
    it->a.u.platform.n = it->bytes.len;
}

/* The server has been told everything: what is handed over or saved has nothing left to say. */
static void own_drained(struct phc_engine *g) {
    struct record_member *m = own_member(g);
    m->step = STEP_REBOOT;
    m->tries++;
    m->seen_down = false;
    g->tries = 0;
    if (alone(g)) {
        own_go(g);
        return;
    }
    phc_enter(g, PHC_ST_SYNC_STATE);
    phc_save(g);
    own_replicate(g);
}

static void heir_expired(struct phc_engine *g) {
    if (phc_look(g) && chassis_heir(g->live, g->n_live, g->own.serial) != NULL) {
        own_reboot(g);
        return;
    }
    own_failed(g, RESULT_UNSAFE,
               "no backup is up: the primary is not rebooted, as nobody could take over");
}

static void heir_look(struct phc_engine *g) {
    if (phc_look(g) && chassis_heir(g->live, g->n_live, g->own.serial) != NULL) {
        own_reboot(g);
    }
}

static void own_reboot(struct phc_engine *g) {
    phc_quiet(g);
    if (!phc_look(g)) {
        phc_timer(g, PHC_PAUSE_MS, own_reboot);
        return;
    }
    if (alone(g) || chassis_heir(g->live, g->n_live, g->own.serial) != NULL) {
        phc_drain(g, own_drained);
        return;
    }
    phc_enter(g, PHC_ST_WAIT_BK);
    g->on_members = heir_look;
    phc_timer(g, g->c.detection_ms, heir_expired);
}

/* ---------------------------------------------------------------- the upgrade */

void phc_upgrade(struct phc_engine *g) {
    struct chassis_next next;
    phc_quiet(g);
    if (!g->info.image.present) {
        upgraded_all(g);
        return;
    }
    chassis_next(&g->r, g->own.serial, &next);
    switch (next.todo) {
    case TODO_NOTHING:
        g->rechecked = false;
        upgraded_all(g);
        break;
    case TODO_INSTALL:
        if (g->image.path[0] == '\0') {
            phc_save(g);
            phc_download(g, phc_upgrade);
        } else {
            install(g, &next);
        }
        break;
    case TODO_REBOOT:
        if (next.own) {
            own_reboot(g);
        } else {
            reboot(g, &next);
        }
        break;
    case TODO_WAIT:
        if (next.own) { /* ordered in this life: it will be felt, or not */
            phc_timer(g, PHC_LONG_MS, own_not_felt);
        } else {
            wait_for(g, &next);
        }
        break;
    }
}

/* ---------------------------------------------------------------- a life after a reboot */

/* The own member was to reboot. True: go on with the run. */
static bool own_resumed(struct phc_engine *g, struct record_member *m) {
    struct record_member seen = *m;
    seen.seen_down = true;
    bool up = chassis_seen(&seen, g->live, g->n_live, &g->info, g->image_name, g->own.os_name) ==
              SEEN_UPGRADED;
    bool standalone = !g->r.chassis && !g->own.chassis;
    if (up && standalone) { /* RFC 8572: everything anew; the image is the right one then */
        phc_log(g, LOG_NOTICE, "runs %s now, and begins anew", g->own.os_version);
        record_end_run(&g->r);
        phc_enter(g, PHC_ST_IDLE);
        phc_save(g);
        phc_after_clean(g);
        return false;
    }
    if (up) {
        m->step = STEP_UP;
        m->result = RESULT_OK;
        phc_tell_member(g, m, SZTP_N_VC_UPGRADED, false, VC_UPGRADED);
        return true;
    }
    if (m->tries < PHC_TRIES_UPGRADE) { /* it may never have rebooted */
        phc_log(g, LOG_WARNING, "still runs %s: reboots once more", g->own.os_version);
        m->step = STEP_INSTALLED;
        return true;
    }
    own_failed(g, RESULT_VERSION, "was rebooted, and does not run the image");
    return false;
}

void phc_resume_upgrade(struct phc_engine *g) {
    struct record_member *own = own_member(g);
    for (size_t i = 0; i < g->r.n_members; i++) {
        struct record_member *m = &g->r.members[i];
        const struct platform_member *l = chassis_live(g->live, g->n_live, m->serial);
        if (l != NULL) {
            m->role = l->role;
        }
        if (m != own && m->stage == STAGE_PRIMARY && m->step == STEP_REBOOT) {
            m->seen_down = true; /* we would not be the primary otherwise */
            g->inherited_wait = -1;
        } else if (m != own && m->step == STEP_REBOOT && l != NULL && l->up && !m->seen_down &&
                   !chassis_same_image(&g->info, g->image_name, g->own.os_name, l->os_version)) {
            m->step = STEP_INSTALLED; /* the order may not have been given any more */
            m->tries--;
        }
    }
    if (own != NULL && own->step == STEP_REBOOT && !own_resumed(g, own)) {
        return;
    }
    phc_image(g);
}
