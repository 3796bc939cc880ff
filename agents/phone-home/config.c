// SPDX-License-Identifier: Apache-2.0
#include "phone-home/config.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "net/json_in.h"
#include "phone-home/dhcp_options.h"
#include "phone-home/stack/settings.h"

enum { CONFIG_FILE_MAX = 1 << 20, MB = 1 << 20 };

static void take_path(struct json_in *x, const char *key, bool needed, char *out, size_t size) {
    json_in_str(x, key, needed, 1, out, size);
    if (x->rc == ERR_OK && out[0] != '\0' && out[0] != '/') {
        json_in_fail(x, ERR_INVALID, key, "must be an absolute path");
    }
}

/* One of the words, in their order; `fallback` when it is absent. */
static int take_word(struct json_in *x, const char *key, const char *const *words, int fallback) {
    char word[32] = "", all[200] = "";
    json_in_str(x, key, false, 1, word, sizeof word);
    if (word[0] == '\0') {
        return fallback;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i > 0 ? ", " : "", words[i]);
    }
    json_in_fail(x, ERR_INVALID, key, "must be one of %s", all);
    return fallback;
}

/* A list of such words as bits; 0 when it is absent. */
static unsigned take_words(struct json_in *x, const char *key, const char *const *words) {
    unsigned bits = 0, count = 0;
    while (words[count] != NULL) {
        count++;
    }
    json_t *list = json_in_list(x, key, false, 1, count);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        unsigned j = 0;
        while (j < count && (s == NULL || strcmp(s, words[j]) != 0)) {
            j++;
        }
        if (j == count || (bits & 1U << j) != 0) {
            json_in_fail(x, ERR_INVALID, key, "[%zu]: %s", i,
                         j == count ? "is none of the words known here" : "is there twice");
            break;
        }
        bits |= 1U << j;
    }
    json_decref(list);
    return bits;
}

/* A list of strings into rows of `size` bytes; returns how many. */
static size_t take_rows(struct json_in *x, const char *key, size_t min, size_t max, bool paths,
                        char *rows, size_t size) {
    json_t *list = json_in_list(x, key, min > 0, min, max);
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s == NULL || s[0] == '\0' || strlen(s) >= size || (paths && s[0] != '/')) {
            json_in_fail(x, ERR_INVALID, key, "[%zu]: must be %s of 1 to %zu characters", i,
                         paths ? "an absolute path" : "a string", size - 1);
            break;
        }
        memcpy(rows + n++ * size, s, strlen(s) + 1);
    }
    json_decref(list);
    return n;
}

static void read_junos(struct json_in *x, struct junos_config *j) {
    static const char *const usual[] = {"/usr/sbin/cli", "xml-mode", "netconf", "need-trailer"};
    take_path(x, "socket", false, j->socket, sizeof j->socket);
    j->n_program =
        take_rows(x, "program", 0, JUNOS_ARGS_MAX, false, j->program[0], sizeof j->program[0]);
    if (j->n_program > 0 && j->program[0][0] != '/') {
        json_in_fail(x, ERR_INVALID, "program", "[0]: must be an absolute path");
    }
    if (j->n_program > 0 && j->socket[0] != '\0') {
        json_in_fail(x, ERR_INVALID, "program", "it or socket, not both");
    }
    if (j->n_program == 0 && j->socket[0] == '\0') {
        for (; j->n_program < sizeof usual / sizeof *usual; j->n_program++) {
            snprintf(j->program[j->n_program], sizeof j->program[0], "%s", usual[j->n_program]);
        }
    }
    j->member_id = -1;
    if (json_object_get(x->o, "member-id") != NULL) {
        j->member_id = (int)json_in_int(x, "member-id", 0, 0, SZTP_MEMBERS_MAX - 1);
    }
    j->validate = json_in_bool(x, "validate", true);
    j->poll_ms = (int64_t)json_in_int(x, "poll-s", 10, 1, 300) * 1000;
    j->answer_ms = (int64_t)json_in_int(x, "answer-s", 60, 1, 600) * 1000;
}

