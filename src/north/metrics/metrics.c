// SPDX-License-Identifier: Apache-2.0
#include "north/metrics/metrics.h"
#include "net/pki.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "core/rights.h"

enum { SERVERS_MAX = 8, CERTIFICATES_MAX = 4 };

struct metrics {
    struct http_auth_config auth;
    struct workers *workers;
    struct {
        char label[32];
        const struct http_server *server;
    } servers[SERVERS_MAX];
    size_t n_servers;
    struct {
        char label[32], file[1100];
    } certificates[CERTIFICATES_MAX];
    size_t n_certificates;
    int64_t started_s;
    struct list asks;
    bool probing; /* a worker finds out whether we are ready */
};

/* One request that waits for its login or for a worker. */
struct ask {
    struct list link;
    struct metrics *m;
    struct http_req *http; /* NULL: closed */
    bool working, ready_only;
    struct http_auth_ticket *ticket;
    struct http_counters counters[SERVERS_MAX]; /* copied on the loop */
    struct buf out;
    int status;
};

struct metrics *metrics_new(const struct http_auth_config *auth, struct workers *workers) {
    struct metrics *m = MEM_NEW(struct metrics);
    m->auth = *auth;
    m->workers = workers;
    m->started_s = clock_wall_s(&clock_real);
    list_init(&m->asks);
    return m;
}

static void ask_free(struct ask *a) {
    list_remove(&a->link);
    buf_free(&a->out);
    mem_free(a);
}

void metrics_free(struct metrics *m) {
    if (m == NULL) {
        return;
    }
    LIST_FOREACH_SAFE (l, &m->asks) {
        ask_free(CONTAINER_OF(l, struct ask, link));
    }
    mem_free(m);
}

void metrics_add_server(struct metrics *m, const char *name, const struct http_server *s) {
    if (m->n_servers < SERVERS_MAX) {
        snprintf(m->servers[m->n_servers].label, sizeof m->servers[0].label, "%s", name);
        m->servers[m->n_servers++].server = s;
    }
}

void metrics_add_certificate(struct metrics *m, const char *name, const char *file) {
    if (m->n_certificates < CERTIFICATES_MAX) {
        snprintf(m->certificates[m->n_certificates].label, 32, "%s", name);
        snprintf(m->certificates[m->n_certificates++].file, 1100, "%s", file);
    }
}

bool metrics_mine(const struct http_req *r) {
    const char *p = http_path(r);
    return strcmp(p, "/metrics") == 0 || strcmp(p, "/healthz") == 0 || strcmp(p, "/readyz") == 0;
}

static void answer_text(struct http_req *r, int status, const char *text) {
    struct http_field f[] = {{"content-type", "text/plain; charset=utf-8"},
                             {"cache-control", "no-cache"},
                             {"www-authenticate", HTTP_AUTH_CHALLENGE}};
    http_respond_fields(r, status, f, status == 401 ? 3 : 2, text, strlen(text));
}

/* ---- the process ----------------------------------------------------------------------------- */

static unsigned open_files(void) {
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static unsigned long resident_pages(unsigned long *all) {
    unsigned long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    *all = 0;
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", all, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return resident;
}

static void one(struct buf *out, const char *name, const char *type, const char *help, double v) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, v);
}

