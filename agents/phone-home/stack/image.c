// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"

enum { BLOCK = 512, PIECE = 64 << 10, MANIFEST_MAX = 1 << 20 };

struct unpack {
    int fd;
    int folder; /* that it goes into */
    EVP_MD_CTX *whole, *one;
    uint64_t unpacked;
    size_t files;
    struct map digests; /* name -> 32 bytes */
    uint8_t piece[PIECE];
};

/* ---------------------------------------------------------------- removing */

static enum err_code empty_at(int dir, const char *const *keep, struct err *e) {
    DIR *d = fdopendir(dir);
    enum err_code rc = ERR_OK;
    if (d == NULL) {
        close(dir);
        return err_errno(e, errno, NULL, "the folder can't be read");
    }
    for (struct dirent *entry; rc == ERR_OK && (entry = readdir(d)) != NULL;) {
        const char *name = entry->d_name;
        bool kept = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        for (size_t i = 0; keep != NULL && keep[i] != NULL; i++) {
            kept = kept || strcmp(name, keep[i]) == 0;
        }
        if (kept || unlinkat(dirfd(d), name, 0) == 0) {
            continue;
        }
        int sub = openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        rc = sub >= 0 ? empty_at(sub, NULL, e) : err_errno(e, errno, name, "can't be removed");
        if (rc == ERR_OK && unlinkat(dirfd(d), name, AT_REMOVEDIR) != 0) {
            rc = err_errno(e, errno, name, "can't be removed");
        }
    }
    closedir(d);
    return rc;
}

enum err_code image_empty(const char *folder, const char *const *keep, struct err *e) {
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        return errno == ENOENT ? ERR_OK : err_errno(e, errno, folder, "can't be opened");
    }
    return empty_at(dir, keep, e);
}

