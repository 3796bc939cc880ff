// SPDX-License-Identifier: Apache-2.0
/* weft-phone-home: the wiring, and the small client that asks a running one. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/logger.h"
#include "base/logger_out.h"
#include "base/mem.h"
#include "base/notify.h"
#include "net/http.h"
#include "phone-home/driver.h"
#include "phone-home/renew.h"

LOGGER_MODULE(main)

#define DEFAULT_CONFIG "/etc/weft-phone-home/weft-phone-home.json"

enum { STATUS_CONNS_MAX = 16, SYSLOG_DAEMON = 3 };

struct client {
    struct loop *loop;
    struct phone_home_config config;
    struct driver *driver;
    struct http_server *http;
    struct loop_signal *term, *interrupt;
    struct loop_timer *alive;
    bool once, success, stopping;
};

/* ---------------------------------------------------------------- running */

static void over(void *arg, bool success) {
    struct client *m = arg;
    m->success = success;
    if (m->once || m->stopping) {
        loop_stop(m->loop);
    }
}

static void stop(void *arg) {
    struct client *m = arg;
    /* What is temporary stays recorded, and the next life takes it away or goes on from it. */
    m->stopping = true;
    loop_stop(m->loop);
}

static void alive(void *arg) {
    notify_manager("WATCHDOG=1");
}

static void on_http(struct http_req *r, void *arg) {
    struct client *m = arg;
    const char *path = http_path(r), *type = "application/json";
    bool post = strcmp(http_method(r), "POST") == 0;
    struct buf out = BUF_INIT;
    int code = 200;
    if (strcmp(path, "/status") == 0 && !post) {
        driver_status(m->driver, &out);
    } else if (strcmp(path, "/stop") == 0 && post) {
        driver_stop(m->driver);
        buf_str(&out, "stopped\n");
    } else if (strcmp(path, "/wake") == 0 && post) {
        driver_wake(m->driver);
        buf_str(&out, "looks again\n");
    } else if (strcmp(path, "/zeroize") == 0 && post) {
        driver_zeroize(m->driver);
        buf_str(&out, "the device goes back to factory default\n");
    } else {
        code = 404;
        type = "text/plain";
        buf_str(&out, "There is GET /status, POST /stop, POST /wake and POST /zeroize\n");
    }
    http_respond(r, code, type, buf_cstr(&out), out.len);
    buf_free(&out);
}

static enum err_code serve(struct client *m, struct err *e) {
    struct http_limits lim = http_limits_default;
    if (m->config.socket[0] == '\0') {
        return ERR_OK;
    }
    char folder[CONFIG_SOCKET_MAX + 1];
    snprintf(folder, sizeof folder, "%s", m->config.socket);
    *strrchr(folder, '/') = '\0'; /* the path is absolute */
    if (folder[0] != '\0') {
        ERR_TRY(file_make_folder(folder, 0755, e));
    }
    lim.max_conns = STATUS_CONNS_MAX;
    http_limits_fit(&lim);
    m->http = http_server_new(m->loop, &lim, on_http, m);
    return http_listen_unix(m->http, m->config.socket, 0600, 0, e);
}

static int fail(const struct err *e) {
    fprintf(stderr, "weft-phone-home: %s%s%s\n", e->path, e->path[0] != '\0' ? ": " : "", e->text);
    return 1;
}

static int run(const char *file, bool once) {
    static struct client m; /* callbacks point into it until the process is gone */
    struct err e;
    signal(SIGPIPE, SIG_IGN);
    if (phone_home_config_load(file, &m.config, &e) != ERR_OK) {
        return fail(&e);
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    m.once = m.config.engine.once = once;
    m.loop = loop_new("phone-home");
    struct driver_config d = {.c = &m.config, .once = once, .over = over, .arg = &m};
    m.term = loop_signal_new(m.loop, SIGTERM, stop, &m);
    m.interrupt = loop_signal_new(m.loop, SIGINT, stop, &m);
    if (driver_new(m.loop, &d, &m.driver, &e) != ERR_OK || serve(&m, &e) != ERR_OK) {
        return fail(&e);
    }
    notify_manager("READY=1");
    if (notify_watchdog_ms() > 0) {
        m.alive = loop_timer_new(m.loop, alive, &m);
        loop_timer_repeat(m.alive, notify_watchdog_ms());
    }
    loop_run(m.loop);
    notify_manager("STOPPING=1");
    http_server_free(m.http);
    driver_free(m.driver);
    exit(m.success || !once ? 0 : 1);
}

/* ---------------------------------------------------------------- asking a running one */

/* The body of the answer; NULL: nobody answers (said when `loud`). */
static char *ask(const char *socket_path, const char *method, const char *path, bool loud) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct buf in = BUF_INIT, req = BUF_INIT;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", socket_path);
    if (fd < 0 || socket_path[0] == '\0' || connect(fd, (struct sockaddr *)&un, sizeof un) != 0) {
        if (loud) {
            fprintf(stderr, "weft-phone-home: %s: none that runs answers there: %s\n", socket_path,
                    strerror(errno));
        }
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    buf_printf(&req,
               "%s %s HTTP/1.1\r\nHost: weft-phone-home\r\nContent-Length: 0\r\n"
               "Connection: close\r\n\r\n",
               method, path);
    ssize_t n = write(fd, req.data, req.len);
    while (n > 0) {
        n = read(fd, buf_extend(&in, 65536), 65536);
        in.len -= 65536 - (n > 0 ? (size_t)n : 0);
    }
    close(fd);
    buf_free(&req);
    const char *body = strstr(buf_cstr(&in), "\r\n\r\n");
    char *out = body != NULL ? mem_strdup(body + 4) : NULL;
    buf_free(&in);
    return out;
}

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

static void show_members(const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        const char *key;
        json_t *v;
        printf("member        ");
        json_object_foreach((json_t *)(uintptr_t)m, key, v) {
            if (json_is_string(v)) {
                printf(" %s %s", key, json_string_value(v));
            } else if (json_is_integer(v)) {
                printf(" %s %lld", key, (long long)json_integer_value(v));
            } else if (json_is_boolean(v)) {
                printf(" %s %s", key, json_is_true(v) ? "yes" : "no");
            }
        }
        printf("\n");
    }
}

