// SPDX-License-Identifier: Apache-2.0
#include "net/scp.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    KEY_FILE_MAX = 16384,
    PIECE = 32768,      /* bytes in one request to write */
    CONNECT_MS = 15000, /* for one address */
    LOOK_MS = 200,      /* between two looks at whether to stop */
    MODE = 0600,
};

struct scp {
    ssh_session session;
    sftp_session sftp; /* NULL: the server has none, and the SCP protocol is spoken */
    struct scp_url url;
    int fd;   /* libssh's, once it was given it */
    int same; /* another descriptor of the same socket, to shut it down by */
    bool given;
    /* The watch: ends the connection in time. */
    pthread_t thread;
    bool watched;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool over; /* under lock: no more to watch */
    atomic_bool cut;
    int64_t deadline_ns;
    bool (*stop)(void *arg);
    void *arg;
};

/* ---- URLs and keys -----------------------------------------------------------------------------
 */

static enum err_code bad_url(struct err *e, const char *why) {
    return err_set(e, ERR_INVALID, NULL,
                   "%s; write scp://LOGIN@SERVER/FOLDER or scp://LOGIN@SERVER:PORT/FOLDER", why);
}

static enum err_code take_port(const char *text, size_t n, uint16_t *out, struct err *e) {
    char digits[8], *end;
    if (n == 0 || n >= sizeof digits || strspn(text, "0123456789") < n) {
        return bad_url(e, "the port of a URL is a number from 1 to 65535");
    }
    memcpy(digits, text, n);
    digits[n] = '\0';
    unsigned long port = strtoul(digits, &end, 10);
    if (port == 0 || port > UINT16_MAX) {
        return bad_url(e, "the port of a URL is a number from 1 to 65535");
    }
    *out = (uint16_t)port;
    return ERR_OK;
}

