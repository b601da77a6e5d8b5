"""What a write means: line by line, from every tool that a shell user has."""
import errno
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess

import pytest

from harness import OWN_SERVICE, PATIENCE, Echo, Router, bash, dial, eventually, exchange, expect_listener, free_port, refused, run_any

BAD_TARGETS = [
    ("nonsense", errno.EINVAL),
    (":8080", errno.EINVAL),
    ("0", errno.EINVAL),
    ("70000", errno.EINVAL),
    ("host:", errno.EINVAL),
    ("host:0", errno.EINVAL),
    ("host:65536", errno.EINVAL),
    ("host:-1", errno.EINVAL),
    ("host:80x", errno.EINVAL),
    ("host:80 host:81", errno.EINVAL),
    ("::1:80", errno.EINVAL),
    ("[::1]", errno.EINVAL),
    ("[::1:80", errno.EINVAL),
    ("[nonsense]:80", errno.EINVAL),
    ("http://host:80/", errno.EINVAL),
    ("ho st:80", errno.EINVAL),
    ("host:80\0", errno.EINVAL),
    ("h\u00f6st:80", errno.EINVAL),
    ("unix:", errno.EINVAL),
    ("unix:relative", errno.EINVAL),
    ("unix:/" + "x" * 107, errno.ENAMETOOLONG),
    ("x" * 254 + ":80", errno.ENAMETOOLONG),
    ("x" * 5000, errno.E2BIG),
]


def short(value):
    return ascii(value)[1:20] if isinstance(value, str) else errno.errorcode.get(value, "fine")


@pytest.fixture(scope="module")
def pair(module_world):
    router = module_world.router()
    a, b = module_world.mount(router, name="A"), module_world.mount(router, name="B")
    a.service("web", "localhost:80")
    a.service("other", module_world.target(Echo).address)
    b.sees("web")
    b.sees("other")
    return a, b


@pytest.mark.parametrize("text,number", BAD_TARGETS, ids=short)
def test_bad_targets(pair, text, number):
    a, _ = pair
    a.refuses(number, "services/web/target", text + "\n")
    assert a.read("services/web/target") == "localhost:80\n" and a.state("web") == "online"


BAD_LISTENERS = [
    ("nonsense", errno.EINVAL),
    ("65536", errno.EINVAL),
    ("-1", errno.EINVAL),
    ("1.2.3:80:90", errno.EINVAL),
    ("host:", errno.EINVAL),
    ("[::1]", errno.EINVAL),
    ("unix:relative", errno.EINVAL),
    ("unix:/" + "x" * 107, errno.ENAMETOOLONG),
    ("x" * 5000, errno.E2BIG),
    ("192.0.2.1:0", errno.EADDRNOTAVAIL),
    ("[2001:db8::1]:0", errno.EADDRNOTAVAIL),
    ("no-such-host.invalid:0", errno.EADDRNOTAVAIL),
    ("unix:/no/such/folder/socket", errno.ENOENT),
]


@pytest.fixture
def forward(pair):
    """The forwarding mount, with no forwards afterwards."""
    _, b = pair
    yield b
    for name in b.listing("forwards"):
        os.unlink(b / "forwards" / name)


@pytest.mark.parametrize("text,number", BAD_LISTENERS, ids=short)
def test_bad_listeners(forward, text, number):
    forward.refuses(number, "forwards/other", text + "\n")
    assert forward.listing("forwards") == []
    forward.write("forwards/other", "0\n")
    before = forward.read("forwards/other")
    forward.refuses(number, "forwards/other", text + "\n")
    forward.refuses(number, "forwards/other", text + "\n", os.O_APPEND)
    assert forward.read("forwards/other") == before
    assert exchange(forward.ports("other")[0], b"x") == b"x"


def test_a_port_that_is_taken(forward):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forward.refuses(errno.EADDRINUSE, "forwards/web", f"{taken.getsockname()[1]}\n")
    assert forward.listing("forwards") == []
    forward.write("forwards/web", "0\n")
    forward.refuses(errno.EADDRINUSE, "forwards/other", f"{forward.ports('web')[0]}\n")
    assert forward.listing("forwards") == ["web"]


