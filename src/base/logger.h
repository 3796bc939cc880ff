// SPDX-License-Identifier: Apache-2.0
/*
 * The one logger. A file names its module once with LOGGER_MODULE(pools) and then writes
 * L_INFO("entity %s is reachable", id). Levels are set per module at run time. Lines go where
 * base/logger_out.h is told, at first to standard error: "2026-01-02T03:04:05Z INFO pools: text";
 * control characters in what peers sent are
 * escaped. L_*_RL(seconds, ...) logs at most once in that many seconds at that place and counts the
 * rest. Secrets never go in; there is no way to mark them, so don't pass them.
 */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum logger_level { LOGGER_ERROR, LOGGER_WARN, LOGGER_INFO, LOGGER_DEBUG };

struct logger_module {
    const char *name;
    _Atomic int level;
    struct logger_module *next;
};

void logger_register(struct logger_module *m);
/* `module` NULL: all of them. False when no such module or level exists. */
bool logger_set_level(const char *module, const char *level);
const struct logger_module *logger_modules(void);
/* Receives every line that passes its level instead of standard error (NULL: back to it). */
void logger_set_sink(void (*sink)(enum logger_level level, const char *module, const char *line,
                                  void *arg),
                     void *arg);
/* No more lines than so many a second, of all modules together; 0: as many as come, as at first.
 * What is left out is counted, and said when lines pass again. */
void logger_set_rate(unsigned lines_per_s);
void logger_write(struct logger_module *m, enum logger_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct logger_rate {
    _Atomic int64_t next_ns;
    _Atomic uint64_t dropped;
};
bool logger_rate_pass(struct logger_rate *r, int64_t seconds, uint64_t *dropped);

#define LOGGER_MODULE(ident)                                                                       \
    static struct logger_module logger_this = {.name = #ident, .level = LOGGER_INFO};              \
    static void __attribute__((constructor)) logger_register_this(void) {                          \
        logger_register(&logger_this);                                                             \
    }

#define L_AT(lvl, ...)                                                                             \
    do {                                                                                           \
        if (atomic_load_explicit(&logger_this.level, memory_order_relaxed) >= (int)(lvl)) {        \
            logger_write(&logger_this, (lvl), __VA_ARGS__);                                        \
        }                                                                                          \
    } while (0)

#define L_ERR(...)  L_AT(LOGGER_ERROR, __VA_ARGS__)
#define L_WARN(...) L_AT(LOGGER_WARN, __VA_ARGS__)
#define L_INFO(...) L_AT(LOGGER_INFO, __VA_ARGS__)
#define L_DBG(...)  L_AT(LOGGER_DEBUG, __VA_ARGS__)

#define L_WARN_RL(seconds, fmt, ...)                                                               \
    do {                                                                                           \
        static struct logger_rate rate_;                                                           \
        uint64_t dropped_;                                                                         \
        if (logger_rate_pass(&rate_, (seconds), &dropped_)) {                                      \
            if (dropped_ > 0) {                                                                    \
                L_WARN(fmt " (and %llu more like it)", __VA_ARGS__, (unsigned long long)dropped_); \
            } else {                                                                               \
                L_WARN(fmt, __VA_ARGS__);                                                          \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#endif
