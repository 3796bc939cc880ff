// SPDX-License-Identifier: Apache-2.0
#include "net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"

LOGGER_MODULE(loop)

enum { POSTS_PER_TURN = 256 }; /* then sockets and timers get their turn */

struct post {
    loop_fn *fn;
    void *arg;
};

struct posts {
    struct post *v;
    size_t n, cap;
};

struct loop {
    char *name;
    struct event_base *base;
    int wake_fd;
    struct event wake, defer;
    pthread_mutex_t lock;
    struct posts in;    /* under lock */
    bool woken;         /* under lock: wake_fd was written and not read yet */
    struct posts batch; /* being served */
    size_t batch_at;
    struct list deferred;
    bool defer_active;
    _Atomic bool stop;
    bool running;
    pthread_t thread;
    int64_t now;
    unsigned depth; /* nested loop_enter: only the outermost is timed */
    struct loop_counters counters;
};

static int64_t mono(void) {
    return clock_mono(&clock_real);
}

int64_t loop_enter(struct loop *l) {
    l->depth++;
    l->now = mono();
    return l->now;
}

void loop_leave(struct loop *l, int64_t entered) {
    l->depth--;
    if (l->depth > 0) {
        return;
    }
    uint64_t took = (uint64_t)(mono() - entered);
    atomic_fetch_add_explicit(&l->counters.callbacks, 1, memory_order_relaxed);
    if (took > LOOP_SLOW_MS * (uint64_t)NS_PER_MS) {
        atomic_fetch_add_explicit(&l->counters.slow, 1, memory_order_relaxed);
        L_WARN_RL(10, "%s was held for %llu ms by one callback", l->name,
                  (unsigned long long)(took / (uint64_t)NS_PER_MS));
    }
    if (took > atomic_load_explicit(&l->counters.slowest_ns, memory_order_relaxed)) {
        atomic_store_explicit(&l->counters.slowest_ns, took, memory_order_relaxed);
    }
}

static void posts_add(struct posts *p, loop_fn *fn, void *arg) {
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->v = mem_array(p->v, p->cap, sizeof(*p->v));
    }
    p->v[p->n++] = (struct post){fn, arg};
}

