// SPDX-License-Identifier: Apache-2.0
/*
 * What a service gives to core. All callbacks run on the writer thread.
 *
 * The life of a change, as a service sees it:
 *   complete  may add operations (chosen addresses, made objects, state); may refuse
 *   check     pure; sees the transaction's view; may refuse with path and sentence
 *   config    fold one object's old and new into memory; cannot fail; is called with the arguments
 *             exchanged when the change is undone
 *   changed   once per change after all folds: mark targets (target_touch), start what must start
 *
 * State: records under the service's own key prefix. The service's memory *is* the fold of its
 * records: it writes by txn_put_state(), which calls state_fold() at once; to undo, core calls
 * state_fold() with what state_encode() gave before. At start every stored record is folded, in
 * key order, after all configuration.
 */
#ifndef CORE_SERVICE_H
#define CORE_SERVICE_H

#include "core/core.h"

struct service {
    const char *name;         /* "pools" */
    const char *state_prefix; /* "pools/": state keys begin with it */
    const char *module;       /* YANG module whose rpcs and state are its own: "weft-apm" */

    void *(*create)(struct core *c);
    void (*destroy)(void *self);
    /* After everything was folded at start: arm timers, open listeners' back ends. May be NULL. */
    enum err_code (*start)(void *self, struct err *e);
    void (*stop)(void *self); /* before destroy; may be NULL */

    enum err_code (*complete)(void *self, struct txn *t, struct err *e); /* may be NULL */
    enum err_code (*check)(void *self, struct txn *t, struct err *e);    /* may be NULL */
    void (*config)(void *self, const struct object *old, const struct object *new_);
    void (*changed)(void *self, struct txn *t); /* may be NULL */

    /* Once for work that stands and has events, whatever it is: may put state, so that it is in the
     * log exactly when the events are told. Raises none itself. May be NULL. */
    void (*seal)(void *self, struct txn *t);

    /* Appends the stored form of the record at `key` to `out`; false: there is none. */
    bool (*state_encode)(void *self, const char *key, size_t key_len, struct buf *out);
    /* `value` NULL: the record is deleted. A record that can't be read (a newer version, damage)
     * is an error only at start; core names the key. */
    enum err_code (*state_fold)(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e);

    /* Rpcs that take long (password hashes, reading the whole store): core runs prepare() for them
     * in a worker thread, before call(). Both may be NULL. */
    bool (*slow)(const struct node *rpc);
    bool (*slow_write)(const struct node *rpc); /* call() then changes something. May be NULL */
    enum err_code (*prepare)(void *self, struct call *cl, struct err *e);
    /* An rpc of the service's module. Fills cl->text and cl->json. */
    enum err_code (*call)(void *self, struct txn *t, struct call *cl, struct err *e);
    /* config-false data at schema path `provides` (NULL: none): JSON of the node at l->path. */
    const char *provides;
    /* What it answers and provides is more than the fold of its records, such as who is connected:
     * of several nodes only the one that leads can say it. */
    bool live;
    enum err_code (*look)(void *self, struct txn *t, struct look *l, struct err *e);
    /* Fills v->out (see core.h); may be NULL. */
    void (*values)(void *self, struct txn *t, struct values *v);
    void (*metrics)(void *self, struct buf *out); /* Prometheus text; may be NULL */
};

#endif
