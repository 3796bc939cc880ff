// SPDX-License-Identifier: Apache-2.0
#include "phone-home/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "phone-home/dhcp_options.h"
#include "phone-home/wire_int.h"

enum {
    TURN_MS = 5000,
    IDLE_S = 30, /* a connection nothing was asked on for longer is not used again */
};

int64_t wire_now_ms(void) {
    return clock_mono(&clock_real) / NS_PER_MS;
}

/* ---- whom to talk to ---- */

static enum err_code anchor_pem(const struct buf *anchor, struct buf *pem, struct err *e) {
    struct cms_certs *certs = NULL;
    if (anchor == NULL || anchor->len == 0) {
        return err_set(e, ERR_MISSING, NULL, "there is no trust anchor");
    }
    if (cms_certs_parse(anchor->data, anchor->len, NULL, &certs, NULL) != ERR_OK) {
        certs = cms_certs_new(); /* the older dialect has one certificate */
        enum err_code rc = cms_certs_add_der(certs, anchor->data, anchor->len, e);
        if (rc != ERR_OK) {
            cms_certs_free(certs);
            return rc;
        }
    }
    cms_certs_to_pem(certs, pem);
    cms_certs_free(certs);
    return ERR_OK;
}

enum err_code wire_target(struct wire *w, const char *host, uint16_t port, enum phc_verify verify,
                          const struct buf *anchor, struct wire_target *out, struct err *e) {
    char uri[SZTP_NAME_MAX + 32];
    struct sztp_server s;
    memset(out, 0, sizeof *out);
    out->c = w->c;
    out->verify = verify;
    out->dates = w->c->clock_ok == NULL || w->c->clock_ok(w->c->arg);
    snprintf(uri, sizeof uri, strchr(host, ':') != NULL ? "https://[%s]:%u" : "https://%s:%u", host,
             port);
    ERR_TRY(sztp_uri_parse(uri, strlen(uri), false, &s, NULL, e)); /* nothing but a host */
    snprintf(out->host.name, sizeof out->host.name, "%s", s.address);
    out->host.port = s.port;
    for (size_t i = 0; i < sizeof w->known / sizeof *w->known; i++) {
        if (w->known[i].port == port && strcasecmp(w->known[i].name, host) == 0) {
            out->preferred = w->known[i].address;
        }
    }
    if (verify == PHC_BUILT_IN && w->c->anchors[0] == '\0') {
        return err_set(e, ERR_MISSING, NULL, "this device has no trust anchors for servers");
    }
    return verify == PHC_ANCHOR ? anchor_pem(anchor, &out->anchor, e) : ERR_OK;
}

void wire_target_free(struct wire_target *t) {
    buf_free(&t->anchor);
}

void wire_remember(struct wire *w, const struct wire_host *h, const struct ip_addr *a) {
    size_t i = 0;
    while (i < sizeof w->known / sizeof *w->known &&
           (w->known[i].port != h->port || strcasecmp(w->known[i].name, h->name) != 0)) {
        i++;
    }
    if (i == sizeof w->known / sizeof *w->known) {
        i = w->next;
        w->next = (w->next + 1) % (sizeof w->known / sizeof *w->known);
    }
    memcpy(w->known[i].name, h->name, sizeof h->name);
    w->known[i].port = h->port;
    w->known[i].address = *a;
}

static void add_address(struct wire_host *h, const struct ip_addr *a) {
    for (size_t i = 0; i < h->n; i++) {
        if (ip_addr_cmp(&h->addresses[i], a) == 0) {
            return;
        }
    }
    if (h->n < WIRE_ADDRESSES_MAX) {
        h->addresses[h->n++] = *a;
    }
}

