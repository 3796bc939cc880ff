// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct frame {
    int64_t due;
    size_t box;
    unsigned link;
    size_t n;
    uint8_t bytes[STACK_FRAME_MAX];
};

/* ---------------------------------------------------------------- the host of a box */

static bool is_cut(const struct world *w, size_t box, unsigned link) {
    /* link 0 leads to the next box, link 1 to the one before */
    return w->cut[link == 0 ? box : (box + w->n - 1) % w->n];
}

static void enqueue(struct world *w, const struct box *b, unsigned link, const void *p, size_t n) {
    if (w->n_frames == w->cap_frames) {
        w->cap_frames = w->cap_frames == 0 ? 64 : 2 * w->cap_frames;
        w->frames = mem_array(w->frames, w->cap_frames, sizeof *w->frames);
    }
    struct frame *f = &w->frames[w->n_frames++];
    f->due = w->now + 2 + (rng_chance(&w->rng, 2) ? (int64_t)rng_below(&w->rng, 30) : 0);
    f->box = b->cable[link].box;
    f->link = b->cable[link].link;
    f->n = n;
    memcpy(f->bytes, p, n);
}

static void on_send(void *arg, unsigned link, const void *p, size_t n) {
    struct box *b = arg;
    struct world *w = b->w;
    if (n > STACK_FRAME_MAX) {
        abort();
    }
    w->sent++;
    if (!b->cable[link].there || is_cut(w, b->index, link) || rng_chance(&w->rng, w->loss)) {
        return;
    }
    enqueue(w, b, link, p, n);
    if (rng_chance(&w->rng, w->doubled)) {
        enqueue(w, b, link, p, n);
    }
}

static void on_save(void *arg, const void *p, size_t n) {
    struct box *b = arg;
    buf_clear(&b->state);
    buf_add(&b->state, p, n);
}

static void on_changed(void *arg) {
    ((struct box *)arg)->changes++;
}

static bool on_read(void *arg, uint64_t order, uint64_t offset, void *p, size_t n) {
    const struct world *w = ((struct box *)arg)->w;
    if (offset + n > w->source.len) {
        return false;
    }
    memcpy(p, w->source.data + offset, n);
    return true;
}

static uint64_t on_part(void *arg, enum stack_file file, const uint8_t digest[STACK_DIGEST]) {
    struct box *b = arg;
    if (b->part_file != file || memcmp(b->part_digest, digest, STACK_DIGEST) != 0) {
        buf_clear(&b->part);
        b->part_file = file;
        memcpy(b->part_digest, digest, STACK_DIGEST);
    }
    return b->part.len;
}

static bool on_write(void *arg, enum stack_file file, uint64_t offset, const void *p, size_t n) {
    struct box *b = arg;
    if (b->part_file != file || offset > b->part.len) {
        return false;
    }
    b->part.len = (size_t)offset;
    buf_add(&b->part, p, n);
    return true;
}

static void on_finish(void *arg, uint64_t ticket, enum stack_file file,
                      const uint8_t digest[STACK_DIGEST], uint64_t size, const char *text) {
    struct box *b = arg;
    if (b->part.len != size || b->ticket != 0) {
        abort();
    }
    b->ticket = ticket;
    b->ticket_due = b->w->now + 50;
    snprintf(b->image_text, sizeof b->image_text, "%s", text);
}

static void on_reboot(void *arg, bool zeroize) {
    struct box *b = arg;
    b->reboot = true;
    b->zeroize = zeroize;
}

static void on_done(void *arg, uint64_t order, const struct err *e) {
    struct box *b = arg;
    struct world_order *o = world_order_of(b->w, order);
    if (o == NULL || o->over) {
        abort(); /* exactly once */
    }
    o->over = true;
    o->code = e != NULL ? e->code : ERR_OK;
    if (e != NULL) {
        o->e = *e;
    }
}

static void on_log(void *arg, const char *line) {
    const struct box *b = arg;
    if (b->w->verbose) {
        printf("%8lld S%zu %s\n", (long long)b->w->now, b->index, line);
    }
}

