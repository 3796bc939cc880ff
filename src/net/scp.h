// SPDX-License-Identifier: Apache-2.0
/*
 * Copies files to a server over SSH: by SFTP where the server has it, as then a file is there whole
 * or not at all (written beside, synced, renamed), and by the SCP protocol (rcp over SSH)
 * otherwise. The server must show one of the given host keys; no other is told anything.
 *
 * Blocks: for worker threads. A connection is ended from within when its time is over or the caller
 * is told to stop, so no server holds a thread for longer.
 */
#ifndef NET_SCP_H
#define NET_SCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SCP_PORT = 22, SCP_URL_MAX = 1024, SCP_SECONDS_MAX = 3600 };

/* scp://LOGIN@SERVER[:PORT]/PATH (APM-144). */
struct scp_url {
    char login[256];
    char host[256]; /* a name or an address, without brackets */
    uint16_t port;
    char path[SCP_URL_MAX]; /* begins with a slash; without one at its end unless that is all */
};
/* ERR_INVALID with what is wrong: another scheme, a password, a relative path, a port of 0 ... */
enum err_code scp_url_parse(const char *url, struct scp_url *out, struct err *e);

/* "ssh-ed25519 AAAA...": type and key. */
enum err_code scp_check_host_key(const char *text, struct err *e);
/* A private key's file (OpenSSH's or PEM) in Base64, without a passphrase. */
enum err_code scp_check_private_key(const char *base64, struct err *e);

struct scp_config {
    struct scp_url url;
    const char *password;         /* one of the two */
    const char *private_key;      /* as scp_check_private_key has it */
    const char *const *host_keys; /* as scp_check_host_key has them */
    size_t n_host_keys;
    unsigned seconds;        /* 1..SCP_SECONDS_MAX, for all of it */
    bool (*stop)(void *arg); /* asked again and again, from another thread; NULL: never */
    void *arg;
};

struct scp;
/* Connects, looks at the host key, logs in. The configuration is copied where it is kept.
 * ERR_UNAVAILABLE: not reached. ERR_DENIED: another host key, or the login is refused.
 * ERR_TIMEOUT: time was over, or `stop`. */
enum err_code scp_open(const struct scp_config *cfg, struct scp **out, struct err *e);
/* Writes PATH/`name`, mode 0600, in place of one that is there; `name` "": PATH itself. */
enum err_code scp_put(struct scp *s, const char *name, const void *p, size_t n, struct err *e);
void scp_close(struct scp *s); /* NULL is allowed */

#endif
