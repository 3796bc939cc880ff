// SPDX-License-Identifier: Apache-2.0
/*
 * weftd: which services and dialects run, and how they are wired. Nothing else is decided here.
 *
 * Threads: one loop (all connections of people and tools), the writer in core, workers. To stop:
 * no new requests, what runs may end, then servers, workers, writer, loop, in this order, so that
 * every answer under way finds either its peer or nobody.
 */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <locale.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/file.h"
#include "base/logger.h"
#include "base/logger_out.h"
#include "base/mem.h"
#include "base/notify.h"
#include "core/candidate.h"
#include "core/http_auth.h"
#include "core/job.h"
#include "core/nacm.h"
#include "core/pam.h"
#include "core/system.h"
#include "etcd/engine.h"
#include "forward/forward.h"
#include "net/grpc.h"
#include "net/http.h"
#include "north/cli/http.h"
#include "north/metrics/metrics.h"
#include "north/netconf/netconf.h"
#include "north/relay.h"
#include "north/restconf/restconf.h"
#include "onboard/onboard.h"
#include "onboard/server.h"
#include "pools/apmi_server.h"
#include "pools/pools.h"
#include "weftd/clock_watch.h"
#include "weftd/first_start.h"
#include "weftd/initial.h"
#include "weftd/maintenance.h"
#include "weftd/options.h"

LOGGER_MODULE(weftd);

/* Of the descriptors that the process may have, those that the store, a backup and the listeners
 * need are kept, and the rest is divided in these parts among those who connect: so many that come
 * over the network leave an administrator at the local socket his place, and the store its own. */
enum {
    FILES_KEPT = 256,
    LOCAL_PARTS = 1,
    TLS_PARTS = 2,
    CLEAR_PARTS = 2,
    APMI_PARTS = 3,
    ONBOARD_PARTS = 2
};
enum { APMI_CONNS_MAX = 20000, ONBOARD_CONNS_MAX = 20000 };
enum { CERTIFICATES_MS = 3600 * 1000, NODES_MS = 2000 };
enum { RELAY_NODES = 16, RELAY_RESETS = 100000 };
#define NODES_ONLY "Here other controllers pass on what they were asked.\n"
enum { AGAIN_AFTER_MS = 1000, AGAIN_LOOK_MS = 100 };
enum {
    GRACE_MS = 3000,
    HASHERS = PAM_RUNNING_MAX + 2,
    DECODERS = 2,
    PRINTERS = 32,
    ONBOARDERS = 8, /* some may wait for a manufacturer's server */
    QUEUE = 1024,
    LOGINS = 256
};

static const struct service *const services[] = {
    &system_service, &nacm_service,  &job_service,     &forward_service,
    &admin_service,  &pools_service, &onboard_service, NULL};

struct weftd {
    struct options options;
    struct first_start files;
    struct model *model;
    struct core *core;
    struct loop *loop;
    struct tls_ctx *tls, *apmi_tls, *netconf_tls;
    struct tls_ctx *relay_tls, *relay_out; /* other nodes', and ours to them */
    struct relay *relay;                   /* NULL: no other node passes anything on */
    struct apmi_server *passed_apmi;       /* gateways that other nodes pass on */
    struct http_auth_config passed_netconf;
    struct netconf *netconf; /* also when nobody listens: it may be told to call home */
    struct apmi_server *apmi[2 * OPTIONS_LISTEN_MAX];
    size_t n_apmi;
    struct onboard_server *onboard; /* devices that phone home */
    struct http_server *tls_server, *clear_server, *unix_server, *relay_server;
    unsigned stopping;     /* servers that still shut down */
    unsigned apmi_closing; /* of gateways, after this node has lost the lead */
    bool leading, again;   /* again: a new run of the program follows this one */
    struct loop_timer *again_timer;
    int64_t began_ns; /* loop time */
    struct workers *hashers, *decoders, *printers, *onboarders;
    struct candidates *candidates;
    struct cli *cli;
    struct dialects {
        struct restconf *restconf;
        struct cli_http *cli;
    } safe, clear, passed; /* TLS and local; clear text; what other nodes pass on */
    struct metrics *metrics;
    struct loop_signal *term, *intr, *hup;
    struct loop_timer *certificates, *clock, *nodes;
    atomic_bool looking; /* at the nodes, on a worker */
    struct clock_watch clock_watch;
    struct loop_timer *alive;
};

/* ---- requests: which dialect is it? ---------------------------------------------------------- */

static void route(struct weftd *w, struct http_req *r, const struct dialects *d) {
    if (metrics_mine(r)) {
        metrics_handle(w->metrics, r);
    } else if (cli_http_mine(r)) {
        cli_http_handle(d->cli, r);
    } else {
        restconf_handle(r, d->restconf);
    }
}

