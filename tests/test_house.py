"""The rules of the house, as tests: who may import whom, what must be listed, what must never be written."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adapters import declared_settings, discover
from integration.guards import DEFER_REASONS, SKIP_REASONS
from integration.settings import CORE

ROOT = Path(__file__).parent.parent

ORDER = [
    line.split()[0]
    for line in (ROOT / "integration" / "__init__.py").read_text().split("Read in this order")[1].splitlines()
    if re.match(r"    [a-z]\w* +\S", line)
]
"""The reading order that integration's docstring promises."""

OUTSIDE = {
    "integration": {
        "adapters", "webapp", "worker", "sandbox", "flask", "rq", "redis",
        "requests", "httpx", "shopify", "woocommerce", "authlib",
    },
    "adapters": {"webapp", "worker", "sandbox", "flask", "rq", "redis", "sqlalchemy"},
    "webapp": {"sandbox", "rq", "redis", "httpx", "requests", "shopify", "woocommerce", "authlib"},
    "sandbox": {"adapters", "integration", "webapp", "worker"},
}  # fmt: skip
"""What each part must never import."""

ADAPTERS_MAY = {"events", "ports", "errors", "values", "settings", "clock"}
"""What adapter modules may use of the core (adapters/__init__.py, the loader, may also put the house together)."""


def _modules(part: str) -> Iterator[Path]:
    yield from sorted(path for path in (ROOT / part).rglob("*.py") if "__pycache__" not in path.parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """(dotted name, line, inside a function) of every import, relative ones made absolute."""
    tree, found = _tree(path), []
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f) if n is not f}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append((alias.name, node.lineno, id(node) in inside))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                found.append((f"{name}.{alias.name}", node.lineno, id(node) in inside))
    return tuple(found)


@cache
def _typing_only(path: Path) -> set[int]:
    """Lines inside `if TYPE_CHECKING:`."""
    found: set[int] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            found |= {n.lineno for n in ast.walk(node) if hasattr(n, "lineno")}
    return found


@pytest.mark.parametrize("part", OUTSIDE)
def test_nobody_imports_what_is_not_theirs(part: str) -> None:
    for path in _modules(part):
        for name, line, _ in _imports(path):
            assert name.split(".")[0] not in OUTSIDE[part], f"{path.relative_to(ROOT)}:{line} imports {name}"


def test_only_the_worker_knows_the_queue() -> None:
    for part in ("integration", "adapters", "webapp", "sandbox"):
        for path in _modules(part):
            assert not any(name.split(".")[0] == "rq" for name, _, _ in _imports(path)), path


def test_the_core_reads_downwards() -> None:
    """A module of the core imports only modules above it in the promised order; so there are no cycles."""
    for path in _modules("integration"):
        parts = path.relative_to(ROOT / "integration").parts
        own = parts[0].removesuffix(".py")
        if own in ("__init__", "migrations"):
            continue
        assert own in ORDER, f"{own} is missing from the map in integration/__init__.py"
        for name, line, _ in _imports(path):
            words = name.split(".")
            if words[0] == "integration" and len(words) > 1 and words[1] in ORDER and line not in _typing_only(path):
                assert words[1] == own or ORDER.index(words[1]) < ORDER.index(own), f"{path.name}:{line} imports {name}"


def test_adapters_use_only_the_contract() -> None:
    for path in _modules("adapters"):
        if path.parent.name == "adapters":
            continue
        for name, line, _ in _imports(path):
            words = name.split(".")
            if words[0] == "integration":
                assert words[1] in ADAPTERS_MAY, f"{path.relative_to(ROOT)}:{line} imports {name}"
            if words[0] == "adapters" and len(words) > 2:
                assert words[1] in ("http", "signing", "scans", "bookings", "labels", "gateways"), (
                    f"{path.relative_to(ROOT)}:{line} imports its sibling {name}"
                )


