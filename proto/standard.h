/* Descriptors 0 to 2, of which who started us may have closed some. */
#ifndef PROTO_STANDARD_H
#define PROTO_STANDARD_H

/* What is closed becomes /dev/null; ends the program if that cannot be. The next files to be opened would take their
 * places, and the log would be written into one of those. Libraries open files in their constructors: a program has
 * this in its .preinit_array. */
void standard_open(void);

#endif
