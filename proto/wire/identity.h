/* Identities and members. An identity is an Ed25519 key pair that lasts from process to process. A member is one
 * process; its name is the hash of a random secret, so that nobody can use the name without the secret. Any thread.
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
/* The name of the process that has this key: its BLAKE2b hash, a digest of 16 bytes. (Of BLAKE2b, a shorter digest is
 * not the beginning of a longer one.) */
void member_of_key(const uint8_t key[HEADER_MEMBER_KEY_SIZE], uint8_t out[HEADER_MEMBER_SIZE]);

#endif
