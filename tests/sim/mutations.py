#!/usr/bin/env python3
"""Shows that the simulator would find it if the machine were wrong.

    tests/sim/mutations.py [--seeds 100000] [NAME ...]

Each mutation is one change to a copy of the sources. The simulator is built with it, and run until it says that
something is broken. Prints a table; fails if a mutation is not found, or does not apply any more (its text must stand
in the file exactly once). Needs a C compiler only.
"""
import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = sorted(p.relative_to(ROOT) for room in ("carry/tunnel", "proto/flow") for p in (ROOT / room).glob("*.c") if p.name != "pacer.c")
RAW, RAW_WINDOW, PIPES, SPLICE = "proto/wire/raw.c", "proto/wire/raw_window.c", "proto/host/pipes.c", "router/splice/splice.c"
WAY = "router/splice/way.c"
SOURCES += [pathlib.Path(name) for name in ("proto/wire/status.c", RAW, RAW_WINDOW, PIPES, SPLICE, WAY)]
HEADERS = [p.relative_to(ROOT) for room in ("carry", "proto", "router") for p in (ROOT / room).glob("*/*.h")]
MACHINE, STREAMS, END, TOMBS, TABLE, TUNNEL, ACT, BEGIN, FAREWELLS = (
    f"carry/tunnel/{name}.c"
    for name in ("connection", "connection_streams", "connection_end", "tombs", "tunnels", "tunnel", "tunnel_act", "tunnel_begin", "farewells")
)
SEQUENCE, WINDOW = "proto/flow/sequence.c", "proto/flow/window.c"

