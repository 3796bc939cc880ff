// SPDX-License-Identifier: Apache-2.0
/* weft-bng: the wiring, and the small client that asks a running agent. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/notify.h"
#include "base/text.h"
#include "bng/state.h"
#include "bng/status.h"

LOGGER_MODULE(bng)

#define DEFAULT_SOCKET "/run/weft-bng/status.sock" /* as in weft-bng.example.json */

enum { STATUS_CONNS_MAX = 128, TIDY_MS = 60000, REPORT_WAIT_MS = 10000 };

struct agent {
    struct loop *loop;
    struct bng_config config;
    struct state *state;
    struct bng_engine *engine;
    struct session *session;
    struct dhcp *dhcp, *dhcp6; /* NULL: no profile needs it */
    struct frr *frr;
    struct http_server *http;
    struct loop_timer *tick, *tidy, *alive;
    struct loop_signal *term, *interrupt, *hup;
    struct loop_deferred poked;
    struct status_view view;
};

/* ---------------------------------------------------------------- wiring */

static void tick(void *arg) {
    struct agent *a = arg;
    int64_t next = bng_engine_tick(a->engine);
    loop_timer_start(a->tick, next / NS_PER_MS + 1);
}

/* Something was told to the engine: it looks at it at the end of this turn. */
static void poke(void *arg) {
    struct agent *a = arg;
    loop_defer(a->loop, &a->poked);
}

static void host_send(void *arg, const uint8_t *p, size_t n) {
    session_send(((struct agent *)arg)->session, p, n);
}
static void host_end(void *arg, const char *why) {
    session_end(((struct agent *)arg)->session, why);
}
static void host_save(void *arg, const char *key, json_t *doc) {
    state_put(((struct agent *)arg)->state, key, doc);
}
static bool host_commit(void *arg) {
    return state_commit(((struct agent *)arg)->state);
}
static void host_changed(void *arg, bool urgent) {
    struct agent *a = arg;
    if (a->frr != NULL) { /* not during the start */
        for (int i = 0; i < 2; i++) {
            struct dhcp *d = i == 0 ? a->dhcp : a->dhcp6;
            if (d != NULL) {
                dhcp_changed(d, urgent);
            }
        }
        frr_changed(a->frr);
        poke(a);
    }
}

static void host_manager(void *arg, const char *node) {
    session_is_with(((struct agent *)arg)->session, node);
}
static void host_move(void *arg, const char *node) {
    session_move(((struct agent *)arg)->session, node);
}

static void stop(void *arg) {
    loop_stop(((struct agent *)arg)->loop);
}

static void reload(void *arg) {
    struct agent *a = arg;
    session_reload(a->session);
    dhcp_reload(a->dhcp);
    dhcp_reload(a->dhcp6);
}

static void tidy(void *arg) {
    state_tidy(((struct agent *)arg)->state);
}

static void alive(void *arg) {
    (void)arg;
    notify_manager("WATCHDOG=1");
}

static enum err_code listen_http(struct agent *a, struct err *err) {
    struct http_limits lim = http_limits_default;
    lim.max_conns =
        STATUS_CONNS_MAX; /* vtysh, Kea's socket and the state need descriptors as well */
    http_limits_fit(&lim);
    a->http = http_server_new(a->loop, &lim, status_http, &a->view);
    ERR_TRY(http_listen_unix(a->http, a->config.socket, 0660, 0, err));
    if (a->config.listen.family != 0) {
        ERR_TRY(
            http_listen_tcp(a->http, &a->config.listen, a->config.listen_port, NULL, 0, NULL, err));
    }
    return ERR_OK;
}

