// SPDX-License-Identifier: Apache-2.0
/*
 * libssh is driven by its own event context, polled with time 0 whenever the loop says that the
 * descriptor is ready; requests of the client are taken as messages, because only those can be
 * answered later (a password is hashed by a worker). No callback of libssh calls out of this file,
 * so everything here may be freed between two calls into it.
 */
#include "net/sshd.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/listen.h"

LOGGER_MODULE(ssh)

/* The callbacks that libssh has instead of these have to answer at once. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum {
    ACCEPTS_PER_TURN = 16, /* each costs a key exchange */
    ROUNDS_MAX = 16,       /* of reading and writing in one turn of the loop */
    PIECE = 32768,         /* bytes handed to libssh at once */
    END_MS = 1000,
};

struct listener {
    struct list link;
    struct sshd *server;
    int fd;
    struct loop_watch *watch;
};

struct sshd {
    struct loop *loop;
    struct sshd_config cfg;
    ssh_bind bind;
    char *fingerprint;
    struct list listeners, conns;
    struct map peers; /* address -> number of its connections, as a pointer */
    size_t n_conns;
};

struct sshd_conn {
    struct list link;
    struct sshd *server;
    void *arg;
    ssh_session session;
    ssh_event event;
    ssh_channel channel;
    struct loop_watch *watch;
    struct loop_timer *timer; /* until somebody is at work; then, when it is to end */
    struct loop_deferred work;
    struct ip_addr peer;
    uint16_t port;
    ssh_message login; /* waits for its answer */
    unsigned attempts;
    bool polled; /* its descriptor is the event's */
    bool exchanged, logged_in, open, paused, ending, eof_sent, dead;
    struct buf out;
};

/* ---- the end ----------------------------------------------------------------------------------
 */

static void peer_count(struct sshd *s, const struct ip_addr *a, int by) {
    size_t n = a->family == 6 ? 8 : 4; /* an IPv6 customer has a whole /64 */
    intptr_t have = (intptr_t)map_get_n(&s->peers, a->bytes, n) + by;
    if (have > 0) {
        map_put_n(&s->peers, a->bytes, n, (void *)have);
    } else {
        map_del_n(&s->peers, a->bytes, n);
    }
}

static void conn_free(struct sshd_conn *c) {
    struct sshd *s = c->server;
    loop_defer_cancel(&c->work);
    loop_watch_free(c->watch);
    loop_timer_free(c->timer);
    if (c->login != NULL) {
        ssh_message_free(c->login);
    }
    if (c->polled) {
        ssh_event_remove_session(c->event, c->session);
    }
    ssh_event_free(c->event);
    ssh_disconnect(c->session);
    ssh_free(c->session); /* channels with it */
    list_remove(&c->link);
    peer_count(s, &c->peer, -1);
    s->n_conns--;
    buf_free(&c->out);
    mem_free(c);
}

/* Everything that ends a connection comes through here; the memory goes at the end of the turn. */
static void die(struct sshd_conn *c, const char *why) {
    if (c->dead) {
        return;
    }
    c->dead = true;
    loop_watch_set(c->watch, 0);
    loop_defer(c->server->loop, &c->work);
    c->server->cfg.ops->closed(c, why, c->arg);
}

static void on_timer(void *arg) {
    struct sshd_conn *c = arg;
    die(c, c->ending ? "closed" : "nobody logged in in time");
}

/* ---- logins -----------------------------------------------------------------------------------
 */

static void refuse(ssh_message m) {
    ssh_message_auth_set_methods(m, SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_PUBLICKEY);
    ssh_message_reply_default(m);
}

void sshd_login_answer(struct sshd_conn *c, bool welcome) {
    if (c->dead || c->login == NULL) {
        return;
    }
    if (welcome) {
        c->logged_in = true;
        ssh_message_auth_reply_success(c->login, 0);
    } else {
        refuse(c->login);
    }
    ssh_message_free(c->login);
    c->login = NULL;
    loop_defer(c->server->loop, &c->work);
}

