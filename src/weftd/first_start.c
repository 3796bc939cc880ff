// SPDX-License-Identifier: Apache-2.0
#include "weftd/first_start.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ip.h"
#include "base/lock_file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/http_auth.h"
#include "core/rights.h"
#include "core/secrets.h"
#include "model/kinds.h"
#include "net/pki.h"
#include "north/relay.h"

LOGGER_MODULE(weftd);

enum {
    CA_DAYS = 3650,
    SERVER_DAYS = 825,
    RENEW_DAYS = 30,
    CA_WARN_DAYS = 90,
    PASSWORD_LEN = 20,
    NAMES_MAX = 16
};
#define DAY_S           86400LL
#define HOST_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._*"

void first_start_paths(const char *data, struct first_start *f) {
    f->lock = -1;
    f->ca_cert = mem_printf("%s/pki/ca.pem", data);
    f->ca_key = mem_printf("%s/pki/ca.key", data);
    f->clients = mem_printf("%s/pki/clients.pem", data);
    f->secrets_key = mem_printf("%s/pki/secrets.key", data);
    f->ssh_key = mem_printf("%s/pki/ssh_host_key", data);
    f->server_cert = mem_printf("%s/pki/server.pem", data);
    f->server_key = mem_printf("%s/pki/server.key", data);
    f->node_cert = mem_printf("%s/pki/node.pem", data);
    f->node_key = mem_printf("%s/pki/node.key", data);
    f->password_file = mem_printf("%s/admin-password", data);
    f->backups = mem_printf("%s/backup", data);
    f->configs = mem_printf("%s/config", data);
    f->logs = mem_printf("%s/log", data);
    f->support = mem_printf("%s/support", data);
}

void first_start_free(struct first_start *f) {
    if (f->ca_cert != NULL && f->lock >= 0) {
        close(f->lock);
    }
    mem_free(f->ca_cert);
    mem_free(f->ca_key);
    mem_free(f->clients);
    mem_free(f->secrets_key);
    mem_free(f->ssh_key);
    mem_free(f->server_cert);
    mem_free(f->server_key);
    mem_free(f->node_cert);
    mem_free(f->node_key);
    mem_free(f->password_file);
    mem_free(f->backups);
    mem_free(f->configs);
    mem_free(f->logs);
    mem_free(f->support);
}

/* Before anything in it is touched: the log's own lock would come too late for keys and
 * certificates, and is another file when the store lies elsewhere. */
static enum err_code lock_folder(const char *data, int *out, struct err *e) {
    char *path = mem_printf("%s/lock", data), holder[LOCK_HOLDER_MAX];
    enum err_code rc = lock_file(path, out, holder, e);
    if (rc == ERR_LOCKED) {
        err_set(e, rc, data,
                "another weftd (process %s) runs on this data folder; stop it first, or give this "
                "one a folder of its own with --data",
                holder);
    }
    mem_free(path);
    return rc;
}

static bool there(const char *path) {
    return access(path, F_OK) == 0;
}

/* Calls `fn` with each of the names between the commas. */
static enum err_code each_name(const char *names,
                               enum err_code (*fn)(const char *name, void *arg, struct err *e),
                               void *arg, struct err *e) {
    char *copy = mem_strdup(names), *save = NULL;
    enum err_code rc = ERR_OK;
    for (char *n = strtok_r(copy, ", ", &save); n != NULL && rc == ERR_OK;
         n = strtok_r(NULL, ", ", &save)) {
        rc = fn(n, arg, e);
    }
    mem_free(copy);
    return rc;
}

struct sans {
    char *text[NAMES_MAX + 4]; /* those that every certificate has, and the end */
    size_t n;
};

static enum err_code add_san(const char *name, void *arg, struct err *e) {
    struct sans *s = arg;
    struct ip_addr a;
    struct err ignore;
    bool address = ip_addr_parse(name, &a, &ignore) == ERR_OK;
    if (!address && (strlen(name) > 253 || name[strspn(name, HOST_CHARACTERS)] != '\0')) {
        return err_set(e, ERR_INVALID, "--hostname", "\"%s\" is no host name and no address", name);
    }
    if (s->n == NAMES_MAX) {
        return err_set(e, ERR_LIMIT, "--hostname", "a certificate holds at most %d names",
                       (int)NAMES_MAX);
    }
    s->text[s->n++] = mem_printf("%s:%s", address ? "IP" : "DNS", name);
    return ERR_OK;
}

