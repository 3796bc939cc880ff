// SPDX-License-Identifier: Apache-2.0
#include "base/logger.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger_out.h"
#include "base/text.h"

static struct logger_module *modules;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink_fn)(enum logger_level, const char *, const char *, void *);
static void *sink_arg;

static struct {    /* under sink_lock: lines that may still be written */
    unsigned rate; /* a second; 0: as many as come */
    int64_t since_ns, tokens_ns;
    uint64_t left_out;
} flood;

static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG"};

void logger_register(struct logger_module *m) {
    m->next = modules; /* constructors run before any thread */
    modules = m;
}

const struct logger_module *logger_modules(void) {
    return modules;
}

bool logger_set_level(const char *module, const char *level) {
    int lvl = -1;
    for (int i = 0; i < 4; i++) {
        if (strcasecmp(level, level_names[i]) == 0) {
            lvl = i;
        }
    }
    bool found = false;
    for (struct logger_module *m = modules; m != NULL && lvl >= 0; m = m->next) {
        if (module == NULL || strcmp(m->name, module) == 0) {
            atomic_store(&m->level, lvl);
            found = true;
        }
    }
    return found;
}

void logger_set_sink(void (*sink)(enum logger_level, const char *, const char *, void *),
                     void *arg) {
    pthread_mutex_lock(&sink_lock);
    sink_fn = sink;
    sink_arg = arg;
    pthread_mutex_unlock(&sink_lock);
}

/* A peer must not be able to write a second line or terminal sequences into the log. */
static void escape(const char *in, char *out, size_t size) {
    size_t n = 0;
    while (*in != '\0' && n + 5 < size) {
        size_t len = text_printable(in);
        if (len == 0) {
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned char)*in++);
        } else {
            memcpy(out + n, in, len);
            in += len;
            n += len;
        }
    }
    out[n] = '\0';
}

void logger_set_rate(unsigned lines_per_s) {
    pthread_mutex_lock(&sink_lock);
    flood.rate = lines_per_s;
    flood.since_ns = clock_mono(&clock_real);
    flood.tokens_ns = NS_PER_S;
    pthread_mutex_unlock(&sink_lock);
}

/* A second's worth may come at once. Errors go on for another one. */
static bool passes(enum logger_level level) {
    if (flood.rate == 0) {
        return true;
    }
    int64_t now = clock_mono(&clock_real), cost = NS_PER_S / flood.rate;
    flood.tokens_ns += now - flood.since_ns;
    flood.since_ns = now;
    if (flood.tokens_ns > NS_PER_S) {
        flood.tokens_ns = NS_PER_S;
    }
    if (flood.tokens_ns - cost < (level == LOGGER_ERROR ? -NS_PER_S : 0)) {
        flood.left_out++;
        return false;
    }
    flood.tokens_ns -= cost;
    return true;
}

static void emit(enum logger_level level, const char *module, const char *line) {
    if (sink_fn != NULL) {
        sink_fn(level, module, line, sink_arg);
    } else {
        logger_out(level, module, line);
    }
}

void logger_write(struct logger_module *m, enum logger_level level, const char *fmt, ...) {
    char raw[1536], line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    escape(raw, line, sizeof line);
    pthread_mutex_lock(&sink_lock);
    if (passes(level)) {
        if (flood.left_out > 0) {
            snprintf(raw, sizeof raw, "%llu lines were left out, as more than %u a second came",
                     (unsigned long long)flood.left_out, flood.rate);
            flood.left_out = 0;
            emit(LOGGER_WARN, "logger", raw);
        }
        emit(level, m->name, line);
    }
    pthread_mutex_unlock(&sink_lock);
}

bool logger_rate_pass(struct logger_rate *r, int64_t seconds, uint64_t *dropped) {
    int64_t now = clock_mono(&clock_real);
    int64_t next = atomic_load(&r->next_ns);
    if (now < next ||
        !atomic_compare_exchange_strong(&r->next_ns, &next, now + seconds * NS_PER_S)) {
        atomic_fetch_add(&r->dropped, 1);
        return false;
    }
    *dropped = atomic_exchange(&r->dropped, 0);
    return true;
}
