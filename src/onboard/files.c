// SPDX-License-Identifier: Apache-2.0
/* What lies on disk: boot images and long texts, with their hashes. From any thread. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "onboard/internal.h"

enum { PIECE = 1 << 16, CACHED_MAX = 1000 };

static bool name_good(const char *name) {
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && strlen(name) < 256;
}

enum err_code files_open(const char *name, int *fd, uint64_t *size, struct err *e) {
    struct stat st;
    if (!name_good(name)) {
        return err_set(e, ERR_ABSENT, name, "is no name of a file of the onboarding folder");
    }
    char *path = mem_printf("%s/files/%s", onboard_paths.folder, name);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum err_code rc = ERR_OK;
    if (*fd < 0 || fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = *fd < 0 && errno != ENOENT && errno != ELOOP
                 ? err_errno(e, errno, path, "can't be read")
                 : err_set(e, ERR_ABSENT, path, "is not there, or no file");
        if (*fd >= 0) {
            close(*fd);
        }
        *fd = -1;
    } else {
        *size = (uint64_t)st.st_size;
    }
    mem_free(path);
    return rc;
}

bool files_has(const char *name) {
    int fd;
    uint64_t size;
    struct err e;
    if (files_open(name, &fd, &size, &e) != ERR_OK) {
        return false;
    }
    close(fd);
    return true;
}

enum err_code files_read(const char *name, size_t max, struct buf *out, struct err *e) {
    int fd;
    uint64_t size;
    ERR_TRY(files_open(name, &fd, &size, e));
    enum err_code rc =
        size > max ? err_set(e, ERR_TOO_BIG, name, "has more than %zu bytes", max) : ERR_OK;
    for (ssize_t n = 1; rc == ERR_OK && n > 0;) {
        uint8_t *at = buf_extend(out, PIECE);
        n = read(fd, at, PIECE);
        out->len -= PIECE - (n > 0 ? (size_t)n : 0);
        if (n < 0 && errno != EINTR) {
            rc = err_errno(e, errno, name, "can't be read");
        } else if (out->len > max) {
            rc = err_set(e, ERR_TOO_BIG, name, "has more than %zu bytes", max);
        }
    }
    close(fd);
    return rc;
}

/* ---- hashes ---------------------------------------------------------------------------------- */