static enum err_code make_server_cert(const char *hostnames, const struct first_start *f,
                                      struct err *e) {
    static const char *const always[] = {"DNS:localhost", "IP:127.0.0.1", "IP:::1"};
    struct sans s = {.n = 0};
    enum err_code rc = each_name(hostnames, add_san, &s, e);
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        s.text[s.n++] = mem_strdup(always[i]);
    }
    if (rc == ERR_OK) {
        struct pki_request r = {.common_name = "weft",
                                .sans = (const char *const *)s.text,
                                .use = PKI_SERVER,
                                .days = SERVER_DAYS};
        rc = pki_issue(f->ca_cert, f->ca_key, &r, f->server_cert, f->server_key, e);
    }
    for (size_t i = 0; i < s.n; i++) {
        mem_free(s.text[i]);
    }
    return rc;
}

/* The certificate may be somebody's own: it is not replaced because it lacks a name. */
static enum err_code warn_without(const char *name, void *arg, struct err *e) {
    const char *file = arg;
    bool has = true;
    (void)e;
    if (pki_has_name(file, name, &has, NULL) == ERR_OK && !has) {
        L_WARN("%s is not for %s: clients that use this name will not trust it. Remove the file "
               "and start again for a new one",
               file, name);
    }
    return ERR_OK;
}

enum err_code first_start_renew(const struct first_start *f, const char *hostnames, bool *made,
                                struct err *e) {
    long long left = 0, now = clock_wall_s(&clock_real);
    struct err ignore;
    bool ours = true, is_there = there(f->server_cert) && there(f->server_key);
    *made = false;
    if (pki_expires_in(f->ca_cert, now, &left, &ignore) == ERR_OK && left < CA_WARN_DAYS * DAY_S) {
        L_WARN_RL(DAY_S, "the authority %s ends in %lld days: all certificates end with it",
                  f->ca_cert, left / DAY_S);
    }
    if (is_there && pki_expires_in(f->server_cert, now, &left, &ignore) == ERR_OK &&
        left > RENEW_DAYS * DAY_S) {
        return ERR_OK;
    }
    if (is_there && pki_issued_by(f->server_cert, f->ca_cert, &ours, &ignore) == ERR_OK && !ours) {
        L_WARN_RL(DAY_S,
                  "%s %s %lld days and is of another authority: put a new one there and reload",
                  f->server_cert, left < 0 ? "has ended since" : "ends in",
                  (left < 0 ? -left : left) / DAY_S);
        return ERR_OK;
    }
    ERR_TRY(make_server_cert(hostnames, f, e));
    L_INFO("made a server certificate for %s: %s", hostnames, f->server_cert);
    *made = true;
    return ERR_OK;
}

enum err_code first_start_server_cert(const struct first_start *f, const char *hostnames,
                                      struct err *e) {
    return make_server_cert(hostnames, f, e);
}

enum err_code first_start_node(const struct first_start *f, const char *node, bool *made,
                               struct err *e) {
    char dns[128], uri[128];
    long long left = 0;
    struct err ignore;
    bool ours = false, named = false;
    snprintf(dns, sizeof dns, "DNS:%s" RELAY_NAME_SUFFIX, node);
    snprintf(uri, sizeof uri, "URI:" HTTP_AUTH_NODE_URI "%s", node);
    *made = !(there(f->node_cert) && there(f->node_key) &&
              pki_expires_in(f->node_cert, clock_wall_s(&clock_real), &left, &ignore) == ERR_OK &&
              left > RENEW_DAYS * DAY_S &&
              pki_issued_by(f->node_cert, f->ca_cert, &ours, &ignore) == ERR_OK && ours &&
              pki_has_name(f->node_cert, dns + 4, &named, &ignore) == ERR_OK && named);
    if (!*made) {
        return ERR_OK;
    }
    const char *const sans[] = {dns, uri, NULL};
    struct pki_request r = {
        .common_name = node, .sans = sans, .use = PKI_SERVER | PKI_CLIENT, .days = SERVER_DAYS};
    return pki_issue(f->ca_cert, f->ca_key, &r, f->node_cert, f->node_key, e);
}

