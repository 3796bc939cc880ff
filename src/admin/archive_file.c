// SPDX-License-Identifier: Apache-2.0
#include "admin/archive_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <zlib.h>

#include "core/candidate.h"

enum { GZIP_WINDOW = 15 + 16 /* 16: gzip's format */, GZIP_MEMORY = 8 };

void archive_name(const struct archive_naming *n, unsigned rollback, char out[ARCHIVE_NAME_MAX]) {
    char before[64] = "", twin[16] = "", which[16] = "";
    if (!n->retain) {
        time_t t = (time_t)n->time_s;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(before, sizeof before, "%Y%m%d_%H%M%S", &tm);
        if (n->twin > 0) {
            snprintf(twin, sizeof twin, "-%u", n->twin + 1);
        }
    }
    if (rollback > 0) {
        snprintf(which, sizeof which, ".%u", rollback);
    }
    snprintf(out, ARCHIVE_NAME_MAX, "%s%s%s%s%s" ARCHIVE_SOURCE_NAME "%s.gz",
             n->retain ? "" : n->prefix, n->retain ? "" : "_", before, twin, n->retain ? "" : "_",
             which);
}

enum err_code archive_gzip(const void *p, size_t n, struct buf *out, struct err *e) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n};
    if (n > UINT32_MAX / 2 || deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW,
                                           GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        return err_set(e, ERR_LIMIT, NULL, "%zu bytes can't be compressed", n);
    }
    size_t room = deflateBound(&z, (uLong)n);
    z.next_out = buf_extend(out, room);
    z.avail_out = (uInt)room;
    int rc = deflate(&z, Z_FINISH);
    out->len -= z.avail_out;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? ERR_OK : err_set(e, ERR_INTERNAL, NULL, "compressing failed");
}

enum err_code archive_text(const struct model *m, const struct snap *s,
                           const struct commit_info *commit, bool secrets, struct buf *out,
                           struct err *e) {
    const struct print_options o = {.format = FORMAT_TEXT, .pretty = true, .secrets = secrets};
    struct model_view view = snap_view(s);
    char when[TIME_TEXT_MAX];
    buf_printf(out, "# commit %" PRIu64 " at %s by %s\n", commit->index,
               time_format(commit->time_s, 0, when), commit->user);
    return model_print(m, &view, NULL, "/", &o, model_write_buf, out, e);
}

enum err_code archive_content(const struct model *m, const struct snap *s,
                              const struct commit_info *commit, struct buf *out, struct err *e) {
    struct buf text = BUF_INIT;
    enum err_code rc = archive_text(m, s, commit, false, &text, e);
    if (rc == ERR_OK) {
        rc = archive_gzip(text.data, text.len, out, e);
    }
    buf_free(&text);
    return rc;
}
