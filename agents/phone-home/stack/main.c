// SPDX-License-Identifier: Apache-2.0
/* weft-stackd: the daemon, and the small client that shows a chassis and asks one for something. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "phone-home/stack/daemon.h"
#include "phone-home/stack/message.h"
#include "phone-home/stack/supervise.h"

enum { ASK_MS = 10000, ORDER_MS = 900000 };

static int usage(int rc) {
    fprintf(rc == 0 ? stdout : stderr,
            "usage: weft-stackd -c FILE                     run as a member of a chassis\n"
            "       weft-stackd -c FILE --check             is the file right?\n"
            "       weft-stackd show virtual-chassis        members, roles, ports (--json)\n"
            "       weft-stackd request freeze|thaw         roles stay as they are, or not\n"
            "       weft-stackd request install MEMBER VERSION IMAGE\n"
            "       weft-stackd request reboot|zeroize MEMBER...\n"
            "       weft-stackd request key FILE            the key that goes with the next apply\n"
            "       weft-stackd request apply merge|replace FILE SECONDS\n"
            "       weft-stackd request confirm|rollback\n"
            "       weft-stackd request replicate FILE      to the backup\n"
            "       weft-stackd request inherited           what a primary left here\n"
            "options: -s SOCKET   of the member to ask (" STACKD_SOCKET ")\n"
            "         -l LEVEL    error, warn, info or debug\n"
            "         --json  --version  --help\n");
    return rc;
}

static int failed(const struct err *e) {
    fprintf(stderr, "weft-stackd: %s%s%s\n", e->path, e->path[0] != '\0' ? ": " : "", e->text);
    return 1;
}

/* ---------------------------------------------------------------- show */

static const char *text_of(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL && s[0] != '\0' ? s : "-";
}

static bool flag_of(const json_t *o, const char *name) {
    return json_is_true(json_object_get(o, name));
}

static void show_member(const json_t *m, const char *own) {
    const json_t *id = json_object_get(m, "id");
    const char *role = text_of(m, "role");
    char number[8] = "-", ports[400] = "";
    if (json_is_integer(id)) {
        snprintf(number, sizeof number, "%d", (int)json_integer_value(id));
    }
    const json_t *list = json_object_get(m, "ports");
    for (size_t i = 0, n = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        n += (size_t)snprintf(ports + n, sizeof ports - n, "%s%s %s", i > 0 ? ", " : "",
                              text_of(p, "port"), text_of(p, "neighbour"));
    }
    printf("%-6s %-11s %-20s %-9s %4d  %-16s %-16s %s\n", number,
           flag_of(m, "up")          ? "present"
           : flag_of(m, "reachable") ? "booting"
                                     : "not present",
           text_of(m, "serial"), role, (int)json_integer_value(json_object_get(m, "priority")),
           text_of(m, "model"), text_of(m, "os-version"), ports);
    (void)own;
}

static int show(const char *sock, bool brief_json) {
    struct err e;
    json_t *a;
    if (message_ask(sock, json_pack("{s:s}", "do", "state"), -1, ASK_MS, &a, NULL, &e) != ERR_OK) {
        return failed(&e);
    }
    const json_t *s = json_object_get(a, "state"), *members = json_object_get(s, "members");
    if (brief_json) {
        json_dumpf(s, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
        putchar('\n');
    } else {
        printf("This member: %s, %s %s%s%s\n", text_of(s, "serial"), text_of(s, "os-name"),
               text_of(s, "os-version"), flag_of(s, "factory-default") ? ", factory default" : "",
               flag_of(s, "up") ? "" : ", booting");
        if (strcmp(text_of(s, "failed-version"), "-") != 0) {
            printf("Version %s did not come up here and was given up.\n",
                   text_of(s, "failed-version"));
        }
        printf("Chassis: %s%s\n\n",
               !flag_of(s, "formed") ? "no primary yet"
               : flag_of(s, "links") ? "formed"
                                     : "a standalone device",
               flag_of(s, "frozen") ? ", roles frozen" : "");
        printf("%-6s %-11s %-20s %-9s %4s  %-16s %-16s %s\n", "Member", "Status", "Serial number",
               "Role", "Prio", "Model", "Version", "VCP and neighbour");
        for (size_t i = 0; i < json_array_size(members); i++) {
            show_member(json_array_get(members, i), text_of(s, "serial"));
        }
    }
    json_decref(a);
    return 0;
}

/* ---------------------------------------------------------------- request */

static bool number(const char *s, json_int_t *out) {
    char *end;
    *out = strtoll(s, &end, 10);
    return *s != '\0' && *end == '\0';
}

static int ask(const char *sock, json_t *o, const char *file, int *back) {
    struct err e;
    int fd = -1;
    if (file != NULL && (fd = open(file, O_RDONLY | O_CLOEXEC)) < 0) {
        json_decref(o);
        err_errno(&e, errno, file, "can't be opened");
        return failed(&e);
    }
    enum err_code rc = message_ask(sock, o, fd, ORDER_MS, NULL, back, &e);
    if (fd >= 0) {
        close(fd);
    }
    return rc == ERR_OK ? 0 : failed(&e);
}

static int request_members(const char *sock, int argc, char **argv) {
    json_t *ids = json_array();
    for (int i = 1; i < argc; i++) {
        json_int_t id;
        if (!number(argv[i], &id)) {
            json_decref(ids);
            return usage(2);
        }
        json_array_append_new(ids, json_integer(id));
    }
    return ask(sock,
               json_pack("{s:s, s:b, s:o}", "do", "reboot", "zeroize",
                         strcmp(argv[0], "zeroize") == 0, "members", ids),
               NULL, NULL);
}

static int request_inherited(const char *sock) {
    char bytes[4096];
    int fd = -1, rc = ask(sock, json_pack("{s:s}", "do", "inherited"), NULL, &fd);
    if (rc == 0 && fd >= 0) {
        lseek(fd, 0, SEEK_SET);
        for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) {
            fwrite(bytes, 1, (size_t)n, stdout);
        }
        close(fd);
    }
    return rc;
}

