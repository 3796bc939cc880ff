// SPDX-License-Identifier: Apache-2.0
/*
 * Devices that phone home over TLS, each with a connection of its own and a full handshake.
 *   onboard_devices FOLDER [DEVICES [SECONDS]]
 * Starts the weftd beside it (../src/weftd/weftd) in FOLDER. Prints how many get-bootstrapping-data
 * one core of the daemon answers in a second, with certificates on both sides and with the server's
 * alone; beside it how many handshakes of that kind one core does in this process (the server's
 * half, in memory: the floor), and how many such connections nginx takes that answers each with the
 * same few words, for the same client: what sockets and a busy machine leave of that floor. Then
 * DEVICES at once through redirect, bootstrap and progress, with the daemon's memory. The client
 * shares the machine's cores; figures "a core" are by the server's own processor time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#define CALL "/restconf/operations/ietf-sztp-bootstrap-server:"
#define GET  CALL "get-bootstrapping-data"
#define TELL CALL "report-progress"

/* A listener takes 1,024 connections of one address that are in their handshake: devices come from
 * several. */
enum { ABREAST = 16, PER_ADDRESS = 1000, FLOOR_ROUNDS = 1500, PIECE = 1000, ANSWER_MAX = 16384 };

static char folder[400], authorization[256];
static int rest_port, bootstrap_port, redirect_port, rival_port;
static pid_t daemon_pid, rival_pid, rival_worker;
static SSL_CTX *operator_tls, *device_tls;
static EVP_PKEY *factory_key, *device_key;
static X509 *factory;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "onboard_devices: %s: %s\n", what, strerror(errno));
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
    }
    if (rival_pid > 0) {
        kill(rival_pid, SIGTERM);
    }
    exit(1);
}

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static double thread_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- certificates ---------------------------------------------------------------------------- */

static X509 *certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *by, long serial) {
    X509 *c = X509_new();
    X509_NAME *n = X509_get_subject_name(c);
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), serial);
    X509_gmtime_adj(X509_getm_notBefore(c), -3600);
    X509_gmtime_adj(X509_getm_notAfter(c), 86400);
    X509_NAME_add_entry_by_txt(n, issuer != NULL ? "serialNumber" : "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c, issuer != NULL ? X509_get_subject_name(issuer) : n);
    X509_set_pubkey(c, key);
    if (issuer == NULL) {
        X509_EXTENSION *x =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(c, x, -1);
        X509_EXTENSION_free(x);
    }
    if (X509_sign(c, by, EVP_sha256()) == 0) {
        die("signing");
    }
    return c;
}

