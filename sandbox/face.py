"""The face: one page with the shop, the phones, the clock, the faults and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, render_template

if TYPE_CHECKING:
    from sandbox import Sandbox


class Face:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def blueprint(self) -> Blueprint:
        face = Blueprint("face", __name__)
        face.add_url_rule("/", view_func=self.page)
        return face

    def page(self) -> str:
        return render_template("face.html")