/* ---------------------------------------------------------------- making */

struct world *world_new(size_t n, bool ring, uint64_t seed) {
    struct world *w = MEM_NEW(struct world);
    rng_seed(&w->rng, seed);
    w->n = n;
    w->now = 1000;
    w->verbose = getenv("WORLD_VERBOSE") != NULL;
    for (size_t i = 0; i < n; i++) {
        struct box *b = &w->boxes[i];
        b->w = w;
        b->index = i;
        b->boot_due = -1;
        stack_settings_default(&b->settings);
        snprintf(b->settings.serial, sizeof b->settings.serial, "S%zu", i);
        snprintf(b->settings.model, sizeof b->settings.model, "box-1");
        snprintf(b->settings.os_name, sizeof b->settings.os_name, "boxos");
        snprintf(b->settings.os_version, sizeof b->settings.os_version, "1.0");
        b->settings.n_links = n > 1 ? 2 : 0;
        snprintf(b->settings.ports[0], sizeof b->settings.ports[0], "vcp0");
        snprintf(b->settings.ports[1], sizeof b->settings.ports[1], "vcp1");
    }
    for (size_t i = 0; i < n && n > 1; i++) {
        if (i + 1 < n || ring) {
            size_t j = (i + 1) % n;
            w->boxes[i].cable[0].box = j;
            w->boxes[i].cable[0].link = 1;
            w->boxes[j].cable[1].box = i;
            w->boxes[j].cable[1].link = 0;
            w->boxes[i].cable[0].there = w->boxes[j].cable[1].there = true;
        }
    }
    return w;
}

void world_free(struct world *w) {
    for (size_t i = 0; i < w->n; i++) {
        struct box *b = &w->boxes[i];
        stack_engine_free(b->g);
        buf_free(&b->state);
        buf_free(&b->record);
        buf_free(&b->image);
        buf_free(&b->part);
    }
    buf_free(&w->source);
    mem_free(w->frames);
    mem_free(w);
}

void world_start(struct world *w, size_t box) {
    struct box *b = &w->boxes[box];
    struct stack_host host = {.send = on_send,
                              .save = on_save,
                              .changed = on_changed,
                              .read = on_read,
                              .part = on_part,
                              .write = on_write,
                              .finish = on_finish,
                              .reboot = on_reboot,
                              .done = on_done,
                              .log = on_log,
                              .arg = b};
    struct err e;
    if (b->g != NULL) {
        return;
    }
    b->boot_due = -1;
    b->on = true;
    b->lives++;
    struct buf state = BUF_INIT; /* the engine saves while it reads */
    buf_add(&state, b->state.data, b->state.len);
    if (stack_engine_new(&b->settings, &host, state.data, state.len, w->now, &b->g, &e) != ERR_OK) {
        printf("%s: %s\n", e.path, e.text);
        abort();
    }
    buf_free(&state);
    b->next_tick = w->now;
    stack_engine_ready(b->g, w->now, true);
}

void world_crash(struct world *w, size_t box) {
    struct box *b = &w->boxes[box];
    stack_engine_free(b->g);
    b->g = NULL;
    b->on = false;
    b->ticket = 0;
    b->reboot = false;
    b->boot_due = -1;
}

void world_cut(struct world *w, size_t cable, bool cut) {
    w->cut[cable] = cut;
}

/* ---------------------------------------------------------------- time */

static void finish(struct box *b) {
    struct world *w = b->w;
    uint64_t ticket = b->ticket;
    struct err e;
    b->ticket = 0;
    if (b->finish_code == ERR_OK) {
        struct buf *to = b->part_file == STACK_FILE_IMAGE ? &b->image : &b->record;
        buf_clear(to);
        buf_add(to, b->part.data, b->part.len);
        if (b->part_file == STACK_FILE_IMAGE) {
            snprintf(b->settings.os_version, sizeof b->settings.os_version, "%s", b->image_text);
        }
    } else {
        err_set(&e, b->finish_code, "image", "does not fit");
    }
    if (b->dies_at_finish) {
        b->dies_at_finish = false;
        world_crash(w, b->index);
        return;
    }
    stack_engine_finished(b->g, w->now, ticket, b->finish_code != ERR_OK ? &e : NULL);
    b->next_tick = w->now;
}