static int request(const char *sock, int argc, char **argv) {
    json_int_t n;
    const char *verb = argc > 0 ? argv[0] : "";
    if (argc == 1 && (strcmp(verb, "freeze") == 0 || strcmp(verb, "thaw") == 0 ||
                      strcmp(verb, "confirm") == 0 || strcmp(verb, "rollback") == 0)) {
        return ask(sock, json_pack("{s:s}", "do", verb), NULL, NULL);
    }
    if (argc > 1 && (strcmp(verb, "reboot") == 0 || strcmp(verb, "zeroize") == 0)) {
        return request_members(sock, argc, argv);
    }
    if (argc == 4 && strcmp(verb, "install") == 0 && number(argv[1], &n)) {
        return ask(sock,
                   json_pack("{s:s, s:I, s:s}", "do", verb, "member", n, "os-version", argv[2]),
                   argv[3], NULL);
    }
    if (argc == 4 && strcmp(verb, "apply") == 0 && number(argv[3], &n)) {
        return ask(
            sock,
            json_pack("{s:s, s:s, s:I}", "do", verb, "handling", argv[1], "confirm-ms", n * 1000),
            argv[2], NULL);
    }
    if (argc == 2 && (strcmp(verb, "replicate") == 0 || strcmp(verb, "key") == 0)) {
        return ask(sock, json_pack("{s:s}", "do", verb), argv[1], NULL);
    }
    if (argc == 1 && strcmp(verb, "inherited") == 0) {
        return request_inherited(sock);
    }
    return usage(2);
}

/* ---------------------------------------------------------------- the daemon */

static int check(const char *file) {
    struct stackd_settings s;
    struct err e;
    if (stackd_settings_load(file, &s, &e) != ERR_OK) {
        return failed(&e);
    }
    printf("%s: %s, %u VCP links: fine\n", file, s.stack.serial, s.stack.n_links);
    stackd_settings_free(&s);
    return 0;
}

static int run(const char *file, const char *slot, bool trial) {
    static struct stackd_settings s;
    struct err e;
    if (stackd_settings_load(file, &s, &e) != ERR_OK) {
        return failed(&e);
    }
    if (slot != NULL) {
        stackd_run(&s, slot, trial);
    }
    int rc = supervise(&s, file);
    stackd_settings_free(&s);
    return rc;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"socket", required_argument, NULL, 's'},
                                            {"log-level", required_argument, NULL, 'l'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"member", required_argument, NULL, 'm'},
                                            {"trial", no_argument, NULL, 't'},
                                            {"no-trial", no_argument, NULL, 'n'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *file = NULL, *sock = STACKD_SOCKET, *slot = NULL;
    bool checking = false, json = false, trial = false;
    int o;
    while ((o = getopt_long(argc, argv, "c:s:l:h", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            file = optarg;
            break;
        case 's':
            sock = optarg;
            break;
        case 'l':
            if (!logger_set_level(NULL, optarg)) {
                fprintf(stderr, "weft-stackd: no log level %s\n", optarg);
                return 2;
            }
            break;
        case 'k':
            checking = true;
            break;
        case 'j':
            json = true;
            break;
        case 'm': /* what the supervisor says to the member process */
            slot = optarg;
            break;
        case 't':
            trial = true;
            break;
        case 'n':
            break;
        case 'v':
            puts("weft-stackd " WEFT_VERSION);
            return 0;
        default:
            return usage(o == 'h' ? 0 : 2);
        }
    }
    argc -= optind;
    argv += optind;
    if (argc == 2 && strcmp(argv[0], "show") == 0 && strcmp(argv[1], "virtual-chassis") == 0) {
        return show(sock, json);
    }
    if (argc > 1 && strcmp(argv[0], "request") == 0) {
        return request(sock, argc - 1, argv + 1);
    }
    if (argc > 0 || file == NULL) {
        return usage(2);
    }
    return checking ? check(file) : run(file, slot, trial);
}
