// SPDX-License-Identifier: Apache-2.0
/*
 * Where log lines go: standard error, a file that is rotated, syslog servers. Nothing here waits:
 * what a server does not take at once is left out and counted, and said when it goes again.
 */
#ifndef BASE_LOGGER_OUT_H
#define BASE_LOGGER_OUT_H

#include <stddef.h>

#include "base/ip.h"
#include "base/logger.h"

enum {
    LOGGER_SYSLOG_MAX = 4,
    LOGGER_FILES_MAX = 100,
    LOGGER_SYSLOG_PORT = 514,
};

enum logger_format {
    LOGGER_TEXT,    /* 2026-11-27T16:52:10Z INFO pools: text */
    LOGGER_JSON,    /* {"time":"...","level":"info","module":"pools","message":"text"} */
    LOGGER_JOURNAL, /* <6>pools: text, as systemd's journal takes priorities (sd-daemon(3)) */
    LOGGER_OFF
};

struct logger_syslog {
    bool local; /* /dev/log, as datagrams */
    struct ip_addr addr;
    uint16_t port;
    bool tcp;          /* with the length before each (RFC 6587 3.4.1), otherwise UDP (RFC 5426) */
    unsigned facility; /* 0..23 (RFC 5424 table 1) */
    enum logger_level level; /* only these and graver ones */
};

struct logger_outputs {
    enum logger_format console;
    const char *file; /* NULL: none */
    enum logger_format file_format;
    uint64_t file_bytes; /* then another one is begun */
    unsigned files_kept; /* besides the one that is written, 0..LOGGER_FILES_MAX */
    struct logger_syslog syslog[LOGGER_SYSLOG_MAX];
    size_t n_syslog;
};

/* From now on; everything is copied. What can't be opened is tried again while lines come. */
void logger_set_outputs(const struct logger_outputs *o);
/* The file is opened anew: somebody else has moved it. */
void logger_reopen(void);
/* Called with the name of each file that is full, from the thread that logs: it must not take long,
 * nor log. NULL: nobody. */
void logger_on_rotate(void (*fn)(const char *path));
/* One line to all of them. The logger's own lock is held, or the caller sees to it that one thread
 * at a time is here. */
void logger_out(enum logger_level level, const char *module, const char *line);

struct logger_counts {
    uint64_t written;        /* to the file */
    uint64_t not_written;    /* it could not be */
    uint64_t sent, not_sent; /* to syslog */
    uint64_t rotated;
};
void logger_counts(struct logger_counts *out);

#endif