static void step_box(struct world *w, struct box *b) {
    if (b->boot_due >= 0 && w->now >= b->boot_due) {
        world_start(w, b->index);
    }
    if (b->g != NULL && b->ticket != 0 && w->now >= b->ticket_due) {
        finish(b);
    }
    if (b->g != NULL && w->now >= b->next_tick) {
        b->next_tick = stack_engine_tick(b->g, w->now);
    }
    if (b->g != NULL && b->reboot) {
        bool zeroize = b->zeroize;
        world_crash(w, b->index);
        b->reboots++;
        b->boot_due = w->now + 3000;
        if (zeroize) {
            buf_clear(&b->state);
            buf_clear(&b->record);
            buf_clear(&b->part);
        }
    }
}

static void deliver(struct world *w) {
    size_t n = w->n_frames, kept = 0;
    for (size_t i = 0; i < n;) {
        if (w->frames[i].due > w->now) {
            i++;
            continue;
        }
        struct frame f = w->frames[i];
        w->frames[i].due = INT64_MAX;
        i++;
        struct box *b = &w->boxes[f.box];
        if (b->g != NULL) {
            stack_engine_frame(b->g, w->now, f.link, f.bytes, f.n);
            b->next_tick = w->now;
        }
    }
    for (size_t i = 0; i < w->n_frames; i++) {
        if (w->frames[i].due != INT64_MAX) {
            if (kept != i) {
                w->frames[kept] = w->frames[i];
            }
            kept++;
        }
    }
    w->n_frames = kept;
}

void world_run(struct world *w, int64_t ms) {
    int64_t until = w->now + ms;
    while (w->now < until) {
        w->now += 5;
        deliver(w);
        for (size_t i = 0; i < w->n; i++) {
            step_box(w, &w->boxes[i]);
        }
    }
}

/* ---------------------------------------------------------------- looking */

struct box *world_box(struct world *w, const char *serial) {
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->boxes[i].settings.serial, serial) == 0) {
            return &w->boxes[i];
        }
    }
    return NULL;
}

size_t world_component(const struct world *w, size_t of, bool in[WORLD_BOXES]) {
    size_t queue[WORLD_BOXES], head = 0, tail = 0;
    memset(in, 0, WORLD_BOXES * sizeof *in);
    in[of] = true;
    queue[tail++] = of;
    while (head < tail) {
        size_t i = queue[head++];
        for (unsigned l = 0; l < 2; l++) {
            size_t j = w->boxes[i].cable[l].box;
            if (w->boxes[i].cable[l].there && !is_cut(w, i, l) && w->boxes[j].on && !in[j]) {
                in[j] = true;
                queue[tail++] = j;
            }
        }
    }
    return tail;
}

static const char *role_of(const struct box *b, enum stack_role r) {
    static struct stack_member m[2 * STACK_MEMBERS_MAX];
    size_t n = stack_engine_members(b->g, m, 2 * STACK_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (m[i].role == r) {
            return m[i].serial;
        }
    }
    return "";
}

