// SPDX-License-Identifier: Apache-2.0
/* Stacks of Linux boxes under lossy cables, cuts, crashes and reboots, by chance from a seed.
 * SIM_SEEDS says how many seeds; SIM_SEED one of them, with what happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "phone-home/stack/world.h"

enum { ORDER_MS = 3600000 };

struct run {
    struct world *w;
    struct stack_chassis first; /* numbers as they were given at first */
    uint64_t seed;
    unsigned records, images, cuts, crashes;
};

static void check_ids(struct run *r) {
    for (size_t i = 0; i < r->w->n; i++) {
        const struct box *b = &r->w->boxes[i];
        if (b->g == NULL) {
            continue;
        }
        for (size_t j = 0; j < r->first.n; j++) {
            int id = stack_engine_id(b->g, r->first.ids[j].serial);
            if (id != r->first.ids[j].id) {
                fail_msg("seed %llu: at %s the number of %s went from %d to %d",
                         (unsigned long long)r->seed, b->settings.serial, r->first.ids[j].serial,
                         r->first.ids[j].id, id);
            }
        }
    }
}

static void new_source(struct run *r, uint8_t digest[STACK_DIGEST], size_t n) {
    uint64_t mark = rng_next(&r->w->rng);
    buf_clear(&r->w->source);
    for (size_t i = 0; i < n; i++) {
        buf_u8(&r->w->source, (uint8_t)(mark >> (i % 7)) ^ (uint8_t)i);
    }
    memset(digest, 0, STACK_DIGEST);
    memcpy(digest, &mark, sizeof mark);
}

/* One file goes to a member while things happen; when the order ended well it lies there. */
static void file_order(struct run *r, enum stack_file file) {
    struct world *w = r->w;
    uint8_t digest[STACK_DIGEST];
    struct box *p = world_primary(w);
    if (p == NULL || p->g == NULL || !stack_engine_primary(p->g)) {
        return;
    }
    const struct stack_chassis *c = stack_engine_chassis(p->g);
    size_t which = rng_below(&w->rng, w->n);
    const char *to = file == STACK_FILE_RECORD ? c->backup : w->boxes[which].settings.serial;
    struct box *target = world_box(w, to);
    int id = stack_engine_id(p->g, to);
    if (target == NULL || target == p || id < 0) {
        return;
    }
    new_source(r, digest, 1 + rng_below(&w->rng, 60000));
    uint64_t o = world_order(w);
    unsigned lives = p->lives; /* an order ends with the one that gave it */
    stack_engine_send(p->g, w->now, o, file, id, w->source.len, digest, "2.0");
    p->next_tick = w->now;
    if (rng_chance(&w->rng, 30)) { /* the other one loses its power meanwhile */
        world_run(w, (int64_t)rng_below(&w->rng, 300));
        if (rng_chance(&w->rng, 50)) {
            target->dies_at_finish = true;
        } else {
            world_crash(w, target->index);
        }
        world_run(w, (int64_t)rng_below(&w->rng, 3000));
        target->dies_at_finish = false;
        world_start(w, target->index);
    }
    for (int64_t end = w->now + ORDER_MS;
         p->lives == lives && p->on && !world_order_of(w, o)->over;) {
        world_run(w, 20);
        if (w->now > end) {
            fail_msg("seed %llu: the order never ends", (unsigned long long)r->seed);
        }
    }
    if (world_order_of(w, o)->over && world_order_of(w, o)->code == ERR_OK) {
        const struct buf *got = file == STACK_FILE_RECORD ? &target->record : &target->image;
        if (got->len != w->source.len || memcmp(got->data, w->source.data, got->len) != 0) {
            fail_msg("seed %llu: %s has no such file", (unsigned long long)r->seed, to);
        }
        r->records += file == STACK_FILE_RECORD;
        r->images += file == STACK_FILE_IMAGE;
    }
}

static void freeze_order(struct run *r) {
    struct world *w = r->w;
    struct box *p = world_primary(w);
    if (p != NULL && p->g != NULL) {
        uint64_t o = world_order(w);
        stack_engine_freeze(p->g, w->now, o, rng_chance(&w->rng, 50));
        p->next_tick = w->now;
        for (int i = 0; i < 700 && p->g != NULL && !world_order_of(w, o)->over; i++) {
            world_run(w, 20);
        }
    }
}

