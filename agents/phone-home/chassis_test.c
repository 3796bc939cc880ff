// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/chassis.h"

/* proves: PH-020 PH-024 PH-025 PH-030 PH-034 */
static void table(void **state) {
    (void)state;
    static const struct {
        bool present, strict;
        size_t listed;
        enum chassis_way way;
    } cells[] = {
        {false, false, 0, CHASSIS_STANDALONE}, {false, true, 0, CHASSIS_MALFORMED},
        {true, false, 0, CHASSIS_FOUND},       {true, true, 0, CHASSIS_MALFORMED},
        {true, false, 3, CHASSIS_FOUND},       {true, true, 3, CHASSIS_LISTED},
    };
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        struct sztp_topology t = {
            .present = cells[i].present, .strict = cells[i].strict, .n_members = cells[i].listed};
        assert_int_equal(chassis_way(&t), cells[i].way);
    }
}

static struct platform_member member(int id, enum sztp_role role, bool up) {
    struct platform_member m = {.id = id, .role = role, .up = up};
    snprintf(m.serial, sizeof m.serial, "S%d", id);
    snprintf(m.os_version, sizeof m.os_version, "1");
    return m;
}

static const struct platform_identity own = {
    .serial = "S1", .os_version = "1", .chassis = true, .primary = true, .member_id = 1};

/* proves: PH-024 PH-032 PH-033 PH-035 PH-042 */
static void plan(void **state) {
    (void)state;
    struct record *r = MEM_NEW(struct record);
    struct platform_member live[5] = {member(4, SZTP_LINECARD, true), member(1, SZTP_MASTER, true),
                                      member(0, SZTP_BACKUP, true), member(3, SZTP_LINECARD, false),
                                      member(2, SZTP_LINECARD, true)};
    struct sztp_topology t = {.present = true, .strict = true, .n_members = 3};
    snprintf(t.members[0].serial, sizeof t.members[0].serial, "S2");
    snprintf(t.members[1].serial, sizeof t.members[1].serial, "S1");
    snprintf(t.members[2].serial, sizeof t.members[2].serial, "S9");
    struct chassis_difference d;
    chassis_compare(&t, live, 5, &d);
    assert_int_equal(d.n_missing, 1);
    assert_string_equal(d.missing[0]->serial, "S9");
    assert_int_equal(d.n_unexpected, 3); /* 4, 0, 3 */

    record_init(r);
    chassis_plan(CHASSIS_FOUND, &t, &own, live, 5, r);
    assert_int_equal(r->n_members, 4); /* 3 is not up */
    assert_int_equal(r->members[0].id, 0);
    assert_int_equal(r->members[0].stage, STAGE_BACKUP);
    assert_int_equal(r->members[1].id, 2);
    assert_int_equal(r->members[2].id, 4);
    assert_int_equal(r->members[2].stage, STAGE_LINECARD);
    assert_int_equal(r->members[3].id, 1);
    assert_int_equal(r->members[3].stage, STAGE_PRIMARY);
    assert_false(r->strict);
    chassis_plan(CHASSIS_LISTED, &t, &own, live, 5, r);
    assert_int_equal(r->n_members, 2);
    assert_string_equal(r->members[0].serial, "S2");
    assert_true(r->strict);
    chassis_plan(CHASSIS_STANDALONE, &t, &own, live, 5, r);
    assert_int_equal(r->n_members, 1);
    assert_false(r->chassis);
    record_free(r);
    mem_free(r);
}

