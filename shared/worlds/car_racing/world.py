"""The CarRacing world: gymnasium's rules around the lean car, the circuit and the fast renderer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from Box2D import b2World
from Box2D.b2 import fixtureDef, polygonShape
from gymnasium import spaces
from gymnasium.envs.box2d import car_racing as reference

from shared.errors import TinyJEPAError
from shared.worlds.axes import Axis
from shared.worlds.base import Subset, World
from shared.worlds.car_racing.axes import AXES
from shared.worlds.car_racing.car import DT, Car
from shared.worlds.car_racing.contacts import Contacts
from shared.worlds.car_racing.factors import FACTORS, car_colour, colours
from shared.worlds.car_racing.reckoning import dead_reckoning
from shared.worlds.car_racing.renderer import Renderer
from shared.worlds.car_racing.road import DRIVING
from shared.worlds.car_racing.situations import Driver
from shared.worlds.car_racing.track import CentreLine, Track
from shared.worlds.car_racing.violations import VIOLATIONS
from shared.worlds.factors import Factor, number
from shared.worlds.tasks import Score, Task
from shared.worlds.violations import Violation

VELOCITY_SWEEPS, POSITION_SWEEPS = 6 * 30, 2 * 30
MOTION = "forward_speed", "lateral_speed", "angular_velocity"


class CarRacing(World):
    """Drive around a random circuit, seen from above; gymnasium's ``CarRacing-v3`` with continuous actions.

    Action ``(steer, gas, brake)``, float32 in [-1, 1] x [0, 1] x [0, 1], steer right positive. Rewards, termination,
    seeds and tracks are gymnasium's. Observation: RGB uint8 ``(frame_size, frame_size, 3)``, what
    ``cv2.resize(..., interpolation=INTER_AREA)`` makes of gymnasium's 96x96 within about 0.25 levels of 255.

    State, float32 ``(10,)`` in Box2D's units (a car is 5.2 long, the road 13.3 wide):

    ==================  ============  ==============================================================================
    ``x``, ``y``        units         hull position; the playfield is [-333.3, 333.3] each way
    ``angle``           rad           hull angle, 0 along +y, counter-clockwise positive, not wrapped
    ``forward_speed``   units/s       velocity of the hull's centre of mass along its axis
    ``lateral_speed``   units/s       the same across, left positive
    ``angular_velocity``  rad/s       counter-clockwise positive
    ``lateral_offset``  units         distance from the centre line, left positive, in [-475, 475]
    ``heading_error``   rad           hull angle minus the track's direction there, in [-pi, pi]
    ``progress``        1             share of the tiles visited, in [0, 1]
    ``wheel_angle``     rad           left front wheel's joint angle, left positive, in about [-0.4, 0.4]
    ==================  ============  ==============================================================================

    For drivers: ``track`` (gymnasium's list of ``(alpha, beta, x, y)``), ``line`` (``line.xy``, float64 ``(n, 2)``, the
    centre line; ``line.nearest``, the index of its point nearest to the car), ``on_road``, ``car``.

    Options: ``hud`` keeps the dashboard (otherwise its rows are cropped before resizing); ``intro`` keeps the first
    second's camera zoom (the physics do not depend on it); ``frame_skip`` repeats each action and sums the rewards;
    ``lap_complete_percent`` and ``domain_randomize`` are gymnasium's, as is ``reset(options={"randomize": bool})``,
    where False keeps the colours of the episode before and thus makes them depend on it. ``factors`` sets
    ``FACTORS`` by name, ``vary`` names those to sample per episode.
    """

    metadata = {  # noqa: RUF012 - gymnasium declares it per instance
        "render_modes": ["rgb_array"],
        "render_fps": reference.FPS,
    }
    state_names = (
        "x",
        "y",
        "angle",
        "forward_speed",
        "lateral_speed",
        "angular_velocity",
        "lateral_offset",
        "heading_error",
        "progress",
        "wheel_angle",
    )
    angles: ClassVar[tuple[str, ...]] = ("angle", "heading_error")
    headline_states: ClassVar[tuple[str, ...]] = ("lateral_offset", "forward_speed", "angular_velocity")
    absolute_states: ClassVar[tuple[str, ...]] = ("x", "y", "progress")
    typical: ClassVar[Subset | None] = DRIVING
    default_recipe: ClassVar[str] = "car-racing-grid-vector"
    max_episode_steps = 400
    """8 seconds: more tracks per frame collected than with gymnasium's 1000, at little cost for the resets."""
    shard_rows: ClassVar[int] = 4096
    violations: ClassVar[tuple[Violation, ...]] = VIOLATIONS
    factors: ClassVar[tuple[Factor, ...]] = FACTORS
    driver: ClassVar[type[Driver]] = Driver
    tasks: ClassVar[Mapping[str, Task]] = {
        "race": Score("100 tracks of 1,000 frames; gymnasium counts a mean of 900 as solved", 1000, 100, 900.0)
    }
    unseen: ClassVar[dict[str, dict[str, Any]]] = {"colours": {"domain_randomize": True}}
    unseen_episodes: ClassVar[bool] = True
    keys: ClassVar[dict[str, tuple[float, ...]]] = {
        "left": (-1.0, 0.0, 0.0),
        "right": (1.0, 0.0, 0.0),
        "up": (0.0, 1.0, 0.0),
        "down": (0.0, 0.0, 0.8),
    }

    maps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("x", "y"), ("lateral_offset", "speed"), ("lateral_offset", "heading_error"),
    )  # fmt: skip

    @classmethod
    def axes(cls, frame_size: int) -> tuple[Axis, ...]:
        return AXES

    def __init__(
        self,
        frame_size: int = 64,
        hud: bool = False,
        intro: bool = False,
        frame_skip: int = 1,
        lap_complete_percent: float = 0.95,
        domain_randomize: bool = False,
        render_mode: str | None = None,
        factors: Mapping[str, Any] | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.choose(factors, vary)
        if frame_size < 8:
            raise TinyJEPAError(f"CarRacing: frame_size is {frame_size}; it must be at least 8 pixels")
        if frame_skip < 1:
            raise TinyJEPAError(f"CarRacing: frame_skip is {frame_skip}; it must be at least 1")
        if render_mode not in (None, "rgb_array"):
            raise TinyJEPAError(f"CarRacing: unknown render_mode '{render_mode}'. Choices: rgb_array")
        self.intro = intro
        self.frame_skip = frame_skip
        self.lap_complete_percent = lap_complete_percent
        self.domain_randomize = domain_randomize
        self.render_mode = render_mode
        self.control_rate = reference.FPS / frame_skip
        self.action_space = spaces.Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)
        self.road_color = np.array([102, 102, 102])
        self.bg_color = np.array([102, 204, 102])
        self.grass_color = np.array([102, 230, 102])
        self.car: Car | None = None
        self.renderer = Renderer(frame_size, hud)
        self._gymnasium: reference.CarRacing | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.domain_randomize and (options or {}).get("randomize", True):
            self._draw_colours()
        self.__dict__ |= colours(self.variation.names, self.factor_values)
        circuit = Track.create(self.np_random, number(self.factor_values["road_width"]))
        self.circuit = circuit
        self._shapes = [polygonShape(vertices=tile) for tile in circuit.tiles]
        self.track = circuit.points
        self.line = CentreLine(circuit)
        self.renderer.begin(circuit, self.road_color, self.bg_color, self.grass_color)
        self.renderer.aim(number(self.factor_values["camera_zoom"]), car_colour(self.factor_values))

        self.reward = 0.0
        self.prev_reward = 0.0
        self.tile_visited_count = 0
        self.visited = [False] * len(self.track)
        self.touched = [False] * len(self.track)
        angle, x, y = circuit.points[0][1:4]
        self._build(x, y, angle)
        self.new_lap = False
        self.t = 0.0
        self._advance(0.0, 0.0, 0.0)
        return self.frame(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.car is None:
            raise TinyJEPAError("CarRacing: step() before reset(); call reset() first")
        steer, gas, brake = np.asarray(action, np.float64).tolist()
        total = 0.0
        terminated = False
        info: dict[str, Any] = {}
        for _ in range(self.frame_skip):
            self._advance(-steer, gas, brake)
            self.reward -= 0.1
            reward = self.reward - self.prev_reward
            self.prev_reward = self.reward
            if self.tile_visited_count == len(self.track) or self.new_lap:
                terminated = True
                info["lap_finished"] = True
            if abs(self.car.x) > reference.PLAYFIELD or abs(self.car.y) > reference.PLAYFIELD:
                terminated = True
                info["lap_finished"] = False
                reward = -100.0
            total += reward
            if terminated:
                break
        return self.look(), total, terminated, False, info

    def state(self) -> np.ndarray:
        car = self.car
        if car is None:
            raise TinyJEPAError("CarRacing: state() before reset(); call reset() first")
        angle = car.hull.angle
        offset, heading = self.line.locate(car.x, car.y)
        return np.array(
            (
                car.x,
                car.y,
                angle,
                car.cos * car.vy - car.sin * car.vx,
                -(car.cos * car.vx + car.sin * car.vy),
                car.hull.angularVelocity,
                offset,
                math.remainder(angle - heading, 2 * math.pi),
                self.tile_visited_count / len(self.track),
                car.angle[0],
            ),
            np.float32,
        )

    @property
    def on_road(self) -> bool:
        """Whether any wheel touches a road tile."""
        return self.car is not None and any(self.car.tiles)

    def render(self) -> np.ndarray | None:
        """gymnasium's own drawing of the same moment, RGB uint8 ``(400, 600, 3)``; None without ``render_mode``."""
        if self.render_mode is None or self.car is None:
            return None
        if self._gymnasium is None:
            self._gymnasium = reference.CarRacing()
        self.car.publish()
        painter = self._gymnasium
        painter.car, painter.reward = self.car, self.reward
        painter.t = self.t if self.intro else self.t + 1.0
        painter.road_color, painter.bg_color, painter.grass_color = self.road_color, self.bg_color, self.grass_color
        painter.road_poly = []
        for i, tile in enumerate(self.circuit.tiles):
            shade = 0 if self.touched[i] else 0.01 * (i % 3) * 255
            painter.road_poly.append((tile, self.road_color + shade))
            if i in self.circuit.kerbs:
                painter.road_poly.append((self.circuit.kerbs[i], (255, 255, 255) if i % 2 == 0 else (255, 0, 0)))
        self.car.hull.color = tuple(level / 255 for level in car_colour(self.factor_values))
        usual = reference.ZOOM
        reference.ZOOM = usual * number(self.factor_values["camera_zoom"])  # a constant of its module
        try:
            picture: np.ndarray = painter._render("rgb_array")
        finally:
            reference.ZOOM = usual
        return picture

    def course(self, states: np.ndarray, seconds: float) -> np.ndarray:
        """The car's way by dead reckoning: its speeds, forwards, to the left and around, summed up over time."""
        forward, left, turning = (states[..., self.state_names.index(name)] for name in MOTION)
        return self.renderer.shares(*dead_reckoning(forward, left, turning, seconds))

    def fork(self) -> CarRacing:
        """An independent copy at this moment. Its physics goes on as here but for the solver's warm start, rounding."""
        if self.car is None:
            raise TinyJEPAError("CarRacing: fork() before reset(); call reset() first")
        twin = copy.copy(self)
        twin.np_random = copy.deepcopy(self.np_random)
        twin.renderer = self.renderer.copy()
        twin.line = copy.copy(self.line)
        twin.visited, twin.touched = list(self.visited), list(self.touched)
        twin.render_mode, twin._gymnasium = None, None
        twin._build(self.car.x, self.car.y, self.car.hull.angle)
        assert twin.car is not None
        twin.car.become(self.car)
        twin.world.Step(0.0, 0, 0)  # finds the tiles that the wheels are on, and moves nothing
        return twin

    def touch(self, tile: int) -> None:
        """The car's front or a wheel is on a tile."""
        if not self.touched[tile]:
            self.touched[tile] = True
            self.renderer.touch(tile)

    def visit(self, tile: int) -> None:
        """A wheel is on a tile."""
        if self.visited[tile]:
            return
        self.visited[tile] = True
        self.reward += 1000.0 / len(self.track)
        self.tile_visited_count += 1
        if tile == 0 and self.tile_visited_count / len(self.track) > self.lap_complete_percent:
            self.new_lap = True

    def _draw_colours(self) -> None:
        self.road_color = self.np_random.uniform(0, 210, size=3)
        self.bg_color = self.np_random.uniform(0, 210, size=3)
        self.grass_color = np.copy(self.bg_color)
        self.grass_color[self.np_random.integers(3)] += 20

    def _build(self, x: float, y: float, angle: float) -> None:
        """A fresh Box2D world: contacts and solver state of the episode before must not show."""
        contacts = Contacts(self)
        self._contacts = contacts
        self.world = b2World((0, 0), contactListener=contacts)
        self._build_road()
        self.car = Car(self.world, angle, x, y, contacts.tiles, leave_skids=self.render_mode is not None)
        self.car.friction = number(self.factor_values["friction"])
        for i, wheel in enumerate(self.car.wheels):
            wheel.userData = None
            wheel.fixtures[0].userData = -1 - i

    def _build_road(self) -> None:
        """All tiles as sensors on one body: the same contacts as gymnasium's body per tile, at less cost."""
        road = self.world.CreateStaticBody()
        definition = fixtureDef(isSensor=True)
        for i, shape in enumerate(self._shapes):
            definition.shape = shape
            definition.userData = i
            road.CreateFixture(definition)

    def _advance(self, steer: float, gas: float, brake: float) -> None:
        """One time step of 1/50 s."""
        car = self.car
        assert car is not None
        car.drive(steer, gas, brake)
        self.world.Step(DT, VELOCITY_SWEEPS, POSITION_SWEEPS)
        car.read()
        self.line.follow(car.x, car.y)
        self.t += DT
        self.score = self.reward

    def look(self) -> np.ndarray:
        """The frame; while nothing is to be drawn, an empty one."""
        return self.frame() if self.drawing else np.zeros(self.observation_space.shape or (), np.uint8)

    def frame(self) -> np.ndarray:
        """What is seen now: uint8 ``(H, W, C)``."""
        car = self.car
        assert car is not None
        zoom = self.renderer.zoom
        if self.intro and self.t < 1:
            zoom = 0.1 * reference.SCALE * max(1 - self.t, 0) + zoom * min(self.t, 1)
        frame = self.renderer.draw(car.x, car.y, car.sin, car.cos, zoom, car.angle, car.phase)
        if self.renderer.dashboard is not None:
            self.renderer.dashboard.draw(
                frame,
                self.score,
                math.hypot(car.vx, car.vy),
                car.omega,
                car.angle[0],
                car.hull.angularVelocity,
            )
        return frame
