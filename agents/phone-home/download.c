// SPDX-License-Identifier: Apache-2.0
/* Images: into a file, resumed, with their digests computed on the way. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "phone-home/dhcp_options.h"
#include "phone-home/wire_int.h"

enum {
    BLOCK = 256 << 10,
    HASHES = 3,             /* of enum sztp_hash */
    FREE_RESERVE = 8 << 20, /* bytes that stay free on the disk */
    ANSWER_MAX = 64 << 10,  /* of an answer that is no image */
    VALIDATOR_MAX = 255,
};

struct download {
    struct wire *w;
    uint64_t order;
    char *uri, *scheme, *path;
    struct wire_target target;
    struct sztp_verification hashes[SZTP_HASHES_MAX];
    size_t n_hashes;
    char *file, *part, *meta;
    bool good;
    /* what came of it */
    struct err err;
    bool checksum, done;
    struct ip_addr answered;
};

/* The part file under way. */
struct sink {
    struct download *d;
    int fd;
    uint64_t size; /* bytes in it, all of them in the digests */
    EVP_MD_CTX *md[HASHES];
    bool wanted[HASHES];
    char validator[VALIDATOR_MAX + 1]; /* of the part that is there; "" it can't be gone on with */
    /* of the answer at hand */
    CURL *c;
    uint64_t from; /* asked to begin there; 0: at the start */
    bool begun, discard;
    size_t head, discarded;
    char etag[VALIDATOR_MAX + 1], modified[VALIDATOR_MAX + 1];
    long long range_from; /* -1: no Content-Range */
    struct err err;       /* why the transfer was ended by us */
};

/* ---- digests ---- */

static const EVP_MD *algorithm(int hash) {
    return hash == SZTP_SHA256 ? EVP_sha256() : hash == SZTP_SHA1 ? EVP_sha1() : EVP_md5();
}

static void digests_begin(struct sink *s) {
    for (int i = 0; i < HASHES; i++) {
        if (s->wanted[i]) {
            EVP_DigestInit_ex(s->md[i], algorithm(i), NULL);
        }
    }
}

static void digests_new(struct sink *s, const struct download *d) {
    for (size_t i = 0; i < d->n_hashes; i++) {
        s->wanted[d->hashes[i].hash] = true;
    }
    for (int i = 0; i < HASHES; i++) {
        s->md[i] = s->wanted[i] ? EVP_MD_CTX_new() : NULL;
    }
    digests_begin(s);
}

static void digests_add(struct sink *s, const void *p, size_t n) {
    for (int i = 0; i < HASHES; i++) {
        if (s->wanted[i]) {
            EVP_DigestUpdate(s->md[i], p, n);
        }
    }
}

/* All that are wanted hold. Ends the digests. */
static bool digests_hold(struct sink *s) {
    unsigned char got[HASHES][EVP_MAX_MD_SIZE];
    unsigned len[HASHES] = {0};
    for (int i = 0; i < HASHES; i++) {
        if (s->wanted[i]) {
            EVP_DigestFinal_ex(s->md[i], got[i], &len[i]);
        }
    }
    for (size_t i = 0; i < s->d->n_hashes; i++) {
        const struct sztp_verification *v = &s->d->hashes[i];
        if (memcmp(got[v->hash], v->digest, len[v->hash]) != 0) {
            return false;
        }
    }
    return true;
}

static bool digest_file(struct sink *s, int fd, const atomic_bool *stop) {
    uint8_t *block = mem_alloc(BLOCK);
    ssize_t n = 0;
    s->size = 0;
    while (!atomic_load(stop) && (n = read(fd, block, BLOCK)) > 0) {
        digests_add(s, block, (size_t)n);
        s->size += (uint64_t)n;
    }
    mem_free(block);
    return n == 0 && !atomic_load(stop);
}

/* ---- the part file ---- */

static void forget_part(struct sink *s) {
    unlink(s->d->meta);
    if (s->fd >= 0 && ftruncate(s->fd, 0) == 0) {
        lseek(s->fd, 0, SEEK_SET);
    }
    s->size = 0;
    s->validator[0] = '\0';
    digests_begin(s);
}

static enum err_code write_part(struct sink *s, const void *p, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t w = write(s->fd, (const char *)p + at, n - at);
        if (w < 0 && errno != EINTR) {
            int why = errno;
            if (why == ENOSPC || why == EDQUOT) { /* others need the room more than we do */
                forget_part(s);
            }
            return err_errno(&s->err, why, s->d->part, "can't be written");
        }
        at += w > 0 ? (size_t)w : 0;
    }
    digests_add(s, p, n);
    s->size += n;
    return ERR_OK;
}

