"""How close the fast CarRacing's pictures and physics are to gymnasium's, in lock-step.

    python -m benchmarks.car_racing_fidelity

Prints MAD, p99 and max of the frames' MAD, and SSIM for every size and option, then the identity of the physics,
and saves side-by-sides with amplified differences.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from gymnasium.envs.box2d import car_racing as reference

from benchmarks.car_racing_behaviours import BEHAVIOURS
from shared.worlds.car_racing import CarRacing


class Reference(reference.CarRacing):  # type: ignore[misc]
    """gymnasium's CarRacing, without its first second's zoom unless ``intro``, without drawing unless ``pictures``."""

    def __init__(self, intro: bool = True, pictures: bool = True, lap_complete_percent: float = 0.95) -> None:
        super().__init__(lap_complete_percent=lap_complete_percent)
        self.intro = intro
        self.pictures = pictures

    def _render(self, mode: str) -> np.ndarray:
        if not self.pictures:
            return np.zeros((96, 96, 3), np.uint8)
        now = self.t
        self.t = now if self.intro else now + 1.0
        picture: np.ndarray = super()._render(mode)
        self.t = now
        return picture


def reduced(picture: np.ndarray, size: int, hud: bool) -> np.ndarray:
    """gymnasium's 96x96 picture as a user shrinks it: by area, after cropping the dashboard unless ``hud``."""
    kept = picture if hud else picture[:84]
    return np.asarray(cv2.resize(kept, (size, size), interpolation=cv2.INTER_AREA))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity over pixels and channels (Wang et al. 2004): Gaussian window 11x11, sigma 1.5."""

    def blur(image: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5))

    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())


def snapshot(env: CarRacing | Reference) -> tuple[float, ...]:
    """Everything the physics consist of: hull pose and velocity, wheels, tiles, reward so far."""
    car = env.car
    hull = car.hull
    if isinstance(env, CarRacing):
        wheels = [*car.omega, *car.phase, *car.tiles]
    else:
        wheels = [w.omega for w in car.wheels] + [w.phase for w in car.wheels] + [len(w.tiles) for w in car.wheels]
    return (
        *hull.position,
        hull.angle,
        *hull.linearVelocity,
        hull.angularVelocity,
        *(w.joint.angle for w in car.wheels),
        *(float(value) for value in wheels),
        env.tile_visited_count,
        float(env.reward),
    )


def lockstep(
    ours: CarRacing, theirs: Reference, behaviour: str, seed: int, steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[float, ...], tuple[float, ...]]]:
    """Both worlds under the same actions until one ends: ``(our frame, their picture, our physics, theirs)``.

    The physics are ``snapshot`` with the step's reward and termination.
    """
    drive = BEHAVIOURS[behaviour]
    rng = np.random.default_rng(seed)
    frame, picture = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    yield frame, picture, snapshot(ours), snapshot(theirs)
    for step in range(steps):
        action = drive(ours, rng, step)
        frame, reward, ended, _, _ = ours.step(action)
        picture, their_reward, their_ended, _, _ = theirs.step(action)
        yield (
            frame,
            picture,
            (*snapshot(ours), reward, ended),
            (*snapshot(theirs), float(their_reward), their_ended),
        )
        if ended or their_ended:
            return


def fidelity(
    size: int, hud: bool, intro: bool, seeds: range, steps: int, every: int = 1, behaviours: list[str] | None = None
) -> dict[str, float]:
    """Frame errors over ``seeds`` times ``steps``, behaviours in turn; one frame in ``every`` is compared."""
    ours, theirs = CarRacing(size, hud=hud, intro=intro), Reference(intro)
    names = behaviours or list(BEHAVIOURS)
    errors, similarities = [], []
    for k, seed in enumerate(seeds):
        for step, (frame, picture, _, _) in enumerate(lockstep(ours, theirs, names[k % len(names)], seed, steps)):
            theirs.pictures = (step + 1) % every == 0
            if step % every == 0:
                wanted = reduced(picture, size, hud)
                errors.append(np.abs(frame.astype(np.int16) - wanted).mean())
                similarities.append(ssim(frame, wanted))
        theirs.pictures = True
    return {
        "frames": len(errors),
        "mad": float(np.mean(errors)),
        "p99": float(np.quantile(errors, 0.99)),
        "max": float(np.max(errors)),
        "ssim": float(np.mean(similarities)),
        "ssim_min": float(np.min(similarities)),
    }


def identity(seeds: range, steps: int) -> dict[str, object]:
    """Both worlds' physics over ``seeds`` times ``steps``, behaviours in turn, and the hashes of all of it."""
    ours, theirs = CarRacing(8), Reference(pictures=False)
    mine, wanted = hashlib.sha256(), hashlib.sha256()
    compared = different = laps = left = 0
    names = list(BEHAVIOURS)
    for k, seed in enumerate(seeds):
        for _, _, here, there in lockstep(ours, theirs, names[k % len(names)], seed, steps):
            mine.update(struct.pack(f"{len(here)}d", *here))
            wanted.update(struct.pack(f"{len(there)}d", *there))
            compared += 1
            different += here != there
        left += here[-2] == -100
        laps += here[-1] and here[-2] != -100
    return {
        "steps": compared,
        "different": different,
        "laps finished": laps,
        "playfield left": left,
        "sha256 ours": mine.hexdigest()[:16],
        "sha256 gymnasium": wanted.hexdigest()[:16],
    }


