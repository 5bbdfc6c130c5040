"""The double pendulum's equations of motion, their integrator, and the world's distribution of starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

GRAVITY = 9.81
"""m/s^2. Rods are 1 m and bobs 1 kg throughout, so that m g l is 9.81 J."""

SUBSTEP = 0.0025
"""Step of the integrator (s). Over 60 s from 1000 starts, 200 of them near upright, the energy drifts by at most
8.5e-6 m g l. With 0.005 s it is 3.0e-4: a fourth-order method's energy error falls with the fifth power."""

START = np.array([math.pi, math.pi, 1.0, 1.0])
"""A start is uniform in [-START, START): theta1, theta2 (rad), omega1, omega2 (rad/s)."""

State = tuple[Any, Any, Any, Any]
"""theta1, theta2 (rad, not wrapped), omega1, omega2 (rad/s): floats, or float64 arrays of one shape."""


def energy(state: State) -> Any:
    """Kinetic plus potential energy (J), the latter 0 at the pivot's height: -29.43 hanging at rest, 29.43 upright."""
    theta1, theta2, omega1, omega2 = state
    kinetic = omega1**2 + omega2**2 / 2 + omega1 * omega2 * np.cos(theta1 - theta2)
    return kinetic - GRAVITY * (2 * np.cos(theta1) + np.cos(theta2))


def accelerations(
    theta1: Any, theta2: Any, omega1: Any, omega2: Any, pivot: Any, elbow: Any, sin: Callable, cos: Callable
) -> tuple[Any, Any]:
    """Angular accelerations (rad/s^2) under torques of the two joints (N m).

    The Lagrangian T - V of ``energy`` gives, with d = theta1 - theta2 and m = l = 1,

        2 theta1'' + cos(d) theta2'' = pivot - elbow - omega2^2 sin(d) - 2 g sin(theta1)
        cos(d) theta1'' +   theta2'' =         elbow + omega1^2 sin(d) -   g sin(theta2),

    of determinant 2 - cos(d)^2 >= 1. (Landau and Lifshitz, Mechanics, section 5, problem 1, has the Lagrangian.)
    """
    difference = theta1 - theta2
    s, c = sin(difference), cos(difference)
    force1 = pivot - elbow - omega2 * omega2 * s - 2 * GRAVITY * sin(theta1)
    force2 = elbow + omega1 * omega1 * s - GRAVITY * sin(theta2)
    determinant = 2 - c * c
    return (force1 - c * force2) / determinant, (2 * force2 - c * force1) / determinant


def advance(
    state: State,
    substeps: int,
    torques: tuple[Any, Any] = (0.0, 0.0),
    sin: Callable = math.sin,
    cos: Callable = math.cos,
) -> State:
    """The state ``substeps`` times ``SUBSTEP`` seconds later, by the classical fourth-order Runge-Kutta method.

    ``torques`` (N m, of pivot and elbow) are held. For a state of arrays give numpy's ``sin`` and ``cos``.
    """
    theta1, theta2, omega1, omega2 = state
    pivot, elbow = torques
    step, half, sixth = SUBSTEP, SUBSTEP / 2, SUBSTEP / 6
    for _ in range(substeps):
        # Accelerations a, b, c, d at the four stages, whose velocities are omega, u, v, w.
        a1, a2 = accelerations(theta1, theta2, omega1, omega2, pivot, elbow, sin, cos)
        u1, u2 = omega1 + half * a1, omega2 + half * a2
        b1, b2 = accelerations(theta1 + half * omega1, theta2 + half * omega2, u1, u2, pivot, elbow, sin, cos)
        v1, v2 = omega1 + half * b1, omega2 + half * b2
        c1, c2 = accelerations(theta1 + half * u1, theta2 + half * u2, v1, v2, pivot, elbow, sin, cos)
        w1, w2 = omega1 + step * c1, omega2 + step * c2
        d1, d2 = accelerations(theta1 + step * v1, theta2 + step * v2, w1, w2, pivot, elbow, sin, cos)
        theta1 = theta1 + sixth * (omega1 + 2 * (u1 + v1) + w1)
        theta2 = theta2 + sixth * (omega2 + 2 * (u2 + v2) + w2)
        omega1 = omega1 + sixth * (a1 + 2 * (b1 + c1) + d1)
        omega2 = omega2 + sixth * (a2 + 2 * (b2 + c2) + d2)
    return theta1, theta2, omega1, omega2