static void show(const char *text) {
    json_t *o = json_loads(text, 0, NULL);
    bool on = json_is_true(json_object_get(o, "enabled"));
    printf("bootstrapping  %s\n", on ? "on" : "off");
    printf("serial number  %s\nversion        %s\nplatform       %s\n", text_of(o, "serial-number"),
           text_of(o, "os-version"), text_of(o, "platform"));
    if (json_is_true(json_object_get(o, "left-to-legacy-provisioning"))) {
        printf("given up to the device's own provisioning by DHCP\n");
    }
    if (text_of(o, "state")[0] != '\0') {
        printf("state          %s\nsource         %s\nserver         %s%s\n", text_of(o, "state"),
               text_of(o, "source"), text_of(o, "server"),
               json_is_true(json_object_get(o, "trusted")) ? " (trusted)" : "");
    }
    show_members(json_object_get(o, "members"));
    if (text_of(o, "last-error")[0] != '\0') {
        printf("last error     %s\n", text_of(o, "last-error"));
    }
    json_decref(o);
}

static int status(const char *file, bool json) {
    static struct phone_home_config c;
    struct err e;
    if (phone_home_config_load(file, &c, &e) != ERR_OK) {
        return fail(&e);
    }
    char *text = ask(c.socket, "GET", "/status", false);
    if (text == NULL) { /* none runs: what the disk says */
        struct statedir s = {.lock = -1};
        bool on;
        snprintf(s.path, sizeof s.path, "%s", c.state);
        if (statedir_enabled(&s, &on, &e) != ERR_OK) {
            return fail(&e);
        }
        printf(json ? "{\"enabled\": %s, \"running\": false}\n"
                    : "bootstrapping  %s, not running\n",
               json ? (on ? "true" : "false") : (on ? "on" : "off"));
        return 3;
    }
    if (json) {
        fputs(text, stdout);
    } else {
        show(text);
    }
    mem_free(text);
    return 0;
}

static void zeroized(void *arg) {
    loop_stop(arg);
}

static int zeroize(const char *file) {
    static struct phone_home_config c;
    struct err e;
    struct driver *d;
    if (phone_home_config_load(file, &c, &e) != ERR_OK) {
        return fail(&e);
    }
    char *text = ask(c.socket, "POST", "/zeroize", false);
    if (text != NULL) {
        fputs(text, stdout);
        mem_free(text);
        return 0;
    }
    /* None runs: with bootstrapping off for the moment, so that nothing begins. */
    struct statedir s;
    if (statedir_open(c.state, &s, &e) != ERR_OK || statedir_enable(&s, false, &e) != ERR_OK) {
        return fail(&e);
    }
    statedir_close(&s);
    struct loop *l = loop_new("zeroize");
    struct loop_timer *t = loop_timer_new(l, zeroized, l);
    struct driver_config dc = {.c = &c, .once = true};
    if (driver_new(l, &dc, &d, &e) != ERR_OK) {
        return fail(&e);
    }
    driver_zeroize(d);
    loop_timer_start(t, 2000); /* the order has gone out; what follows is a reboot */
    loop_run(l);
    puts("the device goes back to factory default");
    exit(0);
}

static int check(const char *file) {
    static struct phone_home_config c;
    struct err e;
    if (phone_home_config_load(file, &c, &e) != ERR_OK) {
        return fail(&e);
    }
    printf("%s: fine\n", file);
    return 0;
}