static void handle(struct http_req *r, void *arg) {
    struct weftd *w = arg;
    route(w, r, &w->safe);
}

/* Nobody but a node says anything here, and it says who asks. */
static void handle_passed_on(struct http_req *r, void *arg) {
    struct weftd *w = arg;
    if (http_auth_node(http_peer(r)->tls) == NULL ||
        (http_header(r, HTTP_AUTH_ACTOR) == NULL && http_header(r, HTTP_AUTH_GATEWAY) == NULL &&
         http_header(r, ONBOARD_DEVICE_FIELD) == NULL)) {
        http_respond(r, 403, "text/plain", NODES_ONLY, sizeof NODES_ONLY - 1);
    } else if (http_header(r, ONBOARD_DEVICE_FIELD) != NULL) {
        if (w->onboard != NULL) {
            onboard_server_passed(w->onboard, r);
        } else {
            restconf_write_error(r, 503, "this node is stopping", NULL);
        }
    } else if (grpc_is(r) && w->passed_apmi != NULL) {
        apmi_server_handle(w->passed_apmi, r);
    } else if (grpc_is(r)) {
        grpc_answer_end(r, GRPC_UNAVAILABLE, "this node is stopping");
    } else if (netconf_passed_mine(r) && w->netconf != NULL) {
        netconf_passed(w->netconf, &w->passed_netconf, r);
    } else if (cli_http_mine(r)) {
        cli_http_handle(w->passed.cli, r);
    } else {
        restconf_handle(r, w->passed.restconf);
    }
}

static void handle_clear(struct http_req *r, void *arg) {
    struct weftd *w = arg;
    route(w, r, &w->clear);
}

/* What the server itself refuses, in the form of the dialect that it was meant for. */
static void write_error(struct http_req *r, int status, const char *why, void *arg) {
    (void)arg;
    if (cli_http_mine(r)) {
        cli_http_write_error(r, status, why);
    } else if (!metrics_mine(r)) {
        restconf_write_error(r, status, why, NULL);
    }
}

/* ---- process --------------------------------------------------------------------------------- */

/* Of all that root may only this is kept: ports below 1024. As an ambient capability it lasts when
 * the program executes itself anew. A container may not have it to begin with. */
static enum err_code keep_low_ports(struct err *e) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    const uint32_t low_ports = 1U << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capget, &head, caps) != 0) {
        return err_errno(e, errno, NULL, "can't read the capabilities");
    }
    uint32_t kept = caps[0].permitted & low_ports;
    caps[0].effective = caps[0].permitted = caps[0].inheritable = kept;
    caps[1].effective = caps[1].permitted = caps[1].inheritable = 0;
    if (syscall(SYS_capset, &head, caps) != 0 ||
        (kept != 0 &&
         prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) != 0)) {
        return err_errno(e, errno, NULL, "can't give up capabilities");
    }
    return ERR_OK;
}

static enum err_code become(const char *name, const char *data, struct err *e) {
    struct passwd *pw = getpwnam(name);
    if (pw == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no user %s on this machine", name);
    }
    if (geteuid() != 0) {
        return pw->pw_uid == geteuid()
                   ? ERR_OK
                   : err_set(e, ERR_DENIED, NULL, "only root can become %s", name);
    }
    bool fresh = access(data, F_OK) != 0;
    ERR_TRY(file_make_folder(data, 0700, e));
    if (fresh && chown(data, pw->pw_uid, pw->pw_gid) != 0) {
        return err_errno(e, errno, data, "can't be given to %s", name);
    }
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 ||
        setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
        return err_errno(e, errno, NULL, "can't become %s", name);
    }
    return keep_low_ports(e);
}

static void harden(void) {
    struct rlimit none = {0, 0}, files;
    umask(077);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none); /* keys and passwords are in memory */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* ---- stop and reload ------------------------------------------------------------------------- */

static void server_done(void *arg) {
    struct weftd *w = arg;
    if (--w->stopping == 0) {
        loop_stop(w->loop);
    }
}

/* Gateways' sessions end last on the loop: their goodbyes are work for the writer. */
static void close_apmi(struct weftd *w) {
    w->stopping += (unsigned)w->n_apmi;
    for (size_t i = 0; i < w->n_apmi; i++) {
        apmi_server_close(w->apmi[i], server_done, w);
    }
    w->n_apmi = 0;
    if (w->passed_apmi != NULL) {
        w->stopping++;
        apmi_server_close(w->passed_apmi, server_done, w);
        w->passed_apmi = NULL;
    }
}

static void close_onboard(struct weftd *w) {
    if (w->onboard != NULL) {
        w->stopping++;
        onboard_server_close(w->onboard, server_done, w);
        w->onboard = NULL;
    }
}

