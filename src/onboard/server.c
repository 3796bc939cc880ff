// SPDX-License-Identifier: Apache-2.0
/* Listeners: open as the configuration says. */
#include "onboard/server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "onboard/server_int.h"
#include "sztp/cms.h"

LOGGER_MODULE(onboard_server);

enum {
    TICK_MS = 250,
    RETRY_MS = 5000,
    GRACE_MS = 2000,
    CONNS_MAX = 10000,
    FAULTS_MAX = 30, /* of a source within FAULTS_MS; then it is put off */
    FAULTS_MS = 60000,
    SOURCES_MAX = 20000,
};

/* ---- for shows ------------------------------------------------------------------------------- */

static pthread_mutex_t shown_lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *shown; /* array; replaced whole */

void onboard_listeners_json(json_t *list) {
    pthread_mutex_lock(&shown_lock);
    if (shown != NULL) {
        json_t *copy = json_deep_copy(shown);
        json_array_extend(list, copy);
        json_decref(copy);
    }
    pthread_mutex_unlock(&shown_lock);
}

static int by_name(const void *a, const void *b) {
    const struct onboard_listener *x = (*(struct door *const *)a)->config->doc->data,
                                  *y = (*(struct door *const *)b)->config->doc->data;
    return strcmp(x->name, y->name);
}

static json_t *door_json(const struct door *d) {
    const struct onboard_listener *l = d->config->doc->data;
    char text[IP_TEXT_MAX];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(l->name));
    json_object_set_new(o, "state",
                        json_string(d->http != NULL ? "open"
                                    : l->disabled   ? "disabled"
                                                    : "failed"));
    json_object_set_new(o, "address", json_string(ip_addr_format(&l->address, text)));
    json_object_set_new(o, "port", json_integer(l->port));
    if (d->http != NULL) {
        const struct http_counters *c = http_server_counters(d->http);
        json_object_set_new(o, "connections", json_sprintf("%" PRIu64, c->open_conns));
        json_object_set_new(o, "requests", json_sprintf("%" PRIu64, c->requests));
    }
    if (d->reason[0] != '\0') {
        json_object_set_new(o, "reason", json_string(d->reason));
    }
    return o;
}

static void publish(struct onboard_server *s) {
    json_t *list = json_array(), *old;
    struct door **all = NULL;
    size_t n = 0;
    LIST_FOREACH (pos, &s->doors) {
        all = mem_array(all, n + 1, sizeof *all);
        all[n++] = CONTAINER_OF(pos, struct door, link);
    }
    if (n > 0) {
        qsort(all, n, sizeof *all, by_name);
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, door_json(all[i]));
    }
    mem_free(all);
    pthread_mutex_lock(&shown_lock);
    old = shown;
    shown = list;
    pthread_mutex_unlock(&shown_lock);
    json_decref(old);
}

/* ---- sources that fail (PH-207) -------------------------------------------------------------- */

struct fault {
    int64_t since_ms;
    unsigned n;
};

bool source_slowed(struct onboard_server *s, const struct ip_addr *source, bool failed) {
    struct ip_addr a = *source;
    int64_t now = loop_now(s->cfg.loop) / NS_PER_MS;
    if (a.family == 6) {
        memset(a.bytes + 8, 0, 8);
    }
    struct fault *f = map_get_n(&s->faults, &a, sizeof a);
    if (f != NULL && now - f->since_ms >= FAULTS_MS) {
        f->since_ms = now;
        f->n = 0;
    }
    if (failed && f == NULL) {
        if (s->faults.count >= SOURCES_MAX) { /* so many sources: all begin anew */
            map_free(&s->faults, mem_free);
            s->faults = (struct map)MAP_INIT;
        }
        f = MEM_NEW(struct fault);
        f->since_ms = now;
        map_put_n(&s->faults, &a, sizeof a, f);
    }
    if (failed) {
        f->n++;
    }
    return f != NULL && f->n >= FAULTS_MAX;
}

/* ---- doors ----------------------------------------------------------------------------------- */

static void on_request(struct http_req *r, void *arg) {
    request_begin(arg, r, NULL);
}

static void door_free(struct door *d) {
    http_server_free(d->http);
    tls_ctx_free(d->tls);
    object_release((struct object *)(uintptr_t)d->config);
    mem_free(d);
}

static void door_end(void *arg) {
    struct door *d = arg;
    struct onboard_server *s = d->server;
    door_free(d);
    server_left(s);
}

