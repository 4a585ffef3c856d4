# the names of manual_backprop.functional
from typing import Any

def __getattr__(name: str) -> Any: ...