static enum err_code start(struct agent *a, struct err *err) {
    struct bng_host host = {.send = host_send,
                            .end_session = host_end,
                            .save = host_save,
                            .commit = host_commit,
                            .changed = host_changed,
                            .manager = host_manager,
                            .move = host_move,
                            .arg = a};
    ERR_TRY(state_open(a->config.state, &a->state, err));
    a->engine = bng_engine_new(&clock_real, &a->config.settings, &host);
    ERR_TRY(state_load(a->state, a->engine, err));
    ERR_TRY(bng_engine_start(a->engine, err));
    ERR_TRY(session_new(a->loop, &a->config, poke, a, &a->session, err));
    a->poked = (struct loop_deferred){.fn = tick, .arg = a};
    a->tick = loop_timer_new(a->loop, tick, a);
    a->tidy = loop_timer_new(a->loop, tidy, a);
    loop_timer_repeat(a->tidy, TIDY_MS);
    a->term = loop_signal_new(a->loop, SIGTERM, stop, a);
    a->interrupt = loop_signal_new(a->loop, SIGINT, stop, a);
    a->hup = loop_signal_new(a->loop, SIGHUP, reload, a);
    if (a->config.kea.used) {
        ERR_TRY(dhcp_new(a->loop, &a->config, 4, a->engine, poke, a, &a->dhcp, err));
    }
    if (a->config.kea6.used) {
        ERR_TRY(dhcp_new(a->loop, &a->config, 6, a->engine, poke, a, &a->dhcp6, err));
    }
    a->frr = frr_new(a->loop, &a->config, a->engine, poke, a);
    a->view = (struct status_view){.loop = a->loop,
                                   .c = &a->config,
                                   .e = a->engine,
                                   .dhcp = a->dhcp,
                                   .dhcp6 = a->dhcp6,
                                   .frr = a->frr,
                                   .session = a->session,
                                   .started_s = clock_wall_s(&clock_real)};
    ERR_TRY(listen_http(a, err));
    session_start(a->session, a->engine);
    poke(a);
    return ERR_OK;
}

static int run(const char *file) {
    static struct agent a; /* callbacks point into it until the process is gone */
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    enum err_code rc = bng_config_load(file, &a.config, &err);
    if (rc == ERR_OK) {
        a.loop = loop_new("bng");
        rc = start(&a, &err);
    }
    if (rc != ERR_OK) {
        fprintf(stderr, "weft-bng: %s: %s\n", err.path, err.text);
        return 1;
    }
    L_INFO("%s is up: %zu domains, state in %s", bng_engine_system_id(a.engine),
           bng_engine_domains(a.engine), a.config.state);
    notify_manager("READY=1");
    if (notify_watchdog_ms() > 0) {
        a.alive = loop_timer_new(a.loop, alive, &a);
        loop_timer_repeat(a.alive, notify_watchdog_ms());
    }
    loop_run(a.loop);
    notify_manager("STOPPING=1");
    /* The process ends here: what must last is in the state, Kea and FRR go on as they are. */
    L_INFO("ends");
    http_server_free(a.http);
    state_close(a.state);
    exit(0);
}

/* ---------------------------------------------------------------- adoption report */

/* Looks at Kea only: no session, no changes, no state. */
static void quiet_changed(void *arg, bool urgent) {
}
static void quiet_send(void *arg, const uint8_t *p, size_t n) {
}
static void quiet_end(void *arg, const char *why) {
}
static void quiet_save(void *arg, const char *key, json_t *doc) {
    json_decref(doc);
}
static bool quiet_commit(void *arg) {
    return true;
}

static int run_report(const char *file) {
    struct agent a = {0};
    struct err err;
    struct bng_host host = {.send = quiet_send,
                            .end_session = quiet_end,
                            .save = quiet_save,
                            .commit = quiet_commit,
                            .changed = quiet_changed};
    if (bng_config_load(file, &a.config, &err) != ERR_OK) {
        fprintf(stderr, "weft-bng: %s: %s\n", err.path, err.text);
        return 1;
    }
    if (!a.config.kea.used) {
        fprintf(stderr, "weft-bng: %s: there is no kea, and of IPv6 nothing is adopted\n", file);
        bng_config_free(&a.config);
        return 1;
    }
    a.config.kea.adopt = BNG_ADOPT_REPORT;
    a.loop = loop_new("bng");
    a.engine = bng_engine_new(&clock_real, &a.config.settings, &host);
    if (dhcp_new(a.loop, &a.config, 4, a.engine, stop, &a, &a.dhcp, &err) != ERR_OK) {
        fprintf(stderr, "weft-bng: %s: %s\n", err.path, err.text);
        return 1;
    }
    dhcp_report(a.dhcp);
    a.tick = loop_timer_new(a.loop, stop, &a);
    loop_timer_start(a.tick, REPORT_WAIT_MS);
    loop_run(a.loop);
    struct buf out = BUF_INIT;
    a.view = (struct status_view){.c = &a.config, .e = a.engine, .dhcp = a.dhcp};
    status_adoption(&a.view, &out);
    fputs(buf_cstr(&out), stdout);
    buf_free(&out);
    int rc = dhcp_up(a.dhcp) ? 0 : 1;
    loop_timer_free(a.tick);
    dhcp_free(a.dhcp);
    bng_engine_free(a.engine);
    loop_free(a.loop);
    bng_config_free(&a.config);
    return rc;
}

