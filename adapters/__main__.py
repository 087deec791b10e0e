"""`python -m adapters` prints what is supported, so that no document has to be kept in step.

`python -m adapters check` reads every setting and stops with one message when any needs attention.
"""

import sys
from pathlib import Path

from integration.ports import ROOMS
from integration.settings import Settings

from . import declared_settings, discover


def show() -> None:
    classes = discover()
    for room in ROOMS:
        print(room)
        for adapter in classes[room].values():
            print(
                f"  {adapter.name:<14}{adapter.label:<24}{', '.join(adapter.regions):<24}"
                f"{len(adapter.handles)} events understood, {len(adapter.ignores)} kept for later"
            )
        if not classes[room]:
            print("  (none yet)")


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        Settings.from_env(declared_settings(), dotenv=Path(".env"))
    else:
        show()