static void ask_system(struct wire_host *h) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(h->name, NULL, &hints, &list) != 0) {
        return;
    }
    for (const struct addrinfo *i = list; i != NULL; i = i->ai_next) {
        struct ip_addr a = {0};
        if (i->ai_family == AF_INET) {
            a.family = 4;
            memcpy(a.bytes, &((const struct sockaddr_in *)i->ai_addr)->sin_addr, 4);
        } else if (i->ai_family == AF_INET6) {
            a.family = 6;
            memcpy(a.bytes, &((const struct sockaddr_in6 *)i->ai_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        add_address(h, &a);
    }
    freeaddrinfo(list);
}

static bool is_local(const char *name) {
    size_t n = strlen(name);
    return n > 6 && strcasecmp(name + n - 6, ".local") == 0;
}

enum err_code wire_resolve(struct wire_target *t, const atomic_bool *stop, struct err *e) {
    struct wire_host *h = &t->host;
    struct ip_addr literal;
    struct dns_answer a;
    if (ip_addr_parse(h->name, &literal, NULL) == ERR_OK) {
        add_address(h, &literal);
        return ERR_OK;
    }
    if (t->preferred.family != 0) {
        add_address(h, &t->preferred);
    }
    if (is_local(h->name) && t->c->resolver != NULL && t->c->resolver->multicast) {
        if (resolver_ask(t->c->resolver, h->name, DNS_ADDRESS, true, stop, &a, NULL) == ERR_OK) {
            for (size_t i = 0; i < a.n_addresses; i++) {
                add_address(h, &a.addresses[i]);
            }
            dns_answer_free(&a);
        }
    }
    ask_system(h);
    return h->n > 0 ? ERR_OK : err_set(e, ERR_ABSENT, NULL, "the name %s has no address", h->name);
}

/* ---- a handle ---- */

static int told_to_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    return atomic_load((const atomic_bool *)arg) ? 1 : 0;
}

/* A device whose clock stands at its first day would refuse every certificate. */
static CURLcode without_dates(CURL *c, void *ctx, void *arg) {
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_NO_CHECK_TIME);
    return CURLE_OK;
}

static void set_tls(CURL *c, const struct wire_target *t) {
    bool verify = t->verify != PHC_PROVISIONAL;
    struct curl_blob anchor = {
        .data = t->anchor.data, .len = t->anchor.len, .flags = CURL_BLOB_COPY};
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_CAINFO, t->verify == PHC_BUILT_IN ? t->c->anchors : NULL);
    if (t->verify == PHC_ANCHOR) {
        curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &anchor);
    }
    if (t->c->certificate[0] != '\0') {
        curl_easy_setopt(c, CURLOPT_SSLCERT, t->c->certificate);
        curl_easy_setopt(c, CURLOPT_SSLKEY, t->c->key);
    }
    if (!t->dates) {
        curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, without_dates);
    }
}

void wire_handle(CURL *c, const struct wire_target *t, const char *scheme, size_t i,
                 const char *path, const atomic_bool *stop, struct curl_slist **resolve) {
    char address[IP_TEXT_MAX], pin[SZTP_NAME_MAX + IP_TEXT_MAX + 16];
    const char *host = t->host.name;
    struct buf url = BUF_INIT;
    bool bracket = strchr(host, ':') != NULL;
    buf_printf(&url, "%s://%s%s%s:%u%s", scheme, bracket ? "[" : "", host, bracket ? "]" : "",
               t->host.port, path);
    curl_easy_setopt(c, CURLOPT_URL, buf_cstr(&url));
    buf_free(&url);
    ip_addr_format(&t->host.addresses[i], address);
    *resolve = NULL;
    if (strcmp(host, address) != 0 && !bracket) {
        snprintf(pin, sizeof pin, t->host.addresses[i].family == 6 ? "%s:%u:[%s]" : "%s:%u:%s",
                 host, t->host.port, address);
        *resolve = curl_slist_append(NULL, pin);
        curl_easy_setopt(c, CURLOPT_RESOLVE, *resolve);
    }
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, scheme);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* not that of the environment */
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "weft-phone-home/" WEFT_VERSION);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, told_to_stop);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, (void *)(uintptr_t)stop);
    set_tls(c, t);
}

/* ---- the open connection ---- */

static bool same_server(const struct wire_open *o, const struct wire_target *t, size_t i) {
    return o->handle != NULL && o->port == t->host.port && strcmp(o->name, t->host.name) == 0 &&
           ip_addr_cmp(&o->address, &t->host.addresses[i]) == 0 && o->verify == t->verify &&
           o->dates == t->dates && o->anchor.len == t->anchor.len &&
           (o->anchor.len == 0 || memcmp(o->anchor.data, t->anchor.data, o->anchor.len) == 0);
}