/* The key as people write it; free what it fills in. False: not a key. */
static bool key_text(ssh_key key, struct sshd_login *l, char **base64, char **fingerprint) {
    unsigned char *hash = NULL;
    size_t n = 0;
    if (key == NULL || ssh_pki_export_pubkey_base64(key, base64) != SSH_OK) {
        return false;
    }
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) == SSH_OK) {
        *fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);
        ssh_clean_pubkey_hash(&hash);
    }
    const char *ec = ssh_pki_key_ecdsa_name(key);
    bool is_ec = ssh_key_type(key) != SSH_KEYTYPE_ED25519 && ssh_key_type(key) != SSH_KEYTYPE_RSA;
    l->key_type = is_ec && ec != NULL ? ec : ssh_key_type_to_char(ssh_key_type(key));
    l->key_base64 = *base64;
    l->fingerprint = *fingerprint != NULL ? *fingerprint : "";
    return l->key_type != NULL;
}

/* True: the message was kept, to be answered later. */
static bool by_key(struct sshd_conn *c, ssh_message m, struct sshd_login *l) {
    const struct sshd_ops *ops = c->server->cfg.ops;
    char *base64 = NULL, *fingerprint = NULL;
    bool kept = false;
    enum ssh_publickey_state_e state = ssh_message_auth_publickey_state(m);
    if (!key_text(ssh_message_auth_pubkey(m), l, &base64, &fingerprint) ||
        (state == SSH_PUBLICKEY_STATE_NONE && !ops->key_known(c, l, c->arg))) {
        refuse(m);
    } else if (state == SSH_PUBLICKEY_STATE_NONE) {
        ssh_message_auth_reply_pk_ok_simple(m);
        c->attempts--; /* a question, no attempt */
    } else if (state == SSH_PUBLICKEY_STATE_VALID) {
        c->login = m;
        kept = true;
        ops->login(c, l, c->arg);
    } else {
        refuse(m);
    }
    ssh_string_free_char(base64);
    ssh_string_free_char(fingerprint);
    return kept;
}