static void door_quiet(void *arg) {
    struct door *d = arg;
    loop_post(d->server->cfg.loop, door_end, d); /* not from inside its own callback */
}

static void door_close(struct door *d) {
    list_remove(&d->link);
    if (d->http == NULL) {
        door_free(d);
        return;
    }
    d->server->open++;
    http_server_shutdown(d->http, GRACE_MS, door_quiet, d);
}

static enum err_code door_tls(struct door *d, struct err *e) {
    static const enum tls_client_auth auth[] = {
        [ONBOARD_LISTENER_CLIENT_CERTIFICATE_NONE] = TLS_AUTH_NONE,
        [ONBOARD_LISTENER_CLIENT_CERTIFICATE_OPTIONAL] = TLS_AUTH_OPTIONAL,
        [ONBOARD_LISTENER_CLIENT_CERTIFICATE_REQUIRED] = TLS_AUTH_REQUIRED};
    const struct onboard_listener *l = d->config->doc->data;
    bool own = l->certificate_file == NULL;
    struct tls_config c = {.cert_file = own ? onboard_paths.server_cert : l->certificate_file,
                           .key_file = own ? onboard_paths.server_key : l->key_file,
                           .client_auth = auth[l->client_certificate],
                           .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP11,
                           .no_tickets = true};
    if (l->n_role == 1 && l->role[0] == ONBOARD_LISTENER_ROLE_RENEW) {
        c.ca_file = onboard_paths.ca_cert; /* what devices have from us */
        c.client_auth = TLS_AUTH_REQUIRED;
    } else if (d->server->authorities != 0) {
        c.ca_file = d->server->authorities_file;
        c.revocation = d->server->lists != 0;
    } else if (c.client_auth == TLS_AUTH_REQUIRED) {
        return err_set(e, ERR_INVALID, NULL,
                       "devices need certificates, and there is no device-authority");
    } else {
        c.client_auth = TLS_AUTH_NONE; /* there is nothing by which one could be believed */
    }
    return tls_server_new(&c, &d->tls, e);
}

/* The unspecified IPv6 address stands for all of the machine's. A socket of its own has those of
 * IPv4, since listen_tcp() keeps the families apart; it comes first, because a machine may be
 * without IPv6. */
