// SPDX-License-Identifier: Apache-2.0
/*
 * Intrusive doubly linked list. The head is a node whose neighbours are itself while the list is
 * empty; a node that is in no list is zeroed or points at itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
    return l->next == l || l->next == NULL;
}
static inline void list_append(struct list *head, struct list *n) {
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void list_prepend(struct list *head, struct list *n) {
    list_append(head->next, n);
}
static inline void list_remove(struct list *n) {
    if (n->next != NULL) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
    }
    list_init(n);
}

#define LIST_FOREACH(pos, head)                                                                    \
    for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* Allows `pos` to be removed inside the loop. */
#define LIST_FOREACH_SAFE(pos, head)                                                               \
    for (struct list *pos = (head)->next, *pos##_next_ = pos->next; pos != (head);                 \
         pos = pos##_next_, pos##_next_ = pos->next)

#endif
