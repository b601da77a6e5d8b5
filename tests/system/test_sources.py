"""What the sources say of themselves is true: the arrows between rooms, who sees which library, which files there are,
and how a file is added to the tree."""
import fnmatch
import json
import os
import pathlib
import re
import shlex
import subprocess

from harness import BUILD, bash, eventually, run

SOURCES = pathlib.Path(__file__).resolve().parents[2]


def rooms():
    """Each room, with those that it says it sees."""
    for line in (BUILD / "rooms" / "list").read_text().splitlines():
        room, _, sees = line.partition(":")
        yield room, set(sees.split())


def included(path, seen):
    """The headers of ours that a file includes, and those that these include."""
    for name in re.findall(r'^#\s*include "([^"]+)"', path.read_text(), re.MULTILINE):
        header = next((h for h in (path.parent / name, SOURCES / name) if h.exists()), None)
        if header and header not in seen:
            seen.add(header)
            included(header, seen)
    return seen


def test_no_room_sees_another_that_it_does_not_need():
    for room, sees in rooms():
        folder = SOURCES / room
        headers = set().union(*(included(source, set()) for source in folder.glob("*.c")))
        needs = {str(header.parent.relative_to(SOURCES)) for header in headers} - {room}
        assert sees == needs, f"{room} sees {sorted(sees)}, and needs {sorted(needs)}"


def test_few_files_see_a_library_behind_a_room():
    allowed = {
        "fuse_lowlevel.h": {"fs/glue_internal.h"},
        "fs/glue_internal.h": {f"fs/{name}.c" for name in ("glue", "glue_files", "glue_fixed", "glue_names", "glue_reply")},
    }
    sources = [path for room, _ in rooms() for path in (SOURCES / room).glob("*.[ch]")]
    assert len(sources) > 200
    for path in sources:
        name = str(path.relative_to(SOURCES))
        for header in re.findall(r'^#\s*include [<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE):
            assert name in allowed.get(header, {name}), f"{name} includes {header}"
            assert not header.startswith("grpc/") or name.startswith("proto/rpc/"), f"{name} includes {header}"


def test_the_map_in_contributing_has_every_room_and_file():
    text = (SOURCES / "CONTRIBUTING.md").read_text()
    for room, _ in rooms():
        assert f"| `{room}/` |" in text, f"{room} is not in the table of rooms"
        entries = re.search(rf"^`{room}/`.*\n\n((?:    .*\n)+)", text, re.MULTILINE)
        assert entries, f"the map has no files of {room}"
        words = re.findall(r"[^\s,;:()`]+\.[ch]", entries[1])
        missing = {path.name for path in (SOURCES / room).glob("*.c") if not any(fnmatch.fnmatch(path.name, word) for word in words)}
        assert not missing, f"the map of {room} lacks {sorted(missing)}"
        gone = {word for word in words if not list((SOURCES / room).glob(word))}
        assert not gone, f"the map of {room} has {sorted(gone)}, which is not there"


def example():
    """What CONTRIBUTING adds to the tree: a row, a declaration, a handler."""
    section = (SOURCES / "CONTRIBUTING.md").read_text().partition("## Adding a file to the tree\n")[2].partition("\n## ")[0]
    code = re.sub(r"^(    |\S.*)", "", section, flags=re.MULTILINE)
    return re.findall(r"^\{\.path.*?\},\n|^\w[^;{]*;\n|^\w[^;{]*\{.*?^\}\n", code, re.MULTILINE | re.DOTALL)


def compiled(source, name, to):
    """An object of `source`, made as that of daemon/tree/NAME is."""
    for command in json.loads((BUILD / "compile_commands.json").read_text()):
        if pathlib.Path(command["file"]) == SOURCES / "daemon/tree" / name:
            words = [source if word == command["file"] else word for word in shlex.split(command["command"])]
            words[words.index("-o") + 1] = to
            run(*words, "-O1", "-iquote", SOURCES / "daemon/tree", cwd=command["directory"], timeout=120)
            return to
    raise AssertionError(name)


def build_example(directory):
    """A mmfs with that file. What is compiled anew takes the place of what the libraries have."""
    row, declaration, handler = example()
    objects = []
    for name, before, added in (
        ("tree_internal.h", "/* tree_services.c */\n", declaration),
        ("tree.c", '{.path = "services/*/status"', row),
        ("tree_services.c", None, handler),
    ):
        text = (SOURCES / "daemon/tree" / name).read_text()
        at = text.index(before) if before else len(text)
        (directory / name).write_text(text[:at] + added + text[at:])
        if name.endswith(".c"):
            objects.append(compiled(directory / name, name, directory / f"{name}.o"))
    link = run("ninja", "-C", BUILD, "-t", "commands", "-s", "mmfs", timeout=120)
    words = shlex.split(re.search(r"&& (\S*(?:cc|clang)\S* .*) && :", link)[1])
    words[words.index("-o") + 1] = directory / "mmfs"
    words[words.index("-o"):words.index("-o")] = objects
    run(*words, cwd=BUILD, timeout=120)
    return directory / "mmfs"


def test_the_example_of_a_file_is_complete(world, router, directory):
    a = world.mount(router, program=build_example(directory))
    b = world.mount(router)
    os.mkdir(a / "services/web")
    b.service("web", "localhost:80")
    eventually(lambda: a.state("web") == "taken")
    assert a.read("services/web/here") == "yes\n"
    os.rmdir(a / "services/web")
    assert a.read("services/web/here") == "no\n"  # at once, though what was rendered is kept for a second
    os.mkdir(a / "services/mine")
    done = bash(f"rm -r {a.path}/services/mine")
    assert done.returncode == 0, done.stderr
    done = bash(f"rm -r {a.path}/services/web")
    assert done.returncode != 0 and "web/here" in done.stderr, done.stderr