/* A handle for a try; it may have a connection already. */
static CURL *take_handle(struct wire *w, const struct wire_target *t, size_t i) {
    CURL *c = NULL;
    pthread_mutex_lock(&w->lock);
    if (same_server(&w->open, t, i)) {
        c = w->open.handle;
        w->open.handle = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    return c != NULL ? c : curl_easy_init();
}

/* The server may have closed it when it is wanted: libcurl makes another then. */
static void leave_handle(struct wire *w, CURL *c, const struct wire_target *t, size_t i) {
    struct wire_open *o = &w->open;
    curl_easy_reset(c); /* its connection stays */
    pthread_mutex_lock(&w->lock);
    CURL *former = o->handle;
    o->handle = c;
    memcpy(o->name, t->host.name, sizeof o->name);
    o->port = t->host.port;
    o->address = t->host.addresses[i];
    o->verify = t->verify;
    o->dates = t->dates;
    buf_clear(&o->anchor);
    buf_add(&o->anchor, t->anchor.data, t->anchor.len);
    pthread_mutex_unlock(&w->lock);
    curl_easy_cleanup(former);
}

const char *wire_why(CURLcode rc, const char *why, bool secure) {
    /* libcurl keeps its first word, which may be that it can't say who it was connected with. */
    bool odd = strstr(why, "getpeername") != NULL || strstr(why, "getsockname") != NULL ||
               strstr(why, "SSL_ERROR_SYSCALL") != NULL || strstr(why, "unexpected eof") != NULL;
    if (secure && odd && rc != CURLE_OPERATION_TIMEDOUT && rc != CURLE_ABORTED_BY_CALLBACK) {
        return "the server closed the connection during the TLS handshake (it may refuse this "
               "device's certificate)";
    }
    return why[0] != '\0' && strstr(why, "getpeername") == NULL ? why : curl_easy_strerror(rc);
}

/* ---- requests ---- */

struct request {
    struct wire *w;
    uint64_t order;
    struct wire_target target;
    char *method, *path, *accept, *content_type, *user;
    struct buf body;
    bool has_body;
    int64_t deadline_ms; /* by wire_now_ms */
    size_t max_body;
    bool good; /* can be asked for */
    /* what came of it */
    struct err err;
    int status;
    char content_type_in[128];
    struct buf answer;
    int64_t retry_after_ms;
    struct ip_addr answered;
};

/* One try at one address. */
struct attempt {
    struct request *r;
    struct buf body;
    size_t head;
    bool too_big;
};

static size_t on_head(char *p, size_t size, size_t n, void *arg) {
    struct attempt *a = arg;
    a->head += size * n;
    a->too_big |= a->head > WIRE_HEAD_MAX;
    return a->too_big ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct attempt *a = arg;
    if (size * n > a->r->max_body - a->body.len) {
        a->too_big = true;
        return 0;
    }
    buf_add(&a->body, p, size * n);
    return size * n;
}

static struct curl_slist *field(struct curl_slist *l, const char *name, const char *value) {
    char *line = mem_printf("%s: %s", name, value);
    l = curl_slist_append(l, line);
    mem_free(line);
    return l;
}

/* The first line of the file; "" when it can't be read, which the server will notice. */
static void read_password(const char *file, char out[WIRE_PASSWORD_MAX + 1]) {
    int fd = file[0] != '\0' ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, out, WIRE_PASSWORD_MAX) : 0;
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

static void set_user(CURL *c, const struct request *r) {
    char password[WIRE_PASSWORD_MAX + 1];
    if (r->user == NULL) {
        return;
    }
    read_password(r->w->c->password_file, password);
    bool stranger = r->target.verify == PHC_PROVISIONAL && !r->w->c->password_to_untrusted;
    if (password[0] == '\0' || !stranger) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(c, CURLOPT_USERNAME, r->user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, password);
    }
    mem_wipe(password, sizeof password);
}

static struct curl_slist *set_request(CURL *c, const struct request *r, struct attempt *a,
                                      int64_t limit_ms, int64_t connect_ms) {
    struct curl_slist *fields = field(NULL, "Accept", r->accept);
    fields = field(fields, "Expect", "");
    if (r->has_body) {
        fields = field(fields, "Content-Type", r->content_type);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body.data != NULL ? (char *)r->body.data : "");
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    }
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)limit_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    set_user(c, r);
    return fields;
}

/* Keeps the answer, unless a former address gave one and this is no better. */
static void keep(struct request *r, CURL *c, struct attempt *a, size_t i, int status) {
    curl_off_t retry = 0;
    const char *type = NULL;
    if (r->status != 0 && (status < 200 || status >= 300) && status != 400) {
        return;
    }
    curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &retry);
    curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
    snprintf(r->content_type_in, sizeof r->content_type_in, "%s", type != NULL ? type : "");
    r->status = status;
    r->retry_after_ms = retry > 0 && retry < 86400 ? (int64_t)retry * 1000 : 0;
    buf_free(&r->answer);
    r->answer = a->body;
    a->body = (struct buf)BUF_INIT;
    r->answered = r->target.host.addresses[i];
}