/* ---------------------------------------------------------------- asking a running agent */

static int ask(const char *socket_path, const char *path) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct buf in = BUF_INIT, req = BUF_INIT;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", socket_path);
    if (strlen(socket_path) >= sizeof un.sun_path ||
        connect(fd, (struct sockaddr *)&un, sizeof un) != 0) {
        fprintf(stderr, "weft-bng: %s: no agent answers there: %s\n", socket_path, strerror(errno));
        return 2;
    }
    buf_printf(&req, "GET %s HTTP/1.1\r\nHost: weft-bng\r\nConnection: close\r\n\r\n", path);
    ssize_t n = write(fd, req.data, req.len);
    while (n > 0) {
        n = read(fd, buf_extend(&in, 65536), 65536);
        in.len -= 65536 - (n > 0 ? (size_t)n : 0);
    }
    close(fd);
    const char *text = buf_cstr(&in), *body = strstr(text, "\r\n\r\n");
    int status = 0;
    if (sscanf(text, "HTTP/1.%*d %d", &status) != 1 || body == NULL) {
        fprintf(stderr, "weft-bng: %s: the agent gave no answer\n", socket_path);
        return 2;
    }
    fputs(body + 4, stdout);
    buf_free(&in);
    buf_free(&req);
    return status == 200 ? 0 : 1;
}

static int usage(int rc) {
    fprintf(rc == 0 ? stdout : stderr,
            "usage: weft-bng -c FILE                run the agent\n"
            "       weft-bng -c FILE --check        check the configuration\n"
            "       weft-bng -c FILE --report       list the subnets of Kea that could be adopted\n"
            "       weft-bng status|domains|alarms|adoption|metrics|json\n"
            "       weft-bng domain NAME            ask a running agent\n"
            "options: -l LEVEL   error, warn, info or debug\n"
            "         -s SOCKET  of the agent to ask (" DEFAULT_SOCKET ")\n"
            "         --version  --help\n");
    return rc;
}

static int client(int argc, char **argv, const char *sock) {
    static const char *const words[] = {"status", "domains", "alarms", "adoption", "metrics"};
    struct buf path = BUF_INIT;
    if (argc == 2 && strcmp(argv[0], "domain") == 0) {
        buf_str(&path, "/domain?name=");
        http_pct_encode(&path, argv[1]);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words && argc == 1; i++) {
        if (strcmp(argv[0], words[i]) == 0) {
            buf_printf(&path, "/%s", words[i]);
        }
    }
    if (argc == 1 && strcmp(argv[0], "json") == 0) {
        buf_str(&path, "/state.json");
    }
    int rc = path.len > 0 ? ask(sock, buf_cstr(&path)) : usage(2);
    buf_free(&path);
    return rc;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"socket", required_argument, NULL, 's'},
                                            {"log-level", required_argument, NULL, 'l'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"report", no_argument, NULL, 'r'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *config = NULL, *sock = DEFAULT_SOCKET;
    bool check = false, rep = false;
    int o;
    while ((o = getopt_long(argc, argv, "c:s:l:h", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            config = optarg;
            break;
        case 's':
            sock = optarg;
            break;
        case 'l':
            if (!logger_set_level(NULL, optarg)) {
                fprintf(stderr, "weft-bng: no log level %s\n", optarg);
                return 2;
            }
            break;
        case 'k':
            check = true;
            break;
        case 'r':
            rep = true;
            break;
        case 'v':
            puts("weft-bng " WEFT_VERSION);
            return 0;
        default:
            return usage(o == 'h' ? 0 : 2);
        }
    }
    if (optind < argc) {
        return client(argc - optind, argv + optind, sock);
    }
    if (config == NULL) {
        return usage(2);
    }
    if (check) {
        struct bng_config c;
        struct err err;
        enum err_code rc = bng_config_load(config, &c, &err);
        if (rc != ERR_OK) {
            fprintf(stderr, "weft-bng: %s: %s\n", err.path, err.text);
        } else {
            printf("%s: %zu domain %s, %zu %s: fine\n", config, c.n_profiles,
                   text_plural(c.n_profiles, "profile", "profiles"), c.n_managers,
                   text_plural(c.n_managers, "manager", "managers"));
        }
        bng_config_free(&c);
        return rc == ERR_OK ? 0 : 1;
    }
    return rep ? run_report(config) : run(config);
}
