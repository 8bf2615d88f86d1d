from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class OrderGate:
    is_recovered: bool
    questions: dict[int, Any]
    def __init__(self, questions: dict[int, Any], *, is_recovered: bool = False) -> None: ...
