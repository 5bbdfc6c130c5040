"""Tested environments: collected, then replayed from the stored actions, and compared bit for bit.

    python -m benchmarks.environments                    # prints the table
    python -m benchmarks.environments docs/worlds.md     # writes it there, between its two markers
    pip install ale-py minigrid "gymnasium[mujoco]"      # what the last rows of the table need beyond TinyJEPA

Of each, ``factory collect`` makes three episodes of at most 200 steps. Then a new process reads the seed and the
actions of every episode from the store, makes the world again, gives it these actions, and compares: frames, actions,
rewards and flags have to be the same to the last bit. The odd ones are those of ``tests/support/odd.py``. What is not
installed is named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

EPISODES, STEPS, SIZE = 3, 200, 64
LIMIT_SECONDS = 600.0
BEGIN, END = "<!-- environments: begin -->", "<!-- environments: end -->"
ODD = "tests.support.odd:odd/"


class Case(NamedTuple):
    """An environment, and what it is in the table for."""

    world: str
    why: str
    arguments: tuple[str, ...] = ()


SMALL = ("--option", "width=128", "--option", "height=128")
"""For MuJoCo, whose pictures a processor draws slowly."""

CASES = [
    Case("CartPole-v1", "classic control: drawn by pygame"),
    Case("Acrobot-v1", "classic control"),
    Case("MountainCar-v0", "classic control"),
    Case("MountainCarContinuous-v0", "classic control: one continuous action"),
    Case("Pendulum-v1", "classic control: torque"),
    Case("FrozenLake-v1", "toy text: drawn by pygame"),
    Case("Taxi-v4", "toy text"),
    Case("CliffWalking-v1", "toy text"),
    Case("Blackjack-v1", "toy text: a tuple as observation"),
    Case("CarRacing-v3", "Box2D: its image is the observation"),
    Case("LunarLander-v3", "Box2D"),
    Case("LunarLanderContinuous-v3", "Box2D: continuous actions"),
    Case("BipedalWalker-v3", "Box2D: four torques"),
    Case("MiniGrid-Empty-5x5-v0", "MiniGrid: named without its package; a dictionary as observation"),
    Case("minigrid:MiniGrid-DoorKey-8x8-v0", "MiniGrid"),
    Case("minigrid:BabyAI-GoToRedBall-v0", "BabyAI"),
    Case("ALE/Pong-v5", "Atari: named without its package; sticky actions"),
    Case("ale_py:ALE/Breakout-v5", "Atari: grey observations", ("--option", "obs_type=grayscale")),
    Case("ale_py:ALE/MsPacman-v5", "Atari"),
    Case("Hopper-v5", "MuJoCo: drawn off-screen", SMALL),
    Case("Reacher-v5", "MuJoCo", SMALL),
    Case(f"{ODD}Mutator-v0", "changes its action in place"),
    Case(f"{ODD}Reuser-v0", "shows the same array at every step"),
    Case(f"{ODD}FloatPicture-v0", "renders float64 in [0, 1]"),
    Case(f"{ODD}LongPicture-v0", "renders int64"),
    Case(f"{ODD}BoolPicture-v0", "renders truth values"),
    Case(f"{ODD}ClearPicture-v0", "renders RGBA"),
    Case(f"{ODD}GreyPicture-v0", "renders grey"),
    Case(f"{ODD}Board-v0", "observes codes of a board in uint8"),
    Case(f"{ODD}FloatImage-v0", "observes an image of floats in [0, 1]"),
    Case(f"{ODD}ChannelsFirst-v0", "observes an image with its channels first"),
    Case(f"{ODD}Cameras-v0", "observes a dictionary of images", ("--observation", "wrist")),
    Case(f"{ODD}HalfBounded-v0", "actions of 5 and more"),
    Case(f"{ODD}Huge-v0", "actions up to the limit of float32"),
    Case(f"{ODD}Precise-v0", "actions of float64"),
    Case(f"{ODD}Whole-v0", "a Box of integers as actions"),
    Case(f"{ODD}Several-v0", "MultiDiscrete that does not start at 0"),
    Case(f"{ODD}Switches-v0", "MultiBinary"),
    Case(f"{ODD}BothEnds-v0", "terminates and truncates in one step"),
    Case(f"{ODD}OldLimit-v0", "says by `info` that its end is a time limit"),
]
FIELDS = ("frame", "action", "reward", "flags")


def replay(path: Path) -> dict[str, Any]:
    """Make every episode of a store again from its seed and actions: the share of equal rows by field, and facts."""
    import numpy as np

    from shared.store.reader import Store
    from shared.store.schema import FIRST, LAST, TERMINATED, TRUNCATED
    from shared.worlds import make_world
    from shared.worlds.episode import play, record
    from shared.worlds.policy import Replay

    store = Store(path)
    spec = store.spec
    world = make_world(spec.world, spec.frame_shape[0], **spec.world_options)
    equal, rows, moving = dict.fromkeys(FIELDS, 0), 0, False
    for ref in store.episodes:
        stored = store.read_episode(ref, *FIELDS)
        policy = Replay(world, stored["action"][:-1])
        made = record(world, play(world, ref.seed, lambda policy=policy: policy, ref.rows - 1), ref.rows - 1)  # type: ignore[misc]
        again = made._asdict()
        again["flags"] = np.zeros(len(made.frame), np.uint8)
        again["flags"][0] |= FIRST
        again["flags"][-1] |= LAST | TERMINATED * made.terminated | TRUNCATED * made.truncated
        for name in FIELDS:
            if len(again[name]) == ref.rows:
                same = again[name].view(np.uint8) == stored[name].view(np.uint8)
                equal[name] += int(same.reshape(ref.rows, -1).all(axis=1).sum())
        rows += ref.rows
        moving |= bool((stored["frame"] != stored["frame"][0]).any())
    world.close()
    shape = "x".join(map(str, spec.frame_shape))
    return {
        "rows": rows,
        "episodes": len(store.episodes),
        "frame": shape,
        "action": str(world.action_space),
        "moving": moving,
        "equal": {name: count / rows for name, count in equal.items()},
    }


def tried(case: Case, folder: Path) -> dict[str, Any]:
    """Collect and replay in processes of their own; ``{"error": one line}`` where one fails."""
    store = folder / case.world.replace("/", "-").replace(":", "-")
    environment = {"MUJOCO_GL": "egl", **os.environ} if not os.environ.get("DISPLAY") else dict(os.environ)
    collect = ["-m", "factory.cli", "collect", "--world", case.world, "--episodes", str(EPISODES), "--local", "--quiet"]
    collect += ["--max-episode-steps", str(STEPS), "--frame-size", str(SIZE), "--store", str(store), *case.arguments]
    said = ""
    for command in (collect, ["-m", "benchmarks.environments", "--replay", str(store)]):
        try:
            done = subprocess.run(
                [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=LIMIT_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"error": f"takes more than {LIMIT_SECONDS:.0f} s"}
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1].removeprefix("factory: error: ")}
        said += done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"deterministic": "not deterministic" not in said}


def row(case: Case, found: dict[str, Any]) -> str:
    name = f"`{' '.join([case.world.removeprefix('tests.support.odd:'), *case.arguments])}`"
    shares = [found["equal"][field] for field in FIELDS]
    verdict = ["exact" if share == 1 else f"{share:.1%}" for share in shares]
    action = found["action"].replace("|", "/")
    return f"| {name} | {case.why} | {found['frame']} | {action} | {found['rows']} | {' | '.join(verdict)} |"


def report(cases: list[Case], jobs: int) -> tuple[list[str], bool]:
    """The lines of the table, and whether everything that is installed was exact."""
    lines = [
        "| environment | what it is here for | frame | actions | rows | frames | actions | rewards | flags |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    absent, wrong = [], []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for case, found in zip(cases, pool.map(tried, cases, [Path(folder)] * len(cases))):
            if "error" in found:
                missing = "not installed" in found["error"] or "No module" in found["error"]
                (absent if missing else wrong).append(f"`{case.world}`: {found['error']}")
            else:
                lines.append(row(case, found))
                if min(found["equal"].values()) < 1 or not found["moving"] or not found["deterministic"]:
                    wrong.append(f"`{case.world}` is not exact")
            print(case.world, found.get("error", found.get("equal")), file=sys.stderr, flush=True)
    exact = len(lines) - 2 - sum("is not exact" in line for line in wrong)
    lines += ["", f"{exact} of {len(cases)} environments exact ({EPISODES} episodes of at most {STEPS} steps each)."]
    lines += [f"Not installed: {', '.join(absent)}."] if absent else []
    lines += [f"Not exact: {'; '.join(wrong)}."] if wrong else []
    return lines, not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, help="a Markdown page whose table is replaced")
    parser.add_argument("--only", default="", help="environments whose name holds this")
    parser.add_argument("--replay", type=Path, help="replay this store and print what was found, as JSON")
    parser.add_argument("--jobs", type=int, default=2, help="environments at the same time (default: 2)")
    arguments = parser.parse_args()
    if arguments.replay:
        print(json.dumps(replay(arguments.replay)))
        return
    lines, good = report([case for case in CASES if arguments.only in case.world], arguments.jobs)
    table = "\n".join(lines)
    if arguments.page is None:
        print(table)
    else:
        text = arguments.page.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        arguments.page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    sys.exit(not good)


if __name__ == "__main__":
    main()
