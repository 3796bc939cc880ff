// SPDX-License-Identifier: Apache-2.0
/*
 * gRPC unary calls a second and core (mark 15): our server on one thread pinned to one core, driven
 * by our client in another process on the other core. Layer: whole calls, sockets and TLS included,
 * an echo of 16 bytes as the handler. The floor of the same run: bytes there and back between two
 * processes with nothing but read and write, one at a time (batching is how the figure gets above
 * it).
 *
 * usage: bench_grpc_unary WORKDIR               both, plaintext and TLS, and the floor
 *        bench_grpc_unary load HOST PORT SECONDS CALLS [CA]   only the load, for rivals
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/grpc.h"
#include "net/pki.h"

enum { CONNS = 4, SECONDS = 3, PAYLOAD = 16 };

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set),
                      &set); /* fails on a machine with one core: the figure is lower */
}

/* ------------------------------------------------------------------ server */

static void message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    grpc_send(c, p, n);
}
static void half_closed(struct grpc_call *c, void *arg) {
    grpc_finish(c, GRPC_OK, NULL);
}
static const struct grpc_call_ops echo_ops = {.message = message, .half_closed = half_closed};
static void echo(struct grpc_call *c, void *arg) {
    grpc_set_ops(c, &echo_ops, NULL);
}

static void serve(const char *dir, bool with_tls, int report) {
    pin(0);
    struct err e = {0};
    struct loop *l = loop_new("server");
    struct grpc_server *gs = grpc_server_new(l);
    grpc_register(gs, "/weft.test.Echo/Unary", echo, NULL);
    struct http_server *s = http_server_new(l, NULL, grpc_http_handler, gs);
    struct tls_ctx *tls = NULL;
    char *cert = mem_printf("%s/s.pem", dir), *key = mem_printf("%s/s.key", dir);
    struct tls_config c = {.cert_file = cert, .key_file = key, .alpn = TLS_ALPN_H2};
    struct ip_addr lo = ip4(0x7f000001);
    uint16_t port = 0;
    if ((with_tls && tls_server_new(&c, &tls, &e) != ERR_OK) ||
        http_listen_tcp(s, &lo, 0, tls, HTTP_H2C, &port, &e) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e.path, e.text);
        exit(1);
    }
    if (write(report, &port, sizeof(port)) != sizeof(port)) {
        exit(1);
    }
    loop_run(l); /* until killed */
}

/* ------------------------------------------------------------------ load */

struct load {
    struct loop *l;
    struct grpc_channel *ch[CONNS];
    unsigned calls, connected;
    uint64_t done, failed;
    bool over;
};
struct slot {
    struct load *load;
    struct grpc_channel *ch;
};

static void answered(enum grpc_code status, const char *text, const uint8_t *p, size_t n,
                     void *arg) {
    static const char payload[PAYLOAD + 1] = "0123456789abcdef";
    struct slot *s = arg;
    if (status == GRPC_OK && n == PAYLOAD) {
        s->load->done++;
    } else if (!s->load->over) {
        s->load->failed++;
    }
    if (!s->load->over) {
        grpc_unary(s->ch, "/weft.test.Echo/Unary", payload, PAYLOAD, 0, answered, s);
    }
}
static void connected(struct grpc_channel *ch, void *arg) {
    struct load *l = arg;
    if (++l->connected == CONNS) {
        loop_stop(l->l);
    }
}
static void closed(struct grpc_channel *ch, const char *why, void *arg) {
    struct load *l = arg;
    if (!l->over) {
        fprintf(stderr, "connection lost: %s\n", why);
        exit(1);
    }
    if (--l->connected == 0) {
        loop_stop(l->l);
    }
}
static void time_is_over(void *arg) {
    struct load *l = arg;
    l->over = true;
    loop_stop(l->l);
}

