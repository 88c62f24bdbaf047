"""What programs ask about CUDA before they choose a device: there is none."""

from __future__ import annotations


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """There is no stream on a GPU to start."""


manual_seed_all = manual_seed


def synchronize(device: object = None) -> None:
    """Everything has run already."""


def empty_cache() -> None:
    """Nothing is cached."""