static enum err_code check_room(struct sink *s, uint64_t more) {
    struct statvfs v;
    if (s->size + more > s->d->w->c->image_max) {
        return err_set(&s->err, ERR_TOO_BIG, NULL, "the image has more than %llu bytes",
                       (unsigned long long)s->d->w->c->image_max);
    }
    if (fstatvfs(s->fd, &v) == 0) {
        uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
        if (more + FREE_RESERVE > room) {
            return err_set(&s->err, ERR_LIMIT, s->d->part,
                           "the image needs %llu bytes more, and %llu are free",
                           (unsigned long long)more, (unsigned long long)room);
        }
    }
    return ERR_OK;
}

static void save_meta(struct sink *s) {
    const char *validator = strncmp(s->etag, "\"", 1) == 0 ? s->etag : s->modified;
    json_t *o = json_pack("{s:s, s:s}", "uri", s->d->uri, "validator", validator);
    char *text = o != NULL ? json_dumps(o, 0) : NULL;
    if (text != NULL && validator[0] != '\0') {
        file_write(s->d->meta, text, strlen(text), 0600, NULL);
    }
    free(text);
    json_decref(o);
}

/* What an earlier call left, if it was of the same URI. */
static void load_meta(struct sink *s) {
    json_t *o = json_load_file(s->d->meta, JSON_REJECT_DUPLICATES, NULL);
    const char *uri = json_string_value(json_object_get(o, "uri"));
    const char *v = json_string_value(json_object_get(o, "validator"));
    if (uri != NULL && v != NULL && strcmp(uri, s->d->uri) == 0) {
        snprintf(s->validator, sizeof s->validator, "%s", v);
    }
    json_decref(o);
}

static enum err_code open_part(struct sink *s, const atomic_bool *stop) {
    s->fd = open(s->d->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        return err_errno(&s->err, errno, s->d->part, "can't be made");
    }
    load_meta(s);
    if (s->validator[0] == '\0' || !digest_file(s, s->fd, stop)) {
        forget_part(s);
    }
    return ERR_OK;
}

/* ---- answers ---- */

static void take_field(const char *p, size_t n, const char *name, char out[VALIDATOR_MAX + 1]) {
    size_t k = strlen(name);
    if (n <= k || strncasecmp(p, name, k) != 0 || p[k] != ':') {
        return;
    }
    const char *v = p + k + 1, *end = p + n;
    while (v < end && (*v == ' ' || *v == '\t')) {
        v++;
    }
    while (end > v && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }
    if (end - v <= VALIDATOR_MAX) {
        memcpy(out, v, (size_t)(end - v));
        out[end - v] = '\0';
    }
}

static size_t on_head(char *p, size_t size, size_t n, void *arg) {
    struct sink *s = arg;
    char range[VALIDATOR_MAX + 1] = "";
    s->head += size * n;
    if (s->head > WIRE_HEAD_MAX) {
        err_set(&s->err, ERR_TOO_BIG, NULL, "the answer's head is too big");
        return 0;
    }
    take_field(p, size * n, "etag", s->etag);
    take_field(p, size * n, "last-modified", s->modified);
    take_field(p, size * n, "content-range", range);
    if (strncasecmp(range, "bytes ", 6) == 0) {
        s->range_from = strtoll(range + 6, NULL, 10);
    }
    return size * n;
}

