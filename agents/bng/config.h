// SPDX-License-Identifier: Apache-2.0
/* The agent's configuration: one JSON file (docs/bng-agent.md). Every error names path and reason.
 */
#ifndef BNG_CONFIG_H
#define BNG_CONFIG_H

#include "base/err.h"
#include "bng/engine.h"

enum {
    BNG_MANAGERS_MAX = 4,
    BNG_PROFILES_MAX = 4096,
    BNG_PREFIXES_MAX = 256,
    BNG_SERVERS_MAX = 2, /* of a high-availability pair */
    BNG_INTERFACES_MAX = 64,
};

enum bng_adopt { BNG_ADOPT_NO, BNG_ADOPT_REPORT, BNG_ADOPT_YES };

struct bng_manager {
    char host[256], verify_name[256];
    uint16_t port;
};

/* What an interface of the profiles is on one server. */
struct bng_kea_interface {
    char profile[16], name[16];
    struct ip_addr address; /* the server's; family 0: that of the profile */
};

/* One Kea and the way to it: a unix socket here, or Kea's control agent over HTTP. */
struct bng_kea_server {
    char name[64]; /* for people; empty when there is only one */
    char socket[104];
    char host[256]; /* of the control agent; "": the socket */
    uint16_t port;
    bool tls;
    char certificate[512], key[512], ca[512]; /* of TLS; "": none */
    char config_file[512];                    /* written by us; "": Kea is told to write its own */
    struct bng_kea_interface interfaces[BNG_INTERFACES_MAX];
    size_t n_interfaces;
};

struct bng_kea_config {
    bool used;
    struct bng_kea_server *servers; /* one, or the two of a pair */
    size_t n_servers;
    bool trust_partner_down; /* pair.h: `trusts` */
    uint32_t interval_ms;    /* between counts */
    uint32_t coalesce_ms;    /* changes that subscribers wait for are gathered this long */
    uint32_t batch_ms;       /* others */
    uint32_t min_reload_ms;  /* between two reloads, at least */
    uint32_t timeout_ms;
    enum bng_adopt adopt;
};

struct bng_config {
    struct bng_settings settings; /* profiles and reserve point into this struct */
    struct bng_profile *profiles;
    size_t n_profiles;
    struct bng_reserve reserve;
    struct bng_manager managers[BNG_MANAGERS_MAX];
    size_t n_managers;
    bool clear_text;
    char certificate[512], key[512], ca[512];
    char state[512];       /* path of the durable state */
    char socket[104];      /* unix socket of status and metrics */
    struct ip_addr listen; /* family 0: no TCP */
    uint16_t listen_port;
    struct bng_kea_config kea, kea6; /* the DHCPv4 and the DHCPv6 server */
    struct {
        bool enabled;
        char pathspace[64], vtysh[256];
        uint32_t check_s, late_s;
    } frr;
};

/* Reads and checks the file. Free with bng_config_free, also after a failure. */
enum err_code bng_config_load(const char *file, struct bng_config *out, struct err *err);
enum err_code bng_config_parse(const char *text, size_t n, const char *file, struct bng_config *out,
                               struct err *err);
void bng_config_free(struct bng_config *c);

#endif