static void wake_up(struct loop *l) {
    uint64_t one = 1;
    while (write(l->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* Serves up to `max` messages; true when some are left. */
static bool serve_posts(struct loop *l, size_t max) {
    while (max-- > 0) {
        if (l->batch_at == l->batch.n) {
            l->batch.n = l->batch_at = 0;
            pthread_mutex_lock(&l->lock);
            struct posts t = l->in;
            l->in = l->batch;
            l->batch = t;
            pthread_mutex_unlock(&l->lock);
            if (l->batch.n == 0) {
                return false;
            }
            atomic_fetch_add_explicit(&l->counters.wakeups, 1, memory_order_relaxed);
        }
        struct post p = l->batch.v[l->batch_at++];
        int64_t t = loop_enter(l);
        p.fn(p.arg);
        loop_leave(l, t);
    }
    return true;
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    struct loop *l = arg;
    uint64_t n;
    /* In this order: were `woken` taken back first, a message posted before the read would have its
     * wake-up read away, and no later one would write another. */
    while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&l->lock);
    l->woken = false;
    pthread_mutex_unlock(&l->lock);
    if (atomic_load(&l->stop)) {
        event_base_loopbreak(l->base);
        return;
    }
    if (serve_posts(l, POSTS_PER_TURN)) {
        wake_up(l);
    }
}

static void on_defer(evutil_socket_t fd, short what, void *arg) {
    struct loop *l = arg;
    struct list batch;
    list_init(&batch);
    l->defer_active = false;
    /* Only what is armed now: work that arms itself again waits for the next turn. */
    while (!list_empty(&l->deferred)) {
        struct list *n = l->deferred.next;
        list_remove(n);
        list_append(&batch, n);
    }
    while (!list_empty(&batch)) {
        struct loop_deferred *d = CONTAINER_OF(batch.next, struct loop_deferred, link);
        list_remove(&d->link);
        int64_t t = loop_enter(l);
        d->fn(d->arg);
        loop_leave(l, t);
    }
}

void loop_defer(struct loop *l, struct loop_deferred *d) {
    if (d->link.next != NULL && !list_empty(&d->link)) {
        return;
    }
    list_append(&l->deferred, &d->link);
    if (!l->defer_active) {
        /* A timer, not event_active(): that would keep the active queue from ever running empty,
         * and work that arms itself again would starve sockets and messages. */
        static const struct timeval at_once = {0, 0};
        l->defer_active = true;
        event_add(&l->defer, &at_once);
    }
}

void loop_defer_cancel(struct loop_deferred *d) {
    list_remove(&d->link);
}

struct loop *loop_new(const char *name) {
    struct loop *l = MEM_NEW(struct loop);
    l->name = mem_strdup(name);
    /* A peer that closes must be an error of its connection, not the end of the process; OpenSSL
     * writes to sockets without MSG_NOSIGNAL. */
    signal(SIGPIPE, SIG_IGN);
    struct event_config *cfg = event_config_new();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->base == NULL || l->wake_fd < 0) {
        L_ERR("can't make an event loop: out of descriptors");
        abort();
    }
    pthread_mutex_init(&l->lock, NULL);
    list_init(&l->deferred);
    event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    event_add(&l->wake, NULL);
    evtimer_assign(&l->defer, l->base, on_defer, l);
    l->now = mono();
    return l;
}

void loop_free(struct loop *l) {
    if (l == NULL) {
        return;
    }
    l->running = true;
    l->thread = pthread_self();
    do {
        while (serve_posts(l, POSTS_PER_TURN)) {
        }
        on_defer(-1, 0, l);
    } while (!list_empty(&l->deferred) || l->in.n > 0);
    event_del(&l->wake);
    event_del(&l->defer);
    close(l->wake_fd);
    event_base_free(l->base);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->in.v);
    mem_free(l->batch.v);
    mem_free(l->name);
    mem_free(l);
}

void loop_run(struct loop *l) {
    l->thread = pthread_self();
    l->running = true;
    while (!atomic_load(&l->stop)) {
        if (event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0) {
            break;
        }
    }
    atomic_store(&l->stop, false);
    l->running = false;
}

void loop_stop(struct loop *l) {
    atomic_store(&l->stop, true);
    wake_up(l);
}

static void poll_over(evutil_socket_t fd, short what, void *arg) {
}

