"""What can be wrong without a packet: the arithmetic, the rules that peers are given, the pages."""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
import unittest
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import chart
import dialects
import report
from machine import Others, _descends
from policy import CUT, FROM_CLIENT, SERVED, TCP_PORT, VPC, Entry, Policy
from results import Measurement, Results, Spread
from session import Plan
from targets import TARGETS, Target

ABOUT: dict[str, Any] = {
    "date": "2026-01-01",
    "commands": ["scripts/bench.sh"],
    "machine": "2 CPUs",
    "versions": {"nftables": "1"},
    "seconds": 5,
}


def run(**values: list[float]) -> Results:
    """Rounds of tcp1, by system."""
    rounds = [(name, number, value) for name, row in values.items() for number, value in enumerate(row, 1)]
    return Results(ABOUT, [Measurement(name.replace("_", "-"), "tcp1", number, value) for name, number, value in rounds])


class Arithmetic(unittest.TestCase):
    def test_median_is_the_middle_or_between_two(self) -> None:
        self.assertEqual(Spread.of([9, 1, 5]), Spread(5, 1, 9))
        self.assertEqual(Spread.of([4, 1, 3, 2]), Spread(2.5, 1, 4))
        self.assertIsNone(Spread.of([]))

    def test_ratio_is_of_values_of_one_round(self) -> None:
        # The machine was ten times as slow in the second round: the ratio of medians would be 0.55.
        results = run(nft=[10, 1, 20], palisade_tap=[5, 0.5, 11])
        self.assertEqual(results.ratio("palisade-tap", "nft", "tcp1"), Spread(0.5, 0.5, 0.55))

    def test_ratio_leaves_out_rounds_that_one_lacks(self) -> None:
        self.assertEqual(run(nft=[10, 10], palisade_tap=[5]).ratio("palisade-tap", "nft", "tcp1"), Spread(0.5, 0.5, 0.5))
        self.assertIsNone(run(palisade_tap=[5]).ratio("palisade-tap", "nft", "tcp1"))

    def test_targets_know_which_way_is_better(self) -> None:
        throughput, latency = Target("a", "b", "tcp1", 0.5), Target("a", "b", "rr_same", 1.5)
        self.assertEqual((throughput.says, latency.says), ("≥ 0.5", "≤ 1.5"))
        self.assertTrue(throughput.is_met_by(Spread(0.5, 0, 1)))
        self.assertFalse(throughput.is_met_by(Spread(0.49, 0, 1)))
        self.assertTrue(latency.is_met_by(Spread(1.5, 0, 2)))
        self.assertFalse(latency.is_met_by(Spread(1.51, 0, 2)))

    def test_saved_runs_can_be_put_together(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            first, second = Path(directory, "a/first.json"), Path(directory, "second.json")
            run(nft=[10, 10]).save(first)
            run(nft=[20], palisade_tap=[5]).save(second)
            both = Results.load([first, second])
        self.assertEqual([one.value for one in both.measurements], [20, 10, 5])
        self.assertEqual(both.about, {**ABOUT, "commands": 2 * ABOUT["commands"]})

    def test_processes_of_others(self) -> None:
        parents = {1: 0, 2: 0, 7: 2, 20: 1, 30: 20, 31: 30}
        self.assertTrue(_descends(31, parents, {20}) and _descends(20, parents, {20}))
        self.assertTrue(_descends(7, parents, {20}), "a thread of the kernel")
        self.assertFalse(_descends(31, parents, {7}))
        self.assertGreaterEqual(Others().cpus(0.1), 0)


class Rules(unittest.TestCase):
    SIZES = ((20, 60), (1000, 1000))

    def test_lists_have_the_size_asked_for_and_what_is_sent_matches_last(self) -> None:
        for size in self.SIZES:
            policy = Policy.of(*size)
            self.assertEqual((len(policy.entries), len(policy.rules)), size)
            self.assertEqual(policy.entries[-1], Entry(True, "all", None, VPC))
            self.assertEqual((policy.rules[-1].protocol, policy.rules[-1].ports, policy.rules[-1].block), ("tcp", SERVED, VPC))
            self.assertEqual(len(set(policy.entries)), size[0])
            self.assertEqual(len(set(policy.rules)), size[1])

    def test_a_map_may_take_the_place_of_the_list(self) -> None:
        """No two entries overlap, but those with the last, which is for everything else and stays behind the map."""
        for one, other in combinations(Policy.of(1000, 2).entries[:-1], 2):
            assert one.ports and other.ports
            if one.protocol == other.protocol and one.ports[0] <= other.ports[1] and other.ports[0] <= one.ports[1]:
                self.assertFalse(ipaddress.ip_network(one.block).overlaps(ipaddress.ip_network(other.block)), (one, other))

    def test_every_dialect_says_all_of_it(self) -> None:
        for entries, rules in self.SIZES:
            policy = Policy.of(entries, rules)
            lists, maps = dialects.nft_lists(policy), dialects.nft_maps(policy)
            self.assertEqual(lists.count(" dport "), 4 * (entries - 1) + 2 * rules)
            self.assertEqual(maps.count(" . tcp . ") + maps.count(" . udp . "), 4 * (entries - 1) + 2 * (rules - 2))
            self.assertEqual(maps.count(" dport "), 4 + 2 + 2 * 2, "look-ups, and rules for ranges")
            flows = [line for line in dialects.openflow(policy).splitlines() if ",tp_dst=" in line]
            priorities = [re.match(r"table=\d+,priority=\d+", flow) for flow in flows]
            self.assertEqual(len({found[0] for found in priorities if found}), 4 * (entries - 1) + 2 * rules)
            config = dialects.palisade(policy, lambda guest: f'tap = "{guest}"')
            self.assertEqual(config.count(" allow ") + config.count(" deny "), 4 * entries)
            self.assertEqual(config.count('    "'), 4 * entries + 2 * rules)

    def test_maps_are_named(self) -> None:
        self.assertNotIn("MAP", dialects.nft_maps(Policy.of(20, 60)))

    def test_port_ranges_as_masks(self) -> None:
        for ports in (CUT, SERVED, (0, 0), (0, 65535), (101, 111), (1024, 65535), (65535, 65535)):
            held: list[int] = []
            for match in dialects.masks(ports):
                value, mask = (int(part, 16) for part in match.removeprefix(",tp_dst=").split("/"))
                held += [port for port in range(0x10000) if port & mask == value]
            self.assertEqual(sorted(held), list(range(ports[0], ports[1] + 1)), "each once")
        self.assertEqual(len(list(dialects.masks((1024, 65535)))), 6)

    def test_a_port_is_probed_that_only_the_acls_deny(self) -> None:
        silent = {int(port.split(":")[1]) for port, what in FROM_CLIENT.items() if what == "silent"}
        self.assertTrue(any(CUT[0] <= port <= CUT[1] for port in silent))
        self.assertTrue(SERVED[0] <= CUT[0] and CUT[1] <= SERVED[1] and TCP_PORT < CUT[0])


class Order(unittest.TestCase):
    def test_figure_by_figure_and_back(self) -> None:
        plan = Plan.of(["nft/tcp1", "palisade-tap/tcp1", "nft/cps"], rounds=2, seconds=5)
        played = [(number, system.name, figure.name) for number, system, figure in plan.in_order()]
        self.assertEqual(
            played,
            [
                *((1, "nft", "tcp1"), (1, "palisade-tap", "tcp1"), (1, "nft", "cps")),
                *((2, "palisade-tap", "tcp1"), (2, "nft", "tcp1"), (2, "nft", "cps")),
            ],
        )

    def test_targets_can_be_measured(self) -> None:
        possible = {(system.name, figure.name) for system, figure in Plan.of(["*"], 1, 1).pairs}
        if len(os.sched_getaffinity(0)) == 1:
            possible |= {(system, "rr_split") for system, _ in possible}
        for target in TARGETS:
            self.assertLessEqual({(target.system, target.figure), (target.base, target.figure)}, possible)


    def test_observation_is_measured_on_request(self) -> None:
        observed = {"palisade-tap:mirrored", "palisade-tap:observed"}
        self.assertFalse(observed & {system.name for system, _ in Plan.of([], 1, 1).pairs})
        self.assertEqual(observed, {system.name for system, _ in Plan.of(["palisade-tap:*ed/tcp1"], 1, 1).pairs})


class Pages(unittest.TestCase):
    def test_only_generated_parts_change(self) -> None:
        page = "before\n<!-- generated by scripts/bench.sh: medians -->\nold\n<!-- end of generated part -->\nafter\n"
        once = report.splice(page, {"medians": "new"})
        self.assertEqual(once, page.replace("old", "new"))
        self.assertEqual(report.splice(once, {"medians": "new"}), once)

    def test_numbers(self) -> None:
        shown = [report.number(value) for value in (0.123, 9.876, 12.34, 123.4, 31422.18)]
        self.assertEqual(shown, ["0.12", "9.88", "12.3", "123", "31,400"])

    def test_every_part_and_the_chart_of_a_run(self) -> None:
        results = run(nft=[10, 11, 12], palisade_tap=[5, 6, 7])
        for name, part in report.parts(results).items():
            self.assertTrue(part.strip(), name)
        self.assertIn("| `tcp1` | `palisade-tap` | `nft` | ≥ 0.55 | 0.55 |", report.parts(results)["targets"])
        self.assertIn("palisade-tap", report.table(results))
        image = ElementTree.fromstring(chart.draw(results))
        self.assertEqual(len(image.findall(".//{*}rect")), 3, "the card and two bars")


if __name__ == "__main__":
    unittest.main()
