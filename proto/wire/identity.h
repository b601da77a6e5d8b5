/* Who a daemon is: an identity lasts, and is an Ed25519 key pair; a member is one process of it, and is named by the
 * hash of a secret key of its own, so that nobody can take a member's name without having its key. Any thread.
 */
#ifndef PROTO_IDENTITY_H
#define PROTO_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "header.h"

enum {
  IDENTITY_SEED_SIZE = 32, /* the secret */
  IDENTITY_SIZE = 32,      /* the public key */
  IDENTITY_CHALLENGE_SIZE = 32,
  IDENTITY_SIGNATURE_SIZE = 64,
};

/* What is signed to join a router. */
struct identity_claim {
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE];
  uint8_t identity[IDENTITY_SIZE];
  uint8_t member[HEADER_MEMBER_SIZE];
  uint64_t instance;
};

/* Fills with random bytes. */
void identity_random(void *out, size_t size);
void identity_of_seed(const uint8_t seed[IDENTITY_SEED_SIZE], uint8_t out[IDENTITY_SIZE]);
void identity_sign(const struct identity_claim *claim, const uint8_t seed[IDENTITY_SEED_SIZE],
                   uint8_t out[IDENTITY_SIGNATURE_SIZE]);
bool identity_verify(const struct identity_claim *claim, const uint8_t signature[IDENTITY_SIGNATURE_SIZE]);
void member_of_key(const uint8_t key[HEADER_MEMBER_KEY_SIZE], uint8_t out[HEADER_MEMBER_SIZE]);

#endif
