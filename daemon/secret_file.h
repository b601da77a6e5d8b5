/* Files that are named on the command line, read whole before anything starts. They may block. */
#ifndef DAEMON_SECRET_FILE_H
#define DAEMON_SECRET_FILE_H

enum { SECRET_FILE_KEY_MAX = 4096, SECRET_FILE_WHY_MAX = 512 };

/* The first line of `path` without blanks at its ends: 1 to SECRET_FILE_KEY_MAX printable ASCII bytes. As ssh does,
 * refuses a file of ours that others may read; whether one that belongs to somebody else is safe is for its owner to
 * say. 0 or a negative errno with a sentence in `why`, which never tells what is in the file. */
int secret_file_read_key(const char *path, char **out, char why[SECRET_FILE_WHY_MAX]);
/* Wipes and frees it; NULL does nothing. */
void secret_file_free_key(char *key);

/* A file of certificates, up to 1 MiB, for free(). 0 or a negative errno with a sentence in `why`. */
int secret_file_read_certificates(const char *path, char **out, char why[SECRET_FILE_WHY_MAX]);

#endif
