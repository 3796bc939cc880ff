// SPDX-License-Identifier: Apache-2.0
/* The log's conformance suite on the etcd engine, against a real etcd that the test starts. */
#include <stdlib.h>
#include <unistd.h>

#include "etcd/engine.h"
#include "etcd/testing.h"
#include "log/conformance.h"
#include "log/testing.h"

static char dir[64];
static struct testing_etcd etcd;

static void fresh(char *url, size_t size) {
    static int n;
    n++;
    snprintf(url, size, "etcd:http://127.0.0.1:%u/store-%d?replica=%s/%d.db", etcd.port, n, dir, n);
}

static void remove_store(const char *url) {
    static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                           "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s%s", strchr(url, '=') + 1, suffixes[i]);
        unlink(name);
    }
}

int main(void) {
    static const struct conformance_engine engine = {"etcd", fresh, remove_store};
    log_engine_add(&log_etcd);
    testing_dir(dir);
    testing_etcd_start(&etcd, dir);
    int failed = log_conformance(&engine);
    testing_etcd_stop(&etcd);
    testing_remove(dir);
    return failed;
}
