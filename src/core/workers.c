// SPDX-License-Identifier: Apache-2.0
#include "core/workers.h"

#include <pthread.h>
#include <stdio.h>

#include "base/list.h"
#include "base/mem.h"

struct job {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

struct workers {
    char name[16];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue;
    size_t queued, queue_max, running;
    pthread_t *threads;
    unsigned n_threads, max_threads, idle;
    bool stop;
};

static void *worker_main(void *arg) {
    struct workers *w = arg;
    pthread_setname_np(pthread_self(), w->name);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (list_empty(&w->queue) && !w->stop) {
            w->idle++;
            pthread_cond_wait(&w->wake, &w->lock);
            w->idle--;
        }
        if (list_empty(&w->queue)) {
            break;
        }
        struct job *j = CONTAINER_OF(w->queue.next, struct job, link);
        list_remove(&j->link);
        w->queued--;
        w->running++;
        pthread_mutex_unlock(&w->lock);
        j->fn(j->arg);
        mem_free(j);
        pthread_mutex_lock(&w->lock);
        w->running--;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_new(const char *name, unsigned threads, size_t queue) {
    struct workers *w = MEM_NEW(struct workers);
    snprintf(w->name, sizeof w->name, "%s", name);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    list_init(&w->queue);
    w->queue_max = queue;
    w->max_threads = threads;
    w->threads = mem_alloc(threads * sizeof *w->threads);
    return w;
}

void workers_free(struct workers *w) {
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n_threads; i++) {
        pthread_join(w->threads[i], NULL);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    mem_free(w->threads);
    mem_free(w);
}

bool workers_run(struct workers *w, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&w->lock);
    bool ok = w->queued < w->queue_max && !w->stop;
    if (ok && w->idle <= w->queued && w->n_threads < w->max_threads) {
        /* Not being able to make another thread is no failure while there is one. */
        w->n_threads += pthread_create(&w->threads[w->n_threads], NULL, worker_main, w) == 0;
    }
    ok = ok && w->n_threads > 0;
    if (ok) {
        struct job *j = MEM_NEW(struct job);
        *j = (struct job){.fn = fn, .arg = arg};
        list_append(&w->queue, &j->link);
        w->queued++;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return ok;
}

size_t workers_waiting(struct workers *w) {
    pthread_mutex_lock(&w->lock);
    size_t n = w->queued > w->idle ? w->queued - w->idle : 0;
    pthread_mutex_unlock(&w->lock);
    return n;
}

size_t workers_busy(struct workers *w) {
    pthread_mutex_lock(&w->lock);
    size_t n = w->queued + w->running;
    pthread_mutex_unlock(&w->lock);
    return n;
}
