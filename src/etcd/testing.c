// SPDX-License-Identifier: Apache-2.0
#include "etcd/testing.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "etcd/client.h"
#include "log/testing.h"

enum { WAIT_S = 60 };

static uint16_t free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void run(const struct testing_etcd *t) {
    char client[64], peer[64], cluster[80];
    snprintf(client, sizeof client, "http://127.0.0.1:%u", t->port);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", t->peer_port);
    snprintf(cluster, sizeof cluster, "default=%s", peer);
    int fd = open(t->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not outlive a test that crashes */
    execlp("etcd", "etcd", "--data-dir", t->data, "--listen-client-urls", client,
           "--advertise-client-urls", client, "--listen-peer-urls", peer,
           "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--log-level",
           "warn", (char *)NULL);
    _exit(127);
}

static void wait_till_it_answers(const struct testing_etcd *t) {
    struct etcd_url url = {.n_endpoints = 1, .endpoints = {{.host = "127.0.0.1", .port = t->port}}};
    struct etcd *c;
    Weft__Etcd__StatusResponse *r;
    OK(etcd_open(&url, &c, &e_));
    OK(etcd_status(c, WAIT_S * 1000, &r, &e_));
    weft__etcd__status_response__free_unpacked(r, NULL);
    etcd_close(c);
}

void testing_etcd_start(struct testing_etcd *t, const char *dir) {
    if (t->port == 0) {
        t->port = free_port();
        do {
            t->peer_port = free_port();
        } while (t->peer_port == t->port);
        snprintf(t->data, sizeof t->data, "%s/etcd-%u", dir, t->port);
        snprintf(t->log, sizeof t->log, "%s/etcd-%u.log", dir, t->port);
    }
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid == 0) {
        run(t);
    }
    wait_till_it_answers(t);
}

void testing_etcd_kill(struct testing_etcd *t) {
    if (t->pid > 0) {
        kill(t->pid, SIGKILL);
        waitpid(t->pid, NULL, 0);
        t->pid = 0;
    }
}

void testing_etcd_stop(struct testing_etcd *t) {
    testing_etcd_kill(t);
    testing_remove(t->data);
    unlink(t->log);
}
