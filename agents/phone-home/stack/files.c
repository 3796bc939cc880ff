// SPDX-License-Identifier: Apache-2.0
/* Files that go to other members and that come from the primary. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/logger.h"
#include "base/mem.h"
#include "phone-home/stack/daemon.h"

LOGGER_MODULE(stack)

enum { HASH_STEP = 512 << 10 /* bytes in one turn of the loop */ };

/* A file whose digest is being made, before it is sent. */
struct hashing {
    struct stackd *d;
    struct hashing *next;
    struct local_ask *ask;
    enum stack_file file;
    int member, fd;
    uint64_t size, at;
    EVP_MD_CTX *md;
    char text[161];
};

/* ---------------------------------------------------------------- orders */

struct order_ref *stackd_order(struct stackd *d, struct local_ask *ask) {
    struct err e;
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        struct order_ref *r = &d->orders[i];
        if (r->order == 0) {
            *r = (struct order_ref){.order = ++d->next_order, .ask = ask, .fd = -1};
            return r;
        }
    }
    err_set(&e, ERR_LIMIT, NULL, "%d orders are under way already", STACK_ORDERS_MAX);
    local_answer(ask, &e);
    return NULL;
}

static struct order_ref *order_of(struct stackd *d, uint64_t order) {
    for (size_t i = 0; i < STACK_ORDERS_MAX; i++) {
        if (d->orders[i].order == order) {
            return &d->orders[i];
        }
    }
    return NULL;
}

void stackd_order_done(void *arg, uint64_t order, const struct err *e) {
    struct stackd *d = arg;
    struct order_ref *r = order_of(d, order);
    if (r == NULL) {
        return;
    }
    if (r->ask == NULL && e != NULL) {
        L_WARN("the configuration does not reach a member: %s: %s", e->path, e->text);
        stackd_spread_failed(d);
    }
    loop_defer(d->loop, &d->spread); /* roles may be free now */
    if (r->fd >= 0) {
        close(r->fd);
    }
    struct local_ask *ask = r->ask;
    memset(r, 0, sizeof *r);
    local_answer(ask, e);
}

static bool read_at(void *arg, uint64_t order, uint64_t offset, void *p, size_t n) {
    const struct order_ref *r = order_of(arg, order);
    for (size_t at = 0; r != NULL && at < n;) {
        ssize_t got = pread(r->fd, (char *)p + at, n - at, (off_t)(offset + at));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        at += got > 0 ? (size_t)got : 0;
    }
    return r != NULL;
}

/* ---------------------------------------------------------------- going out */

static void hash_free(struct hashing *h) {
    for (struct hashing **p = &h->d->hashing; *p != NULL; p = &(*p)->next) {
        if (*p == h) {
            *p = h->next;
            break;
        }
    }
    EVP_MD_CTX_free(h->md);
    if (h->fd >= 0) {
        close(h->fd);
    }
    mem_free(h);
}

static void send_hashed(struct hashing *h) {
    struct stackd *d = h->d;
    uint8_t digest[STACK_DIGEST];
    EVP_DigestFinal_ex(h->md, digest, NULL);
    struct order_ref *r = stackd_order(d, h->ask);
    if (r != NULL) {
        r->fd = h->fd;
        r->file = h->file;
        h->fd = -1;
        stack_engine_send(d->engine, stackd_now(d), r->order, h->file, h->member, h->size, digest,
                          h->text);
        stackd_poke(d);
    }
    hash_free(h);
}

static void hash_step(void *arg) {
    static uint8_t bytes[HASH_STEP];
    struct hashing *h = arg;
    struct err e;
    ssize_t n = pread(h->fd, bytes, sizeof bytes, (off_t)h->at);
    if (n < 0 || (n == 0 && h->at != h->size)) {
        err_errno(&e, n < 0 ? errno : EIO, "file", "can't be read");
        local_answer(h->ask, &e);
        hash_free(h);
        return;
    }
    EVP_DigestUpdate(h->md, bytes, (size_t)n);
    h->at += (uint64_t)n;
    if (h->at >= h->size) {
        send_hashed(h);
    } else {
        loop_post(h->d->loop, hash_step, h);
    }
}

void stackd_send_file(struct stackd *d, struct local_ask *ask, enum stack_file file, int member,
                      int fd, const char *text) {
    struct stat st;
    struct err e;
    if (fd < 0 || fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode))) {
        err_set(&e, ERR_INVALID, "file", "is no file that can be read");
        local_answer(ask, &e);
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    struct hashing *h = MEM_NEW(struct hashing);
    h->d = d;
    h->ask = ask;
    h->file = file;
    h->member = member;
    h->fd = fd;
    h->size = (uint64_t)st.st_size;
    h->md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(h->md, EVP_sha256(), NULL);
    snprintf(h->text, sizeof h->text, "%s", text);
    h->next = d->hashing;
    d->hashing = h;
    loop_post(d->loop, hash_step, h);
}

/* ---------------------------------------------------------------- coming in */

