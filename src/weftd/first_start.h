// SPDX-License-Identifier: Apache-2.0
/* What a controller needs before it can be used: folders, keys, an administrator. */
#ifndef WEFTD_FIRST_START_H
#define WEFTD_FIRST_START_H

#include "core/core.h"

struct first_start {
    int lock; /* of the data folder; -1: not taken */
    char *ca_cert, *ca_key, *clients, *secrets_key, *ssh_key, *server_cert, *server_key,
        *password_file, *backups, *configs, *logs, *support, *node_cert, *node_key;
};

/* Names of the files under `data`. */
void first_start_paths(const char *data, struct first_start *f);
void first_start_free(struct first_start *f);
/* Makes the folders (0700), takes the data folder for this process (ERR_LOCKED: another one has it)
 * and makes, where they are missing, authority and server certificate. `hostnames`: names and
 * addresses for the certificate, commas between them. */
enum err_code first_start_files(const char *data, const char *hostnames, struct first_start *f,
                                struct err *e);
/* Makes the server's certificate where it is missing, and anew when it ends within 30 days, unless
 * it is of another authority; says when that or the authority itself is about to end. */
enum err_code first_start_renew(const struct first_start *f, const char *hostnames, bool *made,
                                struct err *e);
/* Makes it now, with our own authority. */
enum err_code first_start_server_cert(const struct first_start *f, const char *hostnames,
                                      struct err *e);
/* The same for the certificate that this node, of several on one store, shows to the others. */
enum err_code first_start_node(const struct first_start *f, const char *node, bool *made,
                               struct err *e);
/* When there is no user at all: role and user `admin` with a new password, written to its file
 * (0600). Blocks for the writer. */
enum err_code first_start_admin(struct core *c, const struct first_start *f, struct err *e);

#endif