/* PEM in one line, as JSON wants it. */
static void factory_pem(struct buf *out) {
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    PEM_write_bio_X509(b, factory);
    long n = BIO_get_mem_data(b, &text);
    for (long i = 0; i < n; i++) {
        if (text[i] == '\n') {
            buf_str(out, "\\n");
        } else {
            buf_char(out, text[i]);
        }
    }
    BIO_free(b);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void start_daemon(const char *self) {
    char program[600], data[500], ports[500], log[500], line[256];
    const char *slash = strrchr(self, '/');
    snprintf(program, sizeof program, "%.*s/../src/weftd/weftd", slash ? (int)(slash - self) : 1,
             slash ? self : ".");
    snprintf(data, sizeof data, "%s/onboard-data", folder);
    snprintf(ports, sizeof ports, "%s/onboard-ports", folder);
    snprintf(log, sizeof log, "%s/onboard-log", folder);
    unlink(ports);
    daemon_pid = fork();
    if (daemon_pid == 0) {
        int fd = open(log, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        execl(program, program, "--data", data, "--listen", "127.0.0.1:0", "--listen-apmi", "none",
              "--port-file", ports, (char *)NULL);
        _exit(127);
    }
    for (bool ready = false; !ready;) {
        usleep(100000);
        FILE *f = fopen(ports, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            sscanf(line, "tls %d", &rest_port);
            ready |= strcmp(line, "ready\n") == 0;
        }
        if (f != NULL) {
            fclose(f);
        }
        if (waitpid(daemon_pid, NULL, WNOHANG) != 0) {
            die(program);
        }
    }
    char path[600], password[128] = "", plain[160];
    snprintf(path, sizeof path, "%s/admin-password", data);
    FILE *f = fopen(path, "r");
    if (f == NULL || fgets(password, sizeof password, f) == NULL) {
        die(path);
    }
    fclose(f);
    password[strcspn(password, "\n")] = '\0';
    int n = snprintf(plain, sizeof plain, "admin:%s", password);
    EVP_EncodeBlock((unsigned char *)authorization, (const unsigned char *)plain, n);
    snprintf(path, sizeof path, "%s/pki/ca.pem", data);
    SSL_CTX **all[] = {&operator_tls, &device_tls};
    for (size_t i = 0; i < 2; i++) {
        *all[i] = SSL_CTX_new(TLS_client_method());
        if (SSL_CTX_load_verify_locations(*all[i], path, NULL) != 1) {
            die(path);
        }
        SSL_CTX_set_verify(*all[i], SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_session_cache_mode(*all[i], SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(*all[i], SSL_MODE_RELEASE_BUFFERS);
    }
}

/* Processor time in s; and the daemon's memory in MB by its line of /proc/PID/status. */
static double process_cpu(pid_t pid) {
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL || fgets(text, sizeof text, f) == NULL) {
        die(path);
    }
    fclose(f);
    sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double daemon_mb(const char *which) {
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)daemon_pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, which, strlen(which)) == 0) {
            kb = atof(line + strlen(which));
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb / 1024;
}

/* ---- devices --------------------------------------------------------------------------------- */

/* One device and what it has yet to ask: each stage on a new connection, but the last two. */
enum stage { STAGE_REDIRECT, STAGE_BOOTSTRAP, STAGE_BEGUN, STAGE_DONE, STAGE_END };

struct device {
    X509 *certificate; /* NULL: a password */
    SSL *ssl;
    int fd, serial;
    enum stage stage;
    bool sent;
    size_t n_in;
    char *in; /* while it waits for an answer */
};

static int epoll;
static unsigned retries;

static void device_open(struct device *d) {
    int port = d->stage == STAGE_REDIRECT ? redirect_port : bootstrap_port;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)},
                       from = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(d->serial / PER_ADDRESS));
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    if (d->fd < 0 || setsockopt(d->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(d->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        (connect(d->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)) {
        die("connect");
    }
    d->ssl = SSL_new(device_tls);
    SSL_set1_host(d->ssl, "localhost");
    SSL_set_fd(d->ssl, d->fd);
    SSL_set_connect_state(d->ssl);
    if (d->certificate != NULL && (SSL_use_certificate(d->ssl, d->certificate) != 1 ||
                                   SSL_use_PrivateKey(d->ssl, device_key) != 1)) {
        die("the device's certificate");
    }
    d->sent = false;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = d};
    epoll_ctl(epoll, EPOLL_CTL_ADD, d->fd, &ev);
}

static void device_close(struct device *d) {
    SSL_free(d->ssl);
    close(d->fd);
    mem_free(d->in);
    d->in = NULL;
    d->ssl = NULL;
}

/* False: the connection is lost. */
static bool device_send(struct device *d) {
    static const char *const tells[] = {
        [STAGE_BEGUN] = "bootstrap-initiated", [STAGE_DONE] = "bootstrap-complete"};
    bool get = d->stage <= STAGE_BOOTSTRAP;
    char body[256], plain[64], basic[128] = "", all[1024];
    if (d->certificate == NULL) {
        int n = snprintf(plain, sizeof plain, "D%d:secret", d->serial);
        EVP_EncodeBlock((unsigned char *)basic, (const unsigned char *)plain, n);
    }
    int n = get ? snprintf(body, sizeof body,
                           "{\"ietf-sztp-bootstrap-server:input\":{\"hw-model\":\"m-1\","
                           "\"os-name\":\"vendor-os\",\"os-version\":\"1.0\"}}")
                : snprintf(body, sizeof body,
                           "{\"ietf-sztp-bootstrap-server:input\":{\"progress-type\":\"%s\"}}",
                           tells[d->stage]);
    n = snprintf(
        all, sizeof all,
        "POST %s HTTP/1.1\r\nHost: localhost\r\n%s%s%sAccept: application/yang-data+json\r\n"
        "Content-Type: application/yang-data+json\r\nContent-Length: %d\r\n\r\n%s",
        get ? GET : TELL, basic[0] != '\0' ? "Authorization: Basic " : "", basic,
        basic[0] != '\0' ? "\r\n" : "", n, body);
    if (SSL_write(d->ssl, all, n) != n) { /* small: the socket takes it */
        return false;
    }
    d->sent = true;
    d->n_in = 0;
    d->in = d->in != NULL ? d->in : mem_alloc(ANSWER_MAX);
    return true;
}

/* 1: the answer is there; 0: not yet; -1: the connection is lost. */
static int device_step(struct device *d) {
    if (!d->sent) {
        int rc = SSL_do_handshake(d->ssl), why = SSL_get_error(d->ssl, rc);
        if (rc != 1) {
            return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
        }
        if (!device_send(d)) {
            return -1;
        }
    }
    for (;;) {
        int n = SSL_read(d->ssl, d->in + d->n_in, (int)(ANSWER_MAX - 1 - d->n_in));
        if (n <= 0) {
            return SSL_get_error(d->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
        }
        d->n_in += (size_t)n;
        d->in[d->n_in] = '\0';
        const char *end = strstr(d->in, "\r\n\r\n"), *length = strcasestr(d->in, "content-length:");
        if (end == NULL) {
            continue;
        }
        if (strncmp(d->in, "HTTP/1.1 20", 11) != 0) {
            fprintf(stderr, "%s\n", d->in);
            errno = EPROTO;
            die("refused");
        }
        size_t body = length != NULL && length < end ? (size_t)atol(length + 15) : 0;
        if (d->n_in >= (size_t)(end + 4 - d->in) + body) {
            return 1;
        }
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

/* The server's half of handshakes in memory, a second of this thread's processor time. */
static double handshake_floor(bool mutual, X509 *certificate_of) {
    char path[600];
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    snprintf(path, sizeof path, "%s/onboard-data/pki/server.pem", folder);
    SSL_CTX_use_certificate_chain_file(server, path);
    snprintf(path, sizeof path, "%s/onboard-data/pki/server.key", folder);
    if (SSL_CTX_use_PrivateKey_file(server, path, SSL_FILETYPE_PEM) != 1) {
        die(path);
    }
    SSL_CTX_set1_groups_list(server, "P-256:X25519");
    SSL_CTX_set_num_tickets(server, 0); /* as the daemon does for devices */
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"bench", 5);
    if (mutual) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(server), factory);
        SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    double took = 0;
    for (int i = 0; i < FLOOR_ROUNDS; i++) {
        BIO *a, *b;
        BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16);
        SSL *c = SSL_new(device_tls);
        SSL_set_connect_state(c);
        SSL_set_bio(c, b, b);
        if (mutual) {
            SSL_use_certificate(c, certificate_of);
            SSL_use_PrivateKey(c, device_key);
        }
        double start = thread_s();
        SSL *s = SSL_new(server);
        SSL_set_accept_state(s);
        SSL_set_bio(s, a, a);
        took += thread_s() - start;
        int done = 0;
        for (int turn = 0; turn < 10 && done != 1; turn++) {
            SSL_do_handshake(c);
            start = thread_s();
            done = SSL_do_handshake(s);
            took += thread_s() - start;
        }
        if (done != 1) {
            die("handshake in memory");
        }
        start = thread_s();
        SSL_free(s);
        took += thread_s() - start;
        SSL_free(c);
    }
    SSL_CTX_free(server);
    return FLOOR_ROUNDS / took;
}

/* ---- the rival ---------------------------------------------------------------------------------
 */

static void save(const char *path, const char *text, size_t n) {
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(text, 1, n, f) != n || fclose(f) != 0) {
        die(path);
    }
}

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&a, n) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0) {
        die("bind");
    }
    close(fd);
    return ntohs(a.sin_port);
}