/* "host", "host:22", "[2001:db8::1]:22" */
static enum err_code take_host(const char *text, size_t n, struct scp_url *out, struct err *e) {
    const char *end = text + n, *port = NULL;
    size_t len;
    if (n > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', n);
        struct ip_addr a;
        if (close == NULL || (close + 1 != end && close[1] != ':')) {
            return bad_url(e, "the brackets around the server's address don't close");
        }
        port = close + 1 != end ? close + 2 : NULL;
        text++;
        len = (size_t)(close - text);
        snprintf(out->host, sizeof out->host, "%.*s", (int)len, text);
        if (ip_addr_parse(out->host, &a, NULL) != ERR_OK || a.family != 6) {
            return bad_url(e, "what stands in brackets is no IPv6 address");
        }
    } else {
        const char *colon = memchr(text, ':', n);
        port = colon != NULL ? colon + 1 : NULL;
        len = colon != NULL ? (size_t)(colon - text) : n;
    }
    if (len == 0 || len >= sizeof out->host) {
        return bad_url(e, "the server is missing");
    }
    snprintf(out->host, sizeof out->host, "%.*s", (int)len, text);
    if (out->host[strspn(out->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789.-:")] != '\0' ||
        out->host[0] == '-') {
        return bad_url(e, "the server's name has characters that no name has");
    }
    return port != NULL ? take_port(port, (size_t)(end - port), &out->port, e) : ERR_OK;
}

enum err_code scp_url_parse(const char *url, struct scp_url *out, struct err *e) {
    static const char scheme[] = "scp://";
    const size_t skip = sizeof scheme - 1, len = strlen(url);
    memset(out, 0, sizeof *out);
    out->port = SCP_PORT;
    if (len < skip || memcmp(url, scheme, skip) != 0) {
        return bad_url(e, "only scp URLs are known");
    }
    if (len >= SCP_URL_MAX) {
        return bad_url(e, "the URL is too long");
    }
    const char *rest = url + skip;
    const char *slash = memchr(rest, '/', len - skip);
    const char *at = memchr(rest, '@', slash != NULL ? (size_t)(slash - rest) : len - skip);
    if (at == NULL || at == rest) {
        return bad_url(e, "the login is missing");
    }
    if (memchr(rest, ':', (size_t)(at - rest)) != NULL) {
        return bad_url(e, "a password has no place in a URL");
    }
    if ((size_t)(at - rest) >= sizeof out->login) {
        return bad_url(e, "the login is too long");
    }
    snprintf(out->login, sizeof out->login, "%.*s", (int)(at - rest), rest);
    if (slash == NULL) {
        return bad_url(e, "the folder is missing");
    }
    ERR_TRY(take_host(at + 1, (size_t)(slash - at - 1), out, e));
    for (const char *p = slash; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            return bad_url(e, "the folder has blanks or characters that are not ASCII");
        }
    }
    snprintf(out->path, sizeof out->path, "%s", slash);
    size_t n = strlen(out->path);
    while (n > 1 && out->path[n - 1] == '/') {
        out->path[--n] = '\0';
    }
    return ERR_OK;
}

static ssh_key host_key(const char *text) {
    char type[64];
    const char *blank = strchr(text, ' ');
    ssh_key key = NULL;
    if (blank == NULL || (size_t)(blank - text) >= sizeof type) {
        return NULL;
    }
    snprintf(type, sizeof type, "%.*s", (int)(blank - text), text);
    enum ssh_keytypes_e t = ssh_key_type_from_name(type);
    if (t == SSH_KEYTYPE_UNKNOWN || ssh_pki_import_pubkey_base64(blank + 1, t, &key) != SSH_OK) {
        return NULL;
    }
    return key;
}

enum err_code scp_check_host_key(const char *text, struct err *e) {
    ssh_key key = host_key(text);
    if (key == NULL) {
        return err_set(e, ERR_INVALID, NULL,
                       "this is no host key: give its type and the key, such as ssh-ed25519 "
                       "AAAA..., the last two words of what ssh-keyscan prints");
    }
    ssh_key_free(key);
    return ERR_OK;
}

static enum err_code private_key(const char *base64, ssh_key *out, struct err *e) {
    uint8_t text[KEY_FILE_MAX];
    size_t n = strlen(base64), pad = 0;
    while (pad < 2 && n > pad && base64[n - 1 - pad] == '=') {
        pad++;
    }
    int got = n % 4 == 0 && n / 4 * 3 < sizeof text
                  ? EVP_DecodeBlock(text, (const unsigned char *)base64, (int)n)
                  : -1;
    *out = NULL;
    if (got >= 0) {
        text[(size_t)got - pad] = '\0';
        ssh_pki_import_privkey_base64((const char *)text, NULL, NULL, NULL, out);
    }
    mem_wipe(text, sizeof text);
    return *out != NULL
               ? ERR_OK
               : err_set(e, ERR_INVALID, NULL,
                         "this is no private key without a passphrase: give the key's file as "
                         "base64 -w0 FILE prints it");
}

enum err_code scp_check_private_key(const char *base64, struct err *e) {
    ssh_key key;
    ERR_TRY(private_key(base64, &key, e));
    ssh_key_free(key);
    return ERR_OK;
}

/* ---- the watch ---------------------------------------------------------------------------------
 */

static int64_t now_ns(void) {
    return clock_mono(&clock_real);
}

static bool time_is_over(const struct scp *s) {
    return now_ns() >= s->deadline_ns || (s->stop != NULL && s->stop(s->arg));
}

static void *watch(void *arg) {
    struct scp *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->over) {
        int64_t due = now_ns() + LOOK_MS * NS_PER_MS;
        const struct timespec until = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S};
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
        if (!s->over && time_is_over(s)) {
            atomic_store(&s->cut, true);
            shutdown(s->same, SHUT_RDWR); /* whoever reads or writes sees the end */
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void watch_start(struct scp *s) {
    s->watched = pthread_create(&s->thread, NULL, watch, s) == 0;
}

static void watch_end(struct scp *s) {
    if (s->watched) {
        pthread_mutex_lock(&s->lock);
        s->over = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
}

/* What went wrong, as the server or the library says it. */
static enum err_code failed(struct scp *s, struct err *e, enum err_code rc, const char *what) {
    if (atomic_load(&s->cut)) {
        return err_set(e, ERR_TIMEOUT, NULL, "%s: it took too long", what);
    }
    const char *why = ssh_get_error(s->session);
    return err_set(e, rc, NULL, "%s: %.300s", what, why[0] != '\0' ? why : "the connection ended");
}

/* ---- the connection ----------------------------------------------------------------------------
 */

/* ERR_OK: connected. Waits for the time that is left, and looks whether to stop. */
static int connect_one(struct scp *s, const struct addrinfo *a) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    int why = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    int64_t until = now_ns() + CONNECT_MS * NS_PER_MS;
    while (why == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t len = sizeof why;
        if (time_is_over(s) || now_ns() >= until) {
            why = ETIMEDOUT;
        } else if (poll(&p, 1, LOOK_MS) > 0) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len);
        }
    }
    if (why != 0) {
        close(fd);
        return why;
    }
    const int on = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    s->fd = fd;
    s->same = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return s->same >= 0 ? 0 : errno;
}