def test_what_cannot_become_good_is_refused_in_its_write(pair, forward):
    """A shell does not hear what close(2) says: so what no further byte could mend is refused before there is a newline."""
    a, _ = pair
    forward.write("forwards/other", "0\n")
    before = forward.read("forwards/other")
    for mount, path, text, number in [
        (forward, "forwards/nosuch", "9001", errno.ENOENT),
        (forward, "forwards/nosuch", "u", errno.ENOENT),
        *((forward, "forwards/other", text, number) for text, number in BAD_LISTENERS if number in (errno.EINVAL, errno.ENAMETOOLONG)
          and text not in ("nonsense", "host:", "[::1]")),
        (forward, "forwards/other", "9001 # web", errno.EINVAL),
        (forward, "forwards/other", "70000", errno.EINVAL),
        *((a, "services/web/target", text, number) for text, number in BAD_TARGETS
          if text not in ("nonsense", "host:", "host:0", "0", "[::1]", "unix:", "[::1:80")),
        (a, "services/web/target", "localhost:81\nlo", None),
        (a, "services/new", "localhost:80 or so", errno.EINVAL),
    ]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        said = len(mount.errors())
        descriptor = os.open(mount / path, flags)
        try:
            if number is None:  # a second line
                assert os.write(descriptor, text.encode()) == text.index("\n") + 1
                number, text = errno.EINVAL, text[text.index("\n") + 1:]
            with refused(number):
                os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
        assert len(mount.errors()) > said, (path, text)
    assert forward.read("forwards/other") == before and forward.listing("forwards") == ["other"]
    assert "new" not in a.listing("services")
    a.write("services/web/target", "localhost:80\n")
    for shell in ("bash", "dash"):
        assert run_any(shell, "-c", f"printf 9001 > {forward.path}/forwards/nosuch").returncode != 0


def test_a_signal_that_does_not_end_the_writer_ends_no_wait(module_world, forward):
    """As when a background job of a shell ends while its write waits for the router."""
    router = next(program for program in module_world.programs if isinstance(program, Router))

    def stays_pending(pid):
        os.kill(pid, signal.SIGCHLD)
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"ShdPnd:\s+(\w+)", text)[1], 16) >> (signal.SIGCHLD - 1) & 1

    router.process.send_signal(signal.SIGSTOP)
    try:
        writer = subprocess.Popen(["bash", "-c", f"echo 0 > {forward.path}/forwards/nosuch"], stderr=subprocess.PIPE, text=True)
        eventually(lambda: writer.poll() is not None or stays_pending(writer.pid), what="a signal waits for the write to end")
        forward.read("status")
    finally:
        router.process.send_signal(signal.SIGCONT)
    said = writer.communicate(timeout=PATIENCE)[1]
    assert writer.returncode == 1 and ("No such file" in said or "timed out" in said), said
    assert "EINTR" not in forward.errors()[-1]
    forward.connected()


def test_fsync_completes_a_line(forward):
    port = free_port()
    descriptor = os.open(forward / "forwards/other", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, f"{port}".encode())
    assert forward.ports("other") == []
    os.fsync(descriptor)
    assert forward.ports("other") == [port]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        os.write(descriptor, str(taken.getsockname()[1]).encode())
        with refused(errno.EADDRINUSE):
            os.fsync(descriptor)
    os.close(descriptor)
    assert forward.ports("other") == [port]


def test_a_forward_to_nothing(forward):
    forward.refuses(errno.ENOENT, "forwards/nothing", "0\n")
    assert forward.listing("forwards") == []
    assert "nothing" in forward.errors()[-1]


