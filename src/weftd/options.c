// SPDX-License-Identifier: Apache-2.0
#include "weftd/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    OPT_HELP = 1000,
    OPT_VERSION,
    OPT_CLEAR,
    OPT_APMI,
    OPT_APMI_CLEAR,
    OPT_NETCONF,
    OPT_NETCONF_TLS,
    OPT_PORT_FILE,
    OPT_INITIAL,
    OPT_NODE,
    OPT_RELAY
};

static const struct option names[] = {
    {"config", required_argument, NULL, 'c'},
    {"data", required_argument, NULL, 'd'},
    {"store", required_argument, NULL, 's'},
    {"listen", required_argument, NULL, 'l'},
    {"listen-clear-text", required_argument, NULL, OPT_CLEAR},
    {"listen-apmi", required_argument, NULL, OPT_APMI},
    {"listen-apmi-clear-text", required_argument, NULL, OPT_APMI_CLEAR},
    {"listen-netconf", required_argument, NULL, OPT_NETCONF},
    {"listen-netconf-tls", required_argument, NULL, OPT_NETCONF_TLS},
    {"unix", required_argument, NULL, 'u'},
    {"user", required_argument, NULL, 'U'},
    {"hostname", required_argument, NULL, 'n'},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"initial-config", required_argument, NULL, OPT_INITIAL},
    {"node", required_argument, NULL, OPT_NODE},
    {"listen-relay", required_argument, NULL, OPT_RELAY},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char usage[] =
    "usage: weftd [OPTION]...\n"
    "       weftd issue NAME FOLDER [--server|--user] [--days N] [--data DIR] [--force]\n"
    "                           make a certificate for a gateway, a server or a user\n"
    "       weftd check [--data DIR]\n"
    "                           check the store of a controller that does not run\n"
    "       weftd restore FILE [--data DIR]\n"
    "                           put a backup in the place of its store\n"
    "       weftd migrate FROM-URL TO-URL [--data DIR]\n"
    "                           make a new store from one of another kind, such as etcd:\n"
    "  -d, --data DIR           where everything is kept (default /var/lib/weft)\n"
    "  -l, --listen ADDR:PORT   HTTPS: RESTCONF, the command line, metrics; may be repeated\n"
    "                           (default 8443 at every address, as :8443 says it; \"none\" for "
    "the\n"
    "                           local socket alone)\n"
    "      --listen-apmi ADDR:PORT\n"
    "                           gateways' sessions (default :20557; \"none\")\n"
    "      --listen-apmi-clear-text ADDR:PORT\n"
    "                           the same without TLS: anybody who can connect is believed\n"
    "      --listen-clear-text ADDR:PORT\n"
    "                           the same as --listen without TLS; passwords can be read on the "
    "way\n"
    "      --listen-netconf ADDR:PORT\n"
    "                           NETCONF over SSH (default none; its port is 830)\n"
    "      --listen-netconf-tls ADDR:PORT\n"
    "                           NETCONF over TLS, with client certificates (its port is 6513)\n"
    "  -u, --unix PATH          the local socket (default DIR/weft.sock)\n"
    "  -s, --store URL          the log (default sqlite:DIR/weft.db)\n"
    "      --node NAME          what this one of several controllers on an etcd: store is called\n"
    "                           (default: this machine's name)\n"
    "      --listen-relay ADDR:PORT\n"
    "                           where other controllers on the same etcd: store reach this one, "
    "to\n"
    "                           pass on what only the leader can do (default none)\n"
    "  -n, --hostname NAME[,NAME]...\n"
    "                           names and addresses that clients use, for the server's "
    "certificate\n"
    "                           (default: this machine's name)\n"
    "  -U, --user NAME          become this user when started as root\n"
    "  -c, --config FILE        the same options from a file, one \"name value\" a line\n"
    "      --initial-config FILE\n"
    "                           what a new store begins with, as load merge takes it\n"
    "      --port-file FILE     write the ports that were bound here\n"
    "      --help, --version\n"
    "The first start makes an authority, a server certificate and an administrator's password\n"
    "under DIR, and says where.\n";

/* "/etc/weft/weftd.conf line 7: listen: ", "--listen: ": what is being taken, for what is wrong
 * there. */
static char place[1200];

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *fmt, ...) {
    va_list ap;
    fprintf(stderr, "weftd: %s", place);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\n(weftd --help lists the options)\n", stderr);
    exit(2);
}

static void set(char **slot, const char *value) {
    mem_free(*slot);
    *slot = mem_strdup(value);
}

static void add_one(struct listen *list, size_t *n, const char *host, unsigned long port,
                    bool implied, const char *text) {
    struct err e;
    if (*n == OPTIONS_LISTEN_MAX) {
        die("more than %d addresses to listen at", OPTIONS_LISTEN_MAX);
    }
    struct listen *l = &list[*n];
    if (ip_addr_parse(host, &l->addr, &e) != ERR_OK) {
        die("\"%s\": %s", text, e.text);
    }
    l->port = (uint16_t)port;
    l->implied = implied;
    ++*n;
}

/* "192.0.2.1:8443", "[2001:db8::1]:8443"; ":8443" and "8443" are every address, IPv6 and IPv4. */
static void add_listen(struct listen *list, size_t *n, bool *none, const char *text) {
    if (strcmp(text, "none") == 0) {
        *none = true;
        return;
    }
    const char *colon = strrchr(text, ':');
    const char *port = colon != NULL ? colon + 1 : text;
    char *end;
    errno = 0;
    unsigned long v = strtoul(port, &end, 10);
    if (port[0] < '0' || port[0] > '9' || *end != '\0' || errno != 0 || v > 65535) {
        die("\"%s\" does not end with a port", text);
    }
    if (colon != NULL && colon != text) {
        char host[64];
        bool bracket = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
        snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (bracket ? 2 : 0),
                 text + bracket);
        add_one(list, n, host, v, false, text);
    } else {
        add_one(list, n, "::", v, true, text);
        add_one(list, n, "0.0.0.0", v, true, text);
    }
}