/* The whole order, step by step, on five members. proves: PH-042 PH-044 */
static void order(void **state) {
    (void)state;
    struct record *r = MEM_NEW(struct record);
    struct platform_member live[5] = {member(0, SZTP_LINECARD, true), member(1, SZTP_MASTER, true),
                                      member(2, SZTP_LINECARD, true), member(3, SZTP_BACKUP, true),
                                      member(4, SZTP_LINECARD, true)};
    struct sztp_topology t = {.present = true};
    struct chassis_next n;
    record_init(r);
    chassis_plan(CHASSIS_FOUND, &t, &own, live, 5, r);
    static const int linecards[] = {0, 2, 4};
    for (int i = 0; i < 3; i++) {
        chassis_next(r, "S1", &n);
        assert_int_equal(n.todo, TODO_INSTALL);
        assert_int_equal(n.members[0]->id, linecards[i]);
        assert_int_equal(n.more, i < 2);
        n.members[0]->step = STEP_INSTALL; /* a restart gives the order again */
        chassis_next(r, "S1", &n);
        assert_int_equal(n.members[0]->id, linecards[i]);
        n.members[0]->step = i == 1 ? STEP_FAILED : STEP_INSTALLED;
    }
    chassis_next(r, "S1", &n);
    assert_int_equal(n.todo, TODO_REBOOT);
    assert_int_equal(n.n, 2);
    n.members[0]->step = n.members[1]->step = STEP_REBOOT;
    chassis_next(r, "S1", &n);
    assert_int_equal(n.todo, TODO_WAIT);
    assert_int_equal(n.n, 2);
    n.members[0]->step = STEP_UP;
    chassis_next(r, "S1", &n);
    assert_int_equal(n.todo, TODO_WAIT); /* the backup is not begun before all are through */
    assert_int_equal(n.n, 1);
    n.members[0]->step = STEP_FAILED;
    for (int i = 0; i < 2; i++) { /* backup, then the own member */
        static const int ids[] = {3, 1};
        chassis_next(r, "S1", &n);
        assert_int_equal(n.todo, TODO_INSTALL);
        assert_int_equal(n.members[0]->id, ids[i]);
        assert_int_equal(n.own, i == 1);
        assert_false(n.more);
        n.members[0]->step = STEP_INSTALLED;
        chassis_next(r, "S1", &n);
        assert_int_equal(n.todo, TODO_REBOOT);
        n.members[0]->step = STEP_REBOOT;
        chassis_next(r, "S1", &n);
        assert_int_equal(n.todo, TODO_WAIT);
        if (i == 1) { /* the new primary awaits the old one as any other */
            struct chassis_next heir;
            chassis_next(r, "S3", &heir);
            assert_int_equal(heir.todo, TODO_WAIT);
            assert_int_equal(heir.stage, STAGE_PRIMARY);
            assert_false(heir.own);
        }
        n.members[0]->step = STEP_UP;
    }
    chassis_next(r, "S1", &n);
    assert_int_equal(n.todo, TODO_NOTHING);
    record_free(r);
    mem_free(r);
}

/* proves: PH-040 */
static void versions(void **state) {
    (void)state;
    struct conveyed c;
    memset(&c, 0, sizeof c);
    static const struct {
        const char *name, *version;
        bool same;
    } files[] = {
        {"os-17.3R2.1-signed.tgz", "17.3R2.1", true},
        {"os-17.3R2.10-signed.tgz", "17.3R2.1", false},
        {"os-117.3R2.1.tgz", "17.3R2.1", false},
        {"os-17.3R2.1.tgz", "17.3R2.1", true},
        {"os-17.3R2.1.5.tgz", "17.3R2.1", false},
        {"os.tgz", "17.3R2.1", false},
        {"os-17.3R2.1", "17.3R2.1", true},
        {"os-1.17.3R2.1", "17.3R2.1", false},
        {"os-2.tgz", "", false},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(chassis_same_image(&c, files[i].name, "os", files[i].version),
                         files[i].same);
    }
    snprintf(c.image.os_version, sizeof c.image.os_version, "2");
    assert_true(chassis_same_image(&c, "os-1.tgz", "os", "2"));
    assert_false(chassis_same_image(&c, "os-1.tgz", "os", "1"));
    snprintf(c.image.os_name, sizeof c.image.os_name, "other");
    assert_false(chassis_same_image(&c, "os-2.tgz", "os", "2"));
}

/* proves: PH-043 */
static void seen(void **state) {
    (void)state;
    struct conveyed c;
    memset(&c, 0, sizeof c);
    snprintf(c.image.os_version, sizeof c.image.os_version, "2");
    struct record_member m = {.id = 2, .serial = "S2", .before = "1"};
    struct platform_member live[1] = {member(2, SZTP_LINECARD, true)};
    assert_int_equal(chassis_seen(&m, live, 1, &c, "", "os"), SEEN_BEFORE);
    live[0].up = false;
    assert_int_equal(chassis_seen(&m, live, 1, &c, "", "os"), SEEN_AWAY);
    live[0].up = true;
    assert_int_equal(chassis_seen(&m, live, 1, &c, "", "os"), SEEN_OLD);
    snprintf(live[0].os_version, sizeof live[0].os_version, "2");
    assert_int_equal(chassis_seen(&m, live, 1, &c, "", "os"), SEEN_UPGRADED);
    snprintf(live[0].serial, sizeof live[0].serial, "OTHER"); /* another box in its place */
    assert_int_equal(chassis_seen(&m, live, 1, &c, "", "os"), SEEN_AWAY);
    c.image.os_version[0] = '\0'; /* version not said: any other than before */
    snprintf(live[0].serial, sizeof live[0].serial, "S2");
    assert_int_equal(chassis_seen(&m, live, 1, &c, "image.tgz", "os"), SEEN_UPGRADED);
    snprintf(live[0].os_version, sizeof live[0].os_version, "1");
    assert_int_equal(chassis_seen(&m, live, 1, &c, "image.tgz", "os"), SEEN_OLD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),    cmocka_unit_test(plan), cmocka_unit_test(order),
        cmocka_unit_test(versions), cmocka_unit_test(seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
