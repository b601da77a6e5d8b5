#include "page.h"

#include <string.h>

static const char *sentence(unsigned status)
{
  switch (status) {
  case 308:
    return "It is found with TLS only.";
  case 403:
    return "You may not come here.";
  case 404:
    return "There is nothing under this name.";
  case 408:
    return "The request took too long to arrive.";
  case 421:
    return "This name wants a connection of its own.";
  case 500:
    return "The gateway is short of resources.";
  case 502:
    return "The server behind this name gave no proper answer.";
  case 503:
    return "Nobody serves this name at the moment.";
  case 504:
    return "The server behind this name did not answer in time.";
  default:
    return "The request was not understood.";
  }
}

void page_write(struct http1_out *out, const struct page *page, bool to_head, bool close)
{
  const char *text = page->type == NULL ? sentence(page->status) : "";

  http1_write_status_line(out, page->status, (struct http1_text){"", 0});
  http1_out_puts(out, "Content-Type: ");
  http1_out_puts(out, page->type != NULL ? page->type : "text/plain; charset=utf-8");
  http1_out_puts(out, "\r\nCache-Control: no-store\r\nContent-Length: ");
  http1_out_number(out, page->type != NULL ? page->body.size : strlen(text) + 1);
  http1_out_puts(out, "\r\n");
  if (page->field != NULL)
    http1_out_field(out, page->field, page->value);
  if (page->status == 503)
    http1_out_puts(out, "Retry-After: 5\r\n");
  if (page->status == 405)
    http1_out_puts(out, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n");
  http1_out_puts(out, close ? "Connection: close\r\n\r\n" : "\r\n");
  if (to_head)
    return;
  if (page->type != NULL) {
    http1_out_text(out, page->body);
  } else {
    http1_out_puts(out, text);
    http1_out_puts(out, "\n");
  }
}
