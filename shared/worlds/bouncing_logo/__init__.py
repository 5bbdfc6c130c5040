"""The bouncing logo: ``world`` (its motion and picture), ``violations`` (what cannot happen in it)."""

from __future__ import annotations

from shared.worlds.bouncing_logo.world import BouncingLogo

__all__ = ["BouncingLogo"]