static void rival_stop(void) {
    kill(rival_pid, SIGTERM);
    waitpid(rival_pid, NULL, 0);
    rival_pid = rival_worker = 0;
}

/* nginx with the daemon's certificate and settings of TLS, and an answer as short as the daemon's.
 * False: it is not installed. */
static bool rival_start(bool mutual) {
    char path[600], log[500];
    struct buf b = BUF_INIT;
    BIO *pem = BIO_new(BIO_s_mem());
    char *text;
    if (access("/usr/sbin/nginx", X_OK) != 0) {
        return false;
    }
    PEM_write_bio_X509(pem, factory);
    long n = BIO_get_mem_data(pem, &text);
    snprintf(path, sizeof path, "%s/factory.pem", folder);
    save(path, text, (size_t)n);
    BIO_free(pem);
    rival_port = free_port();
    buf_printf(&b,
               "daemon off; worker_processes 1; user root; pid %s/nginx.pid; error_log stderr;\n"
               "events { worker_connections 1024; }\nhttp { access_log off; default_type "
               "application/yang-data+json; server { listen 127.0.0.1:%d ssl;\n"
               "ssl_certificate %s/onboard-data/pki/server.pem;\n"
               "ssl_certificate_key %s/onboard-data/pki/server.key; ssl_ecdh_curve "
               "P-256:X25519; ssl_protocols TLSv1.3;\nssl_session_cache off; ssl_session_tickets "
               "off;\n",
               folder, rival_port, folder, folder);
    if (mutual) {
        buf_printf(&b, "ssl_client_certificate %s/factory.pem; ssl_verify_client on;\n", folder);
    }
    buf_str(&b, "location / { return 200 '{}'; } } }\n");
    snprintf(path, sizeof path, "%s/nginx.conf", folder);
    save(path, (const char *)b.data, b.len);
    buf_free(&b);
    snprintf(log, sizeof log, "%s/nginx-log", folder);
    rival_pid = fork();
    if (rival_pid == 0) {
        int fd = open(log, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        execl("/usr/sbin/nginx", "nginx", "-p", folder, "-c", path, (char *)NULL);
        _exit(127);
    }
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)rival_pid, (int)rival_pid);
    for (int tries = 0; rival_worker == 0; usleep(100000)) {
        FILE *f = fopen(path, "r");
        int child = 0;
        if (f != NULL && fscanf(f, "%d", &child) == 1) {
            rival_worker = child;
        }
        if (f != NULL) {
            fclose(f);
        }
        if (++tries > 100 || waitpid(rival_pid, NULL, WNOHANG) != 0) {
            die(log);
        }
    }
    return true;
}

