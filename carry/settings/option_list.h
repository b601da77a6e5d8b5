/* What follows -o: a list of options, each of which is a row of a table. Pure. */
#ifndef CARRY_OPTION_LIST_H
#define CARRY_OPTION_LIST_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTION_WHY_MAX = 512 };

enum option_kind {
  OPTION_FLAG,    /* name */
  OPTION_FILE,    /* name=FILE */
  OPTION_SIZE,    /* name=SIZE */
  OPTION_SECONDS, /* name=SECONDS */
  OPTION_SWITCH,  /* name=on or name=off */
  OPTION_OPEN,    /* name or name=ANYTHING */
  OPTION_PREFIX,  /* nameANYTHING */
};

struct option_list;
struct settings;

struct option_row {
  const char *name;
  enum option_kind kind;
  int (*apply)(struct option_list *l, const char *name, const char *value);
};

/* Filled in by whoever reads a command line. */
struct option_list {
  const char *program;           /* to which a mistake points: "mmfs" */
  struct settings *settings;     /* what the rows of settings.c fill */
  const struct option_row *rows; /* the program's own, which may be none, and what those fill */
  size_t count;
  void *out;
  bool sloppy; /* unknown options are passed over */
  char *why;   /* OPTION_WHY_MAX bytes */
};

/* -EINVAL, with the sentence in l->why. */
int option_refuse(struct option_list *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -ENOMEM, with a sentence. */
int option_out_of_memory(struct option_list *l);
/* *slot becomes a copy. */
int option_set_text(struct option_list *l, char **slot, const char *text);

/* Takes what stands after one -o: 0, or a negative errno with a sentence. */
int option_list_take(struct option_list *l, const char *text);
/* The option that has this name, with what follows it in *value ("=FILE"), or NULL. */
const char *option_list_name(const struct option_list *l, const char *name, const char **value);

#endif
