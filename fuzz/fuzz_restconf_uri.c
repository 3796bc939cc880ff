// SPDX-License-Identifier: Apache-2.0
/* Method, address and query of a RESTCONF request, and the headers it is negotiated by: lines
 * "METHOD SP path ? query LF accept LF content-type". */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "north/restconf/errors.h"
#include "north/restconf/media.h"
#include "north/restconf/uri.h"

static char *take_line(char **p) {
    char *line = *p;
    size_t n = strcspn(line, "\n");
    *p = line + n + (line[n] == '\n');
    line[n] = '\0';
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_strndup((const char *)data, size), *p = text;
    char *first = take_line(&p), *accept = take_line(&p), *type = take_line(&p);
    char *path = first + strcspn(first, " ");
    path += *path == ' ' ? (*path = '\0', 1) : 0;
    char *query = path + strcspn(path, "?");
    query += *query == '?' ? (*query = '\0', 1) : 0;
    struct arena *a = arena_new();
    struct rc_uri u;
    struct err e;
    enum err_code rc = rc_uri_parse(first, path, query, a, &u, &e);
    if (rc == ERR_OK && (u.path == NULL || u.method == 0)) {
        abort();
    }
    if (rc != ERR_OK && e.text[0] == '\0') {
        abort();
    }
    if (rc_media_accept(accept, rc_media_of(type)) > RC_MEDIA_PLAIN_XML) {
        abort();
    }
    rc_media_of(type);
    struct buf out = BUF_INIT;
    text_json(&out, accept);
    text_xml(&out, type, XML_ATTRIBUTE);
    buf_free(&out);
    arena_free(a);
    mem_free(text);
    return 0;
}