/* ---- rates -------------------------------------------------------------------------------------
 */

/* get-bootstrapping-data for some seconds, ABREAST at a time. Answers a second of the clock, and a
 * second of the processor time of `server`. */
static double rate_of(pid_t server, bool mutual, double seconds, X509 *const *certificates, int n,
                      double *core) {
    struct device all[ABREAST];
    struct epoll_event evs[ABREAST];
    unsigned done = 0;
    int next = 0;
    for (int i = 0; i < ABREAST; i++) {
        all[i] = (struct device){.serial = next++ % n, .stage = STAGE_BOOTSTRAP};
        all[i].certificate = mutual ? certificates[all[i].serial] : NULL;
        device_open(&all[i]);
    }
    double cpu = process_cpu(server), start = now_s();
    while (now_s() - start < seconds) {
        int got = epoll_wait(epoll, evs, ABREAST, 1000);
        for (int i = 0; i < got; i++) {
            struct device *d = evs[i].data.ptr;
            int rc = device_step(d);
            if (rc < 0) {
                die("a device's connection was lost");
            }
            if (rc == 1) {
                done++;
                device_close(d);
                d->serial = next++ % n;
                d->certificate = mutual ? certificates[d->serial] : NULL;
                device_open(d);
            }
        }
    }
    double took = now_s() - start;
    *core = done / (process_cpu(server) - cpu);
    for (int i = 0; i < ABREAST; i++) {
        device_close(&all[i]);
    }
    return done / took;
}