static enum err_code dial(struct scp *s, struct err *e) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", s->url.port);
    int rc = getaddrinfo(s->url.host, port, &hints, &list);
    if (rc != 0) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "%s: %s", s->url.host,
                       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    }
    int why = ECONNREFUSED;
    for (const struct addrinfo *a = list; a != NULL && s->fd < 0; a = a->ai_next) {
        why = connect_one(s, a);
    }
    freeaddrinfo(list);
    if (s->same < 0 && time_is_over(s)) {
        return err_set(e, ERR_TIMEOUT, NULL, "%s port %u: it took too long", s->url.host,
                       (unsigned)s->url.port);
    }
    return s->same >= 0 ? ERR_OK
                        : err_errno(e, why, NULL, "%s port %u can't be reached", s->url.host,
                                    (unsigned)s->url.port);
}

/* Only keys of these types are asked for, so that the server shows one that we have. */
static void wanted_types(const struct scp_config *cfg, struct buf *out) {
    for (size_t i = 0; i < cfg->n_host_keys; i++) {
        const char *text = cfg->host_keys[i];
        size_t n = strcspn(text, " ");
        buf_str(out, out->len > 0 ? "," : "");
        if (n == 7 && memcmp(text, "ssh-rsa", 7) == 0) {
            buf_str(out, "rsa-sha2-512,rsa-sha2-256");
        } else {
            buf_add(out, text, n);
        }
    }
}

static enum err_code check_server(struct scp *s, const struct scp_config *cfg, struct err *e) {
    ssh_key shown = NULL;
    bool known = false;
    if (ssh_get_server_publickey(s->session, &shown) != SSH_OK) {
        return failed(s, e, ERR_UNAVAILABLE, "the server shows no host key");
    }
    for (size_t i = 0; i < cfg->n_host_keys && !known; i++) {
        ssh_key k = host_key(cfg->host_keys[i]);
        known = k != NULL && ssh_key_cmp(k, shown, SSH_KEY_CMP_PUBLIC) == 0;
        ssh_key_free(k);
    }
    unsigned char *hash = NULL;
    size_t n = 0;
    if (!known && ssh_get_publickey_hash(shown, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) == 0) {
        char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);
        err_set(e, ERR_DENIED, NULL,
                "the server shows another host key than configured, %s: either it is not the "
                "right server or its key has changed",
                text);
        ssh_string_free_char(text);
        ssh_clean_pubkey_hash(&hash);
    }
    ssh_key_free(shown);
    return known ? ERR_OK : ERR_DENIED;
}

/* Servers that ask for the password in words of their own. */
static int answer_questions(struct scp *s, const char *password) {
    int rc = ssh_userauth_kbdint(s->session, NULL, NULL);
    for (int rounds = 0; rc == SSH_AUTH_INFO && rounds < 4; rounds++) {
        int n = ssh_userauth_kbdint_getnprompts(s->session);
        for (int i = 0; i < n; i++) {
            ssh_userauth_kbdint_setanswer(s->session, (unsigned)i, password);
        }
        rc = ssh_userauth_kbdint(s->session, NULL, NULL);
    }
    return rc;
}

