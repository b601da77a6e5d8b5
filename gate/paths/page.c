#include "page.h"

#include <string.h>

static const char *sentence(unsigned status)
{
  switch (status) {
  case 404:
    return "There is nothing under this name.";
  case 408:
    return "The request took too long to arrive.";
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

void page_write(struct http1_out *out, unsigned status, bool to_head, bool close)
{
  const char *text = sentence(status);

  http1_write_status_line(out, status, (struct http1_text){"", 0});
  http1_out_puts(out, "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: ");
  http1_out_number(out, strlen(text) + 1);
  http1_out_puts(out, "\r\n");
  if (status == 503)
    http1_out_puts(out, "Retry-After: 5\r\n");
  if (status == 405)
    http1_out_puts(out, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n");
  http1_out_puts(out, close ? "Connection: close\r\n\r\n" : "\r\n");
  if (to_head)
    return;
  http1_out_puts(out, text);
  http1_out_puts(out, "\n");
}
