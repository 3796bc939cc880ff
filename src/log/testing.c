// SPDX-License-Identifier: Apache-2.0
#include "log/testing.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/logger.h"

struct err e_;

void testing_dir(char out[64]) {
    snprintf(out, 64, "/tmp/weft-log-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
}

void testing_remove(const char *dir) {
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void testing_copy(const char *from, const char *to) {
    static char bytes[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, in)) > 0) {
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

void testing_quiet(void) {
    logger_set_sink(swallow, NULL);
}

struct log_op testing_put(uint8_t space, const char *key, const char *value) {
    return (struct log_op){.space = space,
                           .key = (const uint8_t *)key,
                           .key_len = strlen(key),
                           .value = (const uint8_t *)value,
                           .value_len = value ? strlen(value) : 0};
}