static void stop(struct weftd *w) {
    if (w->stopping > 0) {
        loop_stop(w->loop); /* asked twice: at once */
        return;
    }
    L_INFO("stopping");
    notify_manager("STOPPING=1");
    struct http_server *servers[] = {w->tls_server, w->clear_server, w->unix_server,
                                     w->relay_server};
    w->stopping = w->apmi_closing;
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
        if (servers[i] != NULL) {
            w->stopping++;
            http_server_shutdown(servers[i], GRACE_MS, server_done, w);
        }
    }
    close_apmi(w);
    close_onboard(w);
    if (w->netconf != NULL) {
        w->stopping++;
        netconf_close(w->netconf, server_done, w);
    }
}

static void told_to_stop(void *arg) {
    struct weftd *w = arg;
    w->again = false;
    stop(w);
}

static void read_certificates(struct weftd *w) {
    struct err e;
    if (tls_reload(w->tls, &e) != ERR_OK ||
        (w->apmi_tls != NULL && tls_reload(w->apmi_tls, &e) != ERR_OK) ||
        (w->netconf_tls != NULL && tls_reload(w->netconf_tls, &e) != ERR_OK) ||
        (w->relay_tls != NULL && tls_reload(w->relay_tls, &e) != ERR_OK) ||
        (w->relay_out != NULL && tls_reload(w->relay_out, &e) != ERR_OK)) {
        L_ERR("the certificate was not read again, the old one stays: %s %s", e.path, e.text);
    } else {
        L_INFO("the certificate was read again");
    }
    if (w->onboard != NULL) {
        onboard_server_reload(w->onboard);
    }
}

/* Every hour, and when told to: what is about to end is made anew, while all goes on. */
static bool renew(struct weftd *w) {
    bool made = false;
    struct err e;
    if (first_start_renew(&w->files, w->options.hostname, &made, &e) != ERR_OK) {
        L_ERR("the certificate was not renewed: %s %s", e.path, e.text);
    }
    bool node = false;
    if (w->relay != NULL && first_start_node(&w->files, w->options.node, &node, &e) != ERR_OK) {
        L_ERR("the node's certificate was not renewed: %s %s", e.path, e.text);
    }
    return made || node;
}

static void look_at_certificates(void *arg) {
    struct weftd *w = arg;
    if (renew(w)) {
        read_certificates(w);
    }
    admin_certificates_look(w->core);
}

/* By command, from the thread of a request. */
static enum err_code renew_by_command(void *arg, struct err *e) {
    struct weftd *w = arg;
    return first_start_server_cert(&w->files, w->options.hostname, e);
}

static void read_by_command(void *arg) {
    read_certificates(arg);
    admin_certificates_look(((struct weftd *)arg)->core);
}

static void certificates_changed(void *arg) {
    struct weftd *w = arg;
    loop_post(w->loop, read_by_command, w);
}

/* A certificate may have ended by it, or not be good yet. */
static void look_at_clock(void *arg) {
    struct weftd *w = arg;
    char json[64];
    int64_t s = clock_watch_look(&w->clock_watch, clock_wall(&clock_real), clock_mono(&clock_real));
    if (s != 0) {
        L_WARN("the clock of this machine was set by %+" PRId64 " s", s);
        snprintf(json, sizeof json, "{\"seconds\":\"%" PRId64 "\"}", s);
        core_tell(w->core, "weft-system:clock-set", json);
        look_at_certificates(w);
    }
}