/* True: this is the answer, no other address is tried. */
static bool try_address(struct request *r, size_t i, const atomic_bool *stop) {
    struct attempt a = {.r = r};
    char why[CURL_ERROR_SIZE] = "", address[IP_TEXT_MAX];
    struct curl_slist *resolve;
    long status = 0;
    int64_t left = r->deadline_ms - wire_now_ms();
    int64_t others = (int64_t)(r->target.host.n - i - 1), share = left / (others + 1);
    /* A server may hold its answer back (PH-100), and the other addresses want their turn. */
    int64_t limit = left - others * TURN_MS > share ? left - others * TURN_MS : share;
    if (left <= 0) {
        return true;
    }
    CURL *c = take_handle(r->w, &r->target, i);
    wire_handle(c, &r->target, "https", i, r->path, stop, &resolve);
    int64_t connect = r->w->c->connect_ms < share ? r->w->c->connect_ms : share;
    struct curl_slist *fields =
        set_request(c, r, &a, limit > 0 ? limit : 1, connect > 0 ? connect : 1);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (rc == CURLE_OK && status >= 200) {
        keep(r, c, &a, i, (int)status);
    } else if (r->status == 0) {
        ip_addr_format(&r->target.host.addresses[i], address);
        err_set(&r->err, rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, address,
                "%s", a.too_big ? "the answer is too big" : wire_why(rc, why, a.head == 0));
    }
    if (rc == CURLE_OK) {
        leave_handle(r->w, c, &r->target, i);
    } else {
        curl_easy_cleanup(c);
    }
    curl_slist_free_all(fields);
    curl_slist_free_all(resolve);
    buf_free(&a.body);
    return rc == CURLE_OK && ((status >= 200 && status < 300) || status == 400);
}

static void run_request(void *job, const atomic_bool *stop) {
    struct request *r = job;
    if (!r->good || wire_resolve(&r->target, stop, &r->err) != ERR_OK) {
        return;
    }
    err_set(&r->err, ERR_TIMEOUT, NULL, "there was no time for a connection");
    for (size_t i = 0; i < r->target.host.n && !atomic_load(stop); i++) {
        if (try_address(r, i, stop)) {
            break;
        }
    }
}

static void end_request(void *job, bool cancelled) {
    struct request *r = job;
    struct phc_event ev = {.kind = PHC_EV_DONE,
                           .order = r->order,
                           .error = r->status == 0 ? &r->err : NULL,
                           .status = r->status,
                           .content_type = r->content_type_in,
                           .body = r->answer.data,
                           .n = r->answer.len,
                           .retry_after_ms = r->retry_after_ms};
    if (r->status != 0) {
        wire_remember(r->w, &r->target.host, &r->answered);
    }
    if (!cancelled) {
        r->w->c->done(r->w->c->arg, &ev);
    }
    wire_target_free(&r->target);
    mem_free(r->method);
    mem_free(r->path);
    mem_free(r->accept);
    mem_free(r->content_type);
    mem_free(r->user);
    buf_free(&r->body);
    buf_free(&r->answer);
    mem_free(r);
}

static char *copy(const char *s) {
    return s != NULL ? mem_strdup(s) : NULL;
}

/* Path and media types are ours or a serial number's; a line end in them would be a new field. */
static bool clean(const char *s) {
    for (; s != NULL && *s != '\0'; s++) {
        if ((unsigned char)*s <= 0x20 && *s != ' ') {
            return false;
        }
    }
    return true;
}

void wire_request(struct wire *w, uint64_t order, const struct phc_request *q) {
    struct request *r = MEM_NEW(struct request);
    r->w = w;
    r->order = order;
    r->method = mem_strdup(q->method);
    r->path = mem_strdup(q->path);
    r->accept = mem_strdup(q->accept != NULL ? q->accept : "*/*");
    r->content_type = copy(q->content_type);
    r->user = copy(q->user);
    r->has_body = q->content_type != NULL;
    r->max_body = q->max_body;
    r->deadline_ms = wire_now_ms() + q->deadline_ms;
    if (q->body != NULL) {
        buf_add(&r->body, q->body->data, q->body->len);
    }
    if (!clean(r->path) || !clean(r->accept) || !clean(r->content_type) ||
        strchr(r->path, ' ') != NULL) {
        err_set(&r->err, ERR_INVALID, NULL, "a path or type that can't be asked for");
    } else if (wire_target(w, q->host, q->port, q->verify, q->anchor, &r->target, &r->err) ==
               ERR_OK) {
        r->good = true;
        err_set(&r->err, ERR_LIMIT, NULL, "too many things at once");
    }
    tasks_start(w->tasks, order, run_request, end_request, r);
}

struct wire *wire_new(struct tasks *t, const struct wire_config *c) {
    struct wire *w = MEM_NEW(struct wire);
    w->tasks = t;
    w->c = c;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void wire_idle(struct wire *w) {
    pthread_mutex_lock(&w->lock);
    curl_easy_cleanup(w->open.handle);
    w->open.handle = NULL;
    pthread_mutex_unlock(&w->lock);
}

void wire_free(struct wire *w) {
    if (w != NULL) {
        wire_idle(w);
        buf_free(&w->open.anchor);
        pthread_mutex_destroy(&w->lock);
    }
    mem_free(w);
}
