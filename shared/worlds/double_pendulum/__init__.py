"""A double pendulum: smooth, known physics whose future two almost equal starts do not share for long."""

from shared.worlds.double_pendulum.lyapunov import lyapunov_exponents, lyapunov_time
from shared.worlds.double_pendulum.physics import energy
from shared.worlds.double_pendulum.world import DoublePendulum

__all__ = ["DoublePendulum", "energy", "lyapunov_exponents", "lyapunov_time"]
