// SPDX-License-Identifier: Apache-2.0
#include "phone-home/tasks.h"

#include <pthread.h>

#include "base/list.h"
#include "base/mem.h"

struct task {
    struct list link;
    struct tasks *owner;
    pthread_t thread;
    uint64_t order;
    atomic_bool stop;
    void (*run)(void *job, const atomic_bool *stop);
    void (*end)(void *job, bool cancelled);
    void *job;
    bool ran;
};
struct tasks {
    struct loop *loop;
    struct list running;
    size_t n;
};

struct tasks *tasks_new(struct loop *l) {
    struct tasks *t = MEM_NEW(struct tasks);
    t->loop = l;
    list_init(&t->running);
    return t;
}

/* On the loop, behind the thread's last word. */
static void ended(void *arg) {
    struct task *k = arg;
    if (k->ran) {
        pthread_join(k->thread, NULL);
    }
    list_remove(&k->link);
    k->owner->n--;
    k->end(k->job, atomic_load(&k->stop));
    mem_free(k);
}

static void *thread(void *arg) {
    struct task *k = arg;
    k->run(k->job, &k->stop);
    loop_post(k->owner->loop, ended, k);
    return NULL;
}

void tasks_start(struct tasks *t, uint64_t order, void (*run)(void *job, const atomic_bool *stop),
                 void (*end)(void *job, bool cancelled), void *job) {
    struct task *k = MEM_NEW(struct task);
    k->owner = t;
    k->order = order;
    k->run = run;
    k->end = end;
    k->job = job;
    list_append(&t->running, &k->link);
    t->n++;
    k->ran = t->n <= TASKS_MAX && pthread_create(&k->thread, NULL, thread, k) == 0;
    if (!k->ran) {
        loop_post(t->loop, ended, k);
    }
}

void tasks_cancel(struct tasks *t, uint64_t order) {
    LIST_FOREACH (at, &t->running) {
        struct task *k = CONTAINER_OF(at, struct task, link);
        if (k->order == order) {
            atomic_store(&k->stop, true);
        }
    }
}

void tasks_free(struct tasks *t) {
    if (t == NULL) {
        return;
    }
    LIST_FOREACH (at, &t->running) {
        atomic_store(&CONTAINER_OF(at, struct task, link)->stop, true);
    }
    while (t->n > 0) {
        loop_poll(t->loop, 100);
    }
    mem_free(t);
}
