// SPDX-License-Identifier: Apache-2.0
/*
 * Bases: backups of the copy, kept in etcd, for nodes that are new or come too late for the
 * entries; and dropping what they make superfluous, so that etcd stays small.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/logger.h"
#include "base/mem.h"
#include "etcd/engine_int.h"
#include "log/replica.h"

LOGGER_MODULE(etcd_base)

enum {
    BASE_EVERY = 64 << 20,   /* bytes of batches; then a node that comes reads a base sooner */
    COMPACT_EVERY = 2000,    /* appends */
    BASE_PARTS_MAX = 1 << 16 /* 32 GiB */
};

struct base {
    uint64_t index, fence, parts, bytes;
    uint32_t crc;
};

static bool base_decode(const struct buf *value, struct base *out) {
    struct cur c = cur_of(value->data, value->len);
    uint8_t version = cur_u8(&c);
    *out = (struct base){.index = cur_var(&c), .fence = cur_var(&c)};
    out->parts = cur_var(&c);
    out->bytes = cur_var(&c);
    out->crc = cur_u32(&c);
    return version == 1 && !c.bad && out->parts <= BASE_PARTS_MAX &&
           out->bytes <= out->parts * ETCD_VALUE_MAX;
}

static enum err_code part_key_put(struct etcd_log *s, const struct base *b, uint64_t part,
                                  const uint8_t *p, size_t n, struct err *e) {
    char key[KEY_MAX];
    key_of(s, key, "b/%016" PRIx64 "/%016" PRIx64 "/%08" PRIx64, b->index, b->fence, part);
    return key_put(s, key, p, n, 0, e);
}

