/* How the programs end: what the units go by, and the tables in the manual pages say. */
#ifndef PROTO_EXIT_STATUS_H
#define PROTO_EXIT_STATUS_H

enum {
  EXIT_AGAIN = 1, /* another try may succeed, as when a port is taken */
  EXIT_FINAL = 2, /* somebody has to change something first */
};

/* Of an errno, negative, with which a start failed; 0 for 0. */
int exit_status(int error);

#endif
