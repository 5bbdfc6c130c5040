"""gymnasium's CarRacing, bit for bit in its physics, with its own renderer straight to the wanted size."""

from shared.worlds.car_racing.world import CarRacing

__all__ = ["CarRacing"]