def test_imports_stand_at_the_top() -> None:
    """But for the two that only some installations have or need."""
    allowed = {("integration/settings.py", "dotenv"), ("servers.py", "psycopg"), ("worker.py", "worker")}
    paths = [*(p for part in ("integration", "adapters", "webapp") for p in _modules(part)), *ROOT.glob("*.py")]
    for path in paths:
        for name, line, inside in _imports(path):
            key = (str(path.relative_to(ROOT)), name.split(".")[0])
            assert not inside or key in allowed, f"{path.relative_to(ROOT)}:{line} imports {name} inside a function"


def test_no_vendor_is_named_in_the_core_or_the_pages() -> None:
    """WhatsApp is the product's medium and may be spoken of; no vendor may be branched on."""
    vendors = {name for named in discover().values() for name in named}
    for part in ("integration", "webapp"):
        for path in _modules(part):
            code = _without_docs(path)
            for vendor in vendors:
                assert not re.search(rf"(?<![A-Za-z]){vendor}(?![A-Za-z])", code), (
                    f"{path.relative_to(ROOT)} names {vendor}"
                )


def _without_docs(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.unparse(tree)


def test_settings_are_read_in_one_place() -> None:
    for part in ("integration", "adapters", "webapp"):
        for path in _modules(part):
            if path.name != "settings.py":
                assert "os.environ" not in path.read_text(), path
                assert "getenv" not in path.read_text(), path


def test_the_example_lists_every_setting_in_order() -> None:
    listed = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert listed == [setting.name for setting in (*CORE, *declared_settings())]


def test_shopifys_manifest_asks_for_what_the_settings_say_and_subscribes_to_what_is_understood() -> None:
    manifest = tomllib.loads((ROOT / "shopify.app.toml").read_text())
    settings = {setting.name: setting.default for setting in declared_settings()}
    assert manifest["access_scopes"]["scopes"] == settings["SHOPIFY_SCOPES"]
    assert manifest["webhooks"]["api_version"] == settings["SHOPIFY_API_VERSION"]
    blocks = manifest["webhooks"]["subscriptions"]
    topics = {topic for block in blocks for key in ("topics", "compliance_topics") for topic in block.get(key, ())}
    adapter = discover()["stores"]["shopify"]
    assert adapter.handles <= topics <= adapter.handles | adapter.ignores
    assert {block["uri"] for block in blocks} == {"/webhooks/stores/shopify"}


def test_every_adapter_has_fixtures() -> None:
    for room, named in discover().items():
        for name in named:
            assert (ROOT / "tests" / "fixtures" / room / name / "credentials.json").exists()


@pytest.mark.parametrize("reason", [*SKIP_REASONS, *DEFER_REASONS])
def test_every_reason_for_silence_is_reached_by_a_test(reason: str) -> None:
    tests = "".join(
        path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name
    )
    assert reason in tests, f"no test reaches the reason {reason!r}"


def test_nothing_of_this_machine_is_written_down() -> None:
    """No home directories, no place of this checkout, no registry hosts, in any file that git knows."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    places = [re.escape(str(place)) for place in (Path.home(), ROOT) if len(place.parts) > 2]
    pattern = re.compile("|".join([r"/(root|home)/[a-z]", r"index-url", *places]))
    for name in files:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".txt", ".html", ".js", ".css", ".json", ".yml", ".sh", "")
            and path.is_file()
        ):
            found = pattern.search(path.read_text(errors="replace"))
            assert not found or name == "tests/test_house.py", f"{name}: {found[0] if found else ''}"


def test_no_name_says_nothing() -> None:
    """No utils, helpers, managers or services."""
    for part in ("integration", "adapters", "webapp", "sandbox"):
        for path in _modules(part):
            assert not re.search(r"util|helper|common|misc", path.stem), path
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    assert not re.search(r"(Manager|Service|Helper|Util|Handler|Processor|Impl)$", node.name), node.name
