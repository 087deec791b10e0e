"""Message templates: what Meta accepts at creation, the life of one, and filling one in at sending.

A template record is what `GET /<WABA>/message_templates` would show, plus `waba` and bookkeeping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from sandbox.whatsapp.graph_errors import GraphError
from sandbox.world import Record

CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")
STATUSES = (
    "APPROVED",
    "REJECTED",
    "PENDING",
    "PAUSED",
    "DISABLED",
    "IN_APPEAL",
    "ARCHIVED",
    "LIMIT_EXCEEDED",
    "PENDING_DELETION",
    "DELETED",
)
SENDABLE = ("APPROVED",)
SUPPORTED_LANGUAGES = """
    af sq ar ar_EG ar_AE ar_SA az bn bg ca zh_CN zh_HK zh_TW hr cs da nl en en_GB en_US en_IN et fil fi fr de el gu
    ha he hi hu id ga it ja kn kk ko lo lv lt mk ms ml mr nb fa pl pt_BR pt_PT pa ps_AF ro ru sr si_LK sk sl es
    es_AR es_CL es_CO es_ES es_MX es_PE sw sv ta te th tr uk ur uz vi zu
"""
LANGUAGES = frozenset(SUPPORTED_LANGUAGES.split())
HEADER_FORMATS = ("TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION")
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT")
BUTTON_TYPES = ("QUICK_REPLY", "URL", "PHONE_NUMBER", "COPY_CODE", "FLOW", "CATALOG", "VOICE_CALL")
LONGEST = {"name": 512, "header": 60, "body": 1024, "footer": 60, "button": 25, "url": 2000, "code": 20}
CREATES_PER_HOUR = 100
MOST_PER_WABA = 250
VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
NAME = re.compile(r"[a-z0-9_]+")
PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]*")

# Words that make Meta judge a "utility" text as marketing, in the languages the sandbox's cast speaks.
PROMOTIONAL = re.compile(
    r"\b((big|mega|flash|eid|season|our|on) sale|discount|\d+\s?%\s?off|coupon|promo(tion)?|special offer|"
    r"limited time|shop now|buy now|best deals?|"
    r"left (something|items?) in (your|the) cart|your cart|recommended for you|you may also like|new arrivals?|"
    r"descuento|oferta|rebajas|promoci[oó]n|desconto|promo[cç][aã]o|"
    r"\u0631\u0639\u0627\u06cc\u062a|\u0688\u0633\u06a9\u0627\u0624\u0646\u0679|"
    r"\u091b\u0942\u091f|\u0911\u092b\u0930)\b",
    re.I,
)


def refuse(subcode: int, title: str, message: str) -> GraphError:
    """Creation is refused with code 100 and a subcode that says why."""
    return GraphError(100, message, subcode=subcode, user_message=(title, message))


# Creation


def checked(body: dict[str, Any]) -> Record:
    """The template a creation request asks for, or the refusal Meta would give."""
    name, language, category = body.get("name"), body.get("language"), body.get("category")
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST["name"]:
        raise refuse(2388094, "Invalid name", "Name must be lowercase letters, digits and underscores, at most 512.")
    if not isinstance(language, str) or language not in LANGUAGES:
        raise GraphError(100, f"Language {str(language)[:20]!r} is not supported.", subcode=2388098)
    if not isinstance(category, str) or category.upper() not in CATEGORIES:
        raise GraphError(100, f"Param category must be one of {{{', '.join(CATEGORIES)}}}")
    if "allow_category_change" in body:
        raise GraphError(100, "allow_category_change is no longer supported")
    kind = body.get("parameter_format", "POSITIONAL")
    if not isinstance(kind, str) or kind.upper() not in ("NAMED", "POSITIONAL"):
        raise GraphError(100, "Param parameter_format must be one of {NAMED, POSITIONAL}")
    named = kind.upper() == "NAMED"
    components = body.get("components")
    if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
        raise GraphError(100, "The parameter components is required.")
    kinds = [str(component.get("type", "")).upper() for component in components]
    if kinds.count("BODY") != 1 or len(set(kinds)) != len(kinds):
        raise refuse(2388043, "Missing body", "A template has exactly one BODY and at most one of each other part.")
    for known, component in zip(kinds, components, strict=True):
        check = CHECKS.get(known)
        if check is None:
            raise GraphError(100, f"Param components.type must be one of {{{', '.join(CHECKS)}}}")
        check(component, named)
    ttl = body.get("message_send_ttl_seconds")
    if ttl is not None and not (isinstance(ttl, int) and (ttl == -1 or 30 <= ttl <= 43200)):
        raise GraphError(100, "message_send_ttl_seconds must be between 30 and 43200, or -1")
    return {
        "name": name,
        "language": language,
        "category": category.upper(),
        "parameter_format": "NAMED" if named else "POSITIONAL",
        "components": [{**component, "type": known} for known, component in zip(kinds, components, strict=True)],
    }


def _length(text: Any, part: str, subcode: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise GraphError(100, f"The {part} text is missing.", subcode=subcode)
    if len(text) > LONGEST[part]:
        raise refuse(subcode, "Text too long", f"The {part} has more than {LONGEST[part]} characters.")
    return text


def variables(text: str, named: bool) -> list[str]:
    """The variables of a text in order of first appearance, refused where Meta refuses them."""
    found = list(dict.fromkeys(VARIABLE.findall(text)))
    if named:
        wrong = [name for name in found if not PARAMETER_NAME.fullmatch(name)]
    else:
        wrong = [name for name in found if not name.isascii() or not name.isdigit()]
        if not wrong and sorted(int(name) for name in found) != list(range(1, len(found) + 1)):
            raise refuse(2388073, "Invalid parameters", "Variables must be numbered {{1}}, {{2}}, … without gaps.")
    if wrong:
        raise refuse(2388073, "Invalid parameters", f"{{{{{wrong[0][:40]}}}}} is not a valid variable name.")
    return found


def _examples(component: dict[str, Any], named_key: str, positional_key: str, named: bool) -> Any:
    example = component.get("example")
    return example.get(named_key if named else positional_key) if isinstance(example, dict) else None


def _check_examples(given: Any, wanted: list[str], named: bool, part: str) -> None:
    missing = refuse(2388043, "Missing sample", f"The {part} has variables but no example for each of them.")
    if named:
        if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
            raise missing
        names = {
            str(item.get("param_name")) for item in given if isinstance(item.get("example"), str) and item["example"]
        }
        if names != set(wanted):
            raise missing
    else:
        values = given[0] if part == "body" and isinstance(given, list) and given else given
        if not isinstance(values, list) or len(values) != len(wanted):
            raise missing


def _check_header(component: dict[str, Any], named: bool) -> None:
    kind = str(component.get("format", "")).upper()
    if kind not in HEADER_FORMATS:
        raise GraphError(100, f"Param components.format must be one of {{{', '.join(HEADER_FORMATS)}}}")
    component["format"] = kind
    if kind == "TEXT":
        text = _length(component.get("text"), "header", 2388047)
        if re.search(r"[\n*_~`]|[\U0001F300-\U0001FAFF]", text):
            raise refuse(2388047, "Invalid header", "A header has no line break, formatting or emoji.")
        found = variables(text, named)
        if len(found) > 1:
            raise refuse(2388047, "Invalid header", "A header has at most one variable.")
        if found:
            given = _examples(component, "header_text_named_params", "header_text", named)
            _check_examples(given, found, named, "header")
    elif kind in MEDIA_HEADERS:
        example = component.get("example")
        handles = example.get("header_handle") if isinstance(example, dict) else None
        if not isinstance(handles, list) or not handles or not isinstance(handles[0], str):
            raise refuse(2388273, "Missing sample", f"A header of format {kind} needs example.header_handle.")


def _check_body(component: dict[str, Any], named: bool) -> None:
    text = _length(component.get("text"), "body", 2388040)
    found = variables(text, named)
    bare = text.strip()
    if VARIABLE.match(bare) or re.search(r"\{\{[^{}]*\}\}$", bare):
        raise refuse(2388299, "Invalid parameters", "Variables can't be at the start or end of the template.")
    if re.search(r"\}\}\s*\{\{", bare):
        raise refuse(2388299, "Invalid parameters", "Two variables can't stand side by side.")
    if "\n\n\n" in text or re.search(r" {5,}|\t", text):
        raise refuse(2388072, "Invalid body", "The body has too many line breaks, tabs or spaces in a row.")
    words = len(VARIABLE.sub(" ", text).split())
    if found and words < 2 * len(found) + 1:
        raise refuse(2388293, "Too many parameters", "The template has too many variable parameters for its length.")
    if found:
        _check_examples(_examples(component, "body_text_named_params", "body_text", named), found, named, "body")


def _check_footer(component: dict[str, Any], named: bool) -> None:
    text = _length(component.get("text"), "footer", 2388072)
    if VARIABLE.search(text) or "\n" in text:
        raise refuse(2388072, "Invalid footer", "A footer has no variables and no line break.")


def _check_buttons(component: dict[str, Any], named: bool) -> None:
    buttons = component.get("buttons")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 10 or not all(isinstance(b, dict) for b in buttons):
        raise refuse(2388040, "Invalid buttons", "A template has 1 to 10 buttons.")
    kinds = []
    for button in buttons:
        kind = str(button.get("type", "")).upper()
        if kind not in BUTTON_TYPES:
            raise GraphError(100, f"Param buttons.type must be one of {{{', '.join(BUTTON_TYPES)}}}")
        button["type"] = kind
        kinds.append(kind)
        if kind != "COPY_CODE":
            text = _length(button.get("text"), "button", 2388040)
            if VARIABLE.search(text) or "\n" in text:
                raise refuse(2388040, "Invalid button", "A button text has no variable and no line break.")
        if kind == "URL":
            _check_url(button)
        if kind == "PHONE_NUMBER" and not str(button.get("phone_number", "")).strip():
            raise GraphError(100, "A PHONE_NUMBER button needs phone_number.")
        if kind == "COPY_CODE" and not 1 <= len(_example(button)) <= LONGEST["code"]:
            raise GraphError(100, "A COPY_CODE button needs an example of at most 20 characters.")
    quick = [kind == "QUICK_REPLY" for kind in kinds]
    if sum(first != second for first, second in pairwise(quick)) > 1:
        raise refuse(2388060, "Invalid button order", "Quick replies must stand together.")
    if kinds.count("URL") > 2 or kinds.count("PHONE_NUMBER") > 1 or kinds.count("COPY_CODE") > 1:
        raise refuse(2388060, "Too many buttons", "At most 2 URL, 1 phone and 1 copy-code button.")
    texts = [button["text"] for button in buttons if "text" in button]
    if len(set(texts)) != len(texts):
        raise refuse(2388060, "Duplicate buttons", "Two buttons have the same text.")


def _example(button: dict[str, Any]) -> str:
    example = button.get("example")
    first = example[0] if isinstance(example, list) and example else example
    return first if isinstance(first, str) else ""


def _check_url(button: dict[str, Any]) -> None:
    url = button.get("url")
    if not isinstance(url, str) or not re.match(r"https?://[^\s{}]+", url) or len(url) > LONGEST["url"]:
        raise refuse(2388060, "Invalid URL", "A URL button needs an http(s) url of at most 2000 characters.")
    found = VARIABLE.findall(url)
    if found and (found != ["1"] or not url.endswith("}}")):
        raise refuse(2388060, "Invalid URL", "A url has at most one variable {{1}}, at its end.")
    if found and not _example(button):
        raise refuse(2388060, "Missing sample", "A url with a variable needs an example.")


CHECKS = {"HEADER": _check_header, "BODY": _check_body, "FOOTER": _check_footer, "BUTTONS": _check_buttons}


def judged_category(template: Record) -> str:
    """The category Meta's reviewer gives: a promotional utility text silently becomes marketing."""
    requested: str = template["category"]
    promotional = PROMOTIONAL.search(" ".join(_texts(template)))
    return "MARKETING" if requested == "UTILITY" and promotional else requested