static const char *wrong_in(const struct world *w, size_t first, const bool in[WORLD_BOXES]) {
    static char text[200];
    const struct stack_chassis *c = stack_engine_chassis(w->boxes[first].g);
    char primary[40], backup[40];
    size_t primaries = 0, members = 0;
    snprintf(primary, sizeof primary, "%s", role_of(&w->boxes[first], STACK_PRIMARY));
    snprintf(backup, sizeof backup, "%s", role_of(&w->boxes[first], STACK_BACKUP));
    for (size_t i = 0; i < w->n; i++) {
        const struct box *b = &w->boxes[i];
        if (!in[i]) {
            continue;
        }
        members++;
        primaries += stack_engine_primary(b->g);
        const struct stack_chassis *d = stack_engine_chassis(b->g);
        const char *p = role_of(b, STACK_PRIMARY);
        if (strcmp(p, primary) != 0 || p[0] == '\0') {
            snprintf(text, sizeof text, "S%zu has primary '%s', S%zu '%s'", first, primary, i, p);
            return text;
        }
        if (strcmp(role_of(b, STACK_BACKUP), backup) != 0) {
            snprintf(text, sizeof text, "S%zu has another backup", i);
            return text;
        }
        if (d->term != c->term || d->version != c->version || d->n != c->n ||
            memcmp(d->ids, c->ids, sizeof d->ids) != 0 ||
            stack_engine_id(b->g, b->settings.serial) < 0) {
            snprintf(text, sizeof text, "S%zu has another chassis (term %llu.%u, S%zu %llu.%u)", i,
                     (unsigned long long)d->term, d->version, first, (unsigned long long)c->term,
                     c->version);
            return text;
        }
    }
    if (primaries != 1) {
        snprintf(text, sizeof text, "%zu primaries", primaries);
        return text;
    }
    if (members > 1 && backup[0] == '\0') {
        return "no backup";
    }
    return NULL;
}

const char *world_wrong(const struct world *w) {
    bool done[WORLD_BOXES] = {false};
    for (size_t i = 0; i < w->n; i++) {
        bool in[WORLD_BOXES];
        if (!w->boxes[i].on || done[i]) {
            continue;
        }
        world_component(w, i, in);
        const char *wrong = wrong_in(w, i, in);
        if (wrong != NULL) {
            return wrong;
        }
        for (size_t j = 0; j < w->n; j++) {
            done[j] = done[j] || in[j];
        }
    }
    return NULL;
}

bool world_settle(struct world *w) {
    for (int64_t end = w->now + 60000; w->now < end;) {
        world_run(w, 100);
        if (world_wrong(w) == NULL) {
            /* and stays so */
            world_run(w, 2500);
            if (world_wrong(w) == NULL) {
                return true;
            }
        }
    }
    if (w->verbose) {
        for (size_t i = 0; i < w->n; i++) {
            struct stack_member m[2 * STACK_MEMBERS_MAX];
            if (w->boxes[i].g == NULL) {
                printf("S%zu off\n", i);
                continue;
            }
            const struct stack_chassis *c = stack_engine_chassis(w->boxes[i].g);
            printf("S%zu: %llu.%u of %s backup %s frozen %d (%s) claim %d:", i,
                   (unsigned long long)c->term, c->version, c->owner, c->backup, c->frozen,
                   c->frozen_primary, stack_engine_primary(w->boxes[i].g));
            size_t n = stack_engine_members(w->boxes[i].g, m, 2 * STACK_MEMBERS_MAX);
            for (size_t j = 0; j < n; j++)
                printf(" %s%s%s(%s,%s)", m[j].serial, m[j].up ? "+" : "-",
                       stack_role_name(m[j].role),
                       m[j].n_neighbours > 0 ? m[j].neighbours[0].serial : "",
                       m[j].n_neighbours > 1 ? m[j].neighbours[1].serial : "");
            printf("\n");
        }
    }
    return false;
}

struct box *world_primary(struct world *w) {
    for (size_t i = 0; i < w->n; i++) {
        if (w->boxes[i].on) {
            return world_box(w, role_of(&w->boxes[i], STACK_PRIMARY));
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- orders */

uint64_t world_order(struct world *w) {
    struct world_order *o = &w->orders[w->n_orders % WORLD_ORDERS];
    *o = (struct world_order){.order = ++w->n_orders};
    return o->order;
}

struct world_order *world_order_of(struct world *w, uint64_t order) {
    struct world_order *o = &w->orders[(order - 1) % WORLD_ORDERS];
    return o->order == order ? o : NULL;
}

enum err_code world_wait(struct world *w, uint64_t order, int64_t ms) {
    for (int64_t end = w->now + ms; w->now < end; world_run(w, 20)) {
        if (world_order_of(w, order)->over) {
            return world_order_of(w, order)->code;
        }
    }
    return ERR_TIMEOUT;
}
