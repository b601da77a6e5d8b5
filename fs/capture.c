/* libfuse and fusermount3 tell why a mount failed, but only to stderr, and the latter from a process of its own. So
 * while a mount is tried, stderr is a file in memory. */
#include "fs/fs_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fs_capture_begin(struct fs_capture *capture)
{
  fflush(stderr);
  capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  capture->file = memfd_create("stderr", MFD_CLOEXEC);
  if (capture->file >= 0 && capture->saved >= 0)
    dup2(capture->file, STDERR_FILENO);
}

/* The last line is the one that tells the cause: "fusermount3: ..." or "fuse: ...". */
static void pick_sentence(char *text, size_t size, char *message, size_t message_size)
{
  text[size] = '\0';
  while (size > 0 && text[size - 1] == '\n')
    text[--size] = '\0';
  char *line = strrchr(text, '\n');
  line = line == NULL ? text : line + 1;
  if (line[0] != '\0')
    snprintf(message, message_size, "%s", line);
}

static void pass_on(int file)
{
  char part[1024];
  off_t at = 0;
  ssize_t got = 0;
  while ((got = pread(file, part, sizeof(part), at)) > 0) {
    if (write(STDERR_FILENO, part, (size_t)got) < 0)
      return;
    at += got;
  }
}

void fs_capture_end(struct fs_capture *capture, char *message, size_t message_size)
{
  fflush(stderr);
  if (capture->file >= 0 && capture->saved >= 0)
    dup2(capture->saved, STDERR_FILENO);
  if (capture->file >= 0) {
    char text[1024];
    ssize_t got = message == NULL ? 0 : pread(capture->file, text, sizeof(text) - 1, 0);
    if (got > 0)
      pick_sentence(text, (size_t)got, message, message_size);
    if (message == NULL)
      pass_on(capture->file);
    close(capture->file);
  }
  if (capture->saved >= 0)
    close(capture->saved);
}
