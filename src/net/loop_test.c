// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"

enum { SENDERS = 4, EACH = 20000 };

struct inbox {
    struct loop *l;
    unsigned next[SENDERS];
    unsigned total;
};
struct note {
    struct inbox *in;
    unsigned sender, number;
};

static void take(void *arg) {
    struct note *n = arg;
    assert_true(loop_is_current(n->in->l));
    assert_int_equal(n->number, n->in->next[n->sender]);
    n->in->next[n->sender]++;
    if (++n->in->total == SENDERS * EACH) {
        loop_stop(n->in->l);
    }
}

struct sender {
    struct inbox *in;
    unsigned id;
    struct note notes[EACH];
    pthread_t thread;
};

static void *send_all(void *arg) {
    struct sender *s = arg;
    for (unsigned i = 0; i < EACH; i++) {
        s->notes[i] = (struct note){s->in, s->id, i};
        loop_post(s->in->l, take, &s->notes[i]);
    }
    return NULL;
}

/* Messages of four threads arrive whole, in order, and many in one wake-up. */
static void test_post(void **state) {
    static struct inbox in;
    static struct sender s[SENDERS];
    in.l = loop_new("test");
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i].in = &in;
        s[i].id = i;
        pthread_create(&s[i].thread, NULL, send_all, &s[i]);
    }
    loop_run(in.l);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(in.next[i], EACH);
    }
    const struct loop_counters *n = loop_counters(in.l);
    assert_int_equal(n->posted, SENDERS * EACH);
    assert_true(n->wakeups <= n->posted);
    assert_false(loop_is_current(in.l));
    loop_free(in.l);
}

enum { PINGERS = 3, ROUNDS = 10000, BURST = 128, STALL_MS = 10000 };

struct pings {
    struct loop *l;
    struct pinger {
        struct pings *all;
        pthread_t thread;
        sem_t taken;
        unsigned n;
    } pinger[PINGERS];
    unsigned n, seen; /* messages taken, and how many of them the watchdog saw last */
    bool stalled;
};

static void take_ping(void *arg) {
    struct pinger *s = arg;
    struct pings *p = s->all;
    if (++s->n % BURST == 0) {
        sem_post(&s->taken);
    }
    if (++p->n == PINGERS * ROUNDS * BURST) {
        loop_stop(p->l);
    }
}

static void look_for_stall(void *arg) {
    struct pings *p = arg;
    if (p->n == p->seen) {
        p->stalled = true;
        loop_stop(p->l);
    }
    p->seen = p->n;
}

static void *send_pings(void *arg) {
    struct pinger *s = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < BURST; k++) {
            loop_post(s->all->l, take_ping, s);
        }
        sem_wait(&s->taken);
    }
    return NULL;
}

/* A message that arrives while the loop wakes up for the one before it is served as well, and so is
 * the next one: with nothing else going on, nobody would wake the loop again. */
static void test_no_wake_up_is_lost(void **state) {
    static struct pings p;
    p.l = loop_new("test");
    struct loop_timer *watchdog = loop_timer_new(p.l, look_for_stall, &p);
    loop_timer_repeat(watchdog, STALL_MS);
    for (unsigned i = 0; i < PINGERS; i++) {
        p.pinger[i].all = &p;
        sem_init(&p.pinger[i].taken, 0, 0);
        pthread_create(&p.pinger[i].thread, NULL, send_pings, &p.pinger[i]);
    }
    loop_run(p.l);
    loop_timer_free(watchdog);
    if (p.stalled) {
        fail_msg("a wake-up was lost after %u messages", p.n);
    }
    for (unsigned i = 0; i < PINGERS; i++) {
        pthread_join(p.pinger[i].thread, NULL);
        sem_destroy(&p.pinger[i].taken);
    }
    loop_free(p.l);
}

static void count(void *arg) {
    ++*(unsigned *)arg;
}