/* The first piece of a body: is it what goes into the file, and where? */
static enum err_code begin_body(struct sink *s) {
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(s->c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    s->begun = true;
    s->discard = status != 200 && status != 206;
    if (s->discard) {
        return ERR_OK;
    }
    if (status == 206 && (s->from == 0 || s->range_from != (long long)s->from)) {
        return err_set(&s->err, ERR_REFUSED, NULL,
                       "the server sends a part that was not asked for");
    }
    if (status == 200) {
        forget_part(s);
    }
    ERR_TRY(check_room(s, length > 0 ? (uint64_t)length : 0));
    save_meta(s);
    return ERR_OK;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct sink *s = arg;
    size_t len = size * n;
    if (!s->begun && begin_body(s) != ERR_OK) {
        return 0;
    }
    if (s->discard) {
        s->discarded += len;
        return s->discarded > ANSWER_MAX ? 0 : len;
    }
    if (s->size + len > s->d->w->c->image_max) {
        err_set(&s->err, ERR_TOO_BIG, NULL, "the image has more than %llu bytes",
                (unsigned long long)s->d->w->c->image_max);
        forget_part(s);
        return 0;
    }
    return write_part(s, p, len) == ERR_OK ? len : 0;
}

static void set_up(struct sink *s, struct curl_slist **fields) {
    const struct wire_config *c = s->d->w->c;
    s->begun = s->discard = false;
    s->head = s->discarded = 0;
    s->etag[0] = s->modified[0] = '\0';
    s->range_from = -1;
    s->err.code = ERR_OK;
    s->from = s->size;
    *fields = curl_slist_append(NULL, "Accept: */*");
    if (s->from > 0) {
        char range[32], *line = mem_printf("If-Range: %s", s->validator);
        snprintf(range, sizeof range, "%llu-", (unsigned long long)s->from);
        curl_easy_setopt(s->c, CURLOPT_RANGE, range);
        *fields = curl_slist_append(*fields, line);
        mem_free(line);
    }
    curl_easy_setopt(s->c, CURLOPT_HTTPHEADER, *fields);
    curl_easy_setopt(s->c, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
    curl_easy_setopt(s->c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(s->c, CURLOPT_LOW_SPEED_TIME, (long)((c->stall_ms + 999) / 1000));
    curl_easy_setopt(s->c, CURLOPT_BUFFERSIZE, (long)BLOCK);
    curl_easy_setopt(s->c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->c, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(s->c, CURLOPT_HEADERDATA, s);
}

/* ---- the end ---- */

static enum err_code finish(struct sink *s) {
    struct download *d = s->d;
    if (!digests_hold(s)) {
        d->checksum = true;
        forget_part(s);
        unlink(d->part);
        return err_set(&d->err, ERR_REFUSED, NULL, "the image does not have the wanted digest");
    }
    if (fsync(s->fd) != 0 || rename(d->part, d->file) != 0) {
        return err_errno(&d->err, errno, d->file, "can't be kept");
    }
    unlink(d->meta);
    ERR_TRY(file_sync_folder_of(d->file, &d->err));
    d->done = true;
    return ERR_OK;
}

/* A file of an earlier life that is already right. */
static bool there_already(struct sink *s, const atomic_bool *stop) {
    int fd = s->d->n_hashes > 0 ? open(s->d->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool good = fd >= 0 && digest_file(s, fd, stop) && digests_hold(s);
    if (fd >= 0) {
        close(fd);
    }
    digests_begin(s);
    s->size = 0;
    return good;
}

static void copy_file(struct sink *s, const atomic_bool *stop) {
    struct download *d = s->d;
    struct stat st;
    int fd;
    if (storage_open_uri(d->w->c->storage, d->uri, &fd, &d->err) != ERR_OK) {
        return;
    }
    uint8_t *block = mem_alloc(BLOCK);
    ssize_t n = -1;
    forget_part(s);
    enum err_code rc = fstat(fd, &st) == 0 ? check_room(s, (uint64_t)st.st_size) : ERR_OK;
    while (rc == ERR_OK && !atomic_load(stop) && (n = read(fd, block, BLOCK)) > 0) {
        rc = s->size + (uint64_t)n > d->w->c->image_max ? check_room(s, (uint64_t)n)
                                                        : write_part(s, block, (size_t)n);
    }
    if (rc != ERR_OK) {
        d->err = s->err;
    } else if (n < 0) {
        err_errno(&d->err, errno, d->uri, "can't be read");
    } else if (n == 0) {
        finish(s);
    }
    close(fd);
    mem_free(block);
}

/* One try at one address; true: nothing more is to be tried. */
static bool try_address(struct sink *s, size_t i, const atomic_bool *stop) {
    struct download *d = s->d;
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *resolve, *fields;
    long status = 0;
    bool again;
    do {
        s->c = curl_easy_init();
        wire_handle(s->c, &d->target, d->scheme, i, d->path, stop, &resolve);
        set_up(s, &fields);
        curl_easy_setopt(s->c, CURLOPT_ERRORBUFFER, why);
        CURLcode rc = curl_easy_perform(s->c);
        curl_easy_getinfo(s->c, CURLINFO_RESPONSE_CODE, &status);
        if (rc == CURLE_OK && !s->begun) {
            begin_body(s); /* an empty one */
        }
        again = rc == CURLE_OK && status == 416 && s->from > 0;
        if (again) { /* what is there is more than the server has */
            forget_part(s);
        } else if (s->err.code != ERR_OK) {
            d->err = s->err;
        } else if (rc != CURLE_OK) {
            err_set(&d->err, rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, NULL,
                    "%s", wire_why(rc, why, status == 0 && strcmp(d->scheme, "https") == 0));
        } else if (status != 200 && status != 206) {
            err_set(&d->err, ERR_REFUSED, NULL, "the server answers with status %ld", status);
        } else {
            d->answered = d->target.host.addresses[i];
            finish(s);
        }
        curl_easy_cleanup(s->c);
        curl_slist_free_all(fields);
        curl_slist_free_all(resolve);
    } while (again && !atomic_load(stop));
    return d->done || d->checksum || s->err.code == ERR_LIMIT || s->err.code == ERR_TOO_BIG;
}

static void fetch(struct sink *s, const atomic_bool *stop) {
    struct download *d = s->d;
    if (wire_resolve(&d->target, stop, &d->err) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < d->target.host.n && !atomic_load(stop); i++) {
        if (try_address(s, i, stop)) {
            break;
        }
    }
}

static void run_download(void *job, const atomic_bool *stop) {
    struct download *d = job;
    struct sink s = {.d = d, .fd = -1};
    if (!d->good) {
        return;
    }
    d->err.code = ERR_OK;
    digests_new(&s, d);
    if (there_already(&s, stop)) {
        d->done = true;
    } else if (open_part(&s, stop) != ERR_OK) {
        d->err = s.err;
    } else if (strcmp(d->scheme, "file") == 0) {
        copy_file(&s, stop);
    } else {
        fetch(&s, stop);
    }
    if (s.fd >= 0) {
        close(s.fd);
    }
    for (int i = 0; i < HASHES; i++) {
        EVP_MD_CTX_free(s.md[i]);
    }
}

static void end_download(void *job, bool cancelled) {
    struct download *d = job;
    if (!d->done && d->err.code == ERR_OK) {
        err_set(&d->err, ERR_UNAVAILABLE, NULL, "the download was ended");
    }
    struct phc_event ev = {.kind = PHC_EV_DONE,
                           .order = d->order,
                           .error = d->done ? NULL : &d->err,
                           .path = d->done ? d->file : NULL,
                           .checksum = d->checksum};
    if (d->answered.family != 0) {
        wire_remember(d->w, &d->target.host, &d->answered);
    }
    if (!cancelled) {
        d->w->c->done(d->w->c->arg, &ev);
    }
    wire_target_free(&d->target);
    mem_free(d->uri);
    mem_free(d->scheme);
    mem_free(d->path);
    mem_free(d->file);
    mem_free(d->part);
    mem_free(d->meta);
    mem_free(d);
}

/* ---- the start ---- */

/* "https://host:port/path" taken apart; the path with its query. */
static enum err_code take_http(struct download *d, const struct phc_download *q, struct err *e) {
    char fake[SZTP_URI_MAX + 2];
    struct sztp_server s;
    bool https = strcmp(d->scheme, "https") == 0;
    const char *rest = d->uri + strlen(d->scheme) + 3;
    snprintf(fake, sizeof fake, "https://%s", rest); /* the parser knows that scheme alone */
    ERR_TRY(sztp_uri_parse(fake, strlen(fake), true, &s, NULL, e));
    uint16_t port = s.port_said || https ? s.port : 80;
    const char *path = rest + strcspn(rest, "/?#");
    d->path = mem_printf("%s%.*s", *path == '/' ? "" : "/", (int)strcspn(path, "#"), path);
    for (const char *p = d->path; *p != '\0'; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f) {
            return err_set(e, ERR_INVALID, d->uri, "has a character that no URI has");
        }
    }
    if (d->n_hashes == 0 && (!https || q->verify == PHC_PROVISIONAL)) {
        return err_set(e, ERR_DENIED, d->uri,
                       "an image of a server nobody vouches for needs a digest");
    }
    return wire_target(d->w, s.address, port, https ? q->verify : PHC_PROVISIONAL, q->anchor,
                       &d->target, e);
}

static enum err_code prepare(struct download *d, const struct phc_download *q, struct err *e) {
    static const char *const schemes[] = {"https", "http", "file"};
    if (strlen(d->uri) > SZTP_URI_MAX || strchr(q->name, '/') != NULL || q->name[0] == '.') {
        return err_set(e, ERR_INVALID, NULL, "the URI or the file's name can't be used");
    }
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(d->uri, schemes[i], n) == 0 && strncmp(d->uri + n, "://", 3) == 0) {
            d->scheme = mem_strdup(schemes[i]);
        }
    }
    if (d->scheme == NULL) {
        return err_set(e, ERR_UNSUPPORTED, d->uri, "is neither https, http nor file");
    }
    return strcmp(d->scheme, "file") == 0 ? ERR_OK : take_http(d, q, e);
}

void wire_download(struct wire *w, uint64_t order, const struct phc_download *q) {
    struct download *d = MEM_NEW(struct download);
    d->w = w;
    d->order = order;
    d->uri = mem_strdup(q->uri);
    d->n_hashes = q->n_hashes <= SZTP_HASHES_MAX ? q->n_hashes : SZTP_HASHES_MAX;
    for (size_t i = 0; i < d->n_hashes; i++) {
        d->hashes[i] = q->hashes[i];
    }
    d->file = mem_printf("%s/%s", w->c->folder, q->name);
    d->part = mem_printf("%s/%s.part", w->c->folder, q->name);
    d->meta = mem_printf("%s/%s.part.json", w->c->folder, q->name);
    d->good = prepare(d, q, &d->err) == ERR_OK;
    if (d->good) {
        err_set(&d->err, ERR_LIMIT, NULL, "too many things at once");
    }
    tasks_start(w->tasks, order, run_download, end_download, d);
}