static int renew_certificate(const struct renew_order *o) {
    struct renew_result r;
    struct err e;
    char until[TIME_TEXT_MAX];
    if (o->certificate == NULL || o->key == NULL || o->server == NULL || o->anchors == NULL) {
        fprintf(stderr, "weft-phone-home: renew takes --certificate, --key, --server and "
                        "--anchors\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (renew(o, &r, &e) != ERR_OK) {
        return fail(&e);
    }
    printf(r.renewed ? "renewed: good until %s\n" : "not due: good until %s\n",
           time_format(r.ends_s, 0, until));
    return r.renewed ? 0 : 3;
}

static int usage(int rc) {
    fprintf(rc == 0 ? stdout : stderr,
            "usage: weft-phone-home [-c FILE] [-l LEVEL] COMMAND\n"
            "  run           look for a server once; status 0: bootstrapped\n"
            "  daemon        go on until bootstrapped, then stay for `status`\n"
            "  status [-j]   what a running one does (-j: as JSON)\n"
            "  wake          end a pause of a running one: there is a new lease, say\n"
            "  stop          give up what is under way and be idle\n"
            "  zeroize --yes back to factory default\n"
            "  check-config  check the configuration\n"
            "  renew         a certificate that the server gave: --certificate FILE --key FILE\n"
            "                --server https://HOST[:PORT] --anchors FILE [--if-due]\n"
            "                status 0: renewed, 3: not due\n"
            "options: -c FILE   (" DEFAULT_CONFIG ")\n"
            "         -l LEVEL  error, warn, info or debug\n"
            "         --syslog  log to the local syslog as well\n"
            "         --version --help\n");
    return rc;
}

static void log_to_syslog(void) {
    struct logger_outputs o = {.console = LOGGER_TEXT, .n_syslog = 1};
    o.syslog[0] =
        (struct logger_syslog){.local = true, .facility = SYSLOG_DAEMON, .level = LOGGER_INFO};
    logger_set_outputs(&o);
}

static int tell_running(const char *file, const char *path) {
    static struct phone_home_config c;
    struct err e;
    if (phone_home_config_load(file, &c, &e) != ERR_OK) {
        return fail(&e);
    }
    char *text = ask(c.socket, "POST", path, true);
    int rc = text != NULL ? 0 : 2;
    mem_free(text);
    return rc;
}

static int command(const char *word, const char *config, bool json, bool yes) {
    if (strcmp(word, "run") == 0 || strcmp(word, "daemon") == 0) {
        return run(config, strcmp(word, "run") == 0);
    }
    if (strcmp(word, "status") == 0) {
        return status(config, json);
    }
    if (strcmp(word, "stop") == 0) {
        return tell_running(config, "/stop");
    }
    if (strcmp(word, "wake") == 0) {
        return tell_running(config, "/wake");
    }
    if (strcmp(word, "check-config") == 0) {
        return check(config);
    }
    if (strcmp(word, "zeroize") == 0) {
        if (!yes) {
            fprintf(stderr, "weft-phone-home: zeroize loses what was configured: say --yes\n");
            return 2;
        }
        return zeroize(config);
    }
    return usage(2);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"log-level", required_argument, NULL, 'l'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"syslog", no_argument, NULL, 's'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"certificate", required_argument, NULL, 'C'},
                                            {"key", required_argument, NULL, 'K'},
                                            {"server", required_argument, NULL, 'S'},
                                            {"anchors", required_argument, NULL, 'A'},
                                            {"if-due", no_argument, NULL, 'D'},
                                            {NULL, 0, NULL, 0}};
    struct renew_order order = {.if_due = false};
    const char *config = DEFAULT_CONFIG;
    bool json = false, yes = false;
    int o;
    while ((o = getopt_long(argc, argv, "c:l:jh", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            config = optarg;
            break;
        case 'l':
            if (!logger_set_level(NULL, optarg)) {
                fprintf(stderr, "weft-phone-home: no log level %s\n", optarg);
                return 2;
            }
            break;
        case 'j':
            json = true;
            break;
        case 'y':
            yes = true;
            break;
        case 'C':
            order.certificate = optarg;
            break;
        case 'K':
            order.key = optarg;
            break;
        case 'S':
            order.server = optarg;
            break;
        case 'A':
            order.anchors = optarg;
            break;
        case 'D':
            order.if_due = true;
            break;
        case 's':
            log_to_syslog();
            break;
        case 'v':
            puts("weft-phone-home " WEFT_VERSION);
            return 0;
        default:
            return usage(o == 'h' ? 0 : 2);
        }
    }
    if (optind + 1 == argc && strcmp(argv[optind], "renew") == 0) {
        return renew_certificate(&order);
    }
    return optind + 1 == argc ? command(argv[optind], config, json, yes) : usage(2);
}
