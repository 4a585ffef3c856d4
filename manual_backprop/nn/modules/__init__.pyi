# the names of manual_backprop.nn
from typing import Any

def __getattr__(name: str) -> Any: ...