enum err_code base_upload(struct etcd_log *s, const char *path, uint64_t index, uint64_t fence,
                          struct buf *value, struct err *e) {
    struct base b = {.index = index, .fence = fence};
    uint8_t *piece = mem_alloc(ETCD_VALUE_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err_code rc = fd >= 0 ? ERR_OK : err_errno(e, errno, path, "can't open the backup");
    ssize_t n = 0;
    while (rc == ERR_OK && (n = read(fd, piece, ETCD_VALUE_MAX)) > 0) {
        rc = part_key_put(s, &b, b.parts++, piece, (size_t)n, e);
        b.crc = crc32c(b.crc, piece, (size_t)n);
        b.bytes += (uint64_t)n;
    }
    if (rc == ERR_OK && n < 0) {
        rc = err_errno(e, errno, path, "can't read the backup");
    }
    if (fd >= 0) {
        close(fd);
    }
    mem_free(piece);
    buf_clear(value);
    buf_u8(value, 1);
    buf_var(value, b.index);
    buf_var(value, b.fence);
    buf_var(value, b.parts);
    buf_var(value, b.bytes);
    buf_u32(value, b.crc);
    return rc;
}

static enum err_code base_get(struct etcd_log *s, struct base *out, struct err *e) {
    struct buf value = BUF_INIT;
    char key[KEY_MAX];
    bool found = false;
    key_of(s, key, "base");
    enum err_code rc = key_get(s, key, &value, &found, e);
    if (rc == ERR_OK && !found) {
        rc = err_set(e, ERR_ABSENT, NULL, "there is no base in etcd");
    } else if (rc == ERR_OK && !base_decode(&value, out)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the base in etcd is damaged, or of a newer Weft");
    }
    buf_free(&value);
    return rc;
}

enum err_code base_known(struct etcd_log *s, struct err *e) {
    struct base b = {.index = 0};
    enum err_code rc = base_get(s, &b, e);
    s->base_index = rc == ERR_OK ? b.index : 0;
    return rc == ERR_ABSENT ? ERR_OK : rc;
}

static enum err_code download(struct etcd_log *s, const struct base *b, const char *path,
                              struct err *e) {
    struct buf part = BUF_INIT;
    uint32_t crc = 0;
    uint64_t bytes = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum err_code rc = fd >= 0 ? ERR_OK : err_errno(e, errno, path, "can't make the file");
    for (uint64_t i = 0; i < b->parts && rc == ERR_OK; i++) {
        char key[KEY_MAX];
        bool found = false;
        key_of(s, key, "b/%016" PRIx64 "/%016" PRIx64 "/%08" PRIx64, b->index, b->fence, i);
        rc = key_get(s, key, &part, &found, e);
        if (rc == ERR_OK && !found) {
            rc = err_set(e, ERR_MALFORMED, NULL, "part %" PRIu64 " of the base is missing in etcd",
                         i);
        } else if (rc == ERR_OK && write(fd, part.data, part.len) != (ssize_t)part.len) {
            rc = err_errno(e, errno ? errno : ENOSPC, path, "can't write");
        }
        crc = crc32c(crc, part.data, part.len);
        bytes += part.len;
    }
    if (rc == ERR_OK && (crc != b->crc || bytes != b->bytes)) {
        rc = err_set(e, ERR_MALFORMED, NULL, "the base in etcd is damaged");
    }
    if (fd >= 0) {
        close(fd);
    }
    buf_free(&part);
    return rc;
}

enum err_code base_adopt(struct etcd_log *s, const uint8_t id[LOG_ID_LEN], struct err *e) {
    struct base b;
    ERR_TRY(base_get(s, &b, e));
    char *path = mem_printf("%s.base", s->replica);
    enum err_code rc = download(s, &b, path, e);
    if (rc == ERR_OK) {
        L_INFO("this node begins with the base of entry %" PRIu64, b.index);
        rc = log_replica_adopt(path, s->replica, id, e);
    }
    unlink(path);
    mem_free(path);
    return rc;
}

/* ---- a new base --------------------------------------------------------------------------------
 */

static void has(const char *name, const Weft__Etcd__KeyValue *kv, void *arg) {
    struct cur c = cur_of(kv->value.data, kv->value.len);
    uint64_t *all = arg;
    cur_u8(&c);
    uint64_t have = cur_u64(&c);
    (void)name;
    *all = c.bad ? 0 : have < *all ? have : *all;
}

/* Up to where every node that lives has the entries. */
static enum err_code all_have(struct etcd_log *s, uint64_t *out, struct err *e) {
    return key_each(s, "node", has, out, e);
}

static enum err_code drop_below(struct etcd_log *s, uint64_t index, struct err *e) {
    char from[KEY_MAX], to[KEY_MAX];
    uint64_t have = index;
    ERR_TRY(all_have(s, &have, e));
    key_of(s, from, "b/");
    key_of(s, to, "b/%016" PRIx64, index);
    ERR_TRY(key_delete_range(s, from, to, e));
    key_of(s, from, "e/");
    key_of(s, to, "e/%016" PRIx64, have + 1);
    ERR_TRY(key_delete_range(s, from, to, e));
    key_of(s, from, "q/");
    key_of(s, to, "q/%016" PRIx64, have + 1);
    return key_delete_range(s, from, to, e);
}

static enum err_code new_base(struct etcd_log *s, const struct mine *m, struct err *e) {
    char *path = mem_printf("%s.base", s->replica);
    struct buf value = BUF_INIT;
    uint64_t index = 0;
    unlink(path);
    enum err_code rc = log_backup(s->rep, path, &index, e);
    if (rc == ERR_OK) {
        rc = base_upload(s, path, index, m->fence, &value, e);
    }
    unlink(path);
    mem_free(path);
    if (rc == ERR_OK) {
        struct et_txn b;
        Weft__Etcd__TxnResponse *r;
        char key[KEY_MAX];
        et_begin(&b);
        key_of(s, key, "leader");
        et_if_mod(&b, key, m->leader_mod);
        key_of(s, key, "base");
        et_put_key(&b, key, value.data, value.len, 0);
        rc = etcd_txn(s->etcd, &b.q, true, CALL_MS, &r, e);
        et_end(&b);
        if (rc == ERR_OK && !r->succeeded) {
            rc = err_set(e, ERR_UNAVAILABLE, NULL, "another node leads");
        }
        if (rc == ERR_OK || r != NULL) {
            weft__etcd__txn_response__free_unpacked(r, NULL);
        }
    }
    buf_free(&value);
    if (rc == ERR_OK) {
        rc = drop_below(s, index, e);
        pthread_mutex_lock(&s->lock);
        s->base_index = index;
        pthread_mutex_unlock(&s->lock);
    }
    return rc;
}

enum err_code base_care(struct etcd_log *s, struct err *e) {
    struct mine m = et_mine(s);
    pthread_mutex_lock(&s->lock);
    bool base = s->base_bytes >= BASE_EVERY, compact = s->appends >= COMPACT_EVERY;
    int64_t revision = s->head.mod;
    if (m.leads && base) {
        s->base_bytes = 0;
        compact = true;
    }
    if (m.leads && compact) {
        s->appends = 0;
    }
    pthread_mutex_unlock(&s->lock);
    if (!m.leads) {
        return ERR_OK;
    }
    if (base) {
        ERR_TRY(new_base(s, &m, e));
    }
    if (compact && etcd_compact(s->etcd, revision, CALL_MS, e) != ERR_OK) {
        L_WARN_RL(60, "etcd was not compacted: %s", e->text); /* the next time does it */
    }
    return ERR_OK;
}
