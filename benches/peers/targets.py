"""What Palisade is to reach: ratios to a peer, or to itself with other rules."""

from __future__ import annotations

from dataclasses import dataclass

from figures import BY_NAME
from results import Results, Spread


@dataclass(frozen=True)
class Target:
    """The ratio of a figure of two systems: at least so much, at most where lower is better."""

    system: str
    base: str
    figure: str
    wanted: float

    @property
    def says(self) -> str:
        """`≥ 0.55`."""
        return f"{'≤' if BY_NAME[self.figure].lower_is_better else '≥'} {self.wanted:g}"

    def measured(self, results: Results) -> Spread | None:
        """What a run shows; nothing where one of the two was not measured."""
        return results.ratio(self.system, self.base, self.figure)

    def is_met_by(self, ratio: Spread) -> bool:
        """Whether the median is good enough."""
        return ratio.median <= self.wanted if BY_NAME[self.figure].lower_is_better else ratio.median >= self.wanted


def _of(system: str, base: str, **wanted: float) -> list[Target]:
    return [Target(system, base, figure, ratio) for figure, ratio in wanted.items()]


TARGETS = [
    *_of("palisade-tap", "nft", tcp1=0.55, tcp4=0.75, tcp1_nooff=1.5, udp_pps=1.7, cps=0.58, rr_same=1.55),
    *_of("palisade-tap:low", "nft", rr_split=0.40),
    *_of("palisade-packet", "nft", tcp1=0.50, tcp1_nooff=1.2, udp_pps=1.3, cps=0.50, rr_same=1.65),
    *_of("palisade-tap:1000", "palisade-tap", tcp1=0.95, tcp4=0.95, tcp1_nooff=0.95, udp_pps=0.95, cps=0.95, rr_same=1.05),
    *_of("palisade-tap:observed", "palisade-tap", tcp1=0.95, udp_pps=0.95, cps=0.95),
    *_of("palisade-tap:mirrored", "palisade-tap", tcp1=0.50, rr_same=1.5),
    *_of("palisade-tap:1000", "nft:1000", tcp1=2.3, tcp1_nooff=15, cps=3, rr_same=0.3),
    *_of("palisade-tap:1000", "nftset:1000", tcp1=0.54, tcp1_nooff=1.3, udp_pps=1.3, cps=0.54, rr_same=1.7),
]