def test_bash_says_why(pair):
    a, b = pair
    for line, words in (
        (f"echo 0 > {b.path}/forwards/nothing", "No such file or directory"),
        (f"echo nonsense > {a.path}/services/web/target", "Invalid argument"),
        (f"mkdir {a.path}/services/web", "File exists"),
        (f"echo x > {a.path}/status", "Operation not permitted|Permission denied"),
    ):
        done = bash(line)
        assert done.returncode != 0 and any(word in done.stderr for word in words.split("|")), (line, done.stderr)


WRITERS = {
    "echo": "echo localhost:81 > {}",
    "printf without a newline": "printf localhost:81 > {}",
    "blanks around": "echo '  localhost:81 ' > {}",
    "a carriage return": "printf 'localhost:81\\r\\n' > {}",
    "tee": "echo localhost:81 | tee {}",
    "cp": "echo localhost:81 > {tmp} && cp {tmp} {}",
    "cat": "echo localhost:81 | cat > {}",
    "a byte at a time": "echo localhost:81 | dd bs=1 of={} conv=notrunc",
    "dd": "echo localhost:81 | dd of={}",
    "append": "echo localhost:81 >> {}",
    "dash": "dash -c 'echo localhost:81 > {}'",
    "a copy of mode and owner": "echo localhost:81 > {tmp} && chmod 644 {tmp} && cp --preserve=mode,ownership {tmp} {}",
    "sort": "echo localhost:81 | sort -o {}",
    "ed": "printf 'localhost:81\n' | tee {tmp} && dd if={tmp} of={} bs=3 seek=7 conv=notrunc,fsync",
    "python": "/usr/bin/python3 -c 'open(\"{}\",\"w\").write(\"localhost:81\")'",
}


@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS.keys())
def test_writers_of_a_target(pair, directory, line):
    a, _ = pair
    a.write("services/web/target", "localhost:80\n")
    done = bash(line.format(a / "services/web/target", tmp=directory / "text"))
    assert done.returncode == 0 and "not permitted" not in done.stderr, done.stderr
    assert a.read("services/web/target") == "localhost:81\n"
    a.write("services/web/target", "localhost:80\n")


def test_two_writers_at_once(forward):
    """Each open has its own unfinished line; what the two have said stands side by side."""
    first, second = free_port(), free_port()
    opens = [os.open(forward / "forwards/other", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2)]
    for piece in range(5):
        for descriptor, port in zip(opens, (first, second)):
            os.write(descriptor, f"{port}"[piece : piece + 1].encode())
    assert forward.read("forwards/other") == ""
    for descriptor in opens:
        os.write(descriptor, b"\n")
        os.close(descriptor)
    assert sorted(forward.ports("other")) == sorted([first, second])


def test_a_descriptor_and_its_copy_are_one_open(forward):
    """The line ends with the last of them, as a shell that has two while a builtin writes would have it."""
    port = free_port()
    descriptor = os.open(forward / "forwards/other", os.O_WRONLY | os.O_CREAT)
    copy = os.dup(descriptor)
    os.write(copy, f"{port}"[:2].encode())
    os.close(copy)
    assert forward.ports("other") == []
    os.write(descriptor, f"{port}"[2:].encode())
    os.close(descriptor)
    assert forward.ports("other") == [port]


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_close_in_between_is_no_end(forward, shell):
    port = free_port()
    first, second = f"{port}"[:2], f"{port}"[2:]
    file = forward / "forwards/other"
    for script in (
        "{{ printf {1}; /bin/true; echo {2}; }} > {0}",
        "{{ printf {1}; (printf {2}); }} > {0}",
        "exec 3> {0}; printf {1} >&3; echo x > /dev/null; printf {2} >&3; exec 3>&-",
        "{{ /usr/bin/printf {1}; /usr/bin/printf {2}; }} > {0}",
    ):
        done = run_any(shell, "-c", script.format(file, first, second))
        assert done.returncode == 0 and forward.ports("other") == [port], (script, done.stderr)
        os.unlink(file)


def test_a_port_alone_is_a_target_on_this_machine(pair):
    a, _ = pair
    a.write("services/web/target", "8080\n")
    assert a.read("services/web/target") == "localhost:8080\n"
    a.write("services/web/target", "localhost:80\n")


