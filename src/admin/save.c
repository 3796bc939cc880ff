// SPDX-License-Identifier: Apache-2.0
/* `request system save-config`: the committed configuration as a file, here or at an archive site.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/archive_file.h"
#include "admin/internal.h"
#include "base/file.h"

enum { SITE_S = 60, PATH_SIZE = 1200 };

static char folder[1024] = ".";

void admin_set_config_folder(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
}

static enum err_code put_here(const struct admin_save_config_input *in, const struct buf *text,
                              char path[PATH_SIZE], struct err *e) {
    ERR_TRY(file_make_folder(folder, 0700, e));
    snprintf(path, PATH_SIZE, "%s/%s", folder, in->file);
    return file_write(path, text->data, text->len, 0600, e);
}

static enum err_code put_there(const struct snap *s, const struct admin_save_config_input *in,
                               const struct buf *text, char path[PATH_SIZE], struct err *e) {
    struct scp *scp;
    ERR_TRY(archive_site_open(s, in->site, SITE_S, &scp, e));
    enum err_code rc = scp_put(scp, in->file, text->data, text->len, e);
    scp_close(scp);
    snprintf(path, PATH_SIZE, "%s of archive-site %s", in->file, in->site);
    return rc;
}

enum err_code save_config(struct core *c, struct call *cl, struct err *e) {
    const struct admin_save_config_input *in = cl->in.data;
    struct buf text = BUF_INIT;
    struct commit_info ci = {.index = 0};
    char path[PATH_SIZE] = "";
    if (in->secrets && !cl->who.superuser) {
        return err_set(e, ERR_DENIED, "secrets",
                       "secrets are written only for an administrator of the machine itself");
    }
    struct snap *s = core_snapshot(c);
    struct commit_info all[50];
    size_t n = core_history(c, all, 50);
    for (size_t i = 0; i < n && ci.index == 0; i++) { /* one may have been made since */
        ci = all[i].index <= snap_index(s) ? all[i] : ci;
    }
    enum err_code rc = archive_text(core_model(c), s, &ci, in->secrets, &text, e);
    if (rc == ERR_OK) {
        rc = in->site != NULL ? put_there(s, in, &text, path, e) : put_here(in, &text, path, e);
    }
    snap_release(s);
    if (rc == ERR_OK) {
        buf_printf(&cl->text, "Commit %" PRIu64 " is in %s: %zu bytes%s\n", ci.index, path,
                   text.len, in->secrets ? ", with secrets in clear" : "");
        json_t *o = json_object();
        json_object_set_new(o, "file", json_string(path));
        json_object_set_new(o, "size", json_sprintf("%zu", text.len));
        json_object_set_new(o, "commit", json_sprintf("%" PRIu64, ci.index));
        admin_json(&cl->json, o);
    }
    buf_free(&text);
    return rc;
}
