// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "log/conformance.h"
#include "log/testing.h"

static char dir[64];

static void fresh(char *url, size_t size) {
    static int n;
    snprintf(url, size, "sqlite:%s/%d.db", dir, ++n);
}

static void remove_store(const char *url) {
    static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                           "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s%s", url + sizeof "sqlite:" - 1, suffixes[i]);
        unlink(name);
    }
}

int main(void) {
    static const struct conformance_engine sqlite = {"sqlite", fresh, remove_store};
    testing_dir(dir);
    int failed = log_conformance(&sqlite);
    testing_remove(dir);
    return failed;
}