static enum err_code door_bind(struct door *d, struct err *e) {
    static const struct ip_addr any6 = {.family = 6}, any4 = {.family = 4};
    const struct onboard_listener *l = d->config->doc->data;
    if (l->address.family == 6 && memcmp(l->address.bytes, any6.bytes, sizeof any6.bytes) == 0) {
        ERR_TRY(http_listen_tcp(d->http, &any4, l->port, d->tls, 0, NULL, e));
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 && errno == EAFNOSUPPORT) {
            return ERR_OK;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return http_listen_tcp(d->http, &l->address, l->port, d->tls, 0, NULL, e);
}

static enum err_code door_listen(struct door *d, unsigned conns, struct err *e) {
    struct http_limits lim = http_limits_default;
    ERR_TRY(door_tls(d, e));
    lim.max_conns = conns;
    http_limits_fit(&lim);
    d->http = http_server_new(d->server->cfg.loop, &lim, on_request, d);
    http_server_on_error(d->http, request_write_error, d);
    http_server_on_turned_away(d->http, request_turned_away, d);
    enum err_code rc = door_bind(d, e);
    if (rc != ERR_OK) {
        http_server_free(d->http);
        d->http = NULL;
        tls_ctx_free(d->tls);
        d->tls = NULL;
    }
    return rc;
}

static void tell_failed(struct onboard_server *s, const char *name, const char *why) {
    json_t *o = json_pack("{s:s, s:s}", "listener", name, "reason", why);
    char *json = json_dumps(o, JSON_COMPACT);
    core_tell(s->cfg.core, "weft-onboard:listener-failed", json);
    free(json); /* jansson's */
    json_decref(o);
}

static void door_open(struct door *d, unsigned conns) {
    const struct onboard_listener *l = d->config->doc->data;
    char text[IP_TEXT_MAX], why[ERR_TEXT_MAX];
    struct err e = {.code = ERR_OK};
    if (l->disabled) {
        d->reason[0] = '\0';
        return;
    }
    if (door_listen(d, conns, &e) == ERR_OK) {
        d->reason[0] = '\0';
        L_INFO("devices are served at %s port %u (listener %s)", ip_addr_format(&l->address, text),
               l->port, l->name);
        return;
    }
    snprintf(why, sizeof why, "%.300s%s%.400s", e.path, e.path[0] != '\0' ? ": " : "", e.text);
    if (strcmp(why, d->reason) != 0) { /* once for each reason */
        L_ERR("listener %s for devices can't be opened: %s", l->name, why);
        tell_failed(d->server, l->name, why);
    }
    snprintf(d->reason, sizeof d->reason, "%s", why);
    d->retry_ms = loop_now(d->server->cfg.loop) / NS_PER_MS + RETRY_MS;
}

static struct door *door_find(struct onboard_server *s, const char *name) {
    LIST_FOREACH (pos, &s->doors) {
        struct door *d = CONTAINER_OF(pos, struct door, link);
        const struct onboard_listener *l = d->config->doc->data;
        if (strcmp(l->name, name) == 0) {
            return d;
        }
    }
    return NULL;
}

/* ---- as the configuration has it ------------------------------------------------------------- */

static void add_pem(struct buf *out,
                    enum err_code (*read)(const char *, struct buf *, struct err *),
                    const char *text) {
    struct buf one = BUF_INIT;
    struct err e;
    if (read(text, &one, &e) == ERR_OK) {
        buf_add(out, one.data, one.len);
        buf_char(out, '\n');
    }
    buf_free(&one);
}

enum authorities { AUTHORITIES_SAME, AUTHORITIES_LISTS, AUTHORITIES_OTHER };

/* Writes the authorities of devices, with their revocation lists, where they changed. Says what
 * did: newer lists alone, or more. */
static enum authorities look_authorities(struct onboard_server *s, const struct snap *snap) {
    uint64_t sum = 0, lists = 0;
    struct buf pem = BUF_INIT;
    struct err e;
    for (const struct object *o = snap_first_of(snap, &onboard_device_authority_kind);
         o != NULL && o->doc->kind == &onboard_device_authority_kind; o = snap_next(snap, o)) {
        const struct onboard_device_authority *a = o->doc->data;
        sum = sum * 31 + map_hash(a->certificate, strlen(a->certificate)) + 1;
        add_pem(&pem, pem_text, a->certificate);
        if (a->crl != NULL) {
            lists = lists * 31 + map_hash(a->crl, strlen(a->crl)) + 1;
            add_pem(&pem, crl_text, a->crl);
        }
    }
    enum authorities what = sum != s->authorities || (lists != 0) != (s->lists != 0)
                                ? AUTHORITIES_OTHER
                            : lists != s->lists ? AUTHORITIES_LISTS
                                                : AUTHORITIES_SAME;
    if (what != AUTHORITIES_SAME && sum != 0 &&
        file_write(s->authorities_file, pem.data, pem.len, 0600, &e) != ERR_OK) {
        L_ERR("authorities of devices can't be written: %s %s", e.path, e.text);
        what = AUTHORITIES_SAME; /* tried again with the next look */
    } else {
        s->authorities = sum;
        s->lists = lists;
    }
    buf_free(&pem);
    return what;
}

/* New connections go by the newer lists; those that are open, with a download perhaps, stay. */
static void reload(struct onboard_server *s) {
    struct err e;
    LIST_FOREACH (pos, &s->doors) {
        struct door *d = CONTAINER_OF(pos, struct door, link);
        if (d->tls != NULL && tls_reload(d->tls, &e) != ERR_OK) {
            L_ERR("what a listener is believed and believes by was not read again, the old stays: "
                  "%s %s",
                  e.path, e.text);
        }
    }
}

static void reconcile(struct onboard_server *s, const struct snap *snap) {
    enum authorities changed = look_authorities(s, snap);
    bool anew = changed == AUTHORITIES_OTHER;
    unsigned n = 0;
    int64_t now = loop_now(s->cfg.loop) / NS_PER_MS;
    LIST_FOREACH (pos, &s->doors) {
        CONTAINER_OF(pos, struct door, link)->seen = false;
    }
    for (const struct object *o = snap_first_of(snap, &onboard_listener_kind);
         o != NULL && o->doc->kind == &onboard_listener_kind; o = snap_next(snap, o)) {
        n++;
    }
    if (changed == AUTHORITIES_LISTS) {
        reload(s);
    }
    unsigned conns = s->cfg.max_conns != 0 ? s->cfg.max_conns / (n > 0 ? n : 1) : CONNS_MAX;
    conns = conns < 16 ? 16 : conns;
    for (const struct object *o = snap_first_of(snap, &onboard_listener_kind);
         o != NULL && o->doc->kind == &onboard_listener_kind; o = snap_next(snap, o)) {
        const struct onboard_listener *l = o->doc->data;
        struct door *d = door_find(s, l->name);
        bool same = d != NULL && doc_equal(d->config->doc, o->doc) && !anew;
        if (d != NULL && !same) {
            door_close(d);
            d = NULL;
        }
        if (d == NULL) {
            d = MEM_NEW(struct door);
            d->server = s;
            d->config = object_hold(o);
            list_append(&s->doors, &d->link);
            door_open(d, conns);
        } else if (d->http == NULL && !l->disabled && now >= d->retry_ms) {
            door_open(d, conns);
        }
        d->seen = true;
    }
    LIST_FOREACH_SAFE (pos, &s->doors) {
        struct door *d = CONTAINER_OF(pos, struct door, link);
        if (!d->seen) {
            door_close(d);
        }
    }
}

/* Doors become what the configuration has, where that changed or one is to be tried again. */
static void look(struct onboard_server *s) {
    struct snap *snap = core_snapshot(s->cfg.core);
    bool failed = false;
    LIST_FOREACH (pos, &s->doors) {
        failed |= CONTAINER_OF(pos, struct door, link)->reason[0] != '\0';
    }
    if (failed || snap_index(snap) != s->seen) {
        s->seen = snap_index(snap);
        reconcile(s, snap);
    }
    snap_release(snap);
}

void onboard_server_passed(struct onboard_server *s, struct http_req *r) {
    const char *value = http_header(r, ONBOARD_DEVICE_FIELD);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(value, ";"), value);
    struct door *d = door_find(s, name);
    if (d == NULL && !s->closing) { /* the other node has seen the commit before this one's tick */
        look(s);
        d = door_find(s, name);
    }
    if (d == NULL) { /* this node does not have the listener yet, or not any more */
        request_write_error(r, 503, "the listener is not known where this was passed on to", NULL);
        return;
    }
    request_begin(d, r, value);
}

