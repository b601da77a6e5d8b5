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

    os.umask(0o022)  # plain users of the tests look into what is made here
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a shell's background, and it would be inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stubs = tempfile.mkdtemp(prefix="mm-stubs-")
    make_stubs(config.stubs)


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