def test_a_name_that_cannot_be_one_is_told_the_rule(pair, forward):
    a, _ = pair
    for mount, script in ((a, "mkdir services/My_App"), (a, "echo 80 > services/My_App"), (forward, "echo 0 > forwards/My_App")):
        done = bash(f"cd {mount.path} && {script}")
        assert done.returncode != 0 and "Invalid argument" in done.stderr
        assert mount.errors()[-1].endswith("a name is 1 to 63 of a-z, 0-9 and inner hyphens (EINVAL)")


class Confined:
    """A host whose programs have one capability, as the unit's: they cannot look at processes that have more."""

    @staticmethod
    def command(*command):
        return ["setpriv", "--bounding-set=-all,+sys_admin", "--inh-caps=-all", *command]


@pytest.mark.skipif(os.getuid() != 0, reason="takes capabilities away: needs root")
def test_a_writer_that_cannot_be_seen(module_world, pair):
    """The release of the file ends the line then."""
    router = next(program for program in module_world.programs if isinstance(program, Router))
    c = module_world.mount(router, name="C", host=Confined, env={"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0"})
    c.sees("other")
    file, port = c / "forwards/other", free_port()
    first, second = f"{port}"[:2], f"{port}"[2:]
    for script in ("exec 3> {0}; printf {1} >&3; printf {2} >&3", "printf {1}{2} > {0}", "{{ printf {1}; /bin/true; printf {2}; }} > {0}"):
        assert bash(script.format(file, first, second)).returncode == 0
        eventually(lambda: c.ports("other") == [port])
        os.unlink(file)
    bash(f"printf localhost: > {file}")
    eventually(lambda: "no port" in c.errors()[-1])


def test_tee_and_cp_see_a_failure(pair, directory):
    a, _ = pair
    for line in ("printf nonsense | tee {}", "printf nonsense > {tmp}; cp {tmp} {}"):
        assert bash(line.format(a / "services/web/target", tmp=directory / "text")).returncode != 0
    assert a.read("services/web/target") == "localhost:80\n"


def test_several_lines(forward):
    ports = sorted(free_port() for _ in range(3))
    forward.write("forwards/other", "".join(f"{port}\n" for port in ports))
    assert sorted(forward.ports("other")) == ports
    for port in ports:
        expect_listener(port)


def test_replace_and_append(forward):
    first, second, third = (free_port() for _ in range(3))
    done = bash(f"echo {first} > {forward.path}/forwards/other; echo {second} >> {forward.path}/forwards/other")
    assert done.returncode == 0, done.stderr
    assert sorted(forward.ports("other")) == sorted([first, second])
    bash(f"echo {third} > {forward.path}/forwards/other")
    assert forward.ports("other") == [third]
    for gone in (first, second):
        with pytest.raises(ConnectionRefusedError):
            dial(gone)


def test_one_open_that_replaces_and_adds(forward):
    """A subshell holds the file open over two lines: the first replaces, the second adds."""
    old, first, second = (free_port() for _ in range(3))
    forward.write("forwards/other", f"{old}\n")
    done = bash(f"(echo {first}; echo {second}) > {forward.path}/forwards/other")
    assert done.returncode == 0, done.stderr
    assert sorted(forward.ports("other")) == sorted([first, second])


PLACERS = {
    "mv": "mv {source} {place}",
    "cp": "cp --remove-destination {source} {place}",
    "tar": "tar -c -P --transform 's,.*/,,' {source} | tar -x -C $(dirname {place}) --transform s,.*,$(basename {place}),",
    "rm": "rm {place}; cat {source} > {place}",
    "noclobber": "rm {place}; set -C; cat {source} > {place}",
}