struct parse {
    struct options *o;
    bool no_tls, no_clear, no_apmi, no_netconf;
};

static void read_file(struct parse *p, const char *path);

/* Others dial what is said here, so it has to name an address and a port. */
static void take_relay(struct options *o, const char *value) {
    bool none = false;
    o->n_relay = 0;
    add_listen(o->relay, &o->n_relay, &none, value);
    if (none) {
        return;
    }
    static const struct ip_addr v4 = {.family = 4}, v6 = {.family = 6};
    const struct listen *l = &o->relay[0];
    if (o->n_relay != 1 || l->port == 0 || ip_addr_cmp(&l->addr, &v4) == 0 ||
        ip_addr_cmp(&l->addr, &v6) == 0) {
        die("\"%s\": name the address and the port that other nodes dial", value);
    }
    set(&o->relay_text, value);
}

static void take(struct parse *p, int opt, const char *value) {
    struct options *o = p->o;
    switch (opt) {
    case 'c':
        read_file(p, value);
        break;
    case 'd':
        set(&o->data, value);
        break;
    case 's':
        set(&o->store, value);
        break;
    case 'l':
        add_listen(o->tls, &o->n_tls, &p->no_tls, value);
        break;
    case OPT_CLEAR:
        add_listen(o->clear, &o->n_clear, &p->no_clear, value);
        break;
    case OPT_APMI:
        add_listen(o->apmi, &o->n_apmi, &p->no_apmi, value);
        break;
    case OPT_APMI_CLEAR:
        add_listen(o->apmi_clear, &o->n_apmi_clear, &p->no_clear, value);
        break;
    case OPT_NETCONF:
        add_listen(o->netconf, &o->n_netconf, &p->no_netconf, value);
        break;
    case OPT_NETCONF_TLS:
        add_listen(o->netconf_tls, &o->n_netconf_tls, &p->no_netconf, value);
        break;
    case 'u':
        set(&o->unix_path, value);
        break;
    case 'U':
        set(&o->user, value);
        break;
    case 'n':
        set(&o->hostname, value);
        break;
    case OPT_PORT_FILE:
        set(&o->port_file, value);
        break;
    case OPT_INITIAL:
        set(&o->initial, value);
        break;
    case OPT_RELAY:
        take_relay(o, value);
        break;
    case OPT_NODE:
        set(&o->node, value);
        break;
    case OPT_HELP:
        fputs(usage, stdout);
        exit(0);
    case OPT_VERSION:
        puts("weftd " WEFT_VERSION);
        exit(0);
    default:
        fputs("(weftd --help lists the options)\n", stderr); /* getopt has said which */
        exit(2);
    }
}

static void read_file(struct parse *p, const char *path) {
    char line[2048];
    unsigned number = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        die("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof line, f) != NULL) {
        number++;
        char *name = line + strspn(line, " \t");
        size_t n = strcspn(name, " \t\r\n=");
        if (n == 0 || name[0] == '#') {
            continue;
        }
        char *value = name + n + strspn(name + n, " \t=");
        name[n] = '\0';
        value[strcspn(value, "\r\n")] = '\0';
        const struct option *opt = names;
        while (opt->name != NULL && strcmp(opt->name, name) != 0) {
            opt++;
        }
        if (opt->name == NULL || opt->has_arg == no_argument || opt->val == 'c') {
            die("%s line %u: \"%s\" is no option", path, number, name);
        }
        snprintf(place, sizeof place, "%s line %u: %s: ", path, number, name);
        if (value[0] == '\0') {
            die("a value is missing");
        }
        take(p, opt->val, value);
        place[0] = '\0';
    }
    fclose(f);
}

void options_parse(int argc, char **argv, struct options *o) {
    struct parse p = {.o = o};
    int c;
    *o = (struct options){.data = mem_strdup("/var/lib/weft")};
    while ((c = getopt_long(argc, argv, "c:d:s:l:u:U:n:", names, NULL)) != -1) {
        const struct option *opt = names;
        while (opt->name != NULL && opt->val != c) {
            opt++;
        }
        if (opt->name != NULL && c != 'c') { /* a file's lines say themselves where they stand */
            snprintf(place, sizeof place, "--%s: ", opt->name);
        }
        take(&p, c, optarg);
        place[0] = '\0';
    }
    if (optind < argc) {
        die("\"%s\" is no option", argv[optind]);
    }
    if (o->n_tls == 0 && !p.no_tls) {
        add_listen(o->tls, &o->n_tls, &p.no_tls, ":8443");
    }
    if (o->n_apmi == 0 && !p.no_apmi) {
        add_listen(o->apmi, &o->n_apmi, &p.no_apmi, ":20557");
    }
    if (o->unix_path == NULL) {
        o->unix_path = mem_printf("%s/weft.sock", o->data);
    }
    if (o->store == NULL) {
        o->store = mem_printf("sqlite:%s/weft.db", o->data);
    }
}

void options_free(struct options *o) {
    mem_free(o->data);
    mem_free(o->store);
    mem_free(o->unix_path);
    mem_free(o->user);
    mem_free(o->hostname);
    mem_free(o->port_file);
    mem_free(o->initial);
    mem_free(o->node);
    mem_free(o->relay_text);
}
