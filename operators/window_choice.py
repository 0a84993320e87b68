"""Which operator runs a window: slices where they can, one window at a time otherwise. Pure."""

from __future__ import annotations

from typing import Any, TypeGuard

from .all_window_functions import overrides_clear
from .time_triggers import EventTimeTrigger
from .window import WindowSpec
from .window_general import GeneralWindowSpec
from .windowing import SlidingEventTimeWindows, TumblingEventTimeWindows, WindowAssigner, WindowStagger


def choose_window_operator(spec: GeneralWindowSpec) -> WindowSpec | GeneralWindowSpec:
    """The cheapest operator that does what `spec` says: slices know event-time windows of one size that fire at their end.

    Both give the same results, but keep different state: neither restores the other's.
    """
    assigner = spec.assigner
    if type(spec.trigger) is not EventTimeTrigger or spec.evictor is not None:
        return spec
    if overrides_clear(spec.window_function):  # slices do not tell keys when their windows are over
        return spec
    if not _is_plain(assigner):
        return spec
    return WindowSpec(
        key_selector=spec.key_selector,
        key_type=spec.key_type,
        assigner=assigner,
        contents=spec.contents,
        window_function=spec.window_function,
        allowed_lateness_ms=spec.allowed_lateness_ms,
        late_tag=spec.late_tag,
    )


def _is_plain(
    assigner: WindowAssigner[Any, Any],
) -> TypeGuard[TumblingEventTimeWindows | SlidingEventTimeWindows]:
    # Not isinstance: a class derived from these may assign other windows.
    if type(assigner) is TumblingEventTimeWindows:
        return assigner.window_stagger is WindowStagger.ALIGNED
    return type(assigner) is SlidingEventTimeWindows
