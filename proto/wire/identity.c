#include "identity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char purpose[] = "mindmeld join";

enum {
  PURPOSE_SIZE = sizeof purpose - 1,
  TEXT_SIZE = PURPOSE_SIZE + IDENTITY_CHALLENGE_SIZE + IDENTITY_SIZE + HEADER_MEMBER_SIZE + 8,
};

/* Harmless when it is done already; it fails only where there is no source of randomness at all. */
static void start(void)
{
  if (sodium_init() < 0)
    abort();
}

void identity_random(void *out, size_t size)
{
  start();
  randombytes_buf(out, size);
}

static uint8_t *put(uint8_t *to, const void *from, size_t size)
{
  memcpy(to, from, size);
  return to + size;
}

static void write_text(const struct identity_claim *c, uint8_t out[TEXT_SIZE])
{
  uint8_t *to = put(out, purpose, PURPOSE_SIZE);
  to = put(to, c->challenge, sizeof c->challenge);
  to = put(to, c->identity, sizeof c->identity);
  to = put(to, c->member, sizeof c->member);
  for (size_t i = 0; i < 8; i++)
    to[i] = (uint8_t)(c->instance >> 8 * i);
}

void identity_of_seed(const uint8_t seed[IDENTITY_SEED_SIZE], uint8_t out[IDENTITY_SIZE])
{
  uint8_t secret[crypto_sign_SECRETKEYBYTES];
  start();
  crypto_sign_seed_keypair(out, secret, seed);
  sodium_memzero(secret, sizeof secret);
}

void identity_sign(const struct identity_claim *claim, const uint8_t seed[IDENTITY_SEED_SIZE],
                   uint8_t out[IDENTITY_SIGNATURE_SIZE])
{
  uint8_t text[TEXT_SIZE], public_key[IDENTITY_SIZE], secret[crypto_sign_SECRETKEYBYTES];
  start();
  write_text(claim, text);
  crypto_sign_seed_keypair(public_key, secret, seed);
  crypto_sign_detached(out, NULL, text, sizeof text, secret);
  sodium_memzero(secret, sizeof secret);
}

bool identity_verify(const struct identity_claim *claim, const uint8_t signature[IDENTITY_SIGNATURE_SIZE])
{
  uint8_t text[TEXT_SIZE];
  start();
  write_text(claim, text);
  return crypto_sign_verify_detached(signature, text, sizeof text, claim->identity) == 0;
}

void member_of_key(const uint8_t key[HEADER_MEMBER_KEY_SIZE], uint8_t out[HEADER_MEMBER_SIZE])
{
  start();
  crypto_generichash(out, HEADER_MEMBER_SIZE, key, HEADER_MEMBER_KEY_SIZE, NULL, 0);
}
