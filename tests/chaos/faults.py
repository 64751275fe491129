"""What may strike: each fault is a function of the scene, and says whether it struck anything.

Some strike and are over; some add to `scene.mends` what ends them, and to `scene.checks` what must be seen of them before.
"""

import os
import signal
import time
from contextlib import suppress

import ray

from tests.chaos.damage import corrupt_checkpoint, corrupt_parquet, replace_shard
from tests.chaos.ground import SILENT, raylet
from tests.support import processes

PREEMPTION = 2
"""Ray's number of that reason to drain a node."""


def _send(pids, number):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_actor(scene):
    victim = scene.victim()
    _send([victim] if victim else [], signal.SIGKILL)
    return victim is not None


def terminate_actor(scene):
    """It says that it leaves, if there is time."""
    victim = scene.victim()
    _send([victim] if victim else [], signal.SIGTERM)
    return victim is not None


def stop_actor(scene):
    """It hangs; if nobody has killed it at the end, it wakes."""
    victim = scene.victim()
    if victim is None:
        return False
    _send([victim], signal.SIGSTOP)
    scene.asleep.add(victim)

    def wake():
        _send([victim], signal.SIGCONT)
        scene.asleep.discard(victim)

    scene.mends.append(wake)
    return True


def stop_node(scene):
    """A node hangs with its actors, which wake as zombies once their units went to others: nobody can have killed them."""
    driver, victim = scene.driver, scene.victim()
    node = next((node for node in scene.ground.nodes if victim in processes.family(raylet(node))), None)
    if node is None:
        return False
    actors = processes.actors(raylet(node))
    _send([raylet(node), *actors], signal.SIGSTOP)
    scene.asleep |= set(actors)
    end, withdrawn = time.monotonic() + 5 * SILENT, f"no answer for {SILENT} s"
    scene.until(lambda: driver.over or withdrawn in driver.said or time.monotonic() > end, "a unit to be withdrawn")
    time.sleep(scene.chance.uniform(0, 0.5))
    _send(actors, signal.SIGCONT)
    time.sleep(scene.chance.uniform(0, 1))
    _send([raylet(node)], signal.SIGCONT)
    scene.asleep -= set(actors)
    return True


def lose_node(scene):
    """Its raylet is killed, and with it all that it started."""
    if scene.victim() is None:
        return False
    _send([raylet(scene.chance.choice(scene.ground.nodes))], signal.SIGKILL)
    if not scene.ground.nodes:
        scene.ground.add()
    return True


def drain_node(scene):
    """A spot machine's notice."""
    if scene.victim() is None:
        return False
    client = ray._raylet.GcsClient(address=scene.ground.address)  # type: ignore[attr-defined]
    node, deadline = scene.chance.choice(scene.ground.nodes), int(time.time() * 1000) + 600_000
    accepted, _ = client.drain_node(node.node_id, PREEMPTION, "spot notice", deadline)
    if not accepted:  # it is not known yet
        return False
    scene.ground.leaving.append(node)
    if not scene.ground.nodes:
        scene.ground.add()
    return True


def add_node(scene):
    scene.ground.add()
    return True


def kill_driver(scene):
    """At any moment, in its start too."""
    struck = not scene.driver.over
    scene.driver.kill()
    scene.over(scene.driver)
    return struck


def terminate_driver(scene):
    """It ends as told, and says how to go on."""
    driver = scene.driver
    if not scene.until(lambda: driver.over or " workers" in driver.said, "a run to be ready") or driver.over:
        return False
    scene.victim()
    driver.kill(signal.SIGTERM)
    scene.over(driver)
    assert driver.code == 0 or (driver.code, "resume with: barrage run" in driver.said) == (143, True) or scene.told.struck, (
        driver.said
    )
    return True


def stop_driver(scene):
    """It hangs while another one takes the campaign over, and wakes in the middle of that or after."""
    first = scene.driver
    first.kill(signal.SIGSTOP)
    second = scene.run("--here")
    wanted = scene.chance.randrange(len(scene.ground.units) + 2)
    scene.until(lambda: second.over or len(scene.committed) >= wanted, "another run to take over")
    first.kill(signal.SIGCONT)
    return True


def add_driver(scene):
    """Two runs at once on one store, neither of which knows of the other."""
    scene.run("--here")
    return True


def kill_ray(scene):
    """The cluster itself is lost: the run ends, and says so."""
    driver = scene.driver
    if scene.victim() is None:
        return False
    _send([scene.chance.choice(scene.ground.heart)], signal.SIGKILL)
    scene.over(driver)
    clear = driver.code == 1 and "run the same command again" in driver.said
    assert driver.code == 0 or clear or scene.told.struck, driver.said
    scene.ground.heal()
    return True


def kill_everything(scene):
    for command in scene.commands:
        command.kill()
    scene.ground.ruin()
    for command in scene.commands:
        scene.over(command)
    scene.ground.heal()
    return True


def fill_disk(scene):
    """The run ends with the reason, and parks nothing; then there is room again."""
    if not scene.ground.small:
        return False
    driver, filler = scene.driver, scene.ground.stores / "filler"

    def fill():
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    scene.until(lambda: fill() or driver.over, "a run to end for want of room")
    parked = list(scene.store.glob("parked/*"))
    filler.unlink()
    if not scene.told.struck and driver.code != 0:
        clear = "No space left on device; make room, and run again" in driver.said and not parked
        assert driver.code == 1 and clear, f"exit code {driver.code}, parked {parked}: {driver.said}"
    return True


def kill_seal(scene):
    """Two commands that seal the store at once, one of them killed at any moment, while runs commit."""
    struck = bool(scene.committed)
    seals = [scene.barrage("seal", scene.store) for _ in range(2)]
    time.sleep(scene.chance.uniform(0, 1))
    seals[0].kill()
    for seal in seals:
        scene.over(seal)
    return struck


def jump_clock(scene):
    """All clocks but the monotonic one, as processes of the campaign see them, until the end of the scenario."""
    scene.ground.tell("clock", scene.chance.choice([-1, 1]) * scene.chance.choice([30, 3700, 86_400, 400 * 86_400]))
    return True


FAULTS = {
    "kill -9 of an actor": kill_actor,
    "kill -9 of a node": lose_node,
    "kill -9 of the driver": kill_driver,
    "kill -9 of Ray itself": kill_ray,
    "kill -9 of everything": kill_everything,
    "SIGTERM of an actor": terminate_actor,
    "SIGTERM of the driver": terminate_driver,
    "SIGSTOP of an actor": stop_actor,
    "SIGSTOP of a node": stop_node,
    "SIGSTOP of the driver": stop_driver,
    "second driver": add_driver,
    "node added": add_node,
    "node drained": drain_node,
    "disk full": fill_disk,
    "kill -9 of a seal": kill_seal,
    "clock jump": jump_clock,
    "corrupt checkpoint": corrupt_checkpoint,
    "corrupt Parquet": corrupt_parquet,
    "shard replaced": replace_shard,
}
"""By the name that the summary shows."""
