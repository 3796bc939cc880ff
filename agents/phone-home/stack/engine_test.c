// SPDX-License-Identifier: Apache-2.0
/* The engine in the world of world.h, and its frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/stack/world.h"

static struct world *ring_of(size_t n) {
    struct world *w = world_new(n, true, n);
    for (size_t i = 0; i < n; i++) {
        world_start(w, i);
    }
    if (!world_settle(w)) {
        fail_msg("%s", world_wrong(w));
    }
    return w;
}

static struct box *backup_of(struct world *w) {
    return world_box(w, stack_engine_chassis(world_primary(w)->g)->backup);
}

static const struct stack_member *member_of(struct box *at, const char *serial) {
    static struct stack_member m[2 * STACK_MEMBERS_MAX];
    size_t n = stack_engine_members(at->g, m, 2 * STACK_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(m[i].serial, serial) == 0) {
            return &m[i];
        }
    }
    return NULL;
}

static void fill_source(struct world *w, size_t n, uint8_t digest[STACK_DIGEST]) {
    buf_clear(&w->source);
    for (size_t i = 0; i < n; i++) {
        buf_u8(&w->source, (uint8_t)(i * 7 + i / 251));
    }
    memset(digest, 0x5a, STACK_DIGEST);
}

/* ---------------------------------------------------------------- frames */

static void longest(char *out, size_t max) {
    memset(out, 'x', max);
    out[max] = '\0';
}

static void frames_come_back(void **state) {
    struct stack_frame f, g;
    struct buf b = BUF_INIT;
    struct err e;
    memset(&f, 0, sizeof f);
    memset(&g, 0, sizeof g);
    f.type = STACK_LSA;
    struct stack_lsa *l = &f.u.lsa;
    longest(l->serial, STACK_SERIAL_MAX);
    longest(l->model, STACK_TEXT_MAX);
    longest(l->os_name, STACK_TEXT_MAX);
    longest(l->os_version, STACK_TEXT_MAX);
    longest(l->seen_owner, STACK_SERIAL_MAX);
    l->flags = STACK_CLAIM;
    l->n_neighbours = STACK_LINKS_MAX;
    for (size_t i = 0; i < STACK_LINKS_MAX; i++) {
        longest(l->neighbours[i].serial, STACK_SERIAL_MAX);
        longest(l->neighbours[i].port, STACK_PORT_MAX);
        l->neighbours[i].incarnation = i;
    }
    l->chassis.term = 7;
    l->chassis.frozen = true;
    longest(l->chassis.owner, STACK_SERIAL_MAX);
    longest(l->chassis.backup, STACK_SERIAL_MAX);
    longest(l->chassis.frozen_primary, STACK_SERIAL_MAX);
    l->chassis.n = STACK_MEMBERS_MAX;
    for (size_t i = 0; i < STACK_MEMBERS_MAX; i++) {
        longest(l->chassis.ids[i].serial, STACK_SERIAL_MAX);
        l->chassis.ids[i].serial[0] = (char)('a' + i);
        l->chassis.ids[i].id = (uint8_t)i;
    }
    stack_frame_write(&f, &b);
    assert_true(b.len <= STACK_FRAME_MAX);
    assert_int_equal(stack_frame_read(b.data, b.len, &g, &e), ERR_OK);
    assert_memory_equal(&f, &g, sizeof f);
    /* Cut short at any place it is none; behind its end there may be padding. */
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *p = mem_dup(b.data, n > 0 ? n : 1);
        assert_int_equal(stack_frame_read(p, n, &g, &e), ERR_MALFORMED);
        mem_free(p);
    }
    buf_add(&b, "\0\0\0", 3);
    assert_int_equal(stack_frame_read(b.data, b.len, &g, &e), ERR_OK);
    b.data[4] = 9;
    assert_int_equal(stack_frame_read(b.data, b.len, &g, &e), ERR_UNSUPPORTED);
    buf_free(&b);
}

