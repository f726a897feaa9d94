"""What becomes of a packet, and how a walk ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from fragments import Held


class Ambiguous(Exception):
    """The specification does not say what counts."""


@dataclass
class Outcome:
    """What becomes of a packet."""

    text: str  # `delivered NAME`, `consumed WHAT`, `held AT`, or `dropped REASON`
    full: str = ""  # of a drop: `dropped AT STAGE WHY`
    reply: bool = False  # whether the fabric tells the sender
    answer: Optional[str] = None  # what it says, where the specification fixes it
    by: Optional[list[str]] = None  # every decision of a group or an ACL on the way, if all of them are known
    packets: Optional[int] = None  # how many the receiver's wire carries
    released: list["Outcome"] = field(default_factory=list)  # what became of fragments that waited for it (CT-61)

    @property
    def expected(self) -> str:
        """The most that can be asked for."""
        return self.full or self.text

    @property
    def reason(self) -> str:
        """`delivered`, what consumed it, or why it was dropped."""
        words = self.text.split()
        return words[0] if words[0] in ("delivered", "held") else words[1]


class Drop(Exception):
    """Ends a walk."""

    def __init__(
        self, reason: str, at: str, stage: str = "admission", why: str = "", reply: bool = False, answer: Optional[str] = None
    ) -> None:
        super().__init__(reason)
        self.condemned: tuple[Held, ...] = ()  # fragments that waited and go down with it (CT-63)
        self.outcome = Outcome(f"dropped {reason}", f"dropped {at} {stage} {why or reason}", reply, answer)
