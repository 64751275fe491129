"""Processes that play scenarios, each on a ground of its own."""

import multiprocessing
import queue
import time
from contextlib import suppress

from tests.chaos.ground import Ground
from tests.chaos.scenario import Scenario, play


def played(seed, numbers, grounds):
    """(number, seconds, scenario, what became of it), as they end; Ctrl-C ends them."""
    spawn = multiprocessing.get_context("spawn")
    todo, told = spawn.Queue(), spawn.Queue()
    for number in [*numbers, *[None] * grounds]:
        todo.put(number)
    players = [spawn.Process(target=_play, args=(seed, todo, told)) for _ in range(grounds)]
    for player in players:
        player.start()
    with suppress(KeyboardInterrupt):
        while any(player.is_alive() for player in players) or not told.empty():
            with suppress(queue.Empty):
                yield told.get(timeout=1)
    for player in players:
        player.join()


def _play(seed, todo, told):
    with suppress(KeyboardInterrupt), Ground() as ground:
        if not ground.small:
            print("no `disk full`: a small disk needs root, to mount one")
        while (number := todo.get()) is not None:
            scenario, start = Scenario.drawn(seed, number, len(ground.units)), time.monotonic()
            found = play(ground, scenario)
            told.put((number, time.monotonic() - start, scenario, found))
