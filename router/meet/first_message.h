/* What the first message of a connection's stream says. Pure; any thread. */
#ifndef ROUTER_FIRST_MESSAGE_H
#define ROUTER_FIRST_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/wire/header.h"
#include "proto/wire/status.h"
#include "proto/wire/token_stream.h"

struct rpc_message;

/* Connect: a Payload.header. RPC_OK, or how to refuse it, with a sentence in `why`. */
enum rpc_status first_message_header(const struct rpc_message *m, struct header *out, const char **why);

/* The same, of bytes. */
enum rpc_status first_message_read(const void *bytes, size_t size, struct header *out, const char **why);

/* ProxyConnection: a message of data in which the token stands, or a part of it. RPC_OK, or how to refuse it. *done:
 * `t` holds the token, and *rest the traffic that followed it in the same message, or NULL; the caller frees. */
enum rpc_status first_message_token(const struct rpc_message *m, struct token_stream *t, bool *done,
                                    struct rpc_message **rest, const char **why);

#endif
