"""What the sandbox's own people (the merchant of the demo, a customer who pays) see of a page of the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """The forms, frames, links and addresses of a page: all that they look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.frames: list[str] = []
        self.links: list[str] = []
        """Where the page sends its reader, by itself or by a click."""
        self.addresses: dict[str, str] = {}
        """What is shown to be copied elsewhere, by the section it stands in."""
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = given.get("id", "")
        elif tag == "input" and "readonly" in given:
            self.addresses[self._section] = given.get("value", "")
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag in ("input", "button") and self.forms and given.get("name"):
            if tag == "button" or given.get("type") in ("submit", "checkbox", "radio"):
                return  # pressed or ticked, or not: the steps say so
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "iframe" and given.get("src"):
            self.frames.append(given["src"])
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.links.append(given.get("content", "").partition("url=")[2].strip())

    def field(self, name: str) -> str | None:
        return next((form.fields[name] for form in self.forms if name in form.fields), None)
