"""Messages of the websocket: the state and what the planner imagines as JSON, moments as numbers and pictures.

A moment is binary: the header's length (uint32, little endian), the header (JSON), and the pictures of
``header.view.tiles`` one after the other, RGB, 3 bytes a pixel, rows from the top.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from brain.evaluation.interventions import INTERVENTIONS
from brain.live.loaded import Loaded
from brain.live.rides import KEYS, PLANNER, RANDOM, RECORDED
from brain.live.scene import Moment, Scene
from shared.errors import TinyJEPAError
from shared.video import as_rgb

LARGEST = 128
"""Pictures are downscaled to at most this side before they are sent."""

BARS = 128
"""Maximum number of latent dimensions sent."""

COMMANDS = ("play", "pause", "step", "speed", "intervention", "policy", "run", "dream", "restart", "keys", "goal")

Point = list[Any]
"""[frame number, energy, energy elsewhere, intervention, whether an episode begins, x, y]; null for what is unknown"""


@dataclass(frozen=True)
class Command:
    """A viewer's command."""

    do: str
    value: Any = None

    @classmethod
    def parse(cls, text: str) -> Command:
        """Raises ``TinyJEPAError`` for an invalid command."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise TinyJEPAError("a command is JSON") from None
        if not isinstance(content, dict) or content.get("do") not in COMMANDS:
            raise TinyJEPAError(f"a command is an object with do, one of: {', '.join(COMMANDS)}")
        value = content.get("value")
        if content["do"] == "keys":
            value = [key[:20] for key in value if isinstance(key, str)][:8] if isinstance(value, list) else []
        return cls(content["do"], value)


@dataclass(frozen=True)
class Packed:
    """A moment encoded once for any number of viewers."""

    point: Point
    view: bytes
    """JSON"""
    pixels: bytes


def pack(moment: Moment) -> Packed:
    """A moment as bytes."""
    pictures = {"world": moment.frame, "elsewhere": moment.elsewhere}
    if moment.drawn is not None:
        pictures["foreseen"] = moment.drawn
    dream = None
    if moment.dream is not None:
        done, steps, error, picture = moment.dream
        dream = {"done": done, "steps": steps, "error": _round(error)}
        if picture is not None:
            pictures["dream"] = picture
    tiles, parts = [], []
    for name, frame in pictures.items():
        picture = _reduced(as_rgb(frame))
        tiles.append([name, picture.shape[1], picture.shape[0]])
        parts.append(np.ascontiguousarray(picture).tobytes())
    view = {
        "tiles": tiles,
        "z": _bars(moment.z),
        "foreseen": _bars(moment.foreseen),
        "dream": dream,
        "clock": time.time(),
    }
    x, y = moment.place or (None, None)
    point = [
        moment.number, _round(moment.energy), _round(moment.elsewhere_energy), moment.intervention, int(moment.cut),
        _round(x), _round(y),
    ]  # fmt: skip
    return Packed(point, json.dumps(view).encode(), b"".join(parts))


def message(points: Sequence[Point], packed: Packed) -> bytes:
    """One binary message: all points since the last, and the newest view."""
    header = b'{"points":' + json.dumps(points).encode() + b',"view":' + packed.view + b"}"
    return len(header).to_bytes(4, "little") + header + packed.pixels


def scene_state(scene: Scene) -> dict[str, Any]:
    """The state of a scene for the page, apart from its moments."""
    loaded = scene.loaded
    return {
        "world": loaded.spec.world,
        "recipe": loaded.model.recipe.name,
        "source": "simulator" if loaded.simulated else "stored episodes",
        "title": scene.title,
        "notes": list(loaded.notes),
        "policy": scene.policy,
        "policies": [[name, _policy_label(name, loaded)] for name in loaded.policies],
        "planner": {
            "why_not": loaded.no_planner,
            "points": scene.pilot is not None and scene.pilot.points,
        },
        "keys": list(loaded.keys),
        "interventions": [
            [name, intervention.label, intervention.summary, scene.why_not(name), name not in INTERVENTIONS]
            for name, intervention in scene.interventions.items()
        ],
        "decoder": loaded.decoder is not None,
        "threshold": _round(loaded.calibration.threshold, digits=17),  # exactly
        "form": loaded.calibration.kind,
        "false_alarms": loaded.calibration.false_alarms,
        "rate": loaded.spec.control_rate,
        "stack": loaded.timing.stack,
        "stride": loaded.timing.stride,
        "dim": loaded.model.space.size,
        "spread": scene.plane.spread,
        "events": [asdict(event) | {"peak": _round(event.peak)} for event in scene.events],
        "cloud": [[_round(x), _round(y)] for x, y in scene.plane.cloud.tolist()],
    }


def plan_text(imagined: dict[str, Any]) -> str:
    """What the planner imagines (``Scene.imagined``) as JSON: ``{"plan": ...}``."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 4) if np.isfinite(value) else None
        return [rounded(one) for one in value] if isinstance(value, list | tuple) else value

    return json.dumps({"plan": {key: rounded(value) for key, value in imagined.items()}})


def _policy_label(name: str, loaded: Loaded) -> str:
    if name.startswith(RECORDED):
        policy = name.removeprefix(RECORDED)
        if not loaded.simulated:
            return f"as stored: {policy}"
        return f"as recorded: {policy}" if policy != "none" else "nobody acts"
    if name == PLANNER and loaded.planning is not None:
        return f"planner: {loaded.planning.choices.planner}"
    return {KEYS: "you, by keyboard", RANDOM: "random, held"}[name]


def _bars(z: np.ndarray | None) -> list[float | None] | None:
    """At most ``BARS`` numbers of a latent (*L), evenly spread: over all cells, where it is a grid."""
    if z is None:
        return None
    flat = z.reshape(-1)
    shown = flat[np.linspace(0, len(flat) - 1, min(len(flat), BARS)).astype(int)]
    return [_round(value, digits=3) for value in shown]


def _reduced(picture: np.ndarray) -> np.ndarray:
    scale = LARGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _round(value: float | None, digits: int = 5) -> float | None:
    """To so many significant digits; None for what JSON has no number for."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{digits}g}")
