#include "plain.h"

bool plain_is_control(char c)
{
  return (unsigned char)c < ' ' || c == 0x7f;
}

void plain_text(char *text)
{
  for (; *text != '\0'; text++)
    if (plain_is_control(*text))
      *text = '?';
}

void plain_ascii(char *text)
{
  for (; *text != '\0'; text++)
    if (*text < ' ' || *text > '~')
      *text = '?';
}