def _texts(template: Record) -> Iterator[str]:
    for component in template["components"]:
        yield component.get("text") or ""
        for button in component.get("buttons", ()):
            yield button.get("text") or ""


# Filling in


def component_of(template: Record, kind: str) -> Record | None:
    return next((component for component in template["components"] if component["type"] == kind), None)


def filled(template: Record, given: Any) -> Record:
    """What the phone will show of this template with these send-time components, or the refusal."""
    if given is None:
        given = []
    if not isinstance(given, list) or not all(isinstance(component, dict) for component in given):
        raise GraphError(100, "Param template['components'] must be an array.")
    named = template["parameter_format"] == "NAMED"
    by_kind = {str(component.get("type", "")).lower(): component for component in given}
    for kind in by_kind:
        if kind not in ("header", "body", "button"):
            raise GraphError(100, "Param template['components'][..]['type'] must be one of {HEADER, BODY, BUTTON}")
    header, body = component_of(template, "HEADER"), component_of(template, "BODY")
    assert body is not None
    shown: Record = {"header": None, "media": None}
    if header is None:
        if _parameters(by_kind.get("header")):
            raise GraphError(132000, _count("header", len(_parameters(by_kind.get("header"))), 0))
    elif header["format"] == "TEXT":
        shown["header"] = _fill("header", header["text"], by_kind.get("header"), named)
    elif header["format"] in MEDIA_HEADERS:
        shown["media"] = _media_header(header["format"], by_kind.get("header"))
    shown["text"] = _fill("body", body["text"], by_kind.get("body"), named)
    if len(shown["text"]) > LONGEST["body"]:
        raise GraphError(132005)
    footer = component_of(template, "FOOTER")
    shown["footer"] = footer["text"] if footer else None
    shown["buttons"] = _buttons(template, [c for c in given if str(c.get("type", "")).lower() == "button"])
    return shown


