/* Text that others wrote, on its way into a line of ours: it must not end the line, nor move a terminal. Pure. */
#ifndef PROTO_PLAIN_H
#define PROTO_PLAIN_H

#include <stdbool.h>

/* A control character of ASCII. */
bool plain_is_control(char c);
/* Each of them becomes "?", in place. */
void plain_text(char *text);
/* So does each byte that is not printable ASCII. */
void plain_ascii(char *text);

#endif