static void names_are_checked(void **state) {
    assert_true(stack_text_ok("PE 37", 5));
    assert_false(stack_text_ok("PE 37", 4));
    assert_false(stack_text_ok("", 4));
    assert_false(stack_text_ok(" a", 4));
    assert_false(stack_text_ok("a ", 4));
    assert_false(stack_text_ok("a\n", 4));
    assert_false(stack_text_ok("a\x80", 4));
    struct stack_chassis c = {.term = 1, .owner = "a", .n = 2}, d;
    struct buf b = BUF_INIT;
    snprintf(c.ids[0].serial, sizeof c.ids[0].serial, "a");
    snprintf(c.ids[1].serial, sizeof c.ids[1].serial, "b");
    stack_chassis_write(&c, &b); /* both have number 0 */
    struct cur in = cur_of(b.data, b.len);
    assert_false(stack_chassis_read(&in, &d));
    buf_free(&b);
}

/* ---------------------------------------------------------------- roles */

static void one_box_is_its_own(void **state) {
    struct world *w = world_new(1, false, 1);
    world_start(w, 0);
    world_run(w, 10);
    assert_true(stack_engine_primary(w->boxes[0].g));
    assert_int_equal(stack_engine_id(w->boxes[0].g, "S0"), 0);
    /* It reboots as soon as it was told to: nobody else wakes it. */
    int id = 0;
    uint64_t o = world_order(w);
    stack_engine_reboot(w->boxes[0].g, w->now, o, &id, 1, false);
    w->boxes[0].next_tick = w->now;
    world_run(w, 1000);
    assert_int_equal(w->boxes[0].reboots, 1);
    world_free(w);
}

/* proves: PH-006 PH-010 */
static void a_ring_elects(void **state) {
    struct world *w = ring_of(4);
    struct box *p = world_primary(w);
    assert_string_equal(p->settings.serial, "S0");
    assert_string_equal(backup_of(w)->settings.serial, "S1");
    assert_int_equal(stack_engine_id(p->g, "S3"), 3);
    assert_int_equal(member_of(p, "S2")->role, STACK_LINECARD);
    assert_string_equal(member_of(&w->boxes[3], "S1")->os_version, "1.0");
    assert_int_equal(member_of(&w->boxes[3], "S1")->n_neighbours, 2);
    assert_string_equal(member_of(&w->boxes[3], "S1")->neighbours[0].serial, "S2");
    world_free(w);
}

/* A box of another model in the ring is no member: the others form a chassis without it, and it is
 * one of its own. proves: PH-005 */
static void no_mixed_mode(void **state) {
    struct world *w = world_new(4, true, 5);
    snprintf(w->boxes[2].settings.model, sizeof w->boxes[2].settings.model, "box-9");
    w->boxes[2].settings.priority = 255; /* and it leads nobody */
    for (size_t i = 0; i < 4; i++) {
        world_start(w, i);
    }
    world_run(w, 120 * 1000);
    assert_true(stack_engine_primary(w->boxes[2].g));
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            const struct stack_member *m = member_of(&w->boxes[i], w->boxes[k].settings.serial);
            bool together = i == k || (i != 2 && k != 2);
            assert_int_equal(m != NULL && m->reachable, together);
        }
        assert_int_equal(stack_engine_primary(w->boxes[i].g), i == 0 || i == 2);
    }
    /* The same box with the model of the others is one of them. */
    world_crash(w, 2);
    snprintf(w->boxes[2].settings.model, sizeof w->boxes[2].settings.model, "%s",
             w->boxes[0].settings.model);
    world_start(w, 2);
    world_run(w, 120 * 1000);
    assert_true(member_of(&w->boxes[0], "S2")->reachable);
    assert_true(stack_engine_primary(w->boxes[0].g) != stack_engine_primary(w->boxes[2].g));
    world_free(w);
}

