"""What becomes of connections when routers and networks go, with figures: a table at the end. The exit status says whether
anything was lost; figures are told beside what they should be, and do not decide.

    survive.py [PART...]    kills, cuts, crowd, links, bloated, flood, attacks; all of them when none is named
"""
import os
import resource
import shutil
import statistics
import sys
import tempfile
import traceback

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import survive_abuse
import survive_paths
import survive_router
from stage import SEED
from harness import make_stubs

PARTS = {
    "kills": survive_router.kills,
    "cuts": survive_router.cuts,
    "crowd": survive_router.crowd,
    "links": survive_paths.links,
    "bloated": survive_paths.bloated,
    "flood": survive_abuse.flood,
    "attacks": survive_abuse.attacks,
}


class Report:
    """Rows of words, a value, and what it should be; and what was lost."""

    def __init__(self):
        self.rows, self.lost = [], []

    def tell(self, words, value, goal="", reached=None):
        value = " ".join(str(value).split())[:60]
        self.rows.append((words, value, f"{goal}{'' if reached in (None, True) else '  MISSED'}"))
        print(f"  {words}: {value}{f'   ({self.rows[-1][2]})' if goal else ''}", flush=True)

    def seconds(self, words, values, *goals):
        """Median, 99th percentile and the most; goals in seconds, in this order."""
        for name, value, goal in zip(("median", "p99", "most"), (statistics.median(values), percentile(values, 99), max(values)), (*goals, None, None, None)):
            self.tell(f"{words}, {name}", f"{value * 1e3:.0f} ms", f"at most {goal * 1e3:.0f} ms" if goal else "", goal is None or value <= goal)

    def at_most(self, words, seconds, goal=None):
        self.tell(words, f"{seconds * 1e3:.0f} ms", f"at most {goal * 1e3:.0f} ms" if goal else "", goal is None or seconds <= goal)

    def judge(self, words, fine, value=None):
        self.tell(words, value if value is not None else "yes" if fine else "NO", "" if fine else "WRONG")
        if not fine:
            self.lost.append(words)

    def print(self):
        width = max(len(words) for words, _, _ in self.rows)
        print("\n" + "\n".join(f"{words:{width}}  {value:>22}  {goal}".rstrip() for words, value, goal in self.rows), flush=True)


def percentile(values, percent):
    """The nearest rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, limit), limit))
    sys.setswitchinterval(0.001)
    if unknown := set(sys.argv[1:]) - set(PARTS):
        sys.exit(f"survive: there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    stubs = tempfile.mkdtemp(prefix="mm-stubs-")
    make_stubs(stubs)
    report = Report()
    print(f"MM_SEED={SEED}", flush=True)
    for name in sys.argv[1:] or PARTS:
        print(f"{name}: {PARTS[name].__doc__}", flush=True)
        try:
            PARTS[name](report)
        except Exception as trouble:
            traceback.print_exc()
            report.judge(f"{name} came to its end", False, str(trouble) or repr(trouble))
    shutil.rmtree(stubs, ignore_errors=True)
    report.print()
    if report.lost:
        sys.exit(f"survive: {len(report.lost)} wrong: {'; '.join(report.lost)}")
    print("survive: fine")


if __name__ == "__main__":
    main()
