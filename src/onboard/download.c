// SPDX-License-Identifier: Apache-2.0
/* Files from disk, in pieces, as fast as the device takes them (PH-208). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "onboard/server_int.h"

LOGGER_MODULE(onboard_download);

enum { PIECE = 1 << 16, RANGE_MAX_BYTES = 128 };

struct download {
    int fd;
    uint64_t at, end;
    uint8_t piece[PIECE];
};

/* Until the queue is full; `drained` goes on. */
static void go_on(struct http_req *r, struct download *d) {
    while (d->at < d->end) {
        size_t want = d->end - d->at < PIECE ? (size_t)(d->end - d->at) : PIECE;
        ssize_t n = pread(d->fd, d->piece, want, (off_t)d->at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) { /* it was cut while we sent it */
            L_WARN_RL(60, "%s became shorter while it was sent", http_path(r));
            http_abort(r, 2);
            return;
        }
        d->at += (uint64_t)n;
        if (http_write(r, d->piece, (size_t)n) > http_queue_high(r) && d->at < d->end) {
            return;
        }
    }
    http_end(r);
}

static void drained(struct http_req *r, void *arg) {
    struct download *d = arg;
    if (d->at < d->end) {
        go_on(r, d);
    }
}

static void closed(struct http_req *r, bool aborted, void *arg) {
    struct download *d = arg;
    (void)r;
    (void)aborted;
    close(d->fd);
    mem_free(d);
}

static const struct http_req_ops ops = {.drained = drained, .closed = closed};

static bool number(const char **p, uint64_t *out) {
    char *end;
    if (**p < '0' || **p > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(*p, &end, 10);
    *p = end;
    return errno == 0;
}

enum range { RANGE_ALL, RANGE_PART, RANGE_NONE };

/* One range of bytes; several, or what is none, means all (RFC 9110 section 14.2). */
static enum range parse_range(const char *text, uint64_t size, uint64_t *from, uint64_t *to) {
    uint64_t first, last = 0;
    const char *p = text;
    if (p == NULL || strlen(p) > RANGE_MAX_BYTES || strncmp(p, "bytes=", 6) != 0) {
        return RANGE_ALL;
    }
    p += 6;
    if (*p == '-') { /* the last so many */
        p++;
        if (!number(&p, &last) || *p != '\0') {
            return RANGE_ALL;
        }
        if (last == 0 || size == 0) {
            return RANGE_NONE;
        }
        *from = last < size ? size - last : 0;
        *to = size;
        return RANGE_PART;
    }
    if (!number(&p, &first) || *p++ != '-') {
        return RANGE_ALL;
    }
    if (*p == '\0') {
        last = size > 0 ? size - 1 : 0;
    } else if (!number(&p, &last) || *p != '\0' || last < first) {
        return RANGE_ALL;
    }
    if (first >= size) {
        return RANGE_NONE;
    }
    *from = first;
    *to = last < size - 1 ? last + 1 : size;
    return RANGE_PART;
}

static void no_file(struct http_req *r) {
    static const char text[] = "There is no such file here.\n";
    http_respond(r, 404, "text/plain", text, sizeof text - 1);
}

static bool holds(const char *list, const char *etag) {
    return list != NULL && (strcmp(list, "*") == 0 || strstr(list, etag) != NULL);
}

void download_begin(struct http_req *r, const char *name) {
    struct err e;
    struct stat st;
    int fd;
    uint64_t size;
    if (files_open(name, &fd, &size, &e) != ERR_OK) {
        no_file(r);
        return;
    }
    if (fstat(fd, &st) != 0) {
        close(fd);
        no_file(r);
        return;
    }
    char etag[96], modified[64], length[96];
    struct tm tm;
    snprintf(etag, sizeof etag, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "%08lx\"", (uint64_t)st.st_ino,
             size, (uint64_t)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec);
    gmtime_r(&st.st_mtim.tv_sec, &tm);
    strftime(modified, sizeof modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    struct http_field f[6] = {
        {"etag", etag}, {"last-modified", modified}, {"accept-ranges", "bytes"}};
    if (holds(http_header(r, "if-none-match"), etag)) {
        close(fd);
        http_respond_fields(r, 304, f, 3, NULL, 0);
        return;
    }
    const char *if_range = http_header(r, "if-range");
    bool whole = if_range != NULL && strcmp(if_range, etag) != 0 && strcmp(if_range, modified) != 0;
    uint64_t from = 0, to = size;
    enum range range = whole ? RANGE_ALL : parse_range(http_header(r, "range"), size, &from, &to);
    if (range == RANGE_NONE) {
        close(fd);
        snprintf(length, sizeof length, "bytes */%" PRIu64, size);
        f[3] = (struct http_field){"content-range", length};
        http_respond_fields(r, 416, f, 4, NULL, 0);
        return;
    }
    size_t n = 3;
    f[n++] = (struct http_field){"content-type", "application/octet-stream"};
    if (range == RANGE_PART) {
        snprintf(length, sizeof length, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, to - 1,
                 size);
        f[n++] = (struct http_field){"content-range", length};
    }
    struct download *d = MEM_NEW(struct download);
    d->fd = fd;
    d->at = from;
    d->end = strcmp(http_method(r), "HEAD") == 0 ? from : to;
    http_req_set_ops(r, &ops, d);
    http_start(r, range == RANGE_PART ? 206 : 200, f, n, (int64_t)(to - from));
    go_on(r, d);
}
