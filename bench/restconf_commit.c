// SPDX-License-Identifier: Apache-2.0
/*
 * Durable configuration commits through RESTCONF over TLS: each PUT of one object is answered after
 * the sync that makes it durable.
 *   restconf_commit FOLDER [SECONDS]
 * Starts the weftd beside it (../src/weftd/weftd) in FOLDER. Prints commits/s and latencies with 1
 * and with 1,000 connections, single-edit latency with 1 k, 10 k and 100 k objects, and the floor
 * (write + fdatasync) of this machine in the same run. The client shares the machine's cores.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#define PROFILES "/restconf/data/weft-apm:apm/pool-domain-profile"

enum { CONNECTIONS = 1000, SAMPLES_MAX = 1 << 20, PIECE = 10000 };

static char folder[400], authorization[256];
static int port;
static pid_t daemon_pid;
static SSL_CTX *tls;
static double *samples;
static size_t n_samples;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "restconf_commit: %s: %s\n", what, strerror(errno));
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
    }
    exit(1);
}

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static double sync_floor(void) {
    char path[512], block[256] = {0};
    snprintf(path, sizeof path, "%s/floor", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600), n = 0;
    double start = now_s();
    while (now_s() - start < 1) {
        if (fd < 0 || write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0) {
            die(path);
        }
        n++;
    }
    close(fd);
    unlink(path);
    return n / (now_s() - start);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void start_daemon(const char *self) {
    char program[600], data[500], ports[500], log[500], line[256];
    const char *slash = strrchr(self, '/');
    snprintf(program, sizeof program, "%.*s/../src/weftd/weftd", slash ? (int)(slash - self) : 1,
             slash ? self : ".");
    snprintf(data, sizeof data, "%s/restconf-data", folder);
    snprintf(ports, sizeof ports, "%s/restconf-ports", folder);
    snprintf(log, sizeof log, "%s/restconf-log", folder);
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
    for (int i = 0; i < 300; i++) {
        usleep(100000);
        FILE *f = fopen(ports, "r");
        bool ready = false;
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            sscanf(line, "tls %d", &port);
            ready |= strcmp(line, "ready\n") == 0;
        }
        if (f != NULL) {
            fclose(f);
        }
        if (ready) {
            break;
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
    tls = SSL_CTX_new(TLS_client_method());
    snprintf(path, sizeof path, "%s/pki/ca.pem", data);
    if (SSL_CTX_load_verify_locations(tls, path, NULL) != 1) {
        die(path);
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
}

/* ---- connections ----------------------------------------------------------------------------- */

struct client {
    SSL *ssl;
    int fd, object;
    unsigned value;
    double sent;
    char in[2048];
    size_t n_in;
};

static void open_client(struct client *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        die("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->ssl = SSL_new(tls);
    SSL_set1_host(c->ssl, "localhost");
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1) {
        die("TLS handshake");
    }
}

static void close_client(struct client *c) {
    SSL_free(c->ssl);
    close(c->fd);
}

static void send_request(struct client *c, const char *method, const char *path, const char *body,
                         size_t n) {
    struct buf b = BUF_INIT;
    buf_printf(&b,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n"
               "Content-Type: application/yang-data+json\r\nContent-Length: %zu\r\n\r\n",
               method, path, authorization, n);
    buf_add(&b, body, n);
    c->sent = now_s();
    c->n_in = 0;
    if (SSL_write(c->ssl, b.data, (int)b.len) != (int)b.len) { /* blocking until it is in */
        die("write");
    }
    buf_free(&b);
}

static void put_next(struct client *c) {
    char path[128], body[256];
    c->value++;
    snprintf(path, sizeof path, PROFILES "=p%d", c->object);
    int n = snprintf(body, sizeof body,
                     "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p%d\","
                     "\"apportion-threshold\":%u,\"reclaim-threshold\":16000000}]}",
                     c->object, 1 + c->value % 1000000);
    send_request(c, "PUT", path, body, (size_t)n);
}

