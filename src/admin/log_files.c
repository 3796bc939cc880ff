// SPDX-License-Identifier: Apache-2.0
/* Former log files are compressed, by a thread of their own: whoever logs does not wait. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/archive_file.h"
#include "admin/internal.h"
#include "base/file.h"
#include "base/logger_out.h"

enum { READ_MAX = 1100 << 20 }; /* bytes; a log file's greatest size, and the line it ends with */

static void *compress_file(void *arg) {
    char *path = arg, *gz = mem_printf("%s.gz", path);
    struct buf text = BUF_INIT, packed = BUF_INIT;
    struct err e;
    FILE *f = fopen(path, "re");
    size_t n = 1;
    while (f != NULL && n > 0 && text.len < READ_MAX) {
        buf_reserve(&text, 65536);
        n = fread(text.data + text.len, 1, 65536, f);
        text.len += n;
    }
    /* When anything fails the file stays as it is. */
    if (f != NULL && !ferror(f) && feof(f) &&
        archive_gzip(text.data, text.len, &packed, &e) == ERR_OK &&
        file_write(gz, packed.data, packed.len, 0600, &e) == ERR_OK) {
        unlink(path);
    }
    if (f != NULL) {
        fclose(f);
    }
    buf_free(&text);
    buf_free(&packed);
    mem_free(gz);
    mem_free(path);
    return NULL;
}

static void rotated(const char *path) {
    pthread_t thread;
    char *copy = mem_strdup(path);
    if (pthread_create(&thread, NULL, compress_file, copy) == 0) {
        pthread_detach(thread);
    } else {
        mem_free(copy);
    }
}

void log_files_start(void) {
    logger_on_rotate(rotated);
}