static void priority_goes_before(void **state) {
    struct world *w = world_new(4, true, 5);
    w->boxes[2].settings.priority = 200;
    w->boxes[3].settings.priority = 150;
    w->boxes[0].settings.priority = 0;
    for (size_t i = 0; i < 4; i++) {
        world_start(w, i);
    }
    assert_true(world_settle(w));
    assert_string_equal(world_primary(w)->settings.serial, "S2");
    assert_string_equal(backup_of(w)->settings.serial, "S3");
    /* One that comes later takes nothing away. */
    world_crash(w, 2);
    assert_true(world_settle(w));
    assert_string_equal(world_primary(w)->settings.serial, "S3");
    world_start(w, 2);
    assert_true(world_settle(w));
    assert_string_equal(world_primary(w)->settings.serial, "S3");
    assert_string_equal(backup_of(w)->settings.serial, "S1");
    world_free(w);
}

/* proves: PH-050 */
static void the_backup_takes_over(void **state) {
    struct world *w = ring_of(4);
    world_crash(w, 0);
    world_run(w, 1600); /* found out, and done at once: no settling */
    assert_true(stack_engine_primary(w->boxes[1].g));
    assert_true(world_settle(w));
    assert_string_equal(backup_of(w)->settings.serial, "S2");
    assert_false(member_of(&w->boxes[2], "S0")->up);
    assert_int_equal(member_of(&w->boxes[2], "S0")->id, 0);
    world_start(w, 0);
    assert_true(world_settle(w));
    assert_true(stack_engine_primary(w->boxes[1].g));
    assert_int_equal(stack_engine_id(w->boxes[1].g, "S0"), 0);
    world_free(w);
}

static void a_cut_ring_holds_together(void **state) {
    struct world *w = ring_of(4);
    uint64_t term = stack_engine_chassis(w->boxes[0].g)->term;
    world_cut(w, 1, true); /* a line now */
    assert_true(world_settle(w));
    assert_int_equal(stack_engine_chassis(w->boxes[0].g)->term, term);
    world_cut(w, 3, true); /* and two halves: S0 S1, S2 S3 */
    assert_true(world_settle(w));
    assert_true(stack_engine_primary(w->boxes[0].g));
    assert_true(stack_engine_primary(w->boxes[2].g));
    world_cut(w, 1, false);
    assert_true(world_settle(w));
    assert_true(stack_engine_primary(w->boxes[0].g)); /* who was it longer */
    assert_false(stack_engine_primary(w->boxes[2].g));
    for (size_t i = 0; i < 4; i++) {
        char serial[8];
        snprintf(serial, sizeof serial, "S%zu", i);
        assert_int_equal(stack_engine_id(w->boxes[2].g, serial), i);
    }
    world_free(w);
}

static void only_who_is_ready_leads(void **state) {
    struct world *w = ring_of(3);
    stack_engine_ready(w->boxes[0].g, w->now, false);
    w->boxes[0].next_tick = w->now;
    world_run(w, 500);
    assert_true(stack_engine_primary(w->boxes[1].g));
    assert_false(member_of(&w->boxes[1], "S0")->up);
    assert_true(member_of(&w->boxes[1], "S0")->reachable);
    world_free(w);
}

/* proves: PH-036 PH-052 */
static void frozen_roles_stay(void **state) {
    struct world *w = ring_of(4);
    uint64_t o = world_order(w);
    stack_engine_freeze(w->boxes[1].g, w->now, o, true);
    assert_int_equal(world_wait(w, o, 100), ERR_REFUSED);
    o = world_order(w);
    stack_engine_freeze(w->boxes[0].g, w->now, o, true);
    w->boxes[0].next_tick = w->now;
    assert_int_equal(world_wait(w, o, 5000), ERR_OK);
    assert_true(stack_engine_chassis(w->boxes[3].g)->frozen);
    /* The backup reboots and is still it. */
    world_crash(w, 1);
    world_run(w, 10000);
    assert_string_equal(stack_engine_chassis(w->boxes[0].g)->backup, "S1");
    world_start(w, 1);
    assert_true(world_settle(w));
    assert_string_equal(backup_of(w)->settings.serial, "S1");
    /* The primary reboots: roles are exchanged, with another backup meanwhile. */
    world_crash(w, 0);
    assert_true(world_settle(w));
    assert_true(stack_engine_primary(w->boxes[1].g));
    assert_string_equal(backup_of(w)->settings.serial, "S2");
    assert_true(stack_engine_chassis(w->boxes[3].g)->frozen);
    world_start(w, 0);
    assert_true(world_settle(w));
    assert_true(stack_engine_primary(w->boxes[1].g));
    assert_string_equal(backup_of(w)->settings.serial, "S0");
    o = world_order(w);
    stack_engine_freeze(w->boxes[1].g, w->now, o, false);
    w->boxes[1].next_tick = w->now;
    assert_int_equal(world_wait(w, o, 5000), ERR_OK);
    assert_false(stack_engine_chassis(w->boxes[3].g)->frozen);
    world_free(w);
}