static void tick(void *arg) {
    struct onboard_server *s = arg;
    look(s);
    publish(s);
    struct core_turn turn;
    core_turn(s->cfg.core, &turn);
    if (s->ticks++ % (1000 / TICK_MS) == 0) {
        notes_tick(s);
        if (turn.role == CORE_LEADS) {
            onboard_runs_tick(s->cfg.core);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

enum err_code onboard_server_new(const struct onboard_server_config *cfg,
                                 struct onboard_server **out, struct err *e) {
    char files[600];
    snprintf(files, sizeof files, "%s/files", onboard_paths.folder);
    ERR_TRY(file_make_folder(onboard_paths.folder, 0700, e));
    ERR_TRY(file_make_folder(files, 0700, e));
    struct onboard_server *s = MEM_NEW(struct onboard_server);
    s->cfg = *cfg;
    s->seen = UINT64_MAX;
    list_init(&s->doors);
    snprintf(s->authorities_file, sizeof s->authorities_file, "%s/device-authorities.pem",
             onboard_paths.folder);
    s->tick = loop_timer_new(cfg->loop, tick, s);
    tick(s);
    loop_timer_repeat(s->tick, TICK_MS);
    *out = s;
    return ERR_OK;
}

void onboard_server_reload(struct onboard_server *s) {
    reload(s);
}

static void server_free(void *arg) {
    struct onboard_server *s = arg;
    loop_fn *done = s->done;
    void *done_arg = s->done_arg;
    loop_timer_free(s->tick);
    map_free(&s->faults, mem_free);
    notes_free(s);
    mem_free(s);
    pthread_mutex_lock(&shown_lock);
    json_decref(shown);
    shown = NULL;
    pthread_mutex_unlock(&shown_lock);
    if (done != NULL) {
        done(done_arg);
    }
}

void server_left(struct onboard_server *s) {
    s->open--;
    if (s->closing && s->open == 0) {
        loop_post(s->cfg.loop, server_free, s);
    }
}

void onboard_server_close(struct onboard_server *s, loop_fn *done, void *arg) {
    s->done = done;
    s->done_arg = arg;
    s->open++; /* keeps it until the end of this function */
    s->closing = true;
    loop_timer_stop(s->tick);
    LIST_FOREACH_SAFE (pos, &s->doors) {
        door_close(CONTAINER_OF(pos, struct door, link));
    }
    server_left(s);
}
