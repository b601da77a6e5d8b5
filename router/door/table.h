/* uthash as it is used here: an insertion may fail, which shows as a NULL hh.tbl; and a hash function without a switch
 * that falls through. */
#ifndef ROUTER_TABLE_H
#define ROUTER_TABLE_H

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV
#include <uthash.h>

#endif