static void read_platform(struct json_in *root, struct phone_home_config *c) {
    static const char *const kinds[] = {"linux-stack", "hooks", "junos", NULL};
    struct json_in x;
    if (!json_in_object(root, "platform", true, &x)) {
        return;
    }
    c->platform.kind = (enum phc_platform_kind)take_word(&x, "type", kinds, PHC_LINUX_STACK);
    if (c->platform.kind == PHC_LINUX_STACK) {
        snprintf(c->platform.socket, sizeof c->platform.socket, STACKD_SOCKET);
        take_path(&x, "socket", false, c->platform.socket, sizeof c->platform.socket);
        json_in_done(root, &x);
        return;
    }
    if (c->platform.kind == PHC_JUNOS) {
        read_junos(&x, &c->platform.junos);
        json_in_done(root, &x);
        return;
    }
    take_path(&x, "folder", true, c->platform.folder, sizeof c->platform.folder);
    json_in_str(&x, "serial-number", false, 1, c->platform.serial, sizeof c->platform.serial);
    take_path(&x, "serial-number-file", false, c->platform.serial_file,
              sizeof c->platform.serial_file);
    if ((c->platform.serial[0] == '\0') == (c->platform.serial_file[0] == '\0')) {
        json_in_fail(&x, ERR_MISSING, "serial-number",
                     "either it or serial-number-file must be there");
    }
    json_in_str(&x, "model", false, 1, c->platform.model, sizeof c->platform.model);
    json_in_str(&x, "os-name", false, 1, c->platform.os_name, sizeof c->platform.os_name);
    json_in_str(&x, "os-version", false, 1, c->platform.os_version, sizeof c->platform.os_version);
    take_path(&x, "os-version-file", false, c->platform.os_version_file,
              sizeof c->platform.os_version_file);
    json_in_done(root, &x);
}

static void read_identity(struct json_in *root, struct phone_home_config *c) {
    struct json_in x;
    if (json_in_object(root, "identity", false, &x)) {
        take_path(&x, "certificate", true, c->certificate, sizeof c->certificate);
        take_path(&x, "key", true, c->key, sizeof c->key);
        json_in_done(root, &x);
    }
    take_path(root, "password-file", false, c->password_file, sizeof c->password_file);
    c->password_to_untrusted = json_in_bool(root, "password-to-untrusted", false);
    c->engine.user_to_untrusted = c->password_to_untrusted;
    take_path(root, "server-anchors", false, c->server_anchors, sizeof c->server_anchors);
    take_path(root, "voucher-anchors", false, c->voucher_anchors, sizeof c->voucher_anchors);
}

static void read_servers(struct json_in *root, struct phone_home_config *c) {
    static const char *const dialects[] = {"rfc8572", "prerfc", NULL};
    static const char *const sources[] = {"removable-storage", "dns", "dhcp", "servers", NULL};
    c->engine.n_configured = take_rows(root, "servers", 0, SZTP_SERVERS_MAX, false,
                                       c->engine.configured[0], sizeof c->engine.configured[0]);
    for (size_t i = 0; i < c->engine.n_configured; i++) {
        struct sztp_server s;
        struct err e;
        const char *uri = c->engine.configured[i];
        if (sztp_uri_parse(uri, strlen(uri), false, &s, NULL, &e) != ERR_OK) {
            json_in_fail(root, ERR_INVALID, "servers", "[%zu]: must be https://HOST[:PORT]: %s", i,
                         e.text);
        }
    }
    if (root->rc == ERR_OK && c->engine.n_configured > 0 && c->server_anchors[0] == '\0') {
        json_in_fail(root, ERR_MISSING, "server-anchors",
                     "is missing: without it none of the servers could be believed");
    }
    c->engine.dialect = (enum phc_dialect)take_word(root, "dialect", dialects, PHC_RFC8572);
    c->engine.sources = take_words(root, "sources", sources);
    c->engine.lenient = json_in_bool(root, "lenient", false);
}

static void read_storage(struct json_in *root, struct phone_home_config *c) {
    struct json_in x;
    if (json_in_object(root, "storage", false, &x)) {
        c->storage.n_mounts = take_rows(&x, "mounts", 1, STORAGE_MOUNTS_MAX, true,
                                        c->storage.mounts[0], sizeof c->storage.mounts[0]);
        json_in_done(root, &x);
    }
}

static void read_dhcp(struct json_in *root, struct phone_home_config *c) {
    static const char *const precedences[] = {"phone-home", "ztp", "first-success", "auto", NULL};
    static const char *const usual[] = {
        "/var/lib/dhcp/dhclient*.leases", "/var/lib/dhclient/*.leases",
        "/var/lib/NetworkManager/dhclient*.lease", "/var/lib/dhcpcd/*.lease",
        "/run/weft-phone-home/leases/*"}; /* our hook's last: they are the latest */
    struct json_in x;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        snprintf(c->leases[c->n_leases++], sizeof c->leases[0], "%s", usual[i]);
    }
    if (json_in_object(root, "dhcp", false, &x)) {
        if (json_object_get(x.o, "leases") != NULL) {
            c->n_leases = take_rows(&x, "leases", 1, CONFIG_LEASES_MAX, true, c->leases[0],
                                    sizeof c->leases[0]);
        }
        c->engine.precedence =
            (enum phc_precedence)take_word(&x, "precedence", precedences, PHC_PRECEDENCE_AUTO);
        take_path(&x, "legacy-command", false, c->legacy_command, sizeof c->legacy_command);
        json_in_done(root, &x);
    }
}

