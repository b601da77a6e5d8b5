"""Figures by way and column, and how they are printed: medians with half their range, then ratios; or in short."""
import dataclasses
import statistics
import textwrap

import goals
from goals import GRPC, OURS, ratio

WIDTH = 120
SHORT = (  # what somebody who chooses looks at first: table, column, words
    ("loopback", "out1", "1 stream, MB/s"),
    ("loopback", "out8", "8 streams, MB/s"),
    ("loopback", "cpu1", "CPU s/GB"),
    ("reno", "out1", "1 stream, all on Reno, MB/s"),
    ("reno", "out8", "8 streams, all on Reno, MB/s"),
    ("reno", "cpu1", "CPU s/GB, all on Reno"),
    ("loopback", "ping50", "64 B there and back, µs"),
    ("loopback", "first", "first byte, µs"),
    ("loopback", "rate16", "connections/s"),
    ("long-100", "out1", "long link, Mbit/s"),
    ("long-100", "busy50", "keystroke under bulk, ms"),
    ("scale", "all", "idle connection, KiB"),
    ("memory", "ignore-all", "40 stalled downloads, MiB"),
)
SHORT_OVER = ("haproxy", "ssh", "rathole", "frp")  # whom ours is set against there


@dataclasses.dataclass
class Column:
    key: str
    title: str  # what is measured
    unit: str
    better: str = "more"  # or "less"


class Table:
    """`compare` says whether ratios make sense."""

    def __init__(self, name, title, columns, notes=(), compare=True, goals=()):
        self.name, self.title, self.columns = name, title, columns
        self.notes, self.compare, self.goals = list(notes), compare, list(goals)
        self.figures, self.absent = {}, {}

    def add(self, way, key, value):
        self.figures.setdefault(way, {}).setdefault(key, []).append(value)

    def plain(self):
        """As it goes into JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "notes": self.notes,
            "compare": self.compare,
            "goals": [dataclasses.asdict(goal) for goal in self.goals],
            "columns": [dataclasses.asdict(column) for column in self.columns],
            "figures": {
                way: {
                    key: {"median": statistics.median(rounds), "least": min(rounds), "most": max(rounds), "rounds": rounds}
                    for key, rounds in figures.items()
                }
                for way, figures in self.figures.items()
            },
            "absent": self.absent,
        }


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(figure):
    """The median, and half the range of all rounds as a part of it."""
    if not figure:
        return "-"
    if len(figure["rounds"]) == 1 or not figure["median"]:
        return number(figure["median"])
    half = (figure["most"] - figure["least"]) / 2 / abs(figure["median"])
    return f"{number(figure['median'])} ±{100 * half:.0f}%"


def loses(value, column):
    return value is not None and (round(value, 2) < 1 if column["better"] == "more" else round(value, 2) > 1)


def ratio_cell(value, column):
    return "-" if value is None else f"{value:.2f}" + (" <" if loses(value, column) else "")


def blocks(table):
    """Rows of words: the medians, and the ratios."""
    columns = table["columns"]
    medians = [[way, *(cell(figures.get(c["key"])) for c in columns)] for way, figures in table["figures"].items()]
    ratios = []
    if table["compare"] and OURS in table["figures"]:
        for way in table["figures"]:
            if way not in (OURS, GRPC):
                ratios.append([f"/ {way}", *(ratio_cell(ratio(table, OURS, c["key"], way), c) for c in columns)])
    return medians, ratios


def lines_of(rows, heads, widths):
    def line(cells):
        return (cells[0].ljust(widths[0]) + "".join(" " + word.rjust(width) for word, width in zip(cells[1:], widths[1:]))).rstrip()

    return [line(row) for row in heads + rows]


def rounds_of(table):
    return max((len(figure["rounds"]) for figures in table["figures"].values() for figure in figures.values()), default=0)


def title(table):
    return f"{table['title']} {rounds_of(table)} rounds." if rounds_of(table) != 1 else f"{table['title']} One round."


def text_table(table):
    medians, ratios = blocks(table)
    columns = table["columns"]
    heads = [["", *(c["title"] for c in columns)], ["", *(c["unit"] for c in columns)]]
    rows = heads + medians + ratios
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    out = ["", *textwrap.wrap(title(table), WIDTH), ""]
    out += lines_of(medians, heads, widths)
    if ratios:
        out += ["", f"{OURS} /   (<: {OURS} is behind)"]
        out += lines_of([[row[0], *row[1:]] for row in ratios], [], widths)
    return out


def remarks(table):
    return [f"{way}: {words}" for way, words in table["absent"].items()] + table["notes"]


def head(result):
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    absent = f" Not found: {', '.join(result['not_found'])}." if result["not_found"] else ""
    return [f"{result['date']}, {result['machine']}.", f"{versions}.{absent} Each figure is the median of all rounds, ± half their range."]


def text(result):
    out = [line for words in head(result) for line in textwrap.wrap(words, WIDTH)]
    for table in result["tables"]:
        out += [*(text_table(table) if table["columns"] else []), ""]
        for words in remarks(table):
            out += textwrap.wrap(words, WIDTH)
    return "\n".join([*out, *result["texts"], *goals_text(result), "", f"took {result['seconds']} s"])


GOAL_HEADS = ["", "goal", "wanted", "measured", ""]


def goals_text(result):
    rows = [list(row) for row in goals.all_of(result["tables"], number)]
    if not rows:
        return []
    widths = [max(len(row[i]) for row in [GOAL_HEADS, *rows]) for i in range(len(GOAL_HEADS))]
    return ["", *("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in [GOAL_HEADS, *rows])]


def goals_markdown(result):
    rows = [list(row) for row in goals.all_of(result["tables"], number)]
    return ["", *markdown_rows(GOAL_HEADS, rows, "---")] if rows else []


def markdown_rows(heads, rows, others="---:"):
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return [line(heads), line(["---"] + [others] * (len(heads) - 1)), *map(line, rows)]


def markdown(result):
    out = [" ".join(head(result))]
    for table in filter(lambda table: table["columns"], result["tables"]):
        medians, ratios = blocks(table)
        heads = [", ".join(filter(None, (c["title"], c["unit"]))) for c in table["columns"]]
        out += ["", title(table), "", *markdown_rows(["", *heads], medians)]
        if ratios:
            out += ["", *markdown_rows([f"{OURS} /", *heads], [[row[0][2:], *row[1:]] for row in ratios])]
        for words in remarks(table):
            out += ["", words]
    return "\n".join(out + goals_markdown(result))


def summary(result):
    """One table of the figures in SHORT that were measured, a line each."""
    tables = {table["name"]: table for table in result["tables"]}
    picked = [(tables[name], key, words) for name, key, words in SHORT if name in tables]
    known = list(dict.fromkeys(way for table in result["tables"] for way in table["figures"]))
    ways = [way for way in known if any(key in table["figures"].get(way, {}) for table, key, _ in picked)]
    others = [way for way in SHORT_OVER if way in ways]

    def median(table, way, key):
        figure = table["figures"].get(way, {}).get(key)
        return number(figure["median"]) if figure else "-"

    def against(table, way, key):
        return ratio_cell(ratio(table, OURS, key, way), next(c for c in table["columns"] if c["key"] == key))

    rows = [[words, *(median(table, way, key) for way in ways), *(against(table, way, key) for way in others)] for table, key, words in picked]
    heads = ["", *ways, *(f"{OURS} / {way}" for way in others)]
    return "\n".join([" ".join(head(result)[:1] + [f"Medians; <: {OURS} is behind."]), "", *markdown_rows(heads, rows)])
