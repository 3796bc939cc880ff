// SPDX-License-Identifier: Apache-2.0
/*
 * The frames of weft-stackd on its VCP links: Ethernet payloads of at most STACK_FRAME_MAX bytes.
 * Members believe what comes over a VCP link: these are cables inside one chassis. What comes is
 * bounded and checked for form all the same.
 */
#ifndef PHONE_HOME_STACK_WIRE_H
#define PHONE_HOME_STACK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/conveyed.h"

enum {
    STACK_FRAME_MAX = 1480,
    STACK_LINKS_MAX = 4,
    STACK_MEMBERS_MAX = SZTP_MEMBERS_MAX, /* that have an id */
    STACK_SERIAL_MAX = 32,                /* printable ASCII */
    STACK_TEXT_MAX = 40,                  /* models, names, versions */
    STACK_PORT_MAX = 15,                  /* an interface's name */
    STACK_ID_NONE = 255,
    STACK_CHUNK = 1024, /* bytes of a file in one frame */
    STACK_TTL = 16,
    STACK_DIGEST = 32, /* SHA-256 */
};

typedef char stack_serial[STACK_SERIAL_MAX + 1]; /* "" none */
typedef char stack_text[STACK_TEXT_MAX + 1];
typedef char stack_port[STACK_PORT_MAX + 1];

enum stack_type { STACK_HELLO = 1, STACK_LSA = 2, STACK_MESSAGE = 3 };

/* Of one link, never passed on. */
struct stack_hello {
    stack_serial serial;
    stack_port port;      /* the sender's */
    uint64_t incarnation; /* grows with each start of the member, also over zeroizing */
    stack_serial heard;   /* whom the sender hears here; "" nobody */
    uint64_t heard_incarnation;
    uint64_t digest; /* of what it knows of the members that it reaches */
};

/* What the primary decides; every member keeps a copy. Newer is the greater (term, version). */
struct stack_chassis {
    uint64_t term; /* grows with each primary; 0: no chassis yet */
    uint32_t version;
    stack_serial owner; /* the primary that wrote it */
    stack_serial backup;
    bool frozen;
    stack_serial frozen_primary; /* the primary when it was frozen */
    size_t n;
    struct {
        stack_serial serial;
        uint8_t id;
    } ids[STACK_MEMBERS_MAX];
};

enum {
    STACK_CLAIM = 1,   /* is primary, and the chassis follows */
    STACK_READY = 2,   /* its image is up: may have a role */
    STACK_FACTORY = 4, /* nothing was configured */
};

/* What a member says of itself; flooded. Newer is the greater (incarnation, seq). */
struct stack_lsa {
    stack_serial serial;
    uint64_t incarnation;
    uint32_t seq;
    uint8_t flags, priority, id;
    stack_text model, os_name, os_version;
    uint64_t since;        /* the term in which its time as primary began */
    uint64_t seen_term;    /* the chassis that it keeps */
    uint32_t seen_version; /* ... */
    stack_serial seen_owner;
    size_t n_neighbours;
    struct {
        stack_serial serial;
        uint64_t incarnation;
        stack_port port; /* the member's own */
    } neighbours[STACK_LINKS_MAX];
    struct stack_chassis chassis; /* with STACK_CLAIM; its owner is `serial` */
};

enum stack_kind {
    STACK_OFFER = 1, /* a file: file kind, size, digest, text */
    STACK_HAVE,      /* answer to an offer; offset: all before it is there */
    STACK_ACK,       /* answer to data; the same */
    STACK_DATA,      /* offset, bytes */
    STACK_DONE,      /* code, text */
    STACK_REBOOT,    /* incarnation, zeroize */
    STACK_REBOOTED,  /* will, or has been */
};
enum stack_file { STACK_FILE_RECORD = 1, STACK_FILE_IMAGE, STACK_FILE_CONFIG };

/* From member to member, hop by hop. */
struct stack_message {
    uint8_t ttl;
    stack_serial from, to;
    enum stack_kind kind;
    uint64_t id; /* the sender's of the first of an exchange; the answer bears it too */
    enum stack_file file;
    uint64_t size, offset, incarnation;
    uint8_t digest[STACK_DIGEST];
    char text[161]; /* OFFER: version of an image, handling of a configuration; DONE: the reason */
    enum err_code code;
    bool zeroize;
    const uint8_t *bytes; /* into the frame */
    size_t n;
};

struct stack_frame {
    enum stack_type type;
    union {
        struct stack_hello hello;
        struct stack_lsa lsa;
        struct stack_message message;
    } u;
};

/* Adds the frame to `out`; at most STACK_FRAME_MAX bytes whatever is in it. */
void stack_frame_write(const struct stack_frame *f, struct buf *out);
/* ERR_MALFORMED, with the field; ERR_UNSUPPORTED another version. Message bytes point into `p`. */
enum err_code stack_frame_read(const void *p, size_t n, struct stack_frame *out, struct err *e);

/* The chassis by itself, as it is kept. */
void stack_chassis_write(const struct stack_chassis *c, struct buf *out);
bool stack_chassis_read(struct cur *in, struct stack_chassis *out);

/* 1..max printable ASCII characters, no blanks at the ends. */
bool stack_text_ok(const char *s, size_t max);

#endif
