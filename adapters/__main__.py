"""`python -m adapters` prints what is supported, so that no document has to be kept in step."""

from integration.ports import ROOMS

from . import discover

if __name__ == "__main__":
    classes = discover()
    for room in ROOMS:
        print(room)
        for adapter in classes[room].values():
            print(f"  {adapter.name:<14}{adapter.label:<24}{', '.join(adapter.regions):<24}"
                  f"{len(adapter.handles)} events understood, {len(adapter.ignores)} kept for later")  # fmt: skip
        if not classes[room]:
            print("  (none yet)")