static void read_dns(struct json_in *root, struct phone_home_config *c) {
    struct resolver *r = &c->resolver;
    char rows[RESOLVER_SERVERS_MAX][IP_TEXT_MAX];
    struct json_in x;
    *r = (struct resolver){.port = 53, .multicast = true, .unicast_ms = 2000, .multicast_ms = 3000};
    snprintf(c->resolv_conf, sizeof c->resolv_conf, "/etc/resolv.conf");
    if (!json_in_object(root, "dns", false, &x)) {
        return;
    }
    size_t n = take_rows(&x, "servers", 0, RESOLVER_SERVERS_MAX, false, rows[0], sizeof rows[0]);
    for (size_t i = 0; i < n; i++) {
        if (ip_addr_parse(rows[i], &r->servers[r->n_servers++], NULL) != ERR_OK) {
            json_in_fail(&x, ERR_INVALID, "servers", "[%zu]: must be an address", i);
        }
    }
    r->n_domains = take_rows(&x, "domains", 0, RESOLVER_DOMAINS_MAX, false, r->domains[0],
                             sizeof r->domains[0]);
    r->port = (uint16_t)json_in_int(&x, "port", 53, 1, 65535);
    r->multicast = json_in_bool(&x, "multicast", true);
    r->unicast_ms = (int64_t)json_in_int(&x, "timeout-ms", 2000, 100, 10000);
    r->multicast_ms = (int64_t)json_in_int(&x, "multicast-ms", 3000, 100, 10000);
    take_path(&x, "resolv-conf", false, c->resolv_conf, sizeof c->resolv_conf);
    json_in_done(root, &x);
}

static int64_t take_s(struct json_in *x, const char *key, int64_t fallback_ms, uint64_t min,
                      uint64_t max) {
    return (int64_t)json_in_int(x, key, (uint64_t)fallback_ms / 1000, min, max) * 1000;
}

static void read_limits(struct json_in *root, struct phone_home_config *c) {
    static const char *const assertions[] = {"verified", "logged", "proximity", NULL};
    struct phc_config *g = &c->engine;
    struct json_in x;
    c->image_max = (uint64_t)16384 * MB;
    c->connect_ms = 10000;
    c->stall_ms = 60000;
    g->assertions = take_words(root, "voucher-assertions", assertions);
    if (!json_in_object(root, "limits", false, &x)) {
        return;
    }
    g->redirects_max = (unsigned)json_in_int(&x, "redirects", g->redirects_max, 1, 64);
    g->detection_ms = take_s(&x, "member-detection-s", g->detection_ms, 60, 7200);
    g->settle_ms = take_s(&x, "settle-s", g->settle_ms, 0, 600);
    g->script_ms = take_s(&x, "script-s", g->script_ms, 1, 86400);
    g->confirm_ms = take_s(&x, "confirm-s", g->confirm_ms, 1, 3600);
    g->backoff_min_ms = take_s(&x, "pause-min-s", g->backoff_min_ms, 1, 3600);
    g->backoff_max_ms = take_s(&x, "pause-max-s", g->backoff_max_ms, 1, 86400);
    g->record_max_age_ms = take_s(&x, "record-max-age-s", g->record_max_age_ms, 60, 86400);
    g->checksum_rounds = (unsigned)json_in_int(&x, "checksum-rounds", g->checksum_rounds, 1, 100);
    c->image_max = json_in_int(&x, "image-mb", 16384, 1, 1 << 20) * MB;
    c->connect_ms = take_s(&x, "connect-s", c->connect_ms, 1, 300);
    c->stall_ms = take_s(&x, "stall-s", c->stall_ms, 1, 3600);
    if (x.rc == ERR_OK && g->backoff_max_ms < g->backoff_min_ms) {
        json_in_fail(&x, ERR_INVALID, "pause-max-s", "must not be below pause-min-s (%lld)",
                     (long long)g->backoff_min_ms / 1000);
    }
    json_in_done(root, &x);
}

enum err_code phone_home_config_parse(const char *text, size_t n, const char *file,
                                      struct phone_home_config *c, struct err *err) {
    struct json_in root;
    memset(c, 0, sizeof *c);
    phc_config_default(&c->engine);
    ERR_TRY(json_in_begin(text, n, file, &root, err));
    take_path(&root, "state", true, c->state, sizeof c->state);
    take_path(&root, "socket", false, c->socket, sizeof c->socket);
    read_platform(&root, c);
    read_identity(&root, c);
    read_servers(&root, c);
    read_storage(&root, c);
    read_dhcp(&root, c);
    read_dns(&root, c);
    read_limits(&root, c);
    return json_in_end(&root, file);
}

enum err_code phone_home_config_load(const char *file, struct phone_home_config *c,
                                     struct err *err) {
    struct buf b = BUF_INIT;
    ERR_TRY(file_read(file, CONFIG_FILE_MAX, &b, err));
    enum err_code rc = phone_home_config_parse(buf_cstr(&b), b.len, file, c, err);
    buf_free(&b);
    return rc;
}