def _parameters(component: Record | None) -> list[Any]:
    parameters = component.get("parameters") if component else None
    if parameters is None:
        return []
    if not isinstance(parameters, list) or not all(isinstance(parameter, dict) for parameter in parameters):
        raise GraphError(100, "Param parameters must be an array of objects.")
    return parameters


def _count(part: str, got: int, expected: int) -> str:
    return f"{part}: number of localizable_params ({got}) does not match the expected number of params ({expected})"


def parameter_text(part: str, parameter: Record) -> str:
    text: Any = parameter.get("text")
    if parameter.get("type") != "text" or not isinstance(text, str):
        received = str(parameter.get("type", "UNKNOWN")).upper()
        raise GraphError(132012, f"{part}: Format mismatch, expected TEXT, received {received}")
    if not text:
        raise GraphError(131008, f"{part}: the text of a parameter is empty")
    if re.search(r"[\n\r\t]| {4,}", text):
        raise GraphError(132018, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces")
    return text


def _fill(part: str, text: str, component: Record | None, named: bool) -> str:
    wanted = list(dict.fromkeys(VARIABLE.findall(text)))
    parameters = _parameters(component)
    if len(parameters) != len(wanted):
        raise GraphError(132000, _count(part, len(parameters), len(wanted)))
    if named:
        values = {}
        for parameter in parameters:
            name = parameter.get("parameter_name")
            if not isinstance(name, str) or not name:
                raise GraphError(100, f"{part}: Parameter name is missing or empty")
            values[name] = parameter_text(part, parameter)
        if set(values) != set(wanted):
            stranger = next(iter(set(values) - set(wanted)), "")
            raise GraphError(132000, f"{part}: parameter name {stranger!r} does not exist in the template")
    else:
        ordered = sorted(wanted, key=int)
        values = {name: parameter_text(part, p) for name, p in zip(ordered, parameters, strict=True)}
    return VARIABLE.sub(lambda match: values[match.group(1)], text)


def _media_header(kind: str, component: Record | None) -> Record:
    parameters = _parameters(component)
    received = str(parameters[0].get("type", "UNKNOWN")).upper() if parameters else "UNKNOWN"
    media = parameters[0].get(kind.lower()) if received == kind else None
    if not isinstance(media, dict) or not (isinstance(media.get("id"), str) or isinstance(media.get("link"), str)):
        raise GraphError(132012, f"header: Format mismatch, expected {kind}, received {received}")
    return {"kind": kind.lower(), **{key: media[key] for key in ("id", "link", "filename") if key in media}}


def _buttons(template: Record, given: list[Record]) -> list[Record]:
    part = component_of(template, "BUTTONS")
    defined = part["buttons"] if part else []
    by_index: dict[int, Record] = {}
    for component in given:
        try:
            index = int(component.get("index"))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise GraphError(131008, "buttons: Required parameter is missing: index") from None
        if not 0 <= index < len(defined):
            raise GraphError(132018, f"buttons: Button at index {index} does not exist in the template")
        kind = str(component.get("sub_type", "")).upper()
        if kind != defined[index]["type"]:
            raise GraphError(
                132018,
                f"buttons: Button at index {index} is of type {defined[index]['type']}, not {kind[:20]}",
            )
        by_index[index] = component
    shown = []
    for index, button in enumerate(defined):
        parameters = _parameters(by_index.get(index))
        title = button.get("text") or "Copy code"
        line: Record = {"id": title, "title": title, "kind": button["type"]}
        if button["type"] == "QUICK_REPLY" and parameters:
            payload = parameters[0].get("payload")
            if parameters[0].get("type") != "payload" or not isinstance(payload, str) or not 0 < len(payload) <= 256:
                raise GraphError(131009, f"buttons: Button at index {index} needs a payload of 1 to 256 characters")
            line["id"] = payload
        elif button["type"] == "URL":
            line["url"] = button["url"]
            if variable := VARIABLE.search(button["url"]):
                if not parameters:
                    raise GraphError(131008, f"buttons: Button at index {index} of type Url requires a parameter")
                suffix = parameter_text("buttons", parameters[0])
                line["url"] = button["url"][: variable.start()] + suffix
        elif button["type"] == "PHONE_NUMBER":
            line["url"] = f"tel:{button['phone_number']}"
        elif button["type"] == "COPY_CODE":
            code = parameters[0].get("coupon_code") if parameters else None
            if not isinstance(code, str) or not 0 < len(code) <= LONGEST["code"]:
                raise GraphError(131008, f"buttons: Button at index {index} of type Copy Code requires a coupon_code")
            line["url"] = f"copy:{code}"
        shown.append(line)
    return shown
