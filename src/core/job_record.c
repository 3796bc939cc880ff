// SPDX-License-Identifier: Apache-2.0
/* A job as it is stored. */
#include <string.h>

#include "base/mem.h"
#include "core/job_int.h"

/* Never another meaning for one of these numbers: they are stored. */
_Static_assert(JOB_STATE_WAITING == 0 && JOB_STATE_RUNNING == 1 && JOB_STATE_BACKING_OFF == 2 &&
                   JOB_STATE_CANCELLING == 3 && JOB_STATE_ROLLING_BACK == 4 &&
                   JOB_STATE_DONE == 5 && JOB_STATE_FAILED == 6 && JOB_STATE_CANCELLED == 7,
               "states are stored by number");

void job_set_text(char **field, const char *text) {
    char *copy = mem_strdup(text ? text : ""); /* `text` may lie in what is freed */
    mem_free(*field);
    *field = copy;
}

struct job_did *job_record_push(struct job_record *r, const char *step) {
    r->did = mem_array(r->did, r->n_did + 1, sizeof *r->did);
    struct job_did *d = &r->did[r->n_did++];
    *d = (struct job_did){.step = mem_strdup(step), .result = mem_strdup("")};
    return d;
}

void job_record_free(struct job_record *r) {
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n_did; i++) {
        mem_free(r->did[i].step);
        mem_free(r->did[i].result);
        mem_free(r->did[i].children);
    }
    char *texts[] = {r->definition, r->lock, r->input, r->user,    r->source,
                     r->reason,     r->next, r->owner, r->progress};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mem_free(texts[i]);
    }
    mem_free(r->did);
    mem_free(r);
}

void job_record_encode(const struct job_record *r, struct buf *out) {
    buf_u8(out, JOB_VERSION);
    buf_var(out, r->id);
    buf_var(out, r->parent);
    buf_blob_str(out, r->definition);
    buf_blob_str(out, r->lock);
    buf_blob_str(out, r->input);
    buf_blob_str(out, r->user);
    buf_blob_str(out, r->source);
    buf_u64(out, (uint64_t)r->created_s);
    buf_u64(out, (uint64_t)r->started_s);
    buf_u64(out, (uint64_t)r->ended_s);
    buf_u8(out, (uint8_t)r->state);
    buf_u8(out, (uint8_t)r->end);
    buf_blob_str(out, r->reason);
    buf_u8(out, (uint8_t)((r->holds ? 1 : 0) | (r->begun ? 2 : 0)));
    buf_blob_str(out, r->next);
    buf_var(out, r->epoch);
    buf_blob_str(out, r->owner);
    buf_var(out, r->attempt);
    buf_var(out, r->resumes);
    buf_u64(out, (uint64_t)r->due_s);
    buf_var(out, r->wait_s);
    buf_var(out, r->percent);
    buf_blob_str(out, r->progress);
    buf_var(out, r->n_did);
    for (size_t i = 0; i < r->n_did; i++) {
        const struct job_did *d = &r->did[i];
        buf_blob_str(out, d->step);
        buf_blob_str(out, d->result);
        buf_u8(out, (uint8_t)((d->done ? 1 : 0) | (d->undone ? 2 : 0)));
        buf_var(out, d->n_children);
        for (size_t k = 0; k < d->n_children; k++) {
            buf_var(out, d->children[k]);
        }
    }
}

static uint32_t read_u32(struct cur *c) {
    uint64_t v = cur_var(c);
    c->bad |= v > UINT32_MAX;
    return (uint32_t)v;
}

static enum job_state read_state(struct cur *c) {
    uint8_t v = cur_u8(c);
    c->bad |= v > JOB_STATE_CANCELLED;
    return c->bad ? JOB_STATE_FAILED : (enum job_state)v;
}

static uint8_t read_flags(struct cur *c) {
    uint8_t v = cur_u8(c);
    c->bad |= v > 3;
    return v;
}

static void read_did(struct cur *c, struct job_record *r) {
    uint64_t n = cur_var(c);
    c->bad |= n > JOB_STEPS_MAX;
    for (uint64_t i = 0; i < n && !c->bad; i++) {
        struct job_did *d = job_record_push(r, "");
        mem_free(d->step);
        mem_free(d->result);
        d->step = cur_blob_strdup(c);
        d->result = cur_blob_strdup(c);
        uint8_t flags = read_flags(c);
        d->done = (flags & 1) != 0;
        d->undone = (flags & 2) != 0;
        uint64_t kids = cur_var(c);
        c->bad |= kids > JOB_CHILDREN_MAX;
        d->children = kids > 0 && !c->bad ? mem_array(NULL, kids, sizeof *d->children) : NULL;
        for (uint64_t k = 0; k < kids && !c->bad; k++) {
            d->children[d->n_children++] = cur_var(c);
        }
    }
}

static void read_all(struct cur *c, struct job_record *r) {
    r->id = cur_var(c);
    r->parent = cur_var(c);
    r->definition = cur_blob_strdup(c);
    r->lock = cur_blob_strdup(c);
    r->input = cur_blob_strdup(c);
    r->user = cur_blob_strdup(c);
    r->source = cur_blob_strdup(c);
    r->created_s = (int64_t)cur_u64(c);
    r->started_s = (int64_t)cur_u64(c);
    r->ended_s = (int64_t)cur_u64(c);
    r->state = read_state(c);
    r->end = read_state(c);
    r->reason = cur_blob_strdup(c);
    uint8_t flags = read_flags(c);
    r->holds = (flags & 1) != 0;
    r->begun = (flags & 2) != 0;
    r->next = cur_blob_strdup(c);
    r->epoch = cur_var(c);
    r->owner = cur_blob_strdup(c);
    r->attempt = read_u32(c);
    r->resumes = read_u32(c);
    r->due_s = (int64_t)cur_u64(c);
    r->wait_s = read_u32(c);
    r->percent = read_u32(c);
    r->progress = cur_blob_strdup(c);
    read_did(c, r);
    /* What the engine relies on without looking. */
    c->bad |= r->id == 0 || r->parent >= r->id || (r->begun && r->n_did == 0) || r->percent > 100 ||
              job_is_over(r->state) != (r->ended_s != 0) || (job_is_over(r->state) && r->begun);
}

enum err_code job_record_decode(const void *p, size_t len, struct job_record **out, struct err *e) {
    struct cur c = cur_of(p, len);
    uint8_t version = cur_u8(&c);
    if (!c.bad && version != JOB_VERSION) {
        return err_set(e, ERR_UNSUPPORTED, NULL,
                       "was written by a newer version of Weft (form %u, this one reads %d)",
                       version, JOB_VERSION);
    }
    struct job_record *r = MEM_NEW(struct job_record);
    if (!c.bad && len <= JOB_RECORD_MAX) {
        read_all(&c, r);
    }
    if (c.bad || len > JOB_RECORD_MAX || cur_left(&c) > 0) {
        job_record_free(r);
        return err_set(e, ERR_INVALID, NULL, "is damaged: it is no job");
    }
    *out = r;
    return ERR_OK;
}

struct job_record *job_record_copy(const struct job_record *r) {
    struct buf b = BUF_INIT;
    struct job_record *copy = NULL;
    struct err e;
    job_record_encode(r, &b);
    if (job_record_decode(b.data, b.len, &copy, &e) != ERR_OK) {
        copy = NULL; /* can't be: it was read or built here */
    }
    buf_free(&b);
    return copy;
}
