// SPDX-License-Identifier: Apache-2.0
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log/conformance.h"

static char dir[] = "/tmp/weft-log-XXXXXX";

static void fresh(char *url, size_t size) {
    static int n;
    snprintf(url, size, "sqlite:%s/%d.db", dir, ++n);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
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
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    static const struct conformance_engine sqlite = {"sqlite", fresh, remove_store};
    int failed = log_conformance(&sqlite);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
