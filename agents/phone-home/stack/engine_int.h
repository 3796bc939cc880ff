// SPDX-License-Identifier: Apache-2.0
/* What the parts of the engine share. */
#ifndef PHONE_HOME_STACK_ENGINE_INT_H
#define PHONE_HOME_STACK_ENGINE_INT_H

#include "phone-home/stack/engine.h"

enum {
    NODES_MAX = 2 * STACK_MEMBERS_MAX,
    WINDOW = 32 * STACK_CHUNK,
    RETRY_MS = 300,   /* what was not answered is said again */
    GOODBYE_MS = 300, /* from the order to reboot to rebooting: answers may be asked for again */
    SYNC_MS = 10000,  /* all that are reached have the chassis within this */
    INCOMING_MAX = 4, /* files that come, those that ended included */
    MIN_HELLO_GAP_MS = 40,
};

struct link {
    bool heard, up; /* up: heard both ways */
    stack_serial peer;
    uint64_t peer_incarnation;
    int64_t last;      /* heard */
    int64_t next;      /* hello that is due */
    int64_t said;      /* last hello */
    int64_t refreshed; /* all that we know was sent */
};

struct node {
    bool used, reach;
    unsigned link; /* the first hop's */
    struct stack_lsa lsa;
};

enum order_kind { ORDER_NONE, ORDER_SYNC, ORDER_SEND, ORDER_REBOOT };
struct order {
    enum order_kind kind;
    uint64_t order, id;
    int64_t next, progress; /* when to say it again; when it last went on */
    /* SYNC */
    uint64_t term;
    uint32_t version;
    /* SEND */
    stack_serial to;
    enum stack_file file;
    uint64_t size, acked, sent;
    uint8_t digest[STACK_DIGEST];
    char text[161];
    bool begun;          /* the other side has told its offset */
    unsigned duplicates; /* answers that told nothing new */
    bool again;          /* what lies behind `acked` was sent once more */
    /* REBOOT */
    bool zeroize, self;
    size_t n;
    struct {
        stack_serial serial;
        uint64_t incarnation;
        bool told;
    } targets[STACK_MEMBERS_MAX];
    struct err failed; /* code OK: nothing yet */
};

enum incoming_state { IN_FREE, IN_DATA, IN_FINISH, IN_DONE };
struct incoming {
    enum incoming_state state;
    stack_serial from;
    uint64_t id, ticket;
    enum stack_file file;
    uint64_t size, offset;
    uint8_t digest[STACK_DIGEST];
    char text[161];
    int64_t last;
    enum err_code code;
    char reason[161];
};

struct stack_engine {
    struct stack_settings s;
    struct stack_host host;
    struct link links[STACK_LINKS_MAX];
    struct node nodes[NODES_MAX]; /* nodes[0] is this member */
    struct stack_chassis chassis;
    uint64_t incarnation;
    bool claim, ready, factory;
    uint64_t since;
    uint64_t followed; /* the term of a primary that was reached in this life */
    int64_t settle_at;
    uint64_t known; /* of who is reached and ready: changes begin the settling again */
    struct order orders[STACK_ORDERS_MAX];
    struct incoming incoming[INCOMING_MAX];
    uint64_t next_id;
    int64_t reboot_at; /* -1: none */
    bool reboot_zeroize;
    struct err reboot_error;
};

/* engine.c */
void stack_log(struct stack_engine *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct node *stack_node(struct stack_engine *g, const char *serial); /* NULL: not known */
/* As primary: roles stay, or are free again; kept and told. */
void stack_chassis_freeze(struct stack_engine *g, bool frozen);
const char *stack_primary_serial(const struct stack_engine *g); /* NULL: none */

/* transfer.c */
void stack_message_in(struct stack_engine *g, int64_t now, const struct stack_message *m);
int64_t stack_orders_tick(struct stack_engine *g, int64_t now);
void stack_message_out(struct stack_engine *g, struct stack_message *m);
struct order *stack_order_new(struct stack_engine *g, int64_t now, uint64_t order,
                              enum order_kind kind);
void stack_order_end(struct stack_engine *g, struct order *o, const struct err *e);

#endif