# name, file, what stands there, what is put there
MUTATIONS = [
    ("nothing is heard while something waits", WINDOW, "  return windowed || empty;\n", "  return windowed && empty;\n"),
    ("a limit is not kept by", WINDOW, "  if (ack->limit > 0)\n    window_limit(w, ack->limit);\n", ""),
    ("the budget may be overrun", WINDOW, "  if (excess > 2 * budget)\n", "  if (excess > 2 * budget && queued == 0)\n"),
    ("who has nothing of the budget is granted nothing", WINDOW, "WINDOW_MIN + promised + left / 2", "promised + left / 2"),
    ("all that is left is granted", WINDOW, "WINDOW_MIN + promised + left / 2", "WINDOW_MIN + promised + left"),
    ("what waits is not promised", WINDOW, "max_of(max_of(said, queued), WINDOW_MIN)", "max_of(said, WINDOW_MIN)"),
    (
        "what is meant is not said",
        WINDOW,
        "  return max_of(max_of(w->size, cost(w)), WINDOW_MIN);\n",
        "  (void)w;\n  return WINDOW_MIN;\n",
    ),
    (
        "what is under way is not meant",
        WINDOW,
        "  return max_of(max_of(w->size, cost(w)), WINDOW_MIN);\n",
        "  return max_of(w->size, WINDOW_MIN);\n",
    ),
    ("an ack is dropped after a switch", WINDOW, "  a->said = a->said_messages = 0;\n", ""),
    (
        "an ack frees one message too many",
        SEQUENCE,
        "end_of(piece_at(s, 0)) <= taken) {",
        "piece_at(s, 0)->at <= taken) {",
    ),
    ("received is one too far", SEQUENCE, "  s->received = s->at;\n", "  s->received = s->at + !end;\n"),
    ("received is one too small", SEQUENCE, "  s->received = s->at;\n", "  s->received = s->at - !end;\n"),
    ("what is known is taken again", SEQUENCE, "  if (!fresh)\n    return 0;\n", "  if (!fresh)\n    *skip = 0;\n"),
    ("it resumes one message too late", SEQUENCE, "  s->sent = low;\n", "  s->sent = low + (low < s->count);\n"),
    ("it switches without resuming", SEQUENCE, "  s->sent = low;\n", ""),
    ("the place on a stream is that of the former", SEQUENCE, "{\n  s->at = 0;\n}", "{\n  (void)s;\n}"),
    ("the end is no byte to the sender", SEQUENCE, "p->size > 0 ? p->size : 1", "p->size"),
    ("the end is no byte to the receiver", SEQUENCE, "  s->at = at + size + end;\n", "  s->at = at + size;\n"),
    ("an equal epoch is accepted", MACHINE, "epoch <= c->epoch", "epoch < c->epoch"),
    ("any epoch is accepted", MACHINE, " || epoch <= c->epoch", ""),
    ("an impossible stream is accepted", MACHINE, "!alive || !possible || ", "!alive || "),
    (
        "an attachment has the former epoch",
        STREAMS,
        "  c->epoch++;\n  c->has_next = true;\n",
        "  c->has_next = true;\n",
    ),
    (
        "a second dial has the former epoch",
        STREAMS,
        "  c->epoch++;\n  return connection_dial(c, now);\n",
        "  return connection_dial(c, now);\n",
    ),
    (
        "established is not set",
        MACHINE,
        "  c->established = other == CONNECTION_OURS;\n  c->dial_until = NEVER;\n  c->backoff",
        "  c->dial_until = NEVER;\n  c->backoff",
    ),
    ("no tombstone is left", MACHINE, "    actions |= CONNECTION_BURY;\n", "    actions |= 0;\n"),
    ("a tombstone is gone at once", TOMBS, "e->until = now + TOMBS_MS;", "e->until = now + 10;"),
    (
        "a tombstone says that all went well",
        END,
        "{\n  c->reset = true;\n  return connection_gone(c, connection_drop_streams(c));\n}",
        "{\n  return connection_gone(c, connection_drop_streams(c));\n}",
    ),
    (
        "the hold is not started",
        STREAMS,
        "  c->hold_until = hold_end(c);\n  if (!wants_stream(c))",
        "  c->hold_until = NEVER;\n  if (!wants_stream(c))",
    ),
    (
        "who has not heard of it is held for long",
        STREAMS,
        "c->role == CONNECTION_FORWARD || c->heard || ",
        "c->role <= CONNECTION_SERVICE || ",
    ),
    (
        "who has heard of it is not held for long",
        STREAMS,
        "c->role == CONNECTION_FORWARD || c->heard || ",
        "c->role == CONNECTION_FORWARD || ",
    ),
    (
        "a stream that lasted is taken for heard",
        STREAMS,
        "  c->has_current = false;\n  c->renew_due &=",
        "  c->heard |= lasted;\n  c->has_current = false;\n  c->renew_due &=",
    ),
    (
        "the hold goes on with a stream",
        STREAMS,
        "c->next_until = c->hold_until = c->retry_at = NEVER",
        "c->next_until = c->retry_at = NEVER",
    ),
    (
        "a hold counts from a loss of long ago",
        STREAMS,
        "  if (!c->has_current)\n    c->current_at = now;\n",
        "  c->current_at = now;\n",
    ),
    ("nobody waits for an answer", MACHINE, "  c->dial_until = now + times->dial;\n", "  c->dial_until = now + 1;\n"),
    ("no retry is scheduled", STREAMS, "c->router ? now + c->backoff : NEVER", "NEVER"),
    ("there is no back-off", STREAMS, "c->router ? now + c->backoff : NEVER", "c->router ? now : NEVER"),
    ("streams that do not last are opened in a hurry", STREAMS, " && c->shaky_since == now)", ")"),
    (
        "the router's return is not noticed",
        STREAMS,
        "  if (wants_stream(c))\n    return open_again(c, now);\n  /* A dial on the way",
        "  if (wants_stream(c))\n    return 0;\n  /* A dial on the way",
    ),
    (
        "a silent next stream is waited for",
        STREAMS,
        "  c->next_until = now + NEXT_MS * c->patience;\n",
        "  c->next_until = NEVER;\n",
    ),
    (
        "the last word is not said again",
        END,
        "    c->close_until = now + CLOSING_MS;\n  return CONNECTION_HALF_CLOSE;\n",
        "    c->close_until = now + CLOSING_MS;\n  return 0;\n",
    ),
    (
        "a lost last word is taken for heard",
        END,
        "  return connection_detach(c, now);\n}\n\nstatic unsigned closing_time",
        "  return connection_gone(c, connection_drop_streams(c));\n}\n\nstatic unsigned closing_time",
    ),
    (
        "a reset is not said again",
        END,
        "  if (c->reset)\n    return say_reset(c, now);\n",
        "  if (c->reset)\n    return 0;\n",
    ),
    (
        "a reset is not passed on",
        END,
        "  return closing(c) | say_reset(c, now) | CONNECTION_RESET_SOCKET;\n",
        "  return closing(c) | CONNECTION_RESET_SOCKET;\n",
    ),
    (
        "an end before the target answers is lost",
        MACHINE,
        "CONNECTION_GIVE_SOCKET | (c->remote_eof ? CONNECTION_SHUTDOWN_SOCKET : 0)",
        "CONNECTION_GIVE_SOCKET",
    ),
    (
        "an end is not said once it may be",
        MACHINE,
        "  return say_local_eof(c) | connection_renew_if_due(c, now);\n",
        "  return connection_renew_if_due(c, now);\n",
    ),
    (
        "the socket is closed before it is half-closed",
        END,
        "(c->has_current ? CONNECTION_HALF_CLOSE : 0) | CONNECTION_CLOSE_SOCKET",
        "CONNECTION_CLOSE_SOCKET",
    ),
    (
        "a renewal drops what is current",
        STREAMS,
        "c->renew_due && can ? open_next(c, now) : 0;",
        "c->renew_due && can ? connection_detach(c, now) : 0;",
    ),
    (
        "a renewal before the answer is forgotten",
        MACHINE,
        "  return say_local_eof(c) | connection_renew_if_due(c, now);\n",
        "  c->renew_due = false;\n  return say_local_eof(c);\n",
    ),
    (
        "a renewal while one is under way is forgotten",
        STREAMS,
        "    c->retry_at = now; /* it was asked for while this one was on its way */\n",
        "    c->retry_at = NEVER;\n",
    ),
    (
        "a renewal is forgotten with the former stream",
        STREAMS,
        "  c->renew_due &= c->has_next;\n",
        "  c->renew_due = false;\n",
    ),
    (
        "who is over for good is waited for",
        MACHINE,
        "  case CONNECTION_PEER_LOST:\n    c->reset_heard = true;\n    return connection_abandon(c);\n",
        "    c->reset_heard = true;\n    return connection_abandon(c);\n  case CONNECTION_PEER_LOST:\n    return 0;\n",
    ),
    (
        "a next stream that is lost ends it",
        MACHINE,
        "    return connection_lose_next(c, now);\n  case CONNECTION_NEXT_RESET:\n  case CONNECTION_PEER_LOST:\n    c->",
        "  case CONNECTION_NEXT_RESET:\n  case CONNECTION_PEER_LOST:\n    c->",
    ),
    # Peers and routers of the first version.
    (
        "one of the first version is dialled again",
        STREAMS,
        "c->renew_due && c->other == CONNECTION_UNKNOWN && !c->asked",
        "c->renew_due && !c->established && !c->asked",
    ),
    (
        "in the first version a loss is an end",
        MACHINE,
        "  if (c->other == CONNECTION_FIRST_VERSION || c->asked)\n    return connection_abandon(c);\n",
        "  if (c->other == CONNECTION_FIRST_VERSION)\n    return connection_linger(c, now);\n",
    ),
    # Raw streams.
    ("a counter is good twice", RAW_WINDOW, "  *word_of(w, counter) |= bit_of(counter);\n", ""),
    ("a status is taken for data", RAW, "  if ((size & is_word) == 0)\n", "  if (size != 0)\n"),
    ("a byte is lost at the splice", WAY, "  k->at += (size_t)n;\n", "  k->at += (size_t)n + 1;\n"),
    ("a pipe is used again with bytes in it", PIPES, "    p->held -= (size_t)n;\n", "    p->held = 0;\n"),
    ("bytes that were copied are copied again", WAY, "MSG_TRUNC | MSG_DONTWAIT) != sent", "MSG_PEEK | MSG_DONTWAIT) != sent"),
    ("an end that came with bytes is missed", WAY, "  if (from->hung)\n    from->drained", "  if (false)\n    from->drained"),
    ("a pair stops with bytes to pass", SPLICE, "  else if (there == WAY_WENT || back == WAY_WENT)\n", "  else if (there == WAY_WENT && back == WAY_WENT)\n"),
    ("a descriptor is left open", SPLICE, "    linger(e->fd, false);\n  close(e->fd);\n", "    linger(e->fd, false);\n"),
    # What carries out its actions.
    (
        "no target is dialled for a stream that fails",
        ACT,
        "  if (actions & CONNECTION_DIAL)\n",
        "  if (actions & CONNECTION_DIAL && count == 0)\n",
    ),
    ("the former stream is kept", ACT, "  if (former != NULL)\n    pump_stream_close(former);\n", ""),
    ("a stream that is dropped is kept", ACT, "    pump_stream_close(t->next_stream);\n", "    (void)t;\n"),
    ("a stream that cannot become current is kept", ACT, "    drop_next(t);\n    return CONNECTION_STREAM_LOST;\n", "    t->next_stream = NULL;\n    return CONNECTION_STREAM_LOST;\n"),
    ("a stream that cannot become current is not missed", ACT, "    drop_next(t);\n    return CONNECTION_STREAM_LOST;\n", "    drop_next(t);\n    return TUNNEL_NOTHING;\n"),
    ("a socket that comes too late is left open", TUNNEL, "    if (fd >= 0)\n      pump_discard_socket(fd);\n", "    (void)fd;\n"),
    ("its time comes once", TUNNEL, "  t->armed_for = UINT64_MAX;\n  if (t->cut) {", "  if (t->cut) {"),
    ("anybody may attach", BEGIN, "memcmp(h->member, t->member, sizeof t->member) == 0 && ", ""),
    ("an unknown connection begins anew", TABLE, "  else if (h->established)\n", "  else if (h->established && h->epoch == 0)\n"),
    ("a tombstone is not looked at", TABLE, "t == NULL ? tombs_find(", "t != NULL ? tombs_find("),
    ("a tombstone tells whom it may concern", TABLE, "  if (memcmp(h->member, tomb->member, sizeof tomb->member) != 0) {", "  if (h->epoch == UINT64_MAX) {"),
    ("those of a process that is over go on", TABLE, "!t->machine.established || memcmp", "t->machine.established || memcmp"),
    ("a last word is waited for without end", FAREWELLS, "news->what == WAITING_ENDED || news->what == WAITING_DUE", "news->what == WAITING_ENDED"),
]