@pytest.mark.parametrize("line", PLACERS.values(), ids=PLACERS.keys())
def test_a_file_is_put_in_its_place(pair, forward, directory, line):
    """What removes it first, insists on making it, and sets its mode and owner."""
    a, _ = pair
    source = directory / "text"
    port = free_port()
    for mount, path, former, text in ((forward, "forwards/other", "0\n", f"127.0.0.1:{port}\n"),
                                      (a, "services/web/target", "localhost:80\n", "localhost:81\n")):
        source.write_text(text)
        source.chmod(0o644)
        mount.write(path, former)
        done = bash(line.format(source=source, place=mount / path))
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert mount.read(path) == text
    assert a.state("web") == "online"
    a.write("services/web/target", "localhost:80\n")


PUTTERS = {
    "cp -a": "cp -a {0}/. {1}/",
    "tar": "tar -C {0} -c . | tar -C {1} -x",
    "rsync": "rsync -a --inplace {0}/ {1}/",
    "install": "cd {0} && for file in $(find . -name {2}); do install $file {1}/$file; done",
    "install -m": "cd {0} && for file in $(find . -name {2}); do install -p -m 600 $file {1}/$file; done",
    "cp -p": "cd {0} && for file in $(find . -name {2}); do cp -p $file {1}/$file; done",
    "mv": "cd {0} && for file in $(find . -name {2}); do mv $file {1}/$file; done",
}


@pytest.mark.parametrize("line", PUTTERS.values(), ids=PUTTERS.keys())
def test_who_sets_modes_and_times_ends_well(pair, forward, directory, line):
    """Whatever modes the files have where they come from."""
    a, _ = pair
    for mount, folder, path, former, text in ((forward, "forwards", "other", "0\n", f"127.0.0.1:{free_port()}\n"),
                                              (a, "services", "web/target", "localhost:80\n", "localhost:81\n")):
        source = directory / folder
        (source / path).parent.mkdir(parents=True, mode=0o700)
        (source / path).write_text(text)
        (source / path).chmod(0o660)
        os.utime(source / path, (1, 1))  # rsync passes over what has the size and the second of what is there
        mount.write(f"{folder}/{path}", former)
        done = bash(line.format(source, mount / folder, os.path.basename(path)))
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert mount.read(f"{folder}/{path}") == text
        for place in (folder, os.path.dirname(f"{folder}/{path}")):
            os.chmod(mount / place, 0o755)
    assert a.state("web") == "online"
    a.write("services/web/target", "localhost:80\n")


def test_a_target_that_was_removed_is_there_again_when_it_is_made(pair):
    a, _ = pair
    path = a / "services/web/target"
    os.unlink(path)
    assert a.listing("services/web") == [name for name in OWN_SERVICE if name != "target"] and a.state("web") == "pending"
    with refused(errno.ENOENT):
        os.stat(path)
    with refused(errno.ENOENT):
        os.open(path, os.O_WRONLY)
    with refused(errno.ENOENT):
        os.unlink(path)
    with refused(errno.EPERM):
        os.close(os.open(f"{path}2", os.O_WRONLY | os.O_CREAT))
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    assert a.read("services/web/target") == "" and a.state("web") == "pending"
    with refused(errno.EEXIST):
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    a.write("services/web/target", "localhost:80\n")
    assert a.state("web") == "online"


def test_lines_that_say_nothing(pair, forward):
    a, _ = pair
    forward.write("forwards/other", "0\n")
    port = forward.ports("other")[0]
    for text in ("\n", " \t\r\n", "# none\n", " # none", "\ufeff", "\ufeff\r\n#\r\n"):
        forward.write("forwards/other", text)
        a.write("services/web/target", text)
        for path in (forward / "forwards/new", a / "services/new"):
            path.write_text(text)
            eventually(lambda: not path.exists())
    assert forward.ports("other") == [port] and a.read("services/web/target") == "localhost:80\n"
    forward.write("forwards/other", f"\ufeff# one\r\n\r\n{port}\r\n\ufeff\n  # and another\n0\n# none")
    assert forward.ports("other")[0] == port and len(forward.ports("other")) == 2
    a.write("services/web/target", "\ufeff# here\nlocalhost:81\n# there\n\n")
    assert a.read("services/web/target") == "localhost:81\n"
    a.write("services/web/target", "localhost:80\n")


