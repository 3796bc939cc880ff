// SPDX-License-Identifier: Apache-2.0
/* Text for other eyes: UTF-8, and what JSON and XML want escaped. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/buf.h"

/* Bytes of the UTF-8 character at p, where n > 0 bytes are; 0: it goes on behind them; -1: there is
 * none (RFC 3629: overlong forms and surrogates are none). */
int utf8_step(const uint8_t *p, size_t n);

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

#endif
