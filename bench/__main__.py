"""`python -m bench`: measure, show, keep."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from . import burst, drain, ingest, machine, page, parcels, peer, report
from .machine import Referee
from .stage import Stage

PARTS = ("ingest", "burst", "drain", "parcels", "page")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Dastak on this machine.")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, or several")
    parser.add_argument("--quick", action="store_true", help="small and rough, to see that all of it works")
    parser.add_argument("--no-node", action="store_true", help="leave the Node stack out")
    given = parser.parse_args()
    parts = given.only or PARTS
    with Stage.begin() as stage:
        found: dict[str, Any] = {"quick": given.quick, "machine": machine.describe(stage.folder)}
        found["versions"] = machine.packages()
        referee = Referee(repeats=0 if given.quick else 2)
        if "ingest" in parts:
            node = not given.no_node and _peer(found)
            pace = ingest.Pace(rounds=1, seconds=1.0, open_seconds=2.0) if given.quick else ingest.Pace()
            found["ingest"] = ingest.measure(stage, referee, pace, node=node)
            found["postgresql"] = stage.postgres_facts()
        if "burst" in parts:
            orders, rounds = (200, 1) if given.quick else (2000, 3)
            found["burst"] = burst.measure(stage, referee, orders=orders, rounds=rounds)
        if "drain" in parts:
            depths = (1_000, 5_000) if given.quick else drain.DEPTHS
            rounds = 1 if given.quick else 3
            found["drain"] = drain.measure(stage, referee, depths=depths, drained=1_000, rounds=rounds)
        if "parcels" in parts:
            size = parcels.Size(20, 2_000) if given.quick else parcels.Size()
            found["parcels"] = parcels.measure(stage, size)
        if "page" in parts:
            try:
                found["page"] = page.measure(stage, referee, loads=5 if given.quick else 40)
            except page.NoBrowser as reason:
                print(f"  the customer's page is not measured: {reason}", flush=True)
    report.show(found)
    print(f"\n  kept in {report.save(found).relative_to(report.RESULTS.parent.parent)}")
    if report.lost(found):
        sys.exit("Something acknowledged was lost, doubled or refused; see the JSON.")


def _peer(found: dict[str, Any]) -> bool:
    try:
        peer.install()
    except peer.NoPeer as reason:
        print(f"  no Node stack to compare with: {reason}", flush=True)
        found["node"] = str(reason)
        return False
    found["versions"] |= peer.versions()
    return True


if __name__ == "__main__":
    main()