static void reboot_order(struct run *r) {
    struct world *w = r->w;
    struct box *p = world_primary(w);
    int ids[WORLD_BOXES];
    size_t n = 0;
    if (p == NULL || p->g == NULL) {
        return;
    }
    for (size_t i = 0; i < w->n; i++) {
        if (rng_chance(&w->rng, 40)) {
            ids[n++] = stack_engine_id(p->g, w->boxes[i].settings.serial);
        }
    }
    stack_engine_reboot(p->g, w->now, world_order(w), ids, n, false);
    p->next_tick = w->now;
}

static void something(struct run *r) {
    struct world *w = r->w;
    size_t i = rng_below(&w->rng, w->n);
    switch (rng_below(&w->rng, 8)) {
    case 0:
    case 1:
        world_cut(w, i, !w->cut[i]);
        r->cuts++;
        break;
    case 2:
        if (w->boxes[i].on) {
            world_crash(w, i);
            r->crashes++;
        }
        break;
    case 3:
        world_start(w, i);
        break;
    case 4:
        file_order(r, STACK_FILE_RECORD);
        break;
    case 5:
        file_order(r, STACK_FILE_IMAGE);
        break;
    case 6:
        freeze_order(r);
        break;
    default:
        reboot_order(r);
        break;
    }
    world_run(w, (int64_t)rng_below(&w->rng, 4000));
    check_ids(r);
}

static void settled(struct run *r, const char *when) {
    if (!world_settle(r->w)) {
        fail_msg("seed %llu, %s: %s", (unsigned long long)r->seed, when, world_wrong(r->w));
    }
}

static void start_together(struct run *r) {
    struct world *w = r->w;
    for (size_t i = 0; i < w->n; i++) {
        w->boxes[i].settings.priority = rng_chance(&w->rng, 30) ? 200 : 128;
        world_start(w, i);
        world_run(w, (int64_t)rng_below(&w->rng, 3000));
    }
    settled(r, "at first");
    r->first = *stack_engine_chassis(w->boxes[0].g);
    assert_int_equal(r->first.n, w->n);
}

static void one_seed(struct run *r, uint64_t seed) {
    struct rng rng;
    rng_seed(&rng, seed);
    size_t n = 2 + rng_below(&rng, 5);
    r->seed = seed;
    r->w = world_new(n, rng_chance(&rng, 70), seed);
    r->w->doubled = 2;
    r->w->loss = (unsigned)rng_below(&rng, 4);
    start_together(r);
    r->w->loss = (unsigned)rng_below(&rng, 25);
    for (unsigned i = 0; i < 25; i++) {
        something(r);
        if (i % 8 == 7) { /* whatever is cut now: each part has its primary */
            unsigned loss = r->w->loss;
            r->w->loss = 3;
            world_run(r->w, 4000); /* boxes that reboot come back */
            settled(r, "in parts");
            r->w->loss = loss;
        }
    }
    r->w->loss = 3;
    for (size_t i = 0; i < n; i++) {
        world_cut(r->w, i, false);
        world_start(r->w, i);
    }
    settled(r, "in the end");
    check_ids(r);
    world_free(r->w);
}

/* proves: PH-006 PH-010 PH-050 PH-054 */
static void whatever_happens(void **state) {
    const char *count = getenv("SIM_SEEDS"), *only = getenv("SIM_SEED");
    struct run r = {0};
    if (only != NULL) {
        setenv("WORLD_VERBOSE", "1", 1);
        one_seed(&r, strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t seed = 1; seed <= (count != NULL ? strtoull(count, NULL, 0) : 60); seed++) {
        one_seed(&r, seed);
    }
    printf("%u records and %u images arrived, %u cuts, %u crashes\n", r.records, r.images, r.cuts,
           r.crashes);
    assert_true(r.records > 0 && r.images > 0 && r.cuts > 0 && r.crashes > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_happens)};
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
