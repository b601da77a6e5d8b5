/* What TSan cannot see, since gRPC is not built for it: that a completion comes after its start. */
#ifndef PROTO_RPC_TSAN_H
#define PROTO_RPC_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define RPC_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RPC_TSAN
#endif
#endif

#ifdef RPC_TSAN
#include <sanitizer/tsan_interface.h>
#define RPC_TSAN_RELEASE(address) __tsan_release(address)
#define RPC_TSAN_ACQUIRE(address) __tsan_acquire(address)
#else
#define RPC_TSAN_RELEASE(address) ((void)(address))
#define RPC_TSAN_ACQUIRE(address) ((void)(address))
#endif

#endif
