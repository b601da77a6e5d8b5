/* What characters HTTP allows where (RFC 9110, 5.6; RFC 3986), and lists in field values. Pure. Any thread. */
#ifndef PROTO_HTTP1_GRAMMAR_H
#define PROTO_HTTP1_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

/* Text of others: it has no NUL at its end. */
struct http1_text {
  const char *at;
  size_t size;
};

bool grammar_is_token(struct http1_text t);
bool grammar_is_token_character(unsigned char c);
/* In a field's value: what is visible, spaces and tabs, and bytes above 0x7f. */
bool grammar_is_value_character(unsigned char c);
/* In a request's target: what is visible in ASCII, but for "#". */
bool grammar_is_target_character(unsigned char c);
/* -1: no hexadecimal digit. */
int grammar_hex_digit(unsigned char c);

/* Without regard to case; `word` is lower case. */
bool grammar_is_word(struct http1_text t, const char *word);
bool grammar_equal(struct http1_text a, struct http1_text b);
/* Without spaces and tabs around it. */
struct http1_text grammar_trim(struct http1_text t);
/* Takes the next element off a list with commas between; empty elements are passed over. False: there is none. */
bool grammar_next(struct http1_text *list, struct http1_text *element);

#endif