static enum err_code log_in(struct scp *s, const struct scp_config *cfg, struct err *e) {
    int rc;
    if (cfg->private_key != NULL) {
        ssh_key key;
        ERR_TRY(private_key(cfg->private_key, &key, e));
        rc = ssh_userauth_publickey(s->session, NULL, key);
        ssh_key_free(key);
    } else {
        ssh_userauth_none(s->session, NULL); /* tells which methods there are */
        int methods = ssh_userauth_list(s->session, NULL);
        rc = (methods & SSH_AUTH_METHOD_PASSWORD) != 0
                 ? ssh_userauth_password(s->session, NULL, cfg->password)
                 : answer_questions(s, cfg->password);
    }
    if (rc == SSH_AUTH_SUCCESS) {
        return ERR_OK;
    }
    return rc == SSH_AUTH_ERROR
               ? failed(s, e, ERR_UNAVAILABLE, "logging in failed")
               : err_set(e, ERR_DENIED, NULL, "the server does not let %s in", s->url.login);
}

static enum err_code shake_hands(struct scp *s, const struct scp_config *cfg, struct err *e) {
    struct buf types = BUF_INIT;
    const bool no_config = false;
    const long seconds = cfg->seconds;
    const int log = SSH_LOG_NOLOG;
    wanted_types(cfg, &types);
    ssh_options_set(s->session, SSH_OPTIONS_LOG_VERBOSITY, &log);
    ssh_options_set(s->session, SSH_OPTIONS_PROCESS_CONFIG, &no_config);
    ssh_options_set(s->session, SSH_OPTIONS_HOST, s->url.host);
    ssh_options_set(s->session, SSH_OPTIONS_USER, s->url.login);
    ssh_options_set(s->session, SSH_OPTIONS_TIMEOUT, &seconds);
    ssh_options_set(s->session, SSH_OPTIONS_FD, &s->fd);
    int rc = ssh_options_set(s->session, SSH_OPTIONS_HOSTKEYS, buf_cstr(&types));
    buf_free(&types);
    if (rc != SSH_OK) {
        return failed(s, e, ERR_INVALID, "the host keys can't be used");
    }
    s->given = true;
    if (ssh_connect(s->session) != SSH_OK) {
        return failed(s, e, ERR_UNAVAILABLE, "no SSH session");
    }
    ERR_TRY(check_server(s, cfg, e));
    ERR_TRY(log_in(s, cfg, e));
    s->sftp = sftp_new(s->session);
    if (s->sftp != NULL && sftp_init(s->sftp) != SSH_OK) {
        sftp_free(s->sftp);
        s->sftp = NULL;
    }
    return ERR_OK;
}

