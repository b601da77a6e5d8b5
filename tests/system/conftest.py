"""Fixtures: a world of its own for each test."""
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def pytest_configure(config):
    from harness import make_stubs

    settle_surroundings()
    config.stubs = tempfile.mkdtemp(prefix="mm-stubs-")
    make_stubs(config.stubs)


def settle_surroundings():
    """What the programs inherit, and the tests rely on, whoever started us. What has a handler is as it is by default after
    an exec; so nohup, which has SIGHUP ignored, holds for us, and not for them."""
    os.umask(0o022)  # plain users of the tests look into what is made here
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else lambda *_: None
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for name in "TZ", "LANGUAGE", "JOURNAL_STREAM", "http_proxy", "https_proxy", "grpc_proxy":
        os.environ.pop(name, None)
    os.environ["LC_ALL"] = "C.UTF-8"


def pytest_unconfigure(config):
    shutil.rmtree(config.stubs, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    world = item.funcargs.get("world") if hasattr(item, "funcargs") else None
    if report.failed and world:
        report.sections.append(("the programs", world.logs()))


@pytest.fixture
def directory():
    """Short and open to others: unix sockets have little room for a path, and a plain user must get through."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    path.chmod(0o755)
    yield path
    from harness import is_mounted

    if not any(is_mounted(p) for p in path.iterdir()):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def world(directory):
    import harness

    world = harness.World(directory)
    watchdog = threading.Timer(90, world.kill_mounts)
    watchdog.start()
    yield world
    watchdog.cancel()
    world.close()


@pytest.fixture
def router(world):
    return world.router()


@pytest.fixture
def a(world, router):
    return world.mount(router, name="A")


@pytest.fixture
def b(world, router):
    return world.mount(router, name="B")


@pytest.fixture(scope="module")
def module_world():
    """For tests that change nothing, and may share."""
    import harness

    path = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    world = harness.World(path)
    yield world
    world.close()
    shutil.rmtree(path, ignore_errors=True)
