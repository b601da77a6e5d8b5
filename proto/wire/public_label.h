/* The label that "auto" is: words, the same ones for an identity and its service at every router. Pure; any thread. */
#ifndef PROTO_PUBLIC_LABEL_H
#define PROTO_PUBLIC_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

enum { PUBLIC_LABEL_SIZE = 32 };

/* `attempt` is 0, or more when the label before is somebody else's. */
void public_label_make(const uint8_t identity[IDENTITY_SIZE], const char *service, bool tls, uint32_t attempt,
                       char out[PUBLIC_LABEL_SIZE]);

#endif