enum err_code scp_open(const struct scp_config *cfg, struct scp **out, struct err *e) {
    struct scp *s = MEM_NEW(struct scp);
    pthread_condattr_t mono;
    s->url = cfg->url;
    s->fd = s->same = -1;
    s->deadline_ns = now_ns() + cfg->seconds * NS_PER_S;
    s->stop = cfg->stop;
    s->arg = cfg->arg;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &mono);
    pthread_condattr_destroy(&mono);
    enum err_code rc = dial(s, e);
    if (rc == ERR_OK) {
        watch_start(s);
        s->session = ssh_new();
        rc = shake_hands(s, cfg, e);
    }
    if (rc != ERR_OK) {
        scp_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void scp_close(struct scp *s) {
    if (s == NULL) {
        return;
    }
    if (s->sftp != NULL) {
        sftp_free(s->sftp);
    }
    if (s->session != NULL) {
        ssh_disconnect(s->session); /* still watched: it may have to wait */
    }
    watch_end(s);
    if (s->session != NULL) {
        ssh_free(s->session);
    }
    if (s->fd >= 0 && !s->given) {
        close(s->fd);
    }
    if (s->same >= 0) {
        close(s->same);
    }
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* ---- files -------------------------------------------------------------------------------------
 */

static enum err_code sftp_failed(struct scp *s, struct err *e, const char *path, const char *what) {
    int code = sftp_get_error(s->sftp);
    const char *why = code == SSH_FX_NO_SUCH_FILE        ? "there is no such file or folder"
                      : code == SSH_FX_PERMISSION_DENIED ? "permission denied"
                      : code == SSH_FX_FAILURE           ? "the server refuses it"
                                                         : NULL;
    if (why == NULL || atomic_load(&s->cut)) {
        return failed(s, e, ERR_UNAVAILABLE, what);
    }
    return err_set(e, ERR_UNAVAILABLE, NULL, "%s %s: %s", what, path, why);
}

static enum err_code sftp_write_all(struct scp *s, const char *path, const char *p, size_t n,
                                    struct err *e) {
    sftp_file f = sftp_open(s->sftp, path, O_WRONLY | O_CREAT | O_TRUNC, MODE);
    if (f == NULL) {
        return sftp_failed(s, e, path, "can't make");
    }
    enum err_code rc = ERR_OK;
    for (size_t at = 0; at < n && rc == ERR_OK;) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        ssize_t got = sftp_write(f, p + at, piece);
        if (got <= 0) {
            rc = sftp_failed(s, e, path, "can't write");
        } else {
            at += (size_t)got;
        }
    }
    if (rc == ERR_OK && sftp_extension_supported(s->sftp, "fsync@openssh.com", "1") &&
        sftp_fsync(f) != SSH_OK) {
        rc = sftp_failed(s, e, path, "can't make durable");
    }
    if (sftp_close(f) != SSH_NO_ERROR && rc == ERR_OK) {
        rc = sftp_failed(s, e, path, "can't close");
    }
    return rc;
}

static enum err_code put_sftp(struct scp *s, const char *path, const void *p, size_t n,
                              struct err *e) {
    char beside[SCP_URL_MAX + 300];
    snprintf(beside, sizeof beside, "%s.part", path);
    ERR_TRY(sftp_write_all(s, beside, p, n, e));
    if (sftp_rename(s->sftp, beside, path) != SSH_OK) {
        sftp_unlink(s->sftp, path); /* servers without posix-rename replace nothing */
        if (sftp_rename(s->sftp, beside, path) != SSH_OK) {
            return sftp_failed(s, e, path, "can't rename to");
        }
    }
    return ERR_OK;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static enum err_code put_scp(struct scp *s, const char *path, const void *p, size_t n,
                             struct err *e) {
    const char *slash = strrchr(path, '/');
    char folder[SCP_URL_MAX + 300];
    enum err_code rc = ERR_OK;
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    ssh_scp scp = ssh_scp_new(s->session, SSH_SCP_WRITE | SSH_SCP_RECURSIVE, folder);
    if (scp == NULL || ssh_scp_init(scp) != SSH_OK ||
        ssh_scp_push_file64(scp, slash + 1, n, MODE) != SSH_OK ||
        (n > 0 && ssh_scp_write(scp, p, n) != SSH_OK) || ssh_scp_close(scp) != SSH_OK) {
        rc = failed(s, e, ERR_UNAVAILABLE, "can't copy");
    }
    if (scp != NULL) {
        ssh_scp_free(scp);
    }
    return rc;
}
#pragma GCC diagnostic pop

enum err_code scp_put(struct scp *s, const char *name, const void *p, size_t n, struct err *e) {
    char path[SCP_URL_MAX + 260];
    const char *between = name[0] == '\0' || strcmp(s->url.path, "/") == 0 ? "" : "/";
    if (strlen(name) > 255 || strchr(name, '/') != NULL) {
        return err_set(e, ERR_INVALID, NULL, "\"%.64s\" is no file name", name);
    }
    snprintf(path, sizeof path, "%s%s%s", s->url.path, between, name);
    return s->sftp != NULL ? put_sftp(s, path, p, n, e) : put_scp(s, path, p, n, e);
}