static void rate(const char *what, bool mutual, double seconds, X509 *const *certificates, int n) {
    double core, rival, floor = handshake_floor(mutual, certificates[0]);
    double wall = rate_of(daemon_pid, mutual, seconds, certificates, n, &core);
    printf("%-34s %7.0f /s   a core %7.0f /s   floor: handshakes %7.0f /s   ratio %.2f\n", what,
           wall, core, floor, core / floor);
    int port = bootstrap_port;
    if (rival_start(mutual)) {
        bootstrap_port = rival_port;
        wall = rate_of(rival_worker, mutual, seconds, certificates, n, &rival);
        printf("%-34s %7.0f /s   a core %7.0f /s   ratio to it %.2f\n",
               "  nginx, the same connections", wall, rival, core / rival);
        rival_stop();
        bootstrap_port = port;
    }
    fflush(stdout);
}

/* All at once through redirect, bootstrap and progress. */
static void flood(X509 *const *certificates, int n) {
    struct device *all = mem_array(NULL, (size_t)n, sizeof *all);
    struct epoll_event evs[256];
    double before = daemon_mb("VmRSS:"), cpu = process_cpu(daemon_pid), start = now_s();
    int left = n;
    for (int i = 0; i < n; i++) {
        all[i] = (struct device){.serial = i, .certificate = certificates[i]};
        device_open(&all[i]);
    }
    while (left > 0) {
        int got = epoll_wait(epoll, evs, 256, 60000);
        if (got == 0) {
            die("nothing happens any more");
        }
        for (int i = 0; i < got; i++) {
            struct device *d = evs[i].data.ptr;
            int rc = device_step(d);
            if (rc < 0) { /* as devices do: once more */
                retries++;
                device_close(d);
                device_open(d);
            } else if (rc == 1 && ++d->stage == STAGE_END) {
                device_close(d);
                left--;
            } else if (rc == 1 && d->stage == STAGE_BOOTSTRAP) {
                device_close(d);
                device_open(d);
            } else if (rc == 1 && !device_send(d)) {
                retries++;
                device_close(d);
                device_open(d);
            }
        }
    }
    printf("%d devices at once, redirect to complete: %.1f s, daemon %.1f s of processor, %u "
           "connections "
           "anew; memory %.0f MB before, %.0f MB most, %.0f MB after\n",
           n, now_s() - start, process_cpu(daemon_pid) - cpu, retries, before, daemon_mb("VmHWM:"),
           daemon_mb("VmRSS:"));
    mem_free(all);
}

/* ---- the configuration ----------------------------------------------------------------------- */

static void patch(const struct buf *body) {
    struct buf b = BUF_INIT;
    char in[4096] = "";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rest_port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(operator_tls);
    SSL_set1_host(ssl, "localhost");
    SSL_set_fd(ssl, fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 || SSL_connect(ssl) != 1) {
        die("connect");
    }
    buf_printf(&b,
               "PATCH /restconf/data/weft-onboard:onboard HTTP/1.1\r\nHost: localhost\r\n"
               "Authorization: Basic %s\r\nContent-Type: application/yang-data+json\r\n"
               "Content-Length: %zu\r\n\r\n",
               authorization, body->len);
    buf_add(&b, body->data, body->len);
    if (SSL_write(ssl, b.data, (int)b.len) != (int)b.len || SSL_read(ssl, in, sizeof in - 1) <= 0 ||
        strncmp(in, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "%s\n", in);
        errno = EPROTO;
        die("the configuration was refused");
    }
    buf_free(&b);
    SSL_free(ssl);
    close(fd);
}

