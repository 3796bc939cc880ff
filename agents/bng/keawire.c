// SPDX-License-Identifier: Apache-2.0
#include "bng/keawire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"

#define NO_SERVER "unable to forward command" /* how the control agent begins to say it */

char *keawire_request(const struct bng_kea_server *s, unsigned family, const char *command,
                      json_t *args) {
    json_t *c = json_pack("{s:s}", "command", command);
    if (args != NULL) {
        json_object_set_new(c, "arguments", args);
    }
    if (s->host[0] != '\0') {
        json_object_set_new(c, "service", json_pack("[s]", family == 6 ? "dhcp6" : "dhcp4"));
    }
    char *text = json_dumps(c, JSON_COMPACT);
    bool six = strchr(s->host, ':') != NULL;
    char *out =
        s->host[0] == '\0'
            ? mem_strdup(text)
            : mem_printf("POST / HTTP/1.1\r\nHost: %s%s%s:%u\r\nContent-Type: "
                         "application/json\r\nContent-Length: %zu\r\nConnection: close\r\n"
                         "\r\n%s",
                         six ? "[" : "", s->host, six ? "]" : "", s->port, strlen(text), text);
    free(text);
    json_decref(c);
    return out;
}

/* Where the answer's body begins; NULL: it is no good one. */
static const uint8_t *body_of(const uint8_t *p, size_t n, char *why, size_t size) {
    static const char end[] = "\r\n\r\n";
    const uint8_t *at = p != NULL && n >= 12 ? memmem(p, n, end, 4) : NULL;
    if (at == NULL || memcmp(p, "HTTP/1.", 7) != 0) {
        snprintf(why, size, "an answer that is no HTTP");
        return NULL;
    }
    if (memcmp(p + 8, " 200", 4) != 0) {
        char line[80];
        size_t len = strcspn((const char *)p, "\r"); /* there is one: the end was found */
        snprintf(line, sizeof line, "%.*s", (int)(len < 79 ? len : 79), (const char *)p);
        text_linef(why, size, "the control agent says: %s", line);
        return NULL;
    }
    return at + 4;
}

json_t *keawire_answer(const struct bng_kea_server *s, const uint8_t *p, size_t n, char *why,
                       size_t size) {
    json_error_t je;
    const uint8_t *body = p;
    if (s->host[0] != '\0' && (body = body_of(p, n, why, size)) == NULL) {
        return NULL;
    }
    json_t *a = json_loadb((const char *)body, n - (size_t)(body - p), 0, &je);
    if (a == NULL) {
        snprintf(why, size, "an answer that is no JSON, or not all of it");
        return NULL;
    }
    if (s->host[0] != '\0') { /* one answer for each service asked */
        json_t *first = json_incref(json_array_get(a, 0));
        json_decref(a);
        a = first;
    }
    const char *text = json_string_value(json_object_get(a, "text"));
    if (a == NULL ||
        (s->host[0] != '\0' && text != NULL && strncmp(text, NO_SERVER, strlen(NO_SERVER)) == 0)) {
        text_linef(why, size, "%s", text != NULL ? text : "an answer of no server");
        json_decref(a);
        return NULL;
    }
    return a;
}

bool keawire_down(const struct bng_kea_server *s, const char *why) {
    return (s->host[0] == '\0' || strncmp(why, NO_SERVER, strlen(NO_SERVER)) == 0) &&
           (strstr(why, "Connection refused") != NULL ||
            strstr(why, "No such file or directory") != NULL);
}

static const char *string_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

bool keawire_ha(const json_t *status, struct pair_member *m) {
    const json_t *ha = json_array_get(json_object_get(status, "high-availability"), 0);
    const json_t *local = json_object_get(json_object_get(ha, "ha-servers"), "local");
    const char *mode = string_of(ha, "ha-mode"), *role = string_of(local, "role");
    const json_t *state = json_object_get(local, "state");
    m->state = pair_state_of(json_string_value(state));
    m->serves = json_array_size(json_object_get(local, "scopes")) > 0;
    m->primary = strcmp(role, "primary") == 0;
    return json_is_string(state) && strcmp(role, "backup") != 0 &&
           (strcmp(mode, "hot-standby") == 0 || strcmp(mode, "load-balancing") == 0);
}

bool keawire_fenced(const json_t *config) {
    const json_t *six = json_object_get(config, "Dhcp6");
    const json_t *dhcp = six != NULL ? six : json_object_get(config, "Dhcp4");
    size_t i, j;
    json_t *hook, *state;
    json_array_foreach(json_object_get(dhcp, "hooks-libraries"), i, hook) {
        const json_t *ha = json_array_get(
            json_object_get(json_object_get(hook, "parameters"), "high-availability"), 0);
        json_array_foreach(json_object_get(json_object_get(ha, "state-machine"), "states"), j,
                           state) {
            if (strcasecmp(string_of(state, "state"), "waiting") == 0 &&
                strcasecmp(string_of(state, "pause"), "always") == 0) {
                return true;
            }
        }
    }
    return false;
}
