// SPDX-License-Identifier: Apache-2.0
/* The client's configuration: one JSON file (docs/phone-home-client.md). Every error names path and
 * reason. */
#ifndef PHONE_HOME_CONFIG_H
#define PHONE_HOME_CONFIG_H

#include "phone-home/engine.h"
#include "phone-home/resolver.h"
#include "phone-home/storage.h"

enum { CONFIG_PATH_MAX = 255, CONFIG_LEASES_MAX = 32, CONFIG_SOCKET_MAX = 103 };

enum phc_platform_kind { PHC_LINUX_STACK, PHC_HOOKS, PHC_JUNOS };

enum { JUNOS_ARGS_MAX = 8 };
struct junos_config {
    char program[JUNOS_ARGS_MAX][CONFIG_PATH_MAX + 1]; /* speaks NETCONF on its stdin and stdout */
    size_t n_program;
    char socket[CONFIG_SOCKET_MAX + 1]; /* instead of it; "" none */
    int member_id;                      /* own; -1: the chassis marks it */
    bool validate;                      /* images, before they are installed */
    int64_t poll_ms, answer_ms;
};

struct phone_home_config {
    struct phc_config engine;
    char state[CONFIG_PATH_MAX + 1];
    char socket[CONFIG_SOCKET_MAX + 1]; /* of status; "" none */
    struct {
        enum phc_platform_kind kind;
        char socket[CONFIG_SOCKET_MAX + 1]; /* weft-stackd's */
        char folder[CONFIG_PATH_MAX + 1];   /* of hooks */
        char serial[CMS_SERIAL_MAX + 1];    /* of hooks; or by the files */
        char serial_file[CONFIG_PATH_MAX + 1];
        char model[SZTP_NAME_MAX + 1], os_name[SZTP_NAME_MAX + 1], os_version[SZTP_NAME_MAX + 1];
        char os_version_file[CONFIG_PATH_MAX + 1];
        struct junos_config junos;
    } platform;
    char certificate[CONFIG_PATH_MAX + 1], key[CONFIG_PATH_MAX + 1]; /* IDevID; "" none */
    char password_file[CONFIG_PATH_MAX + 1];
    bool password_to_untrusted;
    char server_anchors[CONFIG_PATH_MAX + 1], voucher_anchors[CONFIG_PATH_MAX + 1];
    struct storage storage;
    char leases[CONFIG_LEASES_MAX][CONFIG_PATH_MAX + 1]; /* patterns of glob(7) */
    size_t n_leases;
    struct resolver resolver; /* servers and domains that are added to those of the file */
    char resolv_conf[CONFIG_PATH_MAX + 1];
    char legacy_command[CONFIG_PATH_MAX + 1]; /* starts the device's own provisioning; "" none */
    uint64_t image_max;
    int64_t connect_ms, stall_ms;
};

enum err_code phone_home_config_load(const char *file, struct phone_home_config *out,
                                     struct err *err);
enum err_code phone_home_config_parse(const char *text, size_t n, const char *file,
                                      struct phone_home_config *out, struct err *err);

#endif
