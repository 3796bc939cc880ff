// SPDX-License-Identifier: Apache-2.0
/* `system logging`: levels, and where lines go. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/logger.h"
#include "base/logger_out.h"
#include "core/internal.h"
#include "core/system_int.h"
#include "model/kinds.h"

LOGGER_MODULE(logging);

enum { RATE_DEFAULT = 1000 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static char folder[1024];

void system_set_log_folder(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
}

static void levels(const struct system_logging *l) {
    logger_set_level(NULL, level_names[l ? l->level : TYPES_LOG_LEVEL_INFO]);
    for (size_t i = 0; l != NULL && i < l->n_module; i++) {
        if (!logger_set_level(l->module[i].name, level_names[l->module[i].level])) {
            L_WARN("there is no module \"%s\"", l->module[i].name);
        }
    }
}

static enum logger_format format_of(int f) {
    return f == SYSTEM_LINE_FORMAT_JSON      ? LOGGER_JSON
           : f == SYSTEM_LINE_FORMAT_JOURNAL ? LOGGER_JOURNAL
           : f == SYSTEM_LINE_FORMAT_OFF     ? LOGGER_OFF
                                             : LOGGER_TEXT;
}

static struct logger_syslog server_of(const struct system_logging_syslog *s) {
    return (struct logger_syslog){.local = s->transport == SYSTEM_LOGGING_SYSLOG_TRANSPORT_LOCAL,
                                  .tcp = s->transport == SYSTEM_LOGGING_SYSLOG_TRANSPORT_TCP,
                                  .addr = s->address,
                                  .port = s->port,
                                  .facility = s->facility,
                                  .level = (enum logger_level)s->level};
}

void system_fold_logging(const struct object *o) {
    const struct system_logging *l = o != NULL ? o->doc->data : NULL;
    struct logger_outputs out = {.console = LOGGER_TEXT};
    char path[1200];
    levels(l);
    logger_set_rate(l != NULL ? l->rate_limit : RATE_DEFAULT);
    if (l != NULL) {
        out.console = format_of(l->console.format);
        struct err e;
        if (l->file.name != NULL && folder[0] != '\0' &&
            file_make_folder(folder, 0700, &e) != ERR_OK) {
            L_ERR("no log file is written: %s %s", e.path, e.text);
        } else if (l->file.name != NULL && folder[0] != '\0') {
            snprintf(path, sizeof path, "%s/%s", folder, l->file.name);
            out.file = path;
            out.file_format = format_of(l->file.format);
            out.file_bytes = (uint64_t)l->file.size << 10;
            out.files_kept = l->file.files;
        }
        for (size_t i = 0; i < l->n_syslog && i < LOGGER_SYSLOG_MAX; i++) {
            out.syslog[out.n_syslog++] = server_of(&l->syslog[i]);
        }
    }
    logger_set_outputs(&out);
}