static void reload(void *arg) {
    logger_reopen();
    renew(arg);
    read_certificates(arg);
    admin_certificates_look(((struct weftd *)arg)->core);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void on_role(enum core_role role, void *arg);
static bool mark_stale(struct http_field *field, char value[HTTP_EXTRA_MAX], void *arg);

static void set_onboard_paths(const struct weftd *w) {
    struct onboard_paths p;
    snprintf(p.folder, sizeof p.folder, "%s/onboard", w->options.data);
    snprintf(p.ca_cert, sizeof p.ca_cert, "%s", w->files.ca_cert);
    snprintf(p.ca_key, sizeof p.ca_key, "%s", w->files.ca_key);
    snprintf(p.server_cert, sizeof p.server_cert, "%s", w->files.server_cert);
    snprintf(p.server_key, sizeof p.server_key, "%s", w->files.server_key);
    onboard_set_paths(&p);
}

static enum err_code open_core(struct weftd *w, struct err *e) {
    system_set_backup_folder(w->files.backups);
    admin_set_config_folder(w->files.configs);
    system_set_log_folder(w->files.logs);
    set_onboard_paths(w);
    admin_set_support_folder(w->files.support);
    ERR_TRY(model_load(&w->model, e));
    struct core_options o = {.store = w->options.store,
                             .clock = &clock_real,
                             .model = w->model,
                             .threaded = true,
                             .services = services,
                             .node = w->options.node,
                             .relay = w->options.relay_text,
                             .on_role = on_role,
                             .role_arg = w};
    return core_open(&o, &w->core, e);
}

/* For every dialect. */
static bool pass_on(struct http_req *r, const struct actor *who, void *arg) {
    struct weftd *w = arg;
    return w->relay != NULL && relay_take(w->relay, r, who);
}

/* For devices. */
static bool pass_device_on(struct http_req *r, const char *name, const char *value, void *arg) {
    struct weftd *w = arg;
    return w->relay != NULL && relay_take_as(w->relay, r, name, value);
}

enum door { DOOR_SAFE, DOOR_CLEAR, DOOR_NODES }; /* TLS and local; clear text; other nodes' */

static void make_dialects(struct weftd *w, struct dialects *d, enum door door) {
    struct restconf_config rc = {.core = w->core,
                                 .candidates = w->candidates,
                                 .loop = w->loop,
                                 .hashers = w->hashers,
                                 .decoders = w->decoders,
                                 .printers = w->printers,
                                 .clear_text = door == DOOR_CLEAR,
                                 .from_nodes = door == DOOR_NODES,
                                 .relay = door == DOOR_NODES ? NULL : pass_on,
                                 .relay_arg = w};
    struct http_auth_config auth = {.core = w->core,
                                    .loop = w->loop,
                                    .hashers = w->hashers,
                                    .dialect = "cli",
                                    .clear_text = door == DOOR_CLEAR,
                                    .from_nodes = door == DOOR_NODES};
    d->restconf = restconf_new(&rc);
    d->cli = cli_http_new(w->cli, &auth);
}

static void make_all_dialects(struct weftd *w) {
    w->hashers = workers_new("weft-hash", HASHERS, LOGINS);
    w->decoders = workers_new("weft-decode", DECODERS, QUEUE);
    w->printers = workers_new("weft-print", PRINTERS, QUEUE);
    w->onboarders = workers_new("weft-onboard", ONBOARDERS, ONBOARD_CONNS_MAX);
    w->candidates = candidates_new(w->core);
    struct cli_options cli = {.core = w->core, .candidates = w->candidates};
    w->cli = cli_new(&cli);
    make_dialects(w, &w->safe, DOOR_SAFE);
    make_dialects(w, &w->clear, DOOR_CLEAR);
    struct http_auth_config auth = {
        .core = w->core, .loop = w->loop, .hashers = w->hashers, .dialect = "metrics"};
    w->metrics = metrics_new(&auth, w->decoders);
    metrics_add_certificate(w->metrics, "server", w->files.server_cert);
    metrics_add_certificate(w->metrics, "authority", w->files.ca_cert);
}

/* Nobody named this address, and the machine has no such family (ipv6.disable=1). */
static bool left_out(const struct listen *l) {
    int fd = l->implied ? socket(l->addr.family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0) : -1;
    bool out = l->implied && fd < 0 && errno == EAFNOSUPPORT;
    if (fd >= 0) {
        close(fd);
    }
    return out;
}

/* Connections for `parts` of what there is, `most` at most. */
static unsigned conns_for(const struct options *o, unsigned parts, unsigned most) {
    struct rlimit files = {.rlim_cur = 0};
    getrlimit(RLIMIT_NOFILE, &files);
    unsigned all =
        LOCAL_PARTS + TLS_PARTS + (o->n_clear > 0 ? CLEAR_PARTS : 0) + APMI_PARTS + ONBOARD_PARTS;
    rlim_t n = files.rlim_cur > FILES_KEPT ? (files.rlim_cur - FILES_KEPT) / all * parts : 0;
    n = n < 16 ? 16 : n;
    return n < most ? (unsigned)n : most;
}

static struct http_server *new_server(struct weftd *w, unsigned parts, http_handler *handler) {
    struct http_limits lim = http_limits_default;
    lim.max_conns = conns_for(&w->options, parts, lim.max_conns);
    http_limits_fit(&lim);
    return http_server_new(w->loop, &lim, handler, w);
}

static enum err_code listen_all(struct weftd *w, FILE *ports, struct err *e) {
    const struct options *o = &w->options;
    struct tls_config tls = {.cert_file = w->files.server_cert,
                             .key_file = w->files.server_key,
                             .ca_file = w->files.clients,
                             .client_auth = TLS_AUTH_OPTIONAL,
                             .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP11};
    char text[IP_TEXT_MAX];
    uint16_t bound;
    ERR_TRY(tls_server_new(&tls, &w->tls, e));
    w->tls_server = new_server(w, TLS_PARTS, handle);
    w->clear_server = new_server(w, CLEAR_PARTS, handle_clear);
    w->unix_server = new_server(w, LOCAL_PARTS, handle);
    struct http_server *servers[] = {w->tls_server, w->clear_server, w->unix_server};
    static const char *const names[] = {"tls", "clear-text", "unix"};
    for (size_t i = 0; i < 3; i++) {
        metrics_add_server(w->metrics, names[i], servers[i]);
        http_server_on_error(servers[i], write_error, NULL);
        http_server_on_response(servers[i], mark_stale, w);
    }
    for (size_t i = 0; i < o->n_tls; i++) {
        if (left_out(&o->tls[i])) {
            continue;
        }
        ERR_TRY(
            http_listen_tcp(w->tls_server, &o->tls[i].addr, o->tls[i].port, w->tls, 0, &bound, e));
        L_INFO("listening at %s port %u (TLS)", ip_addr_format(&o->tls[i].addr, text), bound);
        fprintf(ports, "tls %u\n", bound);
    }
    for (size_t i = 0; i < o->n_clear; i++) {
        if (left_out(&o->clear[i])) {
            continue;
        }
        ERR_TRY(http_listen_tcp(w->clear_server, &o->clear[i].addr, o->clear[i].port, NULL, 0,
                                &bound, e));
        L_WARN("listening at %s port %u in CLEAR TEXT: passwords can be read on the way",
               ip_addr_format(&o->clear[i].addr, text), bound);
        fprintf(ports, "clear %u\n", bound);
    }
    ERR_TRY(http_listen_unix(w->unix_server, o->unix_path, 0666, HTTP_H2C, e));
    L_INFO("listening at %s", o->unix_path);
    return ERR_OK;
}

/* For other nodes, and the way to them. Requests come from each of them over one connection. */
static enum err_code listen_relay(struct weftd *w, FILE *ports, struct err *e) {
    const struct options *o = &w->options;
    struct core_turn t;
    core_turn(w->core, &t);
    if (o->n_relay == 0 || !t.shared) {
        return ERR_OK;
    }
    struct tls_config tls = {.cert_file = w->files.node_cert,
                             .key_file = w->files.node_key,
                             .ca_file = w->files.ca_cert,
                             .client_auth = TLS_AUTH_REQUIRED,
                             .alpn = TLS_ALPN_H2};
    struct http_limits lim = http_limits_default;
    bool made;
    uint16_t bound;
    ERR_TRY(first_start_node(&w->files, o->node, &made, e));
    ERR_TRY(tls_server_new(&tls, &w->relay_tls, e));
    ERR_TRY(tls_client_new(&tls, &w->relay_out, e));
    make_dialects(w, &w->passed, DOOR_NODES);
    lim.max_conns = RELAY_NODES * RELAY_CONNS_MAX;
    lim.max_streams = RELAY_STREAMS;
    lim.conn_window = (size_t)2 * RELAY_STREAMS * HTTP_STREAM_WINDOW; /* none holds up another */
    lim.max_requests = 0;
    lim.max_resets = RELAY_RESETS;
    lim.body_min_rate = 0; /* a gateway says nothing for minutes */
    http_limits_fit(&lim);
    lim.max_conns_per_peer = RELAY_CONNS_MAX;
    w->relay_server = http_server_new(w->loop, &lim, handle_passed_on, w);
    metrics_add_server(w->metrics, "relay", w->relay_server);
    http_server_on_error(w->relay_server, write_error, NULL);
    ERR_TRY(http_listen_tcp(w->relay_server, &o->relay[0].addr, o->relay[0].port, w->relay_tls, 0,
                            &bound, e));
    L_INFO("other nodes pass on requests to %s", o->relay_text);
    fprintf(ports, "relay %u\n", bound);
    struct relay_config cfg = {.core = w->core,
                               .loop = w->loop,
                               .workers = w->decoders,
                               .tls = w->relay_out,
                               .error = write_error};
    w->relay = relay_new(&cfg);
    struct apmi_server_config apmi = {
        .core = w->core, .loop = w->loop, .hashers = w->hashers, .from_nodes = true};
    w->passed_apmi = apmi_server_new(&apmi);
    w->passed_netconf = (struct http_auth_config){.core = w->core,
                                                  .loop = w->loop,
                                                  .hashers = w->hashers,
                                                  .dialect = "netconf",
                                                  .from_nodes = true};
    cli_http_set_relay(w->safe.cli, w->relay);
    cli_http_set_relay(w->clear.cli, w->relay);
    return ERR_OK;
}

static enum err_code listen_apmi(struct weftd *w, const struct listen *at, struct tls_ctx *tls,
                                 FILE *ports, struct err *e) {
    if (left_out(at)) {
        return ERR_OK;
    }
    const struct options *o = &w->options;
    unsigned listeners = (unsigned)(o->n_apmi + o->n_apmi_clear);
    struct apmi_server_config cfg = {.core = w->core,
                                     .loop = w->loop,
                                     .hashers = w->hashers,
                                     .relay = pass_on,
                                     .relay_arg = w,
                                     .max_conns =
                                         conns_for(o, APMI_PARTS, APMI_CONNS_MAX) / listeners};
    struct apmi_server *s = apmi_server_new(&cfg);
    uint16_t bound;
    char text[IP_TEXT_MAX];
    w->apmi[w->n_apmi++] = s;
    ERR_TRY(apmi_server_listen(s, &at->addr, at->port, tls, &bound, e));
    L_AT(tls ? LOGGER_INFO : LOGGER_WARN, "gateways are served at %s port %u (%s)",
         ip_addr_format(&at->addr, text), bound, tls ? "mutual TLS" : "CLEAR TEXT");
    fprintf(ports, "%s %u\n", tls ? "apmi" : "apmi-clear", bound);
    return ERR_OK;
}

static enum err_code listen_apmi_all(struct weftd *w, FILE *ports, struct err *e) {
    const struct options *o = &w->options;
    struct tls_config tls = {.cert_file = w->files.server_cert,
                             .key_file = w->files.server_key,
                             .ca_file = w->files.clients,
                             .client_auth = TLS_AUTH_REQUIRED,
                             .alpn = TLS_ALPN_H2};
    ERR_TRY(tls_server_new(&tls, &w->apmi_tls, e));
    for (size_t i = 0; i < o->n_apmi; i++) {
        ERR_TRY(listen_apmi(w, &o->apmi[i], w->apmi_tls, ports, e));
    }
    for (size_t i = 0; i < o->n_apmi_clear; i++) {
        ERR_TRY(listen_apmi(w, &o->apmi_clear[i], NULL, ports, e));
    }
    return ERR_OK;
}

static enum err_code listen_netconf(struct weftd *w, FILE *ports, struct err *e) {
    const struct options *o = &w->options;
    struct netconf_config cfg = {.core = w->core,
                                 .candidates = w->candidates,
                                 .loop = w->loop,
                                 .hashers = w->hashers,
                                 .relay = w->relay,
                                 .servers = w->printers,
                                 .host_key_file = w->files.ssh_key};
    struct tls_config tls = {.cert_file = w->files.server_cert,
                             .key_file = w->files.server_key,
                             .ca_file = w->files.clients,
                             .client_auth = TLS_AUTH_REQUIRED};
    char text[IP_TEXT_MAX];
    uint16_t bound;
    ERR_TRY(tls_server_new(&tls, &w->netconf_tls, e));
    cfg.tls = w->netconf_tls;
    ERR_TRY(netconf_new(&cfg, &w->netconf, e));
    for (size_t i = 0; i < o->n_netconf; i++) {
        ERR_TRY(netconf_listen_ssh(w->netconf, &o->netconf[i].addr, o->netconf[i].port, &bound, e));
        L_INFO("NETCONF at %s port %u (SSH, host key %s)",
               ip_addr_format(&o->netconf[i].addr, text), bound, netconf_fingerprint(w->netconf));
        fprintf(ports, "netconf %u\n", bound);
    }
    for (size_t i = 0; i < o->n_netconf_tls; i++) {
        const struct listen *at = &o->netconf_tls[i];
        ERR_TRY(netconf_listen_tls(w->netconf, &at->addr, at->port, w->netconf_tls, &bound, e));
        L_INFO("NETCONF at %s port %u (TLS)", ip_addr_format(&at->addr, text), bound);
        fprintf(ports, "netconf-tls %u\n", bound);
    }
    return ERR_OK;
}

/* ---- one of several nodes (docs/cluster.md) -------------------------------------------------- */

/* What a new store needs to be of use. */
static enum err_code begin_store(struct weftd *w, struct err *e) {
    ERR_TRY(first_start_admin(w->core, &w->files, e));
    return w->options.initial != NULL ? initial_config(w->core, w->cli, w->options.initial, e)
                                      : ERR_OK;
}

/* Gateways are served by the node that leads. Others pass their sessions on; where no relay is set
 * up they refuse their connections, and gateways dial the next of the managers that they know. */
static void lead(struct weftd *w) {
    struct err e;
    if (w->leading || w->stopping > 0) {
        return;
    }
    w->leading = true;
    FILE *ports = fopen(w->options.port_file != NULL ? w->options.port_file : "/dev/null", "ae");
    enum err_code rc = ports == NULL
                           ? err_errno(&e, errno, w->options.port_file, "can't be written")
                           : begin_store(w, &e);
    rc = rc == ERR_OK && w->relay == NULL ? listen_apmi_all(w, ports, &e) : rc;
    if (ports != NULL) {
        fclose(ports);
    }
    if (rc != ERR_OK) {
        L_ERR("this node leads and can't serve gateways: %s %s", e.path, e.text);
    }
}

static void apmi_gone(void *arg) {
    struct weftd *w = arg;
    w->apmi_closing--;
    if (w->stopping > 0) {
        server_done(w);
    }
}

/* What this node shows is the last that it knew: good enough for those who look until the store can
 * be reached again, and not for gateways. */
static void start_over(void *arg) {
    struct weftd *w = arg;
    struct core_turn t;
    w->apmi_closing += (unsigned)w->n_apmi;
    while (w->n_apmi > 0) {
        apmi_server_close(w->apmi[--w->n_apmi], apmi_gone, w);
    }
    if (w->passed_apmi != NULL) {
        w->apmi_closing++;
        apmi_server_close(w->passed_apmi, apmi_gone, w);
        w->passed_apmi = NULL;
    }
    core_turn(w->core, &t);
    bool soon = loop_now(w->loop) - w->began_ns < AGAIN_AFTER_MS * NS_PER_MS;
    bool heard = t.reached && t.silent_ns < NS_PER_S;
    if (w->apmi_closing > 0 || !heard || soon) {
        loop_timer_start(w->again_timer, AGAIN_LOOK_MS);
    } else if (w->stopping == 0) {
        L_INFO("starting over, to follow");
        w->again = true;
        stop(w);
    }
}

static void role_changed(void *arg) {
    struct weftd *w = arg;
    struct core_turn t;
    core_turn(w->core, &t);
    if (t.role == CORE_LEADS) {
        lead(w);
    } else if (t.role == CORE_LOST) {
        start_over(w);
    }
}

/* On the writer's thread, or before the loop runs. */
static void on_role(enum core_role role, void *arg) {
    struct weftd *w = arg;
    (void)role;
    loop_post(w->loop, role_changed, w);
}

static void nodes_job(void *arg) {
    struct weftd *w = arg;
    core_nodes_watch(w->core);
    atomic_store(&w->looking, false);
}

static void look_at_nodes(void *arg) {
    struct weftd *w = arg;
    if (w->leading && !atomic_exchange(&w->looking, true) &&
        !workers_run(w->decoders, nodes_job, w)) {
        atomic_store(&w->looking, false);
    }
}

/* Every answer of a node that does not know whether it shows the newest says how old it may be. */
static bool mark_stale(struct http_field *field, char value[HTTP_EXTRA_MAX], void *arg) {
    struct weftd *w = arg;
    struct core_turn t;
    core_turn(w->core, &t);
    if (t.stale_ns < CORE_STALE_S * NS_PER_S) {
        return false;
    }
    snprintf(value, HTTP_EXTRA_MAX, "%" PRId64, t.stale_ns / NS_PER_S);
    *field = (struct http_field){"weft-stale", value};
    return true;
}

static enum err_code start(struct weftd *w, struct err *e) {
    struct options *o = &w->options;
    if (o->user != NULL) {
        ERR_TRY(become(o->user, o->data, e));
    }
    harden();
    if (o->hostname == NULL) {
        char name[256] = "localhost";
        gethostname(name, sizeof name - 1);
        o->hostname = mem_strdup(name);
    }
    if (o->n_relay > 0 && o->node == NULL) { /* its certificate has the name that the log knows */
        char name[64] = "";
        gethostname(name, sizeof name - 1);
        o->node = mem_strdup(name);
    }
    first_start_paths(o->data, &w->files);
    ERR_TRY(maintenance_interrupted(o->store, e));
    ERR_TRY(maintenance_moved(o->store, e));
    ERR_TRY(first_start_files(o->data, o->hostname, &w->files, e));
    w->loop = loop_new("north");
    w->began_ns = loop_now(w->loop);
    struct admin_pki pki = {.hostnames = o->hostname,
                            .renew = renew_by_command,
                            .changed = certificates_changed,
                            .arg = w};
    snprintf(pki.folder, sizeof pki.folder, "%s/pki", o->data);
    ERR_TRY(admin_set_pki(&pki, e));
    ERR_TRY(open_core(w, e));
    w->term = loop_signal_new(w->loop, SIGTERM, told_to_stop, w);
    w->intr = loop_signal_new(w->loop, SIGINT, told_to_stop, w);
    w->hup = loop_signal_new(w->loop, SIGHUP, reload, w);
    w->certificates = loop_timer_new(w->loop, look_at_certificates, w);
    loop_timer_repeat(w->certificates, CERTIFICATES_MS);
    w->nodes = loop_timer_new(w->loop, look_at_nodes, w);
    loop_timer_repeat(w->nodes, NODES_MS);
    clock_watch_init(&w->clock_watch, clock_wall(&clock_real), clock_mono(&clock_real));
    w->clock = loop_timer_new(w->loop, look_at_clock, w);
    loop_timer_repeat(w->clock, CLOCK_WATCH_MS);
    w->again_timer = loop_timer_new(w->loop, start_over, w);
    pam_find();
    make_all_dialects(w);
    look_at_certificates(w);
    struct core_turn turn;
    core_turn(w->core, &turn);
    w->leading = turn.role == CORE_LEADS;
    if (w->leading) {
        ERR_TRY(begin_store(w, e));
    }
    FILE *ports = fopen(o->port_file != NULL ? o->port_file : "/dev/null", "we");
    if (ports == NULL) {
        return err_errno(e, errno, o->port_file, "can't be written");
    }
    enum err_code rc = listen_all(w, ports, e);
    if (rc == ERR_OK) {
        rc = listen_relay(w, ports, e);
    }
    if (rc == ERR_OK && (w->leading || w->relay != NULL)) {
        rc = listen_apmi_all(w, ports, e);
    }
    if (rc == ERR_OK) {
        rc = listen_netconf(w, ports, e);
    }
    if (rc == ERR_OK) {
        struct onboard_server_config cfg = {.core = w->core,
                                            .loop = w->loop,
                                            .workers = w->onboarders,
                                            .relay = pass_device_on,
                                            .relay_arg = w,
                                            .max_conns =
                                                conns_for(o, ONBOARD_PARTS, ONBOARD_CONNS_MAX)};
        rc = onboard_server_new(&cfg, &w->onboard, e);
    }
    fprintf(ports, "unix %s\nready\n", o->unix_path);
    fclose(ports);
    return rc;
}

/* A loop that turns is what the manager's watchdog is told of; a hung disk holds up the writer, and
 * has a defined outcome of its own. */
static void alive(void *arg) {
    (void)arg;
    notify_manager("WATCHDOG=1");
}

static void watch(struct weftd *w) {
    int64_t ms = notify_watchdog_ms();
    if (ms > 0) {
        w->alive = loop_timer_new(w->loop, alive, w);
        loop_timer_repeat(w->alive, ms);
    }
}

static void finish(struct weftd *w) {
    http_server_free(w->relay_server);
    if (w->n_apmi > 0 || w->passed_apmi != NULL || w->onboard != NULL) {
        /* Cut short: let their goodbyes through. */
        close_apmi(w);
        close_onboard(w);
        loop_run(w->loop);
    }
    http_server_free(w->tls_server);
    http_server_free(w->clear_server);
    http_server_free(w->unix_server);
    if (w->cli != NULL) {
        cli_http_free(w->safe.cli);
        cli_http_free(w->clear.cli);
        cli_http_free(w->passed.cli);
    }
    netconf_cut(w->netconf);
    workers_free(w->hashers);
    workers_free(w->decoders);
    workers_free(w->printers);
    workers_free(w->onboarders);
    if (w->cli != NULL) {
        cli_free(w->cli);
        candidates_free(w->candidates);
    }
    relay_free(w->relay);
    core_close(w->core);
    if (w->loop != NULL) {
        loop_signal_free(w->term);
        loop_signal_free(w->intr);
        loop_signal_free(w->hup);
        loop_timer_free(w->certificates);
        loop_timer_free(w->nodes);
        loop_timer_free(w->clock);
        loop_timer_free(w->alive);
        loop_timer_free(w->again_timer);
        loop_free(w->loop);
    }
    netconf_free(w->netconf);
    metrics_free(w->metrics);
    restconf_free(w->safe.restconf);
    restconf_free(w->clear.restconf);
    restconf_free(w->passed.restconf);
    tls_ctx_free(w->tls);
    tls_ctx_free(w->apmi_tls);
    tls_ctx_free(w->netconf_tls);
    tls_ctx_free(w->relay_tls);
    tls_ctx_free(w->relay_out);
    if (w->model != NULL) {
        model_free(w->model);
    }
    first_start_free(&w->files);
    options_free(&w->options);
}

int main(int argc, char **argv) {
    struct weftd w = {.stopping = 0};
    struct err e;
    setlocale(LC_ALL, "C.UTF-8");
    int status;
    log_engine_add(&log_etcd);
    if (maintenance(argc, argv, &status)) {
        return status;
    }
    options_parse(argc, argv, &w.options);
    logring_install();
    enum err_code rc = start(&w, &e);
    if (rc == ERR_OK) {
        L_INFO("weftd " WEFT_VERSION " is ready");
        notify_manager("READY=1");
        watch(&w);
        loop_run(w.loop);
    } else {
        L_ERR("%s%s%s", e.path, e.path[0] != '\0' ? ": " : "", e.text);
    }
    bool again = w.again;
    finish(&w);
    if (again) {
        fflush(NULL);
        execv("/proc/self/exe", argv);
        perror("weftd: can't start over");
        return 1;
    }
    return rc == ERR_OK ? 0 : 1;
}
