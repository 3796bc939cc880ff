// SPDX-License-Identifier: Apache-2.0
/* For tests: engines in a ring or a line, with cables that lose, delay, double and are cut, and
 * boxes that lose their power. Time is the world's. */
#ifndef PHONE_HOME_STACK_WORLD_H
#define PHONE_HOME_STACK_WORLD_H

#include "base/rng.h"
#include "phone-home/stack/engine.h"

enum { WORLD_BOXES = 10, WORLD_ORDERS = 64 };

struct world;
struct box {
    struct world *w;
    size_t index;
    bool on;
    struct stack_settings settings;
    struct stack_engine *g; /* NULL: off */
    struct buf state;       /* durable */
    struct buf record, image, part;
    enum stack_file part_file;
    uint8_t part_digest[STACK_DIGEST];
    char image_text[161];
    struct {
        size_t box;
        unsigned link;
        bool there;
    } cable[STACK_LINKS_MAX];
    int64_t next_tick;
    uint64_t ticket; /* of a file that is being put in its place; 0: none */
    int64_t ticket_due;
    enum err_code finish_code; /* how it ends */
    bool dies_at_finish;       /* loses its power then, before it answers */
    bool reboot, zeroize;
    unsigned reboots, changes, lives;
    int64_t boot_due; /* -1: not booting */
};

struct world_order {
    uint64_t order;
    bool over;
    enum err_code code;
    struct err e;
};

struct world {
    size_t n;
    struct box boxes[WORLD_BOXES];
    bool cut[WORLD_BOXES]; /* the cable between box i and box i + 1 */
    struct rng rng;
    unsigned loss, doubled; /* percent */
    int64_t now;
    struct buf source; /* what orders send */
    struct world_order orders[WORLD_ORDERS];
    size_t n_orders;
    struct frame *frames; /* on their way, an array */
    size_t n_frames, cap_frames;
    uint64_t sent;
    bool verbose;
};

/* `n` boxes, serial numbers "S0", "S1"...; all off. Ring: the last is joined to the first (with
 * two, there are two cables). */
struct world *world_new(size_t n, bool ring, uint64_t seed);
void world_free(struct world *w);
void world_start(struct world *w, size_t box); /* ready at once */
void world_crash(struct world *w, size_t box); /* keeps what was durable */
void world_cut(struct world *w, size_t cable, bool cut);
void world_run(struct world *w, int64_t ms);
/* Runs until `n` boxes that are on and joined agree on a primary, ids and a backup; false: 60 s
 * were not enough. */
bool world_settle(struct world *w);
/* Every part of the ring that hangs together has exactly one primary, and all in it know it, its
 * backup and the same ids. NULL: so it is; otherwise what is wrong. */
const char *world_wrong(const struct world *w);
struct box *world_primary(struct world *w); /* of the first box that is on */
struct box *world_box(struct world *w, const char *serial);
size_t world_component(const struct world *w, size_t of, bool in[WORLD_BOXES]);
/* Gives an order's number and notes its end. */
uint64_t world_order(struct world *w);
struct world_order *world_order_of(struct world *w, uint64_t order);
/* Runs until it ended, at most `ms`; its code, ERR_TIMEOUT when it did not. */
enum err_code world_wait(struct world *w, uint64_t order, int64_t ms);

#endif