static bool on_auth(struct sshd_conn *c, ssh_message m) {
    struct sshd_login l = {.user = ssh_message_auth_user(m)};
    int how = ssh_message_subtype(m);
    bool known = how == SSH_AUTH_METHOD_PASSWORD || how == SSH_AUTH_METHOD_PUBLICKEY;
    if (!known || c->logged_in || c->login != NULL || l.user == NULL ||
        strlen(l.user) > SSHD_USER_MAX) {
        refuse(m);
        return false;
    }
    if (++c->attempts > SSHD_ATTEMPTS_MAX) {
        die(c, "too many attempts to log in");
        return false;
    }
    if (how == SSH_AUTH_METHOD_PUBLICKEY) {
        return by_key(c, m, &l);
    }
    l.password = ssh_message_auth_password(m);
    if (l.password == NULL) {
        refuse(m);
        return false;
    }
    c->login = m;
    c->server->cfg.ops->login(c, &l, c->arg);
    return true;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void on_channel_open(struct sshd_conn *c, ssh_message m) {
    if (!c->logged_in || c->channel != NULL || ssh_message_subtype(m) != SSH_CHANNEL_SESSION) {
        ssh_message_reply_default(m);
        return;
    }
    c->channel = ssh_message_channel_request_open_reply_accept(m);
}

static void on_channel_request(struct sshd_conn *c, ssh_message m) {
    const char *name = NULL;
    if (ssh_message_subtype(m) == SSH_CHANNEL_REQUEST_SUBSYSTEM && c->channel != NULL && !c->open) {
        name = ssh_message_channel_request_subsystem(m);
    }
    if (name == NULL || !c->server->cfg.ops->subsystem(c, name, c->arg)) {
        ssh_message_reply_default(m);
        return;
    }
    ssh_message_channel_request_reply_success(m);
    c->open = true;
    if (!c->ending) {
        loop_timer_stop(c->timer);
    }
}

static bool take_messages(struct sshd_conn *c) {
    bool any = false;
    for (ssh_message m;
         !c->dead && c->login == NULL && (m = ssh_message_get(c->session)) != NULL;) {
        bool kept = false;
        any = true;
        switch (ssh_message_type(m)) {
        case SSH_REQUEST_AUTH:
            kept = on_auth(c, m);
            break;
        case SSH_REQUEST_CHANNEL_OPEN:
            on_channel_open(c, m);
            break;
        case SSH_REQUEST_CHANNEL:
            on_channel_request(c, m);
            break;
        default:
            ssh_message_reply_default(m);
        }
        if (!kept) {
            ssh_message_free(m);
        }
    }
    return any;
}

/* ---- bytes ------------------------------------------------------------------------------------
 */

static bool read_some(struct sshd_conn *c) {
    uint8_t piece[PIECE];
    if (!c->open || c->paused || c->dead || c->ending) {
        return false;
    }
    int n = ssh_channel_read_nonblocking(c->channel, piece, sizeof(piece), 0);
    if (n > 0) {
        c->server->cfg.ops->data(c, piece, (size_t)n, c->arg);
        return true;
    }
    if (n == SSH_EOF || n == SSH_ERROR || ssh_channel_is_eof(c->channel) ||
        ssh_channel_is_closed(c->channel)) {
        die(c, "closed by the peer");
    }
    return false;
}

static bool can_write(const struct sshd_conn *c) {
    return c->open && !c->dead && !(ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING);
}

static bool write_some(struct sshd_conn *c) {
    if (!can_write(c) || c->out.len == 0) {
        return false;
    }
    uint32_t n = c->out.len < PIECE ? (uint32_t)c->out.len : PIECE;
    int took = ssh_channel_write(c->channel, c->out.data, n);
    if (took == SSH_ERROR) {
        die(c, "can't write");
        return false;
    }
    if (took > 0) {
        buf_consume(&c->out, (size_t)took);
        c->server->cfg.ops->sent(c, c->arg);
    }
    return took > 0;
}

/* The client closes the connection when it has read to the end; or the timer does. If we did at
 * once, what it sends meanwhile would be answered with a reset, which takes unread answers away. */
static void finish(struct sshd_conn *c) {
    if (c->dead || !c->ending || c->out.len > 0 || c->eof_sent) {
        return;
    }
    if (!c->open) {
        die(c, "closed");
    } else if (can_write(c)) {
        c->eof_sent = true;
        ssh_channel_send_eof(c->channel);
        ssh_channel_close(c->channel);
    }
}

static bool exchange(struct sshd_conn *c) {
    if (!c->exchanged) {
        int rc = ssh_handle_key_exchange(c->session);
        if (rc == SSH_ERROR || !ssh_is_connected(c->session)) {
            L_DBG("key exchange: %s", ssh_get_error(c->session));
            die(c, "the key exchange failed");
            return false;
        }
        /* libssh makes what an event takes over when it first looks for packets */
        c->polled = c->polled || ssh_event_add_session(c->event, c->session) == SSH_OK;
        if (rc != SSH_OK) {
            return false;
        }
        c->exchanged = true;
        ssh_set_auth_methods(c->session, SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_PUBLICKEY);
    }
    return true;
}

static void pump(struct sshd_conn *c) {
    bool again = exchange(c);
    for (int i = 0; again && !c->dead; i++) {
        if (i == ROUNDS_MAX) { /* others have their turn too */
            loop_defer(c->server->loop, &c->work);
            break;
        }
        if (ssh_event_dopoll(c->event, 0) == SSH_ERROR || !ssh_is_connected(c->session)) {
            die(c, "the connection was lost");
            return;
        }
        again = take_messages(c);
        again |= read_some(c);
        again |= write_some(c);
    }
    finish(c);
    if (!c->dead) {
        bool writes = ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
        loop_watch_set(c->watch, LOOP_READ | (writes ? LOOP_WRITE : 0));
    }
}

static void on_work(void *arg) {
    struct sshd_conn *c = arg;
    if (c->dead) {
        conn_free(c);
    } else {
        pump(c);
    }
}

static void on_ready(int fd, unsigned events, void *arg) {
    (void)fd;
    (void)events;
    pump(arg);
}

void sshd_write(struct sshd_conn *c, const void *p, size_t n) {
    if (!c->dead && !c->ending) {
        buf_add(&c->out, p, n);
        loop_defer(c->server->loop, &c->work);
    }
}

size_t sshd_queued(const struct sshd_conn *c) {
    return c->out.len;
}

void sshd_pause(struct sshd_conn *c, bool pause) {
    c->paused = pause;
    if (!pause && !c->dead) {
        loop_defer(c->server->loop, &c->work);
    }
}

void sshd_end(struct sshd_conn *c) {
    if (!c->dead && !c->ending) {
        c->ending = true;
        loop_timer_start(c->timer, END_MS);
        loop_defer(c->server->loop, &c->work);
    }
}

const struct ip_addr *sshd_peer(const struct sshd_conn *c, uint16_t *port) {
    *port = c->port;
    return &c->peer;
}

/* ---- connections ------------------------------------------------------------------------------
 */

static bool admit(struct sshd *s, const struct ip_addr *a) {
    intptr_t have = (intptr_t)map_get_n(&s->peers, a->bytes, a->family == 6 ? 8 : 4);
    bool peer_full = have >= (intptr_t)s->cfg.max_conns_per_peer;
    if (s->n_conns < s->cfg.max_conns && !peer_full) {
        return true;
    }
    char text[IP_TEXT_MAX];
    L_WARN_RL(10, "%s is refused: %s", ip_addr_format(a, text),
              peer_full ? "this peer has too many connections" : "there are too many connections");
    return false;
}

void sshd_serve(struct sshd *s, int fd) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct ip_addr peer = {.family = 0};
    uint16_t port = 0;
    int one = 1;
    if (getpeername(fd, (struct sockaddr *)&ss, &len) != 0 || !listen_peer(&ss, &peer, &port) ||
        !admit(s, &peer)) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ssh_session session = ssh_new();
    if (session == NULL || ssh_bind_accept_fd(s->bind, session, fd) != SSH_OK) {
        L_WARN_RL(10, "can't serve a connection: %s", ssh_get_error(s->bind));
        ssh_free(session);
        close(fd);
        return;
    }
    ssh_set_blocking(session, 0);
    struct sshd_conn *c = MEM_NEW(struct sshd_conn);
    c->server = s;
    c->session = session;
    c->event = ssh_event_new();
    c->peer = peer;
    c->port = port;
    c->work.fn = on_work;
    c->work.arg = c;
    list_append(&s->conns, &c->link);
    peer_count(s, &peer, 1);
    s->n_conns++;
    c->watch = loop_watch_new(s->loop, fd, LOOP_READ, on_ready, c);
    c->timer = loop_timer_new(s->loop, on_timer, c);
    loop_timer_start(c->timer, SSHD_LOGIN_MS);
    c->arg = s->cfg.accepted(c, s->cfg.arg);
    loop_defer(s->loop, &c->work);
}