/* Reads what is there; true once the answer is complete. 2xx without a body is what we expect. */
static bool receive(struct client *c) {
    int n = SSL_read(c->ssl, c->in + c->n_in, (int)(sizeof c->in - 1 - c->n_in));
    if (n <= 0) {
        if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ) {
            return false;
        }
        die("the connection was lost");
    }
    c->n_in += (size_t)n;
    c->in[c->n_in] = '\0';
    if (strstr(c->in, "\r\n\r\n") == NULL) {
        return false;
    }
    if (strncmp(c->in, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "%s\n", c->in);
        errno = EPROTO;
        die("refused");
    }
    return true;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void show(const char *what, double seconds) {
    qsort(samples, n_samples, sizeof *samples, compare);
    printf("%-40s %9.0f /s   p50 %7.2f ms   p99 %7.2f ms\n", what, (double)n_samples / seconds,
           samples[n_samples / 2] * 1e3, samples[n_samples * 99 / 100] * 1e3);
    fflush(stdout);
}

static void run(const char *what, int connections, double seconds) {
    struct client *all = mem_alloc((size_t)connections * sizeof *all);
    int ep = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        all[i].object = i;
        open_client(&all[i]);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &ev);
        put_next(&all[i]); /* the first makes the object and warms the login's cache */
        while (!receive(&all[i])) {
        }
    }
    n_samples = 0;
    double start = now_s(), end = start + seconds;
    for (int i = 0; i < connections; i++) {
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        put_next(&all[i]);
    }
    struct epoll_event evs[256];
    int open_answers = connections;
    while (open_answers > 0) {
        int n = epoll_wait(ep, evs, 256, 1000);
        for (int i = 0; i < n; i++) {
            struct client *c = evs[i].data.ptr;
            if (!receive(c)) {
                continue;
            }
            double now = now_s();
            if (n_samples < SAMPLES_MAX) {
                samples[n_samples++] = now - c->sent;
            }
            if (now < end) {
                put_next(c);
            } else {
                open_answers--;
            }
        }
    }
    show(what, now_s() - start);
    for (int i = 0; i < connections; i++) {
        close_client(&all[i]);
    }
    close(ep);
    mem_free(all);
}

/* Profiles up to `total` in pieces, one commit each. */
static void fill(int from, int total) {
    struct client c = {.ssl = NULL};
    open_client(&c);
    for (int at = from; at < total; at += PIECE) {
        struct buf b = BUF_INIT;
        buf_str(&b, "{\"weft-apm:apm\":{\"pool-domain-profile\":[");
        for (int i = at; i < at + PIECE && i < total; i++) {
            buf_printf(&b,
                       "%s{\"name\":\"p%d\",\"apportion-threshold\":7,\"reclaim-threshold\":70}",
                       i > at ? "," : "", i);
        }
        buf_str(&b, "]}}");
        send_request(&c, "PATCH", "/restconf/data/weft-apm:apm", buf_cstr(&b), b.len);
        while (!receive(&c)) {
        }
        buf_free(&b);
    }
    close_client(&c);
}

int main(int argc, char **argv) {
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    if (argc < 2) {
        fprintf(stderr, "usage: restconf_commit FOLDER [SECONDS]\n");
        return 2;
    }
    struct rlimit files = {8192, 8192};
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    snprintf(folder, sizeof folder, "%s", argv[1]);
    samples = mem_array(NULL, SAMPLES_MAX, sizeof *samples);
    printf("%-40s %9.0f /s\n", "floor: write + fdatasync", sync_floor());
    start_daemon(argv[0]);
    run("1 connection", 1, seconds);
    run("1,000 connections", CONNECTIONS, seconds);
    static const int totals[] = {1000, 10000, 100000};
    int have = CONNECTIONS;
    for (size_t i = 0; i < 3; i++) {
        char what[64];
        fill(have, totals[i]);
        have = totals[i];
        snprintf(what, sizeof what, "1 connection, %d objects loaded", totals[i]);
        run(what, 1, seconds / 2);
    }
    kill(daemon_pid, SIGTERM);
    int status = 1;
    waitpid(daemon_pid, &status, 0);
    SSL_CTX_free(tls);
    mem_free(samples);
    return status == 0 ? 0 : 1;
}
