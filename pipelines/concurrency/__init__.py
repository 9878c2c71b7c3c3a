"""Work in several processes or threads, and coroutines from functions that are none."""

from .event_loop import LoopRunner, run_to_end
from .processes import cores, in_order
from .threads import several_in_order

__all__ = ["LoopRunner", "cores", "in_order", "run_to_end", "several_in_order"]