static void add_process(const struct metrics *m, struct buf *out) {
    struct rusage ru;
    struct rlimit rl;
    unsigned long all, resident = resident_pages(&all);
    double page = (double)sysconf(_SC_PAGESIZE);
    getrusage(RUSAGE_SELF, &ru);
    getrlimit(RLIMIT_NOFILE, &rl);
    one(out, "process_cpu_seconds_total", "counter", "Processor time used, in seconds.",
        (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
            (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
    one(out, "process_resident_memory_bytes", "gauge", "Memory in use.", (double)resident * page);
    one(out, "process_virtual_memory_bytes", "gauge", "Address space in use.", (double)all * page);
    one(out, "process_open_fds", "gauge", "Open file descriptors.", open_files());
    one(out, "process_max_fds", "gauge", "File descriptors allowed.", (double)rl.rlim_cur);
    one(out, "process_start_time_seconds", "gauge", "When the process started, since 1970.",
        (double)m->started_s);
    buf_str(out, "# HELP weft_build_info The version that runs.\n# TYPE weft_build_info gauge\n"
                 "weft_build_info{version=\"" WEFT_VERSION "\"} 1\n");
}

/* The files are read: what is shown is what the next reload takes. */
static void add_certificates(const struct metrics *m, struct buf *out) {
    buf_str(out,
            "# HELP weft_certificate_expires_seconds Seconds until it ends; negative when it has.\n"
            "# TYPE weft_certificate_expires_seconds gauge\n");
    for (size_t i = 0; i < m->n_certificates; i++) {
        long long left;
        if (pki_expires_in(m->certificates[i].file, clock_wall_s(&clock_real), &left, NULL) ==
            ERR_OK) {
            buf_printf(out, "weft_certificate_expires_seconds{certificate=\"%s\"} %lld\n",
                       m->certificates[i].label, left);
        }
    }
}

static void add_loop(const struct metrics *m, struct buf *out) {
    const struct loop_counters *c = loop_counters(m->auth.loop);
    one(out, "weft_loop_callbacks_total", "counter", "Callbacks served by the loop.",
        (double)atomic_load(&c->callbacks));
    one(out, "weft_loop_slow_total", "counter", "Callbacks that held the loop for too long.",
        (double)atomic_load(&c->slow));
    one(out, "weft_loop_slowest_seconds", "gauge", "The longest callback so far.",
        (double)atomic_load(&c->slowest_ns) / 1e9);
}

static void add_http(const struct ask *a, struct buf *out) {
    const struct metrics *m = a->m;
#define X(name, help)                                                                              \
    do {                                                                                           \
        bool gauge = strncmp(#name, "open_", 5) == 0;                                              \
        const char *s = gauge ? "" : "_total";                                                     \
        buf_printf(out,                                                                            \
                   "# HELP weft_http_" #name "%s " help "\n# TYPE weft_http_" #name "%s %s\n", s,  \
                   s, gauge ? "gauge" : "counter");                                                \
        for (size_t i = 0; i < m->n_servers; i++) {                                                \
            buf_printf(out, "weft_http_" #name "%s{listener=\"%s\"} %" PRIu64 "\n", s,             \
                       m->servers[i].label, a->counters[i].name);                                  \
        }                                                                                          \
    } while (0);
    HTTP_COUNTERS(X)
#undef X
}

/* ---- requests -------------------------------------------------------------------------------- */

/* To all who wait for it: anybody may ask, and many together may not cost more than one. */
static void tell_ready(struct metrics *m, int status, const char *text) {
    m->probing = false;
    LIST_FOREACH_SAFE (l, &m->asks) {
        struct ask *a = CONTAINER_OF(l, struct ask, link);
        if (a->ready_only && a->http != NULL && !http_started(a->http)) {
            answer_text(a->http, status, text);
        }
    }
}

static void worked(void *arg) {
    struct ask *a = arg;
    struct http_field f[] = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"},
                             {"cache-control", "no-cache"}};
    if (a->ready_only) {
        tell_ready(a->m, a->status, buf_cstr(&a->out));
    } else if (a->http != NULL) {
        http_respond_fields(a->http, 200, f, 2, a->out.data, a->out.len);
    }
    a->working = false; /* not before: an answer may close it */
    if (a->http == NULL) {
        ask_free(a);
    }
}

static void work(void *arg) {
    struct ask *a = arg;
    struct core *c = a->m->auth.core;
    if (a->ready_only) {
        struct core_stats s;
        struct buf writer = BUF_INIT;
        core_metrics(c, &writer); /* comes back when the writer has looked at it */
        buf_free(&writer);
        core_stats(c, &s);
        struct core_turn t;
        core_turn(c, &t);
        bool stale = t.shared && (t.role == CORE_LOST || t.stale_ns >= CORE_STALE_S * NS_PER_S);
        a->status = s.writable && !stale ? 200 : 503;
        struct core_maintenance mt;
        if (stale) {
            buf_printf(&a->out, "%s; what is shown is %lld s old\n",
                       t.reached ? "this node starts over" : "the store is out of reach",
                       (long long)(t.stale_ns / NS_PER_S));
        } else if (t.role == CORE_FOLLOWS) {
            buf_printf(&a->out, "ready, follows %s\n", t.leader[0] ? t.leader : "nobody yet");
        } else if (s.writable && core_maintenance(c, &mt)) { /* it serves, and that is meant */
            char since[TIME_TEXT_MAX];
            buf_printf(&a->out, "ready, in maintenance since %s by %s: %s\n",
                       time_format(mt.since_s, 0, since), mt.user, mt.reason);
        } else if (s.writable) {
            buf_str(&a->out, "ready\n");
        } else {
            char since[TIME_TEXT_MAX];
            buf_printf(&a->out, "the store can't be written since %s: %s\n",
                       time_format(s.unwritable_since_s, 0, since), s.unwritable_why);
        }
    } else {
        core_metrics(c, &a->out);
        add_process(a->m, &a->out);
        add_certificates(a->m, &a->out);
        add_loop(a->m, &a->out);
        add_http(a, &a->out);
    }
    loop_post(a->m->auth.loop, worked, a);
}

static void begin(struct ask *a) {
    for (size_t i = 0; i < a->m->n_servers; i++) {
        a->counters[i] = *http_server_counters(a->m->servers[i].server);
    }
    if (a->ready_only && a->m->probing) {
        return; /* it will be told */
    }
    a->working = true;
    if (workers_run(a->m->workers, work, a)) {
        a->m->probing |= a->ready_only;
    } else {
        a->working = false;
        answer_text(a->http, 503, "too busy\n");
    }
}

static void authenticated(void *arg, const struct actor *who, const struct err *e) {
    struct ask *a = arg;
    a->ticket = NULL;
    if (e != NULL) {
        char text[ERR_TEXT_MAX + 2];
        snprintf(text, sizeof text, "%s\n", e->text);
        answer_text(a->http, err_code_http(e->code), text);
        return;
    }
    struct snap *s = core_snapshot(a->m->auth.core);
    bool may = rights_allow(s, who, RIGHT_READ, "/weft-system:system/state");
    snap_release(s);
    if (!may) {
        answer_text(a->http, 403, "no right to read /weft-system:system/state\n");
        return;
    }
    begin(a);
}

static void closed(struct http_req *r, bool aborted, void *arg) {
    struct ask *a = arg;
    (void)r;
    (void)aborted;
    http_auth_cancel(a->ticket);
    a->ticket = NULL;
    a->http = NULL;
    if (!a->working) {
        ask_free(a);
    }
}

static const struct http_req_ops ask_ops = {.closed = closed};

void metrics_handle(struct metrics *m, struct http_req *r) {
    const char *method = http_method(r), *path = http_path(r);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        struct http_field f[] = {{"allow", "GET, HEAD"}};
        http_respond_fields(r, 405, f, 1, NULL, 0);
        return;
    }
    if (strcmp(path, "/healthz") == 0) {
        answer_text(r, 200, "ok\n");
        return;
    }
    struct ask *a = MEM_NEW(struct ask);
    a->m = m;
    a->http = r;
    a->ready_only = strcmp(path, "/readyz") == 0;
    list_append(&m->asks, &a->link);
    http_req_set_ops(r, &ask_ops, a);
    if (a->ready_only) {
        begin(a);
    } else {
        a->ticket = http_auth(&m->auth, r, authenticated, a);
    }
}
