// SPDX-License-Identifier: Apache-2.0
#include "north/feed.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/mem.h"

struct feed {
    struct loop *loop;
    const struct feed_ops *ops;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct buf ready; /* written, not taken by the loop yet */
    bool posted;      /* a message is on its way to the loop */
    bool full, gone, finished;
};

struct feed *feed_new(struct loop *l, const struct feed_ops *ops, void *arg) {
    struct feed *f = MEM_NEW(struct feed);
    f->loop = l;
    f->ops = ops;
    f->arg = arg;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->room, NULL);
    return f;
}

void feed_free(struct feed *f) {
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->room);
    buf_free(&f->ready);
    mem_free(f);
}

static void deliver(void *arg) {
    struct feed *f = arg;
    struct buf out;
    pthread_mutex_lock(&f->lock);
    f->posted = false;
    /* the end is not held up by a full queue: everything must be taken before it anyway */
    bool take = !f->gone && (!f->full || f->finished);
    out = f->ready;
    if (take) {
        f->ready = (struct buf)BUF_INIT;
    }
    bool end = f->finished;
    pthread_cond_signal(&f->room);
    pthread_mutex_unlock(&f->lock);
    if (take && out.len > 0) {
        f->ops->take(f->arg, out.data, out.len);
    }
    if (take) {
        buf_free(&out);
    }
    if (end) {
        void (*fn)(void *) = f->ops->end;
        void *to = f->arg;
        feed_free(f);
        fn(to);
    }
}

/* Locked. */
static void post(struct feed *f) {
    if (!f->posted) {
        f->posted = true;
        loop_post(f->loop, deliver, f);
    }
}

enum err_code feed_write(void *arg, const char *p, size_t n, struct err *e) {
    struct feed *f = arg;
    pthread_mutex_lock(&f->lock);
    while (f->ready.len + n > FEED_WAITING_MAX && f->ready.len > 0 && !f->gone) {
        pthread_cond_wait(&f->room, &f->lock);
    }
    bool gone = f->gone;
    if (!gone) {
        buf_add(&f->ready, p, n);
        if (!f->full) {
            post(f);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return gone ? err_set(e, ERR_TIMEOUT, NULL, "the reader is gone") : ERR_OK;
}

void feed_finish(struct feed *f) {
    pthread_mutex_lock(&f->lock);
    f->finished = true;
    post(f);
    pthread_mutex_unlock(&f->lock);
}

void feed_full(struct feed *f, bool full) {
    pthread_mutex_lock(&f->lock);
    f->full = full;
    if (!full && f->ready.len > 0) {
        post(f);
    }
    pthread_mutex_unlock(&f->lock);
}

void feed_gone(struct feed *f) {
    pthread_mutex_lock(&f->lock);
    f->gone = true;
    buf_clear(&f->ready);
    pthread_cond_signal(&f->room);
    pthread_mutex_unlock(&f->lock);
}