def build(folder, mutation):
    for name in SOURCES + HEADERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests/sim", folder / "tests/sim")
    if mutation:
        _, path, old, new = mutation
        text = (folder / path).read_text()
        if text.count(old) != 1:
            sys.exit(f"mutations.py: {mutation[0]!r} does not apply: its text stands {text.count(old)} times in {path}")
        (folder / path).write_text(text.replace(old, new))
    program = folder / "sim"
    files = [str(folder / s) for s in SOURCES] + [str(p) for p in sorted((folder / "tests/sim").glob("*.c"))]
    options = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-w", "-I", str(folder), f"@{folder}/tests/sim/wrap"]
    subprocess.run(["cc", *options, "-o", str(program), *files, "-lsodium"], check=True)
    return program


def found(mutation, seeds):
    """The seed, and the sentence; or None."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        program = build(pathlib.Path(name), mutation)
        for arguments in (["--seeds", str(seeds)], ["--attacks", "20000"]):
            try:
                run = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600)
            except subprocess.TimeoutExpired:
                return None
            if run.returncode != 0:
                seed = re.search(r"seed (\d+) is broken", run.stderr)
                sentence = run.stderr.splitlines()[0].split("ms", 1)[-1].strip() if run.stderr else "?"
                how = "attacks, seed " if arguments[0] == "--attacks" else ""
                return (how + seed.group(1) if seed else "-", sentence)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=100000)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if not arguments.names or m[0] in arguments.names]
    if found(None, 1000) is not None:
        sys.exit("mutations.py: it is broken without any mutation")
    missed = 0
    print(f"{'mutation':<48} {'found by seed':<18} what it breaks")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for mutation, result in zip(chosen, pool.map(lambda m: found(m, arguments.seeds), chosen)):
            seed, sentence = result or ("NOT FOUND", "")
            print(f"{mutation[0]:<48} {seed:<18} {sentence}", flush=True)
            missed += result is None
    print(f"{len(chosen)} mutations, {missed} not found in {arguments.seeds} seeds")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