static void configure(int devices) {
    struct buf b = BUF_INIT;
    bootstrap_port = free_port();
    do {
        redirect_port = free_port();
    } while (redirect_port == bootstrap_port);
    buf_str(&b, "{\"weft-onboard:onboard\":{\"device-authority\":[{\"name\":\"factory\","
                "\"certificate\":\"");
    factory_pem(&b);
    buf_printf(
        &b,
        "\"}],\"configuration\":[{\"name\":\"base\",\"text\":\"hostname {{ host }};\","
        "\"template\":true}],\"bundle\":[{\"name\":\"edge\",\"configuration\":\"base\"}],"
        "\"redirect-list\":[{\"name\":\"home\",\"server\":[{\"address\":\"localhost\",\"port\":%d,"
        "\"own-authority\":[null]}]}],"
        "\"device-type\":[{\"name\":\"default\",\"rule\":[{\"name\":\"all\",\"bundle\":\"edge\"},"
        "{\"name\":\"away\",\"redirect-list\":\"home\"}]}],"
        "\"listener\":[{\"name\":\"main\",\"address\":\"127.0.0.1\",\"port\":%d,\"role\":["
        "\"bootstrap\"]},"
        "{\"name\":\"away\",\"address\":\"127.0.0.1\",\"port\":%d,\"role\":[\"redirect\"]}]}}",
        bootstrap_port, bootstrap_port, redirect_port);
    patch(&b);
    for (int at = 0; at < devices; at += PIECE) {
        buf_clear(&b);
        buf_str(&b, "{\"weft-onboard:onboard\":{\"device\":[");
        for (int i = at; i < at + PIECE && i < devices; i++) {
            buf_printf(&b,
                       "%s{\"serial-number\":\"D%d\",\"password\":\"secret\","
                       "\"variable\":[{\"name\":\"host\",\"value\":\"edge-%d\"}]}",
                       i > at ? "," : "", i, i);
        }
        buf_str(&b, "]}}");
        patch(&b);
    }
    buf_free(&b);
    for (int *port = &bootstrap_port;; usleep(100000)) { /* until both are open */
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0),
            rc = connect(fd, (struct sockaddr *)&to, sizeof to);
        close(fd);
        if (rc == 0 && port == &redirect_port) {
            break;
        }
        port = rc == 0 ? &redirect_port : port;
    }
}

int main(int argc, char **argv) {
    int devices = argc > 2 ? atoi(argv[2]) : 10000;
    double seconds = argc > 3 ? atof(argv[3]) : 5;
    if (argc < 2 || devices < 1) {
        fprintf(stderr, "usage: onboard_devices FOLDER [DEVICES [SECONDS]]\n");
        return 2;
    }
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    snprintf(folder, sizeof folder, "%s", argv[1]);
    factory_key = EVP_EC_gen("P-256");
    device_key = EVP_EC_gen("P-256");
    factory = certificate("Factory", factory_key, NULL, factory_key, 1);
    X509 **certificates = mem_array(NULL, (size_t)devices, sizeof(X509 *));
    for (int i = 0; i < devices; i++) {
        char serial[32];
        snprintf(serial, sizeof serial, "D%d", i);
        certificates[i] = certificate(serial, device_key, factory, factory_key, 2 + i);
    }
    epoll = epoll_create1(0);
    start_daemon(argv[0]);
    configure(devices);
    rate("certificates on both sides", true, seconds, certificates, devices);
    rate("the server's certificate, password", false, seconds, certificates, devices);
    flood(certificates, devices);
    kill(daemon_pid, SIGTERM);
    int status = 1;
    waitpid(daemon_pid, &status, 0);
    for (int i = 0; i < devices; i++) {
        X509_free(certificates[i]);
    }
    mem_free(certificates);
    return status == 0 ? 0 : 1;
}
