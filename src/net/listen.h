// SPDX-License-Identifier: Apache-2.0
/* Sockets of all that serve TCP: listening ones, and those that call their clients. */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/ip.h"

enum { LISTEN_BACKLOG = 1024 };

/* A bound, listening, non-blocking descriptor in *fd. `bound` (may be NULL) gets the port; port 0
 * takes a free one. ERR_IN_USE, ERR_IO; the address is the error's path. */
enum err_code listen_tcp(const struct ip_addr *addr, uint16_t port, int *fd, uint16_t *bound,
                         struct err *e);
/* The other end of a connection; false: it is no IP address. */
bool listen_peer(const struct sockaddr_storage *ss, struct ip_addr *addr, uint16_t *port);

/* A descriptor that is being connected, for calls home: writable when it is connected, or has
 * failed (SO_ERROR). keepalive_s > 0: probed after so long without a byte, given up after three
 * such times. ERR_IO. */
enum err_code connect_tcp(const struct ip_addr *addr, uint16_t port, unsigned keepalive_s, int *fd,
                          struct err *e);

#endif
