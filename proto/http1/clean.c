#include "clean.h"

static bool is_one_of(struct http1_text name, const char *const *words)
{
  while (*words != NULL)
    if (grammar_is_word(name, *words++))
      return true;
  return false;
}

/* Nobody may have these dropped by naming them: without them it is another request. */
static bool is_kept(struct http1_text name)
{
  static const char *const words[] = {"host",    "content-length", "transfer-encoding", "authorization", "cookie",
                                      "upgrade", "connection",     "forwarded",         "expect",        NULL};
  return is_one_of(name, words) ||
         (name.size > 12 && grammar_is_word((struct http1_text){name.at, 12}, "x-forwarded-"));
}

static void drop_named(struct http1_head *h, struct http1_text list)
{
  struct http1_text name;
  while (grammar_next(&list, &name))
    for (unsigned i = 0; i < h->count && !is_kept(name); i++)
      if (grammar_equal(http1_head_name(h, i), name))
        h->fields[i].dropped = true;
}

void http1_clean_head(struct http1_head *h, bool upgrade)
{
  static const char *const between[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "proxy-authorization",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "content-length",
                                        "http2-settings",
                                        "proxy-authenticate",
                                        "proxy-authentication-info",
                                        NULL};
  for (unsigned i = 0; i < h->count; i++)
    if (grammar_is_word(http1_head_name(h, i), "connection"))
      drop_named(h, http1_head_value(h, i));
  for (unsigned i = 0; i < h->count; i++)
    if (is_one_of(http1_head_name(h, i), between) || (!upgrade && grammar_is_word(http1_head_name(h, i), "upgrade")))
      h->fields[i].dropped = true;
}

void http1_clean_trailers(struct http1_head *h, unsigned from)
{
  static const char *const words[] = {"content-length",
                                      "transfer-encoding",
                                      "host",
                                      "connection",
                                      "keep-alive",
                                      "te",
                                      "trailer",
                                      "upgrade",
                                      "expect",
                                      "authorization",
                                      "cookie",
                                      "set-cookie",
                                      "content-type",
                                      "content-encoding",
                                      "content-range",
                                      "proxy-authorization",
                                      "range",
                                      "forwarded",
                                      "cache-control",
                                      "max-forwards",
                                      "proxy-authenticate",
                                      "www-authenticate",
                                      NULL};
  for (unsigned i = from; i < h->count; i++) {
    struct http1_text name = http1_head_name(h, i);
    if (is_one_of(name, words) || is_kept(name))
      h->fields[i].dropped = true;
  }
}