/* ---------------------------------------------------------------- files */

static uint64_t send_file(struct world *w, enum stack_file file, int member, const char *text) {
    uint8_t digest[STACK_DIGEST];
    memset(digest, 0x5a, sizeof digest);
    uint64_t o = world_order(w);
    struct box *p = world_primary(w);
    stack_engine_send(p->g, w->now, o, file, member, w->source.len, digest, text);
    p->next_tick = w->now;
    return o;
}

/* proves: PH-054 */
static void a_record_lies_at_the_backup(void **state) {
    struct world *w = ring_of(4);
    uint8_t digest[STACK_DIGEST];
    w->loss = 5;
    fill_source(w, 5000, digest);
    assert_int_equal(world_wait(w, send_file(w, STACK_FILE_RECORD, 0, NULL), 20000), ERR_OK);
    assert_int_equal(w->boxes[1].record.len, 5000);
    assert_memory_equal(w->boxes[1].record.data, w->source.data, 5000);
    /* It dies when it has it, before it said so: the same order ends well when it is back. */
    w->boxes[1].dies_at_finish = true;
    uint64_t o = send_file(w, STACK_FILE_RECORD, 0, NULL);
    world_run(w, 3000);
    assert_false(w->boxes[1].on);
    assert_false(world_order_of(w, o)->over);
    world_free(w);
}

static void an_image_goes_on_where_it_stopped(void **state) {
    struct world *w = ring_of(4);
    uint8_t digest[STACK_DIGEST];
    fill_source(w, 3000000, digest);
    uint64_t o = send_file(w, STACK_FILE_IMAGE, 2, "2.0");
    world_run(w, 200);
    size_t had = w->boxes[2].part.len;
    assert_true(had > 10000 && had < 3000000);
    world_crash(w, 2);
    world_run(w, 3000);
    world_start(w, 2);
    assert_int_equal(world_wait(w, o, 60000), ERR_OK);
    assert_int_equal(w->boxes[2].image.len, 3000000);
    assert_memory_equal(w->boxes[2].image.data, w->source.data, 3000000);
    assert_string_equal(w->boxes[2].image_text, "2.0");
    /* A member that says no, one that is away, one that there is not. */
    w->boxes[3].finish_code = ERR_INVALID;
    o = send_file(w, STACK_FILE_IMAGE, 3, "2.0");
    assert_int_equal(world_wait(w, o, 60000), ERR_INVALID);
    assert_string_equal(world_order_of(w, o)->e.text, "image: does not fit");
    world_crash(w, 3);
    o = send_file(w, STACK_FILE_IMAGE, 3, "2.0");
    assert_int_equal(world_wait(w, o, 60000), ERR_UNAVAILABLE);
    o = send_file(w, STACK_FILE_IMAGE, 7, "2.0");
    assert_int_equal(world_wait(w, o, 1000), ERR_ABSENT);
    o = send_file(w, STACK_FILE_IMAGE, 0, "2.0");
    assert_int_equal(world_wait(w, o, 1000), ERR_INVALID);
    world_free(w);
}

