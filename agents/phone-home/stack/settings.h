// SPDX-License-Identifier: Apache-2.0
/* The settings file of weft-stackd, JSON; docs/stack.md has its members. */
#ifndef PHONE_HOME_STACK_SETTINGS_H
#define PHONE_HOME_STACK_SETTINGS_H

#include "phone-home/stack/engine.h"

enum {
    SETTINGS_PATH_MAX = 256,
    SETTINGS_SERVICES_MAX = 8,
    SETTINGS_ARGS_MAX = 16,
    SETTINGS_ZEROIZE_MAX = 8,
};
#define STACKD_SOCKET "/run/weft-stackd/stackd.sock"

struct stackd_settings {
    struct stack_settings stack;
    char directory[SETTINGS_PATH_MAX]; /* all that lasts */
    char socket[100];
    char hook[SETTINGS_PATH_MAX]; /* applies configurations; "" none */
    char *services[SETTINGS_SERVICES_MAX][SETTINGS_ARGS_MAX + 1]; /* run while the member is up */
    size_t n_services;
    char *zeroize[SETTINGS_ZEROIZE_MAX]; /* more folders that are emptied by zeroizing */
    size_t n_zeroize;
    unsigned boot_tries; /* of an image that never came up; 1..10 */
    int64_t init_ms;     /* an image's `init` may take */
    int64_t trial_ms;    /* a new image is up for so long, then it stays */
    bool clock_trusted;  /* the wall's clock is right, whatever the system says */
};

/* ERR_IO, ERR_MALFORMED, ERR_INVALID, ERR_MISSING, ERR_UNKNOWN with file and member as path. */
enum err_code stackd_settings_load(const char *file, struct stackd_settings *out, struct err *e);
enum err_code stackd_settings_parse(const char *text, size_t n, struct stackd_settings *out,
                                    struct err *e);
void stackd_settings_free(struct stackd_settings *s);

#endif