static void on_accept(int fd, unsigned events, void *arg) {
    struct listener *li = arg;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                L_WARN_RL(10, "can't accept: %s", strerror(errno));
            }
            return;
        }
        sshd_serve(li->server, got);
    }
}

/* ---- the server -------------------------------------------------------------------------------
 */

static enum err_code make_key(const char *path, struct err *e) {
    ssh_key key = NULL;
    if (access(path, F_OK) == 0) {
        return ERR_OK;
    }
    char *temporary = mem_printf("%s.new", path);
    mode_t before = umask(077);
    bool ok = ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) == SSH_OK &&
              ssh_pki_export_privkey_file(key, NULL, NULL, NULL, temporary) == SSH_OK;
    umask(before);
    ssh_key_free(key);
    int fd = ok ? open(temporary, O_RDONLY | O_CLOEXEC) : -1;
    ok = fd >= 0 && fsync(fd) == 0 && rename(temporary, path) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (!ok) {
        unlink(temporary);
    }
    mem_free(temporary);
    return ok ? ERR_OK : err_errno(e, errno, path, "the SSH host key can't be made");
}

static enum err_code take_key(struct sshd *s, const char *path, struct err *e) {
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t n = 0;
    ERR_TRY(make_key(path, e));
    if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK) {
        return err_set(e, ERR_IO, path, "is no private key that can be read");
    }
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) == SSH_OK) {
        char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);
        s->fingerprint = mem_strdup(text != NULL ? text : "");
        ssh_string_free_char(text);
        ssh_clean_pubkey_hash(&hash);
    }
    ssh_key_free(key);
    return ERR_OK;
}