def test_truncation_alone_changes_nothing(forward):
    port = free_port()
    forward.write("forwards/other", f"{port}\n")
    assert bash(f": > {forward.path}/forwards/other").returncode == 0
    assert forward.ports("other") == [port]
    os.truncate(forward / "forwards/other", 0)
    assert forward.ports("other") == [port]


CREATORS = {
    "flock": "flock {0} true",
    "touch": "touch {0}",
    "redirection": ": > {0}; : >> {0}; : <> {0}",
    "copy of nothing": "cp /dev/null {0}",
    "dd": "dd if=/dev/null of={0} 2> /dev/null",
    "truncate": "truncate -s 0 {0}",
    "anew": "exec 3> {0} 4< /proc/self/fd/3 3>&-; : > /proc/self/fd/4",
}


@pytest.mark.parametrize("line", CREATORS.values(), ids=CREATORS.keys())
def test_who_creates_and_does_not_write_leaves_nothing(pair, forward, line):
    for folder in (pair[0] / "services", forward / "forwards"):
        for _ in range(2):
            done = bash(line.format(folder / "new"))
            assert done.returncode == 0 and not done.stderr, done
        eventually(lambda: not os.path.exists(folder / "new"))


def test_a_draft_that_is_opened_anew(pair):
    a, _ = pair
    again = "exec 3> {0} 4< /proc/self/fd/3 3>&-; echo {1} > /proc/self/fd/4"
    assert bash(again.format(a / "services/new", "a")).returncode != 0
    assert a.alive() and "new" not in a.listing("services")
    assert bash(again.format(a / "services/new", "localhost:80")).returncode == 0
    assert a.state("new") == "online"
    os.rmdir(a / "services/new")


def test_a_listener_that_stays_is_not_reopened(forward):
    forward.write("forwards/other", "0\n")
    port = forward.ports("other")[0]
    with socket.create_connection(("127.0.0.1", port)):
        second = free_port()
        forward.write("forwards/other", f"{port}\n{second}\n")
        assert sorted(forward.ports("other")) == sorted([port, second])
    expect_listener(port)


def test_lines_that_come_one_by_one_keep_what_they_say(forward):
    """As bash writes them. Two that ask for a free port get two."""
    script = "printf '%s\\n' {} > " + f"{forward.path}/forwards/other"
    ports = [free_port() for _ in range(3)]
    assert bash(script.format(" ".join(map(str, ports)))).returncode == 0
    before = forward.read("events")
    assert bash(script.format(" ".join(map(str, reversed(ports))))).returncode == 0
    assert sorted(forward.ports("other")) == sorted(ports) and forward.read("events") == before
    assert bash(script.format("0 0")).returncode == 0
    assert len(set(forward.ports("other")) - set(ports)) == 2
    with pytest.raises(ConnectionRefusedError):
        dial(ports[0])


def test_the_same_line_twice(forward):
    forward.write("forwards/other", "0\n")
    port = forward.ports("other")[0]
    try:
        forward.write("forwards/other", f"{port}\n", os.O_APPEND)
    except OSError as error:
        assert error.errno in (errno.EADDRINUSE, errno.EEXIST)
    assert forward.ports("other") == [port]


def test_a_bad_line_after_a_good_one(forward):
    """Each line has its own verdict."""
    port = free_port()
    descriptor = os.open(forward / "forwards/other", os.O_WRONLY | os.O_CREAT)
    assert os.write(descriptor, f"{port}\n".encode())
    with refused(errno.EINVAL):
        os.write(descriptor, b"nonsense\n")
    os.close(descriptor)
    assert forward.ports("other") == [port]


def test_reading_back_what_was_written(forward):
    forward.write("forwards/other", "0\n")
    saved = forward.read("forwards/other")
    forward.write("forwards/other", saved)
    assert forward.read("forwards/other") == saved