enum err_code image_remove(const char *folder, struct err *e) {
    ERR_TRY(image_empty(folder, NULL, e));
    if (rmdir(folder) != 0 && errno != ENOENT) {
        return err_errno(e, errno, folder, "can't be removed");
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- the manifest */

static enum err_code manifest_name(const json_t *o, const char *name, char *out, size_t size,
                                   struct err *e) {
    const char *s = json_string_value(json_object_get(o, name));
    if (s == NULL || !stack_text_ok(s, size - 1)) {
        return err_set(e, ERR_INVALID, "manifest.json",
                       "%s must be 1 to %zu printable ASCII characters", name, size - 1);
    }
    snprintf(out, size, "%s", s);
    return ERR_OK;
}

static enum err_code manifest_parse(const struct buf *b, struct image_manifest *out, json_t **doc,
                                    struct err *e) {
    json_error_t je;
    *doc = json_loadb((const char *)b->data, b->len, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(*doc)) {
        return err_set(e, ERR_MALFORMED, "manifest.json", "line %d: %s", je.line,
                       *doc == NULL ? je.text : "is no object");
    }
    ERR_TRY(manifest_name(*doc, "name", out->name, sizeof out->name, e));
    ERR_TRY(manifest_name(*doc, "os-name", out->os_name, sizeof out->os_name, e));
    return manifest_name(*doc, "os-version", out->os_version, sizeof out->os_version, e);
}

enum err_code image_manifest_load(const char *folder, struct image_manifest *out, struct err *e) {
    char path[600];
    struct buf b = BUF_INIT;
    json_t *doc = NULL;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    enum err_code rc = file_read(path, MANIFEST_MAX, &b, e);
    if (rc == ERR_OK) {
        rc = manifest_parse(&b, out, &doc, e);
    }
    json_decref(doc);
    buf_free(&b);
    return rc;
}

static enum err_code check_file(const char *name, const json_t *want, const uint8_t *have,
                                struct err *e) {
    char hex[2 * STACK_DIGEST + 1];
    for (size_t i = 0; i < STACK_DIGEST; i++) {
        snprintf(hex + 2 * i, 3, "%02x", have[i]);
    }
    if (!json_is_string(want)) {
        return err_set(e, ERR_INVALID, name, "is not in the manifest");
    }
    if (strcmp(json_string_value(want), hex) != 0) {
        return err_set(e, ERR_INVALID, name, "is not what the manifest says: its digest is %s",
                       hex);
    }
    return ERR_OK;
}

static enum err_code check_files(struct unpack *u, const json_t *doc, struct err *e) {
    const json_t *files = json_object_get(doc, "files");
    const char *name;
    json_t *v;
    if (!json_is_object(files)) {
        return err_set(e, ERR_INVALID, "manifest.json", "files must be an object");
    }
    MAP_FOREACH (m, &u->digests) {
        if (strcmp(m->key, "manifest.json") != 0) {
            ERR_TRY(check_file(m->key, json_object_get(files, m->key), m->value, e));
        }
    }
    json_object_foreach((json_t *)(uintptr_t)files, name, v) {
        if (map_get(&u->digests, name) == NULL) {
            return err_set(e, ERR_INVALID, name, "is in the manifest and not in the image");
        }
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- tar */

static enum err_code read_exactly(struct unpack *u, void *p, size_t n, struct err *e) {
    for (size_t at = 0; at < n;) {
        ssize_t r = read(u->fd, (uint8_t *)p + at, n - at);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0) {
            return err_errno(e, errno, NULL, "the image can't be read");
        }
        if (r == 0) {
            return err_set(e, ERR_MALFORMED, NULL, "the image ends in the middle");
        }
        at += (size_t)r;
    }
    EVP_DigestUpdate(u->whole, p, n);
    return ERR_OK;
}

static bool octal(const char *p, size_t n, uint64_t *out) {
    size_t i = 0;
    *out = 0;
    while (i < n && p[i] == ' ') {
        i++;
    }
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
        *out = *out * 8 + (uint64_t)(p[i] - '0');
    }
    return i == n || p[i] == '\0' || p[i] == ' ';
}

static bool sum_is_right(const uint8_t *h) {
    uint64_t want, sum = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        sum += i >= 148 && i < 156 ? ' ' : h[i];
    }
    return octal((const char *)h + 148, 8, &want) && want == sum;
}

/* The name of an entry, relative and without steps upwards. */
static enum err_code entry_name(const uint8_t *h, char out[IMAGE_NAME_MAX + 60], struct err *e) {
    char name[101], prefix[156] = "", whole[IMAGE_NAME_MAX + 60];
    memcpy(name, h, 100);
    name[100] = '\0';
    if (memcmp(h + 257, "ustar", 6) == 0) { /* GNU tar's own format has no prefix here */
        memcpy(prefix, h + 345, 155);
        prefix[155] = '\0';
    }
    snprintf(whole, sizeof whole, "%s%s%s", prefix, prefix[0] != '\0' ? "/" : "", name);
    size_t n = 0;
    out[0] = '\0';
    for (char *save = NULL, *step = strtok_r(whole, "/", &save); step != NULL;
         step = strtok_r(NULL, "/", &save)) {
        if (strcmp(step, ".") == 0) {
            continue;
        }
        if (strcmp(step, "..") == 0) {
            return err_set(e, ERR_INVALID, name, "leads out of the image");
        }
        n += (size_t)snprintf(out + n, IMAGE_NAME_MAX + 60 - n, "%s%s", n > 0 ? "/" : "", step);
    }
    if (name[0] == '/' || prefix[0] == '/') {
        return err_set(e, ERR_INVALID, name, "leads out of the image");
    }
    if (n > IMAGE_NAME_MAX) {
        return err_set(e, ERR_TOO_BIG, name, "has too long a name");
    }
    return ERR_OK;
}

/* Folders on the way to `name` are made when they are not there. They are ours alone: no links. */
static enum err_code make_folders(struct unpack *u, const char *name, bool last, struct err *e) {
    char path[IMAGE_NAME_MAX + 1];
    snprintf(path, sizeof path, "%s", name);
    for (char *p = strchr(path, '/');; p = p != NULL ? strchr(p + 1, '/') : NULL) {
        if (p != NULL) {
            *p = '\0';
        } else if (!last) {
            return ERR_OK;
        }
        if (mkdirat(u->folder, path, 0755) != 0 && errno != EEXIST) {
            return err_errno(e, errno, name, "the folder can't be made");
        }
        if (p == NULL) {
            return ERR_OK;
        }
        *p = '/';
    }
}

static enum err_code copy_out(struct unpack *u, int out, const char *name, uint64_t size,
                              struct err *e) {
    uint8_t digest[STACK_DIGEST];
    EVP_DigestInit_ex(u->one, EVP_sha256(), NULL);
    while (size > 0) {
        size_t n = size < PIECE ? (size_t)size : PIECE;
        ERR_TRY(read_exactly(u, u->piece, n, e));
        EVP_DigestUpdate(u->one, u->piece, n);
        for (size_t at = 0; at < n;) {
            ssize_t w = write(out, u->piece + at, n - at);
            if (w < 0 && errno != EINTR) {
                return err_errno(e, errno, name, "can't be written");
            }
            at += w > 0 ? (size_t)w : 0;
        }
        size -= n;
    }
    if (fsync(out) != 0) {
        return err_errno(e, errno, name, "can't be written");
    }
    EVP_DigestFinal_ex(u->one, digest, NULL);
    mem_free(map_put(&u->digests, name, mem_dup(digest, sizeof digest)));
    return ERR_OK;
}

static enum err_code take_file(struct unpack *u, const char *name, uint64_t size, mode_t mode,
                               struct err *e) {
    u->unpacked += size;
    if (++u->files > IMAGE_FILES_MAX || size > IMAGE_UNPACKED_MAX ||
        u->unpacked > IMAGE_UNPACKED_MAX) {
        return err_set(e, ERR_TOO_BIG, name, "more is in the image than a member takes");
    }
    ERR_TRY(make_folders(u, name, false, e));
    int out = openat(u->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     0644 | (mode & 0111));
    if (out < 0) {
        return err_errno(e, errno, name, "can't be made");
    }
    enum err_code rc = copy_out(u, out, name, size, e);
    close(out);
    return rc;
}

static enum err_code skip(struct unpack *u, uint64_t size, struct err *e) {
    while (size > 0) {
        size_t n = size < PIECE ? (size_t)size : PIECE;
        ERR_TRY(read_exactly(u, u->piece, n, e));
        size -= n;
    }
    return ERR_OK;
}

/* *end: the archive's end was reached. */
static enum err_code take_entry(struct unpack *u, bool *end, struct err *e) {
    static const uint8_t zeroes[BLOCK];
    uint8_t h[BLOCK];
    char name[IMAGE_NAME_MAX + 60];
    uint64_t size, mode;
    ERR_TRY(read_exactly(u, h, BLOCK, e));
    if (memcmp(h, zeroes, BLOCK) == 0) {
        *end = true;
        return ERR_OK;
    }
    if (!sum_is_right(h) || !octal((const char *)h + 124, 12, &size) ||
        !octal((const char *)h + 100, 8, &mode)) {
        return err_set(e, ERR_MALFORMED, NULL, "the image is no tar archive, or is damaged");
    }
    ERR_TRY(entry_name(h, name, e));
    switch (h[156]) {
    case '0':
    case '\0':
        if (name[0] == '\0') {
            return err_set(e, ERR_INVALID, NULL, "the image has a file without a name");
        }
        ERR_TRY(take_file(u, name, size, (mode_t)mode, e));
        break;
    case '5':
        if (name[0] != '\0') {
            ERR_TRY(make_folders(u, name, true, e));
        }
        break;
    case 'x': /* what POSIX archives say more: times and owners, which don't matter */
    case 'g':
        if (size > 1 << 20) {
            return err_set(e, ERR_TOO_BIG, name, "has too long a header");
        }
        ERR_TRY(skip(u, size, e));
        break;
    default:
        return err_set(
            e, ERR_UNSUPPORTED, name,
            "is neither a file nor a folder (type '%c'), or has a name of over 100 bytes",
            h[156] >= ' ' && h[156] <= '~' ? h[156] : '?');
    }
    return skip(u, h[156] == '5' ? 0 : (BLOCK - size % BLOCK) % BLOCK, e);
}

static enum err_code rest(struct unpack *u, const uint8_t *digest, struct err *e) {
    uint8_t have[STACK_DIGEST];
    for (;;) {
        ssize_t n = read(u->fd, u->piece, PIECE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, errno, NULL, "the image can't be read");
        }
        if (n == 0) {
            break;
        }
        EVP_DigestUpdate(u->whole, u->piece, (size_t)n);
    }
    EVP_DigestFinal_ex(u->whole, have, NULL);
    if (digest != NULL && memcmp(have, digest, STACK_DIGEST) != 0) {
        return err_set(e, ERR_INVALID, NULL, "the image is not the one that was announced");
    }
    return ERR_OK;
}