static void test_leftover_posts_are_served(void **state) {
    unsigned n = 0;
    struct loop *l = loop_new("test");
    for (int i = 0; i < 1000; i++) {
        loop_post(l, count, &n);
    }
    loop_free(l);
    assert_int_equal(n, 1000);
}

struct timers_seen {
    struct loop *l;
    struct loop_timer *once, *often;
    unsigned n_once, n_often;
};
static void once(void *arg) {
    struct timers_seen *t = arg;
    t->n_once++;
    loop_timer_free(t->once); /* in its own callback */
    t->once = NULL;
}
static void often(void *arg) {
    struct timers_seen *t = arg;
    if (++t->n_often == 5) {
        loop_timer_stop(t->often);
        loop_stop(t->l);
    }
}
static void test_timers(void **state) {
    struct timers_seen t = {.l = loop_new("test")};
    t.once = loop_timer_new(t.l, once, &t);
    t.often = loop_timer_new(t.l, often, &t);
    loop_timer_start(t.once, 1);
    loop_timer_repeat(t.often, 2);
    loop_run(t.l);
    assert_int_equal(t.n_once, 1);
    assert_int_equal(t.n_often, 5);
    loop_timer_free(t.often);
    loop_free(t.l);
}

static void hog(void *arg) {
    struct timespec ts = {0, 12 * 1000 * 1000};
    nanosleep(&ts, NULL);
    loop_stop(arg);
}
static void test_watchdog(void **state) {
    struct loop *l = loop_new("test");
    loop_post(l, hog, l);
    loop_run(l);
    assert_int_equal(loop_counters(l)->slow, 1);
    assert_true(loop_counters(l)->slowest_ns > 10 * 1000 * 1000);
    loop_free(l);
}

static void on_pipe(int fd, unsigned events, void *arg) {
    char c;
    assert_true(events & LOOP_READ);
    assert_int_equal(read(fd, &c, 1), 1);
    *(char *)arg = c;
}
static void test_watch(void **state) {
    struct loop *l = loop_new("test");
    int fd[2];
    char got = 0;
    assert_int_equal(pipe(fd), 0);
    struct loop_watch *w = loop_watch_new(l, fd[0], LOOP_READ, on_pipe, &got);
    assert_int_equal(write(fd[1], "ab", 2), 2);
    loop_poll(l, 100);
    assert_int_equal(got, 'a');
    loop_watch_set(w, 0);
    loop_poll(l, 10);
    assert_int_equal(got, 'a');
    loop_watch_set(w, LOOP_READ);
    loop_poll(l, 100);
    assert_int_equal(got, 'b');
    loop_watch_free(w);
    close(fd[0]);
    close(fd[1]);
    loop_free(l);
}

struct again {
    struct loop *l;
    struct loop_deferred d;
    unsigned n;
};
static void again(void *arg) {
    struct again *a = arg;
    loop_defer(a->l, &a->d); /* for the next turn, not this one: else the loop would hang */
    if (++a->n == 3) {
        loop_stop(a->l);
    }
}
static void test_deferred(void **state) {
    struct again a = {.l = loop_new("test")};
    a.d.fn = again;
    a.d.arg = &a;
    loop_defer(a.l, &a.d);
    loop_defer(a.l, &a.d); /* twice is once */
    loop_run(a.l);
    assert_true(a.n >= 3);
    loop_defer_cancel(&a.d);
    unsigned before = a.n;
    loop_poll(a.l, 0);
    assert_int_equal(a.n, before);
    loop_free(a.l);
}

static void test_signal(void **state) {
    struct loop *l = loop_new("test");
    unsigned n = 0;
    struct loop_signal *s = loop_signal_new(l, SIGUSR1, count, &n);
    raise(SIGUSR1);
    loop_poll(l, 100);
    assert_int_equal(n, 1);
    loop_signal_free(s);
    loop_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_no_wake_up_is_lost),
        cmocka_unit_test(test_leftover_posts_are_served),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