void loop_poll(struct loop *l, int wait_ms) {
    l->thread = pthread_self();
    l->running = true;
    struct timeval tv = {wait_ms / 1000, (wait_ms % 1000) * 1000};
    struct event *limit = evtimer_new(l->base, poll_over, NULL);
    if (wait_ms > 0) {
        event_add(limit, &tv);
    }
    event_base_loop(l->base, wait_ms > 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
    event_free(limit);
    l->running = false;
}

void loop_post(struct loop *l, loop_fn *fn, void *arg) {
    pthread_mutex_lock(&l->lock);
    posts_add(&l->in, fn, arg);
    bool wake = !l->woken;
    l->woken = true;
    pthread_mutex_unlock(&l->lock);
    atomic_fetch_add_explicit(&l->counters.posted, 1, memory_order_relaxed);
    if (wake) {
        wake_up(l);
    }
}

bool loop_is_current(const struct loop *l) {
    return l->running && pthread_equal(l->thread, pthread_self());
}

int64_t loop_now(const struct loop *l) {
    return l->depth > 0 ? l->now : mono();
}

const struct loop_counters *loop_counters(const struct loop *l) {
    return &l->counters;
}

struct event_base *loop_base(struct loop *l) {
    return l->base;
}

/* ------------------------------------------------------------------ timers */

struct loop_timer {
    struct loop *loop;
    struct event ev;
    int64_t period_ms; /* 0: once */
    loop_fn *fn;
    void *arg;
};

static void timer_add(struct loop_timer *t, int64_t ms) {
    ms = ms < 0 ? 0 : ms;
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};
    event_add(&t->ev, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct loop_timer *t = arg;
    struct loop *l = t->loop; /* t may be freed by its own callback */
    if (t->period_ms > 0) {
        timer_add(t, t->period_ms);
    }
    int64_t entered = loop_enter(l);
    t->fn(t->arg);
    loop_leave(l, entered);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg) {
    struct loop_timer *t = MEM_NEW(struct loop_timer);
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    evtimer_assign(&t->ev, l->base, on_timer, t);
    return t;
}

void loop_timer_start(struct loop_timer *t, int64_t after_ms) {
    t->period_ms = 0;
    timer_add(t, after_ms);
}

void loop_timer_repeat(struct loop_timer *t, int64_t period_ms) {
    t->period_ms = period_ms < 1 ? 1 : period_ms;
    timer_add(t, t->period_ms);
}

void loop_timer_stop(struct loop_timer *t) {
    t->period_ms = 0;
    event_del(&t->ev);
}

void loop_timer_free(struct loop_timer *t) {
    if (t != NULL) {
        event_del(&t->ev);
        mem_free(t);
    }
}

/* ------------------------------------------------------------------ descriptors */

struct loop_watch {
    struct loop *loop;
    struct event ev;
    int fd;
    unsigned events;
    loop_fd_fn *fn;
    void *arg;
};

static void on_fd(evutil_socket_t fd, short what, void *arg) {
    struct loop_watch *w = arg;
    struct loop *l = w->loop;
    unsigned events = (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);
    int64_t entered = loop_enter(l);
    w->fn(fd, events, w->arg);
    loop_leave(l, entered);
}

void loop_watch_set(struct loop_watch *w, unsigned events) {
    if (events == w->events) {
        return;
    }
    event_del(&w->ev);
    w->events = events;
    if (events != 0) {
        event_assign(&w->ev, w->loop->base, w->fd,
                     (short)((events & LOOP_READ ? EV_READ : 0) |
                             (events & LOOP_WRITE ? EV_WRITE : 0) | EV_PERSIST),
                     on_fd, w);
        event_add(&w->ev, NULL);
    }
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, unsigned events, loop_fd_fn *fn,
                                  void *arg) {
    struct loop_watch *w = MEM_NEW(struct loop_watch);
    w->loop = l;
    w->fd = fd;
    w->fn = fn;
    w->arg = arg;
    event_assign(&w->ev, l->base, fd, EV_READ | EV_PERSIST, on_fd, w);
    loop_watch_set(w, events);
    return w;
}

void loop_watch_free(struct loop_watch *w) {
    if (w != NULL) {
        event_del(&w->ev);
        mem_free(w);
    }
}

/* ------------------------------------------------------------------ signals */

struct loop_signal {
    struct loop *loop;
    struct event ev;
    loop_fn *fn;
    void *arg;
};

static void on_signal(evutil_socket_t signo, short what, void *arg) {
    struct loop_signal *s = arg;
    struct loop *l = s->loop;
    int64_t entered = loop_enter(l);
    s->fn(s->arg);
    loop_leave(l, entered);
}

struct loop_signal *loop_signal_new(struct loop *l, int signo, loop_fn *fn, void *arg) {
    struct loop_signal *s = MEM_NEW(struct loop_signal);
    s->loop = l;
    s->fn = fn;
    s->arg = arg;
    evsignal_assign(&s->ev, l->base, signo, on_signal, s);
    event_add(&s->ev, NULL);
    return s;
}

void loop_signal_free(struct loop_signal *s) {
    if (s != NULL) {
        event_del(&s->ev);
        mem_free(s);
    }
}