static enum err_code unpack_all(struct unpack *u, const char *folder, const char *version,
                                const uint8_t *digest, struct image_manifest *out, struct err *e) {
    char path[600];
    struct buf b = BUF_INIT;
    json_t *doc = NULL;
    bool end = false;
    while (!end) {
        ERR_TRY(take_entry(u, &end, e));
    }
    ERR_TRY(rest(u, digest, e));
    if (map_get(&u->digests, "manifest.json") == NULL) {
        return err_set(e, ERR_INVALID, "manifest.json", "is not in the image");
    }
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    enum err_code rc = file_read(path, MANIFEST_MAX, &b, e);
    if (rc == ERR_OK) {
        rc = manifest_parse(&b, out, &doc, e);
    }
    if (rc == ERR_OK) {
        rc = check_files(u, doc, e);
    }
    json_decref(doc);
    buf_free(&b);
    ERR_TRY(rc);
    if (version != NULL && strcmp(version, out->os_version) != 0) {
        return err_set(e, ERR_INVALID, "manifest.json", "the image is of version %s, not %s",
                       out->os_version, version);
    }
    if (syncfs(u->folder) != 0) {
        return err_errno(e, errno, folder, "can't be synced");
    }
    return ERR_OK;
}

enum err_code image_unpack(int fd, const char *folder, const char *version, const uint8_t *digest,
                           struct image_manifest *out, struct err *e) {
    struct unpack *u = MEM_NEW(struct unpack);
    u->fd = fd;
    u->folder = -1;
    u->whole = EVP_MD_CTX_new();
    u->one = EVP_MD_CTX_new();
    EVP_DigestInit_ex(u->whole, EVP_sha256(), NULL);
    enum err_code rc = ERR_OK;
    if (mkdir(folder, 0755) != 0) {
        rc = err_errno(e, errno, folder, "can't be made");
    } else {
        u->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = u->folder < 0 ? err_errno(e, errno, folder, "can't be opened")
                           : unpack_all(u, folder, version, digest, out, e);
        if (rc != ERR_OK) {
            struct err ignored;
            image_remove(folder, &ignored);
        }
    }
    if (u->folder >= 0) {
        close(u->folder);
    }
    EVP_MD_CTX_free(u->whole);
    EVP_MD_CTX_free(u->one);
    map_free(&u->digests, mem_free);
    mem_free(u);
    return rc;
}
