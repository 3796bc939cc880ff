// SPDX-License-Identifier: Apache-2.0
/* Text for other eyes: UTF-8, and what JSON and XML want escaped. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>

#include "base/buf.h"

/* Bytes of the UTF-8 character at p, where n > 0 bytes are; 0: it goes on behind them; -1: there is
 * none (RFC 3629: overlong forms and surrogates are none). */
int utf8_step(const uint8_t *p, size_t n);

/* Bytes of the character at s when it is UTF-8 and may be shown on a line of its reader's terminal;
 * 0: it is no UTF-8, a control character (C1 ones included, which terminals obey as well), one that
 * breaks the line or turns its direction, or no character at all (U+FFFE). */
size_t text_printable(const char *s);
/* Copies what somebody else has written (a peer, a program) so that it may stand in one line, in
 * JSON and in XML: what is not printable becomes a blank, blanks at the ends go, and what does not
 * fit into `size` bytes is cut off between two characters. out may not overlap s. */
void text_line(char *out, size_t size, const char *s);
/* The same of a printf. */
void text_linef(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds n bytes as the inside of a JSON string (RFC 8259); what is no UTF-8 becomes U+FFFD. Returns
 * how many bytes at the end are the beginning of a character, for those who write in pieces. */
size_t text_json_part(struct buf *out, const char *s, size_t n);
/* A whole JSON string with its quotes. */
void text_json(struct buf *out, const char *s);

enum text_xml_place { XML_CONTENT, XML_ATTRIBUTE /* between double quotes */ };
/* Adds character data of XML 1.0; what is no UTF-8 or no character of XML becomes U+FFFD. What a
 * parser would change (carriage returns, and blanks in an attribute) is written as a reference. */
void text_xml(struct buf *out, const char *s, enum text_xml_place place);

/* Adds one word of a command line, of set lines or of curly text: as it is, or between double
 * quotes with \" \\ \n \t \r where it would be read otherwise. */
void text_word(struct buf *out, const char *word);

/* Which quote of a command line is open at the end of the n bytes at p: ' or "; 0: none. Adds them
 * to `out`, where it is not NULL, as one line: newlines between quotes, which may be of a pasted
 * certificate, are written as escapes. What begins with # has no quotes. */
char text_one_line(struct buf *out, const char *p, size_t n);

/* "prefix" for one, "prefixes" for all others, as in "%u %s". */
const char *text_plural(uint64_t n, const char *one, const char *many);

#endif
