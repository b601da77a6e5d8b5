/* What the kernel tells of a TCP connection's segments. */
#ifndef SEGMENTS_H
#define SEGMENTS_H

#include <stdbool.h>

unsigned segments_in(int fd);           /* since it began, acknowledgements among them */
bool segments_are_acknowledged(int fd); /* all that it sent, its end too */

#endif
