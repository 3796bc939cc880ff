// SPDX-License-Identifier: Apache-2.0
/*
 * Which image a member boots. Two slots, "a" and "b"; "" is what the member came with. An image
 * that was installed is tried a number of times; when it never came up the member goes back to the
 * other.
 */
#ifndef PHONE_HOME_STACK_SLOTS_H
#define PHONE_HOME_STACK_SLOTS_H

#include "phone-home/stack/image.h"

struct slots {
    char directory[256];
    char current[2];                 /* that came up last */
    char next[2];                    /* that is to be tried; "" none */
    bool pending;                    /* `next` counts */
    unsigned tries;                  /* that are left */
    char failed[STACK_TEXT_MAX + 1]; /* version of an image that never came up; "" none */
};

/* The folder `directory`/slots is made. ERR_IO, ERR_MALFORMED. */
enum err_code slots_load(const char *directory, struct slots *out, struct err *e);
/* For one boot: what to run now, durably counted. *trial: it has not come up before. */
enum err_code slots_boot(struct slots *s, char slot[2], bool *trial, struct err *e);
/* What runs came up. */
enum err_code slots_came_up(struct slots *s, const char *slot, struct err *e);
/* Unpacks an image beside the slots and checks it (see image_unpack; `version` "": any); may be
 * done in another process. */
enum err_code slots_unpack(const char *directory, int fd, const char *version,
                           const uint8_t *digest, struct err *e);
/* Puts what was unpacked into the slot that does not run; it is tried at the next boots. */
enum err_code slots_take(struct slots *s, const char *running, unsigned tries, struct err *e);
/* Folder of a slot; "" for "". */
void slots_folder(const struct slots *s, const char *slot, char *out, size_t size);

#endif
