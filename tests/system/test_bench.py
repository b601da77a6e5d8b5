"""The benchmark: what it prints does not matter here, but that every figure is there, and that nothing of it stays behind."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from harness import PATIENCE, eventually, run, run_any

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench" / "bench.py"
WORDS = [sys.executable, "-B", BENCH, "loopback", "quick", "--rounds", "1", "--ways", "socat"]


def left_in(directory):
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    processes = run("ps", "-e", "-o", "args=")
    return os.listdir(directory) or str(directory) in mounts or str(directory) in processes


@pytest.mark.timeout(20 * PATIENCE)
def test_each_figure_is_there_and_nothing_else_stays(tmp_path):
    work, found = tmp_path / "work", tmp_path / "found.json"
    work.mkdir()
    said = run_any(*WORDS, "--json", found, timeout=20 * PATIENCE, env={**os.environ, "TMPDIR": str(work)})
    assert said.returncode == 0, said.stdout + said.stderr
    result = json.loads(found.read_text())
    (table,) = result["tables"]
    assert not table["absent"]
    for way in ("no tunnel", "mindmeld", "socat"):
        assert {key for key, figure in table["figures"][way].items() if figure["median"] >= 0} == {c["key"] for c in table["columns"]}
    assert all(len(line) <= 120 for line in said.stdout.splitlines())
    assert "| mindmeld |" in run(sys.executable, "-B", BENCH, "--show", found, "--markdown")
    assert not left_in(work)
    into(tmp_path, found)


def into(folder, found):
    """The tables go between the marks of two files, in place of what was there."""
    places = [folder / "README.md", folder / "tests" / "bench" / "FIGURES.md"]
    places[1].parent.mkdir(parents=True)
    for place in places:
        place.write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    run(sys.executable, "-B", BENCH, "--show", found, "--into", folder)
    for place, columns in zip(places, (6, 10)):
        text = place.read_text()
        assert text.startswith("before\n<!-- bench -->\n") and text.endswith("\n<!-- end of bench -->\nafter\n") and "old" not in text
        assert re.search(r"^\| mindmeld (\| [0-9]+[0-9.]*[^|]*){%d}\|$" % columns, text, re.M)
    places[0].write_text("no marks\n")
    assert "has no" in run_any(sys.executable, "-B", BENCH, "--show", found, "--into", folder).stderr


def test_interrupted_it_ends_what_it_started(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with open(tmp_path / "said", "wb") as said:
        bench = subprocess.Popen(WORDS, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(work)})
    try:
        eventually(lambda: b"round 1" in (tmp_path / "said").read_bytes())
        assert left_in(work)
        bench.send_signal(signal.SIGINT)
        assert bench.wait(4 * PATIENCE) == 1
    finally:
        bench.kill()
        bench.wait()
    assert not left_in(work)
    assert b"interrupted" in (tmp_path / "said").read_bytes()
