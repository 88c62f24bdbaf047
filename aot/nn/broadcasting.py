"""Annotations of arguments that take one number for all dims: `BroadcastingList2[int]`.

The script compiler reads them by name, as a list of that length; to Python they are lists."""

from __future__ import annotations

from typing import List

BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = List
