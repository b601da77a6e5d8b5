/* What ServerBuilder::experimental().AddExternalConnectionAcceptor does in C++, in C: gRPC is given an address
 * "external:NAME" to listen at, and an argument of that name that points to a pointer; there it puts its handler of
 * connections, a grpc_core::TcpServerFdHandler, whose only method takes a descriptor.
 *
 * An object of C++ begins with a pointer to its class's table (Itanium ABI): two destructors and then that method are
 * in it; before them stands what typeid tells, which names the class that it derives from. The table is used only if
 * that is gRPC's TcpServerFdHandler, and if the method lies in gRPC.
 */
#include "rpc_handed.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BASE_TYPE "_ZTIN9grpc_core18TcpServerFdHandlerE"

enum { TYPE = -1, HANDLE = 2 }; /* places in the table */

typedef void (*handle_cb)(void *handler, int listener, int fd, struct grpc_byte_buffer *read_before);

/* typeid of a class that derives from one other (__cxxabiv1::__si_class_type_info). */
struct type_info {
  const void *table;
  const char *name;
  const struct type_info *base;
};

static const void *const *table_of(const void *handler)
{
  return *(const void *const *const *)handler;
}

static handle_cb method_of(const void *handler)
{
  handle_cb method;
  memcpy(&method, &table_of(handler)[HANDLE], sizeof method);
  return method;
}

static const void *object_of(const void *address)
{
  Dl_info info;
  return address != NULL && dladdr(address, &info) != 0 ? info.dli_fbase : NULL;
}

/* Whether the handler is what it is taken for. */
static bool is_handler(const void *handler)
{
  const struct type_info *expected = dlsym(RTLD_DEFAULT, BASE_TYPE);
  void *of_grpc = dlsym(RTLD_DEFAULT, "grpc_server_create");
  if (handler == NULL || expected == NULL || object_of(of_grpc) == NULL)
    return false;
  const void *const *table = table_of(handler);
  if (object_of(table) != object_of(of_grpc) || object_of(table[TYPE]) != object_of(of_grpc))
    return false;
  const struct type_info *type = table[TYPE];
  return type->base == expected && object_of(table[HANDLE]) == object_of(of_grpc);
}

int rpc_handed_open(struct rpc_handed *h)
{
  h->handler = NULL;
  return -pthread_mutex_init(&h->lock, NULL);
}

void rpc_handed_close(struct rpc_handed *h)
{
  pthread_mutex_destroy(&h->lock);
}

static void *same(void *p)
{
  return p;
}

static void nothing(void *p)
{
  (void)p;
}

static int compare(void *a, void *b)
{
  return (a > b) - (a < b);
}

void rpc_handed_add_arg(struct rpc_handed *h, struct rpc_args *args)
{
  static const grpc_arg_pointer_vtable by_address = {same, nothing, compare};
  rpc_args_add_pointer(args, RPC_HANDED_ADDRESS, &h->handler, &by_address);
}

bool rpc_handed_begin(struct rpc_handed *h, grpc_server *server, grpc_server_credentials *credentials)
{
  /* Returns 0, as if it had failed. */
  grpc_server_add_http2_port(server, RPC_HANDED_ADDRESS, credentials);
  if (!is_handler(h->handler))
    h->handler = NULL;
  return h->handler != NULL;
}

void rpc_handed_end(struct rpc_handed *h)
{
  pthread_mutex_lock(&h->lock);
  h->handler = NULL;
  pthread_mutex_unlock(&h->lock);
}

void rpc_handed_take(struct rpc_handed *h, int fd)
{
  /* As gRPC would set it on what it accepts, from the time that its pings have for an answer. */
  const unsigned answer_ms = RPC_SERVER_ANSWER_MS;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &answer_ms, sizeof answer_ms);
  pthread_mutex_lock(&h->lock);
  if (h->handler != NULL)
    method_of(h->handler)(h->handler, -1, fd, NULL);
  else
    close(fd);
  pthread_mutex_unlock(&h->lock);
}