enum err_code first_start_files(const char *data, const char *hostnames, struct first_start *f,
                                struct err *e) {
    char pki[4096], store[4096];
    snprintf(pki, sizeof pki, "%s/pki", data);
    ERR_TRY(file_make_folder(data, 0700, e));
    ERR_TRY(lock_folder(data, &f->lock, e));
    ERR_TRY(file_make_folder(pki, 0700, e));
    ERR_TRY(file_make_folder(f->backups, 0700, e));
    /* A store that is there has its key somewhere: a new one would only hide that it is missing. */
    snprintf(store, sizeof store, "%s/weft.db", data);
    ERR_TRY(secrets_load(f->secrets_key, !there(store), e));
    if (!there(f->ca_cert) || !there(f->ca_key)) {
        if (there(f->ca_cert) || there(f->ca_key)) {
            return err_set(e, ERR_MISSING, pki,
                           "only one of ca.pem and ca.key is there; put back the other one, or "
                           "remove both and give every agent a new certificate");
        }
        ERR_TRY(pki_make_ca("Weft authority", CA_DAYS, f->ca_cert, f->ca_key, e));
        L_INFO("made an authority: %s", f->ca_cert);
    }
    bool made;
    ERR_TRY(first_start_renew(f, hostnames, &made, e));
    if (!made) {
        struct err ignore;
        bool ours = true;
        each_name(hostnames, warn_without, f->server_cert, NULL);
        if (pki_issued_by(f->server_cert, f->ca_cert, &ours, &ignore) == ERR_OK && !ours) {
            L_INFO("%s is of another authority than %s: that one is what clients and gateways "
                   "have to trust. If that is not meant, remove it, and one of ours is made",
                   f->server_cert, f->ca_cert);
        }
    }
    return ERR_OK;
}

/* ---- the administrator ----------------------------------------------------------------------- */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
};

static void changed(struct change *ch, void *arg) {
    struct wait *w = arg;
    (void)ch;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ready);
    pthread_mutex_unlock(&w->lock);
}

static enum err_code commit_admin(struct core *c, const char *hash, struct err *e) {
    static const char role[] =
        "{\"weft-system:role\":[{\"name\":\"admin\",\"description\":\"Everything.\","
        "\"right\":[{\"path\":\"/\",\"access\":\"read write exec\"}]}]}";
    struct wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    struct change *ch = change_new(&actor_system);
    char now[TIME_TEXT_MAX];
    char *user =
        mem_printf("{\"weft-system:user\":[{\"name\":\"admin\",\"full-name\":"
                   "\"Administrator\",\"password-hash\":\"%s\",\"password-changed\":\"%s\","
                   "\"role\":[\"admin\"]}]}",
                   hash, time_format(clock_wall_s(&clock_real), 0, now));
    ch->comment = mem_strdup("first start");
    change_add(ch, EDIT_MERGE, "/weft-system:system/role=admin", role, sizeof role - 1,
               FORMAT_JSON);
    change_add(ch, EDIT_CREATE, "/weft-system:system/user=admin", user, strlen(user), FORMAT_JSON);
    core_change(c, ch, changed, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.ready, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    enum err_code rc = ch->err.code;
    if (rc != ERR_OK) {
        *e = ch->err;
    }
    change_free(ch);
    mem_wipe(user, strlen(user));
    mem_free(user);
    return rc;
}

enum err_code first_start_admin(struct core *c, const struct first_start *f, struct err *e) {
    struct snap *s = core_snapshot(c);
    const struct object *any = snap_first_of(s, &system_user_kind);
    snap_release(s);
    if (any != NULL) {
        return ERR_OK;
    }
    char password[PASSWORD_LEN + 1], line[PASSWORD_LEN + 2];
    rng_token(password, PASSWORD_LEN);
    snprintf(line, sizeof line, "%s\n", password);
    char *hash = rights_hash(password);
    /* The file first: a commit whose password nobody knows would lock everybody out. */
    enum err_code rc = hash != NULL ? file_write(f->password_file, line, strlen(line), 0600, e)
                                    : err_set(e, ERR_INTERNAL, NULL, "no password can be hashed");
    if (rc == ERR_OK) {
        rc = commit_admin(c, hash, e);
    }
    if (rc == ERR_OK) {
        L_INFO("made the user admin; the password is in %s", f->password_file);
    }
    mem_wipe(password, sizeof password);
    mem_wipe(line, sizeof line);
    mem_free(hash);
    return rc;
}
