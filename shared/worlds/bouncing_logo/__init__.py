"""The bouncing logo: ``world`` (motion and rendering), ``violations`` (impossible events)."""

from __future__ import annotations

from shared.worlds.bouncing_logo.world import BouncingLogo

__all__ = ["BouncingLogo"]
