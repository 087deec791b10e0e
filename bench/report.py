"""The figures of a run as tables for people and as JSON for machines, and whether each of the goals was met."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ingest import FLOOR, NO_REDIS, NODE, NODE_STORED, RATE, dastak
from .page import LANGUAGES

RESULTS = Path(__file__).parent / "results"

SQLITE, POSTGRESQL = dastak("sqlite"), dastak("postgresql")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was set out for, and what came of it. `found` is None when it was not measured."""

    what: str
    wanted: float
    found: float | None
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        if self.found is None:
            return None
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted


def goals(found: dict[str, Any]) -> list[Goal]:
    """Ratios are of one run, taken in turns; see README.md for what each is worth."""
    ratios = _at(found, "ingest", "one process", "ratios", SQLITE)
    painted = [_at(found, "page", "this machine", language, "p95") for language in LANGUAGES]
    return [
        Goal("webhooks per second, times the Node stack without a database", 3.0, _at(ratios, NODE, "median")),
        Goal("… times the Node stack that stores them", 6.0, _at(ratios, NODE_STORED, "median")),
        Goal(f"p99 at {RATE} a second, ms", 8.0, _at(found, "ingest", "open loop", SQLITE, "p99"), at_least=False),
        Goal("rate with Redis stopped, share of the rate with it", 0.9, _without_redis(found)),
        Goal(
            "a burst of 2,000 orders is out, s", 30.0, _at(found, "burst", "80 per second", "all_out"), at_least=False
        ),
        Goal("deliveries per second and worker, SQLite", 500.0, _at(found, "drain", "sqlite", "1000", "per_second")),
        Goal("… PostgreSQL", 500.0, _at(found, "drain", "postgresql", "1000", "per_second")),
        Goal(
            "cost of a delivery, most waiting to least, SQLite",
            1.15,
            _at(found, "drain", "sqlite", "growth", "median"),
            at_least=False,
        ),
        Goal("… PostgreSQL", 1.15, _at(found, "drain", "postgresql", "growth", "median"), at_least=False),
        Goal(
            "the customer's page, p95 of its paint, ms",
            1000.0,
            max(filter(None, painted), default=None),
            at_least=False,
        ),
        *(goal for engine in ("sqlite", "postgresql") for goal in _parcel_goals(found, engine)),
    ]


def _parcel_goals(found: dict[str, Any], engine: str) -> list[Goal]:
    one = ("parcels", engine)
    return [
        Goal(f"parcels a call of 50, {engine}", 45.0, _at(found, *one, "parcels_a_call")),
        Goal("… calls of an account in a second", 2.0, _at(found, *one, "most_calls_of_an_account_in_a_second"), False),
        Goal("… the fullest tenth of the interval, times its share", 1.5, _at(found, *one, "fullest_tenth"), False),
        Goal("… memory at the end of a pass to after a tenth", 1.1, _at(found, *one, "memory_growth"), False),
    ]


def _without_redis(found: dict[str, Any]) -> float | None:
    share: float | None = _at(found, "ingest", "one process", "ratios", NO_REDIS, SQLITE, "median")
    return share


def _at(found: Any, *path: str) -> Any:
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def lost(found: dict[str, Any]) -> int:
    """Acknowledged and not kept, kept twice, refused, not sent, sent twice: none of it may happen at any speed."""
    count = 0
    for name, kept in (found.get("ingest") or {}).items():
        if name.startswith("kept"):
            count += sum(one.get("missing", 0) + one.get("twice", 0) for who, one in kept.items() if "dastak" in who)
    for part in (found.get("burst") or {}).values():
        if isinstance(part, dict):
            count += part["missing"] + part["doubled"]
    for engine in ("sqlite", "postgresql"):
        depths = _at(found, "drain", engine) or {}
        count += sum(one["failed"] for one in depths.values() if isinstance(one, dict) and "failed" in one)
    for engine in ("sqlite", "postgresql"):
        count += (_at(found, "parcels", engine, "not_asked") or 0) + len(_at(found, "parcels", engine, "faults") or {})
    return count


