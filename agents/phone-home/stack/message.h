// SPDX-License-Identifier: Apache-2.0
/*
 * The local socket of weft-stackd: SOCK_SEQPACKET, one JSON object for each packet, at most one
 * descriptor with it (a file that is handed over). A request {"id": N, "do": "...", ...} is
 * answered by
 * {"id": N, ...}, with "error": {"code", "path", "text"} when it failed; {"event": "changed"} tells
 * those who asked "watch". docs/stack.md lists what can be done.
 */
#ifndef PHONE_HOME_STACK_MESSAGE_H
#define PHONE_HOME_STACK_MESSAGE_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

enum { MESSAGE_MAX = 64 << 10 };

/* A connected, non-blocking socket in *fd. ERR_UNAVAILABLE: nobody listens. */
enum err_code message_connect(const char *path, int *fd, struct err *e);
/* `with`: a descriptor that goes along, -1 none; stays the caller's. ERR_UNAVAILABLE: the other
 * side does not read, ERR_IO: it has gone. */
enum err_code message_send(int fd, const json_t *o, int with, struct err *e);
/* The next one; *o NULL: none yet. *with (-1: none came) is the caller's to close. ERR_IO: the
 * other side has gone; ERR_MALFORMED. */
enum err_code message_receive(int fd, json_t **o, int *with, struct err *e);
/* "error" of an answer; ERR_OK: it has none. */
enum err_code message_error(const json_t *answer, struct err *e);
json_t *message_error_of(const struct err *e);

/* Asks and waits. `o` is consumed; *answer (may be NULL) is the caller's, NULL after an error.
 * *back (may be NULL): the descriptor that came with it, or -1. */
enum err_code message_ask(const char *path, json_t *o, int with, int64_t timeout_ms,
                          json_t **answer, int *back, struct err *e);
/* A descriptor of bytes that are in no file; -1 and the error. */
int message_bytes(const void *p, size_t n, struct err *e);

#endif