struct cached {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    struct digests digests;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map cache = MAP_INIT;

void files_forget(void) {
    pthread_mutex_lock(&lock);
    map_free(&cache, mem_free);
    cache = (struct map)MAP_INIT;
    pthread_mutex_unlock(&lock);
}

static bool same(const struct cached *c, const struct stat *st) {
    return c->dev == st->st_dev && c->ino == st->st_ino && c->size == st->st_size &&
           c->mtime.tv_sec == st->st_mtim.tv_sec && c->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

static enum err_code reckon(int fd, const char *name, struct digests *out, struct err *e) {
    EVP_MD_CTX *a = EVP_MD_CTX_new(), *b = EVP_MD_CTX_new(), *c = EVP_MD_CTX_new();
    uint8_t *piece = mem_alloc(PIECE);
    ssize_t n = 1;
    EVP_DigestInit_ex(a, EVP_sha256(), NULL);
    EVP_DigestInit_ex(b, EVP_sha1(), NULL);
    EVP_DigestInit_ex(c, EVP_md5(), NULL);
    while (n > 0 || (n < 0 && errno == EINTR)) {
        n = read(fd, piece, PIECE);
        if (n > 0) {
            EVP_DigestUpdate(a, piece, (size_t)n);
            EVP_DigestUpdate(b, piece, (size_t)n);
            EVP_DigestUpdate(c, piece, (size_t)n);
        }
    }
    enum err_code rc = n < 0 ? err_errno(e, errno, name, "can't be read") : ERR_OK;
    EVP_DigestFinal_ex(a, out->sha256, NULL);
    EVP_DigestFinal_ex(b, out->sha1, NULL);
    EVP_DigestFinal_ex(c, out->md5, NULL);
    EVP_MD_CTX_free(a);
    EVP_MD_CTX_free(b);
    EVP_MD_CTX_free(c);
    mem_free(piece);
    return rc;
}

static bool find(const char *name, const struct stat *st, struct digests *out) {
    pthread_mutex_lock(&lock);
    const struct cached *c = map_get(&cache, name);
    bool found = c != NULL && same(c, st);
    if (found) {
        *out = c->digests;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void keep(const char *name, const struct stat *st, const struct digests *d) {
    struct cached *fresh = MEM_NEW(struct cached);
    *fresh = (struct cached){st->st_dev, st->st_ino, st->st_size, st->st_mtim, *d};
    pthread_mutex_lock(&lock);
    if (cache.count >= CACHED_MAX) {
        map_free(&cache, mem_free);
        cache = (struct map)MAP_INIT;
    }
    mem_free(map_put(&cache, name, fresh));
    pthread_mutex_unlock(&lock);
}

/* One at a time: a thousand devices that come for the same image have it read once. */
static enum err_code find_or_reckon(int fd, const char *name, const struct stat *st,
                                    struct digests *out, struct err *e) {
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    enum err_code rc = ERR_OK;
    if (find(name, st, out)) {
        return ERR_OK;
    }
    pthread_mutex_lock(&turn);
    if (!find(name, st, out)) {
        rc = reckon(fd, name, out, e);
        if (rc == ERR_OK) {
            keep(name, st, out);
        }
    }
    pthread_mutex_unlock(&turn);
    return rc;
}

static enum err_code open_known(const char *name, int *fd, struct stat *st, struct err *e) {
    uint64_t size;
    ERR_TRY(files_open(name, fd, &size, e));
    if (fstat(*fd, st) != 0) {
        close(*fd);
        return err_errno(e, errno, name, "can't be read");
    }
    return ERR_OK;
}

enum err_code files_digests(const char *name, struct digests *out, struct err *e) {
    int fd;
    struct stat st;
    ERR_TRY(open_known(name, &fd, &st, e));
    enum err_code rc = find_or_reckon(fd, name, &st, out, e);
    close(fd);
    return rc;
}

void files_version(const struct digests *d, char out[FILES_VERSION + 1]) {
    for (unsigned i = 0; i < FILES_VERSION / 2; i++) {
        snprintf(out + 2 * (size_t)i, 3, "%02x", d->sha256[i]);
    }
}

const char *files_split(const char *path, char version[FILES_VERSION + 1]) {
    version[0] = '\0';
    if (strspn(path, "0123456789abcdef") != FILES_VERSION || path[FILES_VERSION] != '/') {
        return path;
    }
    snprintf(version, FILES_VERSION + 1, "%s", path);
    return path + FILES_VERSION + 1;
}

enum files_match files_match(const char *name, const char *version, bool reckon) {
    int fd;
    struct stat st;
    struct err e;
    struct digests d;
    char here[FILES_VERSION + 1];
    if (open_known(name, &fd, &st, &e) != ERR_OK) {
        return FILES_OTHER;
    }
    bool known = reckon ? find_or_reckon(fd, name, &st, &d, &e) == ERR_OK : find(name, &st, &d);
    close(fd);
    if (!known) {
        return reckon ? FILES_OTHER : FILES_UNKNOWN;
    }
    files_version(&d, here);
    return strcmp(here, version) == 0 ? FILES_SAME : FILES_OTHER;
}

/* ---- PEM ------------------------------------------------------------------------------------- */

enum err_code pem_text(const char *text, struct buf *out, struct err *e) {
    if (strstr(text, "-----BEGIN ") != NULL) {
        buf_str(out, text);
        return ERR_OK;
    }
    if (cms_unbase64(text, strlen(text), out, e) != ERR_OK ||
        memmem(out->data != NULL ? out->data : (uint8_t *)"", out->len, "-----BEGIN ", 11) ==
            NULL) {
        buf_clear(out);
        return err_set(e, ERR_INVALID, NULL, "is neither PEM nor the Base64 of PEM");
    }
    return ERR_OK;
}

enum err_code crl_text(const char *text, struct buf *out, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    struct buf raw = BUF_INIT;
    enum err_code rc = pem_text(text, &raw, e);
    if (rc == ERR_OK) {
        rc = cms_certs_add_pem(c, raw.data, raw.len, e);
    } else if (cms_unbase64(text, strlen(text), &raw, NULL) == ERR_OK) {
        rc = cms_certs_add_crl(c, raw.data, raw.len, e);
    }
    if (rc == ERR_OK && cms_certs_count(c) > 0) {
        rc = err_set(e, ERR_INVALID, NULL, "has a certificate in it, which is no revocation list");
    }
    if (rc == ERR_OK) {
        cms_certs_to_pem(c, out);
    }
    cms_certs_free(c);
    buf_free(&raw);
    return rc;
}