def test_a_unix_listener(forward, directory):
    path = directory / "listener"
    forward.write("forwards/other", f"unix:{path}\n")
    assert stat.S_ISSOCK(os.stat(path).st_mode) and os.stat(path).st_mode & 0o777 == 0o600
    assert forward.read("forwards/other") == f"unix:{path}\n"
    os.unlink(forward / "forwards/other")
    eventually(lambda: not path.exists())


def test_a_stale_unix_socket_is_replaced(forward, directory):
    path = directory / "listener"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    forward.write("forwards/other", f"unix:{path}\n")
    expect_listener(path)


def test_a_live_unix_socket_is_not_replaced(forward, directory):
    path = directory / "listener"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        forward.refuses(errno.EADDRINUSE, "forwards/other", f"unix:{path}\n")
        expect_listener(path)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_not_replaced(forward, directory, kind):
    path = directory / "listener"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        (directory / "precious").write_text("precious")
        path.symlink_to(directory / "precious")
    forward.refuses(errno.EADDRINUSE, "forwards/other", f"unix:{path}\n")
    assert kind == "directory" or path.read_text() == "precious"


def test_a_pending_service_needs_a_good_line_first(pair):
    a, _ = pair
    os.mkdir(a / "services/new")
    a.refuses(errno.EINVAL, "services/new/target", "nonsense\n")
    assert a.state("new") == "pending" and a.read("services/new/target") == ""
    os.rmdir(a / "services/new")


def test_a_second_line_for_a_target(pair):
    a, _ = pair
    with refused(errno.EINVAL):
        descriptor = os.open(a / "services/web/target", os.O_WRONLY)
        try:
            os.write(descriptor, b"localhost:80\n")
            os.write(descriptor, b"localhost:81\n")
        finally:
            os.close(descriptor)
    assert a.read("services/web/target") == "localhost:80\n"


def test_who_writes_a_temporary_file_changes_nothing(pair, forward, directory):
    a, _ = pair
    forward.write("forwards/other", "0\n")
    saved = forward.read("forwards/other")
    (directory / "text").write_text("localhost:8181\n")
    for path in (a / "services/web/target", forward / "forwards/other"):
        assert run_any("sed", "-i", "s/:/;/", path).returncode != 0
        assert run_any("rsync", directory / "text", path).returncode != 0
        with refused(errno.EPERM):
            os.rename(path, f"{path}2")
    assert a.read("services/web/target") == "localhost:80\n" and forward.read("forwards/other") == saved
    assert a.listing("services/web") == OWN_SERVICE and forward.listing("forwards") == ["other"]


@pytest.mark.parametrize("doing, sentence", [
    (lambda m: open(f"{m}/status", "w"), "write status: the file is fixed (EPERM)"),
    (lambda m: open(f"{m}/services/web/stats", "a"), "write services/web/stats: the file is fixed (EPERM)"),
    (lambda m: os.mkdir(f"{m}/forwards/x"), "mkdir forwards/x: a directory cannot be created here (EPERM)"),
    (lambda m: open(f"{m}/notes", "w"), "create notes: a file cannot be created here (EPERM)"),
    (lambda m: os.unlink(f"{m}/errors"), "remove errors: the file is fixed (EPERM)"),
    (lambda m: os.rmdir(f"{m}/services"), "rmdir services: the directory is fixed (EPERM)"),
    (lambda m: os.rename(f"{m}/services/web", f"{m}/services/www"), "rename to services/www: names cannot be changed (EPERM)"),
    (lambda m: os.symlink("x", f"{m}/services/link"), "link services/link: the tree has no links (EPERM)"),
    (lambda m: os.mkfifo(f"{m}/services/pipe"), "mknod services/pipe: the tree has only files and directories (EPERM)"),
], ids=["open", "append", "mkdir", "create", "unlink", "rmdir", "rename", "symlink", "mkfifo"])
def test_what_the_tree_does_not_provide_for_is_told(pair, doing, sentence):
    mount, _ = pair
    with pytest.raises(PermissionError):
        doing(mount.path)
    assert sentence in mount.read("errors")
