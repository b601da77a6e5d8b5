/* The words are chosen by a hash, and a number follows them, so that forty million labels are possible: strangers do
 * not try them all, and two identities seldom meet. Neither the words nor their order may change, because labels would.
 */
#include "public_label.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { WORDS = 64, NUMBERS = 10000 };

static const char kinds[WORDS][8] = {
    "amber", "ample",  "azure",  "bold",  "brave", "brief",  "bright", "brisk", "broad", "calm",   "civil",
    "clean", "clear",  "cosy",   "crisp", "daily", "deep",   "dry",    "eager", "early", "even",   "fair",
    "fast",  "fine",   "firm",   "fond",  "fresh", "full",   "gentle", "glad",  "gold",  "grand",  "green",
    "happy", "high",   "honest", "jolly", "keen",  "kind",   "large",  "late",  "light", "lively", "loyal",
    "lucky", "mellow", "merry",  "mild",  "neat",  "new",    "noble",  "open",  "plain", "proud",  "quick",
    "quiet", "rapid",  "ready",  "round", "sharp", "silver", "solid",  "swift", "warm"};

static const char things[WORDS][8] = {
    "acorn",  "apple",  "arch",  "badger", "bay",    "beach", "birch",  "bridge", "brook",  "canyon", "cedar",
    "cliff",  "cloud",  "coast", "comet",  "coral",  "creek", "crane",  "dawn",   "delta",  "dune",   "eagle",
    "elm",    "falcon", "fern",  "field",  "finch",  "fjord", "forest", "fox",    "garden", "glade",  "grove",
    "harbor", "hare",   "hawk",  "hazel",  "heron",  "hill",  "island", "ivy",    "jay",    "lake",   "lark",
    "leaf",   "lily",   "maple", "marsh",  "meadow", "mesa",  "moon",   "oak",    "ocean",  "otter",  "owl",
    "pine",   "plum",   "pond",  "reef",   "river",  "robin", "spring", "valley", "willow"};

void public_label_make(const uint8_t identity[IDENTITY_SIZE], const char *service, bool tls, uint32_t attempt,
                       char out[PUBLIC_LABEL_SIZE])
{
  static const uint8_t purpose[] = "mindmeld label";
  const uint8_t tail[] = {tls, (uint8_t)attempt, (uint8_t)(attempt >> 8), (uint8_t)(attempt >> 16),
                          (uint8_t)(attempt >> 24)};
  uint8_t hash[16];
  crypto_generichash_state state;

  crypto_generichash_init(&state, NULL, 0, sizeof hash);
  crypto_generichash_update(&state, purpose, sizeof purpose - 1);
  crypto_generichash_update(&state, identity, IDENTITY_SIZE);
  crypto_generichash_update(&state, (const uint8_t *)service, strlen(service) + 1);
  crypto_generichash_update(&state, tail, sizeof tail);
  crypto_generichash_final(&state, hash, sizeof hash);
  snprintf(out, PUBLIC_LABEL_SIZE, "%s-%s-%04u", kinds[hash[0] % WORDS], things[hash[1] % WORDS],
           (unsigned)((hash[2] | hash[3] << 8 | hash[4] << 16) % NUMBERS));
}
