"""A router behind a front that passes HTTP/2 on, as mmrouter(1) says how: a front lets only so many streams on one connection, and a mount has more."""
import contextlib
import signal

import pytest

from harness import Echo, Program, dial, eventually, free_port, hear_exactly

NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-errors.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {options}
  server {{
    listen 127.0.0.1:{port} http2;
    location / {{
      grpc_pass grpc://{router};
      client_max_body_size 0;
    }}
  }}
}}
"""

HAPROXY = """
global
  {options}
defaults
  mode http
  timeout connect 5s
  timeout client 1d
  timeout server 1d
frontend front
  bind 127.0.0.1:{port} proto h2
  default_backend router
backend router
  server router {router} proto h2
"""

NGHTTPX = """
frontend=127.0.0.1,{port};no-tls
backend=127.0.0.1,{router_port};;proto=h2
workers=1
pid-file={directory}/nghttpx.pid
errorlog-file={directory}/nghttpx-errors.log
{options}
"""

# Its settings, and how it is started.
FRONTS = {
    "nginx": (NGINX, ["/usr/sbin/nginx", "-p", "{directory}", "-c", "{settings}"]),
    "haproxy": (HAPROXY, ["/usr/sbin/haproxy", "-db", "-f", "{settings}"]),
    "nghttpx": (NGHTTPX, ["/usr/sbin/nghttpx", "--conf={settings}"]),
}


class Front(Program):
    def __init__(self, directory, kind, router, options="", port=None):
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        text, command = FRONTS[kind]
        settings = directory / f"{kind}.conf"
        settings.write_text(text.format(directory=directory, port=self.port, router=router.address, router_port=router.port, options=options))
        super().__init__(directory, kind, [word.format(directory=directory, settings=settings) for word in command])
        self.expected_exit = {"nginx": 0, "haproxy": -signal.SIGTERM, "nghttpx": -signal.SIGTERM}[kind]

    def listens(self):
        with dial(self.port):
            return True


CONNECTIONS = 300


# Their own numbers are 128, 100 and 100.
@pytest.mark.parametrize("kind, options", [("nginx", ""), ("haproxy", ""), ("nghttpx", ""), ("nginx", "http2_max_concurrent_streams 40;")])
def test_more_connections_than_a_front_allows_streams(world, router, kind, options):
    front = world.add(Front(world.directory, kind, router, options))
    eventually(front.listens)
    near, far = world.mount(front), world.mount(front)
    far.service("echo", world.target(Echo).address)
    port = near.forward("echo")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(CONNECTIONS)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%05d" % number)
        for number, connection in enumerate(connections):
            assert hear_exactly(connection, 5) == b"%05d" % number
        assert near.values("status")["live"] == str(CONNECTIONS)
        # More than a front takes of one request, unless it is told.
        size = 3 << 20
        connections[0].sendall(bytes(size))
        assert hear_exactly(connections[0], size) == bytes(size)
    for mount in (near, far):
        assert mount.values("status")["failed"] == "0"
        assert not [line for line in mount.read("events").splitlines() if "detached" in line]