static void part_path(const struct stackd *d, enum stack_file file, bool digest,
                      char out[SETTINGS_PATH_MAX + 64]) {
    char name[32];
    snprintf(name, sizeof name, "part-%d%s", (int)file, digest ? ".digest" : "");
    stackd_path(d, name, out);
}

static uint64_t part(void *arg, enum stack_file file, const uint8_t digest[STACK_DIGEST]) {
    struct stackd *d = arg;
    char path[SETTINGS_PATH_MAX + 64], of[SETTINGS_PATH_MAX + 64];
    struct buf b = BUF_INIT;
    struct err e;
    struct stat st;
    part_path(d, file, false, path);
    part_path(d, file, true, of);
    bool same = file_read(of, STACK_DIGEST, &b, &e) == ERR_OK && b.len == STACK_DIGEST &&
                memcmp(b.data, digest, STACK_DIGEST) == 0;
    buf_free(&b);
    if (d->part[file] >= 0) {
        close(d->part[file]);
    }
    d->part[file] =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (same ? 0 : O_TRUNC), 0600);
    if (d->part[file] < 0 || fstat(d->part[file], &st) != 0) {
        return 0; /* the first piece will say that it can't be stored */
    }
    if (!same && file_write(of, digest, STACK_DIGEST, 0600, &e) != ERR_OK) {
        L_WARN("%s: %s", e.path, e.text);
    }
    return (uint64_t)st.st_size;
}

static bool write_at(void *arg, enum stack_file file, uint64_t offset, const void *p, size_t n) {
    const struct stackd *d = arg;
    return d->part[file] >= 0 && pwrite(d->part[file], p, n, (off_t)offset) == (ssize_t)n;
}

/* The end of a file that came: a message of its own, as hosts don't call the engine from inside. */
struct finished {
    struct stackd *d;
    uint64_t ticket;
    enum stack_file file;
    bool bad;
    struct err e;
};

static void drop_part(struct stackd *d, enum stack_file file) {
    char path[SETTINGS_PATH_MAX + 64];
    if (d->part[file] >= 0) {
        close(d->part[file]);
        d->part[file] = -1;
    }
    part_path(d, file, false, path);
    unlink(path);
    part_path(d, file, true, path);
    unlink(path);
}

static void finished(void *arg) {
    struct finished *f = arg;
    drop_part(f->d, f->file);
    stack_engine_finished(f->d->engine, stackd_now(f->d), f->ticket, f->bad ? &f->e : NULL);
    stackd_poke(f->d);
    mem_free(f);
}

static void end_later(struct stackd *d, void *arg, const struct err *e) {
    struct finished *f = arg;
    if (e != NULL) {
        f->bad = true;
        f->e = *e;
        L_WARN("what the primary sent is refused: %s: %s", e->path, e->text);
    }
    loop_post(d->loop, finished, f);
}

static enum err_code check_digest(const struct buf *b, const uint8_t digest[STACK_DIGEST],
                                  struct err *e) {
    uint8_t have[STACK_DIGEST];
    EVP_Digest(b->data, b->len, have, NULL, EVP_sha256(), NULL);
    return memcmp(have, digest, STACK_DIGEST) == 0
               ? ERR_OK
               : err_set(e, ERR_INVALID, "file", "is not the one that was announced");
}

static void finish_small(struct stackd *d, struct finished *f, const uint8_t digest[STACK_DIGEST],
                         const char *text) {
    char path[SETTINGS_PATH_MAX + 64];
    struct buf b = BUF_INIT;
    struct err e;
    part_path(d, f->file, false, path);
    enum err_code rc = file_read(path, STACK_FILE_MAX_RECORD, &b, &e);
    if (rc == ERR_OK) {
        rc = check_digest(&b, digest, &e);
    }
    if (rc == ERR_OK && f->file == STACK_FILE_RECORD) {
        stackd_path(d, "record", path);
        rc = file_write(path, b.data, b.len, 0600, &e);
    }
    buf_free(&b);
    if (rc == ERR_OK && f->file == STACK_FILE_CONFIG) {
        stackd_config(d, CONFIG_APPLY, dup(d->part[f->file]), text, 0, end_later, f);
        return;
    }
    end_later(d, f, rc != ERR_OK ? &e : NULL);
}

static void finish(void *arg, uint64_t ticket, enum stack_file file,
                   const uint8_t digest[STACK_DIGEST], uint64_t size, const char *text) {
    struct stackd *d = arg;
    struct finished *f = MEM_NEW(struct finished);
    f->d = d;
    f->ticket = ticket;
    f->file = file;
    if (file == STACK_FILE_IMAGE) {
        L_INFO("installs the image %s", text);
        stackd_install(d, dup(d->part[file]), text, digest, end_later, f);
    } else {
        finish_small(d, f, digest, text);
    }
}

void stackd_files_host(struct stack_host *h) {
    h->read = read_at;
    h->part = part;
    h->write = write_at;
    h->finish = finish;
    h->done = stackd_order_done;
}

void stackd_files_start(struct stackd *d) {
    for (size_t i = 0; i < sizeof d->part / sizeof *d->part; i++) {
        d->part[i] = -1;
    }
}
