"""What the sources say of themselves is true: the arrows between rooms."""
import pathlib
import re

from harness import BUILD

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
