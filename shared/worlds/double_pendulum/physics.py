"""The double pendulum's equations of motion, their integrator, and the world's distribution of starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GRAVITY = 9.81
"""m/s^2. Rods are 1 m and bobs 1 kg unless a world's factors say otherwise, so that m g l is 9.81 J."""

SUBSTEP = 0.0025
"""Step of the integrator (s). Over 60 s from 1000 starts, 200 of them near upright, the energy drifts by at most
8.5e-6 m g l. With 0.005 s it is 3.0e-4: a fourth-order method's energy error falls with the fifth power."""

START = np.array([math.pi, math.pi, 1.0, 1.0])
"""A start is uniform in [-START, START): theta1, theta2 (rad), omega1, omega2 (rad/s)."""


class Bodies(NamedTuple):
    """What the equations of motion take of lengths, masses and gravity."""

    inertia1: float = 2.0
    """(m1 + m2) l1^2, kg m^2"""
    inertia2: float = 1.0
    """m2 l2^2, kg m^2"""
    coupling: float = 1.0
    """m2 l1 l2, kg m^2"""
    weight1: float = 2 * GRAVITY
    """(m1 + m2) g l1, N m"""
    weight2: float = GRAVITY
    """m2 g l2, N m"""


def bodies(length1: float, length2: float, mass1: float, mass2: float, gravity: float) -> Bodies:
    """Of rods (m), bobs (kg) and gravity (m/s^2)."""
    both = mass1 + mass2
    return Bodies(
        both * length1**2, mass2 * length2**2, mass2 * length1 * length2, both * gravity * length1,
        mass2 * gravity * length2,
    )  # fmt: skip


PLAIN = Bodies()

State = tuple[Any, Any, Any, Any]
"""theta1, theta2 (rad, not wrapped), omega1, omega2 (rad/s): floats, or float64 arrays of one shape."""


def energy(state: State, of: Bodies = PLAIN) -> Any:
    """Kinetic plus potential energy (J), a float or float64 of the state's shape. The latter is 0 at the pivot:
    the plain pendulum has -29.43 hanging at rest, 29.43 upright."""
    theta1, theta2, omega1, omega2 = state
    inertia1, inertia2, coupling, _, weight2 = of
    first, second = inertia1 / 2 * omega1**2, inertia2 / 2 * omega2**2
    kinetic = first + second + coupling * (omega1 * omega2) * np.cos(theta1 - theta2)
    ratio = inertia1 / coupling  # of the weights, without gravity as well
    return kinetic - weight2 * (ratio * np.cos(theta1) + np.cos(theta2))


def accelerations(
    theta1: Any,
    theta2: Any,
    omega1: Any,
    omega2: Any,
    pivot: Any,
    elbow: Any,
    sin: Callable,
    cos: Callable,
    of: Bodies = PLAIN,
) -> tuple[Any, Any]:
    """Angular accelerations (rad/s^2) under torques of the two joints (N m).

    The Lagrangian T - V gives, with d = theta1 - theta2 and, of ``Bodies``, inertias I, coupling k and weights w,

        I1 theta1'' + k cos(d) theta2'' = pivot - elbow - k omega2^2 sin(d) - w1 sin(theta1)
        k cos(d) theta1'' +  I2 theta2'' =        elbow + k omega1^2 sin(d) - w2 sin(theta2),

    of determinant 2 - cos(d)^2 >= 1 where lengths and masses are 1.
    (Landau and Lifshitz, Mechanics, section 5, problem 1, has the Lagrangian.)
    """
    difference = theta1 - theta2
    inertia1, inertia2, coupling, weight1, weight2 = of
    s, c = coupling * sin(difference), coupling * cos(difference)
    force1 = pivot - elbow - omega2 * omega2 * s - weight1 * sin(theta1)
    force2 = elbow + omega1 * omega1 * s - weight2 * sin(theta2)
    determinant = inertia1 * inertia2 - c * c
    return (inertia2 * force1 - c * force2) / determinant, (inertia1 * force2 - c * force1) / determinant


def advance(
    state: State,
    substeps: int,
    torques: tuple[Any, Any] = (0.0, 0.0),
    sin: Callable = math.sin,
    cos: Callable = math.cos,
    of: Bodies = PLAIN,
) -> State:
    """The state ``substeps`` times ``SUBSTEP`` seconds later, by the classical fourth-order Runge-Kutta method.

    ``torques`` (N m, of pivot and elbow) are held. For a state of arrays give numpy's ``sin`` and ``cos``.
    """
    theta1, theta2, omega1, omega2 = state
    pivot, elbow = torques
    step, half, sixth = SUBSTEP, SUBSTEP / 2, SUBSTEP / 6
    for _ in range(substeps):
        # Accelerations a, b, c, d at the four stages, whose velocities are omega, u, v, w.
        a1, a2 = accelerations(theta1, theta2, omega1, omega2, pivot, elbow, sin, cos, of)
        u1, u2 = omega1 + half * a1, omega2 + half * a2
        b1, b2 = accelerations(theta1 + half * omega1, theta2 + half * omega2, u1, u2, pivot, elbow, sin, cos, of)
        v1, v2 = omega1 + half * b1, omega2 + half * b2
        c1, c2 = accelerations(theta1 + half * u1, theta2 + half * u2, v1, v2, pivot, elbow, sin, cos, of)
        w1, w2 = omega1 + step * c1, omega2 + step * c2
        d1, d2 = accelerations(theta1 + step * v1, theta2 + step * v2, w1, w2, pivot, elbow, sin, cos, of)
        theta1 = theta1 + sixth * (omega1 + 2 * (u1 + v1) + w1)
        theta2 = theta2 + sixth * (omega2 + 2 * (u2 + v2) + w2)
        omega1 = omega1 + sixth * (a1 + 2 * (b1 + c1) + d1)
        omega2 = omega2 + sixth * (a2 + 2 * (b2 + c2) + d2)
    return theta1, theta2, omega1, omega2