def side_by_side(path: Path, size: int = 64, scale: int = 3) -> None:
    """Rows of one moment each: gymnasium and ours without and with dashboard, and their differences eight-fold."""
    rows = []
    moments = (("pursuit", 31, 3), ("uniform", 32, 20), ("pursuit", 33, 110), ("bursts", 34, 75), ("donut", 35, 90))
    for behaviour, seed, at in (*moments, ("straight", 36, 208)):
        row = []
        for hud, intro in ((False, False), (True, True)):
            ours, theirs = CarRacing(size, hud=hud, intro=intro), Reference(intro)
            theirs.pictures = False
            moves = lockstep(ours, theirs, behaviour, seed, at)
            for step in range(at):
                next(moves)
                theirs.pictures = step + 1 == at
            frame, picture, _, _ = next(moves)
            wanted = reduced(picture, size, hud)
            error = np.abs(frame.astype(np.int16) - wanted)
            for image, label in (
                (wanted, f"gymnasium: {behaviour} {at}"),
                (frame, f"ours: MAD {error.mean():.2f}"),
                (np.clip(8 * error, 0, 255).astype(np.uint8), "difference x8"),
            ):
                panel = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
                panel = cv2.copyMakeBorder(panel, 16, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
                cv2.putText(panel, label, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
                row.append(panel)
        rows.append(np.hstack(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=14, help="episodes per size and option (default 14)")
    parser.add_argument("--steps", type=int, default=500, help="steps per episode (default 500)")
    parser.add_argument("--every", type=int, default=5, help="compare one frame in so many (default 5)")
    parser.add_argument("--identity-steps", type=int, default=1700, help="steps per episode of the physics check")
    parser.add_argument("--picture", type=Path, default=Path("docs/images/car-racing-fidelity.png"))
    options = parser.parse_args()
    cv2.setNumThreads(1)

    seeds = range(1000, 1000 + options.seeds)
    print("identity  ", identity(seeds, options.identity_steps), flush=True)
    side_by_side(options.picture)
    print("picture   ", options.picture, flush=True)
    print("size dashboard zoom   frames    MAD    p99    max    SSIM   min SSIM", flush=True)
    for size, hud, intro in (
        (64, False, False),
        (64, True, False),
        (64, False, True),
        (64, True, True),
        (96, True, True),
    ):
        # The zoom lasts 50 steps: with it, short episodes show it, every frame compared.
        steps, every = (50, 1) if intro else (options.steps, options.every)
        found = fidelity(size, hud, intro, seeds, steps, every)
        print(
            f"{size:4} {'yes' if hud else 'no':9} {'yes' if intro else 'no':5} {found['frames']:7} {found['mad']:6.3f} "
            f"{found['p99']:6.3f} {found['max']:6.3f} {found['ssim']:7.4f} {found['ssim_min']:8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
