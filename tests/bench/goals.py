"""What is to be reached: a figure of ours, alone or over another one, and the bound on it. They are judged from what was measured."""
import dataclasses
import statistics

OURS, GRPC, BEFORE = "mindmeld", "mindmeld gRPC", "mindmeld before"
NOISE = 0.05  # two runs of the same program differ by so much


@dataclasses.dataclass(frozen=True)
class Goal:
    """Of all keys and all others together, the worst counts. What stands over nothing is compared as it is."""

    words: str
    keys: tuple
    least: float | None = None
    most: float | None = None
    over: tuple = ()  # other ways, in the same column
    column: str = ""  # over another column of ours
    value: float = 0  # over a number
    way: str = OURS
    each: bool = False  # the worst round counts, not the median
    turned: bool = False  # ratios of what should be small are turned over, so that over 1 is better everywhere


def over(figures, others):
    """Round by round: what disturbs a machine for a while disturbs all who take turns in it."""
    return [mine / theirs for mine, theirs in zip(figures, others) if theirs]


def rounds(table, way, key):
    figure = table["figures"].get(way, {}).get(key)
    return figure["rounds"] if figure else []


def ratio(table, way, key, other):
    """The median of the rounds' ratios, or None."""
    found = over(rounds(table, way, key), rounds(table, other, key))
    return statistics.median(found) if found else None


def candidates(table, goal):
    """Lists of what each round has, with the key."""
    for key in goal.keys:
        mine = rounds(table, goal.way, key)
        if goal.over:
            less = next(column["better"] for column in table["columns"] if column["key"] == key) == "less"
            for other in goal.over:
                theirs = rounds(table, other, key)
                yield key, over(theirs, mine) if goal.turned and less else over(mine, theirs)
        elif goal.column:
            yield key, over(mine, rounds(table, goal.way, goal.column))
        else:
            yield key, [figure / goal.value for figure in mine] if goal.value else mine


def measured(table, goal):
    """The value, and the key that it is of; or None."""
    worst = min if goal.least is not None else max
    found = [(worst(each) if goal.each else statistics.median(each), key) for key, each in candidates(table, goal) if each]
    return worst(found) if found else None


def wanted(goal):
    return f"at least {goal.least:g}" if goal.least is not None else f"at most {goal.most:g}"


def reached(goal, value):
    """As it is printed: what is 0.98 there is not under 0.98."""
    shown = round(value, 2)
    return shown >= goal.least if goal.least is not None else shown <= goal.most


def judge(table, goal, number):
    """Words for: the goal, the bound, what was measured, and whether that is enough."""
    found = measured(table, goal)
    if found is None:
        return goal.words, wanted(goal), "-", "not measured"
    value, key = found
    titles = {column["key"]: column["title"] for column in table["columns"]}
    where = f" ({titles[key]})" if len(goal.keys) > 1 else ""
    return goal.words, wanted(goal), number(value) + where, "reached" if reached(goal, value) else "MISSED"


def all_of(tables, number):
    """Rows of words, of all tables. What there was before is a goal only where it was measured."""
    asked = [(table, Goal(**goal)) for table in tables for goal in table["goals"]]
    return [(table["name"], *judge(table, goal, number)) for table, goal in asked if BEFORE not in goal.over or BEFORE in table["figures"]]


def no_worse(columns):
    """The path over gRPC, beside a build of what there was before: see ways.Before."""
    return Goal("gRPC's own path / before", tuple(column[0] for column in columns), least=1 - NOISE, over=(BEFORE,), way=GRPC, turned=True)