/* `calls` outstanding on each of CONNS connections. Answers per second. */
static double run_load(const char *host, uint16_t port, double seconds, unsigned calls,
                       const char *ca, uint64_t *failed) {
    static const struct grpc_channel_ops ops = {connected, closed};
    struct load l = {.l = loop_new("load")};
    struct err e = {0};
    struct tls_ctx *tls = NULL;
    struct tls_config c = {.ca_file = ca, .alpn = TLS_ALPN_H2};
    if (ca != NULL && tls_client_new(&c, &tls, &e) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e.path, e.text);
        exit(1);
    }
    struct grpc_channel_config cfg = {.host = host, .port = port, .tls = tls, .keepalive_ms = -1};
    for (int i = 0; i < CONNS; i++) {
        l.ch[i] = grpc_connect(l.l, &cfg, &ops, &l);
    }
    loop_run(l.l);
    struct slot *slots = mem_array(NULL, (size_t)CONNS * calls, sizeof(*slots));
    for (unsigned i = 0; i < CONNS * calls; i++) {
        slots[i] = (struct slot){&l, l.ch[i % CONNS]};
        l.failed--; /* the first call of a slot answers nothing */
        answered(GRPC_UNKNOWN, "", NULL, 0, &slots[i]);
    }
    struct loop_timer *t = loop_timer_new(l.l, time_is_over, &l);
    double start = now_s();
    loop_timer_start(t, (int64_t)(seconds * 1000));
    loop_run(l.l);
    double rate = (double)l.done / (now_s() - start);
    *failed = l.failed;
    for (int i = 0; i < CONNS; i++) {
        grpc_channel_close(l.ch[i]);
    }
    loop_run(l.l);
    loop_timer_free(t);
    mem_free(slots);
    tls_ctx_free(tls);
    loop_free(l.l);
    return rate;
}

/* ------------------------------------------------------------------ floor */

/* Round trips of PAYLOAD bytes between two processes over a unix socket, one after the other. */
static double floor_rate(void) {
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0) {
        return 0;
    }
    pid_t child = fork();
    char b[PAYLOAD] = {0};
    if (child == 0) {
        pin(0);
        close(fd[0]);
        while (read(fd[1], b, sizeof(b)) == sizeof(b) && write(fd[1], b, sizeof(b)) > 0) {
        }
        _exit(0);
    }
    close(fd[1]);
    double start = now_s();
    unsigned n = 0;
    for (; now_s() - start < 1; n++) {
        if (write(fd[0], b, sizeof(b)) != sizeof(b) || read(fd[0], b, sizeof(b)) != sizeof(b)) {
            break;
        }
    }
    double rate = n / (now_s() - start);
    close(fd[0]);
    waitpid(child, NULL, 0);
    return rate;
}

static void measure(const char *dir, bool tls, unsigned in_flight) {
    int fd[2];
    uint16_t port = 0;
    if (pipe(fd) < 0) {
        exit(1);
    }
    pid_t child = fork();
    if (child == 0) {
        serve(dir, tls, fd[1]);
        _exit(0);
    }
    if (read(fd[0], &port, sizeof(port)) != sizeof(port)) {
        exit(1);
    }
    pin(1);
    char *ca = mem_printf("%s/ca.pem", dir);
    uint64_t failed;
    double rate = run_load("127.0.0.1", port, SECONDS, in_flight, tls ? ca : NULL, &failed);
    struct rusage ru;
    kill(child, SIGKILL);
    wait4(child, NULL, 0, &ru);
    double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                 (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    printf(
        "weft %-9s %d connections x %2u calls: %6.0f unary/s; %6.0f per second of server CPU%s\n",
        tls ? "TLS" : "plaintext", CONNS, in_flight, rate, rate * SECONDS / cpu,
        failed ? " (WITH FAILED CALLS)" : "");
    mem_free(ca);
    close(fd[0]);
    close(fd[1]);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    logger_set_level("loop", "error");
    if (argc >= 6 && strcmp(argv[1], "load") == 0) {
        uint64_t failed;
        double rate = run_load(argv[2], (uint16_t)atoi(argv[3]), atof(argv[4]),
                               (unsigned)atoi(argv[5]), argc > 6 ? argv[6] : NULL, &failed);
        printf("%.0f %llu\n", rate, (unsigned long long)failed);
        return failed != 0;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: bench_grpc_unary WORKDIR\n");
        return 2;
    }
    struct err e = {0};
    char *ca = mem_printf("%s/ca.pem", argv[1]), *ca_key = mem_printf("%s/ca.key", argv[1]);
    char *cert = mem_printf("%s/s.pem", argv[1]), *key = mem_printf("%s/s.key", argv[1]);
    static const char *const sans[] = {"IP:127.0.0.1", "DNS:localhost", NULL};
    struct pki_request rq = {.common_name = "bench", .sans = sans, .use = PKI_SERVER, .days = 1};
    if (pki_make_ca("bench", 1, ca, ca_key, &e) != ERR_OK ||
        pki_issue(ca, ca_key, &rq, cert, key, &e) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e.path, e.text);
        return 1;
    }
    printf("floor: %.0f round trips/s of %d bytes between two processes, one at a time\n",
           floor_rate(), PAYLOAD);
    for (int tls = 0; tls < 2; tls++) {
        measure(argv[1], tls, 1);
        measure(argv[1], tls, 25);
    }
    mem_free(ca);
    mem_free(ca_key);
    mem_free(cert);
    mem_free(key);
    return 0;
}