/* What is strong and common; nothing with SHA-1, CBC or RC4. */
static bool set_up_bind(ssh_bind b, const char *key_file) {
    static const char kex[] = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,"
                              "ecdh-sha2-nistp384,diffie-hellman-group16-sha512";
    static const char ciphers[] = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,"
                                  "aes128-gcm@openssh.com,aes256-ctr,aes128-ctr";
    static const char macs[] = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
                               "hmac-sha2-256,hmac-sha2-512";
    bool no = false;
    return ssh_bind_options_set(b, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_HOSTKEY, key_file) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_BANNER, "Weft") == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_KEY_EXCHANGE, kex) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_C_S, ciphers) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_S_C, ciphers) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_C_S, macs) == SSH_OK &&
           ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_S_C, macs) == SSH_OK;
}

enum err_code sshd_new(struct loop *l, const struct sshd_config *cfg, struct sshd **out,
                       struct err *e) {
    struct sshd *s = MEM_NEW(struct sshd);
    s->loop = l;
    s->cfg = *cfg;
    s->cfg.host_key_file = NULL; /* not ours to keep */
    list_init(&s->listeners);
    list_init(&s->conns);
    s->bind = ssh_bind_new();
    enum err_code rc = take_key(s, cfg->host_key_file, e);
    if (rc == ERR_OK && !set_up_bind(s->bind, cfg->host_key_file)) {
        rc = err_set(e, ERR_INTERNAL, cfg->host_key_file, "libssh refuses the settings: %s",
                     ssh_get_error(s->bind));
    }
    if (rc != ERR_OK) {
        sshd_free(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

enum err_code sshd_listen(struct sshd *s, const struct ip_addr *addr, uint16_t port,
                          uint16_t *bound, struct err *e) {
    int fd;
    ERR_TRY(listen_tcp(addr, port, &fd, bound, e));
    struct listener *li = MEM_NEW(struct listener);
    li->server = s;
    li->fd = fd;
    li->watch = loop_watch_new(s->loop, fd, LOOP_READ, on_accept, li);
    list_append(&s->listeners, &li->link);
    return ERR_OK;
}

void sshd_free(struct sshd *s) {
    if (s == NULL) {
        return;
    }
    LIST_FOREACH_SAFE (pos, &s->listeners) {
        struct listener *li = CONTAINER_OF(pos, struct listener, link);
        loop_watch_free(li->watch);
        close(li->fd);
        list_remove(&li->link);
        mem_free(li);
    }
    LIST_FOREACH_SAFE (pos, &s->conns) {
        struct sshd_conn *c = CONTAINER_OF(pos, struct sshd_conn, link);
        die(c, "the server is stopping");
        conn_free(c);
    }
    map_free(&s->peers, NULL);
    ssh_bind_free(s->bind);
    mem_free(s->fingerprint);
    mem_free(s);
}

size_t sshd_conns(const struct sshd *s) {
    return s->n_conns;
}

const char *sshd_fingerprint(const struct sshd *s) {
    return s->fingerprint != NULL ? s->fingerprint : "";
}
