// SPDX-License-Identifier: Apache-2.0
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of what is stored. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0 for the first piece, the last result for each further one. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without help from the processor; here to be tested against. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n);

#endif
