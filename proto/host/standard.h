/* Repairs what our parent may have left in another state than a program expects. */
#ifndef PROTO_STANDARD_H
#define PROTO_STANDARD_H

/* What is closed becomes /dev/null; ends the program if that cannot be. The next files to be opened would take their
 * places, and the log would be written into one of those. Libraries open files in their constructors: a program has
 * this in its .preinit_array. */
void standard_open(void);

/* No signal is blocked, and those that we rely on do what they do by default, though they were ignored: a child's end
 * is waited for, an alarm ends us. SIGPIPE and SIGXFSZ are ignored: both are errors of a write as well. What was said
 * of SIGHUP and SIGINT stays. Before any thread exists. */
void standard_signals(void);

#endif
