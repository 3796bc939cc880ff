// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/slots.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

static void path_of(const struct slots *s, const char *name, char *out, size_t size) {
    snprintf(out, size, "%s/%s", s->directory, name);
}

void slots_folder(const struct slots *s, const char *slot, char *out, size_t size) {
    out[0] = '\0';
    if (slot[0] != '\0') {
        snprintf(out, size, "%s/slots/%s", s->directory, slot);
    }
}

static enum err_code save(const struct slots *s, struct err *e) {
    char path[300];
    path_of(s, "boot.json", path, sizeof path);
    json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:s}", "current", s->current, "next", s->next,
                          "pending", s->pending, "tries", (int)s->tries, "failed", s->failed);
    char *text = json_dumps(o, JSON_INDENT(1));
    enum err_code rc = file_write(path, text, strlen(text), 0600, e);
    free(text);
    json_decref(o);
    return rc;
}

static bool slot_ok(const char *s) {
    return s != NULL && (strcmp(s, "") == 0 || strcmp(s, "a") == 0 || strcmp(s, "b") == 0);
}

static enum err_code parse(struct slots *s, const struct buf *b, const char *path, struct err *e) {
    json_error_t je;
    json_t *o = json_loadb((const char *)b->data, b->len, 0, &je);
    const char *current = json_string_value(json_object_get(o, "current"));
    const char *next = json_string_value(json_object_get(o, "next"));
    const char *failed = json_string_value(json_object_get(o, "failed"));
    json_int_t tries = json_integer_value(json_object_get(o, "tries"));
    enum err_code rc = ERR_OK;
    if (!slot_ok(current) || !slot_ok(next) || failed == NULL || tries < 0 || tries > 1000) {
        rc = err_set(e, ERR_MALFORMED, path, "is damaged");
    } else {
        snprintf(s->current, sizeof s->current, "%s", current);
        snprintf(s->next, sizeof s->next, "%s", next);
        snprintf(s->failed, sizeof s->failed, "%s", failed);
        s->pending = json_is_true(json_object_get(o, "pending"));
        s->tries = (unsigned)tries;
    }
    json_decref(o);
    return rc;
}

enum err_code slots_load(const char *directory, struct slots *s, struct err *e) {
    char path[300];
    struct buf b = BUF_INIT;
    memset(s, 0, sizeof *s);
    snprintf(s->directory, sizeof s->directory, "%s", directory);
    path_of(s, "slots", path, sizeof path);
    ERR_TRY(file_make_folder(path, 0755, e));
    path_of(s, "boot.json", path, sizeof path);
    enum err_code rc = file_read(path, 65536, &b, e);
    if (rc == ERR_ABSENT) {
        rc = ERR_OK;
    } else if (rc == ERR_OK) {
        rc = parse(s, &b, path, e);
    }
    buf_free(&b);
    return rc;
}

enum err_code slots_boot(struct slots *s, char slot[2], bool *trial, struct err *e) {
    *trial = false;
    if (s->pending && s->tries == 0) {
        struct image_manifest m = {.os_version = "unknown"};
        char folder[300];
        struct err ignored;
        slots_folder(s, s->next, folder, sizeof folder);
        image_manifest_load(folder, &m, &ignored);
        snprintf(s->failed, sizeof s->failed, "%s", m.os_version);
        s->pending = false;
        ERR_TRY(save(s, e));
    }
    if (s->pending) {
        s->tries--;
        ERR_TRY(save(s, e));
        *trial = true;
    }
    snprintf(slot, 2, "%s", s->pending ? s->next : s->current);
    return ERR_OK;
}

enum err_code slots_came_up(struct slots *s, const char *slot, struct err *e) {
    if (!s->pending || strcmp(slot, s->next) != 0) {
        return ERR_OK; /* another one was installed meanwhile */
    }
    snprintf(s->current, sizeof s->current, "%s", slot);
    s->pending = false;
    s->failed[0] = '\0';
    return save(s, e);
}

enum err_code slots_unpack(const char *directory, int fd, const char *version,
                           const uint8_t *digest, struct err *e) {
    char fresh[300];
    struct image_manifest m;
    snprintf(fresh, sizeof fresh, "%s/slots/new", directory);
    ERR_TRY(image_remove(fresh, e));
    return image_unpack(fd, fresh, version[0] != '\0' ? version : NULL, digest, &m, e);
}

enum err_code slots_take(struct slots *s, const char *running, unsigned tries, struct err *e) {
    const char *other = strcmp(running, "a") == 0 ? "b" : "a";
    char fresh[300], folder[300];
    path_of(s, "slots/new", fresh, sizeof fresh);
    slots_folder(s, other, folder, sizeof folder);
    if (s->pending || strcmp(s->current, other) == 0) {
        /* What lies in that slot is not booted any more. Where it is what came up last, a trial
         * runs, and that is what there is to go back to. */
        s->pending = false;
        snprintf(s->current, sizeof s->current, "%s",
                 strcmp(s->current, other) == 0 ? running : s->current);
        ERR_TRY(save(s, e));
    }
    ERR_TRY(image_remove(folder, e));
    if (rename(fresh, folder) != 0) {
        return err_errno(e, errno, folder, "can't be replaced");
    }
    ERR_TRY(file_sync_folder_of(folder, e));
    snprintf(s->next, sizeof s->next, "%s", other);
    s->pending = true;
    s->tries = tries;
    return save(s, e);
}