static void members_reboot_together(void **state) {
    struct world *w = ring_of(4);
    int ids[] = {2, 3};
    uint64_t o = world_order(w);
    w->loss = 20;
    stack_engine_reboot(w->boxes[0].g, w->now, o, ids, 2, false);
    w->boxes[0].next_tick = w->now;
    assert_int_equal(world_wait(w, o, 20000), ERR_OK);
    w->loss = 0;
    world_run(w, 20000);
    assert_true(world_settle(w));
    assert_int_equal(w->boxes[2].reboots, 1); /* once, however often they were told */
    assert_int_equal(w->boxes[3].reboots, 1);
    assert_int_equal(w->boxes[0].reboots, 0);
    /* The own one, and one that is away. */
    world_crash(w, 3);
    world_run(w, 3000);
    int more[] = {0, 3};
    o = world_order(w);
    stack_engine_reboot(w->boxes[0].g, w->now, o, more, 2, false);
    w->boxes[0].next_tick = w->now;
    assert_int_equal(world_wait(w, o, 20000), ERR_UNAVAILABLE);
    world_run(w, 1000);
    assert_int_equal(w->boxes[0].reboots, 1);
    assert_true(stack_engine_primary(w->boxes[1].g) || world_settle(w));
    world_free(w);
}

static void zeroized_members_come_back_new(void **state) {
    struct world *w = ring_of(3);
    int ids[] = {0, 1, 2};
    uint64_t o = world_order(w);
    stack_engine_reboot(w->boxes[0].g, w->now, o, ids, 3, true);
    w->boxes[0].next_tick = w->now;
    world_run(w, 6000);
    assert_true(world_settle(w));
    assert_int_equal(w->boxes[0].reboots + w->boxes[1].reboots + w->boxes[2].reboots, 3);
    /* One alone: the others remember a later life of it, which it overtakes. */
    world_run(w, 1000);
    struct box *p = world_primary(w);
    int id = stack_engine_id(p->g, "S2");
    o = world_order(w);
    stack_engine_reboot(p->g, w->now, o, &id, 1, true);
    p->next_tick = w->now;
    assert_int_equal(world_wait(w, o, 20000), ERR_OK);
    world_run(w, 5000);
    assert_true(world_settle(w));
    assert_int_equal(stack_engine_id(w->boxes[2].g, "S2"), id);
    world_free(w);
}

static void bad_state_is_told(void **state) {
    struct world *w = ring_of(2);
    struct stack_engine *g;
    struct err e;
    struct stack_host host = {0};
    struct buf b = BUF_INIT;
    buf_add(&b, w->boxes[0].state.data, w->boxes[0].state.len);
    buf_u8(&b, 0);
    assert_int_equal(stack_engine_new(&w->boxes[0].settings, &host, b.data, b.len, 0, &g, &e),
                     ERR_MALFORMED);
    assert_int_equal(stack_engine_new(&w->boxes[0].settings, &host, b.data, 5, 0, &g, &e),
                     ERR_MALFORMED);
    b.data[0] = 99;
    assert_int_equal(stack_engine_new(&w->boxes[0].settings, &host, b.data, b.len, 0, &g, &e),
                     ERR_MALFORMED);
    buf_free(&b);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(one_box_is_its_own),
        cmocka_unit_test(a_ring_elects),
        cmocka_unit_test(no_mixed_mode),
        cmocka_unit_test(priority_goes_before),
        cmocka_unit_test(the_backup_takes_over),
        cmocka_unit_test(a_cut_ring_holds_together),
        cmocka_unit_test(only_who_is_ready_leads),
        cmocka_unit_test(frozen_roles_stay),
        cmocka_unit_test(a_record_lies_at_the_backup),
        cmocka_unit_test(an_image_goes_on_where_it_stopped),
        cmocka_unit_test(members_reboot_together),
        cmocka_unit_test(zeroized_members_come_back_new),
        cmocka_unit_test(bad_state_is_told),
    };
    return cmocka_run_group_tests_name("stack engine", tests, NULL, NULL);
}
