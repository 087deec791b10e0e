"""The floor: a Flask app that answers 200 and nothing else, for the same server. No Python web app gets below it."""

from __future__ import annotations

from flask import Flask


def application() -> Flask:
    app = Flask(__name__)

    @app.post("/webhooks/stores/shopify")
    def take() -> str:
        return ""

    @app.get("/health/ready")
    def ready() -> str:
        return "ready"

    return app
