// SPDX-License-Identifier: Apache-2.0
#include "base/logger_out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    AGAIN_S = 5,        /* between two attempts to open what could not be opened */
    UNSENT_MAX = 65536, /* bytes that wait for a TCP server */
    PATH_SIZE = 1200,
    NAMES_MAX = 4096, /* files of a folder that are looked at */
};

struct destination {
    struct logger_syslog cfg;
    int fd; /* -1: closed */
    bool connecting;
    int64_t again_ns;
    struct buf unsent; /* TCP: what is left of frames */
    uint64_t left_out; /* since the last line that went */
};

static struct {
    pthread_mutex_t lock;
    enum logger_format console, file_format;
    char path[PATH_SIZE]; /* "": no file */
    uint64_t bytes, size;
    unsigned kept;
    int fd;
    bool told; /* of an error with the file */
    int64_t again_ns;
    struct destination dst[LOGGER_SYSLOG_MAX];
    size_t n_dst;
    void (*rotated)(const char *path);
    struct logger_counts counts;
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static const char *const upper[] = {"ERROR", "WARN", "INFO", "DEBUG"};
static const char *const lower[] = {"error", "warn", "info", "debug"};
static const unsigned severity[] = {3, 4, 6, 7}; /* RFC 5424 table 2 */

static void format_line(enum logger_format f, enum logger_level level, const char *module,
                        const char *line, struct buf *b) {
    char when[TIME_TEXT_MAX];
    time_format(clock_wall_s(&clock_real), 0, when);
    if (f == LOGGER_JOURNAL) {
        buf_printf(b, "<%u>%s: %s\n", severity[level], module, line);
    } else if (f == LOGGER_JSON) {
        buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"message\":", when,
                   lower[level], module);
        text_json(b, line);
        buf_str(b, "}\n");
    } else {
        buf_printf(b, "%s %s %s: %s\n", when, upper[level], module, line);
    }
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static void file_close(void) {
    if (out.fd >= 0) {
        close(out.fd);
        out.fd = -1;
    }
}

static bool file_open(void) {
    struct stat st;
    int64_t now = clock_mono(&clock_real);
    if (out.fd >= 0 || out.path[0] == '\0' || now < out.again_ns) {
        return out.fd >= 0;
    }
    out.fd = open(out.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out.fd < 0) {
        out.again_ns = now + AGAIN_S * NS_PER_S;
        if (!out.told) {
            fprintf(stderr, "<3>logger: %s can't be written: %s\n", out.path, strerror(errno));
        }
        out.told = true;
        return false;
    }
    out.size = fstat(out.fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Former files are called PATH.TIME-NUMBER, perhaps with .gz behind it: by name is by age. */
static void prune(void) {
    char folder[PATH_SIZE], path[PATH_SIZE + 260], *names[NAMES_MAX];
    size_t n = 0;
    snprintf(folder, sizeof folder, "%s", out.path);
    char *slash = strrchr(folder, '/');
    const char *base = slash != NULL ? out.path + (slash - folder) + 1 : out.path;
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    DIR *d = opendir(slash != NULL ? folder : ".");
    for (struct dirent *f = d ? readdir(d) : NULL; f != NULL && n < NAMES_MAX; f = readdir(d)) {
        size_t len = strlen(base);
        if (strncmp(f->d_name, base, len) == 0 && f->d_name[len] == '.' &&
            f->d_name[len + 1] >= '0' && f->d_name[len + 1] <= '9' &&
            strstr(f->d_name, ".new") == NULL) {
            names[n++] = mem_strdup(f->d_name);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    qsort(names, n, sizeof names[0], by_name);
    for (size_t i = 0; i < n; i++) {
        if (i + out.kept < n) {
            snprintf(path, sizeof path, "%s/%s", slash != NULL ? folder : ".", names[i]);
            unlink(path);
        }
        mem_free(names[i]);
    }
}

static void rotate(void) {
    char to[PATH_SIZE + 40], stamp[24];
    time_t now = (time_t)clock_wall_s(&clock_real);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    file_close();
    bool moved = false;
    for (unsigned i = 0; i < 1000 && !moved; i++) {
        snprintf(to, sizeof to, "%s.%s-%03u", out.path, stamp, i);
        char gz[PATH_SIZE + 48];
        snprintf(gz, sizeof gz, "%s.gz", to);
        moved = access(gz, F_OK) != 0 &&
                renameat2(AT_FDCWD, out.path, AT_FDCWD, to, RENAME_NOREPLACE) == 0;
        if (!moved && errno != EEXIST && access(gz, F_OK) != 0) {
            break; /* it goes on growing; the next line tries again */
        }
    }
    if (moved) {
        out.counts.rotated++;
        prune();
        if (out.rotated != NULL && out.kept > 0) {
            out.rotated(to);
        }
    }
    file_open();
}

static void to_file(const struct buf *b) {
    if (!file_open()) {
        out.counts.not_written += out.path[0] != '\0';
        return;
    }
    if (out.size > 0 && out.size + b->len > out.bytes) {
        rotate();
    }
    ssize_t n = out.fd >= 0 ? write(out.fd, b->data, b->len) : -1;
    if (n == (ssize_t)b->len) {
        out.size += b->len;
        out.counts.written++;
        out.told = false;
        return;
    }
    if (n > 0 && ftruncate(out.fd, (off_t)out.size) != 0) {
        out.size += (uint64_t)n; /* a piece of a line is left */
    }
    out.counts.not_written++;
    if (!out.told) {
        fprintf(stderr, "<3>logger: %s can't be written: %s\n", out.path, strerror(errno));
    }
    out.told = true;
}

/* ---- syslog ------------------------------------------------------------------------------------
 */

static void dst_close(struct destination *d) {
    if (d->fd >= 0) {
        close(d->fd);
    }
    d->fd = -1;
    d->connecting = false;
    buf_clear(&d->unsent);
    d->again_ns = clock_mono(&clock_real) + AGAIN_S * NS_PER_S;
}

static socklen_t address_of(const struct logger_syslog *c, struct sockaddr_storage *ss) {
    memset(ss, 0, sizeof *ss);
    if (c->local) {
        struct sockaddr_un *un = (struct sockaddr_un *)ss;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "/dev/log");
        return sizeof *un;
    }
    if (c->addr.family == 6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(c->port);
        memcpy(&in6->sin6_addr, c->addr.bytes, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ss;
    in->sin_family = AF_INET;
    in->sin_port = htons(c->port);
    memcpy(&in->sin_addr, c->addr.bytes, 4);
    return sizeof *in;
}

static bool dst_open(struct destination *d) {
    struct sockaddr_storage ss;
    if (d->fd >= 0) {
        return true;
    }
    if (clock_mono(&clock_real) < d->again_ns) {
        return false;
    }
    socklen_t len = address_of(&d->cfg, &ss);
    d->fd = socket(ss.ss_family,
                   (d->cfg.tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0 || (connect(d->fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS)) {
        dst_close(d);
        return false;
    }
    d->connecting = d->cfg.tcp;
    return true;
}

/* False: nothing of it went, and nothing will. */
static bool send_datagram(struct destination *d, const struct buf *msg) {
    if (send(d->fd, msg->data, msg->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        return true;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EMSGSIZE && errno != ENOBUFS &&
        errno != ECONNREFUSED) {
        dst_close(d);
    }
    return false;
}

static bool flush_unsent(struct destination *d) {
    while (d->unsent.len > 0) {
        ssize_t n = send(d->fd, d->unsent.data, d->unsent.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            bool later = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN ||
                         errno == EINPROGRESS;
            if (!later) {
                dst_close(d);
            }
            return later;
        }
        d->connecting = false;
        buf_consume(&d->unsent, (size_t)n);
    }
    return true;
}

static bool send_stream(struct destination *d, const struct buf *msg) {
    if (!flush_unsent(d) || d->unsent.len + msg->len + 16 > UNSENT_MAX) {
        return false;
    }
    buf_printf(&d->unsent, "%zu ", msg->len);
    buf_add(&d->unsent, msg->data, msg->len);
    return flush_unsent(d);
}

static void syslog_message(const struct destination *d, enum logger_level level, const char *module,
                           const char *line, struct buf *b) {
    char when[TIME_TEXT_MAX], host[256] = "-";
    int64_t now = clock_wall(&clock_real);
    time_format(now / NS_PER_S, 0, when);
    gethostname(host, sizeof host - 1);
    buf_printf(b, "<%u>1 %.19s.%06dZ %s weftd %d %.32s - %s", d->cfg.facility * 8 + severity[level],
               when, (int)(now % NS_PER_S / 1000), host, (int)getpid(), module, line);
}

static bool to_syslog(struct destination *d, enum logger_level level, const char *module,
                      const char *line) {
    struct buf b = BUF_INIT;
    syslog_message(d, level, module, line, &b);
    bool ok = dst_open(d) && (d->cfg.tcp ? send_stream(d, &b) : send_datagram(d, &b));
    buf_free(&b);
    return ok;
}

static void to_destination(struct destination *d, enum logger_level level, const char *module,
                           const char *line) {
    if (level > d->cfg.level) {
        return;
    }
    if (d->left_out > 0) {
        char text[80];
        snprintf(text, sizeof text, "%llu lines before this one were not sent here",
                 (unsigned long long)d->left_out);
        if (to_syslog(d, LOGGER_WARN, "logger", text)) {
            d->left_out = 0;
        }
    }
    if (d->left_out == 0 && to_syslog(d, level, module, line)) {
        out.counts.sent++;
    } else {
        d->left_out++;
        out.counts.not_sent++;
    }
}

/* ---- all of them -------------------------------------------------------------------------------
 */

void logger_out(enum logger_level level, const char *module, const char *line) {
    pthread_mutex_lock(&out.lock);
    struct buf b = BUF_INIT;
    if (out.console != LOGGER_OFF) {
        format_line(out.console, level, module, line, &b);
        fwrite(b.data, 1, b.len, stderr);
    }
    if (out.path[0] != '\0') {
        if (out.console != out.file_format) {
            buf_clear(&b);
            format_line(out.file_format, level, module, line, &b);
        }
        to_file(&b);
    }
    buf_free(&b);
    for (size_t i = 0; i < out.n_dst; i++) {
        to_destination(&out.dst[i], level, module, line);
    }
    pthread_mutex_unlock(&out.lock);
}

void logger_set_outputs(const struct logger_outputs *o) {
    pthread_mutex_lock(&out.lock);
    out.console = o->console;
    out.file_format = o->file_format;
    out.bytes = o->file_bytes;
    out.kept = o->files_kept;
    if (strcmp(out.path, o->file != NULL ? o->file : "") != 0) {
        file_close();
        out.again_ns = 0;
        out.told = false;
        snprintf(out.path, sizeof out.path, "%s", o->file != NULL ? o->file : "");
    }
    for (size_t i = 0; i < out.n_dst; i++) {
        dst_close(&out.dst[i]);
        buf_free(&out.dst[i].unsent);
    }
    out.n_dst = o->n_syslog;
    for (size_t i = 0; i < o->n_syslog; i++) {
        out.dst[i] = (struct destination){.cfg = o->syslog[i], .fd = -1};
    }
    pthread_mutex_unlock(&out.lock);
}

void logger_reopen(void) {
    pthread_mutex_lock(&out.lock);
    file_close();
    out.again_ns = 0;
    pthread_mutex_unlock(&out.lock);
}

void logger_on_rotate(void (*fn)(const char *path)) {
    pthread_mutex_lock(&out.lock);
    out.rotated = fn;
    pthread_mutex_unlock(&out.lock);
}

void logger_counts(struct logger_counts *c) {
    pthread_mutex_lock(&out.lock);
    *c = out.counts;
    pthread_mutex_unlock(&out.lock);
}
