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
sys.path.insert(0, str(BENCH.parent))

import goals

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
    for place, name, cells in zip(places, ("1 stream, MB/s", "mindmeld"), (3, 10)):
        text = place.read_text()
        assert text.startswith("before\n<!-- bench -->\n") and text.endswith("\n<!-- end of bench -->\nafter\n") and "old" not in text
        assert re.search(r"^\| %s (\| [0-9]+[0-9.]*[^|]*){%d}\|$" % (name, cells), text, re.M)
    places[0].write_text("no marks\n")
    assert "has no" in run_any(sys.executable, "-B", BENCH, "--show", found, "--into", folder).stderr


def made_up(**figures):
    """A table of rounds, by way and column: `less` is better in the column that is called so."""
    columns = [{"key": key, "title": key, "better": "less" if key == "less" else "more"} for key in ("more", "less")]
    return {"name": "made up", "columns": columns, "figures": {way: {key: {"rounds": rounds} for key, rounds in of.items()} for way, of in figures.items()}}


def test_goals_are_judged_by_the_ratios_of_rounds():
    """A machine that is slow for a round is slow for all; and what was not measured is not reached."""
    table = made_up(mindmeld={"more": [100, 10, 120], "less": [2, 8, 2]}, other={"more": [100, 5, 100], "less": [1, 8, 4]}, fast={"more": [1000] * 3})
    judged = [
        (goals.Goal("", ("more",), least=1.2, over=("other",)), 1.2, True),  # of 1, 2 and 1.2
        (goals.Goal("", ("less",), most=0.9, over=("other",)), 1, False),
        (goals.Goal("", ("more",), least=1, over=("other", "fast")), 0.1, False),  # the worst of them
        (goals.Goal("", ("more", "less"), least=1, over=("other",), turned=True), 1, True),  # 1.2, and 1 of 0.5, 1 and 2
        (goals.Goal("", ("more",), least=20, column="less"), 50, True),
        (goals.Goal("", ("more",), most=1.5, value=100), 1, True),
        (goals.Goal("", ("less",), most=2), 2, True),
        (goals.Goal("", ("less",), most=2, each=True), 8, False),
    ]
    for goal, value, good in judged:
        found = goals.measured(table, goal)[0]
        assert found == pytest.approx(value) and goals.reached(goal, found) == good, goal
    assert goals.judge(table, goals.Goal("", ("more",), least=0, over=("nobody",)), str)[-1] == "not measured"
    assert goals.judge(table, goals.Goal("", ("more",), least=2), str)[-1] == "reached"


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