def show(found: dict[str, Any]) -> None:
    machine = found["machine"]
    print(f"\n  {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}")
    print(f"  {machine['filesystem']}; fdatasync of 4 KB: {machine['fdatasync_4k_ms']} ms")
    print("  " + ", ".join(f"{name} {number}" for name, number in found["versions"].items()))
    if "ingest" in found:
        _ingest(found["ingest"])
    if "burst" in found:
        _burst(found["burst"])
    if "drain" in found:
        _drain(found["drain"])
    if "parcels" in found:
        _parcels(found["parcels"])
    if "page" in found:
        _page(found["page"])
    print("\n  goals")
    for goal in goals(found):
        sign, said = ("≥" if goal.at_least else "≤"), {True: "met", False: "MISSED", None: "not measured"}[goal.met]
        print(f"    {goal.what:<66}{sign} {goal.wanted:<7g}{'' if goal.found is None else goal.found:<10}{said}")
    print(f"    {'lost, doubled or refused, in all parts together':<66}= {0:<7}{lost(found):<10}")


def _ingest(found: dict[str, Any]) -> None:
    print(f"\n  webhooks of {found['body_bytes']} bytes, signed, durable before each 200")
    for group in ("one process", "two processes", "open loop"):
        if group not in found:
            continue
        title = f"{group} at {RATE}/s" if group == "open loop" else group
        print(f"\n    {title:<32}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}   against the same run's")
        for name, case in found[group].items():
            if name == "ratios":
                continue
            ratios = _at(found[group], "ratios", name) or {}
            beside = [
                f"{short} {ratios[other]['median']:g}x"
                for other, short in ((FLOOR, "floor"), (NODE, "node"), (NODE_STORED, "node+sqlite"))
                if ratios.get(other)
            ]
            noisy = f"  ({case['disturbed']} disturbed)" if case["disturbed"] else ""
            figures = f"{case['rate']:>9,.0f}{case['p50']:>9.2f}{case['p99']:>9.2f}{case['worst']:>9.1f}"
            print(f"    {name:<32}{figures}   {', '.join(beside) if group != 'open loop' else ''}{noisy}")


def _burst(found: dict[str, Any]) -> None:
    print(f"\n  a burst of {found['orders']:,} cash orders in both stores, to the fake Graph API's receipt; seconds")
    print(f"    {'':<32}{'p50':>9}{'p99':>9}{'last':>9}{'all out':>9}{'per s':>9}")
    for name, part in found.items():
        if isinstance(part, dict):
            figures = "".join(f"{part[key]:>9}" for key in ("p50", "p99", "last", "all_out", "per_second"))
            lost = f"  missing {part['missing']}, doubled {part['doubled']}"
            print(f"    {'a number sends ' + name:<32}{figures}{lost}")


def _drain(found: dict[str, Any]) -> None:
    print("\n  one worker draining, so many deliveries waiting")
    print(f"    {'':<32}{'per s':>9}{'ms each':>9}{'cpu ms':>9}")
    for engine in ("sqlite", "postgresql"):
        for depth, one in (found.get(engine) or {}).items():
            if depth.isdigit():
                figures = f"{one['per_second']:>9,.0f}{one['cost']:>9.3f}{one['cpu']:>9.3f}"
                print(f"    {f'{engine}, {int(depth):,} waiting':<32}{figures}")
        if engine in found:
            print(f"    {f'{engine}, messages sent per s':<32}{found[engine]['sent_per_second']:>9,.0f}")


def _parcels(found: dict[str, Any]) -> None:
    print(f"\n  one pass over {found['parcels']:,} parcels of {found['stores']} stores, all due at once")
    for engine in ("sqlite", "postgresql"):
        if one := found.get(engine):
            print(
                f"    {engine:<12}{one['seconds']:>7} s, {one['calls']:,} calls of {one['parcels_a_call']} parcels, "
                f"{one['parcels_per_second']:,} parcels/s, {one['memory_mb']['at_the_end']} MB"
            )


def _page(found: dict[str, Any]) -> None:
    print(f"\n  the page on which a customer follows a parcel, largest contentful paint of {found['loads']} loads; ms")
    print(f"    {'':<32}{'median':>9}{'p95':>9}{'worst':>9}")
    for device, languages in found.items():
        if isinstance(languages, dict):
            for language, one in languages.items():
                figures = "".join(f"{one[key]:>9}" for key in ("median", "p95", "worst"))
                print(f"    {f'{device}, {language}':<32}{figures}")


def save(found: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    told = found | {
        "goals": [{"what": g.what, "wanted": g.wanted, "found": g.found, "met": g.met} for g in goals(found)],
        "lost": lost(found),
    }
    path = RESULTS / "bench.json"
    path.write_text(json.dumps(told, indent=1))
    return path
