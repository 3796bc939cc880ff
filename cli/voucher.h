// SPDX-License-Identifier: Apache-2.0
/*
 * `weft voucher`: a small authority for ownership vouchers (RFC 8366) of one's own devices. Files
 * in, files out; no daemon.
 */
#ifndef CLI_VOUCHER_H
#define CLI_VOUCHER_H

/* argv[0] is "voucher". The status of the program: WEFT_OK, WEFT_FAILED, WEFT_SYNTAX. */
int voucher_main(int argc, char **argv);

#endif
