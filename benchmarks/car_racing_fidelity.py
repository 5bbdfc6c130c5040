"""How close the fast CarRacing's pictures and physics are to gymnasium's, in lock-step.

    python -m benchmarks.car_racing_fidelity

Prints MAD, p99 and max of the frames' MAD, and SSIM for every size and option, then the identity of the physics,
and saves side-by-sides with amplified differences.
"""

from __future__ import annotations

from collections.abc import Iterator

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
