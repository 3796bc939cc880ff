// SPDX-License-Identifier: Apache-2.0
/* weftd's options: from the command line, and from a file of the same names. */
#ifndef WEFTD_OPTIONS_H
#define WEFTD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

enum { OPTIONS_LISTEN_MAX = 8 };

struct listen {
    struct ip_addr addr;
    uint16_t port;
    bool implied; /* no address was given: left out on a machine without its family */
};

struct options {
    char *data;  /* folder of everything kept */
    char *store; /* log URL; default sqlite: in the data folder */
    char *unix_path;
    char *user;      /* to become, when started as root */
    char *hostname;  /* names in the server's certificate, commas between them */
    char *initial;   /* a file that a new store's configuration is read from; NULL: none */
    char *node;      /* among several on one store; NULL: the machine's name */
    char *port_file; /* where the ports that were bound are written; tests */
    struct listen tls[OPTIONS_LISTEN_MAX];
    size_t n_tls;
    struct listen clear[OPTIONS_LISTEN_MAX];
    size_t n_clear;
    struct listen apmi[OPTIONS_LISTEN_MAX];
    size_t n_apmi;
    struct listen apmi_clear[OPTIONS_LISTEN_MAX];
    size_t n_apmi_clear;
    struct listen netconf[OPTIONS_LISTEN_MAX]; /* over SSH */
    size_t n_netconf;
    struct listen netconf_tls[OPTIONS_LISTEN_MAX];
    size_t n_netconf_tls;
    struct listen relay[OPTIONS_LISTEN_MAX]; /* one at most: other nodes'; 0.0.0.0 is none */
    size_t n_relay;
    char *relay_text; /* as it was given: what other nodes are told */
    bool check_only;
};

/* Exits with a message on a mistake, and after --help and --version. */
void options_parse(int argc, char **argv, struct options *o);
void options_free(struct options *o);

#endif
