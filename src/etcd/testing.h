// SPDX-License-Identifier: Apache-2.0
/* A real etcd for tests: one member on loopback, its data in a folder of the test's. */
#ifndef ETCD_TESTING_H
#define ETCD_TESTING_H

#include <stdint.h>
#include <sys/types.h>

struct testing_etcd {
    pid_t pid; /* 0: it does not run */
    uint16_t port, peer_port;
    char data[128], log[128];
};

/* Starts one, or the same again (with its ports and data) after testing_etcd_kill; returns when it
 * answers. Fails the test when that takes too long. */
void testing_etcd_start(struct testing_etcd *t, const char *dir);
void testing_etcd_kill(struct testing_etcd *t); /* kill -9; its data stay */
void testing_etcd_stop(struct testing_etcd *t); /* and they go */

#endif
