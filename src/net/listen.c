// SPDX-License-Identifier: Apache-2.0
#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static socklen_t sockaddr_of(const struct ip_addr *addr, uint16_t port,
                             struct sockaddr_storage *ss) {
    memset(ss, 0, sizeof(*ss));
    if (addr->family == 6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, addr->bytes, 16);
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ss;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, addr->bytes, 4);
    return sizeof(*in);
}

bool listen_peer(const struct sockaddr_storage *ss, struct ip_addr *addr, uint16_t *port) {
    *addr = (struct ip_addr){.family = 0};
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        addr->family = 6;
        memcpy(addr->bytes, &in6->sin6_addr, 16);
        *port = ntohs(in6->sin6_port);
    } else if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        addr->family = 4;
        memcpy(addr->bytes, &in->sin_addr, 4);
        *port = ntohs(in->sin_port);
    }
    return addr->family != 0;
}

enum err_code listen_tcp(const struct ip_addr *addr, uint16_t port, int *out, uint16_t *bound,
                         struct err *e) {
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_of(addr, port, &ss);
    char text[IP_TEXT_MAX], place[IP_TEXT_MAX + 8];
    snprintf(place, sizeof(place), addr->family == 6 ? "[%s]:%u" : "%s:%u",
             ip_addr_format(addr, text), port);
    int one = 1, fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(e, errno, place, "no socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (addr->family == 6) { /* an IPv4 listener on the same port is the operator's to ask for */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        int why = errno;
        close(fd);
        return why == EADDRINUSE
                   ? err_set(e, ERR_IN_USE, place, "another program listens on this address")
                   : err_errno(e, why, place, "can't listen");
    }
    struct ip_addr ignored;
    if (bound != NULL && getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
        listen_peer(&ss, &ignored, bound);
    }
    *out = fd;
    return ERR_OK;
}

enum err_code connect_tcp(const struct ip_addr *addr, uint16_t port, unsigned keepalive_s, int *out,
                          struct err *e) {
    enum { PROBES = 3 };
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_of(addr, port, &ss);
    char text[IP_TEXT_MAX];
    ip_addr_format(addr, text);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(e, errno, text, "no socket");
    }
    if (keepalive_s > 0) {
        int one = 1, s = (int)keepalive_s, probes = PROBES;
        unsigned ms = keepalive_s * 1000 * (PROBES + 1); /* also of bytes that nobody confirms */
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &s, sizeof(s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &s, sizeof(s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    }
    if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS) {
        int why = errno;
        close(fd);
        return err_errno(e, why, text, "can't connect");
    }
    *out = fd;
    return ERR_OK;
}
